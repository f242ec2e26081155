// Connections: made early, through a proxy where there is one, kept alive and used again by all requests of a task.
'use strict';

const http = require('node:http');
const https = require('node:https');
const net = require('node:net');
const tls = require('node:tls');
const { permanent, proxyFor, secureContext } = require('./network.js');

const TUNNEL_MS = 30_000;
// How long one of a host's addresses is tried alone before the next one is: IPv6 that leads nowhere must not cost more.
const NEXT_ADDRESS_MS = 1000;

// Connections under way to hosts that the engine will ask first, by `host:port`.
const early = new Map();

class Connections extends https.Agent {
  createConnection(options, callback) {
    const key = `${options.host}:${options.port}`;
    const underWay = early.get(key);
    if (!underWay) {
      return this.#connect(options, callback);
    }
    early.delete(key);
    const afresh = () => {
      const socket = this.#connect(options, callback);
      if (socket) callback(null, socket);
    };
    underWay.then((socket) => (socket.destroyed ? afresh() : callback(null, socket.ref())), afresh);
    return undefined;
  }

  // Returns the socket, or hands it over later.
  #connect(options, callback) {
    try {
      const proxy = proxyFor(options.host, options.port);
      const secured = { ...options, ...security() };
      if (!proxy) {
        return super.createConnection(secured);
      }
      tunnel(proxy, options.host, options.port).then((socket) => callback(null, tls.connect({ ...secured, socket })), callback);
    } catch (error) {
      callback(error);
    }
    return undefined;
  }
}

const agent = new Connections({ keepAlive: true });

function security() {
  return { secureContext: secureContext(), minVersion: 'TLSv1.2', autoSelectFamilyAttemptTimeout: NEXT_ADDRESS_MS };
}

// Connects to the hosts of these addresses, up to the end of the TLS handshake. Nothing is sent. What fails here is tried again, and told,
// when the engine asks.
function connectEarly(addresses) {
  for (const address of addresses) {
    const url = URL.canParse(address) ? new URL(address) : undefined;
    if (url?.protocol !== 'https:') continue;
    const host = url.hostname.replace(/^\[|]$/g, '');
    const port = Number(url.port) || 443;
    const key = `${host}:${port}`;
    if (!early.has(key)) {
      const connecting = open(host, port);
      connecting.catch(() => {});
      early.set(key, connecting);
    }
  }
}

async function open(host, port) {
  const proxy = proxyFor(host, port);
  const way = proxy ? { socket: await tunnel(proxy, host, port) } : { host, port, keepAlive: true };
  const options = { ...way, ...security(), servername: net.isIP(host) ? '' : host, ALPNProtocols: ['http/1.1'] };
  return new Promise((resolve, reject) => {
    const socket = tls.connect({ host, ...options }, () => resolve(socket));
    socket.on('error', reject);
    // Unused, it must not keep a process alive that has nothing else to wait for.
    socket.unref();
  });
}

// A socket to a host through a proxy (CONNECT).
function tunnel(proxy, host, port) {
  const name = `the proxy '${proxy.host}:${proxy.port}'`;
  const target = `${net.isIPv6(host) ? `[${host}]` : host}:${port}`;
  const headers = { host: target, ...(proxy.authorization && { 'proxy-authorization': proxy.authorization }) };
  const options = { method: 'CONNECT', host: proxy.host, port: proxy.port, path: target, headers, agent: false, timeout: TUNNEL_MS };
  return new Promise((resolve, reject) => {
    const request = proxy.secure ? https.request({ ...options, ...security() }) : http.request(options);
    request.once('connect', (response, socket) => {
      if (response.statusCode >= 200 && response.statusCode < 300) {
        socket.setTimeout(0);
        resolve(socket);
      } else {
        socket.destroy();
        reject(refusal(name, target, response.statusCode, proxy.authorization));
      }
    });
    request.once('timeout', () => request.destroy(new Error(`no answer within ${TUNNEL_MS / 1000} s`)));
    request.once('error', (error) => reject(worded(`${name} cannot be used: ${error.message}`)));
    request.end();
  });
}

function refusal(name, target, status, authorized) {
  if (status === 407) {
    const problem = authorized ? 'refuses the user name or password' : 'asks for a user name and password';
    return permanent(`${name} ${problem} (407): configure the agent with --proxyusername and --proxypassword; only Basic credentials are sent`);
  }
  const message = `${name} refuses to connect to '${target}' (${status})`;
  return status >= 500 || status === 429 ? worded(message) : permanent(message);
}

// An error whose message needs no more words.
function worded(message) {
  return Object.assign(new Error(message), { worded: true });
}

module.exports = { agent, connectEarly };
