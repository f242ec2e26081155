// Requests over node:https. Not `fetch`: that starts slower, knows no proxy on Node 20 and follows redirects by itself.
'use strict';

const http = require('node:http');
const https = require('node:https');
const net = require('node:net');
const { agent } = require('./connections.js');
const { permanent } = require('./network.js');

const CONNECT_MS = 30_000;
const NEAR_CONNECT_MS = 2_000;
const FIRST_BYTE_MS = 100_000;
const IDLE_MS = 60_000;

// Methods that a service may see twice without harm.
const REPEATABLE = ['GET', 'HEAD', 'PUT', 'DELETE'];

const UNTRUSTED = new Set([
  'CERT_HAS_EXPIRED',
  'CERT_NOT_YET_VALID',
  'CERT_UNTRUSTED',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'ERR_TLS_CERT_ALTNAME_INVALID',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
]);

// What OpenSSL says of a server that knows nothing newer than TLS 1.1.
const OUTDATED = /alert protocol version|unsupported protocol/;

// Sends a request and reads the whole answer, which may have any status. Headers are names and values in turn. The error of a request
// that could not be made has words for the user, and is `permanent` when trying again cannot help. It never quotes more of the address
// than the host: the rest may be secret.
async function send(method, address, headers, body) {
  const url = new URL(address);
  if (url.protocol !== 'https:') {
    throw permanent(`'${url.protocol}//${url.host}' is refused: only https is allowed`);
  }
  const content = body && Buffer.from(body);
  const request = { method, url, headers, content, client: https, agent, patience: CONNECT_MS };
  try {
    return await exchange(request);
  } catch (error) {
    // The service may close an idle connection just as it is used again: that says nothing about the service's health.
    if (error.stale && REPEATABLE.includes(method)) {
      return exchange(request);
    }
    throw error;
  }
}

// The same to a service of this machine or its own link, over http and past any proxy: a managed identity's tokens come from there.
async function sendNear(method, address, headers, body) {
  const url = new URL(address);
  if (url.protocol !== 'http:' || !isNear(url.hostname)) {
    throw permanent(`'${url.protocol}//${url.host}' is refused: it is not on this machine`);
  }
  return exchange({ method, url, headers, content: body && Buffer.from(body), client: http, agent: false, patience: NEAR_CONNECT_MS });
}

function isNear(host) {
  return host === 'localhost' || host === '[::1]' || (net.isIPv4(host) && /^(127|169\.254)\./.test(host));
}

function exchange({ method, url, headers, content, client, agent, patience }) {
  return new Promise((resolve, reject) => {
    let timer;
    const request = client.request(url, { method, agent, headers: headerObject(headers, content) });
    const expect = (milliseconds, what) => {
      clearTimeout(timer);
      timer = setTimeout(() => request.destroy(new Error(`${what} within ${milliseconds / 1000} s`)), milliseconds);
    };
    const fail = (error) => {
      clearTimeout(timer);
      reject(explain(error, url, request));
    };
    request.on('socket', (socket) => {
      const connected = () => expect(FIRST_BYTE_MS, 'no answer');
      const isConnecting = socket.connecting || socket.secureConnecting;
      if (isConnecting) {
        socket.once(client === https ? 'secureConnect' : 'connect', connected);
      } else {
        connected();
      }
    });
    request.on('error', fail);
    expect(patience, 'no connection');
    request.on('response', (response) => {
      const chunks = [];
      expect(IDLE_MS, 'the answer stopped: nothing came');
      response.on('data', (chunk) => {
        timer.refresh();
        chunks.push(chunk);
      });
      response.on('error', fail);
      response.on('end', () => {
        clearTimeout(timer);
        resolve({ status: response.statusCode, headers: headerList(response.headers), body: Buffer.concat(chunks) });
      });
    });
    request.end(content);
  });
}

function headerObject(list, content) {
  const headers = {};
  for (let index = 0; index < list.length; index += 2) {
    headers[list[index]] = list[index + 1];
  }
  if (content) {
    headers['content-length'] = content.length;
  }
  return headers;
}

function headerList(headers) {
  return Object.entries(headers).flatMap(([name, value]) => [name, String(value)]);
}

function explain(error, url, request) {
  if (error.permanent || error.worded) {
    return error;
  }
  const code = error.code ?? error.errors?.[0]?.code;
  if (UNTRUSTED.has(code)) {
    const remedy = 'a certificate authority of your own is trusted when the agent (--sslcacert), NODE_EXTRA_CA_CERTS or SSL_CERT_FILE names its file';
    return permanent(`the certificate of '${url.host}' is not trusted (${code}); ${remedy}`);
  }
  if (OUTDATED.test(error.message)) {
    return permanent(`'${url.host}' speaks no TLS 1.2 or newer; nothing older is spoken here`);
  }
  const failure = new Error(`${reason(code, error)} ('${url.host}')`);
  failure.stale = Boolean(request.reusedSocket) && (code === 'ECONNRESET' || code === 'EPIPE');
  return failure;
}

function reason(code, error) {
  switch (code) {
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return `the host's name cannot be resolved (${code})`;
    case 'ECONNREFUSED':
      return 'the host refused the connection (ECONNREFUSED)';
    case 'ECONNRESET':
    case 'EPIPE':
      return `the connection was closed before the answer was complete (${code})`;
    case 'ETIMEDOUT':
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
      return `the host cannot be reached (${code})`;
    default:
      return code ? `${error.message} (${code})` : error.message;
  }
}

module.exports = { send, sendNear };
