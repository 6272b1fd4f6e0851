//! Values as text that no terminal obeys.

use std::fmt::Write as _;
use std::time::Duration;

use super::layer::Value;

/// A value as people read it, on one line.
pub(crate) fn plain(value: &Value) -> String {
    match value {
        Value::Bool(value) => value.to_string(),
        Value::Signed(value) => value.to_string(),
        Value::Unsigned(value) => value.to_string(),
        Value::Float(value) => value.to_string(),
        Value::Text(value) => escaped(value),
    }
}

/// Whether a character does something to a terminal, or to how the characters around it are read,
/// beside being shown: control characters, and those that turn the direction of writing.
pub(crate) fn acts(character: char) -> bool {
    character.is_control() || matches!(character, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The text with such characters written out, as Rust does: `\n`, `\u{1b}`.
pub(crate) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if acts(character) {
            out.extend(character.escape_default());
        } else {
            out.push(character);
        }
    }
    out
}

/// The text in one piece: in quotes where it would not be seen where it ends.
pub(crate) fn word(value: &Value) -> String {
    let text = plain(value);
    let quoted =
        matches!(value, Value::Text(_)) && (text.is_empty() || text.contains([' ', '"', '=']));
    if quoted { format!("\"{}\"", text.replace('"', "\\\"")) } else { text }
}

/// A duration with three digits at most before its unit, one behind the point.
pub(crate) fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    let mut out = String::new();
    let _ = if seconds >= 60.0 {
        write!(out, "{} min {} s", duration.as_secs() / 60, duration.as_secs() % 60)
    } else if seconds >= 1.0 {
        write!(out, "{seconds:.2} s")
    } else if duration.as_micros() >= 1000 {
        write!(out, "{:.1} ms", seconds * 1e3)
    } else {
        write!(out, "{} µs", duration.as_micros())
    };
    out
}
