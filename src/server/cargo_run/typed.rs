//! Cargo's `--config KEY=VALUE|PATH`, which `cargo-config2` does not read: `[env]` and runners.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use cargo_config2::de;

use super::invalid;
use crate::error::Failure;

/// A variable of `[env]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Variable {
    /// Its value.
    pub(super) value: OsString,
    /// Whether it counts where the user's environment has it too.
    pub(super) force: bool,
}

/// What was typed, each in place of what stood before.
#[derive(Debug, Default)]
pub(super) struct Typed {
    /// `[env]`.
    pub(super) env: BTreeMap<String, Variable>,
    /// `target.<triple>.runner`, by triple.
    pub(super) runners: BTreeMap<String, Vec<OsString>>,
    /// Whether there is a linker, whatever for.
    pub(super) linker: bool,
    /// All that rustc is told, whatever for.
    pub(super) rustflags: Vec<String>,
}

impl Typed {
    /// Reads them in order: later ones win.
    pub(super) fn read(arguments: &[String], current_dir: &Path) -> Result<Self, Failure> {
        let mut typed = Self::default();
        for argument in arguments {
            typed.add(one(argument, current_dir)?, current_dir);
        }
        Ok(typed)
    }

    fn add(&mut self, config: de::Config, current_dir: &Path) {
        for (name, value) in config.env {
            self.env.insert(name, variable(value, current_dir));
        }
        self.add_flags(config.build.rustflags);
        for (triple, target) in config.target {
            self.linker |= target.linker.is_some();
            self.add_flags(target.rustflags);
            if let Some(runner) = target.runner {
                let program = OsString::from(&runner.path.value().val);
                let arguments = runner.args.iter().map(|word| OsString::from(&word.val));
                self.runners.insert(triple, std::iter::once(program).chain(arguments).collect());
            }
        }
    }
}

impl Typed {
    fn add_flags(&mut self, flags: Option<de::Flags>) {
        self.rustflags.extend(flags.into_iter().flat_map(|it| it.flags).map(|flag| flag.val));
    }
}

/// As cargo tells them apart: what exists is a file.
fn one(argument: &str, current_dir: &Path) -> Result<de::Config, Failure> {
    let path = current_dir.join(argument);
    if !argument.is_empty() && path.exists() {
        return de::Config::load_file(path).map_err(invalid);
    }
    toml::from_str(argument)
        .map_err(|error| Failure::usage(format!("`--config {argument}` is not valid: {error}")))
}

fn variable(value: de::EnvConfigValue, current_dir: &Path) -> Variable {
    match value {
        de::EnvConfigValue::Table { value, force, relative } => Variable {
            value: if relative.is_some_and(|relative| relative.val) {
                folder(&value, current_dir).join(&value.val).into()
            } else {
                value.val.into()
            },
            force: force.is_some_and(|force| force.val),
        },
        de::EnvConfigValue::Value(value) => Variable { value: value.val.into(), force: false },
        // A form that cargo learns some day.
        _ => Variable { value: OsString::new(), force: false },
    }
}

/// What a path is relative to: the folder above the one that holds the file it stands in.
fn folder(value: &de::Value<String>, current_dir: &Path) -> PathBuf {
    match &value.definition {
        Some(de::Definition::Path(path)) => {
            path.parent().and_then(Path::parent).unwrap_or(current_dir).to_owned()
        }
        _ => current_dir.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_ones_win() {
        let arguments =
            ["env.A='one'", "env.A={value='two',force=true}", "target.x.runner=['r','-v']"];
        let typed = Typed::read(&arguments.map(String::from), Path::new("/w")).unwrap();
        assert_eq!(typed.env["A"], Variable { value: "two".into(), force: true });
        assert_eq!(typed.runners["x"], ["r", "-v"]);
    }

    #[test]
    fn what_is_no_toml_is_an_error_that_shows_it() {
        let error = Typed::read(&["nonsense".to_owned()], Path::new("/w")).unwrap_err();
        assert!(error.message.contains("--config nonsense"), "{error}");
    }
}
