//! What a client learns of the cloud and of its authority before it signs in.

use serde_json::{Value, json};

use super::{
    TENANT,
    endpoints::{SignInError, check_tenant},
};
use crate::emulator::{
    error::ApiError,
    http::{Reply, Request},
    world::World,
};

/// Answers requests for metadata; `None` when it is none of them.
pub fn serve(world: &World, request: &Request, segments: &[&str], lower: &[&str]) -> Option<Reply> {
    if request.method != "GET" {
        return None;
    }
    Some(match lower {
        ["metadata", "endpoints"] => metadata(world, request).unwrap_or_else(Reply::from),
        [_, "discovery", "instance"] => instance(world, request).unwrap_or_else(|error| error.reply(world)),
        ["oidc", ".well-known", "openid-configuration"] => pipeline_configuration(world),
        ["oidc", "keys"] => Reply::ok(&json!({"keys": [world.identity.pipeline.jwk()]})),
        [_, "v2.0", ".well-known", "openid-configuration"] => configuration(world, segments[0], Version::V2),
        ["adfs", ".well-known", "openid-configuration"] => configuration(world, segments[0], Version::Adfs),
        [_, ".well-known", "openid-configuration"] => configuration(world, segments[0], Version::V1),
        [_, "discovery", "v2.0" | "v1.0", "keys"] | [_, "discovery", "keys"] => Reply::ok(&json!({"keys": [world.identity.tokens.jwk()]})),
        ["common", "userrealm", user] => user_realm(user),
        _ => return None,
    })
}

/// Which of an authority's interfaces is described.
#[derive(Clone, Copy, PartialEq)]
enum Version {
    V1,
    V2,
    Adfs,
}

fn configuration(world: &World, tenant: &str, version: Version) -> Reply {
    if let Err(error) = check_tenant(tenant) {
        return error.reply(world);
    }
    let base = &world.base;
    let (infix, issuer, keys) = match version {
        Version::V1 => ("oauth2", format!("{base}{TENANT}/"), "discovery/keys"),
        Version::V2 => ("oauth2/v2.0", format!("{base}{TENANT}/v2.0"), "discovery/v2.0/keys"),
        Version::Adfs => ("oauth2", format!("{base}adfs"), "discovery/keys"),
    };
    let at = |what: &str| format!("{base}{tenant}/{infix}/{what}");
    let mut body = json!({
        "token_endpoint": at("token"),
        "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt", "client_secret_basic"],
        "jwks_uri": format!("{base}{tenant}/{keys}"),
        "response_modes_supported": ["query", "fragment", "form_post"],
        "subject_types_supported": ["pairwise"],
        "id_token_signing_alg_values_supported": ["ES256"],
        "response_types_supported": ["code", "id_token", "code id_token", "id_token token"],
        "scopes_supported": ["openid", "profile", "email", "offline_access"],
        "issuer": issuer,
        "authorization_endpoint": at("authorize"),
        "end_session_endpoint": at("logout"),
    });
    if version == Version::V2 {
        body["device_authorization_endpoint"] = json!(at("devicecode"));
    }
    if version != Version::Adfs {
        body["tenant_region_scope"] = json!("EU");
        body["cloud_instance_name"] = json!("emulator");
    }
    Reply::ok(&body)
}

/// Tells which names the authority has. Of an authority that is not this one it knows nothing.
fn instance(world: &World, request: &Request) -> Result<Reply, SignInError> {
    let asked = request.parameter("authorization_endpoint").unwrap_or_default();
    if !asked.is_empty() && !world.identity.is_own_address(&asked) {
        let message = "Unknown or invalid instance.".to_owned();
        return Err(SignInError::new(400, "invalid_instance", 50049, message));
    }
    let host = world.base.trim_start_matches("https://").trim_end_matches('/');
    Ok(Reply::ok(&json!({
        "tenant_discovery_endpoint": format!("{}{TENANT}/v2.0/.well-known/openid-configuration", world.base),
        "api-version": "1.1",
        "metadata": [{"preferred_network": host, "preferred_cache": host, "aliases": [host]}],
    })))
}

