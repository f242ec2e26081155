// Asks the emulator's control interface: node control.js METHOD URL [BODY]. Its certificate is trusted by NODE_EXTRA_CA_CERTS.
'use strict';

const https = require('node:https');

const [method, url, body] = process.argv.slice(2);
const request = https.request(url, { method, headers: { 'content-type': 'application/json' } }, (response) => {
  if (response.statusCode >= 300) process.exitCode = 1;
  response.pipe(process.stdout);
});
request.on('error', (error) => {
  process.exitCode = 1;
  console.error(error.message);
});
request.end(body);
