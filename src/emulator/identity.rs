//! Sign-in: a tenant with applications, tokens that are signed, expire and are verified, and the pipeline's own OIDC issuer.
//!
//! The endpoints are in `endpoints`; this file holds what they stand on.

pub mod assertion;
mod discovery;
pub mod endpoints;
mod graph;
mod managed;

use std::{
    collections::HashMap,
    sync::{PoisonError, RwLock},
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{Error, error::ApiError};

/// The built-in tenant.
pub const TENANT: &str = "22222222-2222-4222-8222-222222222222";
/// The built-in application.
pub const CLIENT: &str = "33333333-3333-4333-8333-333333333333";
/// The audience of a federated assertion.
pub const EXCHANGE_AUDIENCE: &str = "api://AzureADTokenExchange";
/// How many verified tokens are remembered.
const CACHE_LIMIT: usize = 4096;

/// An application, or a user, that may sign in.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Application {
    /// Its client id; a user's, by which only the emulator knows it.
    pub client_id: String,
    /// What it is called.
    #[serde(default)]
    pub display_name: Option<String>,
    /// Its secret.
    #[serde(default)]
    pub client_secret: Option<String>,
    /// When the secret expires.
    #[serde(default, with = "time::serde::rfc3339::option")]
    pub client_secret_expires: Option<OffsetDateTime>,
    /// A user's name, such as `someone@contoso.com`.
    #[serde(default)]
    pub user_name: Option<String>,
    /// A user's password.
    #[serde(default)]
    pub password: Option<String>,
    /// Its certificate, whose key signs assertions.
    #[serde(default)]
    pub certificate_pem: Option<String>,
    /// The federated identity that it trusts.
    #[serde(default)]
    pub federated: Option<Federated>,
    /// Its roles; without them it owns everything.
    #[serde(default)]
    pub roles: Option<Vec<Grant>>,
}

/// A role that an application has at a scope.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Grant {
    /// The role's name, such as `Reader`.
    pub role: String,
    /// The scope's id, such as `/subscriptions/…`.
    pub scope: String,
}

/// A federated identity credential.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Federated {
    /// The issuer; empty or `emulator` is the emulator's own.
    pub issuer: String,
    /// The subject; a `*` at the end stands for any rest.
    pub subject: String,
}

/// Who calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Caller {
    /// The application's id.
    pub client_id: String,
    /// The service principal's object id, which `@me` stands for.
    pub object_id: String,
}

/// A signing key with what verifies it.
pub struct Signer {
    encoding: EncodingKey,
    decoding: DecodingKey,
    key_id: String,
    x: String,
    y: String,
    /// The private key (PKCS #8), in Base64.
    private: String,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signer").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

impl Signer {
    /// A new key on the curve P-256.
    pub fn generate() -> Result<Self, Error> {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(|error| Error::Certificate(error.to_string()))?;
        Self::new(&key)
    }

    /// The key of an earlier process.
    fn restore(private: &str) -> Result<Self, Error> {
        let der = BASE64_URL_SAFE_NO_PAD.decode(private).map_err(|error| Error::Certificate(error.to_string()))?;
        Self::new(&rcgen::KeyPair::try_from(der).map_err(|error| Error::Certificate(error.to_string()))?)
    }

    fn new(key: &rcgen::KeyPair) -> Result<Self, Error> {
        let point = key.public_key_raw();
        let (x, y) = (BASE64_URL_SAFE_NO_PAD.encode(&point[1..33]), BASE64_URL_SAFE_NO_PAD.encode(&point[33..65]));
        let decoding = DecodingKey::from_ec_components(&x, &y).map_err(|error| Error::Certificate(error.to_string()))?;
        let der = key.serialize_der();
        let key_id = Uuid::new_v5(&Uuid::NAMESPACE_OID, point).to_string();
        Ok(Self { encoding: EncodingKey::from_ec_der(&der), decoding, key_id, x, y, private: BASE64_URL_SAFE_NO_PAD.encode(&der) })
    }

    /// Signs claims.
    pub fn sign(&self, claims: &Value) -> Result<String, ApiError> {
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(self.key_id.clone());
        jsonwebtoken::encode(&header, claims, &self.encoding).map_err(|error| ApiError::new(500, "ServerError", error.to_string()))
    }

