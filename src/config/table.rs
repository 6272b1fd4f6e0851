//! `[package.metadata.stario]` and `[workspace.metadata.stario]`: the keys and types that are
//! allowed there, and what stands there as the same text that a flag would give.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::error::Failure;
use crate::wording;

/// One of the two tables. Keys and types have been checked; the values have not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// The folder of the manifest, which paths and globs in the table are relative to. Absolute.
    pub base: PathBuf,
    /// The manifest, as the user would write its path.
    file: String,
    /// `package.metadata.stario` or `workspace.metadata.stario`.
    name: &'static str,
    values: BTreeMap<&'static str, Vec<String>>,
}

/// What a key may hold.
#[derive(Clone, Copy)]
enum Type {
    Text,
    Integer,
    Number,
    Switch,
    SwitchOrInteger,
    List,
}

const KEYS: [(&str, Type); 17] = [
    ("entry", Type::Text),
    ("host", Type::Text),
    ("port", Type::Integer),
    ("unix-socket", Type::Text),
    ("tracer", Type::Text),
    ("listen", Type::Text),
    ("profile", Type::Text),
    ("link", Type::Text),
    ("grace", Type::Number),
    ("events", Type::Text),
    ("swap", Type::Text),
    ("ready-timeout", Type::Number),
    ("watch", Type::List),
    ("watch-ignore", Type::List),
    ("no-gitignore", Type::Switch),
    ("debounce", Type::Integer),
    ("poll", Type::SwitchOrInteger),
];

impl Table {
    /// The table in a package's manifest, where it has one.
    ///
    /// # Errors
    ///
    /// An unknown key or a wrong type, with file, key and the nearest key.
    pub fn of_package(
        package: &cargo_metadata::Package,
        current_dir: &Path,
    ) -> Result<Option<Self>, Failure> {
        let manifest = package.manifest_path.as_std_path();
        Self::read(&package.metadata, "package.metadata.stario", manifest, current_dir)
    }

    /// The table in the workspace's manifest, where it has one.
    ///
    /// # Errors
    ///
    /// As [`Table::of_package`].
    pub fn of_workspace(
        metadata: &cargo_metadata::Metadata,
        current_dir: &Path,
    ) -> Result<Option<Self>, Failure> {
        let manifest = metadata.workspace_root.join("Cargo.toml");
        let name = "workspace.metadata.stario";
        Self::read(&metadata.workspace_metadata, name, manifest.as_std_path(), current_dir)
    }

    fn read(
        metadata: &Value,
        name: &'static str,
        manifest: &Path,
        current_dir: &Path,
    ) -> Result<Option<Self>, Failure> {
        let Some(value) = metadata.get("stario") else { return Ok(None) };
        let file = wording::relative(manifest, current_dir);
        let base = manifest.parent().unwrap_or(manifest).to_owned();
        let mut table = Self { base, file, name, values: BTreeMap::new() };
        let Value::Object(entries) = value else {
            return Err(Failure::usage(format!(
                "`{name}` in {} must be a table, not {}",
                table.file,
                described(value)
            )));
        };
        for (key, value) in entries {
            let (key, r#type) = table.known(key)?;
            let values = r#type.read(value).ok_or_else(|| {
                let place = table.place(key);
                let (expected, found) = (r#type.described(), described(value));
                Failure::usage(format!("{place} must be {expected}, not {found}"))
            })?;
            table.values.insert(key, values);
        }
        Ok(Some(table))
    }

    fn known(&self, key: &str) -> Result<(&'static str, Type), Failure> {
        let found = KEYS.into_iter().find(|(known, _)| *known == key);
        found.ok_or_else(|| {
            let failure =
                Failure::usage(format!("unknown key `{}.{key}` in {}", self.name, self.file));
            let keys = KEYS.map(|(key, _)| key);
            match wording::nearest(&key.replace('_', "-"), keys) {
                Some(near) => failure.help(format!("a key with a similar name exists: `{near}`")),
                None => failure.help(format!("the keys are {}", wording::list(keys))),
            }
        })
    }

    /// What stands under a key; nothing for an empty list.
    pub(super) fn get(&self, key: &str) -> Option<&[String]> {
        self.values.get(key).map(Vec::as_slice).filter(|values| !values.is_empty())
    }

    /// The `entry` that is named here.
    pub fn entry(&self) -> Option<&str> {
        self.get("entry")?.first().map(String::as_str)
    }

    /// A key and its file for messages: `` `package.metadata.stario.port` in Cargo.toml ``.
    pub fn place(&self, key: &str) -> String {
        format!("`{}.{key}` in {}", self.name, self.file)
    }
}

impl Type {
    /// The value as texts, where it is of this type.
    fn read(self, value: &Value) -> Option<Vec<String>> {
        match (self, value) {
            (Self::Text | Self::List, Value::String(text)) => Some(vec![text.clone()]),
            (Self::List, Value::Array(items)) => {
                items.iter().map(|item| item.as_str().map(str::to_owned)).collect()
            }
            (Self::Integer | Self::SwitchOrInteger, Value::Number(number)) if !number.is_f64() => {
                Some(vec![number.to_string()])
            }
            (Self::Number, Value::Number(number)) => Some(vec![number.to_string()]),
            (Self::Switch | Self::SwitchOrInteger, Value::Bool(switch)) => {
                Some(vec![switch.to_string()])
            }
            _ => None,
        }
    }

    fn described(self) -> &'static str {
        match self {
            Self::Text => "a string",
            Self::Integer => "an integer",
            Self::Number => "a number",
            Self::Switch => "`true` or `false`",
            Self::SwitchOrInteger => "`true`, `false` or an integer",
            Self::List => "a string or a list of strings",
        }
    }
}

/// A value of the wrong type, in TOML's terms.
fn described(value: &Value) -> String {
    match value {
        // What cargo's JSON has for both.
        Value::Null => "`nan` or `inf`".into(),
        Value::Bool(switch) => format!("`{switch}`"),
        Value::Number(number) if number.is_f64() => format!("the number {number}"),
        Value::Number(number) => format!("the integer {number}"),
        Value::String(text) => format!("the string {text:?}"),
        Value::Array(items) => match items.iter().find(|item| !item.is_string()) {
            Some(item) => format!("a list with {}", described(item)),
            None => "a list".into(),
        },
        Value::Object(_) => "a table".into(),
    }
}
