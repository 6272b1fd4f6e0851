//! What was measured, as a table for people and as JSON.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use crate::project::Project;
use crate::runner::{FLOOR, Kind, OURS, OURS_BY_HAND, Runner};

/// The load of a machine that has nothing else to do.
const QUIET: f64 = 0.5;

/// One save that came through.
#[derive(Default)]
pub(crate) struct Swap {
    /// From the save to the new server's first answer.
    pub(crate) took: Duration,
    /// All requests from the save on, until a moment after the new answer.
    pub(crate) requests: usize,
    /// Of these, those without an answer.
    pub(crate) failed: usize,
    /// Of these, those that took more than 0.1 s.
    pub(crate) slow: usize,
    /// The longest time between two answers.
    pub(crate) silence: Duration,
}

/// All of one runner.
pub(crate) struct Figures {
    pub(crate) runner: &'static Runner,
    /// How it is started.
    typed: String,
    pub(crate) swaps: Vec<Swap>,
    /// Saves that never came through, or mistakes that were never told.
    pub(crate) missed: usize,
    /// From a save that does not compile to the compiler's first error.
    pub(crate) diagnostics: Vec<Duration>,
    /// From the start to the first answer, with nothing to build.
    pub(crate) starts: Vec<Duration>,
    /// The runner's memory, in bytes.
    pub(crate) memory: Vec<u64>,
}

/// Of many: the middle, and the quartiles around it.
pub(crate) struct Spread {
    pub(crate) low: Duration,
    pub(crate) median: Duration,
    pub(crate) high: Duration,
}

impl Spread {
    /// `None` of nothing.
    fn of(durations: impl Iterator<Item = Duration>) -> Option<Self> {
        let mut all: Vec<_> = durations.collect();
        all.sort();
        let last = u32::try_from(all.len().checked_sub(1)?).ok()?;
        // Between the two that are nearest.
        let at = |quarter: u32| {
            let (place, rest) = (last * quarter / 4, last * quarter % 4);
            let low = all[place as usize];
            let high = all.get(place as usize + 1).copied().unwrap_or(low);
            low + high.saturating_sub(low) * rest / 4
        };
        Some(Self { low: at(1), median: at(2), high: at(3) })
    }
}

impl Figures {
    pub(crate) fn of(runner: &'static Runner, project: &Project) -> Self {
        let (swaps, diagnostics, starts, memory) = Default::default();
        Self { runner, typed: runner.typed(project), swaps, missed: 0, diagnostics, starts, memory }
    }

    pub(crate) fn took(&self) -> Option<Spread> {
        Spread::of(self.swaps.iter().map(|swap| swap.took))
    }

    pub(crate) fn sum(&self, of: impl Fn(&Swap) -> usize) -> usize {
        self.swaps.iter().map(of).sum()
    }

    fn median(of: &[Duration]) -> Option<Duration> {
        Spread::of(of.iter().copied()).map(|it| it.median)
    }

    /// What there is so far, in few words.
    pub(crate) fn line(&self) -> String {
        let took = self.took().map_or("-".to_owned(), |it| seconds(it.median));
        let requests = self.sum(|it| it.requests);
        let failed = self.sum(|it| it.failed);
        let missed =
            if self.missed > 0 { format!(", {} missed", self.missed) } else { String::new() };
        format!("median {took} so far, {failed} of {requests} requests failed{missed}")
    }

    fn json(&self) -> Value {
        let milliseconds = |it: &Duration| it.as_secs_f64() * 1e3;
        let all = |durations: &[Duration]| durations.iter().map(milliseconds).collect::<Vec<_>>();
        let swaps = self.swaps.iter().map(|swap| {
            json!({
                "ms": milliseconds(&swap.took),
                "requests": swap.requests,
                "failed": swap.failed,
                "slow": swap.slow,
                "silence-ms": milliseconds(&swap.silence),
            })
        });
        json!({
            "name": self.runner.name,
            "command": self.typed,
            "swaps": swaps.collect::<Vec<_>>(),
            "missed": self.missed,
            "diagnostic-ms": all(&self.diagnostics),
            "start-ms": all(&self.starts),
            "memory-bytes": self.memory,
        })
    }
}

/// All of all runners.
pub(crate) struct Report {
    pub(crate) figures: Vec<Figures>,
    pub(crate) rounds: usize,
    pub(crate) edits: usize,
    /// What else the machine did at the beginning: `/proc/loadavg`.
    pub(crate) load: String,
    pub(crate) took: Duration,
}

