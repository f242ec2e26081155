//! A table for every function: what the documentation says of it, on values of our own.

use serde_json::{Value, json};

use super::value_of;

/// Checks expressions against their values.
fn table(rows: &[(&str, Value)]) {
    for (expression, expected) in rows {
        assert_eq!(value_of(&format!("[{expression}]")).as_ref(), Ok(expected), "{expression}");
    }
}

/// Checks that expressions fail, with a word of the message.
fn refused(rows: &[(&str, &str)]) {
    for (expression, word) in rows {
        let message = value_of(&format!("[{expression}]")).expect_err(expression);
        assert!(message.contains(word), "{expression}: {message}");
    }
}

#[test]
fn literals_escapes_and_access() {
    table(&[
        ("'it''s'", json!("it's")),
        ("''", json!("")),
        ("-5", json!(-5)),
        ("9223372036854775807", json!(i64::MAX)),
        ("createObject('a', createArray(1, 2)).a[1]", json!(2)),
        ("createObject('Name', 'x').name", json!("x")),
        ("createObject('a b', 'x')['a b']", json!("x")),
        (" concat ( 'a' , 'b' ) ", json!("ab")),
        ("CONCAT('a', 'b')", json!("ab")),
    ]);
    assert_eq!(value_of("[[not an expression]"), Ok(json!("[not an expression]")));
    assert_eq!(value_of("[open"), Ok(json!("[open")));
    assert_eq!(value_of("[a] and b"), Ok(json!("[a] and b")));
    refused(&[
        ("concat('a', 'b'", "expected ',' or ')'"),
        ("'open", "no closing quote"),
        ("true", "'true()'"),
        ("1.5", "json('1.5')"),
        ("9223372036854775808", "64-bit"),
        ("concat('a') 'b'", "expected the end"),
        ("createArray(1)[1]", "out of bounds"),
        ("createObject('a', 1).b", "available properties are 'a'"),
        ("'text'.b", "can't be selected"),
        ("nosuch('a')", "'nosuch' is not valid"),
        ("cocnat('a')", "did you mean 'concat'?"),
        ("toLower()", "takes 1 argument(s), 0 were given"),
    ]);
}

