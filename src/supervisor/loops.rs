//! Notices rounds that start each other: a build script, or the server at its start, writes a
//! watched file, and that write starts the next round. Used by the supervisor alone.
//!
//! A write in a round looks the same whether the round itself made it or a person who saves often.
//! So nothing is concluded from appearance: after [`SUSPICIOUS`] rounds in a row that were started
//! by a write to the same file, at about the same time in each round, the guard makes an
//! experiment. It holds the next round back. A person goes on saving meanwhile; a round that does
//! not run writes nothing. When [`EXPERIMENTS`] times nothing was written while held back and the
//! file was written again in the round that followed, the round itself writes it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Rounds in a row, each started by a write during the one before, that arouse suspicion.
const SUSPICIOUS: u32 = 4;
/// Experiments that must all point to the round itself.
const EXPERIMENTS: u32 = 2;
/// A round writes at about the same moment each time; a person does not.
const SPREAD: Duration = Duration::from_millis(750);
/// A round is held back at least this long, and at least as long as a round takes: whoever saves
/// so often that each round is hit then also hits the pause.
const PAUSE: Duration = Duration::from_secs(1);

/// What to do with a round that a write wants to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Advice {
    /// Start it.
    Go,
    /// Hold it back until then.
    Hold(Instant),
    /// These files are written by each round: leave them.
    Ended(BTreeSet<PathBuf>),
}

/// Files, and the folders that they lie in: a round may write under another name each time.
#[derive(Clone, Debug, Default, PartialEq)]
struct Places {
    files: BTreeSet<PathBuf>,
    folders: BTreeSet<PathBuf>,
}

impl Places {
    fn add(&mut self, path: PathBuf) {
        self.folders.extend(path.parent().map(Path::to_path_buf));
        self.files.insert(path);
    }

    fn common(&self, other: &Self) -> Self {
        Self {
            files: self.files.intersection(&other.files).cloned().collect(),
            folders: self.folders.intersection(&other.folders).cloned().collect(),
        }
    }

    /// The files that explain all of `echo`, or else the folders that do (with a `/` at the end).
    fn explain(&self, echo: &Self) -> Option<BTreeSet<PathBuf>> {
        if echo.files.is_subset(&self.files) {
            return Some(self.files.clone());
        }
        // Never a folder of sources: people work there.
        let sources = echo.files.iter().any(|file| file.extension().is_some_and(|it| it == "rs"));
        let folders = || self.folders.iter().map(|folder| folder.join("")).collect();
        (!sources && echo.folders.is_subset(&self.folders)).then(folders)
    }
}

/// Who of a round may have written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Writer {
    /// A build script.
    Build,
    /// The server.
    Server,
}

/// The writes that fell into the present round.
#[derive(Clone, Debug, PartialEq)]
struct Echo {
    places: Places,
    /// Who may have made the first of them.
    writer: Writer,
    /// Time from the round's last mark (build start, server start) to its first write.
    delay: Duration,
}

/// Watches rounds for loops. See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct LoopGuard {
    /// Writes into the present round.
    echo: Option<Echo>,
    /// What was written in each of the last `rounds` rounds.
    suspects: Places,
    rounds: u32,
    /// Who may have written into the last of them.
    writer: Option<Writer>,
    /// Shortest and longest delay over these rounds.
    delays: Option<(Duration, Duration)>,
    /// Experiments so far. While there is one, a write of a suspect does not cancel a build.
    experiments: u32,
    holding: bool,
    /// Files and folders known to be written by each round.
    muted: BTreeSet<PathBuf>,
}

impl LoopGuard {
    /// Whether a write of this file inside a round is the round's own doing.
    pub(super) fn is_muted(&self, path: &Path) -> bool {
        self.muted.contains(path) || path.parent().is_some_and(|f| self.muted.contains(&f.join("")))
    }

    /// Whether this write is what an experiment waits for, so that it must not cancel the build.
    pub(super) fn is_expected(&self, path: &Path) -> bool {
        self.experiments > 0
            && (self.suspects.files.contains(path)
                || path.parent().is_some_and(|folder| self.suspects.folders.contains(folder)))
    }

    /// Somebody wrote these files while no round ran: all suspicion is over, and what was muted of
    /// them is heard again.
    pub(super) fn edited<'a>(&mut self, paths: impl Iterator<Item = &'a Path>) {
        self.outside();
        for path in paths {
            self.muted.remove(path);
            self.muted.retain(|folder| path.parent().is_none_or(|it| folder != &it.join("")));
        }
    }

    /// No round wrote: all suspicion is over.
    fn outside(&mut self) {
        let muted = std::mem::take(&mut self.muted);
        *self = Self { muted, ..Self::default() };
    }

    /// The last server wrote nothing in its life: if it was the one that is suspected, somebody else
    /// did.
    pub(super) fn not_the_server(&mut self) {
        if self.writer == Some(Writer::Server) {
            self.outside();
        }
    }

    /// Files were written `delay` after the last mark of the round that runs.
    pub(super) fn inside(
        &mut self,
        paths: impl IntoIterator<Item = PathBuf>,
        writer: Writer,
        delay: Duration,
    ) {
        let echo = self.echo.get_or_insert(Echo { places: Places::default(), writer, delay });
        paths.into_iter().for_each(|path| echo.places.add(path));
    }

    /// A round is about to start. `over`: when a write can no longer be the last round's own.
    /// `took`: how long the last round's build took.
    pub(super) fn advise(&mut self, over: Instant, took: Duration) -> Advice {
        let echo = self.echo.take();
        if std::mem::take(&mut self.holding) {
            // The pause is over and nobody wrote: run the round that shows who does.
            self.experiments += 1;
            return Advice::Go;
        }
        let Some(echo) = echo else {
            self.outside();
            return Advice::Go;
        };
        let explained = self.record(&echo);
        let enough = match echo.writer {
            Writer::Build => SUSPICIOUS,
            // Somebody who waits for each new answer and then saves looks the same.
            Writer::Server => SUSPICIOUS * 2,
        };
        let Some(places) = explained.filter(|_| self.rounds >= enough) else {
            return Advice::Go;
        };
        if self.experiments >= EXPERIMENTS {
            self.muted.extend(places.iter().cloned());
            self.outside();
            return Advice::Ended(places);
        }
        self.holding = true;
        // Each pause is longer than the one before, so that no rhythm of saving fits them all.
        Advice::Hold(over + PAUSE.max(took) * (self.experiments + 1))
    }

    /// Counts a round that was written into; says what all rounds so far have in common with it, if
    /// that explains every write of this one.
    fn record(&mut self, echo: &Echo) -> Option<BTreeSet<PathBuf>> {
        let common = self.suspects.common(&echo.places);
        self.writer = Some(echo.writer);
        let (low, high) = match self.delays {
            Some((low, high)) => (low.min(echo.delay), high.max(echo.delay)),
            None => (echo.delay, echo.delay),
        };
        let alike = high.saturating_sub(low) <= SPREAD && !common.folders.is_empty();
        if self.rounds > 0 && alike {
            self.rounds += 1;
            self.suspects = common;
            self.delays = Some((low, high));
        } else {
            self.rounds = 1;
            self.experiments = 0;
            self.suspects = echo.places.clone();
            self.delays = Some((echo.delay, echo.delay));
        }
        self.suspects.explain(&echo.places)
    }
}
