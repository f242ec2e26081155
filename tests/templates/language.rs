//! The language beyond its functions: loops, scopes, dependencies, nested and linked templates, language version 2.0.

use std::{cell::RefCell, collections::HashMap, sync::Arc};

use dtl::template::{self, CheckOptions, Context, Document, Level, Mode, Offline, Runtime, Template};
use serde_json::{Map, Value, json};

use super::{context, evaluated, parsed};

fn ids(evaluation: &template::Evaluation) -> Vec<&str> {
    evaluation.resources.iter().map(|resource| resource["id"].as_str().unwrap().rsplit("/providers/").next().unwrap()).collect()
}

/// Evaluates a template that must be right.
fn right(template: Value, parameters: Value) -> template::Evaluation {
    evaluated(&template.to_string(), parameters).unwrap_or_else(|findings| panic!("{findings:#?}"))
}

/// The messages about a template that must be wrong.
fn wrong(template: Value, parameters: Value) -> Vec<String> {
    let findings = evaluated(&template.to_string(), parameters).expect_err("the template is wrong");
    findings.iter().map(|finding| format!("{}: {}", finding.path, finding.message)).collect()
}

#[test]
fn copies_expand_resources_properties_variables_and_outputs() {
    let evaluation = right(
        json!({
            "parameters": {"count": {"type": "int"}},
            "variables": {
                "copy": [{"name": "names", "count": 3, "input": "[concat('n', copyIndex('names', 1))]"}],
                "inside": {"copy": [{"name": "list", "count": 2, "input": {"at": "[copyIndex('list')]"}}], "kept": true},
            },
            "resources": [{
                "type": "A.B/c", "apiVersion": "2020-01-01", "name": "[concat('r', copyIndex())]",
                "copy": {"name": "loop", "count": "[parameters('count')]"},
                "properties": {"copy": [{"name": "disks", "count": 2, "input": {"lun": "[copyIndex('disks')]", "of": "[copyIndex()]", "same": "[copyIndex('loop')]"}}]},
            }],
            "outputs": {
                "names": {"type": "array", "value": "[variables('names')]"},
                "inside": {"type": "object", "value": "[variables('inside')]"},
                "squares": {"type": "array", "copy": {"count": 4, "input": "[mul(copyIndex(), copyIndex())]"}},
            },
        }),
        json!({"count": {"value": 2}}),
    );
    assert_eq!(ids(&evaluation), ["A.B/c/r0", "A.B/c/r1"]);
    assert_eq!(evaluation.resources[1]["properties"], json!({"disks": [{"lun": 0, "of": 1, "same": 1}, {"lun": 1, "of": 1, "same": 1}]}));
    assert_eq!(evaluation.outputs["names"]["value"], json!(["n1", "n2", "n3"]));
    assert_eq!(evaluation.outputs["inside"]["value"], json!({"list": [{"at": 0}, {"at": 1}], "kept": true}));
    assert_eq!(evaluation.outputs["squares"]["value"], json!([0, 1, 4, 9]));
}

#[test]
fn conditions_leave_out_resources_and_outputs() {
    let evaluation = right(
        json!({
            "parameters": {"make": {"type": "bool", "defaultValue": false}},
            "resources": [
                {"condition": "[parameters('make')]", "type": "A.B/c", "apiVersion": "2020-01-01", "name": "no"},
                {"condition": true, "type": "A.B/c", "apiVersion": "2020-01-01", "name": "yes", "dependsOn": ["no"]},
            ],
            "outputs": {"no": {"condition": "[parameters('make')]", "type": "string", "value": "x"}, "secret": {"type": "securestring", "value": "x"}},
        }),
        json!({}),
    );
    assert_eq!(ids(&evaluation), ["A.B/c/yes"]);
    assert_eq!(Value::Object(evaluation.outputs), json!({"secret": {"type": "securestring"}}));
}

#[test]
fn functions_of_the_template_see_their_own_parameters_only() {
    let template = |value: &str| {
        json!({
            "parameters": {"p": {"type": "string", "defaultValue": "outer"}},
            "functions": [{"namespace": "contoso", "members": {"twice": {
                "parameters": [{"name": "p", "type": "string"}], "output": {"type": "string", "value": value},
            }}}],
            "resources": [],
            "outputs": {"o": {"type": "string", "value": "[Contoso.Twice('a')]"}},
        })
    };
    let evaluation = right(template("[concat(parameters('p'), parameters('p'))]"), json!({}));
    assert_eq!(evaluation.outputs["o"]["value"], json!("aa"));
    let message = wrong(template("[variables('v')]"), json!({})).remove(0);
    assert!(message.starts_with("functions[0].members.twice.output.value: a function of the template cannot read"), "{message}");
    let mut recursive = template("[contoso.twice(parameters('p'))]");
    recursive["functions"][0]["members"]["twice"]["output"]["type"] = json!("string");
    assert!(wrong(recursive, json!({}))[0].contains("deep into each other"));
}