#[test]
fn array_functions() {
    table(&[
        ("array(1)", json!([1])),
        ("array(createArray(1))", json!([1])),
        ("array(createObject('a', 'b'))", json!([{"a": "b"}])),
        ("concat('a', 1, true())", json!("a1True")),
        ("concat(createArray(1), createArray(2, 3))", json!([1, 2, 3])),
        ("contains('OneTwo', 'eTw')", json!(true)),
        ("contains('OneTwo', 'etw')", json!(false)),
        ("contains(createObject('one', 'a'), 'ONE')", json!(true)),
        ("contains(createArray('one', 'two'), 'two')", json!(true)),
        ("contains(createArray('one'), 'One')", json!(false)),
        ("contains(createArray(1, 2), 2)", json!(true)),
        ("createArray()", json!([])),
        ("createArray(1, 'a', createArray(2))", json!([1, "a", [2]])),
        ("empty('')", json!(true)),
        ("empty(createArray())", json!(true)),
        ("empty(json('{}'))", json!(true)),
        ("empty(null())", json!(true)),
        ("empty('a')", json!(false)),
        ("first('One')", json!("O")),
        ("first(createArray('one', 'two'))", json!("one")),
        ("last('One')", json!("e")),
        ("last(createArray('one', 'two'))", json!("two")),
        (
            "flatten(createArray(createArray('one', 'two'), createArray('three', createArray('four'))))",
            json!(["one", "two", "three", ["four"]]),
        ),
        ("flatten(createArray())", json!([])),
        ("indexFromEnd(createArray('a', 'b', 'c'), 1)", json!("c")),
        ("tryIndexFromEnd(createArray('a', 'b', 'c'), 4)", json!(null)),
        ("indexOf('test', 't')", json!(0)),
        ("indexOf('abcDef', 'DE')", json!(3)),
        ("indexOf('abc', 'z')", json!(-1)),
        ("indexOf(createArray('a', 'b', 'b'), 'b')", json!(1)),
        ("lastIndexOf('test', 't')", json!(3)),
        ("lastIndexOf(createArray('a', 'b', 'b'), 'b')", json!(2)),
        ("lastIndexOf('abc', 'z')", json!(-1)),
        ("intersection(createArray(1, 2, 3, 3), createArray(3, 2))", json!([2, 3])),
        ("intersection(json('{\"a\": 1, \"b\": 2}'), json('{\"a\": 1, \"b\": 3}'))", json!({"a": 1})),
        ("join(createArray('a', 'b', 1), ', ')", json!("a, b, 1")),
        ("length('One Two')", json!(7)),
        ("length(createArray(1, 2))", json!(2)),
        ("length(json('{\"a\": 1}'))", json!(1)),
        ("max(createArray(0, 3, 2))", json!(3)),
        ("max(0, 3, 2)", json!(3)),
        ("min(createArray(0, 3, 2))", json!(0)),
        ("min(4, 3)", json!(3)),
        ("range(5, 3)", json!([5, 6, 7])),
        ("range(-1, 2)", json!([-1, 0])),
        ("range(0, 0)", json!([])),
        ("skip(createArray('a', 'b', 'c'), 2)", json!(["c"])),
        ("skip('one two', 4)", json!("two")),
        ("skip('one', 9)", json!("")),
        ("take(createArray('a', 'b', 'c'), 2)", json!(["a", "b"])),
        ("take('one two', 2)", json!("on")),
        ("take('one', -1)", json!("")),
        ("tryGet(json('{\"a\": {\"b\": [1, 2]}}'), 'a', 'b', 1)", json!(2)),
        ("tryGet(json('{\"a\": 1}'), 'z')", json!(null)),
        ("tryGet(createArray(1), 3)", json!(null)),
        ("union(createArray(1, 2), createArray(2, 3))", json!([1, 2, 3])),
        ("union(json('{\"a\": {\"x\": 1}, \"b\": 1}'), json('{\"a\": {\"y\": 2}, \"b\": 3}'))", json!({"a": {"x": 1, "y": 2}, "b": 3})),
    ]);
    refused(&[
        ("range(0, 10001)", "between 0 and 10000"),
        ("range(2147483647, 1)", "at most 2147483647"),
        ("concat(createArray(1), 'a')", "argument 2 must be an array"),
        ("flatten(createArray(1))", "element 0 is the number 1"),
        ("indexFromEnd(createArray(1), 2)", "out of bounds"),
        ("length(1)", "argument 1 must be an array"),
        ("max(createArray())", "empty"),
    ]);
}

#[test]
fn logical_and_comparison_functions() {
    table(&[
        ("and(true(), true(), false())", json!(false)),
        ("and(false(), equals(div(1, 0), 1))", json!(false)),
        ("or(false(), true())", json!(true)),
        ("not(true())", json!(false)),
        ("bool('true')", json!(true)),
        ("bool('False')", json!(false)),
        ("bool(1)", json!(true)),
        ("bool(0)", json!(false)),
        ("if(equals('a', 'a'), 'yes', createArray(1)[5])", json!("yes")),
        ("coalesce(null(), null(), 'x', createArray(1)[5])", json!("x")),
        ("coalesce(null())", json!(null)),
        ("equals(1, 1)", json!(true)),
        ("equals('a', 'A')", json!(false)),
        ("equals(createArray(1, 2), createArray(1, 2))", json!(true)),
        ("equals(json('{\"a\": 1, \"b\": 2}'), json('{\"b\": 2, \"a\": 1}'))", json!(true)),
        ("equals(1, '1')", json!(false)),
        ("less(1, 2)", json!(true)),
        ("less('a', 'b')", json!(true)),
        ("lessOrEquals(2, 2)", json!(true)),
        ("greater(2, 1)", json!(true)),
        ("greaterOrEquals('a', 'b')", json!(false)),
        ("true()", json!(true)),
        ("false()", json!(false)),
    ]);
    refused(&[
        ("fail('no such region')", "no such region"),
        ("if('x', 1, 2)", "must be a boolean"),
        ("bool('maybe')", "'true', 'false'"),
        ("less(1, 'a')", "can be compared"),
    ]);
}

