//! The profile that the server is built with: one of cargo's or the user's, or our own, `stario`, of
//! which cargo is told on its command line.
//!
//! What is told there would count for more than any manifest, so the user's own words are read first,
//! and what they have settled is left out.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::Path;

use cargo_config2::Walk;
use cargo_metadata::Metadata;
use toml::{Table, Value};

use super::Environment;
use crate::entry::LocalPackage;

/// The profile that is ours, unless the user's workspace has one of that name.
const OWN: &str = "stario";
/// What ours is derived from.
const DEV: &str = "dev";
/// What must be as `dev` has it of itself.
const UNLINKABLE: [&str; 5] = ["lto", "panic", "split-debuginfo", "rpath", "codegen-backend"];
/// Backtraces keep file and line, and nothing else of the debug information is compiled and linked.
const LINES: &str = "\"line-tables-only\"";

/// What cargo is told of the profile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// Its name.
    pub name: String,
    /// For `--config`, `KEY=VALUE`: what defines it. Empty where cargo knows it.
    pub settings: Vec<String>,
    /// Why what is built with it cannot be linked against dependencies that were linked before, behind
    /// «because». `None` where it can.
    pub unlinkable: Option<String>,
}

impl Profile {
    /// The profile of this name. Ours is defined here, as far as the user has not done it.
    pub(super) fn of(
        name: Option<&str>,
        metadata: &Metadata,
        local: &[LocalPackage],
        env: &Environment,
        current_dir: &Path,
    ) -> Self {
        let name = name.unwrap_or(OWN).to_owned();
        if name != OWN {
            let unlinkable = Some(format!("the profile is `{name}`, not ours"));
            return Self { name, settings: Vec::new(), unlinkable };
        }
        let said = Said::read(metadata, env, current_dir);
        let settings = said.settings(&outside(metadata, local));
        Self { name, settings, unlinkable: said.unlinkable() }
    }

    /// For `cargo build` and `cargo rustc`. Stands before what the user has typed, which then counts
    /// for more.
    pub fn args(&self) -> Vec<OsString> {
        let settings = self.settings.iter().flat_map(|it| ["--config".into(), it.into()]);
        settings.chain(["--profile".into(), (&self.name).into()]).collect()
    }
}

/// The user's own packages that do not belong to the workspace: cargo counts them among those of
/// others. As `profile.….package` takes them.
fn outside(metadata: &Metadata, local: &[LocalPackage]) -> Vec<String> {
    let packages = metadata.packages.iter().filter(|package| {
        let root = package.manifest_path.as_std_path().parent();
        local.iter().any(|it| Some(it.root.as_path()) == root)
            && !metadata.workspace_members.contains(&package.id)
    });
    packages.map(|package| format!("{}@{}", package.name, package.version)).collect()
}

/// What the user says of profiles, wherever that is.
#[derive(Debug, Default)]
struct Said {
    /// The manifest's, then those of cargo's configuration.
    tables: Vec<Table>,
    /// Variables of the environment that cargo reads as configuration.
    variables: BTreeSet<String>,
    /// The manifest has a profile of our name.
    whole: bool,
}

impl Said {
    fn read(metadata: &Metadata, env: &Environment, current_dir: &Path) -> Self {
        let manifest = profiles(metadata.workspace_root.join("Cargo.toml").as_std_path());
        let whole = manifest.contains_key(OWN);
        // The user's own folder of cargo is the last of them.
        let configured = Walk::new(current_dir).map(|file| profiles(&file));
        let variables = env.iter().filter_map(|(name, _)| name.to_str());
        Self {
            whole,
            tables: std::iter::once(manifest).chain(configured).collect(),
            variables: variables.map(str::to_owned).collect(),
        }
    }

    /// Whether anybody has set this, in a profile.
    fn sets(&self, profile: &str, key: &[&str]) -> bool {
        let in_table = |table: &Table| {
            let start = table.get(profile);
            let end = key.iter().try_fold(start?, |value, key| value.get(key));
            end.map(drop)
        };
        let variable = format!("CARGO_PROFILE_{profile}_{}", key.join("_"));
        self.tables.iter().any(|table| in_table(table).is_some())
            || self.variables.contains(&variable.replace('-', "_").to_uppercase())
    }

    /// What keeps objects and linker apart, or the panics of a program from unwinding.
    fn unlinkable(&self) -> Option<String> {
        if self.whole {
            return Some(format!("`profile.{OWN}` is the manifest's own"));
        }
        let set = [OWN, DEV].into_iter().find_map(|profile| {
            let key = UNLINKABLE.iter().find(|key| self.sets(profile, &[key]))?;
            Some(format!("`{key}` is set for the profile `{profile}`"))
        });
        // Whatever is in them, what is typed counts for more than all else.
        set.or_else(|| {
            let name = format!("CARGO_PROFILE_{OWN}_INHERITS").to_uppercase();
            let inherits = self.variables.contains(&name) || self.sets(OWN, &["inherits"]);
            inherits.then(|| format!("`profile.{OWN}` does not inherit `{DEV}`"))
        })
    }

