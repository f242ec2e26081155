// Calls the emulator with Microsoft's SDKs for JavaScript and says what came of each call.
//
// Started with the emulator's ready line on standard input. Prints one line of JSON a call: {"operation", "error"?}.
// Exit code 0 when all went well.

import { text } from "node:stream/consumers";
import { isDeepStrictEqual } from "node:util";

import { ComputeManagementClient } from "@azure/arm-compute";
import { DevTestLabsClient } from "@azure/arm-devtestlabs";
import { ResourceManagementClient } from "@azure/arm-resources";
import { StorageManagementClient } from "@azure/arm-storage";
import { ClientSecretCredential } from "@azure/identity";

const ready = JSON.parse(await text(process.stdin));
const subscription = ready.subscriptions[0].subscriptionId;
const lab = ready.subscriptions[0].labs[0];
const LAB = ["devtestlabs", "contoso"];
const GROUP = "judgedbynode";
const often = { updateIntervalInMs: 100 };
const tags = { a: "b" };
let failed = 0;
// A poller whose first request fails rejects a second time where nobody waits; the first time is reported.
process.on("unhandledRejection", () => {});

function client(Kind) {
  const credential = new ClientSecretCredential(ready.tenantId, ready.clientId, ready.clientSecret, {
    authorityHost: ready.authority,
    disableInstanceDiscovery: true,
  });
  const endpoint = ready.resourceManager;
  return new Kind(credential, subscription, { endpoint, credentialScopes: [`${endpoint}.default`] });
}

/** Awaits a call, reads all pages of a list, and reports what came of it. */
async function call(operation, run, check) {
  const line = { operation };
  let result;
  try {
    result = run();
    if (result?.[Symbol.asyncIterator]) {
      const items = [];
      for await (const item of result) items.push(item);
      result = items;
    }
    result = await within(operation, result);
    if (check && !check(result)) throw new Error(`unexpected result: ${JSON.stringify(result)}`);
  } catch (error) {
    failed += 1;
    result = undefined;
    line.error = `${error.name} ${error.code ?? ""}: ${error.stack ?? error.message}`.slice(0, 1500);
  }
  console.log(JSON.stringify(line));
  return result;
}

