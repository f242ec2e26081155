"""Microsoft.Compute by azure-mgmt-compute: machines, disks, snapshots, images and galleries."""

from azure.mgmt.compute import ComputeManagementClient
from azure.mgmt.devtestlabs import DevTestLabsClient
from azure.mgmt.network import NetworkManagementClient
from azure.mgmt.resource.resources import ResourceManagementClient

from devtestlabs import GROUP as LAB_GROUP, LAB, machine

GROUP = "judgedcompute"


def run(judge):
    judge.client(ResourceManagementClient).resource_groups.create_or_update(GROUP, {"location": "westeurope"})
    client = judge.client(ComputeManagementClient)
    judge.call("compute operations.list", lambda: client.operations.list(), len)
    disks(judge, client)
    own_machine(judge, client)
    compute_id = machines(judge, client)
    images(judge, client, compute_id)
    galleries(judge, client)


def machines(judge, client):
    call = judge.call
    labs = judge.client(DevTestLabsClient)
    labs.virtual_machines.begin_create_or_update(LAB_GROUP, LAB, "vmcompute", machine(judge)).result()
    compute_id = labs.virtual_machines.get(LAB_GROUP, LAB, "vmcompute").compute_id
    own = (compute_id.split("/")[4], compute_id.split("/")[8])
    vms = client.virtual_machines
    call("compute virtual_machines.get", lambda: vms.get(*own, expand="instanceView"), lambda vm: vm.properties.instance_view.statuses)
    call("compute virtual_machines.instance_view", lambda: vms.instance_view(*own), lambda view: view.statuses)
    call("compute virtual_machines.list", lambda: vms.list(own[0]), len)
    call("compute virtual_machines.list_all", lambda: vms.list_all(), len)
    call("compute virtual_machines.begin_power_off", lambda: vms.begin_power_off(*own))
    call("compute virtual_machines.begin_start", lambda: vms.begin_start(*own))
    call("compute virtual_machines.begin_restart", lambda: vms.begin_restart(*own))
    call("compute virtual_machines.begin_update", lambda: vms.begin_update(*own, {"tags": {"a": "b"}}))
    call("compute virtual_machines.begin_deallocate", lambda: vms.begin_deallocate(*own))
    call("compute virtual_machines.generalize", lambda: vms.generalize(*own))
    call("compute virtual_machine_sizes.list", lambda: client.virtual_machine_sizes.list("westeurope"), len)
    call("compute usage.list", lambda: client.usage.list("westeurope"), len)
    return compute_id


def own_machine(judge, client):
    """A machine that no lab has made."""
    call = judge.call
    networks = judge.client(NetworkManagementClient)
    space = {"location": "westeurope", "properties": {"addressSpace": {"addressPrefixes": ["10.1.0.0/16"]}, "subnets": [{"name": "one", "properties": {"addressPrefix": "10.1.0.0/24"}}]}}
    subnet = networks.virtual_networks.begin_create_or_update(GROUP, "network1", space).result().subnets[0].id
    address = {"name": "ip", "properties": {"subnet": {"id": subnet}, "privateIPAllocationMethod": "Dynamic"}}
    interface = networks.network_interfaces.begin_create_or_update(GROUP, "nic1", {"location": "westeurope", "properties": {"ipConfigurations": [address]}}).result()
    given = {
        "location": "westeurope",
        "properties": {
            "hardwareProfile": {"vmSize": "Standard_B2s"},
            "storageProfile": {
                "imageReference": {"publisher": "Canonical", "offer": "ubuntu-24_04-lts", "sku": "server", "version": "latest"},
                "osDisk": {"createOption": "FromImage", "managedDisk": {"storageAccountType": "Standard_LRS"}},
            },
            "osProfile": {"computerName": "own", "adminUsername": "tester", "adminPassword": "Sim-only-1234!"},
            "networkProfile": {"networkInterfaces": [{"id": interface.id}]},
        },
    }
    vms = client.virtual_machines
    own = (GROUP, "own")
    call("compute virtual_machines.begin_create_or_update", lambda: vms.begin_create_or_update(*own, given), lambda vm: vm.properties.provisioning_state == "Succeeded")
    call("compute virtual_machines.list_available_sizes", lambda: vms.list_available_sizes(*own), len)
    call("compute virtual_machines.begin_redeploy", lambda: vms.begin_redeploy(*own))
    extension = {"location": "westeurope", "properties": {"publisher": "Microsoft.Azure.Extensions", "type": "CustomScript", "typeHandlerVersion": "2.1", "settings": {}}}
    extensions = client.virtual_machine_extensions
    call("compute virtual_machine_extensions.begin_create_or_update", lambda: extensions.begin_create_or_update(*own, "script", extension))
    call("compute virtual_machine_extensions.get", lambda: extensions.get(*own, "script"), lambda one: one.properties.provisioning_state == "Succeeded")
    call("compute virtual_machine_extensions.list", lambda: extensions.list(*own), lambda answer: len(answer.value) == 1)
    call("compute virtual_machine_extensions.begin_update", lambda: extensions.begin_update(*own, "script", {"tags": {"a": "b"}}))
    call("compute virtual_machine_extensions.begin_delete", lambda: extensions.begin_delete(*own, "script"))
    call("compute virtual_machines.begin_delete", lambda: vms.begin_delete(*own))
    judge.refused("compute virtual_machines.get of what is gone", 404, "ResourceNotFound", lambda: vms.get(*own))


