// Microsoft.Network and Microsoft.Storage, as far as labs and environments need them.

import { GROUP, call, named, often, some, tags } from "./calls.mjs";

export async function network(client) {
  const inGroup = { location: "westeurope" };
  const kinds = {
    virtualNetworks: ["nodenet", { ...inGroup, addressSpace: { addressPrefixes: ["10.1.0.0/16"] } }],
    publicIPAddresses: ["nodeip", { ...inGroup, publicIPAllocationMethod: "Static" }],
    networkSecurityGroups: ["nodensg", { ...inGroup, securityRules: [] }],
  };
  const make = async (kind, name, given) => {
    const made = await call(`${kind}.beginCreateOrUpdateAndWait`, () => client[kind].beginCreateOrUpdateAndWait(GROUP, name, given, often));
    await call(`${kind}.get`, () => client[kind].get(GROUP, name));
    await call(`${kind}.list`, () => client[kind].list(GROUP), named(name));
    return made;
  };
  const made = {};
  for (const [kind, [name, given]] of Object.entries(kinds)) made[kind] = await make(kind, name, given);
  await call("virtualNetworks.listAll", () => client.virtualNetworks.listAll(), some);
  const subnet = [GROUP, "nodenet", "nodesubnet"];
  const part = await call("subnets.beginCreateOrUpdateAndWait", () => client.subnets.beginCreateOrUpdateAndWait(...subnet, { addressPrefix: "10.1.0.0/24" }, often));
  await call("subnets.get", () => client.subnets.get(...subnet));
  await call("subnets.list", () => client.subnets.list(GROUP, "nodenet"), named("nodesubnet"));
  const ipConfigurations = [{ name: "first", subnet: { id: part?.id }, publicIPAddress: { id: made.publicIPAddresses?.id } }];
  await make("networkInterfaces", "nodenic", { ...inGroup, ipConfigurations });
  await call("networkInterfaces.beginDeleteAndWait", () => client.networkInterfaces.beginDeleteAndWait(GROUP, "nodenic", often));
  await call("subnets.beginDeleteAndWait", () => client.subnets.beginDeleteAndWait(...subnet, often));
  for (const [kind, [name]] of Object.entries(kinds)) await call(`${kind}.beginDeleteAndWait`, () => client[kind].beginDeleteAndWait(GROUP, name, often));
}

export async function storage(client) {
  const given = { location: "westeurope", kind: "StorageV2", sku: { name: "Standard_LRS" } };
  const account = [GROUP, "judgedbynode"];
  const wanted = { name: account[1], type: "Microsoft.Storage/storageAccounts" };
  await call("storageAccounts.checkNameAvailability", () => client.storageAccounts.checkNameAvailability(wanted), (answer) => answer.nameAvailable);
  await call("storageAccounts.beginCreateAndWait", () => client.storageAccounts.beginCreateAndWait(...account, given, often), (one) => one.primaryEndpoints.blob);
  await call("storageAccounts.getProperties", () => client.storageAccounts.getProperties(...account));
  await call("storageAccounts.listKeys", () => client.storageAccounts.listKeys(...account), (answer) => answer.keys.length === 2);
  await call("storageAccounts.listByResourceGroup", () => client.storageAccounts.listByResourceGroup(GROUP), some);
  await call("storageAccounts.list", () => client.storageAccounts.list(), some);
  await call("storageAccounts.update", () => client.storageAccounts.update(...account, { tags }));
  await call("storageAccounts.delete", () => client.storageAccounts.delete(...account));
}
