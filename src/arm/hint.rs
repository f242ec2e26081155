//! Hints: for each error that users meet, what to do about it.

use super::{Detail, Error, error};

/// What a user can do about an error.
pub(super) fn of(error: &Error) -> Option<String> {
    match error {
        Error::Service { details, message, status, .. } => {
            let known = details.iter().rev().find_map(|detail| by_code(detail, message));
            known.or_else(|| by_status(*status))
        }
        Error::SignIn { code: Some(code), .. } => Some(sign_in(code).to_owned()),
        Error::SignIn { code: None, message, source } => {
            let below = source.as_ref().map(|source| source.chain()).unwrap_or_default();
            // What names its remedy itself needs no other.
            if message.contains("managed identity") {
                return None;
            }
            connection(&format!("{message}: {below}")).map(str::to_owned)
        }
        Error::Connection { source, .. } => connection(&source.chain()).map(str::to_owned),
        Error::DeadlineExceeded { .. } => Some(
            "the operation may still succeed in Azure: look at the resource there, then run the step again or allow it more time"
                .to_owned(),
        ),
        Error::Answer { .. } | Error::Address { .. } | Error::Cancelled { .. } => None,
    }
}

fn by_code(detail: &Detail, message: &str) -> Option<String> {
    let code = detail.code.to_ascii_lowercase();
    let hint = match code.as_str() {
        "authorizationfailed" | "linkedauthorizationfailed" | "authorization_requestdenied" => return Some(role(&detail.message)),
        "invalidauthenticationtoken" | "expiredauthenticationtoken" | "authenticationfailed" | "invalidauthenticationtokentenant" => {
            "check that the service connection's tenant is the subscription's, and verify the connection in the project's settings"
        }
        "subscriptionnotfound" | "invalidsubscriptionid" => {
            "check the subscription's id, and that the service connection's principal has a role in that subscription"
        }
        "disabledsubscription" | "readonlydisabledsubscription" => "the subscription is disabled: reactivate it in the portal",
        "resourcegroupnotfound" => "check the resource group's name in the id, and that the id's subscription is the right one",
        "resourcenotfound" | "notfound" | "labnotfound" | "labvirtualmachinenotfound" | "parentresourcenotfound" => {
            "check the id's names; the resource may have been deleted or moved"
        }
        "quotaexceeded" | "operationnotallowed" | "maxvmsperuserexceeded" | "maxvmsperlabexceeded" | "resourcequotaexceeded" => {
            // Azure refuses other things by this name too.
            let is_quota = code != "operationnotallowed" || message.to_ascii_lowercase().contains("quota");
            return is_quota.then(|| QUOTA.to_owned());
        }
        "skunotavailable" | "notavailableforsubscription" => {
            "this size is not offered in this region for this subscription (it may be retired): choose another size or region"
        }
        "vmsizenotpermitted" | "invalidvmsize" | "policyviolation" => {
            "the lab's policies do not allow this: choose an allowed size or image, or change the lab's policies"
        }
        "allocationfailed" | "zonalallocationfailed" | "overconstrainedallocationrequest" => {
            "Azure has no room for this size in this region now: try again later, or choose another size or region"
        }
        "scopelocked" => "a lock forbids this: remove the lock from the resource or its resource group, or lift it for the time of the run",
        "deploymentactive" => "another deployment of the same name is running: wait for it, cancel it, or give this one another name",
        "deploymentquotaexceeded" => "a resource group holds at most 800 deployments: delete old ones from its history",
        "anotheroperationinprogress" | "resourceisnotinvalidstate" | "operationpreempted" => {
            "something else is being done to the resource: try again when that has ended"
        }
        "requestdisallowedbypolicy" => "an Azure policy forbids this: meet its conditions, or ask its owner for an exemption",
        "missingsubscriptionregistration" | "noregisteredproviderfound" => {
            "register the resource provider for the subscription (az provider register --namespace …), or use a region and version that it offers"
        }
        "invalidtemplate" | "invaliddeploymentparameterkey" | "invaliddeploymentparametervalue" => {
            "correct the template or its parameters as the message says"
        }
        "publicipcountlimitreached" => "the region's public IP addresses are used up: delete unused ones, or use the lab's shared address",
        "subscriptionrequeststhrottled" | "toomanyrequests" | "resourcerequeststhrottled" | "throttled" | "operationthrottled" => {
            "Azure throttles the subscription: run fewer steps at the same time, or try again later"
        }
        "cannotsetproperty" => "the lab does not let this property be set: take it out of the template, or create the resource anew",
        "marketplacepurchaseeligibilityfailed" | "resourcepurchasevalidationfailed" => {
            "accept the image's terms for the subscription (az vm image terms accept), and allow programmatic deployment in the lab"
        }
        _ => return None,
    };
    Some(hint.to_owned())
}

