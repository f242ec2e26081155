"""Microsoft.Resources by azure-mgmt-resource and azure-mgmt-resource-deployments."""

import json
from pathlib import Path

from azure.mgmt.resource.deployments import DeploymentsMgmtClient
from azure.mgmt.resource.resources import ResourceManagementClient

GROUP = "judgedresources"
TEMPLATE = json.loads((Path(__file__).parent.parent / "template.json").read_text())
ABOVE = {
    "$schema": "https://schema.management.azure.com/schemas/2018-05-01/subscriptionDeploymentTemplate.json#",
    "contentVersion": "1.0.0.0",
    "resources": [{"type": "Microsoft.Resources/resourceGroups", "apiVersion": "2021-04-01", "name": "judgedabove", "location": "westeurope", "properties": {}}],
}


def deployment(mode="Incremental", name="ip1"):
    return {"properties": {"mode": mode, "template": TEMPLATE, "parameters": {"name": {"value": name}}}}


def run(judge):
    client = judge.client(ResourceManagementClient)
    groups(judge, client)
    generic(judge, client)
    deployments(judge, judge.client(DeploymentsMgmtClient))
    above(judge, judge.client(DeploymentsMgmtClient))
    call = judge.call
    call("resource_groups.begin_delete", lambda: client.resource_groups.begin_delete(GROUP))
    call("resource_groups.check_existence of none", lambda: client.resource_groups.check_existence(GROUP), lambda there: there is False)


def groups(judge, client):
    call = judge.call
    groups = client.resource_groups
    call("resource_groups.create_or_update", lambda: groups.create_or_update(GROUP, {"location": "westeurope", "tags": {"a": "b"}}))
    call("resource_groups.check_existence", lambda: groups.check_existence(GROUP), lambda there: there is True)
    call("resource_groups.get", lambda: groups.get(GROUP), lambda group: group.properties.provisioning_state == "Succeeded")
    call("resource_groups.list", lambda: groups.list(filter="tagName eq 'a' and tagValue eq 'b'"), lambda found: GROUP in [one.name for one in found])
    call("resource_groups.update", lambda: groups.update(GROUP, {"tags": {"c": "d"}}), lambda group: group.tags == {"c": "d"})
    judge.refused("resource_groups.get of none", 404, "ResourceGroupNotFound", lambda: groups.get("nowhere"))
    call("operations.list", lambda: client.operations.list(), len)
    call("providers.list", lambda: client.providers.list(), len)
    call("providers.get", lambda: client.providers.get("Microsoft.DevTestLab"), lambda one: one.resource_types)
    call("providers.list_at_tenant_scope", lambda: client.providers.list_at_tenant_scope(), len)
    call("providers.get_at_tenant_scope", lambda: client.providers.get_at_tenant_scope("Microsoft.Compute"), lambda one: one.resource_types)
    call("provider_resource_types.list", lambda: client.provider_resource_types.list("Microsoft.Compute"), lambda answer: answer.value)
    call("providers.unregister", lambda: client.providers.unregister("Microsoft.Search"), lambda one: one.registration_state == "Unregistered")
    call("providers.register of the other", lambda: client.providers.register("Microsoft.Search"))
    call("providers.register", lambda: client.providers.register("Microsoft.DevTestLab"), lambda one: one.registration_state == "Registered")


