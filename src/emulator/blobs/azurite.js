// Starts Azurite's blob service in this process: accounts come line by line on standard input, and its end ends the service.
'use strict';

const { createInterface } = require('node:readline');

const azurite = process.argv[1];
const { default: Accounts } = require(`${azurite}/dist/src/common/AccountDataStore`);
const { default: Request } = require(`${azurite}/dist/src/blob/generated/ExpressRequestAdapter`);

// Azurite looks for new accounts once a minute; accounts made here are there at once.
const find = Accounts.prototype.getAccount;
Accounts.prototype.getAccount = function (name) {
  this.refresh();
  return find.call(this, name);
};

// The emulator's listener, which speaks https only, stands in front.
Request.prototype.getProtocol = () => 'https';

createInterface({ input: process.stdin })
  .on('line', (line) => {
    process.env.AZURITE_ACCOUNTS = line;
    console.log('accounts taken');
  })
  .on('close', () => process.exit(0));

process.argv = [
  process.argv[0],
  'azurite-blob',
  ...['--blobHost', '127.0.0.1', '--blobPort', '0'],
  ...['--inMemoryPersistence', '--silent', '--disableTelemetry', '--skipApiVersionCheck', '--disableProductStyleUrl'],
];
require(`${azurite}/dist/src/blob/main`);
