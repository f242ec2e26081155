// Microsoft.Resources by @azure/arm-resources, @azure/arm-resources-subscriptions and @azure/arm-locks.

import { isDeepStrictEqual } from "node:util";

import { GROUP, call, named, often, some, subscription, tags } from "./calls.mjs";

const version = "2023-09-01";
const SCHEMA = "https://schema.management.azure.com/schemas";
const address = (name) => ({
  $schema: `${SCHEMA}/2019-04-01/deploymentTemplate.json#`,
  contentVersion: "1.0.0.0",
  resources: [{ type: "Microsoft.Network/publicIPAddresses", apiVersion: version, name, location: "[resourceGroup().location]", properties: {} }],
  outputs: { id: { type: "string", value: `[resourceId('Microsoft.Network/publicIPAddresses', '${name}')]` } },
});

export async function resources(arm) {
  await call("resourceGroups.createOrUpdate", () => arm.resourceGroups.createOrUpdate(GROUP, { location: "westeurope", tags }));
  await call("resourceGroups.get", () => arm.resourceGroups.get(GROUP), (group) => group.properties.provisioningState === "Succeeded");
  await call("resourceGroups.list", () => arm.resourceGroups.list(), named(GROUP));
  await call("resourceGroups.update", () => arm.resourceGroups.update(GROUP, { tags: { c: "d" } }));
  await call("resourceGroups.checkExistence", () => arm.resourceGroups.checkExistence(GROUP), (there) => there.body === true);
  await call("providers.list", () => arm.providers.list(), some);
  await call("providers.get", () => arm.providers.get("Microsoft.DevTestLab"), (one) => some(one.resourceTypes));
  const key = `/subscriptions/${subscription}/resourceGroups/${GROUP}/providers/Microsoft.Network/publicIPAddresses/node0`;
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
  await call("resources.checkExistenceById", () => arm.resources.checkExistenceById(key, version), (there) => there.body === true);
  await call("resources.beginUpdateByIdAndWait", () => arm.resources.beginUpdateByIdAndWait(key, version, { tags }, often));
  await call("tagsOperations.beginCreateOrUpdateAtScopeAndWait", () => arm.tagsOperations.beginCreateOrUpdateAtScopeAndWait(key, { properties: { tags } }, often));
  await call("tagsOperations.beginDeleteAtScopeAndWait", () => arm.tagsOperations.beginDeleteAtScopeAndWait(key, often));
  await call("providers.listAtTenantScope", () => arm.providers.listAtTenantScope(), some);
  await call("providerResourceTypes.list", () => arm.providerResourceTypes.list("Microsoft.Compute"), (answer) => some(answer.value));
  await call("providers.unregister", () => arm.providers.unregister("Microsoft.Search"), (one) => one.registrationState === "Unregistered");
  await call("providers.register of the other", () => arm.providers.register("Microsoft.Search"));
  await call("providers.register", () => arm.providers.register("Microsoft.DevTestLab"), (one) => one.registrationState === "Registered");
  await call("resources.beginDeleteByIdAndWait", () => arm.resources.beginDeleteByIdAndWait(key, version, often));
}

