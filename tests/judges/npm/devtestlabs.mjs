// Microsoft.DevTestLab by @azure/arm-devtestlabs: every operation of the client but those of Service Fabric.

import { isDeepStrictEqual } from "node:util";

import { GROUP, LAB, call, lab, named, often, refused, some, tags } from "./calls.mjs";

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

const daily = { location: "westeurope", status: "Enabled", taskType: "LabVmsShutdownTask", dailyRecurrence: { time: "1900" }, timeZoneId: "UTC" };

export async function labs(dtl) {
  await call("providerOperations.list", () => dtl.providerOperations.list());
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
  const own = [...LAB, "nodesource"];
  const source = { uri: "https://example.org/a.git", sourceType: "GitHub", folderPath: "/Artifacts", branchRef: "main", securityToken: "t", status: "Enabled" };
  await call("artifactSources.createOrUpdate", () => dtl.artifactSources.createOrUpdate(...own, source));
  await call("artifactSources.update", () => dtl.artifactSources.update(...own, { tags }));
  await call("artifactSources.delete", () => dtl.artifactSources.delete(...own));
  await call("artifacts.list", () => dtl.artifacts.list(...LAB, "public repo"), some);
  await call("artifacts.get", () => dtl.artifacts.get(...LAB, "public repo", "linux-apt-package"));
  const wanted = { virtualMachineName: "vm1", parameters: [{ name: "packages", value: "git" }], location: "westeurope", fileUploadOptions: "None" };
  await call("artifacts.generateArmTemplate", () => dtl.artifacts.generateArmTemplate(...LAB, "public repo", "linux-apt-package", wanted));
  await call("armTemplates.list", () => dtl.armTemplates.list(...LAB, "public repo"), some);
  await call("armTemplates.get", () => dtl.armTemplates.get(...LAB, "public repo", "Storage"), (one) => one.contents);
  await call("galleryImages.list", () => dtl.galleryImages.list(...LAB), some);
}

