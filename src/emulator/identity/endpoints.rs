//! The endpoints of sign-in: access tokens by every grant, and the pipeline's OIDC tokens. `discovery`, `managed` and `graph` serve the rest.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Application, EXCHANGE_AUDIENCE, TENANT, assertion, discovery, graph, managed, object_id};
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

    /// The answer, as Entra words it.
    pub fn reply(&self, world: &World) -> Reply {
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
    // Most requests are for the resource manager, and for nobody else.
    if segments.first().is_none_or(|first| first.eq_ignore_ascii_case("subscriptions")) {
        return None;
    }
    let lower: Vec<String> = segments.iter().map(|segment| segment.to_ascii_lowercase()).collect();
    let lower: Vec<&str> = lower.iter().map(String::as_str).collect();
    if let Some(reply) = discovery::serve(world, request, &segments, &lower) {
        return Some(reply);
    }
    let reply = match (request.method.as_str(), lower.as_slice()) {
        ("GET", ["metadata", "identity", "oauth2", "token"]) => managed::machine(world, request),
        ("GET", ["arc", "metadata", "identity", "oauth2", "token"]) => managed::arc(world, request),
        ("GET", ["msi", "token"]) => managed::app_service(world, request),
        ("POST", [_, "oauth2", "v2.0", "token"]) => {
            token(world, request, segments[0], Shape::V2).unwrap_or_else(|error| error.reply(world))
        }
        ("POST", ["adfs", "oauth2", "token"]) => token(world, request, segments[0], Shape::Adfs).unwrap_or_else(|error| error.reply(world)),
        ("POST", [_, "oauth2", "token"]) => token(world, request, segments[0], Shape::V1).unwrap_or_else(|error| error.reply(world)),
        (method, [_, "oauth2", "token"] | [_, "oauth2", "v2.0", "token"]) => {
            let message = format!("Endpoint only accepts POST requests. Received a {method} request.");
            SignInError::new(400, "invalid_request", 900_561, message).reply(world)
        }
        (_, ["v1.0" | "beta", rest @ ..]) => graph::serve(world, request, rest),
        (method, [.., "oidctoken"]) if lower.contains(&"_apis") => match method {
            "POST" => pipeline_token(world, request),
            _ => ApiError::method_not_allowed(method, &request.path).into(),
        },
        _ => return None,
    };
    Some(reply)
}

/// Checks the tenant of an authority's path.
pub fn check_tenant(tenant: &str) -> Result<(), SignInError> {
    if [TENANT, "common", "organizations", "adfs"].iter().any(|known| tenant.eq_ignore_ascii_case(known)) {
        return Ok(());
    }
    if Uuid::try_parse(tenant).is_err() && !tenant.contains('.') {
        let message = format!(
            "Specified tenant identifier '{tenant}' is neither a valid DNS name, nor a valid external domain. You can use \
             https://docs.microsoft.com/partner-center/find-ids-and-domain-names to retrieve the ID."
        );
        return Err(SignInError::new(400, "invalid_request", 900_023, message));
    }
    let message = format!(
        "Tenant '{tenant}' not found. Check to make sure you have the correct tenant ID and are signing into the correct cloud. Check with \
         your subscription administrator, this may happen if there are no active subscriptions for the tenant."
    );
    Err(SignInError::new(400, "invalid_request", 90002, message))
}

/// How a token endpoint answers.
#[derive(Clone, Copy, PartialEq)]
enum Shape {
    V1,
    V2,
    Adfs,
}

/// A token request's form.
struct Form(Vec<(String, String)>);

impl Form {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    fn required(&self, name: &str) -> Result<&str, SignInError> {
        let message = || format!("The request body must contain the following parameter: '{name}'.");
        self.get(name).ok_or_else(|| SignInError::new(400, "invalid_request", 900_144, message()))
    }

    /// Whom the token is for: a resource (version 1, ADFS) or a scope (version 2).
    fn audience(&self) -> Result<String, SignInError> {
        match self.get("resource") {
            Some(resource) => Ok(resource.to_owned()),
            None => audience_of(self.required("scope")?),
        }
    }
}

