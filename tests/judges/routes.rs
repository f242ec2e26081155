//! `docs/emulator-routes.md`: which route which of Microsoft's clients has used. A client that has run must have used every route that the
//! table claims for it; `UPDATE_DOCS=1` writes what it used into the table.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    sync::{Mutex, PoisonError},
};

use serde_json::Value;

use crate::harness::project;

const FILE: &str = "docs/emulator-routes.md";
const HEAD: &str = "# Routes and their judges

Which of Microsoft's clients has used which route of the emulator, with success: **P** the Python SDKs, **N** the JavaScript SDKs, **A** `az`.
`cargo xtask test` runs P and N, `cargo xtask test --all` A as well, and each fails when it has not used a route that this table claims for it.
Written by `UPDATE_DOCS=1 cargo test --test integration judges`.

| method | route | judges |
|---|---|---|
";

type Table = BTreeMap<(String, String), BTreeSet<char>>;

/// Holds the table against what a client has asked for and was given.
pub fn check(judge: char, requests: &[Value]) {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let used: BTreeSet<_> = requests.iter().filter_map(used).collect();
    let mut table = read();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        for judges in table.values_mut() {
            judges.remove(&judge);
        }
        for key in used {
            table.entry((key.1, key.0)).or_default().insert(judge);
        }
        table.retain(|_, judges| !judges.is_empty());
        let row = |((route, method), judges): (&(String, String), &BTreeSet<char>)| {
            let judges: Vec<String> = judges.iter().map(char::to_string).collect();
            format!("| {method} | `{route}` | {} |\n", judges.join(" "))
        };
        let rows: String = table.iter().map(row).collect();
        fs::write(project(FILE), format!("{HEAD}{rows}")).expect("the table is written");
        return;
    }
    let claimed = table.iter().filter(|(_, judges)| judges.contains(&judge)).map(|((route, method), _)| (method.clone(), route.clone()));
    let untrue: Vec<_> = claimed.filter(|key| !used.contains(key)).collect();
    assert!(untrue.is_empty(), "{FILE} claims for {judge} what it has not used: {untrue:#?}");
}

/// Whether any client has used a route.
pub fn is_judged(method: &str, route: &str) -> bool {
    read().contains_key(&(route.to_owned(), method.to_owned()))
}

fn read() -> Table {
    let text = fs::read_to_string(project(FILE)).unwrap_or_default();
    let rows = text.lines().filter_map(|line| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, method, route, judges, _] = cells.as_slice() else { return None };
        let route = route.strip_prefix('`')?.strip_suffix('`')?;
        Some(((route.to_owned(), (*method).to_owned()), judges.chars().filter(|letter| !letter.is_whitespace()).collect()))
    });
    rows.collect()
}

/// Method and route of a request that was served, names left out.
fn used(request: &Value) -> Option<(String, String)> {
    let status = request["status"].as_u64().unwrap_or_default();
    // Where a path is made of an id, some clients write its first slash twice.
    let path = format!("/{}", request["path"].as_str().unwrap_or_default().to_ascii_lowercase().trim_start_matches('/'));
    let served = (200..300).contains(&status) && (path.starts_with("/subscriptions") || path.starts_with("/providers"));
    served.then(|| (request["method"].as_str().unwrap_or_default().to_owned(), route(&path)))
}

/// `/subscriptions/{}/resourcegroups/{}/providers/microsoft.x/type/{}/action`: every second part below a scope or provider is a name.
pub fn route(path: &str) -> String {
    let mut is_name = false;
    let mut after_providers = false;
    let parts = path.split('/').filter(|part| !part.is_empty()).map(|part| {
        if after_providers {
            after_providers = false;
            is_name = false;
            return part.to_owned();
        }
        if part == "providers" {
            after_providers = true;
            return part.to_owned();
        }
        is_name = !is_name;
        if is_name { part.to_owned() } else { "{}".to_owned() }
    });
    parts.fold(String::new(), |route, part| route + "/" + &part)
}

#[test]
fn names_are_left_out_of_routes() {
    let vm = "/subscriptions/s/resourcegroups/g/providers/microsoft.devtestlab/labs/l/virtualmachines/v/start";
    assert_eq!(route(vm), "/subscriptions/{}/resourcegroups/{}/providers/microsoft.devtestlab/labs/{}/virtualmachines/{}/start");
    let tags = "/subscriptions/s/resourcegroups/g/providers/microsoft.resources/tags/default";
    assert_eq!(route(tags), "/subscriptions/{}/resourcegroups/{}/providers/microsoft.resources/tags/{}");
}
