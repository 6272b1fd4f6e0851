//! An error that the user can mend: what is wrong and where, the next step, and the exit code.
//!
//! Every room that reads what the user gave makes these; `run` prints them in cargo's style.

use std::fmt;

/// Exit code for usage and configuration.
pub const USAGE: u8 = 2;
/// Exit code of a failed build, as cargo's.
pub const BUILD_FAILED: u8 = 101;

/// An expected error. Its message names the place and the value, its help the next step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What is wrong, without `error:` in front and without a full stop. May have several lines.
    pub message: String,
    /// Next steps, each printed behind `help:`.
    pub help: Vec<String>,
    /// The tool's exit code.
    pub code: u8,
}

impl Failure {
    /// A mistake in what was typed or configured: exit 2.
    pub fn usage(message: impl Into<String>) -> Self {
        Self { message: message.into(), help: Vec::new(), code: USAGE }
    }

    /// The same with one more next step.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help.push(help.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}
