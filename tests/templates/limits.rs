//! Bad input: hostile templates neither hang nor exhaust memory nor bring the program down.

use std::time::{Duration, Instant};

use dtl::template::{self, Document, Template};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{context, evaluated, value_of};

/// The first message about a template, which must come soon.
fn refusal(template: &Value) -> String {
    let started = Instant::now();
    let findings = evaluated(&template.to_string(), json!({})).expect_err("the template is refused");
    assert!(started.elapsed() < Duration::from_secs(20), "refused after {:?}", started.elapsed());
    findings[0].message.clone()
}

fn output(value: &str) -> Value {
    json!({"resources": [], "outputs": {"o": {"type": "string", "value": value}}})
}

#[test]
fn azures_limits_are_kept() {
    let resource = |count: i64| json!({"resources": [{"type": "A.B/c", "apiVersion": "2020-01-01", "name": "[concat('r', copyIndex())]", "copy": {"name": "l", "count": count}}]});
    assert!(refusal(&resource(801)).contains("it must be between 0 and 800"));
    assert!(refusal(&resource(-1)).contains("it must be between 0 and 800"));
    let mut twice = resource(500);
    let mut second = twice["resources"][0].clone();
    second["copy"]["name"] = json!("m");
    second["name"] = json!("[concat('s', copyIndex())]");
    twice["resources"].as_array_mut().unwrap().push(second);
    assert!(refusal(&twice).contains("at most 800 are allowed"));
    assert!(refusal(&output(&format!("[concat('{}')]", "x".repeat(24_576)))).contains("at most 24576 are allowed"));
    for (section, count, entry) in [
        ("parameters", 257, json!({"type": "int", "defaultValue": 1})),
        ("variables", 257, json!(1)),
        ("outputs", 65, json!({"type": "int", "value": 1})),
    ] {
        let entries: serde_json::Map<String, Value> = (0..count).map(|index| (format!("n{index}"), entry.clone())).collect();
        let mut template = json!({"resources": []});
        template[section] = Value::Object(entries);
        assert!(refusal(&template).contains(&format!("{count} {section}, at most {}", count - 1)), "{section}");
    }
    let large = Document::parse(format!("{{\"resources\": [], \"x\": \"{}\"}}", "y".repeat(4 << 20)).as_bytes()).unwrap();
    let findings = Template::parse(large).unwrap_err();
    assert_eq!(findings[0].code, "RequestContentTooLarge");
}

#[test]
fn values_that_double_and_loops_in_loops_are_stopped() {
    let mut variables = json!({"v0": "0123456789"});
    for index in 1..60 {
        variables[format!("v{index}")] = json!(format!("[concat(variables('v{0}'), variables('v{0}'))]", index - 1));
    }
    let mut template = output("[variables('v59')]");
    template["variables"] = variables;
    assert!(refusal(&template).contains("128 MB"));
    let lambdas = "[string(map(range(0, 10000), lambda('a', map(range(0, 10000), lambda('b', map(range(0, 10000), lambda('c', 1)))))))]";
    assert!(refusal(&output(lambdas)).contains("128 MB"));
    let wrapped = "[string(reduce(range(0, 10000), createArray(), lambda('a', 'b', createArray(lambdaVariables('a')))))]";
    assert!(refusal(&output(wrapped)).contains("nested more than 100 deep"));
    let replaced = "[replace(padLeft('', 100000, 'a'), 'a', padLeft('', 100000, 'b'))]";
    assert!(refusal(&output(replaced)).contains("larger than 16 MB"));
    let copies = json!({"resources": [{"type": "A.B/c", "apiVersion": "2020-01-01", "name": "[concat('r', copyIndex())]", "copy": {"name": "l", "count": 800},
        "properties": {"copy": [{"name": "x", "count": 800, "input": {"copy": [{"name": "y", "count": 800, "input": "[copyIndex('y')]"}]}}]}}]});
    assert!(refusal(&copies).contains("128 MB"));
}

