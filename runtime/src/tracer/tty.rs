//! A readable tree for people: a root span is printed when it has ended, with everything that was
//! said and done in it below it, so that requests that run at the same time do not mix.
//!
//! ```text
//! 14:03:07.123Z GET /tiles/{id} 200 1.4 ms path=/tiles/3
//!   INFO tiles::board: painted tile=3
//!   render 320 µs rows=5
//! ```
//!
//! A root that lives for longer than a second (a stream, a start that waits for something) does not
//! hold back what is said in it: from then on that is printed at once, with the spans it was said in.
//!
//! ```text
//! 14:03:09.001Z bootstrap › connect › WARN app: no database yet attempt=1
//! ```
//!
//! Times of day are UTC.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tracing::Level;

use super::Sink;
use super::layer::{Event, Fields, Moment, Output, Span, Value};
use super::{requests, text};

/// Whether to use colours: on a terminal that has some, unless `NO_COLOR` says otherwise.
pub(crate) fn colours(terminal: bool) -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    terminal && !set("NO_COLOR") && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// The output.
pub(crate) struct Tty(Arc<Shared>);

/// A hold on what is not shown yet.
pub(crate) struct Held(Arc<Shared>);

struct Shared {
    sink: Sink,
    style: Style,
    /// How long the end of a root span is waited for.
    patience: Duration,
    state: Mutex<State>,
    /// There is something new to wait for, or nothing any more.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// What has been said in root spans that have not ended, by their ids.
    trees: HashMap<u64, Tree>,
    /// Nobody writes any more.
    over: bool,
}

struct Tree {
    /// When the first thing was said.
    since: Instant,
    /// The root has lasted too long: everything is shown at once.
    live: bool,
    /// What to show below each span, by its id.
    branches: HashMap<u64, Vec<Item>>,
}

/// Something to show.
struct Item {
    time: Moment,
    /// The spans around it, for where it is not shown below them.
    path: String,
    /// Each with its depth.
    lines: Vec<(usize, String)>,
}

