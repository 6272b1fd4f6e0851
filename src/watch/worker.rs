//! The watch's own thread: it owns all there is, takes commands and file events from one inbox, and
//! speaks through [`Event`]s.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use notify_debouncer_mini::{DebounceEventResult, DebouncedEvent};
use tokio::sync::mpsc::UnboundedSender;

use super::early::Early;
use super::ground::{Findings, Ground};
use super::memory::Memory;
use super::pace::Pace;
use super::source::{News, Placer, as_news, is_overflow};
use super::spec::resolve_place;
use super::{Message, Options, Summary, WatchSet, notices, system};
use crate::event::{Change, Event, Notice};

/// How often files are looked at where the system does not tell, and nobody said how often.
const POLL: Duration = Duration::from_secs(1);
/// How often a folder is tried that could not be read.
const RETRY: Duration = Duration::from_secs(5);

/// The watch's own thread.
pub(super) struct Worker {
    set: WatchSet,
    ground: Ground,
    memory: Memory,
    pace: Pace,
    /// Where saves are taken before their quiet time is over.
    early: Option<Early>,
    /// How often to look; `None` while the system tells.
    poll: Option<Duration>,
    next_look: Option<Instant>,
    next_retry: Option<Instant>,
    events: UnboundedSender<Event>,
    said: Vec<PathBuf>,
}

impl Worker {
    /// Walks for the first time. `backend`: `None` to poll.
    pub(super) fn begin(
        set: WatchSet,
        options: Options,
        backend: Option<notify::Result<Box<dyn Placer>>>,
        events: UnboundedSender<Event>,
    ) -> Self {
        let mut findings = Findings::default();
        let placer = match backend {
            None => None,
            Some(Ok(placer)) => Some(placer),
            Some(Err(error)) => {
                findings.exhausted = Some(error);
                None
            }
        };
        let mut worker = Self {
            ground: Ground::new(&set, placer),
            set,
            memory: Memory::default(),
            pace: Pace::new(options.debounce),
            early: options.eager.then(Early::default),
            poll: options.poll,
            next_look: None,
            next_retry: None,
            events,
            said: Vec::new(),
        };
        worker.ground.begin(&mut findings);
        worker.settle(findings, false);
        worker
    }

