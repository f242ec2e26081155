//! The endpoints of sign-in: `OpenID` configuration, tokens, the pipeline's OIDC tokens, managed identity, discovery of the cloud.

use serde_json::{Value, json};
use uuid::Uuid;

use super::{CLIENT, EXCHANGE_AUDIENCE, TENANT, assertion};
use crate::emulator::{
    error::ApiError,
    http::{Reply, Request},
    world::World,
};

/// An error as Microsoft Entra answers it.
#[derive(Debug)]
pub struct SignInError {
    status: u16,
    error: &'static str,
    code: u32,
    message: String,
}

impl SignInError {
    /// An error with its AADSTS number.
    pub fn new(status: u16, error: &'static str, code: u32, message: String) -> Self {
        Self { status, error, code, message }
    }

    fn reply(&self, world: &World) -> Reply {
        let now = world.clock.now();
        let (trace, correlation) = (Uuid::new_v4(), Uuid::new_v4());
        let timestamp = format!("{} {:02}:{:02}:{:02}Z", now.date(), now.hour(), now.minute(), now.second());
        let description =
            format!("AADSTS{}: {} Trace ID: {trace} Correlation ID: {correlation} Timestamp: {timestamp}", self.code, self.message);
        let body = json!({
            "error": self.error, "error_description": description, "error_codes": [self.code], "timestamp": timestamp,
            "trace_id": trace.to_string(), "correlation_id": correlation.to_string(),
            "error_uri": format!("{}error?code={}", world.base, self.code),
        });
        Reply::json(self.status, &body)
    }
}

/// Serves a request of sign-in or discovery; `None` when it is none.
pub fn serve(world: &World, request: &Request) -> Option<Reply> {
    let segments = request.segments();
    let lower: Vec<String> = segments.iter().map(|segment| segment.to_ascii_lowercase()).collect();
    let lower: Vec<&str> = lower.iter().map(String::as_str).collect();
    let reply = match (request.method.as_str(), lower.as_slice()) {
        ("GET", ["metadata", "endpoints"]) => metadata(world, request),
        ("GET", ["metadata", "identity", "oauth2", "token"]) => managed_identity(world, request),
        ("GET", ["common" | "organizations", "discovery", "instance"]) => instance_discovery(world),
        ("GET", ["oidc", ".well-known", "openid-configuration"]) => pipeline_configuration(world),
        ("GET", ["oidc", "keys"]) => Reply::ok(&json!({"keys": [world.identity.pipeline.jwk()]})),
        ("GET", [_, "v2.0", ".well-known", "openid-configuration"] | [_, ".well-known", "openid-configuration"]) => {
            configuration(world, segments[0])
        }
        ("GET", [_, "discovery", "v2.0", "keys"]) => Reply::ok(&json!({"keys": [world.identity.tokens.jwk()]})),
        ("POST", [_, "oauth2", "v2.0", "token"] | [_, "oauth2", "token"]) => {
            token(world, request, segments[0]).unwrap_or_else(|error| error.reply(world))
        }
        (method, [.., "oidctoken"]) if lower.contains(&"_apis") => match method {
            "POST" => pipeline_token(world, request),
            _ => ApiError::method_not_allowed(method, &request.path).into(),
        },
        _ => return None,
    };
    Some(reply)
}

fn check_tenant(tenant: &str) -> Result<(), SignInError> {
    if tenant.eq_ignore_ascii_case(TENANT) || matches!(tenant, "common" | "organizations") {
        return Ok(());
    }
    let message = format!(
        "Tenant '{tenant}' not found. Check to make sure you have the correct tenant ID and are signing into the correct cloud. Check with \
         your subscription administrator, this may happen if there are no active subscriptions for the tenant."
    );
    Err(SignInError::new(400, "invalid_request", 90002, message))
}

fn configuration(world: &World, tenant: &str) -> Reply {
    if let Err(error) = check_tenant(tenant) {
        return error.reply(world);
    }
    let base = &world.base;
    Reply::ok(&json!({
        "token_endpoint": format!("{base}{tenant}/oauth2/v2.0/token"),
        "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt", "client_secret_basic"],
        "jwks_uri": format!("{base}{tenant}/discovery/v2.0/keys"),
        "response_modes_supported": ["query", "fragment", "form_post"],
        "subject_types_supported": ["pairwise"],
        "id_token_signing_alg_values_supported": ["ES256"],
        "response_types_supported": ["code", "id_token", "code id_token", "id_token token"],
        "scopes_supported": ["openid", "profile", "email", "offline_access"],
        "issuer": format!("{base}{TENANT}/v2.0"),
        "authorization_endpoint": format!("{base}{tenant}/oauth2/v2.0/authorize"),
        "device_authorization_endpoint": format!("{base}{tenant}/oauth2/v2.0/devicecode"),
        "end_session_endpoint": format!("{base}{tenant}/oauth2/v2.0/logout"),
        "tenant_region_scope": "EU",
        "cloud_instance_name": "emulator",
    }))
}