impl Tty {
    pub(crate) fn new(sink: Sink, colours: bool, patience: Duration) -> Self {
        let shared = Arc::new(Shared {
            sink,
            style: Style { colours },
            patience,
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        let watched = Arc::clone(&shared);
        // Should it not start: what is said in long spans is shown when they end.
        let _ = thread::Builder::new().name("stario-tracer".into()).spawn(move || watched.watch());
        Self(shared)
    }

    pub(crate) fn held(&self) -> Held {
        Held(Arc::clone(&self.0))
    }
}

impl Drop for Tty {
    fn drop(&mut self) {
        self.0.state().over = true;
        self.0.changed.notify_all();
    }
}

impl Held {
    /// Shows everything that is held back.
    pub(crate) fn show_all(&self) {
        self.0.show_held(&mut self.0.state(), |_| true);
    }
}

impl Output for Tty {
    fn event(&self, event: Event, path: &[&Span]) {
        let line = self.0.style.event(&event);
        let item = Item { time: event.time, path: self.0.style.path(path), lines: vec![(0, line)] };
        match path {
            [] => self.0.show(&item),
            [root, .., parent] | [root @ parent] => self.0.put(root.id, parent.id, item),
        }
    }

    fn closed(&self, span: &Span, duration: Duration, path: &[&Span]) {
        let root = path.first().map_or(span.id, |root| root.id);
        let below = {
            let mut state = self.0.state();
            let tree = state.trees.get_mut(&root);
            let below = tree.and_then(|tree| tree.branches.remove(&span.id));
            if path.is_empty() {
                state.trees.remove(&root);
            }
            below.unwrap_or_default()
        };
        let mut lines = vec![(0, self.0.style.span(span, duration))];
        lines.extend(in_order(below).into_iter().flat_map(|item| item.lines).map(deeper));
        let item = Item { time: span.start, path: self.0.style.path(path), lines };
        match path.last() {
            None => self.0.show(&item),
            Some(parent) => self.0.put(root, parent.id, item),
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps this for the end of its root, or shows it where that has lasted too long.
    fn put(&self, root: u64, parent: u64, item: Item) {
        let mut state = self.state();
        let tree = state.trees.entry(root).or_insert_with(|| {
            self.changed.notify_one();
            Tree { since: Instant::now(), live: false, branches: HashMap::new() }
        });
        if tree.live {
            self.show(&item);
        } else {
            tree.branches.entry(parent).or_default().push(item);
        }
    }

    fn show(&self, item: &Item) {
        self.sink.write(&self.style.lines(item));
    }

    /// Shows what is held back in such trees, and from now on what comes in them.
    fn show_held(&self, state: &mut State, which: impl Fn(&Tree) -> bool) {
        let mut shown = Vec::new();
        for tree in state.trees.values_mut().filter(|tree| !tree.live && which(tree)) {
            tree.live = true;
            shown.extend(tree.branches.drain().flat_map(|(_, items)| items));
        }
        for item in in_order(shown) {
            self.show(&item);
        }
    }

    /// Waits for trees to grow too old, until nobody writes any more.
    fn watch(&self) {
        let mut state = self.state();
        while !state.over {
            let now = Instant::now();
            self.show_held(&mut state, |tree| now.duration_since(tree.since) >= self.patience);
            let waiting = state.trees.values().filter(|tree| !tree.live);
            let next = waiting.map(|tree| tree.since + self.patience).min();
            state = match next {
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(next) => {
                    let time = next.saturating_duration_since(now);
                    let waited = self.changed.wait_timeout(state, time);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }
}

/// As it happened: what ended first is not what began first.
fn in_order(mut items: Vec<Item>) -> Vec<Item> {
    items.sort_by_key(|item| item.time.steady);
    items
}

fn deeper((depth, line): (usize, String)) -> (usize, String) {
    (depth + 1, line)
}

/// How things look.
struct Style {
    colours: bool,
}

const BOLD: &str = "1";
const DIM: &str = "2";
const RED: &str = "31";
const GREEN: &str = "32";
const YELLOW: &str = "33";
const BLUE: &str = "34";

impl Style {
    fn paint(&self, colour: &str, text: &str) -> String {
        if self.colours { format!("\x1b[{colour}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn lines(&self, item: &Item) -> String {
        let mut out = self.paint(DIM, &time_of_day(item.time)) + " ";
        if !item.path.is_empty() {
            let _ = write!(out, "{} {} ", item.path, self.paint(DIM, "›"));
        }
        for (depth, line) in &item.lines {
            let _ = writeln!(out, "{:1$}{line}", "", depth * 2);
        }
        out
    }

    fn path(&self, path: &[&Span]) -> String {
        let names: Vec<_> = path.iter().map(|span| self.name(span)).collect();
        names.join(&format!(" {} ", self.paint(DIM, "›")))
    }

    /// What a span is called: a request by what was asked for.
    fn name(&self, span: &Span) -> String {
        let field = |name| span.fields.get(name).map(text::plain);
        let name = if is_request(span) {
            let route = field("route").or_else(|| field("path")).unwrap_or_default();
            format!("{} {route}", field("method").unwrap_or_default())
        } else {
            text::escaped(span.metadata.name())
        };
        self.paint(BOLD, &name)
    }

    fn span(&self, span: &Span, duration: Duration) -> String {
        let mut out = self.name(span);
        let mut shown: &[&str] = &[];
        if is_request(span) {
            let path_says_more = span.fields.get("route").is_some()
                && span.fields.get("route") != span.fields.get("path");
            shown = if path_says_more { &["method", "route", "status"] } else { REQUEST };
            let _ = write!(out, " {}", self.status(span.fields.get("status")));
        }
        let _ = write!(out, " {}", self.paint(DIM, &text::duration(duration)));
        out + &self.fields(&span.fields, shown)
    }

    fn status(&self, status: Option<&Value>) -> String {
        let Some(status) = status else { return self.paint(YELLOW, "left unanswered") };
        let colour = match status {
            Value::Unsigned(500..) => RED,
            Value::Unsigned(400..) => YELLOW,
            _ => GREEN,
        };
        self.paint(colour, &text::plain(status))
    }

    fn event(&self, event: &Event) -> String {
        let level = event.metadata.level();
        let colour = match *level {
            Level::ERROR => RED,
            Level::WARN => YELLOW,
            Level::INFO => GREEN,
            Level::DEBUG => BLUE,
            Level::TRACE => DIM,
        };
        let target = format!("{}:", text::escaped(event.metadata.target()));
        let mut out =
            format!("{} {}", self.paint(colour, level.as_str()), self.paint(DIM, &target));
        if let Some(message) = &event.message {
            let _ = write!(out, " {}", text::escaped(message));
        }
        out + &self.fields(&event.fields, &[])
    }

    fn fields(&self, fields: &Fields, shown: &[&str]) -> String {
        let rest = fields.0.iter().filter(|(name, _)| !shown.contains(name));
        rest.fold(String::new(), |mut out, (name, value)| {
            let _ = write!(out, " {}{}", self.paint(DIM, &format!("{name}=")), text::word(value));
            out
        })
    }
}

/// The fields of a request's span; its line has a place for each.
const REQUEST: &[&str] = &["method", "route", "path", "status"];

fn is_request(span: &Span) -> bool {
    span.metadata.target() == requests::TARGET
}

/// `14:03:07.123Z`
fn time_of_day(time: Moment) -> String {
    let millis = time.unix_millis();
    let (seconds, millis) = (millis / 1000 % 86400, millis % 1000);
    let (minutes, seconds) = (seconds / 60, seconds % 60);
    format!("{:02}:{:02}:{seconds:02}.{millis:03}Z", minutes / 60, minutes % 60)
}
