//! The layers of each package, held against its code.
//!
//! ARCHITECTURE.md's code map lists the modules of a package in an order. A
//! module may name only modules that stand before it, so that dependencies have
//! one direction and no cycle. This test reads the map and the imports, and
//! fails with each import that points the other way. It must never hold a list
//! of exceptions: a cycle is cut, or the map is changed.

#![expect(
    clippy::expect_used,
    reason = "a file that cannot be read or parsed fails the test"
)]

use std::collections::{BTreeSet, HashMap};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use syn::visit::{self, Visit};
use syn::{Attribute, Item, ItemMod, ItemUse, Meta, UseTree};

#[test]
fn the_core_has_one_direction() {
    check("src", "**`src/`");
}

/// Checks the package whose code lies in `folder` against the table of the map
/// that follows the line starting with `heading`.
fn check(folder: &str, heading: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let map = std::fs::read_to_string(root.join("ARCHITECTURE.md")).expect("the map");
    let order = order(&map, heading);
    let package = Package::read(&root.join(folder));

    let mut wrong = String::new();
    for module in &package.modules {
        let places = order.iter().filter(|name| *name == module).count();
        if places != 1 {
            let _ = writeln!(wrong, "`{module}` stands {places} times in the map");
        }
    }
    let place = |name: &str| order.iter().position(|module| module == name);
    for arrow in &package.arrows() {
        if place(&arrow.to) >= place(&arrow.from) {
            let Arrow { from, to, at } = arrow;
            let _ = writeln!(wrong, "{at}: `{from}` names `{to}`, which stands after it");
        }
    }
    assert!(wrong.is_empty(), "in {folder}:\n{wrong}");
}

/// The modules in the first column of a table of the map, in order. Parts of a
/// module (`topic/device`) count as the module.
fn order(map: &str, heading: &str) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    let rows = map
        .lines()
        .skip_while(|line| !line.starts_with(heading))
        .skip_while(|line| !line.starts_with('|'))
        .take_while(|line| line.starts_with('|'));
    for row in rows {
        let cell = row.split('|').nth(1).unwrap_or_default();
        // Text in backquotes is every second part.
        for name in cell.split('`').skip(1).step_by(2) {
            let module = name.split('/').next().unwrap_or_default().to_owned();
            // A module and its parts may follow each other.
            if names.last() != Some(&module) {
                names.push(module);
            }
        }
    }
    assert!(!names.is_empty(), "no table follows {heading}");
    names
}

/// An import of one top-level module by another.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Arrow {
    from: String,
    to: String,
    /// File and line.
    at: String,
}

struct Package {
    /// The top-level modules.
    modules: BTreeSet<String>,
    /// The top-level module behind each name that the package exports.
    exports: HashMap<String, String>,
    /// The files of each top-level module, tests left out, with the path of the
    /// module that each file is.
    files: Vec<(Vec<String>, PathBuf)>,
}

impl Package {
    fn read(folder: &Path) -> Self {
        let lib = parse(&folder.join("lib.rs"));
        let mut package = Self {
            modules: BTreeSet::new(),
            exports: HashMap::new(),
            files: Vec::new(),
        };
        for item in &lib.items {
            match item {
                Item::Mod(module) if !is_conditional(&module.attrs) => {
                    package.modules.insert(module.ident.to_string());
                    package.add(folder, &[module.ident.to_string()]);
                }
                Item::Use(import) => {
                    for path in paths(&import.tree) {
                        let path: Vec<String> = path
                            .into_iter()
                            .filter(|name| name != "self" && name != "crate")
                            .collect();
                        if let (Some(module), Some(name)) = (path.first(), path.last()) {
                            package.exports.insert(name.clone(), module.clone());
                        }
                    }
                }
                _ => {}
            }
        }
        package
    }

    /// Adds the file of a module, and those of the modules that it declares.
    fn add(&mut self, folder: &Path, path: &[String]) {
        let stem: PathBuf = path
            .iter()
            .fold(folder.to_owned(), |at, name| at.join(name));
        let plain = stem.with_extension("rs");
        let file = if plain.exists() {
            plain
        } else {
            stem.join("mod.rs")
        };
        for item in parse(&file).items {
            if let Item::Mod(module) = item
                && module.content.is_none()
                && !is_conditional(&module.attrs)
            {
                let inner: Vec<String> = path
                    .iter()
                    .cloned()
                    .chain([module.ident.to_string()])
                    .collect();
                self.add(folder, &inner);
            }
        }
        self.files.push((path.to_vec(), file));
    }

