// The work of the Delete VM task, written the usual way: the task library, the identity library and the management client.
'use strict';

const tl = require('azure-pipelines-task-lib/task');
const { ClientSecretCredential } = require('@azure/identity');
const { DevTestLabsClient } = require('@azure/arm-devtestlabs');

async function run() {
  const connection = tl.getInput('ConnectedServiceName', true);
  const parameter = (key) => tl.getEndpointAuthorizationParameter(connection, key, false);
  const endpoint = tl.getEndpointUrl(connection, false);
  const credential = new ClientSecretCredential(parameter('tenantid'), parameter('serviceprincipalid'), parameter('serviceprincipalkey'), {
    authorityHost: tl.getEndpointDataParameter(connection, 'activeDirectoryAuthority', false),
    disableInstanceDiscovery: true,
  });
  const subscription = tl.getEndpointDataParameter(connection, 'subscriptionId', false);
  const client = new DevTestLabsClient(credential, subscription, { endpoint, credentialScopes: `${endpoint}.default` });
  const [, , , , group, , , , lab] = tl.getInput('LabId', true).split('/');
  await client.virtualMachines.beginDeleteAndWait(group, lab, tl.getInput('LabVmId', true));
  tl.setResult(tl.TaskResult.Succeeded, 'deleted');
}

run().catch((error) => tl.setResult(tl.TaskResult.Failed, error.message));
