// The object that the engine asks for everything of this machine. Its names are those of `src/wasm/binding.rs`.
'use strict';

const crypto = require('node:crypto');
const fs = require('node:fs');
const path = require('node:path');
const output = require('./output.js');
const cancellation = require('./cancellation.js');
const { send, sendNear } = require('./transport.js');

// The engine takes its random numbers from the global `crypto`, as in a browser. Node's own is loaded when it is first asked for, which
// takes 1 ms and 2.6 MiB.
Object.defineProperty(globalThis, 'crypto', { value: { getRandomValues: (bytes) => crypto.randomFillSync(bytes) } });

function createHost(panicked) {
  return {
    variable: (name) => process.env[name],
    variableNames: () => Object.keys(process.env),
    removeVariable: (name) => void delete process.env[name],
    // `performance` would be loaded for it.
    elapsedMilliseconds: () => process.uptime() * 1000,
    readFile: (file) => fs.readFileSync(file),
    listFiles: (folder) => listFiles(folder, '').sort(),
    writeFile,
    joinPath: (folder, file) => (path.isAbsolute(file) ? path.normalize(file) : path.join(folder, file)),
    isDirectory: (file) => fs.statSync(file, { throwIfNoEntry: false })?.isDirectory() ?? false,
    print: output.print,
    cancelled: cancellation.whenCancelled,
    isCancelled: cancellation.isCancelled,
    panicked,
    startTimer,
    send,
    sendNear,
    digest,
    sign,
  };
}

// Links to folders are not followed: they may lead in a circle.
function listFiles(folder, prefix) {
  return fs.readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const file = path.join(folder, entry.name);
    if (entry.isDirectory()) return listFiles(file, `${prefix}${entry.name}/`);
    return fs.statSync(file, { throwIfNoEntry: false })?.isFile() ? [prefix + entry.name] : [];
  });
}

function writeFile(file, contents) {
  fs.mkdirSync(path.dirname(file), { recursive: true });
  fs.writeFileSync(file, contents);
}

function startTimer(milliseconds) {
  let timer;
  const done = new Promise((resolve) => (timer = setTimeout(resolve, milliseconds)));
  return { done, stop: () => clearTimeout(timer) };
}

function digest(algorithm, data) {
  return crypto.createHash(algorithm).update(data).digest();
}

// The bytes are views of the engine's memory, valid during the call only, which is why nothing here waits.
function sign(key, type, pss, message) {
  const privateKey = crypto.createPrivateKey({ key: Buffer.from(key), format: 'der', type });
  if (privateKey.asymmetricKeyType !== 'rsa') {
    throw new Error('it is no RSA key');
  }
  const { RSA_PKCS1_PADDING, RSA_PKCS1_PSS_PADDING, RSA_PSS_SALTLEN_DIGEST } = crypto.constants;
  const padding = pss ? { padding: RSA_PKCS1_PSS_PADDING, saltLength: RSA_PSS_SALTLEN_DIGEST } : { padding: RSA_PKCS1_PADDING };
  return crypto.sign('sha256', message, { key: privateKey, ...padding });
}

module.exports = { createHost };
