// The entry of every packaged task: starts the engine and answers for its end.
//
// It fails closed. The exit code is 1 from the first line on and becomes 0 only when the engine has returned an outcome and has printed
// the `task.complete` of that outcome. Whatever else ends the process (an exception, a panic, a promise that never settles) is a failure.
'use strict';

/* global ENGINE -- the engine's name, filled in by the bundler */

process.exitCode = 1;

const { readFileSync } = require('node:fs');
const { join } = require('node:path');
const { brotliDecompressSync } = require('node:zlib');
const output = require('./output.js');
const cancellation = require('./cancellation.js');

// Bytes that an unpacked engine may have to be unpacked in one piece, which is faster.
const LARGEST_ENGINE = 1_400_000;

const OUTCOMES = ['Succeeded', 'SucceededWithIssues', 'Failed', 'Canceled'];

let panic;
let ending = false;

async function main() {
  process.on('uncaughtException', (error) => fail(internal(error)));
  process.on('unhandledRejection', (reason) => fail(internal(reason)));
  process.on('beforeExit', () => fail('the task stopped before it had a result'));
  cancellation.listen(() => {
    output.complete('Canceled', 'the task was cancelled and did not finish its clean-up in time');
    end(process.exitCode);
  });
  output.onBroken(cancellation.request);

  const { name } = JSON.parse(readFileSync(join(__dirname, 'task.json'), 'utf8'));
  if (ENGINE === 'factory') {
    keepToBaseline();
  }
  const engine = brotliDecompressSync(readFileSync(join(__dirname, 'engine.wasm.br')), { chunkSize: LARGEST_ENGINE });
  // Other threads compile the engine while this one loads what the connections need, which takes as long.
  const compiling = WebAssembly.compile(engine);
  const { connectEarly } = require('./connections.js');
  connectEarly(firstHosts());
  // What the network has done meanwhile is taken up before more is loaded.
  await new Promise((resolve) => setImmediate(resolve));
  const { createHost } = require('./host.js');
  const { initSync, run } = require('dtl-engine');
  initSync({ module: await compiling });
  const outcome = await run(createHost((message) => (panic = message)), name);
  if (!OUTCOMES.includes(outcome) || output.completed() !== outcome) {
    fail(`the task ended as '${outcome}' without having said so`);
    return;
  }
  end(0);
}

// V8 compiles anew, and better, what has run for some milliseconds. For an engine as large as the image factory's that takes more memory
// than all else together and, as it mostly waits, more time than it saves.
function keepToBaseline() {
  require('node:v8').setFlagsFromString('--no-wasm-tier-up --no-wasm-dynamic-tiering');
}

// Where the engine will most likely turn to first: whoever hands out the pipeline's token, the sign-in authority, the resource manager.
function firstHosts() {
  const id = process.env.INPUT_CONNECTEDSERVICENAME?.trim();
  const data = (key) => process.env[`ENDPOINT_DATA_${id}_${key}`];
  const isFederated = /^WorkloadIdentityFederation$/i.test(process.env[`ENDPOINT_AUTH_SCHEME_${id}`]);
  const authority = data('ACTIVEDIRECTORYAUTHORITY') ?? data('ENVIRONMENTAUTHORITYURL');
  return [isFederated && process.env.SYSTEM_OIDCREQUESTURI, authority, process.env[`ENDPOINT_URL_${id}`]].filter(Boolean);
}

function internal(error) {
  return `internal error: ${panic ?? (error instanceof Error ? error.message : String(error))}`;
}

function fail(message) {
  if (ending) {
    return;
  }
  if (output.completed() === undefined) {
    output.error(message);
    output.complete('Failed', message);
  }
  end(1);
}

// Leaves once everything said has reached the agent. Sockets kept alive for reuse would hold the process otherwise.
function end(code) {
  ending = true;
  output.flush((delivered) => process.exit(delivered ? code : 1));
}

main().catch((error) => fail(internal(error)));