#[test]
fn numeric_functions() {
    table(&[
        ("add(5, 3)", json!(8)),
        ("sub(7, 3)", json!(4)),
        ("mul(5, 3)", json!(15)),
        ("div(8, 3)", json!(2)),
        ("div(-8, 3)", json!(-2)),
        ("mod(7, 3)", json!(1)),
        ("mod(-7, 3)", json!(-1)),
        ("int('4')", json!(4)),
        ("int(7)", json!(7)),
        ("string(float('3.5'))", json!("3.5")),
        ("string(float(3))", json!("3")),
    ]);
    refused(&[
        ("div(1, 0)", "division by zero"),
        ("mod(1, 0)", "division by zero"),
        ("add(9223372036854775807, 1)", "no 64-bit integer"),
        ("mul(-9223372036854775807, 2)", "no 64-bit integer"),
        ("div(sub(-9223372036854775807, 1), -1)", "no 64-bit integer"),
        ("add('1', 2)", "argument 1 must be an integer, found the string '1'"),
        ("int('4.5')", "can't be converted"),
        ("copyIndex()", "outside a copy loop"),
        ("copyIndex('disks')", "'disks'"),
    ]);
}

#[test]
fn object_functions() {
    table(&[
        ("createObject('a', 1, 'b', null())", json!({"a": 1, "b": null})),
        ("createObject()", json!({})),
        ("items(json('{\"b\": 2, \"a\": 1}'))", json!([{"key": "a", "value": 1}, {"key": "b", "value": 2}])),
        ("json('{\"a\": [1, 2.50]}')", serde_json::from_str("{\"a\": [1, 2.50]}").unwrap()),
        ("json('null')", json!(null)),
        ("null()", json!(null)),
        ("objectKeys(json('{\"b\": 2, \"a\": 1}'))", json!(["a", "b"])),
        ("shallowMerge(createArray(json('{\"a\": {\"x\": 1}}'), json('{\"a\": {\"y\": 2}, \"b\": 1}')))", json!({"a": {"y": 2}, "b": 1})),
    ]);
    refused(&[
        ("json('{')", "no JSON"),
        ("createObject('a')", "a value is missing"),
        ("createObject(1, 2)", "argument 1 must be a string"),
    ]);
}

#[test]
fn string_functions() {
    table(&[
        ("base64('one, two')", json!("b25lLCB0d28=")),
        ("base64ToString('b25lLCB0d28=')", json!("one, two")),
        ("base64ToJson(base64('{\"a\": 1}'))", json!({"a": 1})),
        ("dataUri('Hello')", json!("data:text/plain;charset=utf8;base64,SGVsbG8=")),
        ("dataUriToString('data:;base64,SGVsbG8sIFdvcmxkIQ==')", json!("Hello, World!")),
        ("dataUriToString('data:text/plain,a%20b')", json!("a b")),
        ("endsWith('abcdef', 'EF')", json!(true)),
        ("startsWith('abcdef', 'AB')", json!(true)),
        ("startsWith('abcdef', 'e')", json!(false)),
        ("padLeft('123', 6, '0')", json!("000123")),
        ("padLeft(123, 5)", json!("  123")),
        ("padLeft('123', 2, '0')", json!("123")),
        ("replace('123-123', '-', '')", json!("123123")),
        ("split('one,two', ',')", json!(["one", "two"])),
        ("split('one;two,three', createArray(',', ';'))", json!(["one", "two", "three"])),
        ("split(',a,', ',')", json!(["", "a", ""])),
        ("string(createArray('a', 1))", json!("[\"a\",1]")),
        ("string(createObject('a', null()))", json!("{\"a\":null}")),
        ("string(true())", json!("True")),
        ("string(12)", json!("12")),
        ("substring('one two three', 4, 3)", json!("two")),
        ("substring('one', 1)", json!("ne")),
        ("substring('one', 3)", json!("")),
        ("toLower('One')", json!("one")),
        ("toUpper('One')", json!("ONE")),
        ("trim('  a b ')", json!("a b")),
        ("uri('http://contoso.org/firstpath', 'myscript.sh')", json!("http://contoso.org/myscript.sh")),
        ("uri('http://contoso.org/firstpath/', 'myscript.sh')", json!("http://contoso.org/firstpath/myscript.sh")),
        ("uri('http://contoso.org/firstpath/azuredeploy.json', 'myscript.sh')", json!("http://contoso.org/firstpath/myscript.sh")),
        ("uri('http://contoso.org', 'a/b.json')", json!("http://contoso.org/a/b.json")),
        ("uri('https://contoso.org/a/b/?sv=1', '../c.json?x=1')", json!("https://contoso.org/a/c.json?x=1")),
        ("uriComponent('http://contoso.com/a b')", json!("http%3A%2F%2Fcontoso.com%2Fa%20b")),
        ("uriComponentToString('http%3A%2F%2Fcontoso.com')", json!("http://contoso.com")),
        (
            "parseUri('https://contoso.com:8443/a/b?c=d')",
            json!({"scheme": "https", "host": "contoso.com", "port": 8443, "path": "/a/b", "query": "?c=d"}),
        ),
        ("buildUri(createObject('scheme', 'https', 'host', 'contoso.com', 'path', 'a'))", json!("https://contoso.com/a")),
        ("buildUri(parseUri('https://contoso.com:8443/a/b?c=d'))", json!("https://contoso.com:8443/a/b?c=d")),
        ("guid('a')", json!("3703365d-5a9f-59b4-bca7-b9681389e4c1")),
        ("guid('hello', 'world')", json!("a5b868f8-11fe-567a-ace0-e77cc87f104e")),
        ("length(uniqueString('a'))", json!(13)),
    ]);
    refused(&[
        ("substring('one', 2, 5)", "within the string"),
        ("substring('one', -1)", "within the string"),
        ("base64ToString('***')", "no base64"),
        ("toLower(1)", "argument 1 must be a string, found the number 1"),
        ("padLeft('a', 5, 'ab')", "a single character"),
        ("uri('contoso', 'x')", "no absolute URI"),
        ("newGuid()", "default value of a parameter only"),
    ]);
}