fn token(world: &World, request: &Request, tenant: &str, shape: Shape) -> Result<Reply, SignInError> {
    check_tenant(tenant)?;
    let form = Form(request.form());
    let grant = form.required("grant_type")?;
    match grant {
        "client_credentials" => {
            let client_id = form.required("client_id")?;
            let audience = form.audience()?;
            authenticate(world, tenant, client_id, &form)?;
            access_token(world, &Grant { audience, user: None, client_id: client_id.to_owned(), refreshed: false }, shape)
        }
        "password" => {
            let client_id = form.required("client_id")?.to_owned();
            let audience = form.audience()?;
            let user = password(world, form.required("username")?, form.required("password")?)?;
            access_token(world, &Grant { audience, user: Some(user.client_id.clone()), client_id, refreshed: wants_refresh(&form) }, shape)
        }
        "refresh_token" => refresh(world, &form, shape),
        _ => {
            let message = format!("The app requested an unsupported grant type '{grant}'.");
            Err(SignInError::new(400, "unsupported_grant_type", 70003, message))
        }
    }
}

fn wants_refresh(form: &Form) -> bool {
    // Version 1 has no scopes: there every user's token comes with one that refreshes it.
    form.get("scope").is_none_or(|scope| scope.split(' ').any(|scope| scope == "offline_access"))
}

fn password<'a>(world: &'a World, name: &str, password: &str) -> Result<&'a Application, SignInError> {
    let user = world.identity.user(name).ok_or_else(|| {
        let message = format!("The user account {{EUII Hidden}} does not exist in the {TENANT} directory. To sign into this application, the account must be added to the directory.");
        SignInError::new(400, "invalid_grant", 50034, message)
    })?;
    if user.password.as_deref() == Some(password) {
        return Ok(user);
    }
    let message = "Error validating credentials due to invalid username or password.".to_owned();
    Err(SignInError::new(400, "invalid_grant", 50126, message))
}

/// A refresh token is signed, not kept, so that it outlives the process.
fn refresh(world: &World, form: &Form, shape: Shape) -> Result<Reply, SignInError> {
    let client_id = form.required("client_id")?;
    let claims = world.identity.tokens.claims(form.required("refresh_token")?).filter(|claims| claims["use"] == "refresh");
    let malformed = || SignInError::new(400, "invalid_grant", 9_002_313, "Invalid request. Request is malformed or invalid.".into());
    let claims = claims.ok_or_else(malformed)?;
    let user = claims["sub"].as_str().ok_or_else(malformed)?;
    if claims["appid"].as_str() != Some(client_id) {
        let message = "Provided grant is invalid or malformed.".to_owned();
        return Err(SignInError::new(400, "invalid_grant", 70_000, message));
    }
    if world.clock.now().unix_timestamp() >= claims["exp"].as_i64().unwrap_or(0) {
        let message = "The refresh token has expired due to inactivity.".to_owned();
        return Err(SignInError::new(400, "invalid_grant", 700_082, message));
    }
    let audience = form.audience().or_else(|error| claims["for"].as_str().map(str::to_owned).ok_or(error))?;
    access_token(world, &Grant { audience, user: Some(user.to_owned()), client_id: client_id.to_owned(), refreshed: true }, shape)
}

