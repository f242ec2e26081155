//! Each cloud by its own names, from the service connection to the end of a task: a proxy leads those names to the emulator, whose
//! certificate bears them. And a machine of Azure Arc.

use std::fs;

use serde_json::json;

use super::{DELETE, asked, lab, machine, networks::pair, proxy::Proxy, seed, variable, without_empty};
use crate::{
    harness::{Harness, Step, project},
    packaged::{NODES, command, run, task_folder},
    reliability::fast_host::FastHost,
};

/// A cloud as its service connections describe it.
struct Cloud {
    environment: &'static str,
    manager: &'static str,
    authority: &'static str,
    /// The host of the tokens' audience where it is another than the resource manager.
    audience: Option<&'static str>,
    /// Whether the connection leaves out what the cloud says of itself.
    asks: bool,
}

/// Azure Stack's tokens are for an application of its own.
const STACK_AUDIENCE: &str = "management.stack.onmicrosoft.com";

const CLOUDS: [Cloud; 6] = [
    Cloud {
        environment: "AzureCloud",
        manager: "management.azure.com",
        authority: "login.microsoftonline.com",
        audience: None,
        asks: false,
    },
    Cloud {
        environment: "AzureUSGovernment",
        manager: "management.usgovcloudapi.net",
        authority: "login.microsoftonline.us",
        audience: None,
        asks: false,
    },
    Cloud {
        environment: "AzureChinaCloud",
        manager: "management.chinacloudapi.cn",
        authority: "login.chinacloudapi.cn",
        audience: None,
        asks: false,
    },
    Cloud {
        environment: "AzureGermanCloud",
        manager: "management.microsoftazure.de",
        authority: "login.microsoftonline.de",
        audience: None,
        asks: false,
    },
    Cloud {
        environment: "AzureStack",
        manager: "management.local.azurestack.external",
        authority: "login.microsoftonline.com",
        audience: Some(STACK_AUDIENCE),
        asks: false,
    },
    Cloud { environment: "AzureStack", manager: "management.asked.azurestack.external", authority: "", audience: None, asks: true },
];

/// The emulator under the names of all clouds.
async fn of_all_names() -> Harness {
    let file = tempfile::NamedTempFile::new().expect("a file");
    fs::write(file.path(), seed(&json!([])).to_string()).expect("the seed is written");
    let names = CLOUDS.iter().flat_map(|cloud| [cloud.manager, cloud.authority]).chain([STACK_AUDIENCE]);
    Harness::with(|options| {
        options.names = names.filter(|name| !name.is_empty()).map(str::to_owned).collect();
        options.seed = Some(file.path().to_owned());
    })
    .await
}

impl Cloud {
    fn variables(&self) -> Vec<(String, String)> {
        let known = |value: String| if self.asks { String::new() } else { value };
        let mut data = json!({"environment": self.environment});
        let audience = self.audience.map(|host| format!("https://{host}/11111111-2222-4333-8444-555555555555"));
        if let Some(audience) = &audience {
            data["activeDirectoryServiceEndpointResourceId"] = json!(audience);
        }
        vec![
            variable("ENDPOINT_URL_{id}", format!("https://{}/", self.manager)),
            variable("ENDPOINT_DATA_{id}", data.to_string()),
            variable("ENDPOINT_DATA_{id}_ENVIRONMENT", self.environment),
            variable("ENDPOINT_DATA_{id}_ACTIVEDIRECTORYAUTHORITY", known(format!("https://{}/", self.authority))),
            variable("ENDPOINT_DATA_{id}_ACTIVEDIRECTORYSERVICEENDPOINTRESOURCEID", audience.unwrap_or_default()),
        ]
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_cloud_is_signed_in_to_and_worked_in_by_its_own_names() {
    let harness = of_all_names().await;
    let address = harness.target().resource_manager.trim_start_matches("https://").trim_end_matches('/').to_owned();
    let proxy = Proxy::leading_to(Some(address.clone()), None).await;
    for cloud in CLOUDS {
        let mut variables = cloud.variables();
        variables.push(pair("HTTPS_PROXY", format!("http://127.0.0.1:{}", proxy.port)));
        for ending in super::everywhere(&harness, &variables).await {
            assert_eq!(ending.result, "Succeeded", "{} at {}: {ending:#?}", cloud.environment, cloud.manager);
        }
        let seen = proxy.seen();
        // A cloud that is asked says where to sign in: at the emulator's own address.
        let authority = if cloud.asks { address.clone() } else { format!("{}:443", cloud.authority) };
        for name in [format!("{}:443", cloud.manager), authority] {
            assert!(seen.contains(&name), "{name}: {seen:?}");
        }
        let others = seen.iter().filter(|name| !name.starts_with(cloud.manager) && !name.starts_with(cloud.authority) && **name != address);
        assert_eq!(others.count(), 0, "{}: {seen:?}", cloud.environment);
    }
    harness.finish().await;
}

/// The key that the emulator asks for, where Azure Arc's agent keeps its keys.
const ARC_KEY: &str = "/var/opt/azcmagent/tokens/emulator.key";

fn of_arc(harness: &Harness, id: String) -> Step<'_> {
    let service = harness.target().resource_manager.clone();
    let variables = [
        variable("ENDPOINT_AUTH_SCHEME_{id}", "ManagedServiceIdentity"),
        variable("ENDPOINT_AUTH_{id}", ""),
        pair("IDENTITY_ENDPOINT", format!("{service}arc/metadata/identity/oauth2/token")),
        pair("IMDS_ENDPOINT", service),
        pair("NODE_EXTRA_CA_CERTS", harness.ready().ca_file.clone()),
    ];
    let step = harness.step(DELETE).input("LabVmId", id);
    variables.into_iter().fold(step, |step, (name, value)| step.environment(&name, value))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_of_azure_arc_signs_in_by_the_key_in_its_file() {
    let harness = lab(json!([])).await;
    let key = harness.ready().client_secret.clone();
    let hidden = |lines: &[String]| lines.iter().all(|line| line.starts_with("##vso[task.setsecret]") || !line.contains(&key));
    let step = of_arc(&harness, machine(&harness).await);
    let finished = step.run_on(|host| FastHost::with_file(host, ARC_KEY, key.as_bytes())).await;
    assert_eq!(finished.completed(), "Succeeded", "{finished}");
    assert!(hidden(&finished.lines), "{finished}");
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("emulator.key"), &key).expect("a key");
    for major in NODES {
        let mut environment = without_empty(of_arc(&harness, machine(&harness).await).exported());
        environment.insert("NODE_OPTIONS".to_owned(), format!("--require \"{}\"", project("tests/connections/arc_key.js").display()));
        environment.insert("ARC_FOLDER".to_owned(), folder.path().to_string_lossy().into_owned());
        let ended = run(&mut command(major, &task_folder(DELETE), &environment)).await;
        assert_eq!(ended.result(), "Succeeded", "{ended:#?}");
        assert!(hidden(&ended.lines), "{ended:#?}");
    }
    // Each asks twice: without the key, and with it.
    assert_eq!(asked(&harness, "/arc/metadata/identity/oauth2/token").await, 6);
    harness.finish().await;
}
