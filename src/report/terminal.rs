//! Reports for people, in cargo's style: a status word in twelve columns and a sentence.

use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use console::Style;

use super::signal;
use crate::error::Failure;
use crate::event::{
    Diagnostic, Endpoint, Exit, Handover, Level, Notice, Report, Signal, Unoffered,
};
use crate::wording;

mod servers;

/// How much is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verbosity {
    /// `-q`: errors and warnings.
    Quiet,
    /// What happens.
    #[default]
    Normal,
    /// `-v`: and how.
    Verbose,
}

/// How many changed files are named before the rest is counted.
const NAMED: usize = 3;

/// Writes reports as lines of text.
pub struct Terminal {
    out: Box<dyn Write + Send>,
    colour: bool,
    verbosity: Verbosity,
    /// Paths below it are shown without it.
    current_dir: PathBuf,
    /// It can move back to the start of a line, where cargo draws its progress.
    interactive: bool,
    phase: Phase,
    /// What can be done where two servers cannot live side by side was said. Once is enough: as a
    /// rule it is a mistake of another kind that ends the new one.
    told_of_rivals: bool,
}

/// What the reports so far tell of the present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nothing that would change how things are said.
    Idle,
    /// Cargo runs, and may have drawn something on the present line.
    Building,
    /// Everything is being stopped.
    Ending,
}

impl fmt::Debug for Terminal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Terminal").field("verbosity", &self.verbosity).finish_non_exhaustive()
    }
}

/// Colours of the status word, as cargo uses them.
#[derive(Clone, Copy)]
enum Tone {
    Good,
    Note,
    Warn,
    Bad,
}

impl Terminal {
    /// Writes to `out`; `colour` says whether with ANSI colours, `interactive` whether it is a
    /// terminal.
    pub fn new(
        out: impl Write + Send + 'static,
        colour: bool,
        interactive: bool,
        verbosity: Verbosity,
        current_dir: PathBuf,
    ) -> Self {
        let out = Box::new(out);
        Self {
            out,
            colour,
            interactive,
            verbosity,
            current_dir,
            phase: Phase::Idle,
            told_of_rivals: false,
        }
    }

    /// Prints an error that ends the tool, with its next steps.
    pub fn failure(&mut self, failure: &Failure) {
        self.error(&failure.message, &failure.help);
    }

    /// Prints the report, if it is for people at this verbosity.
    pub fn report(&mut self, report: &Report) {
        match report {
            Report::BuildSpawned { .. } => self.phase = Phase::Building,
            Report::BuildSucceeded { .. } | Report::BuildFailed { .. } => self.phase = Phase::Idle,
            Report::BuildCancelled { .. } => {
                // Cargo was killed and could not clear what it had drawn.
                self.clear_line();
                if self.phase == Phase::Building {
                    self.phase = Phase::Idle;
                }
            }
            Report::Stopping { signal } => {
                if *signal == Some(Signal::Interrupt) || self.phase == Phase::Building {
                    // Over the `^C` that the terminal has shown.
                    self.clear_line();
                }
                self.phase = Phase::Ending;
            }
            _ => {}
        }
        self.say(report);
    }