/** What comes of a promise, unless it takes too long: a poller that fails in its first request never settles. */
async function within(operation, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${operation} does not end`)), 20_000);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Makes a call that must fail with this code. */
async function refused(operation, code, run) {
  const line = { operation };
  try {
    await run();
    line.error = "nothing was thrown";
  } catch (error) {
    if (error.code !== code) line.error = `${error.code}: ${error.message}`;
  }
  failed += line.error ? 1 : 0;
  console.log(JSON.stringify(line));
}

const some = (items) => items.length > 0;
const named = (name) => (items) => items.some((item) => item.name === name);

const machine = (more = {}) => ({
  location: "westeurope",
  size: "Standard_B2s",
  userName: "tester",
  password: "Sim-only-1234!",
  labVirtualNetworkId: `${lab}/virtualnetworks/Dtlcontoso`,
  labSubnetName: "DtlcontosoSubnet",
  galleryImageReference: { offer: "ubuntu-24_04-lts", publisher: "Canonical", sku: "server", osType: "Linux", version: "latest" },
  storageType: "Standard",
  ...more,
});

async function labs(dtl) {
  await call("labs.listBySubscription", () => dtl.labs.listBySubscription(), named("contoso"));
  await call("labs.listByResourceGroup", () => dtl.labs.listByResourceGroup(LAB[0]), named("contoso"));
  await call("labs.beginCreateOrUpdateAndWait", () => dtl.labs.beginCreateOrUpdateAndWait(GROUP, "nodelab", { location: "westeurope" }, often));
  await call("labs.get", () => dtl.labs.get(GROUP, "nodelab"), (one) => one.provisioningState === "Succeeded");
  await call("labs.update", () => dtl.labs.update(GROUP, "nodelab", { tags }), (one) => isDeepStrictEqual(one.tags, tags));
  await call("labs.beginDeleteAndWait", () => dtl.labs.beginDeleteAndWait(GROUP, "nodelab", often));
  await refused("labs.get of what is gone", "ResourceNotFound", () => dtl.labs.get(GROUP, "nodelab"));
  await call("labs.listVhds", () => dtl.labs.listVhds(...LAB));
  await call("labs.generateUploadUri", () => dtl.labs.generateUploadUri(...LAB, { blobName: "own.vhd" }), (answer) => answer.uploadUri);
  await call("artifactSources.list", () => dtl.artifactSources.list(...LAB), named("public repo"));
  await call("artifactSources.get", () => dtl.artifactSources.get(...LAB, "public repo"));
  await call("artifacts.list", () => dtl.artifacts.list(...LAB, "public repo"), some);
  await call("artifacts.get", () => dtl.artifacts.get(...LAB, "public repo", "linux-apt-package"));
  const wanted = { virtualMachineName: "vm1", parameters: [{ name: "packages", value: "git" }], location: "westeurope", fileUploadOptions: "None" };
  await call("artifacts.generateArmTemplate", () => dtl.artifacts.generateArmTemplate(...LAB, "public repo", "linux-apt-package", wanted));
  await call("armTemplates.list", () => dtl.armTemplates.list(...LAB, "public repo"), some);
  await call("armTemplates.get", () => dtl.armTemplates.get(...LAB, "public repo", "Storage"), (one) => one.contents);
  await call("galleryImages.list", () => dtl.galleryImages.list(...LAB), some);
}

async function machines(dtl) {
  const vms = dtl.virtualMachines;
  const vm = [...LAB, "vmnode"];
  await call("virtualMachines.beginCreateOrUpdateAndWait", () => vms.beginCreateOrUpdateAndWait(...vm, machine({ allowClaim: false }), often));
  await call("virtualMachines.get", () => vms.get(...vm, { expand: "properties($expand=artifacts,computeVm,networkInterface)" }), (one) => one.computeId);
  await call("virtualMachines.list", () => vms.list(...LAB, { top: 5, orderby: "name" }), named("vmnode"));
  await call("virtualMachines.update", () => vms.update(...vm, { tags }), (one) => isDeepStrictEqual(one.tags, tags));
  const artifacts = [{ artifactId: `${lab}/artifactsources/public repo/artifacts/linux-apt-package`, parameters: [{ name: "packages", value: "git" }] }];
  await call("virtualMachines.beginApplyArtifactsAndWait", () => vms.beginApplyArtifactsAndWait(...vm, { artifacts }, often));
  await call("virtualMachines.beginStopAndWait", () => vms.beginStopAndWait(...vm, often));
  await call("virtualMachines.beginStartAndWait", () => vms.beginStartAndWait(...vm, often));
  await call("virtualMachines.beginRestartAndWait", () => vms.beginRestartAndWait(...vm, often));
  await call("virtualMachines.beginRedeployAndWait", () => vms.beginRedeployAndWait(...vm, often));
  await call("virtualMachines.beginResizeAndWait", () => vms.beginResizeAndWait(...vm, { size: "Standard_D2s_v5" }, often));
  const attachNewDataDiskOptions = { diskName: "node1", diskSizeGiB: 16, diskType: "Standard" };
  await call("virtualMachines.beginAddDataDiskAndWait", () => vms.beginAddDataDiskAndWait(...vm, { attachNewDataDiskOptions }, often));
  const disks = await call("disks.list", () => dtl.disks.list(...LAB, "@me"), some);
  await call("virtualMachines.beginDetachDataDiskAndWait", () => vms.beginDetachDataDiskAndWait(...vm, { existingLabDiskId: disks[0].id }, often));
  await call("virtualMachines.listApplicableSchedules", () => vms.listApplicableSchedules(...vm));
  await call("virtualMachines.beginUnClaimAndWait", () => vms.beginUnClaimAndWait(...vm, often));
  await call("virtualMachines.beginClaimAndWait", () => vms.beginClaimAndWait(...vm, often));
  await call("virtualMachines.beginTransferDisksAndWait", () => vms.beginTransferDisksAndWait(...vm, often));
  await call("labs.beginCreateEnvironmentAndWait", () => dtl.labs.beginCreateEnvironmentAndWait(...LAB, { name: "nodeenv", ...machine({ allowClaim: true }) }, often));
  await call("labs.beginClaimAnyVmAndWait", () => dtl.labs.beginClaimAnyVmAndWait(...LAB, often));
  const given = { description: "d", vm: { sourceVmId: `${lab}/virtualmachines/vmnode`, linuxOsInfo: { linuxOsState: "NonDeprovisioned" } } };
  await call("customImages.beginCreateOrUpdateAndWait", () => dtl.customImages.beginCreateOrUpdateAndWait(...LAB, "nodeimage", given, often), (one) => one.provisioningState === "Succeeded");
  await call("customImages.get", () => dtl.customImages.get(...LAB, "nodeimage"));
  await call("customImages.list", () => dtl.customImages.list(...LAB), named("nodeimage"));
  await call("customImages.update", () => dtl.customImages.update(...LAB, "nodeimage", { tags }));
  await call("customImages.beginDeleteAndWait", () => dtl.customImages.beginDeleteAndWait(...LAB, "nodeimage", often));
}

async function inLab(dtl) {
  const environment = [...LAB, "@me", "envnode"];
  const deploymentProperties = { armTemplateId: `${lab}/artifactsources/public repo/armtemplates/Storage`, parameters: [] };
  await call("environments.beginCreateOrUpdateAndWait", () => dtl.environments.beginCreateOrUpdateAndWait(...environment, { deploymentProperties }, often), (one) => one.provisioningState === "Succeeded");
  await call("environments.get", () => dtl.environments.get(...environment), (one) => one.resourceGroupId);
  await call("environments.list", () => dtl.environments.list(...LAB, "@all"), named("envnode"));
  await call("environments.update", () => dtl.environments.update(...environment, { tags }));
  await call("environments.beginDeleteAndWait", () => dtl.environments.beginDeleteAndWait(...environment, often));

  const daily = { location: "westeurope", status: "Enabled", taskType: "LabVmsShutdownTask", dailyRecurrence: { time: "1900" }, timeZoneId: "UTC" };
  const policy = { factName: "LabVmCount", threshold: "5", evaluatorType: "MaxValuePolicy", status: "Enabled" };
  const channel = { webHookUrl: "https://example.org/hook", events: [{ eventName: "AutoShutdown" }] };
  const kinds = [
    ["formulas", [...LAB, "nodeformula"], { location: "westeurope", osType: "Linux", formulaContent: machine() }, LAB, true, false],
    ["secrets", [...LAB, "@me", "nodesecret"], { value: "hidden" }, [...LAB, "@me"], true, false],
    ["disks", [...LAB, "@me", "nodedisk"], { location: "westeurope", diskType: "Standard", diskSizeGiB: 32 }, [...LAB, "@me"], true, true],
    ["virtualNetworks", [...LAB, "nodenet"], { location: "westeurope" }, LAB, true, true],
    ["users", [...LAB, "@me"], { location: "westeurope" }, LAB, true, false],
    ["schedules", [...LAB, "LabVmsShutdown"], daily, LAB, false, false],
    ["virtualMachineSchedules", [...LAB, "vmnode", "LabVmsShutdown"], daily, [...LAB, "vmnode"], false, false],
    ["policies", [...LAB, "default", "MaxVmsAllowedPerLab"], policy, [...LAB, "default"], false, false],
    ["notificationChannels", [...LAB, "autoShutdown"], channel, LAB, false, false],
  ];
  for (const [kind, key, given, collection, madeLater, deletedLater] of kinds) {
    const operations = dtl[kind];
    const put = madeLater ? "beginCreateOrUpdateAndWait" : "createOrUpdate";
    await call(`${kind}.${put}`, () => operations[put](...key, given, ...(madeLater ? [often] : [])));
    await call(`${kind}.get`, () => operations.get(...key));
    await call(`${kind}.list`, () => operations.list(...collection), some);
    await call(`${kind}.update`, () => operations.update(...key, { tags }));
    if (kind === "users") continue;
    const remove = deletedLater ? "beginDeleteAndWait" : "delete";
    await call(`${kind}.${remove}`, () => operations[remove](...key, ...(deletedLater ? [often] : [])));
  }
  await call("virtualMachines.beginDeleteAndWait", () => dtl.virtualMachines.beginDeleteAndWait(...LAB, "nodeenv", often));
  await refused("virtualMachines.get of none", "ResourceNotFound", () => dtl.virtualMachines.get(...LAB, "none"));
}

async function resources(arm) {
  await call("resourceGroups.createOrUpdate", () => arm.resourceGroups.createOrUpdate(GROUP, { location: "westeurope", tags }));
  await call("resourceGroups.get", () => arm.resourceGroups.get(GROUP), (group) => group.properties.provisioningState === "Succeeded");
  await call("resourceGroups.list", () => arm.resourceGroups.list(), named(GROUP));
  await call("resourceGroups.update", () => arm.resourceGroups.update(GROUP, { tags: { c: "d" } }));
  await call("resourceGroups.checkExistence", () => arm.resourceGroups.checkExistence(GROUP), (there) => there.body === true);
  await call("providers.list", () => arm.providers.list(), some);
  await call("providers.get", () => arm.providers.get("Microsoft.DevTestLab"), (one) => some(one.resourceTypes));
  const key = `/subscriptions/${subscription}/resourceGroups/${GROUP}/providers/Microsoft.Network/publicIPAddresses/node0`;
  const version = "2023-09-01";
  const given = { location: "westeurope", properties: { publicIPAllocationMethod: "Static" } };
  await call("resources.beginCreateOrUpdateByIdAndWait", () => arm.resources.beginCreateOrUpdateByIdAndWait(key, version, given, often));
  await call("resources.getById", () => arm.resources.getById(key, version));
  await call("resources.list", () => arm.resources.list({ filter: "resourceType eq 'Microsoft.Network/publicIPAddresses'" }), named("node0"));
  await call("resources.listByResourceGroup", () => arm.resources.listByResourceGroup(GROUP), named("node0"));
  await call("tagsOperations.beginUpdateAtScopeAndWait", () => arm.tagsOperations.beginUpdateAtScopeAndWait(key, { operation: "Merge", properties: { tags } }, often));
  await call("tagsOperations.createOrUpdate", () => arm.tagsOperations.createOrUpdate("node"), (name) => name.tagName === "node");
  await call("tagsOperations.createOrUpdateValue", () => arm.tagsOperations.createOrUpdateValue("node", "yes"), (value) => value.tagValue === "yes");
  await call("tagsOperations.list", () => arm.tagsOperations.list(), some);
  await call("tagsOperations.deleteValue", () => arm.tagsOperations.deleteValue("node", "yes"));
  await call("tagsOperations.delete", () => arm.tagsOperations.delete("node"));
  await call("tagsOperations.getAtScope", () => arm.tagsOperations.getAtScope(key), (found) => isDeepStrictEqual(found.properties.tags, tags));
  const exported = { resources: ["*"], options: "IncludeParameterDefaultValue" };
  await call("resourceGroups.beginExportTemplateAndWait", () => arm.resourceGroups.beginExportTemplateAndWait(GROUP, exported, often), (answer) => some(answer.template.resources));
  const other = await arm.resourceGroups.createOrUpdate(GROUP + "2", { location: "westeurope" });
  const move = { resources: [key], targetResourceGroup: other.id };
  await call("resources.beginValidateMoveResourcesAndWait", () => arm.resources.beginValidateMoveResourcesAndWait(GROUP, move, often));
  await call("resources.beginMoveResourcesAndWait", () => arm.resources.beginMoveResourcesAndWait(GROUP, move, often));
  const back = { resources: [key.replace(GROUP, GROUP + "2")], targetResourceGroup: move.targetResourceGroup.replace(/2$/, "") };
  await call("resources.beginMoveResourcesAndWait back", () => arm.resources.beginMoveResourcesAndWait(GROUP + "2", back, often));
  await call("providers.getAtTenantScope", () => arm.providers.getAtTenantScope("Microsoft.Compute"), (one) => some(one.resourceTypes));
  await call("resources.beginDeleteByIdAndWait", () => arm.resources.beginDeleteByIdAndWait(key, version, often));

  const template = {
    $schema: "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
    contentVersion: "1.0.0.0",
    resources: [{ type: "Microsoft.Network/publicIPAddresses", apiVersion: version, name: "node1", location: "[resourceGroup().location]", properties: {} }],
    outputs: { id: { type: "string", value: "[resourceId('Microsoft.Network/publicIPAddresses', 'node1')]" } },
  };
  const deployment = { properties: { mode: "Incremental", template, parameters: {} } };
  const own = [GROUP, "first"];
  await call("deployments.beginValidateAndWait", () => arm.deployments.beginValidateAndWait(...own, deployment, often), (answer) => !answer.error);
  await call("deployments.beginWhatIfAndWait", () => arm.deployments.beginWhatIfAndWait(...own, deployment, often), (answer) => some(answer.changes));
  await call("deployments.beginCreateOrUpdateAndWait", () => arm.deployments.beginCreateOrUpdateAndWait(...own, deployment, often), (one) => one.properties.outputs.id.value);
  await call("deployments.calculateTemplateHash", () => arm.deployments.calculateTemplateHash(template), (answer) => answer.templateHash);
  await call("deployments.get", () => arm.deployments.get(...own), (one) => one.properties.provisioningState === "Succeeded");
  await call("deployments.listByResourceGroup", () => arm.deployments.listByResourceGroup(GROUP), named("first"));
  await call("deployments.exportTemplate", () => arm.deployments.exportTemplate(...own), (one) => one.template);
  await call("deploymentOperations.list", () => arm.deploymentOperations.list(...own), some);
  await call("deployments.beginDeleteAndWait", () => arm.deployments.beginDeleteAndWait(...own, often));
}

async function compute(client, dtl) {
  const shown = await dtl.virtualMachines.get(...LAB, "vmnode");
  const vm = [shown.computeId.split("/")[4], shown.computeId.split("/")[8]];
  const vms = client.virtualMachines;
  await call("compute virtualMachines.get", () => vms.get(...vm, { expand: "instanceView" }), (one) => some(one.instanceView.statuses));
  await call("compute virtualMachines.instanceView", () => vms.instanceView(...vm), (view) => some(view.statuses));
  await call("compute virtualMachines.list", () => vms.list(vm[0]), some);
  await call("compute virtualMachines.listAll", () => vms.listAll(), some);
  await call("compute virtualMachines.beginDeallocateAndWait", () => vms.beginDeallocateAndWait(...vm, often));
  await call("compute virtualMachines.beginStartAndWait", () => vms.beginStartAndWait(...vm, often));
  await call("compute virtualMachines.beginPowerOffAndWait", () => vms.beginPowerOffAndWait(...vm, often));
  await call("compute virtualMachines.generalize", () => vms.generalize(...vm));
  await call("compute virtualMachineSizes.list", () => client.virtualMachineSizes.list("westeurope"), some);
  await call("compute usage.list", () => client.usage.list("westeurope"), some);
  const disk = { location: "westeurope", creationData: { createOption: "Empty" }, diskSizeGB: 8, sku: { name: "Standard_LRS" } };
  const made = await call("compute disks.beginCreateOrUpdateAndWait", () => client.disks.beginCreateOrUpdateAndWait(GROUP, "disk1", disk, often));
  await call("compute disks.get", () => client.disks.get(GROUP, "disk1"), (one) => one.diskSizeGB === 8);
  await call("compute disks.list", () => client.disks.list(), some);
  await call("compute disks.beginGrantAccessAndWait", () => client.disks.beginGrantAccessAndWait(GROUP, "disk1", { access: "Read", durationInSeconds: 600 }, often), (answer) => answer.accessSAS);
  await call("compute disks.beginRevokeAccessAndWait", () => client.disks.beginRevokeAccessAndWait(GROUP, "disk1", often));
  const copy = { location: "westeurope", creationData: { createOption: "Copy", sourceResourceId: made?.id } };
  await call("compute snapshots.beginCreateOrUpdateAndWait", () => client.snapshots.beginCreateOrUpdateAndWait(GROUP, "snap1", copy, often));
  await call("compute snapshots.get", () => client.snapshots.get(GROUP, "snap1"));
  await call("compute snapshots.beginDeleteAndWait", () => client.snapshots.beginDeleteAndWait(GROUP, "snap1", often));
  await call("compute disks.beginDeleteAndWait", () => client.disks.beginDeleteAndWait(GROUP, "disk1", often));
  const source = { location: "westeurope", sourceVirtualMachine: { id: shown.computeId }, hyperVGeneration: "V2" };
  const image = await call("compute images.beginCreateOrUpdateAndWait", () => client.images.beginCreateOrUpdateAndWait(GROUP, "image1", source, often));
  await call("compute images.get", () => client.images.get(GROUP, "image1"));
  await call("compute images.listByResourceGroup", () => client.images.listByResourceGroup(GROUP), some);
  await call("compute galleries.beginCreateOrUpdateAndWait", () => client.galleries.beginCreateOrUpdateAndWait(GROUP, "nodegallery", { location: "westeurope" }, often));
  await call("compute galleries.get", () => client.galleries.get(GROUP, "nodegallery"));
  await call("compute galleries.listByResourceGroup", () => client.galleries.listByResourceGroup(GROUP), some);
  const definition = [GROUP, "nodegallery", "definition1"];
  const identifier = { publisher: "p", offer: "o", sku: "s" };
  const described = { location: "westeurope", osType: "Linux", osState: "Generalized", hyperVGeneration: "V2", identifier };
  await call("compute galleryImages.beginCreateOrUpdateAndWait", () => client.galleryImages.beginCreateOrUpdateAndWait(...definition, described, often));
  await call("compute galleryImages.get", () => client.galleryImages.get(...definition));
  await call("compute galleryImages.listByGallery", () => client.galleryImages.listByGallery(GROUP, "nodegallery"), some);
  const versions = client.galleryImageVersions;
  const targetRegions = [{ name: "westeurope", regionalReplicaCount: 1 }, { name: "northeurope" }];
  const version = { location: "westeurope", publishingProfile: { targetRegions }, storageProfile: { source: { id: image?.id } } };
  await call("compute galleryImageVersions.beginCreateOrUpdateAndWait", () => versions.beginCreateOrUpdateAndWait(...definition, "1.0.0", version, often));
  await call("compute galleryImageVersions.get", () => versions.get(...definition, "1.0.0", { expand: "ReplicationStatus" }), (one) => one.replicationStatus.summary.length === 2);
  await call("compute galleryImageVersions.listByGalleryImage", () => versions.listByGalleryImage(...definition), some);
  await call("compute galleryImageVersions.beginDeleteAndWait", () => versions.beginDeleteAndWait(...definition, "1.0.0", often));
  await call("compute galleryImages.beginDeleteAndWait", () => client.galleryImages.beginDeleteAndWait(...definition, often));
  await call("compute galleries.beginDeleteAndWait", () => client.galleries.beginDeleteAndWait(GROUP, "nodegallery", often));
  await call("compute images.beginDeleteAndWait", () => client.images.beginDeleteAndWait(GROUP, "image1", often));
}

async function storage(client) {
  const given = { location: "westeurope", kind: "StorageV2", sku: { name: "Standard_LRS" } };
  const account = [GROUP, "judgedbynode"];
  await call("storageAccounts.beginCreateAndWait", () => client.storageAccounts.beginCreateAndWait(...account, given, often), (one) => one.primaryEndpoints.blob);
  await call("storageAccounts.getProperties", () => client.storageAccounts.getProperties(...account));
  await call("storageAccounts.listKeys", () => client.storageAccounts.listKeys(...account), (answer) => answer.keys.length === 2);
  await call("storageAccounts.listByResourceGroup", () => client.storageAccounts.listByResourceGroup(GROUP), some);
  await call("storageAccounts.delete", () => client.storageAccounts.delete(...account));
}

const arm = client(ResourceManagementClient);
const dtl = client(DevTestLabsClient);
await resources(arm);
await labs(dtl);
await machines(dtl);
await inLab(dtl);
await compute(client(ComputeManagementClient), dtl);
await storage(client(StorageManagementClient));
await call("resourceGroups.beginDeleteAndWait", () => arm.resourceGroups.beginDeleteAndWait(GROUP, often));
process.exit(failed === 0 ? 0 : 1);
