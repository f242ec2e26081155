// What azure-pipelines-task-lib does: reads a list of cases from standard input, each an environment and calls, and writes for each what the
// calls returned, what they printed, and which variables the library left in the environment. Its first argument is a folder of its own.
'use strict';

const { readFileSync } = require('node:fs');

const cases = JSON.parse(readFileSync(0, 'utf8'));
setEnvironment({});
const library = require('azure-pipelines-task-lib/task');
const internal = require('azure-pipelines-task-lib/internal');

function setEnvironment(environment) {
  for (const name of Object.keys(process.env)) {
    delete process.env[name];
  }
  Object.assign(process.env, { AGENT_TEMPDIRECTORY: process.argv[2] }, environment);
}

function answer({ environment, calls }) {
  const lines = [];
  const collector = { write: (text) => lines.push(text.replace(/\r?\n$/, '')) };
  setEnvironment(environment);
  library.setStdStream(collector);
  internal._loadData();
  const results = calls.map(([name, ...parameters]) => library[name](...parameters) ?? null);
  library.setStdStream(process.stdout);
  return { results, lines, environment: Object.keys(process.env).filter((name) => name in environment) };
}

process.stdout.write(JSON.stringify(cases.map(answer)));
