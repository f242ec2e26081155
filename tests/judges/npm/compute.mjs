// Microsoft.Compute by @azure/arm-compute: machines, disks, snapshots, images and galleries.

import { GROUP, LAB, call, often, some, tags } from "./calls.mjs";

export async function compute(client, dtl) {
  const shown = await dtl.virtualMachines.get(...LAB, "vmnode");
  const vm = [shown.computeId.split("/")[4], shown.computeId.split("/")[8]];
  const vms = client.virtualMachines;
  await call("compute virtualMachines.get", () => vms.get(...vm, { expand: "instanceView" }), (one) => some(one.instanceView.statuses));
  await call("compute virtualMachines.instanceView", () => vms.instanceView(...vm), (view) => some(view.statuses));
  await call("compute virtualMachines.list", () => vms.list(vm[0]), some);
  await call("compute virtualMachines.listAll", () => vms.listAll(), some);
  await call("compute virtualMachines.beginDeallocateAndWait", () => vms.beginDeallocateAndWait(...vm, often));
  await call("compute virtualMachines.beginStartAndWait", () => vms.beginStartAndWait(...vm, often));
  await call("compute virtualMachines.beginRestartAndWait", () => vms.beginRestartAndWait(...vm, often));
  await call("compute virtualMachines.beginUpdateAndWait", () => vms.beginUpdateAndWait(...vm, { tags }, often));
  await call("compute virtualMachines.beginPowerOffAndWait", () => vms.beginPowerOffAndWait(...vm, often));
  await call("compute virtualMachines.generalize", () => vms.generalize(...vm));
  await call("compute virtualMachineSizes.list", () => client.virtualMachineSizes.list("westeurope"), some);
  await call("compute usage.list", () => client.usage.list("westeurope"), some);
  const disk = { location: "westeurope", creationData: { createOption: "Empty" }, diskSizeGB: 8, sku: { name: "Standard_LRS" } };
  const made = await call("compute disks.beginCreateOrUpdateAndWait", () => client.disks.beginCreateOrUpdateAndWait(GROUP, "disk1", disk, often));
  await call("compute disks.get", () => client.disks.get(GROUP, "disk1"), (one) => one.diskSizeGB === 8);
  await call("compute disks.list", () => client.disks.list(), some);
  await call("compute disks.listByResourceGroup", () => client.disks.listByResourceGroup(GROUP), some);
  await call("compute disks.beginUpdateAndWait", () => client.disks.beginUpdateAndWait(GROUP, "disk1", { tags }, often));
  await call("compute disks.beginGrantAccessAndWait", () => client.disks.beginGrantAccessAndWait(GROUP, "disk1", { access: "Read", durationInSeconds: 600 }, often), (answer) => answer.accessSAS);
  await call("compute disks.beginRevokeAccessAndWait", () => client.disks.beginRevokeAccessAndWait(GROUP, "disk1", often));
  const copy = { location: "westeurope", creationData: { createOption: "Copy", sourceResourceId: made?.id } };
  await call("compute snapshots.beginCreateOrUpdateAndWait", () => client.snapshots.beginCreateOrUpdateAndWait(GROUP, "snap1", copy, often));
  await call("compute snapshots.get", () => client.snapshots.get(GROUP, "snap1"));
  await call("compute snapshots.list", () => client.snapshots.list(), some);
  await call("compute snapshots.listByResourceGroup", () => client.snapshots.listByResourceGroup(GROUP), some);
  await call("compute snapshots.beginUpdateAndWait", () => client.snapshots.beginUpdateAndWait(GROUP, "snap1", { tags }, often));
  await call("compute snapshots.beginGrantAccessAndWait", () => client.snapshots.beginGrantAccessAndWait(GROUP, "snap1", { access: "Read", durationInSeconds: 600 }, often), (answer) => answer.accessSAS);
  await call("compute snapshots.beginRevokeAccessAndWait", () => client.snapshots.beginRevokeAccessAndWait(GROUP, "snap1", often));
  await call("compute snapshots.beginDeleteAndWait", () => client.snapshots.beginDeleteAndWait(GROUP, "snap1", often));
  await call("compute disks.beginDeleteAndWait", () => client.disks.beginDeleteAndWait(GROUP, "disk1", often));
  const source = { location: "westeurope", sourceVirtualMachine: { id: shown.computeId }, hyperVGeneration: "V2" };
  const image = await call("compute images.beginCreateOrUpdateAndWait", () => client.images.beginCreateOrUpdateAndWait(GROUP, "image1", source, often));
  await call("compute images.get", () => client.images.get(GROUP, "image1"));
  await call("compute images.list", () => client.images.list(), some);
  await call("compute images.listByResourceGroup", () => client.images.listByResourceGroup(GROUP), some);
  await call("compute images.beginUpdateAndWait", () => client.images.beginUpdateAndWait(GROUP, "image1", { tags }, often));
  await call("compute galleries.beginCreateOrUpdateAndWait", () => client.galleries.beginCreateOrUpdateAndWait(GROUP, "nodegallery", { location: "westeurope" }, often));
  await call("compute galleries.get", () => client.galleries.get(GROUP, "nodegallery"));
  await call("compute galleries.list", () => client.galleries.list(), some);
  await call("compute galleries.listByResourceGroup", () => client.galleries.listByResourceGroup(GROUP), some);
  await call("compute galleries.beginUpdateAndWait", () => client.galleries.beginUpdateAndWait(GROUP, "nodegallery", { tags }, often));
  const definition = [GROUP, "nodegallery", "definition1"];
  const identifier = { publisher: "p", offer: "o", sku: "s" };
  const described = { location: "westeurope", osType: "Linux", osState: "Generalized", hyperVGeneration: "V2", identifier };
  await call("compute galleryImages.beginCreateOrUpdateAndWait", () => client.galleryImages.beginCreateOrUpdateAndWait(...definition, described, often));
  await call("compute galleryImages.get", () => client.galleryImages.get(...definition));
  await call("compute galleryImages.listByGallery", () => client.galleryImages.listByGallery(GROUP, "nodegallery"), some);
  await call("compute galleryImages.beginUpdateAndWait", () => client.galleryImages.beginUpdateAndWait(...definition, { tags }, often));
  const versions = client.galleryImageVersions;
  const targetRegions = [{ name: "westeurope", regionalReplicaCount: 1 }, { name: "northeurope" }];
  const version = { location: "westeurope", publishingProfile: { targetRegions }, storageProfile: { source: { id: image?.id } } };
  await call("compute galleryImageVersions.beginCreateOrUpdateAndWait", () => versions.beginCreateOrUpdateAndWait(...definition, "1.0.0", version, often));
  await call("compute galleryImageVersions.get", () => versions.get(...definition, "1.0.0", { expand: "ReplicationStatus" }), (one) => one.replicationStatus.summary.length === 2);
  await call("compute galleryImageVersions.listByGalleryImage", () => versions.listByGalleryImage(...definition), some);
  await call("compute galleryImageVersions.beginUpdateAndWait", () => versions.beginUpdateAndWait(...definition, "1.0.0", { tags }, often));
  const softDelete = (isSoftDeleteEnabled) => client.galleries.beginUpdateAndWait(GROUP, "nodegallery", { softDeletePolicy: { isSoftDeleteEnabled } }, often);
  await call("compute galleries.beginUpdateAndWait for soft delete", () => softDelete(true));
  await call("compute galleryImageVersions.beginDeleteAndWait", () => versions.beginDeleteAndWait(...definition, "1.0.0", often));
  await call("compute softDeletedResource.listByArtifactName", () => client.softDeletedResource.listByArtifactName(GROUP, "nodegallery", "Images", "definition1"), some);
  await call("compute galleries.beginUpdateAndWait without soft delete", () => softDelete(false));
  await call("compute galleryImages.beginDeleteAndWait", () => client.galleryImages.beginDeleteAndWait(...definition, often));
  await call("compute galleries.beginDeleteAndWait", () => client.galleries.beginDeleteAndWait(GROUP, "nodegallery", often));
  await call("compute images.beginDeleteAndWait", () => client.images.beginDeleteAndWait(GROUP, "image1", often));
}

