//! One JSON object a line, for programs.
//!
//! A finished span:
//! `{"span":"render","level":"info","target":"app","time":1732277000123,"duration":1.25,"id":7,"parent":3,"fields":{…}}`
//!
//! Something that was said, at once:
//! `{"event":"painted","level":"info","target":"app","time":1732277000123,"parent":7,"fields":{…}}`
//!
//! `time` is when the span began, or the event happened, in milliseconds since 1970 (UTC), as in the
//! tool's own events; `duration` is in milliseconds; `parent` is the id of the span around it, or
//! null. Ids count up and are this process's own. Events are objects of their own, so that nothing
//! is held back until a span ends, which for a stream may be hours. An object comes when its span
//! has ended, so those of inner spans come first.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::Value as Any;
use tracing::Metadata;

use super::Sink;
use super::layer::{Event, Fields, Output, Span, Value};
use super::text;

/// The output.
pub(crate) struct Json {
    sink: Sink,
}

impl Json {
    pub(crate) fn new(sink: Sink) -> Self {
        Self { sink }
    }
}

impl Output for Json {
    fn event(&self, event: Event, path: &[&Span]) {
        let mut object = Object::default();
        object.member("event", event.message.unwrap_or_default());
        object.origin(event.metadata);
        object.member("time", event.time.unix_millis());
        object.member("parent", path.last().map(|span| span.id));
        object.fields(&event.fields);
        self.sink.write(&object.line());
    }

    fn closed(&self, span: &Span, duration: Duration, path: &[&Span]) {
        let mut object = Object::default();
        object.member("span", span.metadata.name());
        object.origin(span.metadata);
        object.member("time", span.start.unix_millis());
        object.member("duration", rounded(duration));
        object.member("id", span.id);
        object.member("parent", path.last().map(|span| span.id));
        object.fields(&span.fields);
        self.sink.write(&object.line());
    }
}

/// An object being written. `serde_json`'s own map sorts its members, unless some other crate in
/// the build has asked it not to.
#[derive(Default)]
struct Object(String);

impl Object {
    fn member(&mut self, name: &str, value: impl Into<Any>) {
        self.0.push(if self.0.is_empty() { '{' } else { ',' });
        let _ = write!(self.0, "{}:{}", Any::from(name), value.into());
    }

    fn origin(&mut self, metadata: &Metadata<'_>) {
        self.member("level", metadata.level().as_str().to_ascii_lowercase());
        self.member("target", metadata.target());
    }

    fn fields(&mut self, fields: &Fields) {
        let mut object = Self::default();
        for (name, value) in &fields.0 {
            match value {
                Value::Bool(value) => object.member(name, *value),
                Value::Signed(value) => object.member(name, *value),
                Value::Unsigned(value) => object.member(name, *value),
                // JSON has no word for what is no number.
                Value::Float(value) if !value.is_finite() => object.member(name, value.to_string()),
                Value::Float(value) => object.member(name, *value),
                Value::Text(value) => object.member(name, value.as_str()),
            }
        }
        let _ = write!(self.0, ",\"fields\":{}", object.end());
    }

    fn end(self) -> String {
        if self.0.is_empty() { "{}".to_owned() } else { self.0 + "}" }
    }

    fn line(self) -> String {
        quiet(&self.end()) + "\n"
    }
}

/// Milliseconds, to the microsecond.
fn rounded(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

/// JSON lets some characters stand that a terminal may obey. In an object's text they can only be
/// part of a string, where they may be written as numbers.
fn quiet(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    for character in line.chars() {
        if text::acts(character) {
            let _ = write!(out, "\\u{:04x}", u32::from(character));
        } else {
            out.push(character);
        }
    }
    out
}
