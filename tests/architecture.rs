//! The import table and the house rules.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};

use crate::harness::project;

/// What may import what (`ARCHITECTURE.md`). A module may always import its own parts; `tasks` stands for the library's entry `run` too.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("host", &[]),
    ("order", &[]),
    ("template", &["order"]),
    ("agent", &["host"]),
    ("arm", &["host"]),
    ("devtestlab", &["arm"]),
    ("resources", &["arm", "order"]),
    ("compute", &["arm", "order"]),
    ("storage", &["arm"]),
    ("factory", &["host", "order", "agent", "arm", "devtestlab", "resources", "compute", "storage", "template"]),
    ("tasks", &["host", "agent", "arm", "devtestlab", "resources", "compute", "storage", "template", "factory"]),
    ("emulator", &["template"]),
    ("wasm", &["host", "agent", "tasks"]),
    ("fuzzing", &["host", "agent", "arm", "factory", "tasks", "template", "emulator", "cli"]),
    ("cli", &["host", "agent", "tasks", "emulator", "template", "factory"]),
];

/// The longest file that a reader is asked to take in.
const LONGEST_FILE: usize = 900;

#[test]
fn modules_import_only_what_the_table_allows() {
    let allowed: BTreeMap<&str, &[&str]> = MAY_IMPORT.iter().copied().collect();
    let mut faults = Vec::new();
    for (file, module) in modules() {
        let Some(top) = module.first() else { continue };
        let Some(table) = allowed.get(top.as_str()) else {
            faults.push(format!("{}: the module '{top}' is not in the table", file.display()));
            continue;
        };
        for import in imports(&read(&file), &module) {
            if import != *top && !table.contains(&import.as_str()) {
                faults.push(format!("{}: {top} may not import {import}", file.display()));
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn every_file_says_what_it_is_for_and_stays_readable() {
    let mut faults = Vec::new();
    let files: Vec<_> = ["src", "tests", "xtask/src"].iter().flat_map(|folder| rust_files(&project(folder))).collect();
    assert!(files.len() > 20, "the sources were found");
    for file in files {
        let text = read(&file);
        let name = file.display();
        if !text.starts_with("//! ") {
            faults.push(format!("{name} does not open with `//!`"));
        }
        let lines = text.lines().count();
        if lines > LONGEST_FILE {
            faults.push(format!("{name} has {lines} lines; {LONGEST_FILE} are allowed"));
        }
        if file.file_name().is_some_and(|name| name == "mod.rs") {
            faults.push(format!("{name}: a folder's module stands beside it, not in mod.rs"));
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn imports_are_seen_however_they_are_written() {
    let source = "
        use crate::{host::Host, arm::{self, id::ResourceId}};
        use super::super::agent::Agent;
        fn f() -> crate::template::Document { format!(\"{}\", crate::emulator::start()); self::own(); vec![super::sibling()] }
        #[cfg(test)]
        mod tests { use crate::cli::host; }
    ";
    let module = ["tasks".to_owned(), "create_vm".to_owned()];
    let seen: Vec<_> = imports(source, &module).into_iter().collect();
    assert_eq!(seen, ["agent", "arm", "emulator", "host", "tasks", "template"]);
}

/// Every file of the library below its root, with its module path.
fn modules() -> Vec<(PathBuf, Vec<String>)> {
    let root = project("src");
    let files = rust_files(&root).into_iter().filter_map(|file| {
        let relative = file.strip_prefix(&root).ok()?.with_extension("");
        let module: Vec<_> = relative.iter().map(|part| part.to_string_lossy().into_owned()).collect();
        (module != ["lib"] && module != ["main"]).then_some((file, module))
    });
    files.collect()
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder of the project") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

fn read(file: &Path) -> String {
    fs::read_to_string(file).expect("a source file")
}

/// The top-level modules of the library that a source names; its tests are free to use what they need.
fn imports(source: &str, module: &[String]) -> BTreeSet<String> {
    let file = syn::parse_file(source).expect("a source that compiles");
    let mut collector = Collector { module: module.to_vec(), seen: BTreeSet::new() };
    collector.visit_file(&file);
    collector.seen
}

struct Collector {
    module: Vec<String>,
    seen: BTreeSet<String>,
}

impl Collector {
    /// Follows a path's first segments from this module to a top-level one.
    fn note(&mut self, segments: &[String]) {
        let mut place = match segments.first().map(String::as_str) {
            Some("crate") => Vec::new(),
            Some("super" | "self") => self.module.clone(),
            _ => return,
        };
        for segment in segments {
            match segment.as_str() {
                "crate" | "self" => {}
                "super" => drop(place.pop()),
                name => {
                    place.push(name.to_owned());
                    break;
                }
            }
        }
        // The library's own function `run` is the door to the tasks.
        match place.first().map(String::as_str) {
            Some("run") => drop(self.seen.insert("tasks".into())),
            Some(top) => drop(self.seen.insert(top.to_owned())),
            None => {}
        }
    }

    fn note_tree(&mut self, before: &[String], tree: &syn::UseTree) {
        let with = |name: &syn::Ident| [before, &[name.to_string()]].concat();
        match tree {
            syn::UseTree::Path(path) => self.note_tree(&with(&path.ident), &path.tree),
            syn::UseTree::Group(group) => group.items.iter().for_each(|item| self.note_tree(before, item)),
            syn::UseTree::Name(name) => self.note(&with(&name.ident)),
            syn::UseTree::Rename(rename) => self.note(&with(&rename.ident)),
            syn::UseTree::Glob(_) => self.note(before),
        }
    }

    /// Paths inside macros, which are tokens to the parser.
    fn note_tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(name) => {
                    if colons != 2 {
                        self.note(&std::mem::take(&mut path));
                    }
                    path.push(name.to_string());
                    colons = 0;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                other => {
                    self.note(&std::mem::take(&mut path));
                    colons = 0;
                    if let TokenTree::Group(group) = other {
                        self.note_tokens(group.stream());
                    }
                }
            }
        }
        self.note(&path);
    }
}

impl<'ast> Visit<'ast> for Collector {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        let is_test = item.attrs.iter().any(|attribute| {
            attribute.path().is_ident("cfg") && attribute.parse_args::<syn::Path>().is_ok_and(|path| path.is_ident("test"))
        });
        if is_test {
            return;
        }
        self.module.push(item.ident.to_string());
        visit::visit_item_mod(self, item);
        self.module.pop();
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.note_tree(&[], &item.tree);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<_> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.note(&segments);
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, macro_call: &'ast syn::Macro) {
        self.note_tokens(macro_call.tokens.clone());
        visit::visit_macro(self, macro_call);
    }
}
