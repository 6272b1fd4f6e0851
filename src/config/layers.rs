//! The places that a setting can come from, strongest first, and what was found in one of them.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::Path;

use super::table::Table;
use crate::error::Failure;

/// The places, but for what was typed.
#[derive(Clone, Copy)]
pub struct Layers<'a> {
    /// The user's environment.
    pub env: &'a dyn Fn(&str) -> Option<OsString>,
    /// `[package.metadata.stario]` of the entry's package.
    pub package: Option<&'a Table>,
    /// `[workspace.metadata.stario]`.
    pub workspace: Option<&'a Table>,
    /// The folder that the user is in. Absolute.
    pub current_dir: &'a Path,
}

/// A value, and where it was found.
#[derive(Clone, Debug)]
pub(super) struct Found<'a> {
    pub(super) value: OsString,
    /// The folder that a path or a glob is relative to.
    pub(super) base: &'a Path,
    origin: Origin<'a>,
}

#[derive(Clone, Debug)]
enum Origin<'a> {
    Flag(&'static str),
    Variable(String),
    Metadata(&'a Table, &'static str),
}

impl fmt::Display for Origin<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(option) => write!(f, "`--{option}`"),
            Self::Variable(name) => write!(f, "`{name}`"),
            Self::Metadata(table, key) => f.write_str(&table.place(key)),
        }
    }
}

impl<'a> Layers<'a> {
    /// The strongest value of an option that takes one.
    pub(super) fn one(&self, option: &'static str, typed: Option<&OsStr>) -> Option<Found<'a>> {
        self.typed(option, typed)
            .or_else(|| {
                let name = variable(option);
                self.variable(&name).map(|value| self.found_in_variable(name, value))
            })
            .or_else(|| {
                let mut tables = self.in_tables(option);
                tables.find_map(|found| found.into_iter().next())
            })
    }

    /// The values of an option that takes several, one list for each place that has any.
    pub(super) fn all(&self, option: &'static str, typed: &[OsString]) -> Vec<Vec<Found<'a>>> {
        let typed = typed.iter().filter_map(|value| self.typed(option, Some(value))).collect();
        let name = variable(option);
        let in_variable = self.variable(&name).map_or_else(Vec::new, |value| {
            std::env::split_paths(&value)
                .filter(|item| !item.as_os_str().is_empty())
                .map(|item| self.found_in_variable(name.clone(), item.into_os_string()))
                .collect()
        });
        let all = [typed, in_variable].into_iter().chain(self.in_tables(option));
        all.filter(|found: &Vec<_>| !found.is_empty()).collect()
    }

    /// `PORT`, which hosting services and other runners set.
    pub(super) fn port(&self) -> Option<Found<'a>> {
        self.variable("PORT").map(|value| self.found_in_variable("PORT".into(), value))
    }

    fn typed(&self, option: &'static str, value: Option<&OsStr>) -> Option<Found<'a>> {
        let (base, origin) = (self.current_dir, Origin::Flag(option));
        value.map(|value| Found { value: value.to_owned(), base, origin })
    }

    /// A variable that is set to nothing counts as not set.
    fn variable(&self, name: &str) -> Option<OsString> {
        (self.env)(name).filter(|value| !value.is_empty())
    }

    fn found_in_variable(&self, name: String, value: OsString) -> Found<'a> {
        Found { value, base: self.current_dir, origin: Origin::Variable(name) }
    }

    fn in_tables(&self, key: &'static str) -> impl Iterator<Item = Vec<Found<'a>>> + use<'a> {
        [self.package, self.workspace].into_iter().flatten().map(move |table| {
            let values = table.get(key).unwrap_or_default();
            let found = values.iter().map(|value| Found {
                value: value.into(),
                base: &table.base,
                origin: Origin::Metadata(table, key),
            });
            found.collect()
        })
    }
}

/// `unix-socket` is `STARIO_UNIX_SOCKET` in the environment.
fn variable(option: &str) -> String {
    format!("STARIO_{}", option.replace('-', "_").to_uppercase())
}

impl Found<'_> {
    /// Reads the value as text; the reader says why it cannot.
    pub(super) fn text<T>(
        &self,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<T, Failure> {
        let text = self.value.to_str().ok_or_else(|| self.failure("it is not valid UTF-8"))?;
        read(text).map_err(|reason| self.failure(&reason))
    }

    /// The value is not what its option takes.
    pub(super) fn failure(&self, reason: &str) -> Failure {
        let value = self.value.to_string_lossy();
        Failure::usage(format!("invalid value `{value}` for {}: {reason}", self.origin))
    }
}