fn instance_discovery(world: &World) -> Reply {
    let host = world.base.trim_start_matches("https://").trim_end_matches('/');
    Reply::ok(&json!({
        "tenant_discovery_endpoint": format!("{}{TENANT}/v2.0/.well-known/openid-configuration", world.base),
        "api-version": "1.1",
        "metadata": [{"preferred_network": host, "preferred_cache": host, "aliases": [host]}],
    }))
}

fn pipeline_configuration(world: &World) -> Reply {
    let issuer = world.identity.issuer();
    Reply::ok(&json!({
        "issuer": issuer, "jwks_uri": format!("{issuer}/keys"), "subject_types_supported": ["public"],
        "response_types_supported": ["id_token"], "id_token_signing_alg_values_supported": ["ES256"], "scopes_supported": ["openid"],
        "claims_supported": ["sub", "aud", "exp", "iat", "iss", "nbf"],
    }))
}

fn token(world: &World, request: &Request, tenant: &str) -> Result<Reply, SignInError> {
    check_tenant(tenant)?;
    let form = request.form();
    let field = |name: &str| form.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str()).filter(|value| !value.is_empty());
    let required = |name: &str| {
        let message = || format!("The request body must contain the following parameter: '{name}'.");
        field(name).ok_or_else(|| SignInError::new(400, "invalid_request", 900_144, message()))
    };
    let grant = required("grant_type")?;
    if grant != "client_credentials" {
        let message = format!("The app requested an unsupported grant type '{grant}'.");
        return Err(SignInError::new(400, "unsupported_grant_type", 70003, message));
    }
    let client_id = required("client_id")?;
    let audience = match field("resource") {
        Some(resource) => resource.to_owned(),
        None => audience_of(required("scope")?)?,
    };
    authenticate(world, tenant, client_id, field("client_secret"), field("client_assertion"))?;
    access_token(world, client_id, &audience)
}

fn authenticate(world: &World, tenant: &str, client_id: &str, secret: Option<&str>, assertion: Option<&str>) -> Result<(), SignInError> {
    let Some(application) = world.identity.application(client_id) else {
        let message = format!(
            "Application with identifier '{client_id}' was not found in the directory '{tenant}'. This can happen if the application has not \
             been installed by the administrator of the tenant or consented to by any user in the tenant. You may have sent your \
             authentication request to the wrong tenant."
        );
        return Err(SignInError::new(400, "unauthorized_client", 700_016, message));
    };
    match (secret, assertion) {
        (_, Some(text)) => assertion::check(&world.identity, application, text, world.clock.now().unix_timestamp()),
        (Some(secret), None) if application.client_secret.as_deref() == Some(secret) => Ok(()),
        (Some(_), None) => {
            let message = format!(
                "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the client \
                 secret ID, for a secret added to app '{client_id}'."
            );
            Err(SignInError::new(401, "invalid_client", 7_000_215, message))
        }
        (None, None) => {
            let message = "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.".to_owned();
            Err(SignInError::new(401, "invalid_client", 7_000_218, message))
        }
    }
}

/// The resource that a scope such as `https://management.azure.com/.default` names.
fn audience_of(scope: &str) -> Result<String, SignInError> {
    let wanted = scope.split(' ').find_map(|scope| scope.strip_suffix("/.default"));
    wanted.map(str::to_owned).ok_or_else(|| {
        let message = format!(
            "The provided value for scope {scope} is not valid. Client credential flows must have a scope value with /.default suffixed to \
             the resource identifier (application ID URI)."
        );
        SignInError::new(400, "invalid_scope", 1_002_012, message)
    })
}

fn access_token(world: &World, client_id: &str, audience: &str) -> Result<Reply, SignInError> {
    let lifetime = world.settings().token_lifetime_seconds;
    let token = world
        .identity
        .issue(client_id, audience, world.clock.now(), lifetime)
        .map_err(|error| SignInError::new(500, "server_error", 90033, error.message))?;
    let body = json!({"token_type": "Bearer", "expires_in": lifetime, "ext_expires_in": lifetime, "access_token": token});
    Ok(Reply::ok(&body).with_header("Cache-Control", "no-store, no-cache"))
}