def disks(judge, client):
    call = judge.call
    empty = {"location": "westeurope", "properties": {"creationData": {"createOption": "Empty"}, "diskSizeGB": 8}, "sku": {"name": "Standard_LRS"}}
    disk = call("compute disks.begin_create_or_update", lambda: client.disks.begin_create_or_update(GROUP, "disk1", empty))
    call("compute disks.get", lambda: client.disks.get(GROUP, "disk1"), lambda one: one.properties.disk_size_gb == 8)
    call("compute disks.list", lambda: client.disks.list(), len)
    call("compute disks.list_by_resource_group", lambda: client.disks.list_by_resource_group(GROUP), lambda found: len(found) == 1)
    call("compute disks.begin_update", lambda: client.disks.begin_update(GROUP, "disk1", {"tags": {"a": "b"}}))
    access = {"access": "Read", "durationInSeconds": 600}
    call("compute disks.begin_grant_access", lambda: client.disks.begin_grant_access(GROUP, "disk1", access), lambda answer: answer.access_sas)
    call("compute disks.begin_revoke_access", lambda: client.disks.begin_revoke_access(GROUP, "disk1"))
    copy = {"location": "westeurope", "properties": {"creationData": {"createOption": "Copy", "sourceResourceId": disk.id if disk else ""}}}
    call("compute snapshots.begin_create_or_update", lambda: client.snapshots.begin_create_or_update(GROUP, "snap1", copy))
    call("compute snapshots.get", lambda: client.snapshots.get(GROUP, "snap1"))
    call("compute snapshots.list", lambda: client.snapshots.list(), len)
    call("compute snapshots.list_by_resource_group", lambda: client.snapshots.list_by_resource_group(GROUP), len)
    call("compute snapshots.begin_update", lambda: client.snapshots.begin_update(GROUP, "snap1", {"tags": {"a": "b"}}))
    call("compute snapshots.begin_grant_access", lambda: client.snapshots.begin_grant_access(GROUP, "snap1", access), lambda answer: answer.access_sas)
    call("compute snapshots.begin_revoke_access", lambda: client.snapshots.begin_revoke_access(GROUP, "snap1"))


def images(judge, client, compute_id):
    call = judge.call
    given = {"location": "westeurope", "properties": {"sourceVirtualMachine": {"id": compute_id}, "hyperVGeneration": "V2"}}
    call("compute images.begin_create_or_update", lambda: client.images.begin_create_or_update(GROUP, "image1", given))
    call("compute images.get", lambda: client.images.get(GROUP, "image1"), lambda one: one.properties.storage_profile.os_disk)
    call("compute images.list", lambda: client.images.list(), len)
    call("compute images.list_by_resource_group", lambda: client.images.list_by_resource_group(GROUP), len)
    call("compute images.begin_update", lambda: client.images.begin_update(GROUP, "image1", {"tags": {"a": "b"}}))