#[test]
fn children_depend_on_what_they_say_and_names_are_whole() {
    let template = parsed(
        &json!({"resources": [{
            "type": "A.B/c", "apiVersion": "2020-01-01", "name": "p",
            "resources": [
                {"type": "d", "apiVersion": "2020-01-01", "name": "one", "dependsOn": ["[resourceId('A.B/c', 'p')]"]},
                {"type": "d", "apiVersion": "2020-01-01", "name": "two", "dependsOn": ["p", "[resourceId('A.B/c/d', 'p', 'one')]"]},
                {"type": "d", "apiVersion": "2020-01-01", "name": "three", "dependsOn": ["A.B/c/p", "[concat('A.B/c/p/d/', 'two')]", "p/one"]},
            ],
        }]})
        .to_string(),
    );
    let deployment = template::expand(&template, &Map::new(), &context(), &Offline).unwrap();
    let depends: Vec<&[usize]> = deployment.resources().iter().map(|resource| resource.depends_on.as_slice()).collect();
    assert_eq!(depends, [&[][..], &[0], &[0, 1], &[0, 1, 2]]);
    assert_eq!(deployment.resources()[2].name, "p/two");
    assert_eq!(deployment.resources()[2].resource_type, "A.B/c/d");
    assert_eq!(deployment.order(), [0, 1, 2, 3]);
}

#[test]
fn serial_copies_wait_batch_by_batch_and_a_loop_is_waited_for_whole() {
    let template = parsed(
        &json!({"resources": [
            {"type": "A.B/e", "apiVersion": "2020-01-01", "name": "last", "dependsOn": ["loop"]},
            {"type": "A.B/c", "apiVersion": "2020-01-01", "name": "[concat('r', copyIndex())]", "copy": {"name": "loop", "count": 5, "mode": "serial", "batchSize": 2}},
        ]})
        .to_string(),
    );
    let deployment = template::expand(&template, &Map::new(), &context(), &Offline).unwrap();
    let depends: Vec<&[usize]> = deployment.resources().iter().map(|resource| resource.depends_on.as_slice()).collect();
    assert_eq!(depends, [&[1, 2, 3, 4, 5][..], &[], &[], &[1, 2], &[1, 2], &[3, 4]]);
    assert_eq!(deployment.order(), [1, 2, 3, 4, 5, 0]);
}

#[test]
fn faults_of_dependencies_are_told() {
    let resource = |name: &str, depends: &[&str]| json!({"type": "A.B/c", "apiVersion": "2020-01-01", "name": name, "dependsOn": depends});
    let messages =
        wrong(json!({"resources": [resource("one", &["two"]), resource("two", &["three"]), resource("three", &["one"])]}), json!({}));
    assert_eq!(messages, ["resources[0].dependsOn: circular dependency: one -> two -> three -> one"]);
    let messages = wrong(json!({"resources": [resource("server1", &[]), resource("b", &["sevrer1"])]}), json!({}));
    assert_eq!(
        messages,
        ["resources[1].dependsOn[0]: the resource 'sevrer1' of 'dependsOn' is not defined in the template, did you mean 'server1'?"]
    );
    let messages = wrong(json!({"resources": [resource("a", &[]), resource("A", &[])]}), json!({}));
    assert!(
        messages[0].starts_with("resources[1]: the resource '/subscriptions/") && messages[0].contains("more than once"),
        "{messages:?}"
    );
    let messages = wrong(json!({"resources": [resource("a/b", &[]), {"type": "A.B/c", "name": "x"}]}), json!({}));
    assert!(messages[0].contains("has 2 segment(s)"), "{messages:?}");
    assert_eq!(messages[1], "resources[1]: the resource has no 'apiVersion'");
}

#[test]
fn parameters_are_held_against_their_declarations() {
    let template = json!({
        "parameters": {
            "size": {"type": "string", "allowedValues": ["Small", "Large"]},
            "count": {"type": "int", "minValue": 1, "maxValue": 5},
            "name": {"type": "String", "minLength": 3, "maxLength": 5},
            "tags": {"type": "object", "defaultValue": {}},
            "secret": {"type": "secureString"},
            "needed": {"type": "bool"},
        },
        "resources": [],
    });
    let messages = wrong(
        template.clone(),
        json!({"size": {"value": "Medium"}, "count": {"value": "3"}, "name": {"value": "ab"}, "tags": {"value": []}, "secert": {"value": "x"}, "secret": {}}),
    );
    let expected = [
        "parameters.size.value: the value for the template parameter 'size' is not valid: the string 'Medium' is not among the allowed values 'Small, Large'",
        "parameters.count.value: the value for the template parameter 'count' is not valid: expected the type 'int', found the string '3', write it without quotes",
        "parameters.name.value: the value for the template parameter 'name' is not valid: its length 2 is below the least length 3",
        "parameters.tags.value: the value for the template parameter 'tags' is not valid: expected the type 'object', found an array of 0 element(s)",
        "parameters.secert: the template has no parameter 'secert', did you mean 'secret'? its parameters are 'size, count, name, tags, secret, needed'",
        "parameters.secret: the parameter 'secret' is given neither a 'value' nor a 'reference'",
        "parameters.needed: the value for the template parameter 'needed' is not provided",
    ];
    assert_eq!(messages, expected);
    let given = json!({"SIZE": {"value": "small"}, "count": {"value": 5}, "name": {"value": "abc"}, "secret": {"reference": {"keyVault": {"id": "v"}, "secretName": "s"}}, "needed": {"value": true}});
    right(template, given);
}

