//! Managed identities: the endpoints of virtual machines, of Azure Arc's machines and of App Service, at paths of the listener's own.

use serde_json::json;

use super::{Application, CLIENT};
use crate::emulator::{
    http::{Reply, Request},
    world::World,
};

/// Answers as the metadata service of a virtual machine does (`GET /metadata/identity/oauth2/token`).
pub fn machine(world: &World, request: &Request) -> Reply {
    if !request.header("metadata").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        return refused("Required metadata header not specified");
    }
    if request.parameter("api-version").is_none_or(|version| version.is_empty()) {
        return refused("Required query parameter 'api-version' is missing");
    }
    let token = match token(world, request) {
        Ok(token) => token,
        Err(reply) => return reply,
    };
    Reply::ok(&json!({
        "access_token": token.text, "client_id": token.client_id, "expires_in": token.lifetime.to_string(),
        "ext_expires_in": token.lifetime.to_string(), "expires_on": token.expires.to_string(), "not_before": token.issued.to_string(),
        "resource": token.resource, "token_type": "Bearer",
    }))
}

/// Where Azure Arc's agent keeps the key to its tokens. Nothing is written there: who wants in puts the built-in application's secret there.
const ARC_KEY: &str = "/var/opt/azcmagent/tokens/emulator.key";

/// Answers as Azure Arc's agent does (`GET /arc/metadata/identity/oauth2/token`): first with the name of a file, then to who has read it.
pub fn arc(world: &World, request: &Request) -> Reply {
    if request.header("authorization") == Some(format!("Basic {}", world.identity.client_secret).as_str()) {
        return machine(world, request);
    }
    Reply::json(401, &json!({"error": "unauthorized", "error_description": "Basic authorization is required"}))
        .with_header("WWW-Authenticate", format!("Basic realm={ARC_KEY}"))
}

/// Answers as App Service does (`GET /msi/token`). The header's value is the built-in application's secret.
pub fn app_service(world: &World, request: &Request) -> Reply {
    if request.header("x-identity-header") != Some(world.identity.client_secret.as_str()) {
        let body = json!({"statusCode": 401, "message": "The X-IDENTITY-HEADER is missing or wrong."});
        return Reply::json(401, &body);
    }
    match token(world, request) {
        Ok(token) => Reply::ok(&json!({
            "access_token": token.text, "client_id": token.client_id, "expires_on": token.expires.to_string(),
            "resource": token.resource, "token_type": "Bearer",
        })),
        Err(reply) => reply,
    }
}

struct Token {
    text: String,
    client_id: String,
    resource: String,
    lifetime: i64,
    issued: i64,
    expires: i64,
}

fn token(world: &World, request: &Request) -> Result<Token, Reply> {
    let resource = request.parameter("resource").filter(|resource| !resource.is_empty());
    let resource = resource.ok_or_else(|| refused("Required query parameter 'resource' is missing"))?;
    let client_id = asked_for(world, request).ok_or_else(|| refused("Identity not found"))?.client_id.clone();
    let now = world.clock.now();
    let lifetime = world.settings().token_lifetime_seconds;
    let text = world.identity.issue(&client_id, &resource, now, lifetime).map_err(Reply::from)?;
    let issued = now.unix_timestamp();
    Ok(Token { text, client_id, resource, lifetime, issued, expires: issued + lifetime })
}

/// The identity that a request names by client id or object id; without either the built-in application.
fn asked_for<'a>(world: &'a World, request: &Request) -> Option<&'a Application> {
    let parameter = |name: &str| request.parameter(name).filter(|value| !value.is_empty());
    if let Some(object) = parameter("object_id").or_else(|| parameter("principal_id")) {
        return world.identity.by_object_id(&object);
    }
    world.identity.application(&parameter("client_id").or_else(|| parameter("clientid")).unwrap_or_else(|| CLIENT.into()))
}

fn refused(description: &str) -> Reply {
    Reply::json(400, &json!({"error": "invalid_request", "error_description": description}))
}