#[test]
fn depth_is_bounded_everywhere() {
    let deep = |open: &str, close: &str, count: usize| format!("{}1{}", open.repeat(count), close.repeat(count));
    let error = Document::parse(deep("[", "]", 100_000).as_bytes()).unwrap_err();
    assert!(error.problem.contains("more than 100 deep"), "{error}");
    assert!(value_of(&format!("[{}]", deep("array(", ")", 2_000))).unwrap_err().contains("more than 64 deep"));
    let long = format!("[createObject('a', 1){}]", ".a".repeat(10_000));
    assert!(value_of(&long).unwrap_err().contains("can't be selected"));
    let mut template = output("[variables('v0')]");
    for index in 0..256 {
        template["variables"][format!("v{index}")] =
            json!(if index < 255 { format!("[variables('v{}')]", index + 1) } else { "x".to_owned() });
    }
    assert!(refusal(&template).contains("deep into each other"));
    let mut nested = json!({"resources": []});
    for _ in 0..16 {
        nested = json!({"resources": [{"type": "Microsoft.Resources/deployments", "apiVersion": "2021-04-01", "name": "n", "properties": {"mode": "Incremental", "template": nested}}]});
    }
    assert_eq!(evaluated(&nested.to_string(), json!({})).unwrap().resources, [] as [Value; 0], "as deep as a file can be");
    let json_text = value_of(&format!("[json('{}')]", deep("[", "]", 5_000)));
    assert!(json_text.unwrap_err().contains("more than 100 deep"));
}

#[test]
fn many_faults_are_told_as_far_as_that_helps() {
    let started = Instant::now();
    let wrong: Vec<Value> = (0..20_000).map(|index| json!(format!("[nosuch{index}()]"))).collect();
    let dangling: Vec<Value> = (0..20_000).map(|index| json!(format!("gone{index}"))).collect();
    let template = json!({"resources": [
        {"type": "A.B/c", "apiVersion": "2020-01-01", "name": "[concat('a', copyIndex())]", "copy": {"name": "l", "count": 700}, "properties": wrong},
        {"type": "A.B/c", "apiVersion": "2020-01-01", "name": "b", "dependsOn": dangling},
    ]});
    let document = Document::parse(template.to_string().as_bytes()).unwrap();
    let checked = template::check(&document, &context(), &template::CheckOptions::default());
    assert_eq!(checked.errors.len(), 100);
    let first = refusal(&template);
    assert!(first.contains("'gone0'"), "{first}");
    let twice = format!("{{{}\"a\": 1}}", "\"a\": 1,".repeat(20_000));
    assert_eq!(Document::parse(twice.as_bytes()).unwrap().duplicates().len(), 100);
    let open: Vec<Value> = (0..20_000).map(|_| json!("[reference('/x', '2020-01-01').y]")).collect();
    let template = json!({"resources": [{"type": "A.B/c", "apiVersion": "2020-01-01", "name": "b", "properties": open}]});
    assert_eq!(evaluated(&template.to_string(), json!({})).unwrap().unresolved.len(), 20_000);
    assert!(started.elapsed() < Duration::from_secs(59), "{:?}", started.elapsed());
}

#[test]
fn files_are_read_as_people_write_them() {
    let text = "// a comment\n{ /* another */ \"a\": 12345678901234567890.10, \"b\": [1, 2,], \"c\": \"two\nlines\", \"e\": \"\\u00e9\\ud83d\\ude00\", }";
    let plain = Document::parse(text.as_bytes()).unwrap();
    assert_eq!(plain.value().to_string(), "{\"a\":12345678901234567890.10,\"b\":[1,2],\"c\":\"two\\nlines\",\"e\":\"é😀\"}");
    let wide = |read: fn(u16) -> [u8; 2], mark: bool| {
        let mark = if mark { "\u{feff}" } else { "" };
        format!("{mark}{text}").encode_utf16().flat_map(read).collect::<Vec<u8>>()
    };
    for bytes in [
        format!("\u{feff}{text}").into_bytes(),
        wide(u16::to_le_bytes, true),
        wide(u16::to_be_bytes, true),
        wide(u16::to_le_bytes, false),
        wide(u16::to_be_bytes, false),
    ] {
        assert_eq!(Document::parse(&bytes).unwrap().value(), plain.value());
    }
    assert_eq!(plain.position("b[1]").map(|at| (at.line, at.column)), Some((2, 56)));
    assert_eq!(plain.position("e").map(|at| (at.line, at.column)), Some((3, 9)));
    let twice = Document::parse(b"{\"a\": 1,\n \"a\": 2}").unwrap();
    assert_eq!(twice.value(), &json!({"a": 2}));
    assert_eq!(twice.duplicates().iter().map(|(path, at)| (path.as_str(), at.line)).collect::<Vec<_>>(), [("a", 2)]);
    let tolerant = Document::parse_tolerantly(b"{\"mode\": 'Incremental', template: {resources: []}}").unwrap();
    assert_eq!(tolerant.value()["template"]["resources"], json!([]));
}