#[test]
fn default_values_may_use_the_clock_and_other_parameters() {
    let evaluation = right(
        json!({
            "parameters": {
                "now": {"type": "string", "defaultValue": "[utcNow('yyyy-MM-dd')]"},
                "basic": {"type": "string", "defaultValue": "[utcNow()]"},
                "id": {"type": "string", "defaultValue": "[newGuid()]"},
                "both": {"type": "string", "defaultValue": "[concat(parameters('now'), '-x')]"},
            },
            "resources": [],
            "outputs": {
                "both": {"type": "string", "value": "[parameters('both')]"},
                "basic": {"type": "string", "value": "[parameters('basic')]"},
                "same": {"type": "bool", "value": "[equals(parameters('id'), parameters('id'))]"},
            },
        }),
        json!({}),
    );
    assert_eq!(evaluation.outputs["both"]["value"], json!("2025-11-20-x"));
    assert_eq!(evaluation.outputs["basic"]["value"], json!("20251120T100000Z"));
    assert_eq!(evaluation.outputs["same"]["value"], json!(true));
    let circle = json!({"parameters": {"a": {"type": "string", "defaultValue": "[parameters('b')]"}, "b": {"type": "string", "defaultValue": "[parameters('a')]"}}, "resources": [],
        "outputs": {"o": {"type": "string", "value": "[parameters('a')]"}}});
    assert!(wrong(circle, json!({}))[0].contains("'a' refers to itself"));
}

/// A nested deployment in a template that has a parameter and a variable of the same names.
fn nesting(scope: &str) -> Value {
    json!({
        "parameters": {"p": {"type": "string", "defaultValue": "outer"}},
        "variables": {"v": "outer"},
        "resources": [{
            "type": "Microsoft.Resources/deployments", "apiVersion": "2021-04-01", "name": "nested", "resourceGroup": "elsewhere",
            "properties": {
                "mode": "Incremental", "expressionEvaluationOptions": {"scope": scope},
                "parameters": if scope == "inner" { json!({"p": {"value": "[concat('from ', parameters('p'))]"}}) } else { json!({}) },
                "template": {
                    "parameters": {"p": {"type": "string", "defaultValue": "x"}},
                    "variables": {"v": "inner"},
                    "resources": [{"type": "A.B/c", "apiVersion": "2020-01-01", "name": "[variables('v')]", "properties": {
                        "p": "[parameters('p')]", "group": "[resourceGroup().name]", "deployment": "[deployment().name]"}}],
                    "outputs": {"o": {"type": "string", "value": "[parameters('p')]"}},
                },
            },
        }],
        "outputs": {"o": {"type": "string", "value": "[reference('nested').outputs.o.value]"}},
    })
}

#[test]
fn nested_deployments_have_the_scope_they_ask_for() {
    let outer = right(nesting("outer"), json!({}));
    assert_eq!(
        outer.resources[0]["id"],
        json!("/subscriptions/22222222-2222-2222-2222-222222222222/resourceGroups/elsewhere/providers/A.B/c/outer")
    );
    assert_eq!(outer.resources[0]["properties"], json!({"p": "outer", "group": "group", "deployment": "azuredeploy"}));
    let inner = right(nesting("inner"), json!({}));
    assert_eq!(
        inner.resources[0]["id"],
        json!("/subscriptions/22222222-2222-2222-2222-222222222222/resourceGroups/elsewhere/providers/A.B/c/inner")
    );
    assert_eq!(inner.resources[0]["properties"], json!({"p": "from outer", "group": "elsewhere", "deployment": "nested"}));
    assert_eq!(inner.outputs["o"]["value"], json!("from outer"));
    assert!(inner.unresolved.is_empty());
}

#[test]
fn what_a_nested_deployment_is_given_later_is_listed_as_the_outer_template_writes_it() {
    let mut template = nesting("inner");
    template["resources"][0]["properties"]["parameters"]["p"]["value"] = json!("[reference('/x', '2020-01-01').y]");
    let evaluation = right(template, json!({}));
    let unresolved: Vec<(&str, &str)> = evaluation.unresolved.iter().map(|each| (each.path.as_str(), each.expression.as_str())).collect();
    let expression = "[reference('/x', '2020-01-01').y]";
    assert_eq!(unresolved, [("resources[0].properties.p", expression), ("outputs.o.value", expression)]);
}