export async function deployments(arm) {
  const template = address("node1");
  const deployment = { properties: { mode: "Incremental", template, parameters: {} } };
  const own = [GROUP, "first"];
  await call("deployments.beginValidateAndWait", () => arm.deployments.beginValidateAndWait(...own, deployment, often), (answer) => !answer.error);
  await call("deployments.beginWhatIfAndWait", () => arm.deployments.beginWhatIfAndWait(...own, deployment, often), (answer) => some(answer.changes));
  await call("deployments.beginCreateOrUpdateAndWait", () => arm.deployments.beginCreateOrUpdateAndWait(...own, deployment, often), (one) => one.properties.outputs.id.value);
  await call("deployments.calculateTemplateHash", () => arm.deployments.calculateTemplateHash(template), (answer) => answer.templateHash);
  await call("deployments.get", () => arm.deployments.get(...own), (one) => one.properties.provisioningState === "Succeeded");
  await call("deployments.listByResourceGroup", () => arm.deployments.listByResourceGroup(GROUP), named("first"));
  await call("deployments.exportTemplate", () => arm.deployments.exportTemplate(...own), (one) => one.template);
  const operations = await call("deploymentOperations.list", () => arm.deploymentOperations.list(...own), some);
  await call("deploymentOperations.get", () => arm.deploymentOperations.get(...own, operations[0].operationId));
  await call("deployments.checkExistence", () => arm.deployments.checkExistence(...own), (there) => there.body === true);
  await arm.deployments.beginCreateOrUpdate(GROUP, "cancelled", { properties: { mode: "Incremental", template: address("node2") } });
  await call("deployments.cancel", () => arm.deployments.cancel(GROUP, "cancelled"));
  await call("deployments.beginDeleteAndWait", () => arm.deployments.beginDeleteAndWait(...own, often));
  for (const [suffix, scope, kind] of [
    ["AtSubscriptionScope", [], "subscription"],
    ["AtManagementGroupScope", ["judges"], "managementGroup"],
    ["AtTenantScope", [], "tenant"],
  ]) {
    await above(arm, suffix, scope, kind);
  }
}

/** A deployment above resource groups that deploys into one. */
async function above(arm, suffix, scope, kind) {
  const inner = { mode: "Incremental", template: address("node3"), expressionEvaluationOptions: { scope: "inner" } };
  const nested = { type: "Microsoft.Resources/deployments", apiVersion: "2021-04-01", name: "inner", subscriptionId: subscription, resourceGroup: GROUP, properties: inner };
  const template = { $schema: `${SCHEMA}/2019-08-01/${kind}DeploymentTemplate.json#`, contentVersion: "1.0.0.0", resources: [nested] };
  const given = { location: "westeurope", properties: { mode: "Incremental", template } };
  const own = [...scope, "nodeabove"];
  const ask = (area, operation, parameters, check) => call(`${area}.${operation}`, () => arm[area][operation](...parameters), check);
  await ask("deployments", `beginValidate${suffix}AndWait`, [...own, given, often], (answer) => !answer.error);
  await ask("deployments", `beginWhatIf${suffix}AndWait`, [...own, given, often], (answer) => answer.status === "Succeeded");
  await ask("deployments", `beginCreateOrUpdate${suffix}AndWait`, [...own, given, often], (one) => one.properties.provisioningState === "Succeeded");
  await ask("deployments", `get${suffix}`, own);
  await ask("deployments", `checkExistence${suffix}`, own, (there) => there.body === true);
  await ask("deployments", `list${suffix}`, scope, named("nodeabove"));
  await ask("deployments", `exportTemplate${suffix}`, own, (one) => one.template);
  const operations = await ask("deploymentOperations", `list${suffix}`, own, some);
  await ask("deploymentOperations", `get${suffix}`, [...own, operations[0].operationId]);
  await ask("deployments", `beginDelete${suffix}AndWait`, [...own, often]);
}

export async function subscriptions(client) {
  await call("subscriptions.list", () => client.subscriptions.list(), (all) => all.some((one) => one.subscriptionId === subscription));
  await call("subscriptions.get", () => client.subscriptions.get(subscription), (one) => one.state === "Enabled");
  await call("subscriptions.listLocations", () => client.subscriptions.listLocations(subscription), named("westeurope"));
  await call("tenants.list", () => client.tenants.list(), some);
}

export async function locks(client) {
  const own = [GROUP, "nodelock"];
  await call("managementLocks.createOrUpdateAtResourceGroupLevel", () => client.managementLocks.createOrUpdateAtResourceGroupLevel(...own, { level: "CanNotDelete", notes: "n" }));
  await call("managementLocks.getAtResourceGroupLevel", () => client.managementLocks.getAtResourceGroupLevel(...own), (lock) => lock.level === "CanNotDelete");
  await call("managementLocks.listAtResourceGroupLevel", () => client.managementLocks.listAtResourceGroupLevel(GROUP), named("nodelock"));
  await call("managementLocks.listAtSubscriptionLevel", () => client.managementLocks.listAtSubscriptionLevel(), named("nodelock"));
  await call("managementLocks.deleteAtResourceGroupLevel", () => client.managementLocks.deleteAtResourceGroupLevel(...own));
}
