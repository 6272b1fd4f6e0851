//! Links the dependencies once: those that are not the user's own become one shared object, and what
//! every edit links is the user's objects against it. In a server of a few hundred crates the linker takes
//! a third of the time between a save and the new executable; this leaves an eighth of that.
//!
//! Two sides meet here. The tool calls cargo with [`Once::rustc_args`], which name our own executable as
//! the linker, and reads what came of it ([`Record`]) when cargo is done. And our executable, called by
//! rustc in the linker's place, is the *driver* ([`hidden`], `driver.rs`): it takes rustc's command line
//! apart (`line.rs`), looks into objects for the names that cross the border (`symbols.rs`), makes the
//! shared object where there is none (`library.rs`) and the little of it that the linker looks at
//! (`face.rs`), and calls the real linker. Whatever goes wrong, it
//! does the plain link with the very arguments that rustc gave, and the record says why.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::{Deserialize, Serialize};

use crate::event::{Mentions, Stamp};

#[cfg(target_os = "linux")]
mod driver;
#[cfg(target_os = "linux")]
mod face;
#[cfg(target_os = "linux")]
mod folder;
#[cfg(target_os = "linux")]
mod library;
#[cfg(target_os = "linux")]
mod line;
#[cfg(target_os = "linux")]
mod symbols;

/// In cargo's target folder: the shared objects, what is known of them, and the records.
const FOLDER: &str = "stario-link";
/// Marks a command line of rustc's as one for the driver, and names the record.
const RECORD: &str = "--stario-record=";
/// Names the crates that are the user's own.
const LOCAL: &str = "--stario-local=";

/// How the executable is to be linked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Linking {
    /// Against dependencies that were linked before.
    Once(Once),
    /// As rustc does it.
    Plain {
        /// Why, in words that stand behind «because»: `None` where the user wants it so.
        because: Option<String>,
    },
}

/// What the driver has to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Once {
    /// Where it leaves its [`Record`]. Absolute.
    pub record: PathBuf,
    /// The user's own crates: what changes with each edit.
    pub local: Vec<String>,
}

/// What the driver did for one executable the last time.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Record {
    /// What was linked: the file that cargo gives its final name.
    pub executable: PathBuf,
    /// How.
    pub linked: Linked,
}

/// How an executable was linked.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum Linked {
    /// Against dependencies that were linked before.
    Once(Library),
    /// As rustc does it, for this reason.
    Plainly(String),
}

/// The dependencies as a shared object.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Library {
    /// Absolute.
    pub path: PathBuf,
    /// What it was when it was made: another file is not trusted.
    pub stamp: Stamp,
    /// Which of systemd's variables it has the names of.
    pub mentions: Mentions,
}

impl Library {
    /// Whether it is still there as it was made.
    pub fn is_whole(&self) -> bool {
        crate::build::stamp(&self.path).is_ok_and(|stamp| stamp == self.stamp)
    }
}

impl Once {
    /// For the executable `name` below this target folder.
    pub fn new(target_directory: &Path, name: &str, local: Vec<String>) -> Self {
        Self { record: target_directory.join(FOLDER).join(format!("{name}.json")), local }
    }

    /// What cargo hands to rustc for the final target alone. `driver`: our executable.
    pub fn rustc_args(&self, driver: &Path) -> Vec<OsString> {
        let mut linker = OsString::from("linker=");
        linker.push(driver);
        let mut record = OsString::from(format!("link-arg={RECORD}"));
        record.push(&self.record);
        let local = format!("link-arg={LOCAL}{}", self.local.join(","));
        ["-C".into(), linker, "-C".into(), record, "-C".into(), local.into()].into()
    }

    /// What the driver has left. `None` where it has never been called.
    pub fn record(&self) -> Option<Record> {
        let text = std::fs::read(&self.record).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Has cargo link again where it would find an executable fresh whose shared object is gone.
    ///
    /// # Errors
    ///
    /// The executable cannot be removed.
    pub fn mend(&self) -> io::Result<()> {
        let Some(Record { executable, linked: Linked::Once(library) }) = self.record() else {
            return Ok(());
        };
        if library.is_whole() {
            return Ok(());
        }
        match std::fs::remove_file(executable) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// What rustc is to call: our own executable, as a path that stays the same. `None` when it has been
/// removed or replaced.
pub fn driver() -> Option<PathBuf> {
    std::env::current_exe().ok().filter(|path| path.is_file())
}

/// Links, where rustc calls us in the linker's place. Comes before all else in `main`. `arguments`: without
/// the program's name.
pub fn hidden(arguments: impl Iterator<Item = OsString>) -> Option<ExitCode> {
    #[cfg(target_os = "linux")]
    return driver::called(arguments.collect());
    #[cfg(not(target_os = "linux"))]
    {
        // Nobody calls us there.
        let _ = arguments;
        None
    }
}