#[test]
fn format_follows_dotnet() {
    table(&[
        ("format('{0}, {1}.', 'Hello', 'User')", json!("Hello, User.")),
        ("format('{1}{0}{1}', 'a', 'b')", json!("bab")),
        ("format('{{{0}}}', 1)", json!("{1}")),
        ("format('{0:N0}', 8175133)", json!("8,175,133")),
        ("format('{0:D3}', 5)", json!("005")),
        ("format('{0:D2}', -5)", json!("-05")),
        ("format('{0:X4}', 255)", json!("00FF")),
        ("format('{0:F1}', 3)", json!("3.0")),
        ("format('{0:000}', 7)", json!("007")),
        ("format('{0:#,##0}', 1234567)", json!("1,234,567")),
        ("format('[{0,5}|{1,-5}]', 'a', 'b')", json!("[    a|b    ]")),
        ("format('{0}', true())", json!("True")),
        ("format('plain')", json!("plain")),
    ]);
    refused(&[
        ("format('{1}', 'a')", "no argument"),
        ("format('{0', 'a')", "without '}'"),
        ("format('}', 'a')", "'}'"),
        ("format('{x}', 'a')", "no field"),
    ]);
}

#[test]
fn date_functions() {
    table(&[
        ("dateTimeAdd('2020-04-07 14:53:14Z', 'P3Y')", json!("2023-04-07 14:53:14Z")),
        ("dateTimeAdd('2020-04-07 14:53:14Z', '-P9D')", json!("2020-03-29 14:53:14Z")),
        ("dateTimeAdd('2020-04-07 14:53:14Z', 'PT1H')", json!("2020-04-07 15:53:14Z")),
        ("dateTimeAdd('20200407T145314Z', 'P1DT1M')", json!("20200408T145414Z")),
        ("dateTimeAdd('2020-04-07T14:53:14Z', 'P1W', 'yyyy-MM-dd')", json!("2020-04-14")),
        ("dateTimeAdd('2020-12-31T23:59:59Z', 'PT1S', 's')", json!("2021-01-01T00:00:00")),
        ("dateTimeAdd('2020-04-07T16:53:14+02:00', 'PT0S', 'o')", json!("2020-04-07T14:53:14.0000000Z")),
        ("dateTimeAdd('2020-04-07', 'PT13H', 'ddd, d MMM yyyy h:mm tt')", json!("Tue, 7 Apr 2020 1:00 PM")),
        ("dateTimeFromEpoch(1683040573)", json!("2023-05-02T15:16:13Z")),
        ("dateTimeToEpoch('2023-05-02T15:16:13Z')", json!(1_683_040_573)),
    ]);
    refused(&[
        ("dateTimeAdd('tomorrow', 'P1D')", "no ISO 8601 date"),
        ("dateTimeAdd('2020-02-30', 'P1D')", "no ISO 8601 date"),
        ("dateTimeAdd('2020-04-07', 'P')", "no ISO 8601 duration"),
        ("dateTimeAdd('2020-04-07', 'P1H')", "no ISO 8601 duration"),
        ("dateTimeAdd('2020-04-07', 'P99999999Y')", "beyond the calendar"),
        ("utcNow()", "default value of a parameter only"),
    ]);
}

