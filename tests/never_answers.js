// Preloaded into a task: requests are taken and nothing ever comes of them, so that the engine waits on a promise that never settles.
'use strict';

const { EventEmitter } = require('node:events');

require('node:https').request = () => Object.assign(new EventEmitter(), { end() {}, destroy() {} });