#[test]
fn what_only_a_deployment_knows_stays_listed() {
    let evaluation = right(
        json!({
            "resources": [
                {"type": "Microsoft.Storage/storageAccounts", "apiVersion": "2020-01-01", "name": "s"},
                {"type": "A.B/c", "apiVersion": "2020-01-01", "name": "x", "properties": {"key": "[listKeys('s', '2020-01-01').keys[0].value]", "plain": "[concat('a', 'b')]"}},
                {"type": "Microsoft.Resources/deployments", "apiVersion": "2021-04-01", "name": "linked", "properties": {"templateLink": {"uri": "https://example.com/a.json"}}},
            ],
            "outputs": {"blob": {"type": "string", "value": "[reference('s').primaryEndpoints.blob]"}},
        }),
        json!({}),
    );
    let unresolved: Vec<(&str, &str)> = evaluation.unresolved.iter().map(|each| (each.path.as_str(), each.expression.as_str())).collect();
    assert_eq!(
        unresolved,
        [
            ("resources[1].properties.key", "[listKeys('s', '2020-01-01').keys[0].value]"),
            ("outputs.blob.value", "[reference('s').primaryEndpoints.blob]"),
            ("resources[2].properties.templateLink", "https://example.com/a.json"),
        ]
    );
    assert_eq!(evaluation.resources[1]["properties"]["plain"], json!("ab"));
    let early = json!({"variables": {"v": "[reference('s').x]"}, "resources": [], "outputs": {"o": {"type": "string", "value": "[variables('v')]"}}});
    assert!(wrong(early, json!({}))[0].starts_with("variables.v: the template function 'reference' is not expected at this location"));
}

/// A runtime that answers what was put, and remembers what it was asked.
#[derive(Default)]
struct Scripted {
    resources: HashMap<String, Value>,
    files: HashMap<String, String>,
    asked: RefCell<Vec<String>>,
}

impl Runtime for Scripted {
    fn resource(&self, id: &str, api_version: Option<&str>) -> Result<Option<Value>, String> {
        self.asked.borrow_mut().push(format!("{} {}", id.rsplit('/').next().unwrap(), api_version.unwrap_or("-")));
        Ok(self.resources.get(id.rsplit('/').next().unwrap()).cloned())
    }

    fn list(&self, function: &str, _id: &str, api_version: &str, arguments: &[Value]) -> Result<Option<Value>, String> {
        Ok(Some(json!({"function": function, "version": api_version, "arguments": arguments})))
    }

    fn linked(&self, uri: &str) -> Result<Option<Vec<u8>>, String> {
        self.files.get(uri).map(|text| Some(text.clone().into_bytes())).ok_or_else(|| "404 Not Found".to_owned())
    }

    fn secret(&self, _vault_id: &str, name: &str, _version: Option<&str>) -> Result<Option<Value>, String> {
        Ok(Some(json!(format!("secret of {name}"))))
    }
}

#[test]
fn a_deployment_asks_its_runtime_once_the_turn_has_come() {
    let template = parsed(
        &json!({
            "parameters": {"p": {"type": "securestring"}},
            "resources": [
                {"type": "A.B/c", "apiVersion": "2020-01-01", "name": "second", "location": "[resourceGroup().location]", "properties": {
                    "of": "[reference('first').value]", "at": "[reference('first', '2021-01-01', 'Full').location]", "p": "[parameters('p')]",
                    "keys": "[listKeys('first', '2020-02-02', createObject('x', 1))]"}},
                {"type": "A.B/c", "apiVersion": "2020-01-01", "name": "first", "comments": "not sent"},
            ],
        })
        .to_string(),
    );
    let resource = json!({"location": "here", "properties": {"value": 7}});
    let runtime = Scripted { resources: HashMap::from([("first".to_owned(), resource)]), ..Scripted::default() };
    let Value::Object(given) = json!({"p": {"reference": {"keyVault": {"id": "/vault"}, "secretName": "name"}}}) else { unreachable!() };
    let deployment = template::expand(&template, &given, &context(), &runtime).unwrap();
    assert_eq!(deployment.order(), [1, 0], "asking about a resource by its name means waiting for it");
    assert_eq!(deployment.body(1, &runtime).unwrap(), json!({"type": "A.B/c", "apiVersion": "2020-01-01", "name": "first"}));
    assert!(runtime.asked.borrow().is_empty());
    let body = deployment.body(0, &runtime).unwrap();
    assert_eq!(body["location"], json!("westeurope"));
    assert_eq!(
        body["properties"],
        json!({"of": 7, "at": "here", "p": "secret of name", "keys": {"function": "listKeys", "version": "2020-02-02", "arguments": [{"x": 1}]}})
    );
    assert_eq!(*runtime.asked.borrow(), ["first 2020-01-01", "first 2021-01-01"]);
}

#[test]
fn linked_templates_come_from_the_runtime() {
    let template = parsed(
        &json!({"resources": [{"type": "Microsoft.Resources/deployments", "apiVersion": "2021-04-01", "name": "n", "properties": {
            "mode": "Incremental", "templateLink": {"uri": "[concat('https://x/', 'a.json')]"}, "parameters": {"p": {"value": 5}}}}]})
        .to_string(),
    );
    let inner =
        json!({"parameters": {"p": {"type": "int"}}, "resources": [], "outputs": {"o": {"type": "int", "value": "[parameters('p')]"}}});
    let runtime = Scripted { files: HashMap::from([("https://x/a.json".to_owned(), inner.to_string())]), ..Scripted::default() };
    let deployment = template::expand(&template, &Map::new(), &context(), &runtime).unwrap();
    assert!(deployment.resources()[0].is_deployment());
    let nested = deployment.nested(0, &runtime).unwrap();
    assert_eq!((nested.context.mode.name(), nested.context.deployment_name.as_str()), ("Incremental", "n"));
    assert_eq!(Value::Object(nested.deployment.outputs(&runtime).unwrap()), json!({"o": {"type": "int", "value": 5}}));
    let missing = deployment.nested(0, &Scripted::default()).unwrap_err();
    assert_eq!(missing[0].message, "404 Not Found");
}