    /// The claims of a token that this key signed; expiry is the caller's to check.
    pub fn claims(&self, token: &str) -> Option<Value> {
        let mut validation = Validation::new(Algorithm::ES256);
        validation.validate_exp = false;
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        jsonwebtoken::decode::<Value>(token, &self.decoding, &validation).ok().map(|data| data.claims)
    }

    /// The public half as a JSON Web Key.
    pub fn jwk(&self) -> Value {
        json!({"kty": "EC", "use": "sig", "alg": "ES256", "crv": "P-256", "kid": self.key_id, "x": self.x, "y": self.y})
    }
}

/// Secrets and keys, as they are kept for the next process.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Secrets {
    client_secret: String,
    system_access_token: String,
    tokens: String,
    pipeline: String,
}

/// What the cloud says its authority is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Provider {
    /// Microsoft Entra ID.
    #[default]
    #[serde(rename = "AAD")]
    Entra,
    /// Active Directory Federation Services, as Azure Stack has them.
    #[serde(rename = "ADFS")]
    Adfs,
}

/// The tenant.
#[derive(Debug)]
pub struct Identity {
    /// Signs access tokens.
    pub tokens: Signer,
    /// Signs the pipeline's OIDC tokens.
    pub pipeline: Signer,
    /// The job's access token.
    pub system_access_token: String,
    /// The built-in application's secret.
    pub client_secret: String,
    /// The emulator's URL, with a trailing slash.
    base: String,
    /// Further names of its resource manager: tokens for them are its own too.
    names: Vec<String>,
    provider: Provider,
    applications: HashMap<String, Application>,
    verified: RwLock<HashMap<String, (Caller, i64)>>,
}

/// The claims of an access token that matter here.
#[derive(Serialize, Deserialize)]
struct AccessClaims {
    aud: String,
    exp: i64,
    appid: String,
    oid: String,
    tid: String,
}

impl Identity {
    /// The same for a resource manager that goes by further names.
    #[must_use]
    pub fn named(self, names: Vec<String>) -> Self {
        Self { names, ..self }
    }

    /// A tenant with the built-in application and those of the seed.
    pub fn new(base: &str, provider: Provider, seeded: Vec<Application>, kept: Option<&Secrets>) -> Result<Self, Error> {
        let fresh = || format!("{}~{}", Uuid::new_v4().simple(), &Uuid::new_v4().simple().to_string()[..8]);
        let client_secret = kept.map_or_else(fresh, |kept| kept.client_secret.clone());
        let fresh = || format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
        let system_access_token = kept.map_or_else(fresh, |kept| kept.system_access_token.clone());
        let built_in = Application {
            client_id: CLIENT.into(),
            display_name: Some("emulator".into()),
            client_secret: Some(client_secret.clone()),
            client_secret_expires: None,
            user_name: None,
            password: None,
            roles: None,
            certificate_pem: None,
            federated: Some(Federated { issuer: String::new(), subject: "sc://*".into() }),
        };
        let applications = std::iter::once(built_in).chain(seeded);
        Ok(Self {
            tokens: kept.map_or_else(Signer::generate, |kept| Signer::restore(&kept.tokens))?,
            pipeline: kept.map_or_else(Signer::generate, |kept| Signer::restore(&kept.pipeline))?,
            system_access_token,
            client_secret,
            base: base.into(),
            names: Vec::new(),
            provider,
            applications: applications.map(|application| (application.client_id.to_ascii_lowercase(), application)).collect(),
            verified: RwLock::default(),
        })
    }

    /// What the next process needs to be the same tenant.
    pub fn secrets(&self) -> Secrets {
        Secrets {
            client_secret: self.client_secret.clone(),
            system_access_token: self.system_access_token.clone(),
            tokens: self.tokens.private.clone(),
            pipeline: self.pipeline.private.clone(),
        }
    }

    /// Whether an application has no more than the roles it is given.
    pub fn is_restricted(&self, client_id: &str) -> bool {
        self.application(client_id).is_some_and(|application| application.roles.is_some())
    }

    /// The application with this client id.
    pub fn application(&self, client_id: &str) -> Option<&Application> {
        self.applications.get(&client_id.to_ascii_lowercase())
    }

