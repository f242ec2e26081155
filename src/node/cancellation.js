// The agent's wish to stop: SIGINT, 7.5 s later SIGTERM, 2.5 s later the kill. On Windows the same two arrive as CTRL+C and CTRL+BREAK.
'use strict';

const AFTER_INTERRUPT_MS = 9000;
const AFTER_TERMINATE_MS = 2000;

let cancelled = false;
let deadline = Infinity;
let timer;
let resolve;
const promise = new Promise((settle) => (resolve = settle));

let onOverdue = () => {};

function stopWithin(milliseconds) {
  cancelled = true;
  resolve();
  const now = process.uptime() * 1000;
  if (now + milliseconds < deadline) {
    deadline = now + milliseconds;
    clearTimeout(timer);
    timer = setTimeout(() => onOverdue(), milliseconds);
  }
}

// Hands the signals to the engine, and calls `overdue` shortly before the agent would kill the process.
function listen(overdue) {
  onOverdue = overdue;
  process.on('SIGINT', () => stopWithin(AFTER_INTERRUPT_MS));
  process.on('SIGTERM', () => stopWithin(AFTER_TERMINATE_MS));
  process.on('SIGBREAK', () => stopWithin(AFTER_TERMINATE_MS));
}

// Asks the engine to stop although no signal came, such as when the agent is gone.
const request = () => stopWithin(AFTER_INTERRUPT_MS);

module.exports = { listen, request, isCancelled: () => cancelled, whenCancelled: () => promise };
