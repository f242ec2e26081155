// Calls the emulator with Microsoft's SDKs for JavaScript and says what came of each call.
//
// Started with the emulator's ready line on standard input. Prints one line of JSON a call: {"operation", "error"?}.
// Exit code 0 when all went well.

import { ComputeManagementClient } from "@azure/arm-compute";
import { DevTestLabsClient } from "@azure/arm-devtestlabs";
import { ManagementLockClient } from "@azure/arm-locks";
import { NetworkManagementClient } from "@azure/arm-network";
import { ResourceManagementClient } from "@azure/arm-resources";
import { StorageManagementClient } from "@azure/arm-storage";
import { SubscriptionClient } from "@azure/arm-resources-subscriptions";

import { GROUP, call, client, failed, often, subscription } from "./calls.mjs";
import { compute, ownMachine } from "./compute.mjs";
import { inLab, labWide, labs, machines, schedules, shared } from "./devtestlabs.mjs";
import { network, storage } from "./network_and_storage.mjs";
import { deployments, locks, resources, subscriptions } from "./resources.mjs";

const arm = client(ResourceManagementClient, subscription);
const dtl = client(DevTestLabsClient, subscription);
await resources(arm);
await deployments(arm);
await subscriptions(client(SubscriptionClient));
await locks(client(ManagementLockClient, subscription));
await labs(dtl);
await machines(dtl);
await inLab(dtl);
await schedules(dtl);
const networks = client(NetworkManagementClient, subscription);
const computers = client(ComputeManagementClient, subscription);
await network(networks);
await ownMachine(computers, networks);
await compute(computers, dtl);
await storage(client(StorageManagementClient, subscription));
await labWide(dtl);
await shared(arm);
await call("resourceGroups.beginDeleteAndWait", () => arm.resourceGroups.beginDeleteAndWait(GROUP, often));
process.exit(failed() === 0 ? 0 : 1);
