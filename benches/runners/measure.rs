//! One session of one runner: it is started, warmed with one edit, edited under the eyes of a client, broken
//! and mended, and ended.

use std::sync::mpsc::RecvTimeoutError;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::clients::Client;
use crate::figures::{Figures, Swap};
use crate::project::Project;
use crate::runner::{Figure, Kind, Runner};
use crate::terminal::{Output, Session};

/// After this a save counts as missed.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long clients are listened to when the new server has answered.
const SETTLE: Duration = Duration::from_millis(700);
/// A developer who reads what has changed. Longer than any runner's quiet time.
const REST: Duration = Duration::from_millis(800);
/// An answer that takes longer is slow.
const SLOW: Duration = Duration::from_millis(100);

/// Builds what the runner would build, by hand.
pub(crate) fn build(runner: &Runner, project: &Project) -> Result<()> {
    let output = Output::default();
    let built = Session::start(&runner.by_hand(project), project, &output)?.finished()?;
    ensure!(built, "it does not build:\n{}", output.tail());
    Ok(())
}

/// Adds what is measured to `figures`.
pub(crate) fn session(
    runner: &Runner,
    project: &Project,
    edits: usize,
    wanted: &[Figure],
    figures: &mut Figures,
) -> Result<()> {
    // The runners before have built other sources, or with another profile.
    build(runner, project)?;
    let (mut running, took) = Running::start(runner, project)?;
    figures.starts.push(took);
    running.swap()?;
    if wanted.contains(&Figure::Swap) {
        for _ in 0..edits {
            match running.swap()? {
                Some(swap) => figures.swaps.push(swap),
                None => figures.missed += 1,
            }
        }
    }
    if wanted.contains(&Figure::Diagnostic) {
        match running.diagnostic()? {
            Some(took) => figures.diagnostics.push(took),
            None => figures.missed += 1,
        }
        running.swap()?;
    }
    if runner.kind != Kind::Hand {
        figures.memory.push(running.session.memory(runner.programs));
    }
    running.session.interrupt();
    Ok(())
}

/// A server, and who runs it.
struct Running<'a> {
    runner: &'a Runner,
    project: &'a Project,
    /// The runner, or the server where there is none.
    session: Session,
    output: Output,
}

impl<'a> Running<'a> {
    /// Starts it; says how long the first answer took.
    fn start(runner: &'a Runner, project: &'a Project) -> Result<(Self, Duration)> {
        let output = Output::default();
        let client = Client::start(project.port);
        let began = Instant::now();
        let typed = Session::start(&runner.words(project), project, &output)?;
        let mut session = if runner.runs() {
            typed
        } else {
            ensure!(typed.finished()?, "it does not build:\n{}", output.tail());
            server(runner, project, &output)?
        };
        let end = began + PATIENCE;
        let first = loop {
            let left = end.saturating_duration_since(Instant::now());
            match client.answers.recv_timeout(left) {
                Ok(answer) if answer.text.is_some() => break Some(answer.answered),
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break None,
            }
        };
        drop(client);
        let Some(first) = first else {
            anyhow::bail!("no server has come up:\n{}", output.tail());
        };
        if runner.kind == Kind::Hand && runner.runs() {
            session.interrupt();
            session = server(runner, project, &output)?;
        }
        thread::sleep(REST);
        Ok((Self { runner, project, session, output }, first - began))
    }

    /// Saves another greeting and waits for it. `None`: it did not come.
    fn swap(&mut self) -> Result<Option<Swap>> {
        let client = Client::start(self.project.port);
        // From here on it is known when it answered last.
        let mut good = client.answers.recv()?.answered;
        let (greeting, saved) = self.project.edit()?;
        self.saved()?;
        let mut swap = Swap::default();
        let mut new = None;
        loop {
            let end = new.map_or(saved + PATIENCE, |at| at + SETTLE);
            let left = end.saturating_duration_since(Instant::now());
            let Ok(answer) = client.answers.recv_timeout(left) else { break };
            let late = answer.answered > end;
            if late {
                break;
            }
            if answer.text.is_some() {
                swap.silence = swap.silence.max(answer.answered - good);
                good = answer.answered;
            }
            if answer.answered < saved {
                continue;
            }
            swap.requests += 1;
            swap.failed += usize::from(answer.text.is_none());
            swap.slow +=
                usize::from(answer.text.is_some() && answer.answered - answer.asked > SLOW);
            if new.is_none() && answer.text == Some(greeting.clone()) {
                new = Some(answer.answered);
                swap.took = answer.answered - saved;
            }
        }
        drop(client);
        thread::sleep(REST);
        Ok(new.map(|_| swap))
    }

    /// Breaks the source; says how long it took to be told. `None`: that was not told.
    fn diagnostic(&mut self) -> Result<Option<Duration>> {
        let before = self.output.length();
        let (error, saved) = self.project.break_it()?;
        self.saved()?;
        let told = self.output.printed(error, before, saved + PATIENCE);
        thread::sleep(REST);
        Ok(told.map(|at| at - saved))
    }

    /// What there is to be done after a save, where it is done by hand.
    fn saved(&mut self) -> Result<()> {
        if self.runner.kind != Kind::Hand {
            return Ok(());
        }
        let words = self.runner.by_hand(self.project);
        if Session::start(&words, self.project, &self.output)?.finished()? {
            self.session.kill()?;
            self.session = server(self.runner, self.project, &self.output)?;
        }
        Ok(())
    }
}

/// The server alone.
fn server(runner: &Runner, project: &Project, output: &Output) -> Result<Session> {
    let executable = project.folder.join(runner.executable());
    Session::start(&[executable.to_string_lossy().into_owned()], project, output)
}