impl Report {
    /// For people.
    pub(crate) fn table(&self) -> String {
        let floor = self.median_of(FLOOR);
        let others = self.figures.iter().filter(|it| it.runner.kind == Kind::Other);
        let best = others.filter_map(|it| Some(it.took()?.median)).min();
        let mut rows = vec![
            [
                "", "save to", "", "to best", "to", "failed", "slow", "longest", "save to",
                "start to", "",
            ]
            .map(str::to_owned),
            [
                "runner",
                "new answer",
                "quartiles",
                "other",
                "floor",
                "requests",
                "requests",
                "silence",
                "error",
                "answer",
                "memory",
            ]
            .map(str::to_owned),
        ];
        rows.extend(self.figures.iter().map(|it| row(it, best, floor)));
        let mut text = aligned(&rows);

        let _ = writeln!(
            text,
            "\nMedians of {} rounds of {} edits. Failed: refused or closed without an answer; slow: over 0.1 s; \
             silence: between two answers.",
            self.rounds, self.edits
        );
        let _ = writeln!(text, "{FLOOR} (the floor): `cargo build`, then the new server at once.");
        if let (Some(ours), Some(by_hand)) = (self.median_of(OURS), self.median_of(OURS_BY_HAND)) {
            let over = (ours.as_secs_f64() - by_hand.as_secs_f64()) * 1e3;
            let _ = writeln!(
                text,
                "{OURS} over {OURS_BY_HAND} (the same build by hand, then the new server at once): {over:+.0} ms."
            );
        }
        let missed = self.figures.iter().filter(|it| it.missed > 0);
        for figures in missed {
            let _ = writeln!(text, "{}: {} saves missed.", figures.runner.name, figures.missed);
        }
        for figures in &self.figures {
            let _ = writeln!(text, "{:<15} {}", figures.runner.name, figures.typed);
        }
        let cpus = std::thread::available_parallelism().map_or(0, usize::from);
        let load = self.load.split(' ').next().unwrap_or_default();
        let noisy = load.parse().is_ok_and(|load: f64| load > QUIET);
        let noisy = if noisy { " That is not a quiet machine: run it again." } else { "" };
        let took = self.took.as_secs() / 60;
        let _ = writeln!(text, "{cpus} CPUs, load {load} before it began, {took} minutes.{noisy}");
        text
    }

    /// For programs: every single figure.
    pub(crate) fn json(&self) -> String {
        let cpus = std::thread::available_parallelism().map_or(0, usize::from);
        let all = json!({
            "cpus": cpus,
            "load-before": self.load.trim(),
            "rounds": self.rounds,
            "edits": self.edits,
            "runners": self.figures.iter().map(Figures::json).collect::<Vec<_>>(),
        });
        format!("{all:#}\n")
    }

    fn median_of(&self, name: &str) -> Option<Duration> {
        let found = self.figures.iter().find(|it| it.runner.name == name)?;
        Some(found.took()?.median)
    }
}

fn row(figures: &Figures, best: Option<Duration>, floor: Option<Duration>) -> [String; 11] {
    let took = figures.took();
    let ratio = |to: Option<Duration>| match (&took, to) {
        (Some(took), Some(to)) => format!("{:.2}", took.median.as_secs_f64() / to.as_secs_f64()),
        _ => String::new(),
    };
    let counted = |count: usize| if took.is_some() { count.to_string() } else { String::new() };
    let silence = Spread::of(figures.swaps.iter().map(|swap| swap.silence));
    let time = |it: Option<Duration>| it.map(seconds).unwrap_or_default();
    let memory = figures.memory.iter().max();
    let is_other = figures.runner.kind == Kind::Other;
    [
        figures.runner.name.to_owned(),
        time(took.as_ref().map(|it| it.median)),
        took.as_ref()
            .map(|it| format!("{} {}", seconds(it.low), seconds(it.high)))
            .unwrap_or_default(),
        if is_other || figures.runner.kind == Kind::Ours { ratio(best) } else { String::new() },
        ratio(floor),
        took.as_ref()
            .map(|_| {
                format!("{} of {}", figures.sum(|it| it.failed), figures.sum(|it| it.requests))
            })
            .unwrap_or_default(),
        counted(figures.sum(|it| it.slow)),
        time(silence.map(|it| it.median)),
        time(Figures::median(&figures.diagnostics)),
        time(Figures::median(&figures.starts)),
        memory.map(|it| format!("{} MB", it / 1_000_000)).unwrap_or_default(),
    ]
}

pub(crate) fn seconds(duration: Duration) -> String {
    format!("{:.3} s", duration.as_secs_f64())
}

/// Columns as wide as their widest; the first one to the left.
fn aligned(rows: &[[String; 11]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or_default();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let width = width(column);
            let _ = match column {
                0 => write!(line, "{cell:<width$}"),
                _ => write!(line, "  {cell:>width$}"),
            };
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}
