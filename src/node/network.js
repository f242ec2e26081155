// What stands between this machine and the services: certificate authorities, the certificate shown to those who ask for one, proxies.
//
// What the agent is configured with (AGENT_…) comes before what the machine's variables say, as in the native host (`cli/network.rs`).
// All of it is read when this file is loaded: the engine takes secret variables out of the environment later.
'use strict';

const fs = require('node:fs');
const net = require('node:net');
const path = require('node:path');
const tls = require('node:tls');
const output = require('./output.js');

const variable = (name) => process.env[name]?.trim() || undefined;
const eitherCase = (name) => variable(name.toLowerCase()) ?? variable(name);

// An error that trying again cannot mend.
function permanent(message) {
  return Object.assign(new Error(message), { permanent: true });
}

// Whom to trust and what to show. Node adds the authorities of NODE_EXTRA_CA_CERTS to its own by itself.
//
// Node reads the trusted certificates when the first context is made, which takes as long as compiling the engine. Made early, it is done
// while other threads compile.
function secureContext() {
  const context = shown({ minVersion: 'TLSv1.2', ...clientCertificate() });
  for (const [name, file] of authorityFiles()) {
    // Adds to the authorities that are there; the option `ca` would replace them.
    context.context.addCACert(read(name, file));
  }
  return context;
}

// The context with the certificate that is shown. What Node says of one that cannot be opened names no variable.
function shown(options) {
  try {
    return tls.createSecureContext(options);
  } catch (error) {
    if (!options.pfx && !options.key) throw error;
    const name = options.pfx ? 'AGENT_CLIENTCERTARCHIVE' : variable('AGENT_CLIENTCERTKEY') ? 'AGENT_CLIENTCERTKEY' : 'AGENT_CLIENTCERT';
    const what = options.pfx ? 'an archive' : 'a key';
    throw permanent(`${name} names ${what} that AGENT_CLIENTCERTPASSWORD does not open, or that cannot be used (${error.message})`);
  }
}

function authorityFiles() {
  const files = ['AGENT_CAINFO', 'SSL_CERT_FILE'].map((name) => [name, variable(name)]).filter(([, file]) => file);
  for (const folder of variable('SSL_CERT_DIR')?.split(path.delimiter) ?? []) {
    const entries = fs.existsSync(folder) ? fs.readdirSync(folder).sort() : [];
    const certificates = entries.map((entry) => path.join(folder, entry)).filter(isPem);
    files.push(...certificates.map((file) => ['SSL_CERT_DIR', file]));
  }
  return files;
}

function isPem(file) {
  return fs.statSync(file, { throwIfNoEntry: false })?.isFile() && fs.readFileSync(file, 'latin1').includes('-----BEGIN ');
}

function clientCertificate() {
  const passphrase = variable('SECRET_AGENT_CLIENTCERTPASSWORD') ?? variable('AGENT_CLIENTCERTPASSWORD');
  const [cert, key, archive] = ['AGENT_CLIENTCERT', 'AGENT_CLIENTCERTKEY', 'AGENT_CLIENTCERTARCHIVE'].map((name) => [name, variable(name)]);
  if (cert[1] && key[1]) {
    return { cert: read(...cert), key: read(...key), passphrase };
  }
  return archive[1] ? { pfx: read(...archive), passphrase } : cert[1] ? { cert: read(...cert), key: read(...cert), passphrase } : {};
}

function read(name, file) {
  try {
    return fs.readFileSync(file);
  } catch (error) {
    throw permanent(`${name} names '${file}', which cannot be read (${error.code})`);
  }
}

