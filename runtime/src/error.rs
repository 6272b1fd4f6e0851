//! The error that a bootstrap, a hook or a producer ends with, and how it is printed.
//!
//! It takes whatever `?` meets: errors of the standard library and of other crates, `anyhow`'s,
//! and plain text.

use std::error::Error as StdError;
use std::fmt;
use std::io::{self, Write as _};

/// What a bootstrap returns.
pub type Result<T = (), E = Error> = std::result::Result<T, E>;

/// Any error, with the chain of its causes.
///
/// It is made from every `std::error::Error`, from `anyhow::Error` and from text. As `anyhow`'s it
/// is not an `std::error::Error` itself: otherwise `?` could not convert everything else into it.
///
/// ```
/// fn settings() -> stario::Result<u16> {
///     let port: u16 = "http".parse()?;
///     Err(format!("{port} is taken"))?
/// }
/// assert_eq!(settings().unwrap_err().to_string(), "invalid digit found in string");
/// ```
pub struct Error(Box<dyn StdError + Send + Sync>);

impl Error {
    /// The error and its causes, outermost first.
    pub fn chain(&self) -> impl Iterator<Item = &(dyn StdError + 'static)> {
        let first: &(dyn StdError + 'static) = self.0.as_ref();
        std::iter::successors(Some(first), |error| (*error).source())
    }

    /// The error itself, where it is of this type.
    pub fn downcast_ref<E: StdError + 'static>(&self) -> Option<&E> {
        self.0.downcast_ref()
    }

    pub(crate) fn into_inner(self) -> Box<dyn StdError + Send + Sync> {
        self.0
    }

    /// The number of the system's error in the chain, where there is one: what `ERRNO=` says.
    pub(crate) fn errno(&self) -> Option<u32> {
        let number =
            self.chain().find_map(|error| error.downcast_ref::<io::Error>()?.raw_os_error())?;
        u32::try_from(number).ok()
    }
}

impl<E: Into<Box<dyn StdError + Send + Sync>>> From<E> for Error {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl fmt::Display for Error {
    /// The outermost message; with `{:#}` the chain in one line, as `anyhow` does.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        if f.alternate() {
            for cause in self.chain().skip(1) {
                write!(f, ": {cause}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    /// The message and its causes, a line each. What a test that returns it prints.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        for cause in self.chain().skip(1) {
            write!(f, "\n  caused by: {cause}")?;
        }
        Ok(())
    }
}

/// What went wrong on our side: a sentence around its cause.
#[derive(Debug)]
pub(crate) struct Failed {
    /// Without a full stop.
    pub(crate) message: String,
    /// What lies below.
    pub(crate) cause: Option<Box<dyn StdError + Send + Sync>>,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for Failed {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.cause.as_deref().map(|cause| cause as &(dyn StdError + 'static))
    }
}

/// What a panic said.
pub(crate) fn panic_message(payload: &(dyn std::any::Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

/// Says an error on stderr, in cargo's style.
pub(crate) fn report(message: impl fmt::Display) {
    say(format_args!("error: {message}"));
}

/// Prints a line on stderr. Nobody to read it is no reason to panic, as `eprintln!` does: the server
/// goes on, and so does its stop.
pub(crate) fn say(line: impl fmt::Display) {
    let _ = io::stderr().write_all(format!("{line}\n").as_bytes());
}
