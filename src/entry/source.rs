//! Looks for a function in the source of a binary, before anything is built.
//!
//! Follows `mod` (also nested, inline and with `#[path]`) by the rules of the Rust reference,
//! "Module source filenames". It must never refuse what the compiler would accept: what it cannot
//! see through (an import, a glob, a macro, a file that does not parse) counts as found, and the
//! build has the last word.

use std::fs;
use std::path::{Path, PathBuf};

use syn::punctuated::Punctuated;
use syn::{Attribute, Expr, ForeignItem, Item, ItemMod, Lit, Meta, Token, UseTree};

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Lookup {
    /// It is there, or could be.
    Found,
    /// The path ends before the module that is named at this index.
    NoModule {
        /// Which of the segments is missing.
        at: usize,
        /// The source that it would have to be declared in.
        file: PathBuf,
        /// The modules that are.
        modules: Vec<String>,
        /// It is a function there, not a module.
        is_function: bool,
    },
    /// The module has no such function.
    NoFunction {
        /// The module's source.
        file: PathBuf,
        /// The functions that it has.
        functions: Vec<String>,
    },
}

/// Looks for a module of the crate whose root is this file, and for a function in it.
pub(super) fn look_up(root: &Path, modules: &[String], function: Option<&str>) -> Lookup {
    let Some(scope) = Scope::read(root.to_owned(), Owner::Directory) else { return Lookup::Found };
    // Several, where `cfg` declares a module more than once.
    let mut scopes = vec![scope];
    for (at, name) in modules.iter().enumerate() {
        let file = scopes[0].file.clone();
        let declared = scopes.iter().flat_map(Scope::modules).collect();
        let is_function = scopes.iter().any(|scope| scope.functions().any(|it| it == *name));
        let opaque = scopes.iter().any(|scope| scope.imports(name));
        let Some(inner) =
            scopes.into_iter().map(|scope| scope.enter(name)).collect::<Option<Vec<_>>>()
        else {
            return Lookup::Found;
        };
        scopes = inner.into_iter().flatten().collect();
        if scopes.is_empty() {
            return if opaque {
                Lookup::Found
            } else {
                Lookup::NoModule { at, file, modules: declared, is_function }
            };
        }
    }
    let Some(name) = function else { return Lookup::Found };
    if scopes.iter().any(|scope| scope.defines(name) || scope.imports(name)) {
        return Lookup::Found;
    }
    let mut functions: Vec<_> = scopes.iter().flat_map(Scope::functions).collect();
    functions.dedup();
    Lookup::NoFunction { file: scopes[0].file.clone(), functions }
}

/// Where the modules that a file declares are looked for.
#[derive(Clone, Copy)]
enum Owner {
    /// In the file's own folder: a crate root, `mod.rs`, a file named by `#[path]`.
    Directory,
    /// In a folder beside the file, of the file's name.
    Beside,
}

/// A module whose items are known.
struct Scope {
    items: Vec<Item>,
    /// Its source.
    file: PathBuf,
    /// Where its modules are looked for.
    directory: PathBuf,
    /// What `#[path]` is relative to.
    path_base: PathBuf,
}

impl Scope {
    /// `None` where the file cannot be read or does not parse.
    fn read(file: PathBuf, owner: Owner) -> Option<Self> {
        let source = syn::parse_file(&fs::read_to_string(&file).ok()?).ok()?;
        let folder = file.parent().unwrap_or(Path::new("")).to_owned();
        let directory = match owner {
            Owner::Directory => folder.clone(),
            Owner::Beside => file.with_extension(""),
        };
        Some(Self { items: source.items, file, directory, path_base: folder })
    }

    /// All modules of this name that it declares. `None` where one of them cannot be seen through.
    fn enter(self, name: &str) -> Option<Vec<Self>> {
        let Self { items, file, directory, path_base } = self;
        let mut found = Vec::new();
        for item in items {
            let Item::Mod(module) = item else { continue };
            if plain(&module.ident) != name {
                continue;
            }
            let paths = paths(&module.attrs);
            if let Some((_, items)) = module.content {
                // The folder of an inline module is named as the module is, or by `#[path]`.
                let folder = match paths.into_iter().next() {
                    Some(path) => path_base.join(path),
                    None => directory.join(name),
                };
                let (file, path_base) = (file.clone(), folder.clone());
                found.push(Self { items, file, directory: folder, path_base });
                continue;
            }
            let conventional = [
                (directory.join(format!("{name}.rs")), Owner::Beside),
                (directory.join(name).join("mod.rs"), Owner::Directory),
            ];
            let named = paths.iter().map(|path| (path_base.join(path), Owner::Directory));
            // Under `cfg_attr`, `#[path]` may not apply: the conventional places count too.
            let files = named.chain(conventional).filter(|(file, _)| file.is_file());
            let files: Vec<_> = files.collect();
            if files.is_empty() {
                return None;
            }
            for (file, owner) in files {
                found.push(Self::read(file, owner)?);
            }
        }
        Some(found)
    }