fn by_status(status: u16) -> Option<String> {
    let hint = match status {
        401 => "verify the service connection in the project's settings",
        403 => "give the service connection's principal a role on the lab's resource group, such as DevTest Labs User or Contributor",
        429 => "Azure throttles the subscription: run fewer steps at the same time, or try again later",
        500..=599 => "the service is out of order: try again later, and see https://status.azure.com",
        _ => return None,
    };
    Some(hint.to_owned())
}

const QUOTA: &str =
    "the quota is used up: delete what is no longer needed, choose another size or region, or ask for more in the portal under Quotas";

/// Names the action and the scope that the message of an `AuthorizationFailed` holds.
fn role(message: &str) -> String {
    let after = |start: &str| message.split_once(start).and_then(|(_, rest)| rest.split('\'').next()).filter(|text| !text.is_empty());
    let scope = after("over scope '").or_else(|| after("scope '"));
    let action = after("perform action '").or_else(|| after("action '"));
    let scope = scope.map_or_else(|| "the resource or its resource group".to_owned(), |scope| format!("'{scope}' or its resource group"));
    let (role, why) = match action.map(str::to_ascii_lowercase) {
        Some(action) if action.ends_with("/read") => ("Reader", action),
        Some(action) if action.starts_with("microsoft.devtestlab/") => ("Contributor (or DevTest Labs User)", action),
        Some(action) if action.starts_with("microsoft.authorization/") => ("User Access Administrator", action),
        Some(action) => ("Contributor", action),
        None => ("Contributor", "this".to_owned()),
    };
    format!(
        "assign the service connection's principal the role {role} on {scope} ({why} needs it), then wait some minutes for it to take effect"
    )
}

fn sign_in(code: &str) -> &'static str {
    match code {
        "AADSTS7000215" => "the secret is wrong: the service connection must hold the secret's value, not its id; renew it there",
        "AADSTS7000222" => {
            "the secret has expired: make a new one in the application's registration and store it in the service connection, or convert the connection to workload identity federation"
        }
        "AADSTS700027" | "AADSTS50012" => {
            "the application does not know this certificate: upload it (its public part) to the application's registration under Certificates & secrets, or store there what is registered; it may also have expired"
        }
        "AADSTS70021" | "AADSTS70025" | "AADSTS700211" | "AADSTS700212" | "AADSTS700213" | "AADSTS7002111" | "AADSTS7002138" => {
            "no federated credential of the application matches this connection: add one in the application's registration (or the managed identity) with exactly the issuer and subject that were presented"
        }
        "AADSTS700024" | "AADSTS500133" | "AADSTS7000271" => {
            "the proof of identity was not valid at this time: set the clock of the agent's machine right (NTP) and run the step again"
        }
        "AADSTS700016" | "AADSTS7000229" => {
            "the tenant has no such application: check the application (client) id and the tenant of the service connection; an application of another tenant needs an administrator's consent there"
        }
        "AADSTS7000112" => "the application is disabled: enable its enterprise application in the tenant",
        "AADSTS65001" | "AADSTS65004" | "AADSTS90094" => {
            "consent is missing: an administrator of the tenant must grant the application access (enterprise application, Permissions, Grant admin consent)"
        }
        "AADSTS90002" | "AADSTS900021" | "AADSTS900023" | "AADSTS50020" => {
            "check the tenant id of the service connection, and that its environment is the cloud of that tenant"
        }
        "AADSTS900382" | "AADSTS500011" | "AADSTS5000224" | "AADSTS700023" => {
            "the tenant does not know this cloud's resource manager: check the service connection's environment (public, US Government, China, Azure Stack)"
        }
        "AADSTS53003" | "AADSTS530035" => {
            "a Conditional Access policy blocks the sign-in: exempt the service connection's principal or the agent's address"
        }
        _ => "look the code up at https://login.microsoftonline.com/error, and verify the service connection in the project's settings",
    }
}

