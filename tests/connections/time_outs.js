// `node time_outs.js URL EXPECTED`: a request to a server that does not do its part must end with the expected words. The
// long timers of the transport do not run: the one that the words name is fired.
'use strict';

const assert = require('node:assert');

const real = setTimeout;
const running = new Set();
globalThis.setTimeout = (callback, milliseconds, ...rest) => {
  if (milliseconds < 10_000) return real(callback, milliseconds, ...rest);
  const timer = { callback, milliseconds, refresh() {} };
  running.add(timer);
  return timer;
};
const clear = clearTimeout;
globalThis.clearTimeout = (timer) => (running.delete(timer) ? undefined : clear(timer));

const { send } = require('../../src/node/transport.js');

const [url, expected] = process.argv.slice(2);
const awaited = Number(/(\d+) s/.exec(expected)[1]) * 1000;
// The timer that is expected is let run out once it is there and the server has had time to do what it does not do.
const watch = () => {
  const timer = [...running].find(({ milliseconds }) => milliseconds === awaited);
  if (timer) real(() => running.has(timer) && timer.callback(), 200);
  real(watch, 300);
};
real(watch, 300);
send('GET', url, []).then(
  () => process.exit(2),
  (error) => {
    assert.ok(error.message.includes(expected), error.message);
    process.exit(0);
  },
);