// The proxy, of whatever origin: where it is, what it wants to hear, and which addresses are reached without it.
function readProxy() {
  const agent = variable('AGENT_PROXYURL');
  if (agent) {
    const proxy = parseProxy('AGENT_PROXYURL', agent);
    const name = variable('AGENT_PROXYUSERNAME');
    const password = variable('SECRET_AGENT_PROXYPASSWORD') ?? variable('AGENT_PROXYPASSWORD') ?? '';
    return { ...proxy, ...(name && { authorization: basic(name, password) }), isBypassed: matches(bypassExpressions()) };
  }
  for (const name of ['HTTPS_PROXY', 'ALL_PROXY', 'HTTP_PROXY']) {
    const address = eitherCase(name);
    if (address) {
      return { ...parseProxy(name, address), isBypassed: isListed(eitherCase('NO_PROXY') ?? '') };
    }
  }
  return undefined;
}

// The value may hold a password, so that no error quotes it.
function parseProxy(name, text) {
  const address = text.includes('://') ? text : `http://${text}`;
  const url = URL.canParse(address) ? new URL(address) : undefined;
  if (!url?.hostname || !['http:', 'https:'].includes(url.protocol)) {
    throw permanent(`${name} is no proxy's address: http://host:port and https://host:port are allowed, with name:password@ before the host`);
  }
  const decode = decodeURIComponent;
  return {
    secure: url.protocol === 'https:',
    host: url.hostname.replace(/^\[|]$/g, ''),
    port: Number(url.port) || (url.protocol === 'https:' ? 443 : 80),
    authorization: url.username ? basic(decode(url.username), decode(url.password)) : undefined,
  };
}

function basic(name, password) {
  return `Basic ${Buffer.from(`${name}:${password}`).toString('base64')}`;
}

// The agent's list: regular expressions over whole addresses, written for .NET, which knows some that JavaScript does not.
function bypassExpressions() {
  let expressions;
  try {
    expressions = JSON.parse(variable('AGENT_PROXYBYPASSLIST') ?? '[]').map(String);
  } catch {
    throw permanent('AGENT_PROXYBYPASSLIST is no JSON list of regular expressions');
  }
  return expressions.flatMap((expression) => {
    try {
      return [new RegExp(expression, 'i')];
    } catch {
      output.warning(`the proxy's bypass list holds '${expression}', which is no regular expression here and is left out`);
      return [];
    }
  });
}

const matches = (expressions) => (host, port) => {
  const { href } = new URL(`https://${net.isIPv6(host) ? `[${host}]` : host}:${port}/`);
  return expressions.some((expression) => expression.test(href));
};

// NO_PROXY: names with what is below them, addresses, networks, or `*` for all.
function isListed(list) {
  const items = list.split(',').map((item) => item.trim().toLowerCase()).filter(Boolean);
  const networks = new net.BlockList();
  for (const [address, prefix] of items.map((item) => item.split('/'))) {
    const family = ['ipv4', 'ipv6'][[4, 6].indexOf(net.isIP(address))];
    const most = family === 'ipv4' ? 32 : 128;
    if (family && (prefix === undefined || (/^\d+$/.test(prefix) && Number(prefix) <= most))) {
      networks.addSubnet(address, Number(prefix ?? most), family);
    }
  }
  const names = items.map((item) => item.replace(/^\*?\./, ''));
  return (host) => {
    const name = host.toLowerCase();
    if (net.isIP(name)) {
      return items.includes('*') || networks.check(name, net.isIPv6(name) ? 'ipv6' : 'ipv4');
    }
    return items.includes('*') || names.some((listed) => name === listed || name.endsWith(`.${listed}`));
  };
}

// What cannot be used is told when something is sent, and not while the program starts.
function attempt(read) {
  try {
    const value = read();
    return () => value;
  } catch (error) {
    const problem = error.permanent ? error : permanent(`the certificates of this agent cannot be used: ${error.message}`);
    return () => {
      throw problem;
    };
  }
}

const proxy = attempt(readProxy);

// The proxy on the way to a host, or `undefined`.
function proxyFor(host, port) {
  const found = proxy();
  return found && !found.isBypassed(host, port) ? found : undefined;
}

module.exports = { permanent, proxyFor, secureContext: attempt(secureContext) };
