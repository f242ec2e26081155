//! Microsoft Graph as far as `az` asks it: who the caller is, and the service principal of an application.

use serde_json::{Value, json};
use uuid::Uuid;

use super::{Application, TENANT, object_id};
use crate::emulator::{
    error::ApiError,
    filter::Filter,
    http::{Reply, Request},
    world::World,
};

/// Serves a request below `/v1.0/` or `/beta/`.
pub fn serve(world: &World, request: &Request, segments: &[&str]) -> Reply {
    answer(world, request, segments).map_or_else(|error| refused(world, &error), |body| Reply::ok(&body))
}

fn refused(world: &World, error: &ApiError) -> Reply {
    let mut body = error.envelope();
    let id = Uuid::new_v4().to_string();
    body["error"]["innerError"] =
        json!({"date": crate::emulator::clock::arm_date(world.clock.now()), "request-id": id, "client-request-id": id});
    let mut reply = Reply::json(error.status, &body);
    reply.headers.clone_from(&error.headers);
    reply
}

fn answer(world: &World, request: &Request, segments: &[&str]) -> Result<Value, ApiError> {
    let caller = world.identity.caller(request.header("authorization"), world.clock.now())?;
    if request.method != "GET" {
        return Err(ApiError::method_not_allowed(&request.method, &request.path));
    }
    let missing = |what: &str| {
        let message = format!("Resource '{what}' does not exist or one of its queried reference-property objects are not present.");
        ApiError::new(404, "Request_ResourceNotFound", message)
    };
    match segments {
        ["me"] => {
            let user = world.identity.by_object_id(&caller.object_id).filter(|user| user.user_name.is_some());
            let message = "/me request is only valid with delegated authentication flow.";
            user.map(|user| user_body(world, user)).ok_or_else(|| ApiError::bad_request("BadRequest", message))
        }
        ["serviceprincipals"] => {
            let mut found: Vec<Value> = world.identity.applications().map(service_principal).collect();
            if let Some(filter) = request.parameter("$filter") {
                let filter = as_comparison(&filter);
                let filter = Filter::parse(&filter)?;
                found.retain(|one| filter.accepts(one));
            }
            Ok(json!({"@odata.context": context(world, "servicePrincipals"), "value": found}))
        }
        [one] if one.starts_with("serviceprincipals(") => {
            let id = one.trim_start_matches("serviceprincipals(appid=").trim_end_matches(')').trim_matches('\'');
            world.identity.application(id).map(service_principal).ok_or_else(|| missing(id))
        }
        ["serviceprincipals", object] => world.identity.by_object_id(object).map(service_principal).ok_or_else(|| missing(object)),
        ["organization"] => Ok(json!({"@odata.context": context(world, "organization"), "value": [
            {"id": TENANT, "displayName": "Emulator", "verifiedDomains": [{"name": "emulator.onmicrosoft.com", "isDefault": true}]}]})),
        _ => Err(ApiError::bad_request("BadRequest", format!("Resource not found for the segment '{}'.", segments.join("/")))),
    }
}

/// `az` asks for `servicePrincipalNames/any(c:c eq '…')`; the only name here is the application's id.
fn as_comparison(filter: &str) -> String {
    let any = filter.trim().strip_prefix("servicePrincipalNames/any(").and_then(|rest| rest.strip_suffix(')'));
    let value = any.and_then(|any| any.split_once(" eq ")).map(|(_, value)| value);
    value.map_or_else(|| filter.to_owned(), |value| format!("appId eq {value}"))
}

fn context(world: &World, what: &str) -> String {
    format!("{}v1.0/$metadata#{what}", world.base)
}

fn user_body(world: &World, user: &Application) -> Value {
    let name = user.user_name.as_deref().unwrap_or_default();
    json!({"@odata.context": context(world, "users/$entity"), "id": object_id(&user.client_id), "userPrincipalName": name,
        "displayName": user.display_name.as_deref().unwrap_or(name), "mail": name})
}

fn service_principal(application: &Application) -> Value {
    let name = application.display_name.as_deref().unwrap_or(&application.client_id);
    json!({"id": object_id(&application.client_id), "appId": application.client_id, "displayName": name, "appDisplayName": name,
        "accountEnabled": true, "appOwnerOrganizationId": TENANT, "servicePrincipalType": "Application",
        "servicePrincipalNames": [application.client_id], "keyCredentials": [], "passwordCredentials": []})
}
