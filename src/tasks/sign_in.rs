//! From a service connection to a signed-in client.

use std::sync::Arc;

use azure_core::credentials::TokenCredential;

use super::error::{Error, chain};
use crate::{
    agent::{Agent, Authentication, Connection, IdentityService},
    arm::{
        Client, Cloud,
        credential::{Identity, MachineIdentity, Proof, credential},
        scrub,
    },
};

/// A client for the connection's own cloud.
pub async fn client(agent: &Agent, connection: Connection) -> Result<(Client, Connection), Error> {
    let (credential, cloud, connection) = prepare(agent, connection).await?;
    let client = Client::new(agent.host().clone(), &cloud, credential).registering(agent.secret_registrar());
    Ok((client, connection))
}

/// How a connection signs in, at which cloud. Only a cloud whose connection does not say is asked where to sign in; the first request signs in.
pub async fn prepare(agent: &Agent, connection: Connection) -> Result<(Arc<dyn TokenCredential>, Cloud, Connection), Error> {
    let connection = connection
        .discover(agent.host().as_ref())
        .await
        .map_err(|error| Error::refused(chain(&error), "verify the service connection in the project's settings"))?;
    let cloud = Cloud {
        resource_manager: connection.resource_manager.clone(),
        token_scope: connection.token_scope.clone(),
        authority: connection.authority.clone(),
    };
    let (client_id, proof) = match connection.authentication.clone() {
        Authentication::ClientSecret { client_id, secret } => (client_id, Proof::Secret(secret)),
        Authentication::WorkloadIdentityFederation { client_id, request_uri, system_access_token } => {
            (client_id, Proof::Federation { request_uri, system_access_token })
        }
        Authentication::ClientCertificate { client_id, certificate } => {
            (client_id, Proof::Certificate { chain: certificate.chain, key: certificate.key })
        }
        Authentication::ManagedIdentity { client_id, service } => {
            let machine = match service {
                IdentityService::InstanceMetadata { url } => MachineIdentity::InstanceMetadata(url),
                IdentityService::AppService { url, header } => MachineIdentity::AppService(url, header),
                IdentityService::Arc { url } => MachineIdentity::Arc(url),
            };
            (client_id.unwrap_or_default(), Proof::Machine(machine))
        }
    };
    let identity = Identity { tenant_id: connection.tenant_id.clone(), client_id, proof };
    let credential = credential(agent.host(), &cloud, identity, agent.secret_registrar())
        .map_err(|error| Error::azure("sign in with the service connection", error))?;
    Ok((credential, cloud, connection))
}

/// What a refused sign-in says, without what may be secret.
pub fn scrubbed(error: &azure_core::Error) -> String {
    scrub::text(&error.to_string())
}