    /// Applications, no users.
    pub fn applications(&self) -> impl Iterator<Item = &Application> {
        self.applications.values().filter(|application| application.user_name.is_none())
    }

    /// The application or user of this object id.
    pub fn by_object_id(&self, object: &str) -> Option<&Application> {
        self.applications.values().find(|application| object_id(&application.client_id).eq_ignore_ascii_case(object))
    }

    /// The user of this name.
    pub fn user(&self, name: &str) -> Option<&Application> {
        self.applications.values().find(|user| user.user_name.as_ref().is_some_and(|known| known.eq_ignore_ascii_case(name)))
    }

    /// Whether the authority is ADFS, by what the cloud says.
    pub fn is_adfs(&self) -> bool {
        self.provider == Provider::Adfs
    }

    /// Where the cloud sends people to sign in, with a trailing slash.
    pub fn login_endpoint(&self) -> String {
        if self.is_adfs() { format!("{}adfs/", self.base) } else { self.base.clone() }
    }

    /// The issuer of the pipeline's OIDC tokens.
    pub fn issuer(&self) -> String {
        format!("{}oidc", self.base)
    }

    /// A new access token for an application.
    pub fn issue(&self, client_id: &str, audience: &str, now: OffsetDateTime, lifetime: i64) -> Result<String, ApiError> {
        let object_id = object_id(client_id);
        let issued = now.unix_timestamp();
        self.tokens.sign(&json!({
            "aud": audience, "iss": format!("https://sts.windows.net/{TENANT}/"), "iat": issued, "nbf": issued, "exp": issued + lifetime,
            "appid": client_id, "appidacr": "1", "idp": format!("https://sts.windows.net/{TENANT}/"), "idtyp": "app",
            "oid": object_id, "sub": object_id, "tid": TENANT, "ver": "1.0", "uti": Uuid::new_v4().simple().to_string(),
        }))
    }

    /// A new access token for a user, asked for by an application.
    pub fn issue_for_user(&self, client: &str, user: &str, audience: &str, now: OffsetDateTime, lifetime: i64) -> Result<String, ApiError> {
        let object_id = object_id(user);
        let name = self.application(user).and_then(|user| user.user_name.clone());
        let issued = now.unix_timestamp();
        self.tokens.sign(&json!({
            "aud": audience, "iss": format!("https://sts.windows.net/{TENANT}/"), "iat": issued, "nbf": issued, "exp": issued + lifetime,
            "appid": client, "appidacr": "0", "idtyp": "user", "scp": "user_impersonation", "upn": name, "unique_name": name,
            "oid": object_id, "sub": object_id, "tid": TENANT, "ver": "1.0", "uti": Uuid::new_v4().simple().to_string(),
        }))
    }

    /// Who sent a request, or the 401 that Azure answers.
    pub fn caller(&self, authorization: Option<&str>, now: OffsetDateTime) -> Result<Caller, ApiError> {
        let Some(header) = authorization else {
            return Err(self.challenge("AuthenticationFailed", "Authentication failed. The 'Authorization' header is missing."));
        };
        let Some(token) = bearer(header) else {
            return Err(self
                .challenge("AuthenticationFailed", "Authentication failed. The 'Authorization' header is provided in an invalid format."));
        };
        let known = self.verified.read().unwrap_or_else(PoisonError::into_inner).get(token).cloned();
        let (caller, expires) = match known {
            Some(known) => known,
            None => self.verify(token)?,
        };
        if now.unix_timestamp() >= expires {
            return Err(self.challenge("ExpiredAuthenticationToken", "The access token expiry time is in the past. Sign in again."));
        }
        Ok(caller)
    }

    /// Refuses the token of an `Authorization` header from now on, as one that has expired.
    pub fn expire(&self, authorization: Option<&str>) {
        if let Some(token) = authorization.and_then(bearer)
            && let Ok((caller, _)) = self.verify(token)
        {
            self.verified.write().unwrap_or_else(PoisonError::into_inner).insert(token.into(), (caller, 0));
        }
    }