fn managed_identity(world: &World, request: &Request) -> Reply {
    if !request.header("metadata").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        let body = json!({"error": "invalid_request", "error_description": "Required metadata header not specified"});
        return Reply::json(400, &body);
    }
    let Some(resource) = request.parameter("resource") else {
        let body = json!({"error": "invalid_request", "error_description": "Required query parameter 'resource' is missing"});
        return Reply::json(400, &body);
    };
    let client_id = request.parameter("client_id").unwrap_or_else(|| CLIENT.into());
    if world.identity.application(&client_id).is_none() {
        let body = json!({"error": "invalid_request", "error_description": "Identity not found"});
        return Reply::json(400, &body);
    }
    let now = world.clock.now();
    let lifetime = world.settings().token_lifetime_seconds;
    match world.identity.issue(&client_id, &resource, now, lifetime) {
        Ok(token) => Reply::ok(&json!({
            "access_token": token, "client_id": client_id, "expires_in": lifetime.to_string(),
            "expires_on": (now.unix_timestamp() + lifetime).to_string(), "not_before": now.unix_timestamp().to_string(),
            "resource": resource, "token_type": "Bearer",
        })),
        Err(error) => error.into(),
    }
}

/// Issues the pipeline's OIDC token for a service connection, as Azure DevOps does.
fn pipeline_token(world: &World, request: &Request) -> Reply {
    let expected = format!("Bearer {}", world.identity.system_access_token);
    if request.header("authorization") != Some(expected.as_str()) {
        let body = devops_error("TF400813: The user '' is not authorized to access this resource.", "UnauthorizedRequestException");
        return Reply::json(401, &body).with_header("WWW-Authenticate", format!("Bearer authorization_uri={}{TENANT}", world.base));
    }
    let connection = request.parameter("serviceConnectionId").unwrap_or_default();
    if Uuid::try_parse(&connection).is_err() {
        let message = format!("Value cannot be null or is no GUID. Parameter name: serviceConnectionId ('{connection}')");
        return Reply::json(400, &devops_error(&message, "ArgumentException"));
    }
    let now = world.clock.now().unix_timestamp();
    let lifetime = world.settings().token_lifetime_seconds.min(600);
    let claims = json!({
        "iss": world.identity.issuer(), "sub": format!("sc://emulator/pipeline/{}", connection.to_ascii_lowercase()),
        "aud": EXCHANGE_AUDIENCE, "iat": now, "nbf": now, "exp": now + lifetime, "jti": Uuid::new_v4().to_string(),
    });
    match world.identity.pipeline.sign(&claims) {
        Ok(token) => Reply::ok(&json!({"oidcToken": token})),
        Err(error) => error.into(),
    }
}

fn devops_error(message: &str, kind: &str) -> Value {
    json!({"$id": "1", "innerException": null, "message": message, "typeKey": kind, "errorCode": 0, "eventId": 3000})
}

/// The cloud's description. Newer api-versions of real clouds answer a list; `az` needs the one object.
fn metadata(world: &World, request: &Request) -> Reply {
    let base = &world.base;
    let root = base.trim_end_matches('/');
    if request.parameter("api-version").as_deref() == Some("2015-01-01") {
        return Reply::ok(&json!({
            "galleryEndpoint": root, "graphEndpoint": root, "portalEndpoint": root,
            "authentication": {"loginEndpoint": base, "audiences": [base]},
        }));
    }
    Reply::ok(&json!({
        "name": "emulator", "portal": root, "resourceManager": root, "gallery": root, "graph": root, "graphAudience": root,
        "microsoftGraphResourceId": base, "batch": root, "media": root, "activeDirectoryDataLake": root, "sqlManagement": root,
        "vmImageAliasDoc": root, "appInsightsResourceId": root, "logAnalyticsResourceId": root, "attestationResourceId": root,
        "synapseAnalyticsResourceId": root, "ossrDbmsResourceId": root,
        "authentication": {"loginEndpoint": root, "audiences": [base, root], "tenant": TENANT, "identityProvider": "AAD"},
        "suffixes": {"storage": "core.windows.net", "keyVaultDns": "vault.azure.net", "sqlServerHostname": "database.windows.net",
            "acrLoginServer": "azurecr.io", "mhsmDns": "managedhsm.azure.net", "azureFrontDoorEndpointSuffix": "azurefd.net"},
    }))
}
