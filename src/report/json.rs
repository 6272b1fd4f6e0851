//! `--events`: one JSON object a line. The README documents it as a stable interface: fields are
//! added, never renamed.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};

use super::lines::Lines;
use super::signal;
use crate::error::Failure;
use crate::event::{
    Diagnostic, Endpoint, Exit, Generation, Handover, Level, Notice, Report, WayOut,
};

/// Writes reports as JSON lines. Its drop waits a moment for a slow reader to read the last ones.
#[derive(Debug)]
pub struct Json {
    out: Lines,
}

impl Json {
    /// Writes to `out`, a whole line at a time and from a thread of its own.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn new(out: impl Write + Send + 'static) -> io::Result<Self> {
        Self::opened_by(|| Ok(out))
    }

    /// Writes to what is opened in that thread, since to open it may block. Where that fails,
    /// nobody reads.
    ///
    /// # Errors
    /// As [`Json::new`].
    pub fn opened_by<W: Write>(
        open: impl FnOnce() -> io::Result<W> + Send + 'static,
    ) -> io::Result<Self> {
        Ok(Self { out: Lines::start(open)? })
    }

    /// Waits until every report is written, about a second at most: before the tool becomes
    /// another program.
    pub fn flush(&self) {
        self.out.flush();
    }

    /// Writes the report, without ever blocking. Nobody reading is not an error.
    pub fn report(&self, report: &Report) {
        let Some((event, mut fields)) = event(report) else { return };
        let mut line = Map::new();
        line.insert("event".into(), event.into());
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        line.insert("time".into(), milliseconds(now));
        if let Value::Object(fields) = &mut fields {
            line.append(fields);
        }
        let mut text = Value::Object(line).to_string();
        text.push('\n');
        self.out.write(text);
    }
}

