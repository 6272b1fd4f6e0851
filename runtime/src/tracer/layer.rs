//! The layer that the tracers share: keeps what is known of each span in the registry, and hands
//! events and finished spans to an [`Output`]. Knows nothing of how they look.

use std::error::Error;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record as Values};
use tracing::{Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::{LookupSpan, SpanRef};

/// Reads both clocks. Replaced by tests.
pub(crate) type Clock = fn() -> Moment;

/// A point in time, for people and for differences.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) wall: SystemTime,
    pub(crate) steady: Instant,
}

impl Moment {
    /// Milliseconds since 1970, UTC.
    pub(crate) fn unix_millis(self) -> u64 {
        let time = self.wall.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
    }
}

/// The clocks.
pub(crate) fn now() -> Moment {
    Moment { wall: SystemTime::now(), steady: Instant::now() }
}

/// What becomes of events and spans. Called from any thread.
pub(crate) trait Output: Send + Sync + 'static {
    /// Something was said: in no span, or in the last of `path`, which begins with its root.
    fn event(&self, event: Event, path: &[&Span]);

    /// A span has ended; those below it have ended before. `path` as above, ending with its parent.
    fn closed(&self, span: &Span, duration: Duration, path: &[&Span]);
}

/// What is known of a span.
#[derive(Debug)]
pub(crate) struct Span {
    /// Its number, unlike any other's in this process.
    pub(crate) id: u64,
    pub(crate) metadata: &'static Metadata<'static>,
    pub(crate) start: Moment,
    pub(crate) fields: Fields,
    /// When it was left last: a span that waits for what it has started, in another task, is over
    /// itself.
    left: Option<Instant>,
}

/// Something that was said.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) metadata: &'static Metadata<'static>,
    pub(crate) time: Moment,
    pub(crate) message: Option<String>,
    pub(crate) fields: Fields,
}

/// Names and values in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct Fields(pub(crate) Vec<(&'static str, Value)>);

/// A field's value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Bool(bool),
    Signed(i64),
    Unsigned(u64),
    Float(f64),
    Text(String),
}

impl Fields {
    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// Takes a field out.
    fn take(&mut self, name: &str) -> Option<Value> {
        let index = self.0.iter().position(|(known, _)| *known == name)?;
        Some(self.0.remove(index).1)
    }

    fn set(&mut self, field: &Field, value: Value) {
        self.0.push((field.name(), value));
    }

    /// The newest value counts.
    fn merge(&mut self, newer: Self) {
        for (name, value) in newer.0 {
            match self.0.iter_mut().find(|(known, _)| *known == name) {
                Some((_, old)) => *old = value,
                None => self.0.push((name, value)),
            }
        }
    }
}

impl Visit for Fields {
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field, Value::Bool(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field, Value::Signed(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field, Value::Unsigned(value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.set(field, Value::Float(value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.set(field, Value::Text(value.to_owned()));
    }

    /// With what caused it.
    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        let mut text = value.to_string();
        let mut cause = value.source();
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        self.set(field, Value::Text(text));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.set(field, Value::Text(format!("{value:?}")));
    }
}

/// The layer.
pub(crate) struct Recorder<O> {
    output: O,
    clock: Clock,
    next: AtomicU64,
}

impl<O> Recorder<O> {
    pub(crate) fn new(output: O, clock: Clock) -> Self {
        Self { output, clock, next: AtomicU64::new(1) }
    }
}

impl<S, O> Layer<S> for Recorder<O>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    O: Output,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        let span = Span {
            id: self.next.fetch_add(1, Ordering::Relaxed),
            metadata: attributes.metadata(),
            start: (self.clock)(),
            fields,
            left: None,
        };
        if let Some(it) = context.span(id) {
            it.extensions_mut().insert(span);
        }
    }

    fn on_record(&self, id: &Id, values: &Values<'_>, context: Context<'_, S>) {
        // Before the span is touched: how a value is written may itself say something in it.
        let mut fields = Fields::default();
        values.record(&mut fields);
        change(context.span(id), |span| span.fields.merge(fields));
    }

    fn on_exit(&self, id: &Id, context: Context<'_, S>) {
        let now = (self.clock)().steady;
        change(context.span(id), |span| span.left = Some(now));
    }

    fn on_event(&self, event: &tracing::Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let message = fields.take("message").map(|value| match value {
            Value::Text(text) => text,
            value => super::text::plain(&value),
        });
        let said = Event { metadata: event.metadata(), time: (self.clock)(), message, fields };
        with_path(context.event_span(event).as_ref(), |path| self.output.event(said, path));
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let Some(it) = context.span(&id) else { return };
        let Some(span) = it.extensions_mut().remove::<Span>() else { return };
        let end = span.left.unwrap_or_else(|| (self.clock)().steady);
        let duration = end.saturating_duration_since(span.start.steady);
        with_path(it.parent().as_ref(), |path| self.output.closed(&span, duration, path));
    }
}

fn change<'a, S>(span: Option<SpanRef<'a, S>>, change: impl FnOnce(&mut Span))
where
    S: LookupSpan<'a>,
{
    if let Some(it) = span
        && let Some(span) = it.extensions_mut().get_mut::<Span>()
    {
        change(span);
    }
}

/// Calls this with what is known of the span and of those around it, the root first.
fn with_path<'a, S>(innermost: Option<&SpanRef<'a, S>>, then: impl FnOnce(&[&Span]))
where
    S: LookupSpan<'a>,
{
    let spans: Vec<_> = innermost.into_iter().flat_map(SpanRef::scope).collect();
    let guards: Vec<_> = spans.iter().rev().map(SpanRef::extensions).collect();
    let path: Vec<_> = guards.iter().filter_map(|known| known.get::<Span>()).collect();
    then(&path);
}