/** A machine that no lab has made. */
export async function ownMachine(client, networks) {
  const space = { location: "westeurope", addressSpace: { addressPrefixes: ["10.2.0.0/16"] }, subnets: [{ name: "one", addressPrefix: "10.2.0.0/24" }] };
  const network = await networks.virtualNetworks.beginCreateOrUpdateAndWait(GROUP, "ownnet", space, often);
  const ipConfigurations = [{ name: "ip", subnet: { id: network.subnets[0].id }, privateIPAllocationMethod: "Dynamic" }];
  const card = await networks.networkInterfaces.beginCreateOrUpdateAndWait(GROUP, "ownnic", { location: "westeurope", ipConfigurations }, often);
  const given = {
    location: "westeurope",
    hardwareProfile: { vmSize: "Standard_B2s" },
    storageProfile: {
      imageReference: { publisher: "Canonical", offer: "ubuntu-24_04-lts", sku: "server", version: "latest" },
      osDisk: { createOption: "FromImage", managedDisk: { storageAccountType: "Standard_LRS" } },
    },
    osProfile: { computerName: "own", adminUsername: "tester", adminPassword: "Sim-only-1234!" },
    networkProfile: { networkInterfaces: [{ id: card.id }] },
  };
  const vms = client.virtualMachines;
  const own = [GROUP, "own"];
  await call("compute virtualMachines.beginCreateOrUpdateAndWait", () => vms.beginCreateOrUpdateAndWait(...own, given, often), (vm) => vm.provisioningState === "Succeeded");
  await call("compute virtualMachines.listAvailableSizes", () => vms.listAvailableSizes(...own), some);
  await call("compute virtualMachines.beginRedeployAndWait", () => vms.beginRedeployAndWait(...own, often));
  const extensions = client.virtualMachineExtensions;
  const script = { location: "westeurope", publisher: "Microsoft.Azure.Extensions", typePropertiesType: "CustomScript", typeHandlerVersion: "2.1", settings: {} };
  await call("compute virtualMachineExtensions.beginCreateOrUpdateAndWait", () => extensions.beginCreateOrUpdateAndWait(...own, "script", script, often));
  await call("compute virtualMachineExtensions.get", () => extensions.get(...own, "script"), (one) => one.provisioningState === "Succeeded");
  await call("compute virtualMachineExtensions.list", () => extensions.list(...own), (answer) => answer.value.length === 1);
  await call("compute virtualMachineExtensions.beginUpdateAndWait", () => extensions.beginUpdateAndWait(...own, "script", { tags }, often));
  await call("compute virtualMachineExtensions.beginDeleteAndWait", () => extensions.beginDeleteAndWait(...own, "script", often));
  await call("compute virtualMachines.beginDeleteAndWait", () => vms.beginDeleteAndWait(...own, often));
}
