// Requests over node:https. Not `fetch`: that starts slower, knows no proxy on Node 20 and follows redirects by itself.
'use strict';

const https = require('node:https');
const tls = require('node:tls');

const CONNECT_MS = 30_000;
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

// Node reads the trusted certificates when the first connection is made, which takes as long as compiling the engine. Made here, it is done
// while other threads compile.
const secureContext = tls.createSecureContext({ minVersion: 'TLSv1.2' });
const agent = new https.Agent({ keepAlive: true, secureContext });

// Decides how a host is reached: the one place where a proxy would come in.
function agentFor(_url) {
  return agent;
}

// Sends a request and reads the whole answer, which may have any status. Headers are names and values in turn. The error of a request
// that could not be made has words for the user, and is `permanent` when trying again cannot help. It never quotes more of the address
// than the host: the rest may be secret.
async function send(method, address, headers, body) {
  const url = new URL(address);
  if (url.protocol !== 'https:') {
    throw permanent(`'${url.protocol}//${url.host}' is refused: only https is allowed`);
  }
  const content = body && Buffer.from(body);
  try {
    return await exchange(method, url, headers, content);
  } catch (error) {
    // The service may close an idle connection just as it is used again: that says nothing about the service's health.
    if (error.stale && REPEATABLE.includes(method)) {
      return exchange(method, url, headers, content);
    }
    throw error;
  }
}

function exchange(method, url, headers, content) {
  return new Promise((resolve, reject) => {
    let timer;
    const request = https.request(url, { method, agent: agentFor(url), headers: headerObject(headers, content) });
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
      if (request.reusedSocket) {
        connected();
      } else {
        expect(CONNECT_MS, 'no connection');
        socket.once('secureConnect', connected);
      }
    });
    request.on('error', fail);
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
  const code = error.code ?? error.errors?.[0]?.code;
  if (UNTRUSTED.has(code)) {
    const remedy = 'a certificate authority of your own is trusted when NODE_EXTRA_CA_CERTS names its file';
    return permanent(`the certificate of '${url.host}' is not trusted (${code}); ${remedy}`);
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

function permanent(message) {
  return Object.assign(new Error(message), { permanent: true });
}

module.exports = { send };
