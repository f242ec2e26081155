"""Microsoft.DevTestLab by azure-mgmt-devtestlabs: every operation of the client but those of Service Fabric."""

from datetime import datetime, timezone

from azure.mgmt.devtestlabs import DevTestLabsClient
from azure.mgmt.devtestlabs.models import (
    ArtifactInstallProperties,
    ArtifactParameterProperties,
    AttachNewDataDiskOptions,
    DataDiskProperties,
    EvaluatePoliciesProperties,
)
from azure.mgmt.resource.resources import ResourceManagementClient

GROUP = "devtestlabs"
LAB = "contoso"
SOURCE = "public repo"
UBUNTU = {"offer": "ubuntu-24_04-lts", "publisher": "Canonical", "sku": "server", "osType": "Linux", "version": "latest"}


def machine(judge, **more):
    network = f"{judge.lab}/virtualnetworks/Dtl{LAB}"
    properties = {
        "size": "Standard_B2s",
        "userName": "tester",
        "password": "Sim-only-1234!",
        "labVirtualNetworkId": network,
        "labSubnetName": f"Dtl{LAB}Subnet",
        "galleryImageReference": UBUNTU,
        "storageType": "Standard",
    }
    return {"location": "westeurope", "properties": {**properties, **more}}


def run(judge):
    client = judge.client(DevTestLabsClient)
    labs(judge, client)
    sources(judge, client)
    machines(judge, client)
    images(judge, client)
    environments(judge, client)
    in_lab(judge, client)
    schedules(judge, client)
    lab_wide(judge, client)
    shared(judge, judge.client(ResourceManagementClient))


def labs(judge, client):
    call = judge.call
    own = ("judged", "python")
    call("provider_operations.list", lambda: client.provider_operations.list())
    call("labs.list_by_subscription", lambda: client.labs.list_by_subscription(), lambda labs: LAB in [lab.name for lab in labs])
    call("labs.list_by_resource_group", lambda: client.labs.list_by_resource_group(GROUP))
    judge.client(ResourceManagementClient).resource_groups.create_or_update("judged", {"location": "westeurope"})
    made = call("labs.begin_create_or_update", lambda: client.labs.begin_create_or_update(*own, {"location": "westeurope"}))
    judge.refused("labs.get of another group", 404, "ResourceGroupNotFound", lambda: client.labs.get("nowhere", "python"))
    call("labs.get", lambda: client.labs.get(*own), lambda lab: lab.id == made.id and lab.provisioning_state == "Succeeded")
    call("labs.update", lambda: client.labs.update(*own, tags={"a": "b"}), lambda lab: lab.tags == {"a": "b"})
    call("labs.begin_delete", lambda: client.labs.begin_delete(*own))
    judge.refused("labs.get of what is gone", 404, "ResourceNotFound", lambda: client.labs.get(*own))


def sources(judge, client):
    call = judge.call
    lab = (GROUP, LAB)
    call("artifact_sources.list", lambda: client.artifact_sources.list(*lab), lambda found: SOURCE in [one.name for one in found])
    call("artifact_sources.get", lambda: client.artifact_sources.get(*lab, SOURCE))
    given = {"properties": {"uri": "https://example.org/a.git", "sourceType": "GitHub", "folderPath": "/Artifacts", "branchRef": "main", "securityToken": "t", "status": "Enabled"}}
    call("artifact_sources.create_or_update", lambda: client.artifact_sources.create_or_update(*lab, "own", given))
    call("artifact_sources.update", lambda: client.artifact_sources.update(*lab, "own", tags={"a": "b"}))
    call("artifact_sources.delete", lambda: client.artifact_sources.delete(*lab, "own"))
    call("artifacts.list", lambda: client.artifacts.list(*lab, SOURCE), len)
    call("artifacts.get", lambda: client.artifacts.get(*lab, SOURCE, "linux-apt-package"))
    request = {"virtualMachineName": "vm1", "parameters": [{"name": "packages", "value": "git"}], "location": "westeurope", "fileUploadOptions": "None"}
    call("artifacts.generate_arm_template", lambda: client.artifacts.generate_arm_template(*lab, SOURCE, "linux-apt-package", request))
    call("arm_templates.list", lambda: client.arm_templates.list(*lab, SOURCE), len)
    call("arm_templates.get", lambda: client.arm_templates.get(*lab, SOURCE, "Storage"), lambda one: one.contents)
    call("gallery_images.list", lambda: client.gallery_images.list(*lab), len)


