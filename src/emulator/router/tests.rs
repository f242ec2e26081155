//! Arbitrary requests: whatever comes, the answer is Azure's envelope and the emulator lives on.

use proptest::{collection::vec, option, prelude::*, sample::select};
use serde_json::{Value, json};

use super::*;
use crate::emulator::{
    http::Request,
    identity::{CLIENT, Identity, Provider, endpoints},
    seed::Seed,
    settings::Settings,
};

const SUBSCRIPTION: &str = "11111111-1111-4111-8111-111111111111";

/// Words of which paths are made; what stands where it should not is the point.
const WORDS: &[&str] = &[
    "subscriptions",
    SUBSCRIPTION,
    "resourceGroups",
    "devtestlabs",
    "providers",
    "Microsoft.DevTestLab",
    "labs",
    "contoso",
    "virtualMachines",
    "vm",
    "start",
    "applyArtifacts",
    "customImages",
    "users",
    "@me",
    "@all",
    "environments",
    "artifactsources",
    "public repo",
    "artifacts",
    "windows-noop",
    "generateArmTemplate",
    "Microsoft.Resources",
    "deployments",
    "d",
    "validate",
    "whatIf",
    "exportTemplate",
    "operations",
    "Microsoft.Compute",
    "galleries",
    "images",
    "versions",
    "1.0.0",
    "disks",
    "snapshots",
    "beginGetAccess",
    "Microsoft.Network",
    "Microsoft.Storage",
    "storageAccounts",
    "listKeys",
    "tags",
    "default",
    "locations",
    "westeurope",
    "schedules",
    "policysets",
    "policies",
    "costs",
    "formulas",
    "virtualnetworks",
    "secrets",
    "resources",
    "tenants",
    "metadata",
    "endpoints",
    "oauth2",
    "v2.0",
    "token",
    "discovery",
    "instance",
    "adfs",
    "v1.0",
    "me",
    "servicePrincipals",
    "msi",
    "createEnvironment",
    "claimAnyVm",
    "operationresults",
];

fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        12 => select(WORDS).prop_map(str::to_owned),
        1 => "\\PC{0,12}",
        1 => Just("..".to_owned()),
        1 => Just("a".repeat(5000)),
        1 => Just("\u{fffd}%00'\"".to_owned()),
    ]
}

fn path() -> impl Strategy<Value = String> {
    let scope = select(vec![
        "",
        "/subscriptions/11111111-1111-4111-8111-111111111111",
        "/subscriptions/11111111-1111-4111-8111-111111111111/resourceGroups/devtestlabs",
        "/subscriptions/11111111-1111-4111-8111-111111111111/resourceGroups/devtestlabs/providers/Microsoft.DevTestLab/labs/contoso",
        "/subscriptions/11111111-1111-4111-8111-111111111111/resourceGroups/devtestlabs/providers/Microsoft.Compute",
        "/subscriptions/11111111-1111-4111-8111-111111111111/resourceGroups/devtestlabs/providers/Microsoft.Resources/deployments/d",
    ]);
    (scope, vec(word(), 0..6)).prop_map(|(scope, words)| words.iter().fold(scope.to_owned(), |path, word| path + "/" + word))
}

fn value() -> impl Strategy<Value = Value> {
    let names = select(vec![
        "properties",
        "location",
        "tags",
        "template",
        "mode",
        "parameters",
        "resources",
        "type",
        "name",
        "apiVersion",
        "size",
        "osType",
        "galleryImageReference",
        "labVirtualNetworkId",
        "artifacts",
        "artifactId",
        "vm",
        "sourceVmId",
        "vhd",
        "imageName",
        "value",
        "sku",
        "storageProfile",
        "source",
        "id",
        "publishingProfile",
        "targetRegions",
        "status",
        "dailyRecurrence",
        "time",
        "copy",
        "count",
        "outputs",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        select(WORDS).prop_map(Value::from),
        "\\PC{0,8}".prop_map(Value::from),
        select(vec![
            "[concat('a'",
            "[parameters('x')]",
            "[copyIndex()]",
            "Incremental",
            "Microsoft.DevTestLab/labs",
            "2018-09-15",
            "contoso/vm"
        ])
        .prop_map(Value::from),
        Just(json!(1e308)),
    ];
    leaf.prop_recursive(5, 40, 6, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((names.clone().prop_map(str::to_owned), inner), 0..6).prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
        ]
    })
}