def galleries(judge, client):
    call = judge.call
    galleries = client.galleries
    call("compute galleries.begin_create_or_update", lambda: galleries.begin_create_or_update(GROUP, "gallery1", {"location": "westeurope", "properties": {"description": "d"}}))
    call("compute galleries.get", lambda: galleries.get(GROUP, "gallery1"), lambda one: one.properties.identifier.unique_name)
    call("compute galleries.list", lambda: galleries.list(), len)
    call("compute galleries.list_by_resource_group", lambda: galleries.list_by_resource_group(GROUP), len)
    call("compute galleries.begin_update", lambda: galleries.begin_update(GROUP, "gallery1", {"tags": {"a": "b"}}))
    definition = {"location": "westeurope", "properties": {"osType": "Linux", "osState": "Generalized", "hyperVGeneration": "V2", "identifier": {"publisher": "p", "offer": "o", "sku": "s"}}}
    images = client.gallery_images
    one = (GROUP, "gallery1", "definition1")
    call("compute gallery_images.begin_create_or_update", lambda: images.begin_create_or_update(*one, definition))
    call("compute gallery_images.get", lambda: images.get(*one))
    call("compute gallery_images.list_by_gallery", lambda: images.list_by_gallery(GROUP, "gallery1"), len)
    call("compute gallery_images.begin_update", lambda: images.begin_update(*one, {"tags": {"a": "b"}}))
    versions = client.gallery_image_versions
    source = client.images.get(GROUP, "image1").id
    regions = [{"name": "westeurope", "regionalReplicaCount": 1}, {"name": "northeurope"}]
    version = {"location": "westeurope", "properties": {"publishingProfile": {"targetRegions": regions}, "storageProfile": {"source": {"id": source}}}}
    call("compute gallery_image_versions.begin_create_or_update", lambda: versions.begin_create_or_update(*one, "1.0.0", version))
    call("compute gallery_image_versions.get", lambda: versions.get(*one, "1.0.0", expand="ReplicationStatus"), lambda got: len(got.properties.replication_status.summary) == 2)
    call("compute gallery_image_versions.list_by_gallery_image", lambda: versions.list_by_gallery_image(*one), len)
    call("compute gallery_image_versions.begin_update", lambda: versions.begin_update(*one, "1.0.0", {"tags": {"a": "b"}}))
    judge.refused("compute gallery_images.begin_delete with versions", 409, "CannotDeleteResource", lambda: images.begin_delete(*one))
    soft_delete = lambda enabled: {"properties": {"softDeletePolicy": {"isSoftDeleteEnabled": enabled}}}
    call("compute galleries.begin_update for soft delete", lambda: galleries.begin_update(GROUP, "gallery1", soft_delete(True)))
    call("compute gallery_image_versions.begin_delete", lambda: versions.begin_delete(*one, "1.0.0"))
    deleted = lambda: client.soft_deleted_resource.list_by_artifact_name(GROUP, "gallery1", "Images", "definition1")
    call("compute soft_deleted_resource.list_by_artifact_name", deleted, lambda found: [version.name for version in found] == ["1.0.0"])
    judge.refused("compute gallery_images.begin_delete with deleted versions", 409, "CannotDeleteResource", lambda: images.begin_delete(*one))
    call("compute galleries.begin_update without soft delete", lambda: galleries.begin_update(GROUP, "gallery1", soft_delete(False)))
    call("compute gallery_images.begin_delete", lambda: images.begin_delete(*one))
    call("compute galleries.begin_delete", lambda: galleries.begin_delete(GROUP, "gallery1"))
    call("compute images.begin_delete", lambda: client.images.begin_delete(GROUP, "image1"))
    call("compute snapshots.begin_delete", lambda: client.snapshots.begin_delete(GROUP, "snap1"))
    call("compute disks.begin_delete", lambda: client.disks.begin_delete(GROUP, "disk1"))