def machines(judge, client):
    call = judge.call
    lab = (GROUP, LAB)
    own = (*lab, "vmpy")
    vms = client.virtual_machines
    made = call("virtual_machines.begin_create_or_update", lambda: vms.begin_create_or_update(*own, machine(judge, allowClaim=False)))
    call("virtual_machines.get", lambda: vms.get(*own, expand="properties($expand=artifacts,computeVm,networkInterface,applicableSchedule)"), lambda vm: vm.compute_id and vm.id == made.id)
    call("virtual_machines.list", lambda: vms.list(*lab, filter="tolower(name) eq 'vmpy'", top=5, orderby="name"), lambda found: [vm.name for vm in found] == ["vmpy"])
    call("virtual_machines.update", lambda: vms.update(*own, tags={"a": "b"}), lambda vm: vm.tags == {"a": "b"})
    artifact = f"{judge.lab}/artifactsources/{SOURCE}/artifacts/linux-apt-package"
    parameters = [ArtifactParameterProperties(name="packages", value="git")]
    call("virtual_machines.begin_apply_artifacts", lambda: vms.begin_apply_artifacts(*own, artifacts=[ArtifactInstallProperties(artifact_id=artifact, parameters=parameters)]))
    call("virtual_machines.begin_stop", lambda: vms.begin_stop(*own))
    call("virtual_machines.begin_start", lambda: vms.begin_start(*own))
    call("virtual_machines.begin_restart", lambda: vms.begin_restart(*own))
    call("virtual_machines.begin_redeploy", lambda: vms.begin_redeploy(*own))
    call("virtual_machines.begin_resize", lambda: vms.begin_resize(*own, size="Standard_D2s_v5"))
    disk = DataDiskProperties(attach_new_data_disk_options=AttachNewDataDiskOptions(disk_name="data1", disk_size_gi_b=16, disk_type="Standard"))
    call("virtual_machines.begin_add_data_disk", lambda: vms.begin_add_data_disk(*own, disk))
    disks = call("disks.list", lambda: client.disks.list(*lab, "@me"), len) or []
    added = disks[0].id if disks else f"{judge.lab}/users/@me/disks/data1"
    call("virtual_machines.begin_detach_data_disk", lambda: vms.begin_detach_data_disk(*own, existing_lab_disk_id=added))
    call("virtual_machines.list_applicable_schedules", lambda: vms.list_applicable_schedules(*own))
    windows = {"galleryImageReference": {"offer": "WindowsServer", "publisher": "MicrosoftWindowsServer", "sku": "2022-datacenter-g2", "osType": "Windows", "version": "latest"}}
    vms.begin_create_or_update(*lab, "vmwin", machine(judge, **windows)).result()
    call("virtual_machines.get_rdp_file_contents", lambda: vms.get_rdp_file_contents(*lab, "vmwin"), lambda answer: answer.contents)
    call("virtual_machines.begin_un_claim", lambda: vms.begin_un_claim(*own))
    call("virtual_machines.begin_claim", lambda: vms.begin_claim(*own))
    call("virtual_machines.begin_transfer_disks", lambda: vms.begin_transfer_disks(*own))
    schedule = {"location": "westeurope", "properties": {"status": "Enabled", "taskType": "LabVmsShutdownTask", "dailyRecurrence": {"time": "1900"}, "timeZoneId": "UTC"}}
    vm_schedules = client.virtual_machine_schedules
    one = (*own, "LabVmsShutdown")
    call("virtual_machine_schedules.create_or_update", lambda: vm_schedules.create_or_update(*one, schedule))
    call("virtual_machine_schedules.get", lambda: vm_schedules.get(*one))
    call("virtual_machine_schedules.list", lambda: vm_schedules.list(*own), lambda found: len(found) == 1)
    call("virtual_machine_schedules.update", lambda: vm_schedules.update(*one, tags={"a": "b"}))
    call("virtual_machine_schedules.begin_execute", lambda: vm_schedules.begin_execute(*one))
    call("virtual_machine_schedules.delete", lambda: vm_schedules.delete(*one))
    judge.refused("virtual_machines.get of none", 404, "ResourceNotFound", lambda: vms.get(*lab, "none"))