#[test]
fn language_version_2_has_symbols_types_and_existing_resources() {
    let template = json!({
        "languageVersion": "2.0",
        "definitions": {
            "disk": {"type": "object", "properties": {"size": {"type": "int", "minValue": 4}, "label": {"type": "string", "nullable": true}}, "additionalProperties": false},
            "disks": {"type": "array", "items": {"$ref": "#/definitions/disk"}},
        },
        "parameters": {"disks": {"$ref": "#/definitions/disks"}, "note": {"type": "string", "nullable": true}},
        "resources": {
            "lab": {"existing": true, "type": "Microsoft.DevTestLab/labs", "apiVersion": "2018-09-15", "name": "lab1"},
            "copies": {"copy": {"name": "copies", "count": "[length(parameters('disks'))]"}, "type": "A.B/c", "apiVersion": "2020-01-01",
                "name": "[format('d{0}', copyIndex())]", "properties": {"size": "[parameters('disks')[copyIndex()].size]", "note": "[coalesce(parameters('note'), 'none')]"}, "dependsOn": ["lab"]},
            "after": {"type": "A.B/e", "apiVersion": "2020-01-01", "name": "after", "dependsOn": ["copies"], "properties": {"id": "[resourceInfo('lab').id]"}},
        },
        "outputs": {"note": {"type": "string", "nullable": true, "value": "[parameters('note')]"}},
    });
    let evaluation = right(template.clone(), json!({"disks": {"value": [{"size": 4}, {"size": 8, "label": "x"}]}}));
    assert_eq!(ids(&evaluation), ["A.B/c/d0", "A.B/c/d1", "A.B/e/after"]);
    assert_eq!(evaluation.resources[1]["properties"], json!({"size": 8, "note": "none"}));
    assert!(evaluation.resources[2]["properties"]["id"].as_str().unwrap().ends_with("/labs/lab1"));
    assert_eq!(evaluation.outputs["note"]["value"], json!(null));
    let messages = wrong(template, json!({"disks": {"value": [{"size": 2}, {"label": 1, "size": 4}, {"size": 5, "lable": "x"}, {}]}}));
    let paths: Vec<&str> = messages.iter().map(|message| message.split(": ").next().unwrap()).collect();
    assert_eq!(
        paths,
        [
            "parameters.disks.value[0].size",
            "parameters.disks.value[1].label",
            "parameters.disks.value[2].lable",
            "parameters.disks.value[3]"
        ]
    );
    assert!(messages[2].contains("did you mean 'label'?"), "{messages:?}");
}

#[test]
fn references_to_a_loop_answer_all_of_it() {
    let template = parsed(
        &json!({
            "languageVersion": "2.0",
            "resources": {"many": {"copy": {"name": "many", "count": 2}, "type": "A.B/c", "apiVersion": "2020-01-01", "name": "[concat('r', copyIndex())]"}},
            "outputs": {"all": {"type": "array", "value": "[map(references('many'), lambda('r', lambdaVariables('r').v))]"}, "one": {"type": "int", "value": "[reference('many').v]"}},
        })
        .to_string(),
    );
    let resources = [("r0", 1), ("r1", 2)].map(|(name, v)| (name.to_owned(), json!({"properties": {"v": v}})));
    let runtime = Scripted { resources: HashMap::from(resources), ..Scripted::default() };
    let deployment = template::expand(&template, &Map::new(), &context(), &runtime).unwrap();
    assert_eq!(deployment.outputs(&runtime).unwrap()["all"]["value"], json!([1, 2]));
}

#[test]
fn a_subscription_is_a_scope_too() {
    let context = Context { level: Level::Subscription, location: Some("westeurope".to_owned()), ..context() };
    let template = parsed(
        &json!({"resources": [
            {"type": "Microsoft.Resources/resourceGroups", "apiVersion": "2021-04-01", "name": "new", "location": "[deployment().location]"},
            {"type": "Microsoft.Resources/deployments", "apiVersion": "2021-04-01", "name": "n", "resourceGroup": "new", "dependsOn": ["new"], "properties": {
                "mode": "Incremental", "expressionEvaluationOptions": {"scope": "inner"}, "template": {
                    "resources": [{"type": "A.B/c", "apiVersion": "2020-01-01", "name": "x", "location": "[resourceGroup().location]"}]}}},
        ]})
        .to_string(),
    );
    let evaluation = template::evaluate(&template, &Map::new(), &context, &Offline).unwrap();
    assert_eq!(evaluation.resources[0]["id"], json!("/subscriptions/22222222-2222-2222-2222-222222222222/resourceGroups/new"));
    assert_eq!(evaluation.resources[1]["location"], json!("westeurope"));
}

