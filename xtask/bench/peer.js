// The emulator's peer: the least that a stand-in for Azure Resource Manager does, written for Node the usual way. It answers from a map, without
// tokens, rules, operations, faults and journal: node --expose-gc peer.js KEY CERTIFICATE SEED
'use strict';

const { readFileSync } = require('node:fs');
const https = require('node:https');

const PAGE = 1000;
const [key, certificate, seed] = process.argv.slice(2);
const resources = new Map();
const collections = new Map();

function put(id, resource) {
  const lower = id.toLowerCase();
  if (!resources.has(lower)) {
    const collection = lower.slice(0, lower.lastIndexOf('/'));
    if (!collections.has(collection)) collections.set(collection, []);
    collections.get(collection).push(lower);
  }
  resources.set(lower, resource);
}

for (const subscription of JSON.parse(readFileSync(seed, 'utf8')).subscriptions) {
  for (const group of subscription.resourceGroups) {
    for (const resource of group.resources) put(resource.id, resource);
  }
}

function list(ids, url, origin) {
  const start = Number(url.searchParams.get('$skiptoken') ?? 0);
  const value = ids.slice(start, start + PAGE).map((id) => resources.get(id));
  if (start + PAGE >= ids.length) return { value };
  url.searchParams.set('$skiptoken', start + PAGE);
  return { value, nextLink: `${origin}${url.pathname}${url.search}` };
}

function serve(method, url, body, origin) {
  const id = decodeURIComponent(url.pathname).toLowerCase();
  const found = resources.get(id);
  switch (method) {
    case 'GET':
      if (found) return [200, found];
      return collections.has(id) ? [200, list(collections.get(id), url, origin)] : [404, { error: { code: 'ResourceNotFound' } }];
    case 'PATCH':
      found.tags = JSON.parse(body).tags;
      return [200, found];
    case 'PUT':
      put(url.pathname, { ...JSON.parse(body), id: url.pathname });
      return [found ? 200 : 201, resources.get(id)];
    default:
      resources.delete(id);
      return [200];
  }
}

const server = https.createServer({ key: readFileSync(key), cert: readFileSync(certificate) }, (request, response) => {
  const parts = [];
  request.on('data', (part) => parts.push(part));
  request.on('end', () => {
    const origin = `https://${request.headers.host}`;
    const [status, body] = serve(request.method, new URL(request.url, origin), Buffer.concat(parts).toString(), origin);
    response.writeHead(status, { 'content-type': 'application/json; charset=utf-8', 'cache-control': 'no-cache' });
    response.end(body && JSON.stringify(body));
  });
});
server.listen(0, '127.0.0.1', () => {
  // What reading the seed has left behind does not count as what the resources take.
  globalThis.gc();
  console.log(JSON.stringify({ resourceManager: `https://127.0.0.1:${server.address().port}/`, caFile: certificate }));
});
