// Preloaded into a task: every name resolves first to an IPv6 address that leads nowhere, and then to this machine's IPv4.
'use strict';

const dns = require('node:dns');

dns.lookup = (_name, options, callback) => {
  const addresses = [
    { address: '100::1', family: 6 },
    { address: '127.0.0.1', family: 4 },
  ];
  const done = typeof options === 'function' ? options : callback;
  const all = typeof options === 'object' && options.all;
  process.nextTick(() => (all ? done(null, addresses) : done(null, addresses[0].address, 6)));
};
