// Preloaded into a task: requests are taken and nothing ever comes of them, so that the engine waits on a promise that never settles. The
// time-outs of a request would end that wait after half a minute: they keep nothing alive here.
'use strict';

const { EventEmitter } = require('node:events');

require('node:https').request = () => Object.assign(new EventEmitter(), { end() {}, destroy() {} });

const { setTimeout: start } = globalThis;
globalThis.setTimeout = (...given) => start(...given).unref();