export async function machines(dtl) {
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
  const galleryImageReference = { offer: "WindowsServer", publisher: "MicrosoftWindowsServer", sku: "2022-datacenter-g2", osType: "Windows", version: "latest" };
  await vms.beginCreateOrUpdateAndWait(...LAB, "winnode", machine({ galleryImageReference }), often);
  await call("virtualMachines.getRdpFileContents", () => vms.getRdpFileContents(...LAB, "winnode"), (answer) => answer.contents);
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

export async function inLab(dtl) {
  const environment = [...LAB, "@me", "envnode"];
  const deploymentProperties = { armTemplateId: `${lab}/artifactsources/public repo/armtemplates/Storage`, parameters: [] };
  await call("environments.beginCreateOrUpdateAndWait", () => dtl.environments.beginCreateOrUpdateAndWait(...environment, { deploymentProperties }, often), (one) => one.provisioningState === "Succeeded");
  await call("environments.get", () => dtl.environments.get(...environment), (one) => one.resourceGroupId);
  await call("environments.list", () => dtl.environments.list(...LAB, "@all"), named("envnode"));
  await call("environments.update", () => dtl.environments.update(...environment, { tags }));
  await call("environments.beginDeleteAndWait", () => dtl.environments.beginDeleteAndWait(...environment, often));

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
  const attached = { leasedByLabVmId: `${lab}/virtualmachines/vmnode` };
  // What can be asked for besides, while the thing is there.
  const more = {
    disks: [["beginAttachAndWait", attached, often], ["beginDetachAndWait", attached, often]],
    schedules: [["listApplicable"], ["beginExecuteAndWait", often]],
    virtualMachineSchedules: [["beginExecuteAndWait", often]],
    notificationChannels: [["notify", { eventName: "AutoShutdown", jsonPayload: "{}" }]],
  };
  for (const [kind, key, given, collection, madeLater, deletedLater] of kinds) {
    const operations = dtl[kind];
    const put = madeLater ? "beginCreateOrUpdateAndWait" : "createOrUpdate";
    await call(`${kind}.${put}`, () => operations[put](...key, given, ...(madeLater ? [often] : [])));
    await call(`${kind}.get`, () => operations.get(...key));
    await call(`${kind}.list`, () => operations.list(...collection), some);
    await call(`${kind}.update`, () => operations.update(...key, { tags }));
    for (const [operation, ...given] of more[kind] ?? []) await call(`${kind}.${operation}`, () => operations[operation](...key, ...given));
    if (kind === "users") continue;
    const remove = deletedLater ? "beginDeleteAndWait" : "delete";
    await call(`${kind}.${remove}`, () => operations[remove](...key, ...(deletedLater ? [often] : [])));
  }
  await call("virtualMachines.beginDeleteAndWait", () => dtl.virtualMachines.beginDeleteAndWait(...LAB, "nodeenv", often));
  await refused("virtualMachines.get of none", "ResourceNotFound", () => dtl.virtualMachines.get(...LAB, "none"));
}

export async function schedules(dtl) {
  const every = dtl.globalSchedules;
  const { computeId } = await dtl.virtualMachines.get(...LAB, "vmnode");
  const one = [LAB[0], "shutdown-computevm-vmnode"];
  await call("globalSchedules.createOrUpdate", () => every.createOrUpdate(...one, { ...daily, targetResourceId: computeId }));
  await call("globalSchedules.get", () => every.get(...one));
  await call("globalSchedules.listByResourceGroup", () => every.listByResourceGroup(LAB[0]), some);
  await call("globalSchedules.listBySubscription", () => every.listBySubscription(), some);
  await call("globalSchedules.update", () => every.update(...one, { tags }));
  const retarget = { currentResourceId: computeId, targetResourceId: computeId };
  await call("globalSchedules.beginRetargetAndWait", () => every.beginRetargetAndWait(...one, retarget, often));
  await call("globalSchedules.beginExecuteAndWait", () => every.beginExecuteAndWait(...one, often));
  await call("globalSchedules.delete", () => every.delete(...one));
}

export async function labWide(dtl) {
  const cost = { location: "westeurope", targetCost: { status: "Enabled", target: 100, cycleType: "CalendarMonth" }, currencyCode: "EUR" };
  await call("costs.createOrUpdate", () => dtl.costs.createOrUpdate(...LAB, "targetCost", cost));
  await call("costs.get", () => dtl.costs.get(...LAB, "targetCost"));
  const runner = [...LAB, "noderunner"];
  await call("serviceRunners.createOrUpdate", () => dtl.serviceRunners.createOrUpdate(...runner, { location: "westeurope", identity: { type: "userAssigned" } }));
  await call("serviceRunners.get", () => dtl.serviceRunners.get(...runner));
  await call("serviceRunners.delete", () => dtl.serviceRunners.delete(...runner));
  const policies = [{ factName: "LabVmCount", userObjectId: "44444444-4444-4444-8444-444444444444", valueOffset: "1" }];
  await call("policySets.evaluatePolicies", () => dtl.policySets.evaluatePolicies(...LAB, "default", { policies }));
  const usage = { blobStorageAbsoluteSasUri: "https://example.org/container?sig=x", usageStartDate: new Date("2026-01-01T00:00:00Z") };
  await call("labs.beginExportResourceUsageAndWait", () => dtl.labs.beginExportResourceUsageAndWait(...LAB, usage, often));
  await dtl.labs.beginCreateOrUpdateAndWait(LAB[0], "nodeother", { location: "westeurope" }, often);
  const imported = { sourceVirtualMachineResourceId: `${lab}/virtualmachines/winnode`, destinationVirtualMachineName: "imported" };
  await call("labs.beginImportVirtualMachineAndWait", () => dtl.labs.beginImportVirtualMachineAndWait(LAB[0], "nodeother", imported, often));
  await call("users.beginDeleteAndWait", () => dtl.users.beginDeleteAndWait(...LAB, "@me", often));
}

/** Galleries of a lab: only an api-version that has no SDK of its own knows them, so that the general client of resources asks. */
export async function shared(arm) {
  const preview = "2018-10-15-preview";
  const compute = "2024-03-03";
  const gallery = `${lab.split("/providers/")[0]}/providers/Microsoft.Compute/galleries/nodeshared`;
  const attached = `${lab}/sharedgalleries/node`;
  const put = (id, version, given) => arm.resources.beginCreateOrUpdateByIdAndWait(id, version, given, often);
  const remove = (id, version) => arm.resources.beginDeleteByIdAndWait(id, version, often);
  const identifier = { publisher: "contoso", offer: "node", sku: "shared" };
  const properties = { osType: "Linux", osState: "Generalized", hyperVGeneration: "V2", identifier };
  await put(gallery, compute, { location: "westeurope" });
  await put(`${gallery}/images/one`, compute, { location: "westeurope", properties });
  const given = { properties: { galleryId: gallery, allowAllImages: "Disabled" } };
  const enabled = { properties: { definitionName: "one", enableState: "Enabled" } };
  await call("sharedGalleries.createOrUpdate", () => put(attached, preview, given));
  await call("sharedGalleries.get", () => arm.resources.getById(attached, preview), (one) => one.properties.galleryId.toLowerCase() === gallery.toLowerCase());
  await call("sharedGalleries.update", () => arm.resources.beginUpdateByIdAndWait(attached, preview, { tags }, often));
  await call("sharedImages.createOrUpdate", () => put(`${attached}/sharedimages/one`, preview, enabled));
  await call("sharedImages.get", () => arm.resources.getById(`${attached}/sharedimages/one`, preview), (one) => one.properties.osType === "Linux");
  await call("sharedImages.delete", () => remove(`${attached}/sharedimages/one`, preview));
  await call("sharedGalleries.delete", () => remove(attached, preview));
  for (const id of [`${gallery}/images/one`, gallery]) await call(`delete ${id.split("/").at(-1)}`, () => remove(id, compute));
}