def generic(judge, client):
    call = judge.call
    resources = client.resources
    where = (GROUP, "Microsoft.Network", "", "publicIPAddresses", "ip0")
    version = {"api_version": "2023-09-01"}
    given = {"location": "westeurope", "properties": {"publicIPAllocationMethod": "Static"}}
    made = call("resources.begin_create_or_update", lambda: resources.begin_create_or_update(*where, given, **version))
    key = made.id if made else ""
    call("resources.check_existence", lambda: resources.check_existence(*where, **version), lambda there: there is True)
    call("resources.get", lambda: resources.get(*where, **version))
    call("resources.get_by_id", lambda: resources.get_by_id(key, **version))
    call("resources.begin_create_or_update_by_id", lambda: resources.begin_create_or_update_by_id(key, given, **version))
    call("resources.check_existence_by_id", lambda: resources.check_existence_by_id(key, **version), lambda there: there is True)
    call("resources.begin_update_by_id", lambda: resources.begin_update_by_id(key, {"tags": {"a": "b"}}, **version))
    call("resources.list", lambda: resources.list(filter="resourceType eq 'Microsoft.Network/publicIPAddresses'", expand="createdTime,changedTime"), len)
    call("resources.list by tag", lambda: resources.list(filter="tagName eq 'a' and tagValue eq 'b'"), lambda found: [one.name for one in found] == ["ip0"])
    call("resources.list_by_resource_group", lambda: resources.list_by_resource_group(GROUP), lambda found: len(found) == 1)
    tags = client.tags
    call("tags.begin_create_or_update_at_scope", lambda: tags.begin_create_or_update_at_scope(key, {"properties": {"tags": {"e": "f"}}}))
    call("tags.begin_update_at_scope", lambda: tags.begin_update_at_scope(key, {"operation": "Merge", "properties": {"tags": {"g": "h"}}}))
    call("tags.get_at_scope", lambda: tags.get_at_scope(key), lambda found: found.properties.tags == {"e": "f", "g": "h"})
    call("tags.begin_delete_at_scope", lambda: tags.begin_delete_at_scope(key))
    call("tags.create_or_update", lambda: tags.create_or_update("judged"), lambda name: name.tag_name == "judged")
    call("tags.create_or_update_value", lambda: tags.create_or_update_value("judged", "yes"), lambda value: value.tag_value == "yes")
    call("tags.list", lambda: tags.list(), lambda found: "judged" in [one.tag_name for one in found])
    call("tags.delete_value", lambda: tags.delete_value("judged", "yes"))
    call("tags.delete", lambda: tags.delete("judged"))
    call("resources.begin_delete_by_id", lambda: resources.begin_delete_by_id(key, **version))
    call("resources.begin_create_or_update again", lambda: resources.begin_create_or_update(*where, given, **version))
    groups = client.resource_groups
    exported = {"resources": ["*"], "options": "IncludeParameterDefaultValue"}
    call("resource_groups.begin_export_template", lambda: groups.begin_export_template(GROUP, exported), lambda answer: len(answer.template["resources"]) == 1)
    other = groups.create_or_update(GROUP + "2", {"location": "westeurope"})
    move = {"resources": [key], "targetResourceGroup": other.id}
    call("resources.begin_validate_move_resources", lambda: resources.begin_validate_move_resources(GROUP, move))
    call("resources.begin_move_resources", lambda: resources.begin_move_resources(GROUP, move))
    back = {"resources": [key.replace(GROUP, GROUP + "2")], "targetResourceGroup": groups.get(GROUP).id}
    call("resources.begin_move_resources back", lambda: resources.begin_move_resources(GROUP + "2", back))
    call("resource_groups.begin_delete of the other", lambda: groups.begin_delete(GROUP + "2"))
    call("resources.begin_delete", lambda: resources.begin_delete(*where, **version))
    # A provider that the emulator only keeps things of.
    plan = (GROUP, "Microsoft.Web", "", "serverfarms", "plan0")
    of_web = {"api_version": "2023-12-01"}
    call("resources.begin_create_or_update of a plan", lambda: resources.begin_create_or_update(*plan, {"location": "westeurope", "sku": {"name": "B1"}, "properties": {"reserved": True}}, **of_web))
    call("resources.get of a plan", lambda: resources.get(*plan, **of_web), lambda one: one.properties["reserved"] and one.sku.name == "B1")
    call("resources.begin_delete of a plan", lambda: resources.begin_delete(*plan, **of_web))