#[test]
fn cidr_functions() {
    table(&[
        (
            "parseCidr('10.144.0.0/20')",
            json!({"network": "10.144.0.0", "netmask": "255.255.240.0", "broadcast": "10.144.15.255", "firstUsable": "10.144.0.1", "lastUsable": "10.144.15.254", "cidr": 20}),
        ),
        ("parseCidr('fdad::/48').lastUsable", json!("fdad::ffff:ffff:ffff:ffff:ffff")),
        ("parseCidr('10.0.0.7/32').firstUsable", json!("10.0.0.7")),
        ("cidrSubnet('10.144.0.0/20', 24, 0)", json!("10.144.0.0/24")),
        ("cidrSubnet('10.144.0.0/20', 24, 15)", json!("10.144.15.0/24")),
        ("cidrSubnet('fdad:3236:5555::/48', 56, 1)", json!("fdad:3236:5555:100::/56")),
        ("cidrHost('10.144.3.0/24', 0)", json!("10.144.3.1")),
        ("cidrHost('10.144.3.0/24', 4)", json!("10.144.3.5")),
        ("cidrHost('fdad::/64', 1)", json!("fdad::1")),
    ]);
    refused(&[
        ("parseCidr('10.0.0.0')", "no address range"),
        ("parseCidr('10.0.0.0/33')", "between 0 and 32"),
        ("cidrSubnet('10.0.0.0/24', 25, 2)", "beyond"),
        ("cidrSubnet('10.0.0.0/24', 16, 0)", "between 24 and 32"),
        ("cidrHost('10.0.0.0/24', 254)", "between 0 and 253"),
        ("cidrHost('10.0.0.0/24', -1)", "between 0 and 253"),
    ]);
}

#[test]
fn lambda_functions() {
    let dogs = "json('[{\"name\":\"Evie\",\"age\":5},{\"name\":\"Casper\",\"age\":3},{\"name\":\"Indy\",\"age\":2}]')";
    let rows = [
        ("map(DOGS, lambda('dog', lambdaVariables('dog').name))", json!(["Evie", "Casper", "Indy"])),
        ("map(range(0, 3), lambda('x', 'i', mul(lambdaVariables('x'), lambdaVariables('i'))))", json!([0, 1, 4])),
        ("filter(DOGS, lambda('dog', greaterOrEquals(lambdaVariables('dog').age, 3)))[1].name", json!("Casper")),
        ("filter(createArray('a', 'b'), lambda('x', 'i', equals(lambdaVariables('i'), 1)))", json!(["b"])),
        (
            "reduce(map(DOGS, lambda('d', lambdaVariables('d').age)), 0, lambda('a', 'b', add(lambdaVariables('a'), lambdaVariables('b'))))",
            json!(10),
        ),
        ("reduce(createArray(), 'start', lambda('a', 'b', lambdaVariables('b')))", json!("start")),
        (
            "map(sort(DOGS, lambda('a', 'b', less(lambdaVariables('a').age, lambdaVariables('b').age))), lambda('d', lambdaVariables('d').age))",
            json!([2, 3, 5]),
        ),
        ("sort(createArray(3, 1, 2, 1), lambda('a', 'b', true()))", json!([1, 2, 1, 3])),
        (
            "toObject(DOGS, lambda('d', lambdaVariables('d').name), lambda('d', lambdaVariables('d').age))",
            json!({"Evie": 5, "Casper": 3, "Indy": 2}),
        ),
        ("toObject(createArray('a'), lambda('d', lambdaVariables('d')))", json!({"a": "a"})),
        ("groupBy(createArray('ab', 'cd', 'ae'), lambda('x', first(lambdaVariables('x'))))", json!({"a": ["ab", "ae"], "c": ["cd"]})),
        ("mapValues(json('{\"a\": 1, \"b\": 2}'), lambda('v', mul(lambdaVariables('v'), 10)))", json!({"a": 10, "b": 20})),
        (
            "map(range(0, 2), lambda('x', map(range(0, 2), lambda('y', add(mul(lambdaVariables('x'), 10), lambdaVariables('y'))))))",
            json!([[0, 1], [10, 11]]),
        ),
    ];
    for (expression, expected) in rows {
        assert_eq!(value_of(&format!("[{}]", expression.replace("DOGS", dogs))), Ok(expected), "{expression}");
    }
    refused(&[
        ("map(createArray(1), 'x')", "must be a lambda"),
        ("lambda('x', 1)", "as an argument of"),
        ("lambdaVariables('x')", "'x' is not found"),
        ("filter(createArray(1), lambda('x', 1))", "must answer with a boolean"),
        ("reduce(createArray(1), 0, lambda('a', 1))", "2 to 3 variable(s)"),
        ("toObject(createArray(1), lambda('x', 1))", "must answer with a string"),
    ]);
}

