//! Deployments: templates become resources.

use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::client::{ARM, Azure, DTL, GROUP, LAB, windows};

fn path(name: &str) -> String {
    format!("{GROUP}/providers/Microsoft.Resources/deployments/{name}?api-version={ARM}")
}

fn of(template: Value, parameters: Value) -> Value {
    json!({"properties": {"mode": "Incremental", "template": template, "parameters": parameters}})
}

fn template(resources: Value) -> Value {
    json!({"$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#", "contentVersion": "1.0.0.0", "resources": resources})
}

fn storage(name: &str) -> Value {
    json!({"type": "Microsoft.Storage/storageAccounts", "apiVersion": "2021-04-01", "name": name, "location": "[resourceGroup().location]", "kind": "StorageV2",
        "sku": {"name": "Standard_LRS"}})
}

fn machine_template() -> Value {
    let mut machine = windows(&["windows-noop"]);
    machine["properties"]["password"] = json!("[parameters('password')]");
    machine["type"] = json!("Microsoft.DevTestLab/labs/virtualmachines");
    machine["apiVersion"] = json!(DTL);
    machine["name"] = json!("[concat(parameters('labName'), '/', parameters('newVMName'))]");
    let mut template = template(json!([machine]));
    template["parameters"] = json!({"newVMName": {"type": "string"}, "labName": {"type": "string"}, "password": {"type": "securestring"}, "size": {"type": "int", "defaultValue": 3}});
    template["outputs"] = json!({
        "labVMId": {"type": "string", "value": "[resourceId('Microsoft.DevTestLab/labs/virtualmachines', parameters('labName'), parameters('newVMName'))]"},
        "state": {"type": "string", "value": "[reference(resourceId('Microsoft.DevTestLab/labs/virtualmachines', parameters('labName'), parameters('newVMName')), '2018-09-15').osType]"},
        "hidden": {"type": "securestring", "value": "[parameters('password')]"},
    });
    template
}

fn machine_parameters() -> Value {
    json!({"newVMName": {"value": "built"}, "labName": {"value": "contoso"}, "password": {"value": "P@ssw0rd-x"}})
}

#[tokio::test]
async fn a_template_makes_a_lab_machine() {
    let azure = Azure::at_speed(600.0, None).await;
    let answer = azure.put(&path("Make"), of(machine_template(), machine_parameters())).await.expect(201);
    assert_eq!(answer.body["id"], format!("{GROUP}/providers/Microsoft.Resources/deployments/Make"));
    assert_eq!(answer.body["properties"]["provisioningState"], "Accepted");
    assert_eq!(answer.body["properties"]["parameters"]["password"], json!({"type": "SecureString"}));
    assert_eq!(answer.body["properties"]["parameters"]["size"], json!({"type": "Int", "value": 3}));
    assert!(answer.header("azure-asyncoperation").contains("/deployments/Make/operationStatuses/0858"));
    azure.put(&path("make"), of(machine_template(), machine_parameters())).await.refused(409, "DeploymentActive");
    azure.delete(&path("make")).await.refused(409, "DeploymentActive");

    assert_eq!(azure.finished(&answer).await, json!({"status": "Succeeded"}));
    let deployment = azure.get(&path("make")).await.expect(200).body;
    let properties = &deployment["properties"];
    assert_eq!(properties["provisioningState"], "Succeeded");
    assert_eq!(properties["outputs"]["labVMId"], json!({"type": "String", "value": format!("{LAB}/virtualmachines/built")}));
    assert_eq!(properties["outputs"]["state"]["value"], "Windows");
    assert_eq!(properties["outputs"]["hidden"], json!({"type": "SecureString"}));
    assert_eq!(properties["outputResources"], json!([{"id": format!("{LAB}/virtualmachines/built")}]));
    assert!(properties["duration"].as_str().is_some_and(|text| text.starts_with("PT")));

    for spelling in ["resourceGroups", "resourcegroups"] {
        let group = GROUP.replace("resourceGroups", spelling);
        for operations in [
            format!("{group}/deployments/make/operations?api-version={ARM}"),
            format!("{group}/providers/Microsoft.Resources/deployments/make/operations?api-version={ARM}"),
        ] {
            let listed = azure.get(&operations).await.expect(200).body;
            let target = &listed["value"][0]["properties"]["targetResource"];
            assert_eq!(target["resourceType"], "Microsoft.DevTestLab/labs/virtualmachines");
            assert_eq!(listed["value"][0]["properties"]["provisioningState"], "Succeeded");
        }
    }
    let exported = azure
        .post(&format!("{GROUP}/providers/Microsoft.Resources/deployments/make/exportTemplate?api-version={ARM}"), json!({}))
        .await
        .expect(200);
    assert_eq!(exported.body["template"], machine_template());

    azure.send(Method::HEAD, &path("make"), None).await.expect(204);
    let answer = azure.delete(&path("make")).await.expect(202);
    while azure.get(answer.header("location")).await.status == 202 {}
    azure.send(Method::HEAD, &path("make"), None).await.expect(404);
    azure.delete(&path("make")).await.expect(204);
}

