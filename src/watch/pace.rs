//! When to speak: after a quiet time, but not never. Time comes in as data.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use notify_debouncer_mini::{DebouncedEvent, DebouncedEventKind};

use super::ground::Found;

/// A file that is written without a pause is reported this often.
const PATIENCE: Duration = Duration::from_secs(1);
/// More changes than this at once are a checkout or a generator, which is seldom over with the
/// first batch; fewer are a save.
const BURST: usize = 16;
/// A lock of version control that is older was left behind, or is held by somebody who writes a
/// commit message, unless many files keep coming.
const CHECKOUT: Duration = Duration::from_secs(5);

/// What changed and has not been said yet.
#[derive(Debug)]
pub(super) struct Pace {
    quiet: Duration,
    /// Files that keep being written, since when.
    restless: HashMap<PathBuf, Instant>,
    pending: HashSet<Found>,
    /// When something was found last.
    latest: Option<Instant>,
    /// Since when something is pending.
    since: Option<Instant>,
    /// When it is to be said.
    due: Option<Instant>,
    /// A checkout was under way when it was last time.
    sitting_out: bool,
}

impl Pace {
    pub(super) fn new(quiet: Duration) -> Self {
        Self {
            quiet,
            restless: HashMap::new(),
            pending: HashSet::new(),
            latest: None,
            since: None,
            due: None,
            sitting_out: false,
        }
    }

    /// The paths of `events` that have come to rest, or have kept us waiting for too long.
    ///
    /// The debouncer says `AnyContinuous` when a path had one event a quiet time ago and another
    /// since, and `Any` once it is over: most saves are two events. Taken at its word, each save
    /// would be two changes.
    pub(super) fn at_rest(&mut self, events: Vec<DebouncedEvent>, now: Instant) -> Vec<PathBuf> {
        let mut paths = Vec::new();
        for event in events {
            if event.kind == DebouncedEventKind::AnyContinuous {
                let since = self.restless.entry(event.path.clone()).or_insert(now);
                if now.duration_since(*since) < PATIENCE {
                    continue;
                }
                *since = now;
            } else {
                self.restless.remove(&event.path);
            }
            paths.push(event.path);
        }
        // Folders before what is in them: of a tree that went away, its top is said to have gone.
        paths.sort();
        paths
    }

    /// Takes what was found.
    pub(super) fn add(&mut self, found: HashSet<Found>, now: Instant, wait: bool) {
        if found.is_empty() {
            return;
        }
        let flows = self.flows(now);
        self.latest = Some(now);
        let waiting = wait || found.len() > BURST || flows;
        let end = *self.since.get_or_insert(now) + PATIENCE;
        self.due = Some(if waiting { end.min(now + self.quiet) } else { now });
        self.pending.extend(found);
    }

    /// Whether more comes all the time: a checkout comes to us a few files at a time, as each of them
    /// comes to rest.
    pub(super) fn flows(&self, now: Instant) -> bool {
        self.latest.is_some_and(|at| now < at + 2 * self.quiet)
    }

    /// When it is time to speak.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// It is time to speak, and version control is at work for so long: then it is not time, nor
    /// for a quiet time after the end, until the last file has come to rest.
    pub(super) fn sit_out(&mut self, checkout: Option<Duration>, now: Instant) {
        let flows =
            self.pending.len() > BURST && self.latest.is_some_and(|latest| now < latest + PATIENCE);
        let under_way = checkout.is_some_and(|age| age < CHECKOUT || flows);
        if under_way || self.sitting_out {
            self.due = Some(now + (2 * self.quiet).max(Duration::from_millis(10)));
        }
        self.sitting_out = under_way;
    }

    /// What is to be said, if it is time.
    pub(super) fn take(&mut self, now: Instant) -> Option<HashSet<Found>> {
        if self.due? > now {
            return None;
        }
        (self.due, self.since) = (None, None);
        Some(std::mem::take(&mut self.pending))
    }
}

