//! Reports go out: to people on stderr ([`Terminal`]), and to scripts as JSON lines ([`Json`]).
//! Never sees the supervisor's state.

mod json;
mod lines;
mod signal;
mod terminal;

pub use self::json::Json;
pub use self::terminal::{Terminal, Verbosity};

use crate::event::Report;

/// Everybody who listens.
#[derive(Debug)]
pub struct Reporter<'a> {
    /// People.
    pub terminal: &'a mut Terminal,
    /// Scripts, when `--events` was given.
    pub json: Option<Json>,
}

impl Reporter<'_> {
    /// Says it to everybody. That somebody has stopped listening (a closed pipe) is no reason to
    /// stop working.
    pub fn report(&mut self, report: &Report) {
        self.terminal.report(report);
        self.report_to_scripts(report);
    }

    /// Says it to scripts alone: people see it otherwise.
    pub fn report_to_scripts(&mut self, report: &Report) {
        if let Some(json) = &self.json {
            json.report(report);
        }
    }

    /// Waits, not for long, until scripts have been told everything.
    pub fn flush(&self) {
        self.json.iter().for_each(Json::flush);
    }
}