def images(judge, client):
    call = judge.call
    lab = (GROUP, LAB)
    images = client.custom_images
    source = f"{judge.lab}/virtualmachines/vmpy"
    given = {"properties": {"description": "from a machine", "vm": {"sourceVmId": source, "linuxOsInfo": {"linuxOsState": "NonDeprovisioned"}}}}
    made = call("custom_images.begin_create_or_update", lambda: images.begin_create_or_update(*lab, "image1", given))
    call("custom_images.get", lambda: images.get(*lab, "image1", expand="properties($expand=vm)"), lambda image: image.id == made.id)
    call("custom_images.list", lambda: images.list(*lab), len)
    call("custom_images.update", lambda: images.update(*lab, "image1", tags={"a": "b"}))
    call("custom_images.begin_delete", lambda: images.begin_delete(*lab, "image1"))


def environments(judge, client):
    call = judge.call
    lab = (GROUP, LAB)
    environments = client.environments
    own = (*lab, "@me", "envpy")
    template = f"{judge.lab}/artifactsources/{SOURCE}/armtemplates/Storage"
    given = {"properties": {"deploymentProperties": {"armTemplateId": template, "parameters": []}}}
    made = call("environments.begin_create_or_update", lambda: environments.begin_create_or_update(*own, given))
    call("environments.get", lambda: environments.get(*own), lambda one: one.id == made.id and one.resource_group_id)
    call("environments.list", lambda: environments.list(*lab, "@all"), len)
    call("environments.update", lambda: environments.update(*own, tags={"a": "b"}))
    call("environments.begin_delete", lambda: environments.begin_delete(*own))