#[cfg(test)]
mod tests {
    use super::{BURST, CHECKOUT, PATIENCE, Pace};
    use crate::event::ChangeKind;
    use crate::watch::ground::Found;
    use notify_debouncer_mini::{DebouncedEvent, DebouncedEventKind};
    use std::collections::HashSet;
    use std::path::PathBuf;
    use std::time::{Duration, Instant};

    const QUIET: Duration = Duration::from_millis(50);

    fn found(count: usize) -> HashSet<Found> {
        (0..count)
            .map(|n| Found::new(format!("/{n}"), format!("/{n}"), ChangeKind::Asset))
            .collect()
    }

    #[test]
    fn a_save_is_said_at_once_and_a_burst_when_it_is_over() {
        let now = Instant::now();
        let mut pace = Pace::new(QUIET);
        pace.add(found(1), now, false);
        assert_eq!(pace.take(now).unwrap().len(), 1);

        pace.add(found(BURST + 1), now, false);
        assert!(pace.take(now).is_none());
        pace.add(found(BURST + 3), now + QUIET / 2, false);
        assert!(pace.take(now + QUIET).is_none());
        assert_eq!(pace.take(now + 2 * QUIET).unwrap().len(), BURST + 3);
        assert_eq!(pace.due(), None);
    }

    #[test]
    fn what_comes_a_few_at_a_time_is_said_with_its_first_and_when_it_is_over() {
        let start = Instant::now();
        let mut pace = Pace::new(QUIET);
        let (mut now, mut said) = (start, Vec::new());
        while now < start + PATIENCE / 2 {
            pace.add(found(1), now, false);
            said.extend(pace.take(now).map(|_| now));
            now += QUIET / 5;
        }
        assert_eq!(said, [start]);
        assert!(pace.take(now + QUIET).is_some());
    }

    #[test]
    fn a_checkout_is_sat_out_as_long_as_it_brings_files() {
        let start = Instant::now();
        let mut pace = Pace::new(QUIET);
        let mut is_said = |count, age, now| {
            pace.add(found(count), now, false);
            let due = pace.due().unwrap();
            pace.sit_out(age, due);
            pace.take(due).is_some()
        };
        let (young, old) = (Some(CHECKOUT / 2), Some(CHECKOUT * 2));
        assert!(!is_said(1, young, start));
        assert!(!is_said(BURST + 1, young, start + PATIENCE / 2));
        assert!(!is_said(BURST + 1, old, start + PATIENCE), "it goes on");
        assert!(!is_said(1, None, start + PATIENCE * 2), "the last one");
        assert!(is_said(1, None, start + PATIENCE * 3));
        assert!(is_said(1, old, start + PATIENCE * 5), "a lock that was left behind");
    }

    #[test]
    fn a_burst_without_end_is_said_all_the_same() {
        let start = Instant::now();
        let mut pace = Pace::new(QUIET);
        let mut now = start;
        while pace.take(now).is_none() {
            pace.add(found(BURST + 1), now, false);
            now += QUIET / 2;
            assert!(now < start + 2 * PATIENCE);
        }
    }

    #[test]
    fn a_path_is_taken_once_it_rests_or_when_it_never_does() {
        let event = |kind| vec![DebouncedEvent::new(PathBuf::from("/x"), kind)];
        let start = Instant::now();
        let mut pace = Pace::new(QUIET);
        assert!(pace.at_rest(event(DebouncedEventKind::AnyContinuous), start).is_empty());
        assert_eq!(pace.at_rest(event(DebouncedEventKind::Any), start).len(), 1);
        assert!(pace.at_rest(event(DebouncedEventKind::AnyContinuous), start).is_empty());
        let later = start + PATIENCE;
        assert_eq!(pace.at_rest(event(DebouncedEventKind::AnyContinuous), later).len(), 1);
        assert!(pace.at_rest(event(DebouncedEventKind::AnyContinuous), later).is_empty());
    }
}