/// Everybody signs in here, nobody elsewhere.
fn user_realm(user: &str) -> Reply {
    let domain = user.rsplit('@').next().unwrap_or_default();
    Reply::ok(&json!({"ver": "1.0", "account_type": "Managed", "domain_name": domain, "cloud_instance_name": "emulator",
        "cloud_audience_urn": "urn:federation:MicrosoftOnline"}))
}

fn pipeline_configuration(world: &World) -> Reply {
    let issuer = world.identity.issuer();
    Reply::ok(&json!({
        "issuer": issuer, "jwks_uri": format!("{issuer}/keys"), "subject_types_supported": ["public"],
        "response_types_supported": ["id_token"], "id_token_signing_alg_values_supported": ["ES256"], "scopes_supported": ["openid"],
        "claims_supported": ["sub", "aud", "exp", "iat", "iss", "nbf"],
    }))
}

/// The cloud's description: a small object for Azure Stack and old clients, a list of clouds from 2018 on, one object from 2022 on.
fn metadata(world: &World, request: &Request) -> Result<Reply, ApiError> {
    let version = request.parameter("api-version").filter(|version| !version.is_empty()).ok_or_else(ApiError::missing_api_version)?;
    match version.as_str() {
        "1.0" | "2015-01-01" | "2015-11-01" => Ok(Reply::ok(&stack_metadata(world))),
        "latest" => Ok(Reply::ok(&json!([cloud_metadata(world)]))),
        date if date >= "2022-09-01" && is_date(date) => Ok(Reply::ok(&cloud_metadata(world))),
        date if date >= "2018-05-01" && is_date(date) => Ok(Reply::ok(&json!([cloud_metadata(world)]))),
        _ => Err(ApiError::bad_request(
            "InvalidApiVersionParameter",
            format!(
                "The api-version '{version}' is invalid. The supported versions are \
                 'latest,2022-09-01,2020-06-01,2019-10-01,2019-05-01,2018-05-01,2015-01-01,1.0'."
            ),
        )),
    }
}

fn is_date(text: &str) -> bool {
    crate::emulator::provider::check_date(text).is_ok()
}

fn stack_metadata(world: &World) -> Value {
    let root = world.base.trim_end_matches('/');
    json!({
        "galleryEndpoint": root, "graphEndpoint": root, "portalEndpoint": root,
        "authentication": {"loginEndpoint": world.identity.login_endpoint(), "audiences": [world.base]},
    })
}

fn cloud_metadata(world: &World) -> Value {
    let base = &world.base;
    let root = base.trim_end_matches('/');
    let (tenant, provider) = if world.identity.is_adfs() { ("adfs", "ADFS") } else { (TENANT, "AAD") };
    let login = world.identity.login_endpoint();
    json!({
        "name": "emulator", "portal": root, "resourceManager": base, "gallery": root, "graph": root, "graphAudience": root,
        "microsoftGraphResourceId": base, "batch": root, "media": root, "activeDirectoryDataLake": root, "sqlManagement": root,
        "vmImageAliasDoc": root, "appInsightsResourceId": root, "logAnalyticsResourceId": root, "attestationResourceId": root,
        "synapseAnalyticsResourceId": root, "ossrDbmsResourceId": root,
        "authentication": {"loginEndpoint": login.trim_end_matches('/'), "audiences": [base, root], "tenant": tenant,
            "identityProvider": provider},
        "suffixes": {"storage": "core.windows.net", "keyVaultDns": "vault.azure.net", "sqlServerHostname": "database.windows.net",
            "acrLoginServer": "azurecr.io", "mhsmDns": "managedhsm.azure.net", "azureFrontDoorEndpointSuffix": "azurefd.net"},
    })
}