    /// It has an item of this name that a path can end in as in a function.
    fn defines(&self, name: &str) -> bool {
        self.items.iter().any(|item| match item {
            Item::Fn(item) => plain(&item.sig.ident) == name || mentions(&item.attrs, name),
            Item::Const(item) => plain(&item.ident) == name,
            Item::Static(item) => plain(&item.ident) == name,
            Item::ForeignMod(foreign) => foreign.items.iter().any(|item| match item {
                ForeignItem::Fn(item) => plain(&item.sig.ident) == name,
                ForeignItem::Static(item) => plain(&item.ident) == name,
                ForeignItem::Macro(_) | ForeignItem::Verbatim(_) => true,
                _ => false,
            }),
            Item::Struct(item) => plain(&item.ident) == name || mentions(&item.attrs, name),
            Item::Enum(item) => mentions(&item.attrs, name),
            Item::Impl(item) => mentions(&item.attrs, name),
            Item::Mod(item) => mentions(&item.attrs, name),
            _ => false,
        })
    }

    /// It could get an item of this name from elsewhere: by an import, a glob or a macro.
    fn imports(&self, name: &str) -> bool {
        self.items.iter().any(|item| match item {
            Item::Use(item) => in_use(&item.tree, name, None),
            Item::ExternCrate(item) => {
                let (crate_name, rename) = (&item.ident, &item.rename);
                let ident = rename.as_ref().map_or(crate_name, |(_, ident)| ident);
                plain(ident) == name
            }
            // A definition alone defines nothing; its use, also in this module, does.
            Item::Macro(item) => {
                !item.mac.path.is_ident("macro_rules") && !is_our_main(&item.mac.path)
            }
            Item::Verbatim(_) => true,
            _ => false,
        })
    }

    fn functions(&self) -> impl Iterator<Item = String> {
        self.items.iter().filter_map(|item| match item {
            Item::Fn(item) => Some(plain(&item.sig.ident)),
            _ => None,
        })
    }

    fn modules(&self) -> impl Iterator<Item = String> {
        self.items.iter().filter_map(|item| match item {
            Item::Mod(ItemMod { ident, .. }) => Some(plain(ident)),
            _ => None,
        })
    }
}

/// `stario::main!` lists bootstraps, and defines nothing but `fn main`.
fn is_our_main(path: &syn::Path) -> bool {
    let segments: Vec<_> = path.segments.iter().map(|it| plain(&it.ident)).collect();
    segments == ["stario", "main"]
}

/// A name without the `r#` that makes it an identifier.
fn plain(ident: &syn::Ident) -> String {
    let name = ident.to_string();
    name.strip_prefix("r#").map(str::to_owned).unwrap_or(name)
}

/// Whether `use` brings in this name. `parent` is the segment in front, which `self` stands for.
fn in_use(tree: &UseTree, name: &str, parent: Option<&syn::Ident>) -> bool {
    match tree {
        UseTree::Path(path) => in_use(&path.tree, name, Some(&path.ident)),
        UseTree::Name(item) if item.ident == "self" => parent.is_some_and(|it| plain(it) == name),
        UseTree::Name(item) => plain(&item.ident) == name,
        UseTree::Rename(item) => plain(&item.rename) == name,
        UseTree::Glob(_) => true,
        UseTree::Group(group) => group.items.iter().any(|tree| in_use(tree, name, parent)),
    }
}

/// Whether the arguments of an attribute name it, as those of a macro that defines it may.
fn mentions(attributes: &[Attribute], name: &str) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::List(list) if !list.path.is_ident("doc") => {
            let words = list.tokens.to_string();
            words.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == name)
        }
        _ => false,
    })
}

/// The paths that `#[path = "…"]` gives a module, also within `cfg_attr`.
fn paths(attributes: &[Attribute]) -> Vec<String> {
    attributes.iter().flat_map(|attribute| in_meta(&attribute.meta)).collect()
}

fn in_meta(meta: &Meta) -> Vec<String> {
    match meta {
        Meta::NameValue(pair) if pair.path.is_ident("path") => match &pair.value {
            Expr::Lit(literal) => match &literal.lit {
                Lit::Str(path) => vec![path.value()],
                _ => Vec::new(),
            },
            _ => Vec::new(),
        },
        Meta::List(list) if list.path.is_ident("cfg_attr") => {
            let inner = list.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated);
            inner.map(|inner| inner.iter().flat_map(in_meta).collect()).unwrap_or_default()
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests;
