// Preloaded into a process that is measured: says its peak memory, in KiB, as the last line of standard error.
'use strict';

process.on('exit', () => require('node:fs').writeSync(2, `\n${process.resourceUsage().maxRSS}\n`));