#[tokio::test]
async fn what_a_provider_refuses_fails_the_deployment_with_its_words() {
    let azure = Azure::start().await;
    let mut parameters = machine_parameters();
    parameters["newVMName"]["value"] = json!("much-too-long-for-windows");
    let answer = azure.put(&path("bad"), of(machine_template(), parameters)).await.expect(201);
    let status = azure.finished(&answer).await;
    assert_eq!((&status["status"], &status["error"]["code"]), (&json!("Failed"), &json!("DeploymentFailed")));
    let detail = &status["error"]["details"][0];
    assert_eq!(detail["code"], "BadRequest");
    let inner: Value = serde_json::from_str(detail["message"].as_str().expect("a text")).expect("JSON in a text");
    assert_eq!(inner["error"]["code"], "InvalidVirtualMachineName");
    assert_eq!(azure.get(&path("bad")).await.body["properties"]["error"]["code"], "DeploymentFailed");
}

#[tokio::test]
async fn provisioning_that_fails_under_way_fails_the_deployment() {
    let azure = Azure::start().await;
    azure
        .control(
            "faults",
            json!([{"path": "storageAccounts/second", "provisioning": "Failed", "body": {"code": "Boom", "message": "no disks"}}]),
        )
        .await;
    let mut third = storage("third");
    third["dependsOn"] = json!(["[resourceId('Microsoft.Storage/storageAccounts', 'second')]"]);
    let answer = azure.put(&path("d"), of(template(json!([storage("first"), storage("second"), third])), json!({}))).await.expect(201);
    let status = azure.finished(&answer).await;
    assert!(status["error"]["details"][0]["message"].as_str().is_some_and(|text| text.contains("Boom")), "{status:#}");
    let resource = |name: &str| format!("{GROUP}/providers/Microsoft.Storage/storageAccounts/{name}?api-version=2021-04-01");
    assert_eq!(azure.get(&resource("first")).await.body["properties"]["provisioningState"], "Succeeded");
    assert_eq!(azure.get(&resource("second")).await.body["properties"]["provisioningState"], "Failed");
    azure.get(&resource("third")).await.refused(404, "ResourceNotFound");
}

#[tokio::test]
async fn independent_resources_are_made_side_by_side() {
    let azure = Azure::at_speed(1.0, None).await;
    azure.control("settings", json!({"durations": {"environment": 1.5}})).await;
    let resources: Vec<Value> = (0..20).map(|number| storage(&format!("store{number}"))).collect();
    let begun = std::time::Instant::now();
    let answer = azure.put(&path("wide"), of(template(json!(resources)), json!({}))).await.expect(201);
    assert_eq!(azure.finished(&answer).await["status"], "Succeeded");
    // One after the other they would take 30 seconds.
    assert!(begun.elapsed().as_secs_f64() < 20.0, "{:?}", begun.elapsed());
    let listed = azure
        .get(&format!("{GROUP}/resources?api-version={ARM}&$filter=resourceType eq 'Microsoft.Storage/storageAccounts'"))
        .await
        .expect(200);
    assert_eq!(listed.body["value"].as_array().map(Vec::len), Some(20));
}