fn query() -> impl Strategy<Value = String> {
    let version = select(vec!["2018-09-15", "2021-04-01", "2024-03-03", "2018-10-15-preview", "2019-05-01", "nonsense", ""]);
    let more = select(vec![
        "",
        "&$filter=name eq 'x'",
        "&$filter=((((",
        "&$top=0",
        "&$top=2",
        "&$skiptoken=%ff",
        "&$skiptoken=YWZ0ZXI6OTk5OTk5OTk5OTk",
        "&$expand=properties(",
        "&$orderby=name desc",
        "&$orderby=,",
        "&monitor=true",
        "&api-version=1",
        "&%zz=%",
        "&resource=x",
        "&$skiptoken=YmVsb3c6L3o",
    ]);
    (version, more).prop_map(|(version, more)| format!("api-version={version}{more}"))
}

fn request() -> impl Strategy<Value = Request> {
    let method = select(vec!["GET", "PUT", "POST", "PATCH", "DELETE", "HEAD", "OPTIONS", "BREW"]);
    let body = prop_oneof![
        6 => value().prop_map(|value| value.to_string().into_bytes()),
        2 => value().prop_map(|value| json!({"properties": value, "location": "westeurope"}).to_string().into_bytes()),
        1 => vec(any::<u8>(), 0..60),
        1 => Just(Vec::new()),
    ];
    let headers =
        option::of(select(vec![("if-match", "*"), ("if-match", "\"x\""), ("if-none-match", "*"), ("metadata", "true"), ("host", "a b/c")]));
    (method, path(), query(), body, headers).prop_map(|(method, path, query, body, header)| Request {
        method: method.to_owned(),
        path,
        query,
        headers: header.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        body,
    })
}

fn world() -> Arc<World> {
    let base = "https://127.0.0.1:1/";
    let identity = Identity::new(base, Provider::default(), Vec::new(), None).expect("an identity");
    let world = Arc::new(World::new(base.into(), identity, Settings::new(60_000.0), 3, None));
    Seed::read(None).and_then(|mut seed| seed.plant(&world)).expect("the built-in seed");
    world
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 4, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn any_requests_get_an_answer_and_refusals_get_azures_envelope(requests in vec((request(), prop::bool::weighted(0.97)), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let world = world();
            let token = world.identity.issue(CLIENT, "https://management.azure.com/", world.clock.now(), 3600).expect("a token");
            for (mut request, is_signed_in) in requests {
                let token = if is_signed_in { token.as_str() } else { "a.b.c" };
                request.headers.push(("authorization".into(), format!("Bearer {token}")));
                let reply = endpoints::serve(&world, &request).unwrap_or_else(|| serve(&world, &request));
                let told = format!("{} {}?{}\n{}", request.method, request.path, request.query, String::from_utf8_lossy(&request.body));
                prop_assert!((200..500).contains(&reply.status) && reply.status != 500, "{}: {told}", reply.status);
                let body: Option<Value> = reply.body.as_deref().map(|body| serde_json::from_slice(body).expect("every body is JSON"));
                if reply.status >= 400 && request.method != "HEAD" {
                    let error = body.map(|body| body["error"].clone()).unwrap_or_default();
                    let is_envelope = error["code"].as_str().is_some_and(|code| !code.is_empty()) && error["message"].is_string();
                    // Sign-in has an envelope of its own.
                    prop_assert!(is_envelope || error.is_string(), "{} {error}: {told}", reply.status);
                }
                tokio::task::yield_now().await;
            }
            Ok(())
        })?;
    }
}