def in_lab(judge, client):
    call = judge.call
    lab = (GROUP, LAB)
    formula = {"location": "westeurope", "properties": {"description": "d", "osType": "Linux", "formulaContent": machine(judge)}}
    call("formulas.begin_create_or_update", lambda: client.formulas.begin_create_or_update(*lab, "formula1", formula))
    call("formulas.get", lambda: client.formulas.get(*lab, "formula1"))
    call("formulas.list", lambda: client.formulas.list(*lab), len)
    call("formulas.update", lambda: client.formulas.update(*lab, "formula1", tags={"a": "b"}))
    call("formulas.delete", lambda: client.formulas.delete(*lab, "formula1"))

    call("users.begin_create_or_update", lambda: client.users.begin_create_or_update(*lab, "@me", {"location": "westeurope"}))
    call("users.get", lambda: client.users.get(*lab, "@me"))
    call("users.list", lambda: client.users.list(*lab), len)
    call("users.update", lambda: client.users.update(*lab, "@me", tags={"a": "b"}))
    secret = (*lab, "@me", "secret1")
    call("secrets.begin_create_or_update", lambda: client.secrets.begin_create_or_update(*secret, {"properties": {"value": "hidden"}}))
    call("secrets.get", lambda: client.secrets.get(*secret))
    call("secrets.list", lambda: client.secrets.list(*lab, "@me"), len)
    call("secrets.update", lambda: client.secrets.update(*secret, tags={"a": "b"}))
    call("secrets.delete", lambda: client.secrets.delete(*secret))
    disk = (*lab, "@me", "disk1")
    given = {"location": "westeurope", "properties": {"diskType": "Standard", "diskSizeGiB": 32, "diskBlobName": "disk1"}}
    call("disks.begin_create_or_update", lambda: client.disks.begin_create_or_update(*disk, given))
    call("disks.get", lambda: client.disks.get(*disk))
    vm = f"{judge.lab}/virtualmachines/vmpy"
    call("disks.begin_attach", lambda: client.disks.begin_attach(*disk, leased_by_lab_vm_id=vm))
    call("disks.begin_detach", lambda: client.disks.begin_detach(*disk, leased_by_lab_vm_id=vm))
    call("disks.update", lambda: client.disks.update(*disk, tags={"a": "b"}))
    call("disks.begin_delete", lambda: client.disks.begin_delete(*disk))

    call("virtual_networks.list", lambda: client.virtual_networks.list(*lab), len)
    call("virtual_networks.get", lambda: client.virtual_networks.get(*lab, f"Dtl{LAB}", expand="properties($expand=externalSubnets)"))
    call("virtual_networks.begin_create_or_update", lambda: client.virtual_networks.begin_create_or_update(*lab, "own", {"location": "westeurope", "properties": {"description": "own"}}))
    call("virtual_networks.update", lambda: client.virtual_networks.update(*lab, "own", tags={"a": "b"}))
    call("virtual_networks.begin_delete", lambda: client.virtual_networks.begin_delete(*lab, "own"))

    policy = {"location": "westeurope", "properties": {"factName": "LabVmCount", "threshold": "5", "evaluatorType": "MaxValuePolicy", "status": "Enabled"}}
    one = (*lab, "default", "MaxVmsAllowedPerLab")
    call("policies.create_or_update", lambda: client.policies.create_or_update(*one, policy))
    call("policies.get", lambda: client.policies.get(*one))
    call("policies.list", lambda: client.policies.list(*lab, "default"), len)
    call("policies.update", lambda: client.policies.update(*one, tags={"a": "b"}))
    call("policies.delete", lambda: client.policies.delete(*one))
    question = [EvaluatePoliciesProperties(fact_name="LabVmCount", user_object_id="44444444-4444-4444-8444-444444444444", value_offset="1")]
    call("policy_sets.evaluate_policies", lambda: client.policy_sets.evaluate_policies(*lab, "default", policies=question))

    cost = {"location": "westeurope", "properties": {"targetCost": {"status": "Enabled", "target": 100, "cycleType": "CalendarMonth"}, "currencyCode": "EUR"}}
    call("costs.create_or_update", lambda: client.costs.create_or_update(*lab, "targetCost", cost))
    call("costs.get", lambda: client.costs.get(*lab, "targetCost"))
    channel = {"location": "westeurope", "properties": {"webHookUrl": "https://example.org/hook", "events": [{"eventName": "AutoShutdown"}]}}
    channels = client.notification_channels
    call("notification_channels.create_or_update", lambda: channels.create_or_update(*lab, "autoShutdown", channel))
    call("notification_channels.get", lambda: channels.get(*lab, "autoShutdown"))
    call("notification_channels.list", lambda: channels.list(*lab), len)
    call("notification_channels.update", lambda: channels.update(*lab, "autoShutdown", tags={"a": "b"}))
    call("notification_channels.notify", lambda: channels.notify(*lab, "autoShutdown", event_name="AutoShutdown", json_payload="{}"))
    call("notification_channels.delete", lambda: channels.delete(*lab, "autoShutdown"))
    runner = {"location": "westeurope", "identity": {"type": "userAssigned"}}
    call("service_runners.create_or_update", lambda: client.service_runners.create_or_update(*lab, "runner1", runner))
    call("service_runners.get", lambda: client.service_runners.get(*lab, "runner1"))
    call("service_runners.delete", lambda: client.service_runners.delete(*lab, "runner1"))


def schedules(judge, client):
    call = judge.call
    lab = (GROUP, LAB)
    given = {"location": "westeurope", "properties": {"status": "Enabled", "taskType": "LabVmsShutdownTask", "dailyRecurrence": {"time": "1900"}, "timeZoneId": "UTC"}}
    one = (*lab, "LabVmsShutdown")
    call("schedules.create_or_update", lambda: client.schedules.create_or_update(*one, given))
    call("schedules.get", lambda: client.schedules.get(*one))
    call("schedules.list", lambda: client.schedules.list(*lab), len)
    call("schedules.list_applicable", lambda: client.schedules.list_applicable(*one))
    call("schedules.update", lambda: client.schedules.update(*one, tags={"a": "b"}))
    call("schedules.begin_execute", lambda: client.schedules.begin_execute(*one))
    call("schedules.delete", lambda: client.schedules.delete(*one))

    every = client.global_schedules
    vm = client.virtual_machines.get(*lab, "vmpy").compute_id
    given["properties"]["targetResourceId"] = vm
    one = (GROUP, "shutdown-computevm-vmpy")
    call("global_schedules.create_or_update", lambda: every.create_or_update(*one, given))
    call("global_schedules.get", lambda: every.get(*one))
    call("global_schedules.list_by_resource_group", lambda: every.list_by_resource_group(GROUP), len)
    call("global_schedules.list_by_subscription", lambda: every.list_by_subscription(), len)
    call("global_schedules.update", lambda: every.update(*one, tags={"a": "b"}))
    call("global_schedules.begin_retarget", lambda: every.begin_retarget(*one, current_resource_id=vm, target_resource_id=vm))
    call("global_schedules.begin_execute", lambda: every.begin_execute(*one))
    call("global_schedules.delete", lambda: every.delete(*one))