    /// Works until it is told to stop, or nobody listens.
    pub(super) fn run(&mut self, inbox: &Receiver<Message>) {
        while !self.events.is_closed() {
            let message = match self.next_deadline() {
                None => inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(at) => inbox.recv_timeout(at.saturating_duration_since(Instant::now())),
            };
            match message {
                Ok(Message::Files(result)) => self.hear(result),
                Ok(Message::Update(set, done)) => {
                    self.update(*set);
                    // Whoever waited may have given up.
                    let _ = done.send(());
                }
                Ok(Message::Summary(answer)) => {
                    let summary = Summary { polling: self.poll, ..self.ground.summary() };
                    // Whoever asked may have given up.
                    let _ = answer.send(summary);
                }
                Ok(Message::Seen(path, hash)) => self.memory.remember(resolve_place(&path), hash),
                Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {}
            }
            self.keep_time();
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        [self.next_look, self.next_retry, self.pace.due()].into_iter().flatten().min()
    }

    /// Does what is due.
    fn keep_time(&mut self) {
        let now = Instant::now();
        // Before something is said that nobody told us of: is it over?
        let asked = !self.ground.is_told() && self.pace.due().is_some_and(|at| at <= now);
        if asked || self.next_look.is_some_and(|at| at <= now) {
            self.look();
        }
        if self.next_retry.is_some_and(|at| at <= now) {
            self.next_retry = None;
            let mut findings = Findings::default();
            self.ground.retry(&self.set, &mut findings);
            self.settle(findings, false);
        }
        let now = Instant::now();
        if self.pace.due().is_some_and(|at| at <= now) {
            self.pace.sit_out(self.ground.checkout(), now);
        }
        if let Some(found) = self.pace.take(now) {
            let mut changes: Vec<Change> = found
                .into_iter()
                .filter_map(|it| {
                    let content = self.memory.compare(&it.real)?;
                    let age = age(&it.real);
                    Some(Change { path: it.given, kind: it.kind, content, age })
                })
                .collect();
            changes.sort_by(|a, b| a.path.cmp(&b.path));
            // Who has to look sees a change at both ends of a link. A folder that is gone may have had
            // files of several kinds.
            changes.dedup_by(|a, b| a.path == b.path && a.kind == b.kind);
            if !changes.is_empty() {
                self.send(Event::Changed(changes));
            }
        }
    }

    fn hear(&mut self, result: DebounceEventResult) {
        match result {
            Ok(events) => self.take(events),
            Err(error) if matches!(error.kind, notify::ErrorKind::MaxFilesWatch) => {
                self.settle(Findings { exhausted: Some(error), ..Findings::default() }, false);
            }
            Err(error) => {
                if let Some((news, path)) = as_news(&error) {
                    return self.hear_at_once(news, path);
                }
                self.say(if is_overflow(&error) {
                    notices::overflow()
                } else {
                    notices::trouble(&error)
                });
                self.look();
            }
        }
    }

    /// What the debouncer will tell of as well.
    fn hear_at_once(&mut self, news: News, path: &Path) {
        let Some(early) = &mut self.early else { return };
        let ground = &mut self.ground;
        if early.hear(news, path, |other| ground.concerns(other))
            && !self.pace.flows(Instant::now())
            && ground.knows(path)
            // Some editors empty a file and then open it again.
            && path.symlink_metadata().is_ok_and(|file| file.is_file() && file.len() > 0)
        {
            early.take(path);
            self.touch(&[path.to_owned()], false);
        }
    }

    fn take(&mut self, mut events: Vec<DebouncedEvent>) {
        let mut wait = false;
        if let Some(early) = &mut self.early {
            early.leave_out(&mut events);
            wait = early.is_more_to_come(|path| self.ground.concerns(path));
        }
        let paths = self.pace.at_rest(events, Instant::now());
        self.touch(&paths, wait);
    }

    /// `wait`: more is known to come.
    fn touch(&mut self, paths: &[PathBuf], wait: bool) {
        // New rules first: they decide about the rest. The walk for them comes last, since it would
        // take what is new for known.
        let rules = paths.iter().any(|path| self.ground.is_rule_file(path));
        let mut findings = Findings { rules, ..Findings::default() };
        if findings.rules {
            self.ground.renew_filter(&self.set);
        }
        for path in paths {
            self.ground.touch(path, &self.set, &mut findings);
        }
        self.settle(findings, wait);
    }

    fn update(&mut self, set: WatchSet) {
        if set == self.set {
            // What the disk has made of it since was told, and is in force.
            return;
        }
        self.set = set;
        let mut findings = Findings::default();
        self.ground.adopt(&self.set, &mut findings);
        self.settle(findings, false);
    }

    /// Compares everything with what was last seen.
    fn look(&mut self) {
        let started = Instant::now();
        let mut findings = Findings::default();
        self.ground.rescan(&mut findings);
        let told = self.ground.is_told();
        self.settle(findings, !told);
        if let Some(poll) = self.poll {
            let now = Instant::now();
            // A slow disk is not asked all the time.
            self.next_look = Some(now + poll.max(now.duration_since(started)));
        }
    }

    /// Draws the consequences of what was found. `wait`: more may be going on that nobody told.
    fn settle(&mut self, mut findings: Findings, wait: bool) {
        let mut changes = std::mem::take(&mut findings.changes);
        if findings.rules {
            self.ground.adopt(&self.set, &mut findings);
            changes.extend(std::mem::take(&mut findings.changes));
            changes.retain(|change| self.ground.still_counts(change));
        }
        self.pace.add(changes, Instant::now(), wait);
        for (folder, error) in findings.unreadable {
            self.say(notices::unreadable(&folder, &error, RETRY));
        }
        if let Some(error) = findings.exhausted
            && self.poll.is_none()
        {
            let poll = *self.poll.insert(POLL);
            self.ground.give_up_places();
            self.say(notices::exhausted(&error, poll));
            // What happened meanwhile shows in the first look.
            self.next_look = Some(Instant::now());
        }
        if let Some(poll) = self.poll
            && self.next_look.is_none()
        {
            self.next_look = Some(Instant::now() + poll);
        }
        if self.next_retry.is_none() && self.ground.has_unreadable() {
            self.next_retry = Some(Instant::now() + RETRY);
        }
        self.say_refused();
    }

    fn say_refused(&mut self) {
        let refused: Vec<_> = self.ground.refused().to_vec();
        for path in &refused {
            if !self.said.contains(path) {
                self.say(notices::refused(path));
            }
        }
        self.said = refused;
    }

    fn say(&self, notice: Notice) {
        self.send(Event::Notice(notice));
    }

    fn send(&self, event: Event) {
        // Nobody listens any more: the loop sees that and ends.
        let _ = self.events.send(event);
    }
}

/// How long ago anything about the file was last changed.
fn age(path: &Path) -> Option<Duration> {
    let changed = system::changed(&path.metadata().ok()?)?;
    // A time to come is no time ago.
    Some(changed.elapsed().unwrap_or_default())
}
