// Standard output, one write a line, and the few logging commands that must be said when the engine no longer can.
'use strict';

const COMPLETE = '##vso[task.complete ';
const SECRET = '##vso[task.setsecret]';

// The engine takes this variable out of the environment, so it is read first.
const correlation = process.env.COMMAND_CORRELATION_ID;

// How long the task may say nothing. A reader that has gone away is noticed only by writing.
const QUIET_MS = 10_000;

let broken = false;
let said = performance.now();
let outcome;
let whenBroken = () => {};
const secrets = [];

// A reader that has gone away must not turn into an exception: the task is asked to stop, and the exit code says that the result was not
// delivered.
process.stdout.on('error', () => {
  broken = true;
  whenBroken();
});
// Whoever still reads the errors learns by them what remains; nothing can be done when that reader is gone too.
process.stderr.on('error', () => {});

// Prints a line of the engine and remembers the result that it states.
function print(line) {
  if (line.startsWith(COMPLETE)) {
    outcome = /\bresult=(\w+)/.exec(line)?.[1];
  } else if (line.startsWith(SECRET)) {
    secrets.push(line.slice(SECRET.length).replace(/%0D/g, '\r').replace(/%0A/g, '\n').replace(/%AZP25/g, '%'));
  }
  if (!broken) {
    said = performance.now();
    process.stdout.write(`${line}\n`);
  } else if (line.startsWith(COMPLETE)) {
    process.stderr.write(`${outcome}: ${message(line)}\n`);
  } else if (/^##vso\[task\.logissue [^\]]*\]/.test(line)) {
    process.stderr.write(`${message(line)}\n`);
  }
}

function message(line) {
  return line.slice(line.indexOf(']') + 1);
}

// A debug message, which the log shows only where it is asked for.
setInterval(() => {
  if (performance.now() - said > QUIET_MS) print('##vso[task.debug]still at work');
}, QUIET_MS / 4).unref();

// Calls `act` once nobody takes the output any more.
function onBroken(act) {
  whenBroken = act;
  if (broken) act();
}

function command(name, properties, message) {
  const identified = correlation ? `${properties}correlationId=${escapeProperty(correlation)};` : properties;
  print(`##vso[${name} ${identified}]${escapeData(message)}`);
}

function error(message) {
  command('task.logissue', 'type=error;', safe(message));
}

function warning(message) {
  command('task.logissue', 'type=warning;', safe(message));
}

function complete(result, message) {
  command('task.complete', `result=${result};`, safe(message));
}

// Words of an exception or a panic: without secrets, and with control characters made visible, so that they steer no terminal.
function safe(text) {
  const masked = secrets.reduce((shown, secret) => shown.split(secret).join('***'), String(text));
  return masked.replace(/[^\P{Cc}\n\r\t]|\p{Cf}/gu, (character) => `\\u{${character.codePointAt(0).toString(16)}}`);
}

// The result stated so far, if any.
function completed() {
  return outcome;
}

// Calls back once everything written has left the process, telling whether it was taken.
function flush(callback) {
  if (broken) {
    callback(false);
  } else {
    process.stdout.write('', (failure) => callback(!failure && !broken));
  }
}

function escapeData(text) {
  return String(text).replace(/%/g, '%AZP25').replace(/\r/g, '%0D').replace(/\n/g, '%0A').replace(/##vso\[/gi, '##_vso[');
}

function escapeProperty(text) {
  return escapeData(text).replace(/]/g, '%5D').replace(/;/g, '%3B');
}

module.exports = { print, error, warning, complete, completed, flush, onBroken };