#[test]
fn links_below_the_folder_are_put_in_place() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/linked-template");
    let mut loaded = Vec::new();
    let main = Document::parse(&std::fs::read(format!("{folder}/azuredeploy.json")).unwrap()).unwrap();
    let document = template::inline(main, "azuredeploy.json", &mut |path| {
        loaded.push(path.to_owned());
        Ok(std::fs::read(format!("{folder}/{path}")).ok())
    })
    .unwrap();
    assert_eq!(loaded, ["nested/network.json", "nested/vm.json", "nested/naming.json"]);
    let template = Arc::new(Template::parse(document).unwrap());
    let given =
        json!({"labName": {"value": "lab1"}, "newVMName": {"value": "vm1"}, "userName": {"value": "me"}, "password": {"value": "x"}});
    let evaluation = template::evaluate(&template, given.as_object().unwrap(), &context(), &Offline).unwrap_or_else(|e| panic!("{e:#?}"));
    assert_eq!(evaluation.unresolved, []);
    insta::assert_snapshot!("linked_template", format!("{:#}", json!({"resources": evaluation.resources, "outputs": evaluation.outputs})));
}

#[test]
fn bad_links_are_refused() {
    let link = |link: Value| json!({"resources": [{"type": "Microsoft.Resources/deployments", "apiVersion": "2021-04-01", "name": "n", "properties": {"mode": "Incremental", "templateLink": link}}]});
    let refusal = |main: Value, files: &[(&str, Value)]| {
        let document = Document::parse(main.to_string().as_bytes()).unwrap();
        let files: HashMap<&str, String> = files.iter().map(|(name, value)| (*name, value.to_string())).collect();
        let findings = template::inline(document, "main.json", &mut |path| Ok(files.get(path).map(|text| text.clone().into_bytes())));
        findings.map_or_else(|findings| findings[0].to_string(), |_| String::new())
    };
    let relative = |path: &str| link(json!({"relativePath": path}));
    assert!(
        refusal(relative("a.json"), &[("a.json", relative("main.json"))]).contains("in a circle: 'main.json' -> 'a.json' -> 'main.json'")
    );
    assert!(refusal(relative("../secret.json"), &[]).contains("leads out"));
    assert!(refusal(relative("none.json"), &[]).contains("'none.json' does not exist"));
    let large = json!({"resources": [], "variables": {"x": "y".repeat(5 << 20)}});
    assert!(refusal(relative("a.json"), &[("a.json", large)]).contains("at most 4194304"));
    assert_eq!(refusal(link(json!({"uri": "https://example.com/a.json"})), &[]), "", "what Azure downloads stays as it is");
}

/// A template of this level with one output, evaluated there.
fn at(level: Level, expression: &str) -> Result<Value, String> {
    let context = Context { level, subscription_id: String::new(), location: Some("westeurope".to_owned()), ..context() };
    let template = json!({"resources": [], "parameters": {"p": {"type": "string", "defaultValue": "d"}}, "outputs": {"o": {"type": "string", "value": format!("[string({expression})]")}}});
    let evaluation = template::evaluate(&parsed(&template.to_string()), &Map::new(), &context, &Offline);
    evaluation.map(|evaluation| evaluation.outputs["o"]["value"].clone()).map_err(|findings| findings[0].message.clone())
}

#[test]
fn tenants_and_management_groups_are_scopes_too() {
    let group = || Level::ManagementGroup("mg1".to_owned());
    let id = "/providers/Microsoft.Management/managementGroups/mg1";
    for (level, expression, expected) in [
        (group(), "managementGroup().id", id.to_owned()),
        (group(), "managementGroup().name", "mg1".to_owned()),
        (group(), "managementGroup().properties.tenantId", "11111111-1111-1111-1111-111111111111".to_owned()),
        (group(), "managementGroup().type", "/providers/Microsoft.Management/managementGroups".to_owned()),
        (group(), "managementGroupResourceId('A.B/c', 'x')", format!("{id}/providers/A.B/c/x")),
        (group(), "resourceId('A.B/c', 'x')", format!("{id}/providers/A.B/c/x")),
        (group(), "subscriptionResourceId('s', 'A.B/c', 'x')", "/subscriptions/s/providers/A.B/c/x".to_owned()),
        (group(), "deployment().location", "westeurope".to_owned()),
        (Level::Tenant, "tenant().tenantId", "11111111-1111-1111-1111-111111111111".to_owned()),
        (Level::Tenant, "tenantResourceId('A.B/c', 'x')", "/providers/A.B/c/x".to_owned()),
        (Level::Tenant, "resourceId('A.B/c', 'x')", "/providers/A.B/c/x".to_owned()),
        (Level::Tenant, "managementGroupResourceId('mg1', 'A.B/c', 'x')", format!("{id}/providers/A.B/c/x")),
    ] {
        assert_eq!(at(level, expression), Ok(json!(expected)), "{expression}");
    }
    for (level, expression, words) in [
        (group(), "subscription().id", "'subscription' is not expected in a deployment at management group scope"),
        (group(), "resourceGroup().id", "'resourceGroup' is not expected in a deployment at management group scope"),
        (group(), "subscriptionResourceId('A.B/c', 'x')", "at management group scope"),
        (Level::Tenant, "managementGroup().id", "at tenant scope"),
        (Level::Tenant, "managementGroupResourceId('A.B/c', 'x')", "at tenant scope"),
        (Level::Subscription, "managementGroup().id", "at subscription scope"),
    ] {
        let message = at(level, expression).expect_err(expression);
        assert!(message.contains(words), "{expression}: {message}");
    }
}

