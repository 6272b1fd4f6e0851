//! The variables that this process reads: `STARIO_*`, and `PORT`.
//!
//! A variable that is set but empty counts as not set. A bad value is an error that names the
//! variable, the value, and what is allowed.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// Where spans and events go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Tracer {
    /// [`Tracer::Tty`] where stderr is a terminal, else [`Tracer::Json`].
    #[default]
    Auto,
    /// A readable tree of spans.
    Tty,
    /// One object for each finished span.
    Json,
    /// Nowhere.
    Noop,
}

/// All of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    /// `STARIO_HOST`: a name or an address.
    pub(crate) host: String,
    /// `STARIO_PORT`, else `PORT`. 0 takes a free one.
    pub(crate) port: u16,
    /// `STARIO_UNIX_SOCKET`. Counts in place of host and port.
    pub(crate) unix_socket: Option<PathBuf>,
    /// `STARIO_UNIX_SOCKET_MODE`.
    pub(crate) unix_socket_mode: u32,
    /// `STARIO_GRACE`.
    pub(crate) grace: Duration,
    /// `STARIO_TRACER`.
    pub(crate) tracer: Tracer,
    /// `STARIO_BOOTSTRAP`.
    pub(crate) bootstrap: Option<String>,
    /// `STARIO_DEV=1`: `cargo stario watch` runs this process.
    pub(crate) dev: bool,
}

impl Settings {
    /// What the environment says. The error is a sentence.
    pub(crate) fn from_env() -> Result<Self, String> {
        Self::read(|name| std::env::var_os(name))
    }

    fn read(variable: impl Fn(&str) -> Option<OsString>) -> Result<Self, String> {
        let raw = |name: &str| variable(name).filter(|value| !value.is_empty());
        let text = |name: &str, allowed: &str| {
            let Some(value) = raw(name) else { return Ok(None) };
            let value = value.into_string();
            value.map(Some).map_err(|value| bad(name, &value.to_string_lossy(), allowed))
        };
        Ok(Self {
            host: text("STARIO_HOST", HOST)?.unwrap_or_else(|| "127.0.0.1".to_owned()),
            port: match text("STARIO_PORT", PORT)? {
                Some(value) => port("STARIO_PORT", &value)?,
                None => match text("PORT", PORT)? {
                    Some(value) => port("PORT", &value)?,
                    None => 8000,
                },
            },
            unix_socket: raw("STARIO_UNIX_SOCKET").map(PathBuf::from),
            unix_socket_mode: match text("STARIO_UNIX_SOCKET_MODE", MODE)? {
                Some(value) => mode(&value)?,
                None => 0o660,
            },
            grace: match text("STARIO_GRACE", GRACE)? {
                Some(value) => grace(&value)?,
                None => Duration::from_secs(5),
            },
            tracer: match text("STARIO_TRACER", TRACER)? {
                Some(value) => tracer(&value)?,
                None => Tracer::Auto,
            },
            bootstrap: text("STARIO_BOOTSTRAP", BOOTSTRAP)?,
            dev: raw("STARIO_DEV").is_some_and(|value| value == "1"),
        })
    }
}

const HOST: &str = "a host name or an address";
const PORT: &str = "a number from 0 (takes a free one) to 65535";
const MODE: &str = "an octal number from 0 to 777, as in 0660";
const GRACE: &str = "a number of seconds from 0 to 86400, fractions allowed";
const TRACER: &str = "one of auto, tty, json, noop";
const BOOTSTRAP: &str = "the path of a bootstrap";

fn bad(name: &str, value: &str, allowed: &str) -> String {
    format!("{name} is {value:?}, but it has to be {allowed}")
}

fn port(name: &str, value: &str) -> Result<u16, String> {
    value.parse().map_err(|_| bad(name, value, PORT))
}

fn mode(value: &str) -> Result<u32, String> {
    let digits = value.strip_prefix("0o").unwrap_or(value);
    let octal = digits.bytes().all(|digit| digit.is_ascii_digit());
    let mode = u32::from_str_radix(digits, 8).ok().filter(|mode| octal && *mode <= 0o777);
    mode.ok_or_else(|| bad("STARIO_UNIX_SOCKET_MODE", value, MODE))
}

fn grace(value: &str) -> Result<Duration, String> {
    let seconds = value.parse().ok().filter(|seconds| (0.0..=86400.0).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| bad("STARIO_GRACE", value, GRACE))
}

fn tracer(value: &str) -> Result<Tracer, String> {
    match value {
        "auto" => Ok(Tracer::Auto),
        "tty" => Ok(Tracer::Tty),
        "json" => Ok(Tracer::Json),
        "noop" => Ok(Tracer::Noop),
        _ => Err(bad("STARIO_TRACER", value, TRACER)),
    }
}

#[cfg(test)]
mod tests;