    /// What is left to be set, as `KEY=VALUE`.
    fn settings(&self, outside: &[String]) -> Vec<String> {
        if self.whole {
            return Vec::new();
        }
        let mut settings = Vec::new();
        let mut set = |key: &[&str], value: &str| {
            if !self.sets(OWN, key) {
                let key = key.iter().map(|key| quoted(key)).collect::<Vec<_>>().join(".");
                settings.push(format!("profile.{OWN}.{key}={value}"));
            }
        };
        set(&["inherits"], &format!("\"{DEV}\""));
        // Somebody who says how much of it there is in `dev` wants that much.
        if !self.sets(DEV, &["debug"]) {
            set(&["debug"], LINES);
            if !self.sets(DEV, &["package", "*", "debug"]) {
                set(&["package", "*", "debug"], "false");
                for package in outside {
                    set(&["package", package, "debug"], LINES);
                }
            }
        }
        settings
    }
}

/// A key as TOML has it. Names of packages and versions have nothing that would have to be escaped.
fn quoted(key: &str) -> String {
    let bare = |character: char| character.is_ascii_alphanumeric() || "-_".contains(character);
    if key.chars().all(bare) { key.to_owned() } else { format!("\"{key}\"") }
}

/// `[profile]` of a manifest or a file of cargo's configuration. Nothing where it cannot be read: cargo
/// will say what is wrong with it.
fn profiles(file: &Path) -> Table {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let mut table = text.parse::<Table>().unwrap_or_default();
    match table.remove("profile") {
        Some(Value::Table(profiles)) => profiles,
        _ => Table::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [&str; 3] = [
        r#"profile.stario.inherits="dev""#,
        r#"profile.stario.debug="line-tables-only""#,
        r#"profile.stario.package."*".debug=false"#,
    ];

    fn said(tables: &[&str], variables: &[&str]) -> Said {
        let tables = tables.iter().map(|it| it.parse().expect("a table")).collect();
        Said {
            tables,
            variables: variables.iter().map(ToString::to_string).collect(),
            whole: false,
        }
    }

    fn settings(tables: &[&str], variables: &[&str]) -> Vec<String> {
        said(tables, variables).settings(&[])
    }

    #[test]
    fn where_nothing_is_said_all_of_ours_counts() {
        assert_eq!(settings(&[], &[]), ALL);
        assert_eq!(settings(&["[dev]\nopt-level = 1", "[release]\ndebug = 1"], &[]), ALL);
    }

    #[test]
    fn a_profile_of_the_manifest_counts_whole() {
        let said = Said { whole: true, ..said(&["[stario]\ninherits = 'release'"], &[]) };
        assert!(said.settings(&["a@1.0.0".into()]).is_empty());
    }

    #[test]
    fn what_is_said_of_debug_in_dev_is_inherited() {
        let inherits = &ALL[..1];
        assert_eq!(settings(&["[dev]\ndebug = 2"], &[]), inherits);
        assert_eq!(settings(&["", "[dev]\ndebug = 'none'"], &[]), inherits);
        assert_eq!(settings(&[], &["CARGO_PROFILE_DEV_DEBUG"]), inherits);
        assert_eq!(settings(&["[dev.package.'*']\ndebug = true"], &[]), ALL[..2]);
        // Of another package, cargo merges it.
        assert_eq!(settings(&["[dev.package.sqlx]\ndebug = true"], &[]), ALL);
    }

    #[test]
    fn what_the_configuration_says_of_ours_is_left_to_it() {
        assert_eq!(settings(&["", "[stario]\ninherits = 'release'"], &[]), ALL[1..]);
        assert_eq!(settings(&[], &["CARGO_PROFILE_STARIO_DEBUG"]), [ALL[0], ALL[2]]);
        assert_eq!(settings(&[], &["CARGO_PROFILE_STARIO_INHERITS"]), ALL[1..]);
    }

    #[test]
    fn the_users_packages_outside_of_the_workspace_keep_their_lines() {
        let settings = said(&[], &[]).settings(&["a@1.0.0".into()]);
        assert_eq!(settings[..3], ALL);
        assert_eq!(settings[3], r#"profile.stario.package."a@1.0.0".debug="line-tables-only""#);
        let settings = said(&["[dev]\ndebug = 1"], &[]).settings(&["a@1.0.0".into()]);
        assert_eq!(settings.len(), 1);
    }

    #[test]
    fn what_has_to_do_with_linking_must_be_as_dev_has_it_of_itself() {
        let unlinkable = |tables: &[&str], variables: &[&str]| said(tables, variables).unlinkable();
        assert_eq!(unlinkable(&["[dev]\nopt-level = 1\ndebug = 2"], &[]), None);
        let aborts = "`panic` is set for the profile `dev`".to_owned();
        assert_eq!(unlinkable(&["[dev]\npanic = 'abort'"], &[]), Some(aborts.clone()));
        assert_eq!(unlinkable(&[], &["CARGO_PROFILE_DEV_PANIC"]), Some(aborts));
        assert!(unlinkable(&["", "[stario]\nlto = 'thin'"], &[]).is_some());
        assert!(unlinkable(&[], &["CARGO_PROFILE_STARIO_INHERITS"]).is_some());
        assert!(Said { whole: true, ..said(&[], &[]) }.unlinkable().is_some());
    }

    #[test]
    fn cargo_is_told_before_what_was_typed() {
        let profile =
            Profile { name: "stario".into(), settings: vec!["a=1".into()], unlinkable: None };
        assert_eq!(profile.args(), ["--config", "a=1", "--profile", "stario"]);
    }
}
