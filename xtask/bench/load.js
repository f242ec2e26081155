// Puts load on an emulator, or on its peer. READY is the line that it says when it is ready.
//   node load.js READY requests COUNT MACHINES: seven of ten look at a machine, one changes its tags, one makes something, one deletes that.
//   node load.js READY lists COUNT COLLECTION: so many lists, each to its end.
// Says on one line how many requests it sent and how many resources they listed.
'use strict';

const { readFileSync } = require('node:fs');
const https = require('node:https');

const CONNECTIONS = 16;
const [line, mode, count, of] = process.argv.slice(2);
const ready = JSON.parse(line);
const origin = ready.resourceManager.slice(0, -1);
const providers = '/subscriptions/22222222-2222-4222-8222-222222222222/resourceGroups/bench/providers';
const agent = new https.Agent({ keepAlive: true, maxSockets: CONNECTIONS, ca: readFileSync(ready.caFile) });
const said = { requests: 0, items: 0 };

function send(method, url, headers, body) {
  said.requests += 1;
  return new Promise((resolve, reject) => {
    const request = https.request(url, { method, headers, agent }, (response) => {
      const parts = [];
      response.on('data', (part) => parts.push(part));
      response.on('error', reject);
      response.on('end', () => {
        const answer = Buffer.concat(parts).toString();
        if (response.statusCode < 300) resolve(answer);
        else reject(new Error(`${method} ${url}: ${response.statusCode} ${answer}`));
      });
    });
    request.on('error', reject);
    request.end(body);
  });
}

async function authorization() {
  if (!ready.clientId) return {};
  const form = { grant_type: 'client_credentials', client_id: ready.clientId, client_secret: ready.clientSecret, scope: `${origin}/.default` };
  const headers = { 'content-type': 'application/x-www-form-urlencoded' };
  const answer = await send('POST', `${ready.authority}${ready.tenantId}/oauth2/v2.0/token`, headers, new URLSearchParams(form).toString());
  return { authorization: `Bearer ${JSON.parse(answer).access_token}` };
}

async function requests(headers, worker) {
  const identity = `${origin}${providers}/Microsoft.ManagedIdentity/userAssignedIdentities/identity${worker}?api-version=2023-01-31`;
  const json = { ...headers, 'content-type': 'application/json' };
  for (let turn = 0; turn < count / 10 / CONNECTIONS; turn++) {
    const machine = (number) => {
      const index = (worker + CONNECTIONS * turn + number * 7919) % of;
      return `${origin}${providers}/Microsoft.DevTestLab/labs/lab/virtualmachines/machine${index}?api-version=2018-09-15`;
    };
    for (let number = 0; number < 7; number++) await send('GET', machine(number), headers);
    await send('PATCH', machine(7), json, JSON.stringify({ tags: { turn: String(turn) } }));
    await send('PUT', identity, json, JSON.stringify({ location: 'westeurope', tags: { turn: String(turn) } }));
    await send('DELETE', identity, headers);
  }
}

async function lists(headers) {
  for (let number = 0; number < count; number++) {
    for (let url = `${origin}${of}`; url; ) {
      const page = JSON.parse(await send('GET', url, headers));
      said.items += page.value.length;
      url = page.nextLink;
    }
  }
}

async function run() {
  const headers = await authorization();
  if (mode === 'lists') await lists(headers);
  else await Promise.all(Array.from({ length: CONNECTIONS }, (_, worker) => requests(headers, worker)));
  console.log(JSON.stringify(said));
}

run()
  .catch((error) => {
    console.error(error.message);
    process.exitCode = 1;
  })
  .finally(() => agent.destroy());
