// The object that the engine asks for everything of this machine. Its names are those of `src/wasm/binding.rs`.
'use strict';

const fs = require('node:fs');
const path = require('node:path');
const output = require('./output.js');
const cancellation = require('./cancellation.js');
const { send } = require('./transport.js');

function createHost(panicked) {
  return {
    variable: (name) => process.env[name],
    variableNames: () => Object.keys(process.env),
    removeVariable: (name) => void delete process.env[name],
    elapsedMilliseconds: () => performance.now(),
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

module.exports = { createHost };