#[tokio::test]
async fn nested_deployments_are_followed() {
    let azure = Azure::start().await;
    let inner = template(json!([storage("inner")]));
    let outer = template(
        json!([{"type": "Microsoft.Resources/deployments", "apiVersion": ARM, "name": "nested", "properties": {"mode": "Incremental", "template": inner}}]),
    );
    let answer = azure.put(&path("outer"), of(outer, json!({}))).await.expect(201);
    assert_eq!(azure.finished(&answer).await["status"], "Succeeded");
    assert_eq!(azure.get(&path("nested")).await.expect(200).body["properties"]["provisioningState"], "Succeeded");
    azure.get(&format!("{GROUP}/providers/Microsoft.Storage/storageAccounts/inner?api-version=2021-04-01")).await.expect(200);
}

/// Serves files over http on a port of the loopback until the test ends; answers their base address.
async fn serve_files(files: &[(&'static str, String)]) -> String {
    let files: std::collections::HashMap<&str, String> = files.iter().cloned().collect();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let base = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = vec![0; 4096];
            let read = stream.read(&mut request).await.unwrap_or_default();
            let head = String::from_utf8_lossy(&request[..read]).into_owned();
            let path = head.split(' ').nth(1).unwrap_or_default();
            let (status, body) = files.get(path).map_or(("404 Not Found", ""), |body| ("200 OK", body.as_str()));
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    base
}

#[tokio::test]
async fn linked_templates_are_downloaded_relative_ones_from_beside_their_parent() {
    let azure = Azure::start().await;
    let link = |link: Value| json!({"type": "Microsoft.Resources/deployments", "apiVersion": ARM, "name": "below", "properties": {"mode": "Incremental", "templateLink": link}});
    let mut named = storage("[parameters('name')]");
    named["tags"] = json!({"from": "[deployment().properties.templateLink.uri]"});
    let mut leaf = template(json!([named]));
    leaf["parameters"] = json!({"name": {"type": "string"}});
    let mut relative = link(json!({"relativePath": "nested/leaf.json"}));
    relative["name"] = json!("leaf");
    relative["properties"]["parametersLink"] = json!({"uri": "[uri(deployment().properties.templateLink.uri, 'values.json')]"});
    let main = template(json!([relative]));
    let base = serve_files(&[
        ("/t/main.json", format!("\u{feff}// a comment\n{main}")),
        ("/t/nested/leaf.json", leaf.to_string()),
        ("/t/values.json", json!({"parameters": {"name": {"value": "linked"}}}).to_string()),
        ("/t/large.json", format!("\"{}\"", "x".repeat(5 << 20))),
        ("/t/broken.json", "{".to_owned()),
    ])
    .await;
    let uri = |name: &str| json!({"properties": {"mode": "Incremental", "templateLink": {"uri": format!("{base}/t/{name}")}}});
    let answer = azure.put(&path("outer"), uri("main.json")).await.expect(201);
    assert_eq!(azure.finished(&answer).await["status"], "Succeeded");
    let made = azure.get(&format!("{GROUP}/providers/Microsoft.Storage/storageAccounts/linked?api-version=2021-04-01")).await.expect(200);
    assert_eq!(made.body["tags"]["from"], format!("{base}/t/nested/leaf.json"));
    let shown = azure.get(&path("leaf")).await.expect(200);
    assert_eq!(shown.body["properties"]["templateLink"]["relativePath"], "nested/leaf.json");

    for (name, code) in [("none.json", "InvalidContentLink"), ("large.json", "InvalidContentLink"), ("broken.json", "InvalidTemplate")] {
        azure.put(&path("refused"), uri(name)).await.refused(400, code);
    }
    // What a nested deployment links to is found missing under way.
    let nested = of(template(json!([link(json!({"uri": format!("{base}/t/none.json")}))])), json!({}));
    let answer = azure.put(&path("fails"), nested).await.expect(201);
    let status = azure.finished(&answer).await;
    assert_eq!(status["error"]["code"], "DeploymentFailed", "{status}");
    assert!(status["error"]["details"][0]["message"].as_str().is_some_and(|text| text.contains("InvalidContentLink")), "{status}");
}

#[tokio::test]
async fn nested_deployments_go_up_to_the_tenant_and_to_management_groups() {
    let azure = Azure::start().await;
    let nested = |name: &str, scope: &str, resources: Value| {
        json!({"type": "Microsoft.Resources/deployments", "apiVersion": ARM, "name": name, "scope": scope, "location": "westeurope", "properties": {
            "mode": "Incremental", "expressionEvaluationOptions": {"scope": "inner"}, "template": template(resources)}})
    };
    let policy = json!({"type": "Microsoft.Authorization/policyDefinitions", "apiVersion": "2021-06-01", "name": "p", "properties": {"mode": "All"}});
    let group = json!({"type": "Microsoft.Management/managementGroups", "apiVersion": "2021-04-01", "name": "mg1", "properties": {"displayName": "One"}});
    let mut below = nested("below", "Microsoft.Management/managementGroups/mg1", json!([policy]));
    below["dependsOn"] = json!(["top"]);
    let answer = azure.put(&path("outer"), of(template(json!([nested("top", "/", json!([group])), below])), json!({}))).await.expect(201);
    let status = azure.finished(&answer).await;
    assert_eq!(status["status"], "Succeeded", "{status}");
    let mg = "/providers/Microsoft.Management/managementGroups/mg1";
    for id in [
        mg.to_owned(),
        format!("{mg}/providers/Microsoft.Authorization/policyDefinitions/p"),
        "/providers/Microsoft.Resources/deployments/top".to_owned(),
        format!("{mg}/providers/Microsoft.Resources/deployments/below"),
    ] {
        azure.get(&format!("{id}?api-version={ARM}")).await.expect(200);
    }
    let operations =
        azure.get(&format!("{mg}/providers/Microsoft.Resources/deployments/below/operations?api-version={ARM}")).await.expect(200);
    assert_eq!(operations.body["value"].as_array().map(Vec::len), Some(2));
    let mut nowhere = nested("nowhere", "/", json!([]));
    nowhere.as_object_mut().expect("an object").remove("location");
    let answer = azure.put(&path("nowhere"), of(template(json!([nowhere])), json!({}))).await.expect(201);
    assert!(azure.finished(&answer).await.to_string().contains("LocationRequired"));
}

#[tokio::test]
async fn a_running_deployment_is_cancelled_and_a_finished_one_is_not() {
    let azure = Azure::at_speed(1.0, None).await;
    let cancel = format!("{GROUP}/providers/Microsoft.Resources/deployments/slow/cancel?api-version={ARM}");
    let answer = azure.put(&path("slow"), of(template(json!([storage("slow")])), json!({}))).await.expect(201);
    azure.post(&cancel, json!({})).await.expect(204);
    assert_eq!(azure.finished(&answer).await["status"], "Canceled");
    assert_eq!(azure.get(&path("slow")).await.body["properties"]["provisioningState"], "Canceled");
    azure.post(&cancel, json!({})).await.refused(409, "DeploymentCannotBeCancelled");
}

#[tokio::test]
async fn wrong_templates_are_refused_before_anything_is_made() {
    let azure = Azure::start().await;
    let mut wrong_version = storage("x");
    wrong_version["type"] = json!("Microsoft.DevTestLab/labs");
    let mut unknown_function = storage("x");
    unknown_function["name"] = json!("[frobnicate('x')]");
    let cases = [
        (of(machine_template(), json!({})), "InvalidTemplate"),
        (of(machine_template(), json!({"nonsense": {"value": 1}})), "InvalidTemplate"),
        (of(template(json!([wrong_version])), json!({})), "NoRegisteredProviderFound"),
        (of(template(json!([unknown_function])), json!({})), "InvalidTemplate"),
        (json!({"properties": {"mode": "Incremental", "template": null}}), "InvalidTemplate"),
        (json!({"properties": {"mode": "Sideways", "template": {}}}), "InvalidRequestContent"),
        (json!({}), "InvalidRequestContent"),
        (json!({"properties": {"mode": "Incremental", "templateLink": {"uri": "https://example.invalid/t.json"}}}), "InvalidContentLink"),
        (
            of(
                machine_template(),
                json!({"newVMName": {"value": "a"}, "labName": {"value": "contoso"}, "password": {"reference": {"keyVault": {"id": "/x"}, "secretName": "y"}}}),
            ),
            "KeyVaultParameterReferenceNotFound",
        ),
    ];
    for (body, code) in cases {
        azure.put(&path("d"), body.clone()).await.refused(400, code);
        azure
            .post(&format!("{GROUP}/providers/Microsoft.Resources/deployments/d/validate?api-version={ARM}"), body)
            .await
            .refused(400, code);
    }
    azure.get(&path("d")).await.refused(404, "DeploymentNotFound");
}

#[tokio::test]
async fn bodies_with_comments_and_bare_keys_are_read_as_az_sends_them() {
    let azure = Azure::start().await;
    let body = format!(
        "{{\"properties\": {{\"mode\": \"Incremental\", template: {}, \"parameters\": {{ /* none */ }} }}}}",
        template(json!([storage("azcopy")]))
    );
    let request = azure.http.put(azure.url(&path("az"))).bearer_auth(&azure.token).header("content-type", "application/json").body(body);
    let answer = super::client::read(request.send().await.expect("an answer")).await.expect(201);
    assert_eq!(azure.finished(&answer).await["status"], "Succeeded");
}

#[tokio::test]
async fn templates_of_the_corpus_deploy() {
    let corpus = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data/arm-corpus/samples"));
    if !corpus.is_dir() {
        eprintln!("skipped: the corpus is not beside the checkout");
        return;
    }
    let azure = Azure::start().await;
    let image = format!("{LAB}/customimages/base");
    let vhd = json!({"properties": {"vhd": {"imageName": "https://a.blob.core.windows.net/vhds/base.vhd", "osType": "Windows", "sysPrep": true}}});
    let answer = azure.put(&format!("{image}?api-version={DTL}"), vhd).await.expect(201);
    azure.finished(&answer).await;
    let gallery = format!("{GROUP}/providers/Microsoft.Compute/galleries/shared");
    azure.put(&format!("{gallery}?api-version=2024-03-03"), json!({"location": "westeurope"})).await.expect(201);
    let definition = json!({"location": "westeurope", "properties": {"osType": "Linux", "osState": "Generalized", "identifier": {"publisher": "p", "offer": "o", "sku": "s"}}});
    azure.put(&format!("{gallery}/images/LinuxDef?api-version=2024-03-03"), definition).await.expect(201);
    azure
        .put(
            &format!("{LAB}/sharedgalleries/g?api-version=2018-10-15-preview"),
            json!({"properties": {"galleryId": gallery, "allowAllImages": "Enabled"}}),
        )
        .await
        .expect(201);
    let known = |name: &str| match name.to_lowercase().as_str() {
        "existinglabname" | "labname" => json!("contoso"),
        "existingcustomimageid" => json!(image),
        "existingsharedimageid" => json!(format!("{LAB}/sharedGalleries/g/sharedImages/LinuxDef")),
        "existingsharedgalleryid" => json!(gallery),
        "expirationdate" => json!("2027-01-01T00:00:00Z"),
        "size" | "newvmsize" => json!("Standard_D2s_v5"),
        name if name.contains("image") && name.contains("offer") => json!("WindowsServer"),
        name if name.contains("image") && name.contains("publisher") => json!("MicrosoftWindowsServer"),
        name if name.contains("image") && name.contains("sku") => json!("2019-Datacenter"),
        name if name.contains("ostype") => json!("Windows"),
        name if name.contains("osversion") || name.contains("imageversion") => json!("latest"),
        "password" => json!("P@ssw0rd-x"),
        _ => json!("value"),
    };
    let mut tried = 0;
    for file in templates(corpus) {
        tried += 1;
        let bytes = std::fs::read(&file).expect("a template");
        let text = String::from_utf8_lossy(&bytes).trim_start_matches('\u{feff}').to_owned();
        let template: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let parameters: serde_json::Map<String, Value> = template["parameters"]
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(_, declared)| declared["defaultValue"].is_null())
            .map(|(name, _)| {
                let value = if name == "newVMName" || name == "newLabName" { json!(format!("made{tried}")) } else { known(name) };
                (name.clone(), json!({"value": value}))
            })
            .collect();
        let answer = azure.put(&path(&format!("corpus{tried}")), of(template, json!(parameters))).await;
        assert_eq!(answer.status, 201, "{}: {:#}", file.display(), answer.body);
        let status = azure.finished(&answer).await;
        assert_eq!(status["status"], "Succeeded", "{}: {status:#}", file.display());
    }
    assert!(tried >= 12, "{tried}");
}

fn templates(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
        if entry.is_dir() {
            found.extend(templates(&entry));
        } else {
            let path = entry.to_string_lossy().into_owned();
            let wanted = (path.contains("/101-") && path.ends_with("azuredeploy.json"))
                || (path.contains("/GoldenImages/") && entry.extension().is_some_and(|end| end == "json"));
            found.extend(wanted.then_some(entry));
        }
    }
    found.sort();
    found
}