#[test]
fn what_is_no_json_is_told_with_its_place() {
    for (text, place, word) in [
        ("", (1, 1), "empty"),
        ("{\"a\": 'b'}", (1, 7), "single quote"),
        ("{\n  \"a\": 1\n  \"b\": 2}", (3, 3), "expected ',' or '}'"),
        ("{\"a\": 1", (1, 1), "'}' is missing"),
        ("{\"a\": [1, 2}", (1, 12), "expected ',' or ']'"),
        ("{\"a\": \"b}", (1, 7), "closing quote"),
        ("{\"a\": 1} x", (1, 10), "the end of the file"),
        ("{\"a\": 01}", (1, 7), "no JSON number"),
        ("{\"a\": tru}", (1, 7), "found 'tru'"),
        ("{\"a\": \"\\q\"}", (1, 8), "no JSON escape"),
        ("{\"a\": \"\\ud800\"}", (1, 8), "half a character"),
        ("{a: 1}", (1, 2), "in double quotes"),
        ("/* a", (1, 1), "no end"),
        ("{\"a\" 1}", (1, 6), "':' after the property name \"a\""),
    ] {
        let error = Document::parse(text.as_bytes()).expect_err(text);
        assert_eq!((error.position.line, error.position.column), place, "{text}: {error}");
        assert!(error.problem.contains(word), "{text}: {error}");
    }
    assert!(Document::parse(&[0xFF, 0xFE, 0x41]).is_err() && Document::parse(&[0x22, 0xC3, 0x28, 0x22]).is_err());
}

/// Expressions of every kind, most of them well-formed.
fn expression() -> impl Strategy<Value = String> {
    let names: Vec<&'static str> = template::function_names().filter(|name| *name != "list*").collect();
    let leaf = prop_oneof![
        "[a-z']{0,6}".prop_map(|text| format!("'{}'", text.replace('\'', "''"))),
        any::<i64>().prop_map(|number| number.to_string()),
        Just("null()".to_owned()),
        Just("true()".to_owned()),
        Just("lambdaVariables('x')".to_owned()),
        Just("json('{\"a\": [1, {\"b\": null}]}')".to_owned()),
    ];
    leaf.prop_recursive(4, 24, 4, move |inner| {
        prop_oneof![
            6 => (proptest::sample::select(names.clone()), proptest::collection::vec(inner.clone(), 0..4)).prop_map(|(name, arguments)| format!("{name}({})", arguments.join(", "))),
            1 => inner.clone().prop_map(|inner| format!("lambda('x', {inner})")),
            1 => (inner.clone(), inner.clone()).prop_map(|(inner, index)| format!("createArray({inner})[{index}]")),
            1 => inner.prop_map(|inner| format!("createObject('a', {inner}).a")),
        ]
    })
}

/// Arbitrary JSON, with expressions in it.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
        expression().prop_map(|text| json!(format!("[{text}]")))
    ];
    let keys = proptest::sample::select(vec![
        "parameters",
        "variables",
        "resources",
        "outputs",
        "functions",
        "copy",
        "name",
        "type",
        "apiVersion",
        "count",
        "input",
        "value",
        "properties",
        "dependsOn",
        "template",
        "defaultValue",
        "x",
    ]);
    leaf.prop_recursive(5, 40, 5, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            proptest::collection::vec((keys.clone(), inner), 0..6)
                .prop_map(|entries| Value::Object(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_expression_has_a_value_or_a_message(expression in expression()) {
        match value_of(&format!("[{expression}]")) {
            Ok(_) => {}
            Err(message) => prop_assert!(!message.is_empty()),
        }
    }

    #[test]
    fn any_text_as_an_expression_is_answered(text in "\\[[ -~]{0,40}\\]") {
        prop_assert!(value_of(&text).map_or_else(|message| !message.is_empty(), |_| true));
    }

    #[test]
    fn any_json_as_a_template_is_answered(value in any_json()) {
        let document = Document::parse(value.to_string().as_bytes()).unwrap();
        let checked = template::check(&document, &context(), &template::CheckOptions::default());
        for finding in checked.errors.iter().chain(&checked.warnings) {
            prop_assert!(finding.position.is_some(), "{finding:?}");
        }
        let evaluates = evaluated(&value.to_string(), json!({}));
        prop_assert!(evaluates.is_ok() || !evaluates.unwrap_err().is_empty());
    }

    #[test]
    fn json_printed_and_parsed_is_the_same(value in any_json()) {
        let parsed = Document::parse(value.to_string().as_bytes()).unwrap();
        prop_assert_eq!(parsed.value(), &value);
        let pretty = Document::parse(format!("{value:#}").as_bytes()).unwrap();
        prop_assert_eq!(pretty.value(), &value);
    }

    #[test]
    fn any_bytes_are_json_or_have_a_place(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
        if let Err(error) = Document::parse(&bytes) {
            prop_assert!(error.position.line > 0 && error.position.column > 0);
        }
    }
}