def lab_wide(judge, client):
    call = judge.call
    lab = (GROUP, LAB)
    labs = client.labs
    call("labs.begin_create_environment", lambda: labs.begin_create_environment(*lab, {"name": "vmlab", **machine(judge, allowClaim=True)}))
    call("labs.begin_claim_any_vm", lambda: labs.begin_claim_any_vm(*lab))
    call("labs.list_vhds", lambda: labs.list_vhds(*lab))
    call("labs.generate_upload_uri", lambda: labs.generate_upload_uri(*lab, blob_name="own.vhd"), lambda answer: answer.upload_uri)
    usage = {"blob_storage_absolute_sas_uri": "https://example.org/container?sig=x", "usage_start_date": datetime(2026, 1, 1, tzinfo=timezone.utc)}
    call("labs.begin_export_resource_usage", lambda: labs.begin_export_resource_usage(*lab, **usage))
    source = f"{judge.lab}/virtualmachines/vmpy"
    client.labs.begin_create_or_update(GROUP, "other", {"location": "westeurope"}).result()
    call("labs.begin_import_virtual_machine", lambda: labs.begin_import_virtual_machine(GROUP, "other", source_virtual_machine_resource_id=source, destination_virtual_machine_name="imported"))
    call("virtual_machines.begin_delete", lambda: client.virtual_machines.begin_delete(*lab, "vmlab"))
    call("users.begin_delete", lambda: client.users.begin_delete(*lab, "@me"))


def shared(judge, client):
    """Galleries of a lab: only an api-version that has no SDK of its own knows them, so that the general client of resources asks."""
    call = judge.call
    resources = client.resources
    preview = {"api_version": "2018-10-15-preview"}
    compute = {"api_version": "2024-03-03"}
    gallery = judge.lab.split("/providers/")[0] + "/providers/Microsoft.Compute/galleries/judgedshared"
    attached = f"{judge.lab}/sharedgalleries/judged"
    identifier = {"publisher": "contoso", "offer": "judged", "sku": "shared"}
    definition = {"osType": "Linux", "osState": "Generalized", "hyperVGeneration": "V2", "identifier": identifier}
    resources.begin_create_or_update_by_id(gallery, {"location": "westeurope"}, **compute).result()
    resources.begin_create_or_update_by_id(f"{gallery}/images/one", {"location": "westeurope", "properties": definition}, **compute).result()
    given = {"properties": {"galleryId": gallery, "allowAllImages": "Disabled"}}
    enabled = {"properties": {"definitionName": "one", "enableState": "Enabled"}}
    call("shared_galleries.create_or_update", lambda: resources.begin_create_or_update_by_id(attached, given, **preview))
    call("shared_galleries.get", lambda: resources.get_by_id(attached, **preview), lambda one: one.properties["galleryId"].lower() == gallery.lower())
    call("shared_galleries.update", lambda: resources.begin_update_by_id(attached, {"tags": {"a": "b"}}, **preview))
    call("shared_images.create_or_update", lambda: resources.begin_create_or_update_by_id(f"{attached}/sharedimages/one", enabled, **preview))
    call("shared_images.get", lambda: resources.get_by_id(f"{attached}/sharedimages/one", **preview), lambda one: one.properties["osType"] == "Linux")
    call("shared_images.delete", lambda: resources.begin_delete_by_id(f"{attached}/sharedimages/one", **preview))
    call("shared_galleries.delete", lambda: resources.begin_delete_by_id(attached, **preview))
    call("shared_galleries.check_existence", lambda: resources.check_existence_by_id(attached, **preview), lambda there: there is False)
    for what in [f"{gallery}/images/one", gallery]:
        call(f"delete {what.rsplit('/', 1)[1]}", lambda what=what: resources.begin_delete_by_id(what, **compute))