/// The event's name and its fields.
#[expect(
    clippy::too_many_lines,
    reason = "a table, and the compiler sees that no report is left out"
)]
fn event(report: &Report) -> Option<(&'static str, Value)> {
    Some(match report {
        Report::Watching { roots, folders, files, polling } => (
            "watching",
            json!({
                "roots": paths(roots),
                "folders": folders,
                "files": files,
                "polling": polling.map(milliseconds),
            }),
        ),
        Report::Changed { paths: changed } => ("changed", json!({ "paths": paths(changed) })),
        Report::BuildStarted { generation } => {
            ("build-started", json!({ "generation": generation.0 }))
        }
        Report::BuildSpawned { generation, pid } => {
            ("build-spawned", json!({ "generation": generation.0, "pid": pid }))
        }
        Report::Resolved { generation } => ("resolved", json!({ "generation": generation.0 })),
        Report::Diagnostic { generation, diagnostic } => {
            ("diagnostic", diagnostic_fields(*generation, diagnostic))
        }
        Report::BuildSucceeded { generation, elapsed, fresh } => (
            "build-succeeded",
            json!({
                "generation": generation.0,
                "elapsed": milliseconds(*elapsed),
                "fresh": fresh,
            }),
        ),
        Report::BuildFailed { generation, elapsed, exit, message, help, serving } => (
            "build-failed",
            json!({
                "generation": generation.0,
                "elapsed": milliseconds(*elapsed),
                "code": exit.and_then(code),
                "signal": exit.and_then(signal_number),
                "message": message,
                "help": help,
                "serving": serving.map(|generation| generation.0),
            }),
        ),
        Report::BuildCancelled { generation, elapsed } => (
            "build-cancelled",
            json!({ "generation": generation.0, "elapsed": milliseconds(*elapsed) }),
        ),
        Report::BuildKept { generation, cancelled } => {
            ("build-kept", json!({ "generation": generation.0, "cancelled": cancelled }))
        }
        Report::Unchanged { generation, serving } => {
            ("unchanged", json!({ "generation": generation.0, "serving": serving.0 }))
        }
        Report::ServerStarting { generation, executable } => (
            "server-starting",
            json!({ "generation": generation.0, "executable": path(executable) }),
        ),
        Report::ServerSpawned { generation, pid, handover, beside, .. } => {
            let handover = match handover {
                Handover::Direct => "direct",
                Handover::Inherit => "inherit",
                Handover::Adopt => "adopt",
            };
            (
                "server-spawned",
                json!({
                    "generation": generation.0,
                    "pid": pid,
                    "listen": handover,
                    "beside": beside.map(|generation| generation.0),
                }),
            )
        }
        Report::ServerNotAdopted { generation, why } => (
            "server-not-adopted",
            json!({
                "generation": generation.0,
                "reason": why.code(),
                "text": why.to_string(),
            }),
        ),
        Report::ServerRetired { generation, to } => {
            ("server-retired", json!({ "generation": generation.0, "to": to.0 }))
        }
        Report::ServerResumed { generation, after } => {
            ("server-resumed", json!({ "generation": generation.0, "from": after.0 }))
        }
        Report::ServerReady { generation, after } => {
            ("server-ready", json!({ "generation": generation.0, "after": milliseconds(*after) }))
        }
        Report::ServerStatus { generation, status, .. } => {
            ("server-status", json!({ "generation": generation.0, "status": status }))
        }
        Report::ServerLeaving { generation } => {
            ("server-leaving", json!({ "generation": generation.0 }))
        }
        Report::ServerSlowToStart { generation, after, serving } => {
            ("server-slow-to-start", waiting_fields(*generation, *after, *serving))
        }
        Report::ServerNotReady { generation, after, serving, .. } => {
            ("server-not-ready", waiting_fields(*generation, *after, *serving))
        }
        Report::ServerConflict { generation, serving, holds, way_out } => (
            "server-conflict",
            json!({
                "generation": generation.0,
                "serving": serving.0,
                "holds": holds.iter().map(ToString::to_string).collect::<Vec<_>>(),
                "retry": *way_out == WayOut::StartedAgain,
            }),
        ),
        Report::ServerListening { generation, endpoints, after } => (
            "server-listening",
            json!({
                "generation": generation.0,
                "addresses": addresses(endpoints),
                "after": milliseconds(*after),
            }),
        ),
        Report::ServerElsewhere { generation, expected, endpoints } => (
            "server-elsewhere",
            json!({
                "generation": generation.0,
                "expected": expected,
                "addresses": addresses(endpoints),
            }),
        ),
        Report::ServerSilent { generation, after } => {
            ("server-silent", json!({ "generation": generation.0, "after": milliseconds(*after) }))
        }
        Report::ListenerGivenUp { generation } => {
            ("listener-given-up", json!({ "generation": generation.0 }))
        }
        Report::ServerStopping { generation, pid } => {
            ("server-stopping", json!({ "generation": generation.0, "pid": pid }))
        }
        Report::ServerSlowToStop { generation, pid, endpoints, kill_in, .. } => (
            "server-slow-to-stop",
            json!({
                "generation": generation.0,
                "pid": pid,
                "addresses": addresses(endpoints),
                "kill_in": milliseconds(*kill_in),
            }),
        ),
        Report::ServerKilled { generation, pid, grace } => (
            "server-killed",
            json!({ "generation": generation.0, "pid": pid, "grace": milliseconds(*grace) }),
        ),
        Report::ServerRestored { generation, failed } => {
            ("server-restored", json!({ "generation": generation.0, "failed": failed.0 }))
        }
        Report::ServerExited { generation, exit, asked, waiting, serving } => (
            "server-exited",
            json!({
                "generation": generation.0,
                "code": code(*exit),
                "signal": signal_number(*exit),
                "asked": asked,
                "waiting": waiting,
                "serving": serving.map(|generation| generation.0),
            }),
        ),
        Report::ServerFailed { generation, message } => {
            ("server-failed", json!({ "generation": generation.0, "message": message }))
        }
        Report::LoopEnded { paths: written } => ("loop-ended", json!({ "paths": paths(written) })),
        Report::Notice(Notice { level, code, text, help }) => {
            let level = match level {
                Level::Verbose => "verbose",
                Level::Note => "note",
                Level::Warning => "warning",
            };
            ("notice", json!({ "level": level, "code": code, "text": text, "help": help }))
        }
        Report::Keys => return None,
        Report::Stopping { signal } => ("stopping", json!({ "signal": signal.map(signal::name) })),
        Report::Failed(Failure { message, help, .. }) => {
            ("error", json!({ "message": message, "help": help }))
        }
        Report::Exit { code } => ("exit", json!({ "code": code })),
    })
}

fn waiting_fields(generation: Generation, after: Duration, serving: Option<Generation>) -> Value {
    json!({
        "generation": generation.0,
        "after": milliseconds(after),
        "serving": serving.map(|generation| generation.0),
    })
}

fn diagnostic_fields(generation: Generation, diagnostic: &Diagnostic) -> Value {
    let place = diagnostic.place.as_ref();
    json!({
        "generation": generation.0,
        "level": diagnostic.level,
        "message": diagnostic.message,
        "rendered": console::strip_ansi_codes(&diagnostic.rendered),
        "path": place.map(|(path, _, _)| path),
        "line": place.map(|(_, line, _)| line),
        "column": place.map(|(_, _, column)| column),
    })
}

/// Milliseconds with three decimals.
fn milliseconds(duration: Duration) -> Value {
    // Microseconds since 1970 stay exact in a double for centuries.
    #[expect(clippy::cast_precision_loss)]
    let value = duration.as_micros() as f64 / 1000.0;
    value.into()
}

/// JSON has no bytes: what is not UTF-8 in a path becomes U+FFFD.
fn path(path: &Path) -> Value {
    path.to_string_lossy().into()
}

fn paths(paths: &[PathBuf]) -> Vec<Value> {
    paths.iter().map(|each| path(each)).collect()
}

fn addresses(endpoints: &[Endpoint]) -> Vec<String> {
    endpoints.iter().map(ToString::to_string).collect()
}

fn code(exit: Exit) -> Option<i32> {
    match exit {
        Exit::Code(code) => Some(code),
        Exit::Signal(_) => None,
    }
}

fn signal_number(exit: Exit) -> Option<i32> {
    match exit {
        Exit::Code(_) => None,
        Exit::Signal(number) => Some(number),
    }
}