#[test]
fn a_deployment_reaches_down_from_the_tenant_to_a_resource_group() {
    let nested = |name: &str, target: Value, resources: Value| {
        let mut resource = json!({"type": "Microsoft.Resources/deployments", "apiVersion": "2021-04-01", "name": name, "location": "westeurope",
            "properties": {"mode": "Incremental", "expressionEvaluationOptions": {"scope": "inner"}, "template": {"resources": resources}}});
        resource.as_object_mut().unwrap().extend(target.as_object().unwrap().clone());
        resource
    };
    let leaf = |name: &str| json!([{"type": "A.B/c", "apiVersion": "2020-01-01", "name": name}]);
    let group = nested("rg", json!({"subscriptionId": "s", "resourceGroup": "g"}), leaf("in-group"));
    let template = json!({"resources": [
        {"type": "Microsoft.Management/managementGroups", "apiVersion": "2021-04-01", "name": "mg1"},
        nested("mg", json!({"scope": "Microsoft.Management/managementGroups/mg1"}), json!([leaf("in-mg")[0], group,
            {"type": "Microsoft.Management/managementGroups", "apiVersion": "2021-04-01", "name": "below", "scope": "/"}])),
        nested("sub", json!({"subscriptionId": "s"}), leaf("in-subscription")),
        nested("top", json!({"scope": "/"}), leaf("in-tenant")),
    ]});
    let context = Context { level: Level::Tenant, subscription_id: String::new(), location: Some("westeurope".to_owned()), ..context() };
    let evaluation = template::evaluate(&parsed(&template.to_string()), &Map::new(), &context, &Offline).unwrap();
    let made: Vec<&str> = evaluation.resources.iter().map(|resource| resource["id"].as_str().unwrap()).collect();
    assert_eq!(
        made,
        [
            "/providers/Microsoft.Management/managementGroups/mg1",
            "/providers/Microsoft.Management/managementGroups/mg1/providers/A.B/c/in-mg",
            "/subscriptions/s/resourceGroups/g/providers/A.B/c/in-group",
            "/providers/Microsoft.Management/managementGroups/below",
            "/subscriptions/s/providers/A.B/c/in-subscription",
            "/providers/A.B/c/in-tenant",
        ]
    );
    for (target, words) in
        [(json!({"scope": "everywhere"}), "'everywhere' is none of them"), (json!({"resourceGroup": "g"}), "needs a 'subscriptionId' too")]
    {
        let template = json!({"resources": [nested("n", target, leaf("x"))]});
        let findings = template::evaluate(&parsed(&template.to_string()), &Map::new(), &context, &Offline).unwrap_err();
        assert!(findings[0].message.contains(words), "{findings:?}");
    }
}

#[test]
fn the_level_follows_the_schema() {
    let level = |name: &str| {
        let group = dtl::template::ResourceGroup { name: "g".to_owned(), location: String::new(), tags: Map::new() };
        Level::of_schema(&json!({"$schema": format!("https://schema.management.azure.com/schemas/2019-08-01/{name}.json#")}), group)
    };
    assert!(matches!(level("deploymentTemplate"), Level::ResourceGroup(_)));
    assert!(matches!(level("subscriptionDeploymentTemplate"), Level::Subscription));
    assert!(matches!(level("managementGroupDeploymentTemplate"), Level::ManagementGroup(_)));
    assert!(matches!(level("tenantDeploymentTemplate"), Level::Tenant));
}

#[test]
fn a_deployment_knows_what_it_was_given() {
    let template = json!({"parameters": {"size": {"type": "string"}, "count": {"type": "int", "defaultValue": 1}, "password": {"type": "securestring"}},
        "resources": [], "outputs": {"o": {"type": "object", "value": "[deployment().properties]"}}});
    let given = json!({"size": {"value": "small"}, "password": {"value": "secret"}});
    let context = Context { mode: Mode::Complete, template_link: Some("https://x/a.json".to_owned()), ..context() };
    let evaluation = template::evaluate(&parsed(&template.to_string()), given.as_object().unwrap(), &context, &Offline).unwrap();
    let properties = &evaluation.outputs["o"]["value"];
    assert_eq!(properties["parameters"], json!({"size": {"value": "small"}, "password": {}}));
    assert_eq!((&properties["mode"], &properties["provisioningState"]), (&json!("Complete"), &json!("Accepted")));
    assert_eq!(properties["templateLink"], json!({"uri": "https://x/a.json"}));
    assert_eq!(properties["template"], template);
    assert!(!properties.to_string().contains("secret"), "{properties}");
}