#[tokio::test]
async fn template_specs_are_deployed_with_what_they_link_to() {
    let azure = Azure::start().await;
    let linked = |name: &str, link: Value| json!({"type": "Microsoft.Resources/deployments", "apiVersion": ARM, "name": name, "properties": {"mode": "Incremental", "templateLink": link}});
    let mut main = template(json!([storage("[parameters('name')]"), linked("inner", json!({"relativePath": "parts/inner.json"}))]));
    main["parameters"] = json!({"name": {"type": "string"}});
    let parts = json!([
        {"path": "parts\\inner.json", "template": template(json!([storage("inner1"), linked("leaf", json!({"relativePath": "../leaf.json"}))]))},
        {"path": "leaf.json", "template": template(json!([storage("leaf1")]))},
    ]);
    let spec = format!("{GROUP}/providers/Microsoft.Resources/templateSpecs/spec");
    azure.put(&format!("{spec}?api-version={ARM}"), json!({"location": "westeurope"})).await.expect(201);
    let version = json!({"location": "westeurope", "properties": {"mainTemplate": main, "linkedTemplates": parts}});
    azure.put(&format!("{spec}/versions/1.0?api-version={ARM}"), version).await.expect(201);
    let of =
        |id: &str| json!({"properties": {"mode": "Incremental", "templateLink": {"id": id}, "parameters": {"name": {"value": "main1"}}}});
    let answer = azure.put(&path("whole"), of(&format!("{spec}/versions/1.0"))).await.expect(201);
    let status = azure.finished(&answer).await;
    assert_eq!(status["status"], "Succeeded", "{status:#}");
    for name in ["main1", "inner1", "leaf1"] {
        azure.get(&format!("{GROUP}/providers/Microsoft.Storage/storageAccounts/{name}?api-version=2021-04-01")).await.expect(200);
    }
    // Nested, with its own parameters.
    let mut below = linked("below", json!({"id": format!("{spec}/versions/1.0")}));
    below["properties"]["parameters"] = json!({"name": {"value": "second1"}});
    let answer =
        azure.put(&path("outer"), json!({"properties": {"mode": "Incremental", "template": template(json!([below]))}})).await.expect(201);
    assert_eq!(azure.finished(&answer).await["status"], "Succeeded");
    azure.get(&format!("{GROUP}/providers/Microsoft.Storage/storageAccounts/second1?api-version=2021-04-01")).await.expect(200);
    azure.put(&path("none"), of(&format!("{spec}/versions/2.0"))).await.refused(404, "ResourceNotFound");
    let mut sideways = linked("sideways", json!({"id": format!("{spec}/versions/1.0")}));
    sideways["properties"]["mode"] = json!("Sideways");
    let answer = azure
        .put(&path("wrong"), json!({"properties": {"mode": "Incremental", "template": template(json!([sideways]))}}))
        .await
        .expect(201);
    assert!(azure.finished(&answer).await.to_string().contains("'Incremental' or 'Complete'"));
}
