// What every area uses: the clients, and the report of each call.

import { text } from "node:stream/consumers";

import { ClientSecretCredential } from "@azure/identity";

export const ready = JSON.parse(await text(process.stdin));
export const subscription = ready.subscriptions[0].subscriptionId;
export const lab = ready.subscriptions[0].labs[0];
export const LAB = ["devtestlabs", "contoso"];
export const GROUP = "judgedbynode";
export const often = { updateIntervalInMs: 100 };
export const tags = { a: "b" };
let failures = 0;
// A poller whose first request fails rejects a second time where nobody waits; the first time is reported.
process.on("unhandledRejection", () => {});

/** A management client of this class; only that of subscriptions is not for one. */
export function client(Kind, ...scope) {
  const credential = new ClientSecretCredential(ready.tenantId, ready.clientId, ready.clientSecret, {
    authorityHost: ready.authority,
    disableInstanceDiscovery: true,
  });
  const endpoint = ready.resourceManager;
  return new Kind(credential, ...scope, { endpoint, credentialScopes: [`${endpoint}.default`] });
}

/** Awaits a call, reads all pages of a list, and reports what came of it. */
export async function call(operation, run, check) {
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
    failures += 1;
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
export async function refused(operation, code, run) {
  const line = { operation };
  try {
    await run();
    line.error = "nothing was thrown";
  } catch (error) {
    if (error.code !== code) line.error = `${error.code}: ${error.message}`;
  }
  failures += line.error ? 1 : 0;
  console.log(JSON.stringify(line));
}

export const some = (items) => items.length > 0;
export const named = (name) => (items) => items.some((item) => item.name === name);

/** How many calls did not go as they should. */
export const failed = () => failures;