fn authenticate(world: &World, tenant: &str, client_id: &str, form: &Form) -> Result<(), SignInError> {
    let now = world.clock.now();
    let Some(application) = world.identity.application(client_id).filter(|application| application.user_name.is_none()) else {
        let message = format!(
            "Application with identifier '{client_id}' was not found in the directory '{tenant}'. This can happen if the application has not \
             been installed by the administrator of the tenant or consented to by any user in the tenant. You may have sent your \
             authentication request to the wrong tenant."
        );
        return Err(SignInError::new(400, "unauthorized_client", 700_016, message));
    };
    match (form.get("client_secret"), form.get("client_assertion")) {
        (_, Some(text)) => assertion::check(&world.identity, application, text, now),
        (Some(secret), None) if application.client_secret.as_deref() == Some(secret) => {
            if application.client_secret_expires.is_none_or(|expires| now < expires) {
                return Ok(());
            }
            let message = format!(
                "The provided client secret keys for app '{client_id}' are expired. Visit the Azure portal to create new keys for your app: \
                 https://aka.ms/NewClientSecret, or consider using certificate credentials for added security: https://aka.ms/certCreds."
            );
            Err(SignInError::new(401, "invalid_client", 7_000_222, message))
        }
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
    let own = ["openid", "profile", "email", "offline_access"];
    let mut wanted = scope.split(' ').filter(|scope| !own.contains(scope));
    let wanted = wanted.find_map(|scope| scope.strip_suffix("/.default").or_else(|| scope.strip_suffix("/user_impersonation")));
    wanted.map(str::to_owned).ok_or_else(|| {
        let message = format!(
            "The provided value for scope {scope} is not valid. Client credential flows must have a scope value with /.default suffixed to \
             the resource identifier (application ID URI)."
        );
        SignInError::new(400, "invalid_scope", 1_002_012, message)
    })
}

/// What a token is issued for.
struct Grant {
    audience: String,
    client_id: String,
    /// The user for whom the client asks; without one it asks for itself.
    user: Option<String>,
    /// Whether another token comes with it that refreshes it.
    refreshed: bool,
}

/// How long refresh tokens live, in seconds.
const REFRESH_LIFETIME: i64 = 90 * 24 * 3600;

fn access_token(world: &World, grant: &Grant, shape: Shape) -> Result<Reply, SignInError> {
    let failed = |error: ApiError| SignInError::new(500, "server_error", 90033, error.message);
    let lifetime = world.settings().token_lifetime_seconds;
    let now = world.clock.now();
    let token = match &grant.user {
        None => world.identity.issue(&grant.client_id, &grant.audience, now, lifetime),
        Some(user) => world.identity.issue_for_user(&grant.client_id, user, &grant.audience, now, lifetime),
    };
    let issued = now.unix_timestamp();
    let mut body = match shape {
        Shape::V2 => json!({"token_type": "Bearer", "expires_in": lifetime, "ext_expires_in": lifetime}),
        Shape::V1 => json!({"token_type": "Bearer", "expires_in": lifetime.to_string(), "ext_expires_in": lifetime.to_string(),
            "expires_on": (issued + lifetime).to_string(), "not_before": issued.to_string(), "resource": grant.audience}),
        Shape::Adfs => json!({"token_type": "bearer", "expires_in": lifetime, "resource": grant.audience}),
    };
    body["access_token"] = json!(token.map_err(failed)?);
    if let Some(user) = &grant.user {
        let object = object_id(user);
        let name = world.identity.application(user).and_then(|user| user.user_name.clone()).unwrap_or_default();
        body["scope"] = json!(format!("{}/user_impersonation", grant.audience.trim_end_matches('/')));
        body["client_info"] = json!(BASE64_URL_SAFE_NO_PAD.encode(json!({"uid": object, "utid": TENANT}).to_string()));
        let claims = json!({"aud": grant.client_id, "iss": format!("{}{TENANT}/v2.0", world.base), "iat": issued, "nbf": issued,
            "exp": issued + lifetime, "oid": object, "sub": object, "tid": TENANT, "preferred_username": name, "upn": name, "ver": "2.0"});
        body["id_token"] = json!(world.identity.tokens.sign(&claims).map_err(failed)?);
        if grant.refreshed {
            let claims = json!({"use": "refresh", "appid": grant.client_id, "sub": user, "for": grant.audience,
                "exp": issued + REFRESH_LIFETIME, "jti": Uuid::new_v4().to_string()});
            body["refresh_token"] = json!(world.identity.tokens.sign(&claims).map_err(failed)?);
        }
    }
    Ok(Reply::ok(&body).with_header("Cache-Control", "no-store, no-cache"))
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