const CERTIFICATE: &str = "the server's certificate is not trusted: give the agent your certificate authority (NODE_EXTRA_CA_CERTS, or --sslcacert when it is configured)";

fn connection(text: &str) -> Option<&'static str> {
    let text = text.to_ascii_lowercase();
    let any = |signs: &[&str]| signs.iter().any(|sign| text.contains(sign));
    if error::is_certificate_problem(&text) {
        // The WebAssembly's host says it itself.
        (!text.contains("node_extra_ca_certs")).then_some(CERTIFICATE)
    } else if any(&["enotfound", "eai_again", "dns", "resolve", "getaddrinfo", "name or service not known"]) {
        Some("the server's name cannot be resolved: check the service connection's URL, and the agent's DNS or proxy")
    } else if any(&["407", "proxy"]) {
        Some("check the proxy that the agent is configured with, its user name and password")
    } else if any(&[
        "refused",
        "etimedout",
        "timed out",
        "timeout",
        "unreachable",
        "reset",
        "econn",
        "in time",
        "cannot be reached",
        "failed to reach",
        "closed",
    ]) {
        Some("check that the agent's machine reaches the server: firewall, proxy (AGENT_PROXYURL), network")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(status: u16, code: &str, message: &str) -> Error {
        Error::Service {
            status,
            code: code.into(),
            message: message.into(),
            details: vec![Detail { code: code.into(), message: message.into(), target: None }],
            correlation_id: None,
            request: "GET /x".into(),
        }
    }

    #[test]
    fn each_known_error_has_a_hint_that_names_the_fix() {
        let denied = "The client 'x' with object id 'y' does not have authorization to perform action 'Microsoft.DevTestLab/labs/virtualMachines/write' over scope '/subscriptions/s/resourceGroups/rg/providers/Microsoft.DevTestLab/labs/lab' or the scope is invalid.";
        let cases = [
            (
                service(403, "AuthorizationFailed", denied),
                "Contributor (or DevTest Labs User) on '/subscriptions/s/resourceGroups/rg/providers/Microsoft.DevTestLab/labs/lab'",
            ),
            (service(404, "ResourceGroupNotFound", ""), "resource group's name"),
            (service(409, "OperationNotAllowed", "exceeding approved standardDSv3Family Cores quota"), "quota"),
            (service(409, "SkuNotAvailable", ""), "another size"),
            (service(409, "ScopeLocked", ""), "remove the lock"),
            (service(409, "DeploymentActive", ""), "another name"),
            (service(429, "SubscriptionRequestsThrottled", ""), "fewer steps"),
            (service(503, "X", ""), "status.azure.com"),
            (service(403, "Forbidden", ""), "role"),
            (Error::SignIn { code: Some("AADSTS7000215".into()), message: String::new(), source: None }, "secret is wrong"),
            (Error::SignIn { code: Some("AADSTS7000222".into()), message: String::new(), source: None }, "expired"),
            (Error::SignIn { code: Some("AADSTS700213".into()), message: String::new(), source: None }, "federated credential"),
            (Error::Connection { request: "GET /".into(), source: Box::new(error::Cause::new("getaddrinfo ENOTFOUND x")) }, "DNS"),
            (
                Error::Connection { request: "GET /".into(), source: Box::new(error::Cause::new("self-signed certificate in chain")) },
                "NODE_EXTRA_CA_CERTS",
            ),
            (
                Error::Connection { request: "GET /".into(), source: Box::new(error::Cause::new("connect ECONNREFUSED 1.2.3.4:443")) },
                "firewall",
            ),
        ];
        for (error, expected) in cases {
            let hint = error.hint().unwrap_or_default();
            assert!(hint.contains(expected), "{error}: {hint}");
        }
        assert_eq!(service(400, "WhoKnows", "x").hint(), None);
        assert_eq!(service(409, "OperationNotAllowed", "the VM is being captured").hint(), None);
    }
}