def deployments(judge, client):
    call = judge.call
    deployments = client.deployments
    own = (GROUP, "first")
    call("deployments.begin_validate", lambda: deployments.begin_validate(*own, deployment()), lambda answer: answer.error is None)
    call("deployments.begin_what_if", lambda: deployments.begin_what_if(*own, deployment()), lambda answer: answer.status == "Succeeded" and len(answer.changes) >= 1)
    call("deployments.begin_create_or_update", lambda: deployments.begin_create_or_update(*own, deployment()), lambda one: one.properties.outputs["id"]["value"])
    call("deployments.get", lambda: deployments.get(*own), lambda one: one.properties.provisioning_state == "Succeeded")
    call("deployments.check_existence", lambda: deployments.check_existence(*own), lambda there: there is True)
    call("deployments.list_by_resource_group", lambda: deployments.list_by_resource_group(GROUP, filter="provisioningState eq 'Succeeded'", top=5), len)
    call("deployments.export_template", lambda: deployments.export_template(*own), lambda one: one.template)
    listed = call("deployment_operations.list", lambda: client.deployment_operations.list(*own), len) or []
    if listed:
        call("deployment_operations.get", lambda: client.deployment_operations.get(*own, listed[0].operation_id))
    running = deployments.begin_create_or_update(GROUP, "cancelled", deployment(name="ip2"), polling=False)
    call("deployments.cancel", lambda: deployments.cancel(GROUP, "cancelled"))
    del running
    judge.refused("deployments.get of none", 404, "DeploymentNotFound", lambda: deployments.get(GROUP, "none"))
    call("deployments.calculate_template_hash", lambda: deployments.calculate_template_hash(TEMPLATE), lambda answer: answer.template_hash)
    call("deployments.begin_delete", lambda: deployments.begin_delete(*own))


def above(judge, client):
    """Deployments above resource groups: at subscription scope, for a management group and for the tenant."""
    group = {
        "type": "Microsoft.Resources/deployments",
        "apiVersion": "2021-04-01",
        "name": "inner",
        "subscriptionId": judge.subscription,
        "resourceGroup": GROUP,
        "properties": {**deployment(name="ip3")["properties"], "expressionEvaluationOptions": {"scope": "inner"}},
    }
    slow = {**TEMPLATE, "resources": [{**TEMPLATE["resources"][0], "name": "[concat('slow', copyIndex())]", "copy": {"name": "loop", "count": 40, "mode": "serial"}}]}
    group_slowly = {**group, "properties": {**group["properties"], "template": slow}}
    schema = "https://schema.management.azure.com/schemas/2019-08-01/{}DeploymentTemplate.json#"
    given = lambda template: {"location": "westeurope", "properties": {"mode": "Incremental", "template": template, "parameters": {}}}
    for suffix, scope, name in [
        ("_at_subscription_scope", (), "subscription"),
        ("_at_management_group_scope", ("judges",), "managementGroup"),
        ("_at_tenant_scope", (), "tenant"),
    ]:
        into = {"$schema": schema.format(name), "contentVersion": "1.0.0.0"}
        at_scope(judge, client, suffix, scope, given({**into, "resources": [group]}), given({**into, "resources": [group_slowly]}))
    judge.call("deployments.begin_create_or_update_at_subscription_scope of a group", lambda: client.deployments.begin_create_or_update_at_subscription_scope("groups", given(ABOVE)))


def at_scope(judge, client, suffix, scope, given, slow):
    own = (*scope, "above")

    def call(operation, *more, check=None, of=client.deployments, area="deployments", name=own):
        return judge.call(f"{area}.{operation}{suffix}", lambda: getattr(of, operation + suffix)(*name, *more), check)

    call("begin_validate", given)
    call("begin_what_if", given, check=lambda answer: answer.status == "Succeeded")
    call("begin_create_or_update", given, check=lambda one: one.properties.provisioning_state == "Succeeded")
    call("get")
    call("check_existence", check=lambda there: there is True)
    call("list", name=scope, check=len)
    call("export_template", check=lambda one: one.template)
    operations = {"of": client.deployment_operations, "area": "deployment_operations"}
    listed = call("list", check=len, **operations) or []
    if listed:
        call("get", listed[0].operation_id, **operations)
    call("begin_delete")
    cancelled = (*scope, "cancelled")
    getattr(client.deployments, "begin_create_or_update" + suffix)(*cancelled, slow, polling=False)
    call("cancel", name=cancelled)
