// Servers that behave badly, or ask for much: `node servers.js KIND` prints the port. FOLDER holds their certificates.
'use strict';

const fs = require('node:fs');
const https = require('node:https');
const net = require('node:net');
const path = require('node:path');
const tls = require('node:tls');

const read = (name) => fs.readFileSync(path.join(process.env.FOLDER, name));
const secure = { cert: read('server.pem'), key: read('server.key') };

const servers = {
  'old-tls': () => tls.createServer({ ...secure, minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' }),
  // Lets nobody in who shows no certificate, and answers sign-in with the name on it.
  'client-certificate': () =>
    https.createServer({ ...secure, ca: read('authority.pem'), requestCert: true, rejectUnauthorized: true }, (request, response) => {
      const names = request.socket.getPeerCertificate().subjectaltname.split(', ').filter((name) => name.startsWith('DNS:'));
      response.writeHead(401, { 'content-type': 'application/json' });
      const description = `AADSTS50012: seen ${names.find((name) => name.includes('client'))} Trace ID: 1`;
      response.end(JSON.stringify({ error: 'invalid_client', error_description: description, error_codes: [50012] }));
    }),
  'no-handshake': () => net.createServer((socket) => socket.on('error', () => {})),
  'no-answer': () => https.createServer(secure, () => {}),
  'half-an-answer': () =>
    https.createServer(secure, (_request, response) => {
      response.writeHead(200, { 'content-length': '10' });
      response.write('half');
    }),
};

const server = servers[process.argv[2]]();
server.on('tlsClientError', () => {});
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