    fn arrows(&self) -> BTreeSet<Arrow> {
        let mut arrows = BTreeSet::new();
        for (path, file) in &self.files {
            let mut names = Names {
                module: path,
                found: Vec::new(),
            };
            names.visit_file(&parse(file));
            for (line, name) in names.found {
                let to = match self.modules.contains(&name) {
                    true => Some(&name),
                    false => self.exports.get(&name),
                };
                if let (Some(to), Some(from)) = (to, path.first())
                    && to != from
                {
                    arrows.insert(Arrow {
                        from: from.clone(),
                        to: to.clone(),
                        at: format!("{}:{line}", file.display()),
                    });
                }
            }
        }
        arrows
    }
}

/// Gathers the names that a file takes from the root of its package.
struct Names<'a> {
    /// The path of the module that the file is.
    module: &'a [String],
    found: Vec<(usize, String)>,
}

impl Names<'_> {
    /// Resolves a path to what it names in the root, if it begins there.
    fn take(&mut self, line: usize, path: &[String]) {
        let supers = path.iter().take_while(|name| *name == "super").count();
        let name = match path.first().map(String::as_str) {
            Some("crate") => path.get(1),
            // As many steps up as the module is deep lead to the root.
            Some("super") if supers == self.module.len() => path.get(supers),
            _ => None,
        };
        self.found.extend(name.map(|name| (line, name.clone())));
    }
}

impl<'ast> Visit<'ast> for Names<'_> {
    fn visit_item_use(&mut self, import: &'ast ItemUse) {
        for path in paths(&import.tree) {
            self.take(import.use_token.span.start().line, &path);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let idents = || path.segments.iter().map(|segment| &segment.ident);
        let names: Vec<String> = idents().map(ToString::to_string).collect();
        if let Some(first) = idents().next() {
            self.take(first.span().start().line, &names);
        }
        visit::visit_path(self, path);
    }

    fn visit_item_mod(&mut self, module: &'ast ItemMod) {
        // Tests may name anything.
        if !is_conditional(&module.attrs) {
            visit::visit_item_mod(self, module);
        }
    }
}

/// Whether an item is compiled for tests or fuzzers only.
fn is_conditional(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::List(list) if list.path.is_ident("cfg") => {
            matches!(list.tokens.to_string().as_str(), "test" | "fuzzing")
        }
        _ => false,
    })
}

/// Every path of a tree of imports.
fn paths(tree: &UseTree) -> Vec<Vec<String>> {
    let behind = |name: String, rest: Vec<Vec<String>>| {
        let prefixed = |path: Vec<String>| [vec![name.clone()], path].concat();
        rest.into_iter().map(prefixed).collect()
    };
    match tree {
        UseTree::Path(path) => behind(path.ident.to_string(), paths(&path.tree)),
        UseTree::Group(group) => group.items.iter().flat_map(paths).collect(),
        UseTree::Name(name) => vec![vec![name.ident.to_string()]],
        UseTree::Rename(rename) => vec![vec![rename.ident.to_string()]],
        UseTree::Glob(_) => vec![Vec::new()],
    }
}

fn parse(file: &Path) -> syn::File {
    let text = std::fs::read_to_string(file).expect("a file of the package");
    syn::parse_file(&text).expect("a file that compiles")
}

#[test]
fn imports_are_read_whatever_their_shape() {
    let file = syn::parse_file(
        "use crate::a::{self, X, y::Z};
         use super::super::b::C;
         use super::inner::D;
         use std::fmt;
         fn f() -> crate::c::E { crate::d::g::<crate::e::F>() }
         #[cfg(test)] mod tests { use crate::t; }",
    );
    let module = ["outer".to_owned(), "middle".to_owned()];
    let mut names = Names {
        module: &module,
        found: Vec::new(),
    };
    names.visit_file(&file.expect("Rust"));
    let found: BTreeSet<&str> = names.found.iter().map(|(_, name)| name.as_str()).collect();
    assert_eq!(found, BTreeSet::from(["a", "b", "c", "d", "e"]));
}

#[test]
fn the_map_is_read_in_order() {
    let map = "**`x/`** decides.\n\n| module | noun |\n|---|---|\n| `a`, `b` | `no` |\n| `c/d`, `c/e` | |\n\n| `z` | |\n";
    assert_eq!(order(map, "**`x/`**"), ["a", "b", "c"]);
}
