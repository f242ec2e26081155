// Preloaded into a process that is measured: says its peak memory, in KiB, as the last line of standard error.
'use strict';

const { readFileSync, writeSync } = require('node:fs');

// Linux counts the starting process into maxRSS; its own peak stands in the process's status.
function peak() {
  if (process.platform !== 'linux') {
    return process.resourceUsage().maxRSS;
  }
  return Number(/^VmHWM:\s*(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8'))[1]);
}

process.on('exit', () => writeSync(2, `\n${peak()}\n`));
