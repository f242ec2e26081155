// Starts Azurite's blob service in this process: node -e … -- AZURITE [FOLDER]. It keeps everything in the folder; in memory without one.
// On standard input come `accounts …`, whenever there are others, and `save`, before a change is acknowledged. Its end ends the service.
'use strict';

const { createInterface } = require('node:readline');

const [, azurite, folder] = process.argv;
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

// Azurite saves what it knows of its blobs every five seconds; what is acknowledged must be saved before.
const Loki = require(require.resolve('lokijs', { paths: [azurite] }));
const databases = new Set();
const saveDatabase = Loki.prototype.saveDatabase;
Loki.prototype.saveDatabase = function (...rest) {
  databases.add(this);
  return saveDatabase.apply(this, rest);
};
const saved = (database) => new Promise((resolve, reject) => database.saveDatabase((error) => (error ? reject(error) : resolve())));

createInterface({ input: process.stdin })
  .on('line', (line) => {
    const [command, accounts] = line.split(' ');
    if (command === 'save') {
      Promise.all([...databases].map(saved)).then(
        () => console.log('save done'),
        (error) => console.log(`save failed: ${error.message}`),
      );
    } else {
      process.env.AZURITE_ACCOUNTS = accounts;
      console.log('accounts taken');
    }
  })
  .on('close', () => process.exit(0));

process.argv = [
  process.argv[0],
  'azurite-blob',
  ...['--blobHost', '127.0.0.1', '--blobPort', '0'],
  ...(folder ? ['--location', folder] : ['--inMemoryPersistence']),
  ...['--silent', '--disableTelemetry', '--skipApiVersionCheck', '--disableProductStyleUrl'],
];
require(`${azurite}/dist/src/blob/main`);