#[test]
fn scope_and_resource_functions() {
    let group = "/subscriptions/22222222-2222-2222-2222-222222222222/resourceGroups/group";
    let lab = format!("{group}/providers/Microsoft.DevTestLab/labs/lab1");
    table(&[
        ("resourceGroup().name", json!("group")),
        ("resourceGroup().location", json!("westeurope")),
        ("resourceGroup().id", json!(group)),
        ("resourceGroup().properties.provisioningState", json!("Succeeded")),
        ("subscription().subscriptionId", json!("22222222-2222-2222-2222-222222222222")),
        ("subscription().displayName", json!("Team")),
        ("tenant().tenantId", json!("11111111-1111-1111-1111-111111111111")),
        ("deployment().name", json!("azuredeploy")),
        ("environment().suffixes.storage", json!("core.windows.net")),
        ("resourceId('Microsoft.DevTestLab/labs', 'lab1')", json!(lab)),
        ("resourceId('Microsoft.DevTestLab/labs/virtualmachines', 'lab1', 'vm')", json!(format!("{lab}/virtualmachines/vm"))),
        ("resourceId('other', 'Microsoft.DevTestLab/labs', 'lab1')", json!(lab.replace("/group/", "/other/"))),
        (
            "resourceId('33333333-3333-3333-3333-333333333333', 'other', 'A.B/c', 'd')",
            json!("/subscriptions/33333333-3333-3333-3333-333333333333/resourceGroups/other/providers/A.B/c/d"),
        ),
        (
            "subscriptionResourceId('Microsoft.Authorization/roleDefinitions', 'x')",
            json!("/subscriptions/22222222-2222-2222-2222-222222222222/providers/Microsoft.Authorization/roleDefinitions/x"),
        ),
        ("subscriptionResourceId('s', 'A.B/c', 'x')", json!("/subscriptions/s/providers/A.B/c/x")),
        ("tenantResourceId('A.B/c', 'x')", json!("/providers/A.B/c/x")),
        ("managementGroupResourceId('mg', 'A.B/c', 'x')", json!("/providers/Microsoft.Management/managementGroups/mg/providers/A.B/c/x")),
        (
            "extensionResourceId(resourceId('A.B/c', 'x'), 'Microsoft.Authorization/locks', 'l')",
            json!(format!("{group}/providers/A.B/c/x/providers/Microsoft.Authorization/locks/l")),
        ),
    ]);
    refused(&[
        ("resourceId('Microsoft.DevTestLab/labs')", "at least 2"),
        ("resourceId('Microsoft.DevTestLab/labs', 'a', 'b')", "one name for every segment"),
        ("resourceId('a', 'b')", "needs a resource type"),
        ("parameters('x')", "'x' is not found"),
        ("variables('x')", "'x' is not found"),
    ]);
}

#[test]
fn the_nearest_name_is_suggested_only_when_it_is_near() {
    let names = ["newVMName", "labName", "size"];
    for (name, near) in
        [("newVmNam", Some("newVMName")), ("labname", Some("labName")), ("siez", Some("size")), ("password", None), ("x", None)]
    {
        assert_eq!(dtl::template::nearest_name(name, names.into_iter()), near, "{name}");
    }
}

#[test]
fn every_function_is_described() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/templates.md")).expect("the page");
    let missing: Vec<_> = dtl::template::function_names().filter(|name| !page.contains(&format!("`{name}`"))).collect();
    assert!(missing.is_empty(), "docs/templates.md says nothing of {missing:?}");
}