    fn verify(&self, token: &str) -> Result<(Caller, i64), ApiError> {
        self.check_issuer(token)?;
        let claims = self
            .tokens
            .claims(token)
            .and_then(|claims| serde_json::from_value::<AccessClaims>(claims).ok())
            .ok_or_else(|| self.challenge("InvalidAuthenticationToken", "The access token is invalid."))?;
        if !self.is_own_audience(&claims.aud) {
            let message = format!(
                "The access token has been obtained for wrong audience or resource '{}'. It should exactly match with one of the allowed \
                 audiences '{}','https://management.core.windows.net/','https://management.azure.com/'.",
                claims.aud, self.base
            );
            return Err(self.challenge("InvalidAuthenticationTokenAudience", &message));
        }
        let known = (Caller { client_id: claims.appid, object_id: claims.oid }, claims.exp);
        let mut verified = self.verified.write().unwrap_or_else(PoisonError::into_inner);
        if verified.len() >= CACHE_LIMIT {
            verified.clear();
        }
        verified.insert(token.into(), known.clone());
        Ok(known)
    }

    /// A token of another tenant is told so; Azure looks at the issuer before all else.
    fn check_issuer(&self, token: &str) -> Result<(), ApiError> {
        let claims = jsonwebtoken::dangerous::insecure_decode::<Value>(token).ok().map(|data| data.claims).unwrap_or_default();
        let issuer = claims["iss"].as_str().unwrap_or_default();
        let tenant = ["https://sts.windows.net/", "https://login.microsoftonline.com/"].iter().find_map(|start| issuer.strip_prefix(start));
        let Some(tenant) = tenant.and_then(|rest| rest.split('/').next()).filter(|tenant| !tenant.eq_ignore_ascii_case(TENANT)) else {
            return Ok(());
        };
        let message = format!(
            "The access token is from the wrong issuer 'https://sts.windows.net/{tenant}/'. It must match the tenant \
             'https://sts.windows.net/{TENANT}/' associated with this subscription. Please use the authority (URL) '{}{TENANT}' to get the \
             token. Note, if the subscription is transferred to another tenant there is no impact to the services, but information about \
             new tenant could take time to propagate (up to an hour). If you just transferred your subscription and see this error message, \
             please try back later.",
            self.base
        );
        Err(self.challenge("InvalidAuthenticationTokenTenant", &message))
    }

    /// Whether a URL leads here. The emulator answers at 127.0.0.1, `::1` and localhost: the port tells.
    pub fn is_own_address(&self, url: &str) -> bool {
        let rest = url.strip_prefix("https://").unwrap_or_default();
        let port = self.base.trim_end_matches('/').rsplit(':').next().unwrap_or_default();
        rest.split('/').next().is_some_and(|authority| authority.ends_with(&format!(":{port}")))
    }

    /// The emulator answers at 127.0.0.1, `::1` and localhost: the port tells that it is meant.
    fn is_own_audience(&self, audience: &str) -> bool {
        let audience = audience.trim_end_matches('/');
        let port = self.base.trim_end_matches('/').rsplit(':').next().unwrap_or_default();
        matches!(audience, "https://management.azure.com" | "https://management.core.windows.net")
            || audience.strip_prefix("https://").is_some_and(|rest| {
                let host = rest.split('/').next().unwrap_or_default();
                rest.ends_with(&format!(":{port}")) || self.names.iter().any(|name| name.eq_ignore_ascii_case(host))
            })
    }

    fn challenge(&self, code: &str, message: &str) -> ApiError {
        let challenge = format!(
            "Bearer authorization_uri=\"{}{TENANT}\", error=\"invalid_token\", error_description=\"{}\"",
            self.base,
            message.replace('"', "'")
        );
        ApiError::new(401, code, message).with_header("WWW-Authenticate", challenge)
    }
}

/// The token of an `Authorization` header.
fn bearer(header: &str) -> Option<&str> {
    let token = header.strip_prefix("Bearer ").or_else(|| header.strip_prefix("bearer ")).map(str::trim);
    token.filter(|token| !token.is_empty())
}

/// The object id of an application's service principal.
pub fn object_id(client_id: &str) -> String {
    Uuid::new_v5(&Uuid::NAMESPACE_OID, client_id.to_ascii_lowercase().as_bytes()).to_string()
}