    #[expect(
        clippy::too_many_lines,
        reason = "a table, and the compiler sees that no report is left out"
    )]
    fn say(&mut self, report: &Report) {
        match report {
            Report::Watching { roots, folders, files, polling } => {
                self.watching(roots, *folders, *files, *polling);
            }
            Report::Changed { paths } => self.changed(paths),
            Report::BuildStarted { generation } => {
                self.verbose("Starting", &format!("build {generation}"));
            }
            Report::BuildSucceeded { generation, elapsed, fresh } => {
                let how = if *fresh { ", nothing to do" } else { "" };
                self.verbose("Built", &format!("generation {generation} in {elapsed:.2?}{how}"));
            }
            Report::ServerStopping { generation, pid } => {
                self.verbose("Stopping", &format!("generation {generation}{}", pid_of(*pid)));
            }
            Report::BuildSpawned { generation, pid } => {
                self.verbose("Building", &format!("generation {generation} (cargo is pid {pid})"));
            }
            Report::Resolved { .. } => {
                self.status(Tone::Good, "Resolved", "the changed manifests are in force");
            }
            Report::Diagnostic { diagnostic, .. } => self.diagnostic(diagnostic),
            Report::BuildFailed { message, help, serving, exit, .. } => {
                self.build_failed(*exit, message.as_deref(), help, serving.is_some());
            }
            Report::BuildCancelled { .. } => {
                self.verbose("Cancelled", "the build, for a newer change");
            }
            Report::BuildKept { cancelled, .. } => self.status(
                Tone::Note,
                "Finishing",
                &format!("this build, {cancelled} having been cancelled in a row; then once more"),
            ),
            Report::Unchanged { .. } => {
                self.status(Tone::Good, "Unchanged", "the executable is the same, so it goes on");
            }
            Report::ServerStarting { executable, .. } => {
                let text = format!("`{}`", self.relative(executable).display());
                self.status(Tone::Good, "Running", &text);
            }
            Report::ServerSpawned { generation, pid, handover, beside, unoffered } => {
                let how = match (handover, beside) {
                    (Handover::Direct, _) => "binds for itself",
                    (Handover::Adopt, None) => "binds for itself, and shares it with the next one",
                    (Handover::Adopt, Some(_)) => "shares what it binds with the old one",
                    (Handover::Inherit, None) => "is offered our socket",
                    (Handover::Inherit, Some(_)) => "is offered our socket, beside the old one",
                };
                let why = match unoffered {
                    None => "",
                    Some(Unoffered::Unable) => " (nothing in it takes an inherited socket)",
                    Some(Unoffered::Untaken) => " (ours was not taken, or could not be bound)",
                };
                let text = format!("generation {generation}, pid {pid}, {how}{why}");
                self.verbose("Started", &text);
            }
            Report::ServerListening { endpoints, .. } => {
                self.status(Tone::Good, "Serving", &list(endpoints));
            }
            Report::ServerElsewhere { expected, endpoints, .. } => self.warn(
                &format!("port {expected} was asked for, but the server listens on {}", list(endpoints)),
                Some("the server has to read the PORT (or STARIO_PORT) that it is given in its environment"),
            ),
            Report::ServerSilent { after, .. } => self.status(
                Tone::Note,
                "Waiting",
                &format!("the server listens on no TCP port after {} s; it is left alone", after.as_secs()),
            ),
            Report::ListenerGivenUp { .. } => self.verbose(
                "Direct",
                "the server does not take the socket that it was offered; it binds for itself",
            ),
            Report::ServerNotAdopted { why, .. } => self.status(
                Tone::Note,
                "Direct",
                &format!("the server binds for itself, and the old one is stopped first: {why}"),
            ),
            Report::ServerRetired { generation, to } => self.verbose(
                "Retired",
                &format!("generation {generation} leaves new connections to generation {to}"),
            ),
            Report::ServerResumed { generation, after } => self.verbose(
                "Resumed",
                &format!("generation {generation} has new connections back from generation {after}"),
            ),
            Report::ServerReady { generation, after } => {
                self.verbose("Ready", &format!("generation {generation} after {after:.2?}"));
            }
            Report::ServerStatus { status, starting, .. } => self.server_status(status, *starting),
            Report::ServerLeaving { .. } => {
                self.status(Tone::Note, "Leaving", "the server says that it is stopping by itself");
            }
            Report::ServerSlowToStart { serving, .. } => self.status(
                Tone::Note,
                "Waiting",
                match serving {
                    Some(_) => "for the new server to be ready; the old one answers meanwhile",
                    None => "for the server to be ready",
                },
            ),
            Report::ServerNotReady { after, serving: Some(_), word: false, .. } => {
                self.not_listening(*after);
            }
            Report::ServerNotReady { after, serving, endpoints, .. } => {
                self.not_ready(*after, serving.is_some(), endpoints);
            }
            Report::ServerRestored { .. } => self.status(
                Tone::Note,
                "Restored",
                "the last good server: the new one has failed",
            ),
            Report::ServerConflict { holds, way_out, .. } => self.conflict(holds, *way_out),
            Report::ServerSlowToStop { pid, endpoints, kill_in, awaited: true, .. } => {
                self.slow_to_stop(*pid, endpoints, *kill_in);
            }
            Report::ServerSlowToStop { pid, kill_in, awaited: false, .. } => self.status(
                Tone::Note,
                "Draining",
                &format!(
                    "the old server{} finishes what it has begun; killed in {:.0} s",
                    pid_of(*pid),
                    kill_in.as_secs_f64()
                ),
            ),
            Report::ServerKilled { pid, grace, .. } => self.warn(
                &format!("the server{} did not stop within {} s and was killed", pid_of(*pid), grace.as_secs_f64()),
                Some("--grace SECONDS gives it longer"),
            ),
            Report::ServerExited { exit, serving: Some(_), waiting, .. } => {
                self.failed_to_start(*exit, *waiting);
            }
            Report::ServerExited { exit, asked, waiting, serving: None, .. } => {
                self.exited(*exit, *asked, *waiting);
            }
            Report::ServerFailed { message, .. } => self.error(message, &[]),
            Report::LoopEnded { paths } => self.loop_ended(paths),
            Report::Notice(notice) => self.notice(notice),
            Report::Keys => self.status(
                Tone::Good,
                "Keys",
                "r + Enter: build and restart; q + Enter: quit; h + Enter: this help",
            ),
            Report::Stopping { signal } => {
                let text = signal.map_or("as you asked".into(), |it| format!("on {}", signal::spoken(it)));
                self.status(Tone::Good, "Stopping", &text);
            }
            Report::Failed(failure) => self.failure(failure),
            Report::Exit { .. } => {}
        }
    }

    fn watching(
        &mut self,
        roots: &[PathBuf],
        folders: usize,
        files: usize,
        polling: Option<Duration>,
    ) {
        let how = match polling {
            Some(interval) => format!(" (looking every {} ms)", interval.as_millis()),
            None if self.verbosity >= Verbosity::Verbose => {
                format!(" ({folders} folders, {files} files)")
            }
            None => String::new(),
        };
        let text = self.name(roots) + &how;
        self.status(Tone::Good, "Watching", &text);
    }

    fn changed(&mut self, paths: &[PathBuf]) {
        let text = self.name(paths);
        self.status(Tone::Good, "Changed", &text);
    }

    fn diagnostic(&mut self, diagnostic: &Diagnostic) {
        if self.colour {
            self.raw(&diagnostic.rendered);
        } else {
            self.raw(&console::strip_ansi_codes(&diagnostic.rendered));
        }
    }

    fn build_failed(
        &mut self,
        exit: Option<Exit>,
        message: Option<&str>,
        help: &[String],
        serving: bool,
    ) {
        if let Some(message) = message {
            self.error(message, help);
        }
        if let Some(Exit::Signal(_)) = exit {
            let how = exit.map(wording::exit).unwrap_or_default();
            self.error(&format!("cargo was ended by {how}"), &[]);
        }
        let rest = if serving {
            "the build; the last good server goes on"
        } else {
            "the build; waiting for a change"
        };
        self.status(Tone::Bad, "Failed", rest);
    }

    fn loop_ended(&mut self, paths: &[PathBuf]) {
        let names: Vec<_> =
            paths.iter().map(|path| self.relative(path).display().to_string()).collect();
        let options: Vec<_> = names.iter().map(|n| format!("--watch-ignore '{n}'")).collect();
        self.warn(
            &format!(
                "{} {} written by each build or server start itself, which started the next one; \
                 such writes, right after a build or a start, no longer count",
                names.join(", "),
                if names.len() == 1 { "is" } else { "are" },
            ),
            Some(&format!(
                "{} says so for good (or the same in `package.metadata.stario.watch-ignore`); if \
                 it was you who saved, r and Enter",
                options.join(" "),
            )),
        );
    }

    fn notice(&mut self, notice: &Notice) {
        match notice.level {
            Level::Warning => self.warn(&notice.text, notice.help.as_deref()),
            Level::Note => {
                self.status(Tone::Note, "Note", &notice.text);
                if let Some(help) = &notice.help {
                    self.help(help);
                }
            }
            Level::Verbose => self.verbose("Note", &notice.text),
        }
    }

    // ---- lines ----

    fn status(&mut self, tone: Tone, word: &str, text: &str) {
        if self.verbosity >= Verbosity::Normal {
            self.always(tone, word, text);
        }
    }

    fn verbose(&mut self, word: &str, text: &str) {
        if self.verbosity >= Verbosity::Verbose {
            self.always(Tone::Good, word, text);
        }
    }

    fn always(&mut self, tone: Tone, word: &str, text: &str) {
        let word = self.style(tone).apply_to(format!("{word:>12}"));
        self.raw(&format!("{word} {text}\n"));
    }

    fn error(&mut self, message: &str, help: &[String]) {
        self.labelled(Tone::Bad, "error", message);
        for help in help {
            self.help(help);
        }
    }

    fn warn(&mut self, message: &str, help: Option<&str>) {
        self.labelled(Tone::Warn, "warning", message);
        if let Some(help) = help {
            self.help(help);
        }
    }

    fn help(&mut self, help: &str) {
        self.labelled(Tone::Note, "  help", help);
    }

    /// `label: text`, as cargo and the compiler print it; further lines are indented.
    fn labelled(&mut self, tone: Tone, label: &str, text: &str) {
        let label = self.style(tone).apply_to(label);
        let lines = text.trim_end().replace('\n', "\n  ").replace("\n  \n", "\n\n");
        self.raw(&format!("{label}: {lines}\n"));
    }

    fn style(&self, tone: Tone) -> Style {
        let style = match tone {
            Tone::Good => Style::new().green().bright(),
            Tone::Note => Style::new().cyan().bright(),
            Tone::Warn => Style::new().yellow(),
            Tone::Bad => Style::new().red().bright(),
        };
        style.bold().force_styling(self.colour)
    }

    /// Writes at once, in one piece: the server and cargo write to the same place.
    fn raw(&mut self, text: &str) {
        let clear = if self.phase == Phase::Building { self.clearing() } else { "" };
        self.write(&[clear, text].concat());
    }

    fn clear_line(&mut self) {
        self.write(self.clearing());
    }

    /// To the start of the line, and clear it (ECMA-48: EL), where there are such things.
    fn clearing(&self) -> &'static str {
        if self.interactive { "\r\x1b[K" } else { "" }
    }

    fn write(&mut self, text: &str) {
        // Nobody listens: that is no reason to stop.
        let _ = self.out.write_all(text.as_bytes());
        let _ = self.out.flush();
    }

    fn name(&self, paths: &[PathBuf]) -> String {
        let mut names: Vec<_> = paths
            .iter()
            .take(NAMED)
            .map(|path| self.relative(path).display().to_string())
            .collect();
        if paths.len() > NAMED {
            names.push(format!("{} more", paths.len() - NAMED));
        }
        names.join(", ")
    }

    fn relative<'a>(&self, path: &'a Path) -> &'a Path {
        match path.strip_prefix(&self.current_dir) {
            Ok(rest) if rest.as_os_str().is_empty() => Path::new("."),
            Ok(rest) => rest,
            Err(_) => path,
        }
    }
}

fn list(endpoints: &[Endpoint]) -> String {
    endpoints.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn pid_of(pid: Option<u32>) -> String {
    pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default()
}