#[test]
fn resources_of_extensions_are_refused_where_they_would_have_to_be_known() {
    let with = |extension: &str| {
        json!({"languageVersion": "2.0", "extensions": {"graph": {"name": "MicrosoftGraph", "version": "1.0.0"}},
            "resources": {"people": {"extension": extension, "type": "Microsoft.Graph/groups@v1.0", "properties": {}}}})
    };
    assert_eq!(
        wrong(with("graph"), json!({})),
        ["resources.people: the resource is one of the extension 'graph', only Azure Resource Manager's own are evaluated here"]
    );
    assert_eq!(wrong(with("grph"), json!({})), ["resources.people: the template declares no extension 'grph', did you mean 'graph'?"]);
}

/// The template as it would be sent, from files by their names.
fn embedded(files: &[(&str, &Value)]) -> Document {
    let main = Document::parse(files[0].1.to_string().as_bytes()).unwrap();
    let find = |path: &str| files.iter().find(|(name, _)| *name == path).map(|(_, file)| file.to_string().into_bytes());
    template::embed(main, files[0].0, &mut |path| Ok(find(path))).unwrap()
}

const SCHEMA: &str = "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#";

#[test]
fn a_template_sent_in_a_request_needs_no_address_for_its_links() {
    let inner = json!({"$schema": SCHEMA, "contentVersion": "1.0.0.0",
        "parameters": {"_artifactsLocation": {"type": "string"}, "base": {"type": "string", "defaultValue": "[ deployment() . Properties.templateLink . uri ]"}},
        "resources": [], "outputs": {"o": {"type": "string", "value": "[concat(parameters('base'), parameters('_artifactsLocation'))]"}}});
    let main = json!({"$schema": SCHEMA, "contentVersion": "1.0.0.0",
        "parameters": {
            "_artifactsLocation": {"type": "string", "defaultValue": "[deployment().properties.templateLink.uri]"},
            "_artifactsLocationSasToken": {"type": "securestring"}},
        "variables": {"link": "[uri(deployment().properties.templateLink.uri, 'nested/inner.json')]"},
        "resources": [{"type": "Microsoft.Resources/deployments", "apiVersion": "2021-04-01", "name": "n", "properties": {"mode": "Incremental",
            "templateLink": {"uri": "[concat(variables('link'), parameters('_artifactsLocationSasToken'))]"},
            "parameters": {"_artifactsLocation": {"value": "[parameters('_artifactsLocation')]"}}}}]});
    let document = embedded(&[("main.json", &main), ("nested/inner.json", &inner)]);
    let text = document.value().to_string();
    assert!(!text.contains("templateLink"), "Azure would find no 'templateLink' in what it is sent: {text}");
    assert_eq!(document.value()["parameters"]["_artifactsLocation"]["defaultValue"], "['https://templates.invalid/main.json']");
    assert_eq!(document.value()["parameters"]["_artifactsLocationSasToken"]["defaultValue"], "");
    assert_eq!(document.value()["variables"]["link"], "[uri('https://templates.invalid/main.json', 'nested/inner.json')]");
    let given = Map::new();
    let checked = template::check(&document, &context(), &CheckOptions { parameters: Some(&given), ..CheckOptions::default() });
    assert_eq!(checked.errors, []);
    let again = template::evaluate(&Arc::new(Template::parse(document).unwrap()), &given, &context(), &Offline).unwrap();
    assert_eq!(again.unresolved, []);
}

#[test]
fn files_that_azure_must_download_are_named() {
    let main = json!({"$schema": SCHEMA, "contentVersion": "1.0.0.0",
        "parameters": {"_artifactsLocation": {"type": "string"}, "unused": {"type": "string", "defaultValue": "[parameters('_artifactsLocation')]"}},
        "resources": [
            {"type": "Microsoft.Compute/virtualMachines/extensions", "apiVersion": "2021-04-01", "name": "vm/script", "tags": {"u": "[parameters('unused')]"},
                "properties": {"settings": {"fileUris": ["https://example.com/a.ps1", "[uri(parameters('_artifactsLocation'), 'scripts/setup.ps1?x=1')]"]}}},
            {"type": "Microsoft.Resources/deployments", "apiVersion": "2021-04-01", "name": "n", "properties": {"mode": "Incremental",
                "templateLink": {"uri": "[uri(parameters('_artifactsLocation'), 'missing.json')]"}}}]});
    let document = embedded(&[("main.json", &main)]);
    let checked = |given: Value| {
        let given = given.as_object().unwrap().clone();
        let checked = template::check(&document, &context(), &CheckOptions { parameters: Some(&given), ..CheckOptions::default() });
        checked.errors.iter().map(|finding| format!("{}: {}", finding.path, finding.message)).collect::<Vec<_>>()
    };
    let errors = checked(json!({}));
    let told = |path: &str, file: &str| {
        errors.iter().any(|error| error.starts_with(path) && error.contains(file) && error.contains("'_artifactsLocation'"))
    };
    assert!(told("resources[0].properties.settings.fileUris[1]: ", "'scripts/setup.ps1'"), "{errors:#?}");
    assert!(told("resources[1].properties.templateLink.uri: ", "'missing.json'"), "{errors:#?}");
    assert_eq!(checked(json!({"_artifactsLocation": {"value": "https://example.com/here/"}})), Vec::<String>::new());
}
