//! One reader for each kind of value. Each takes the text that a flag, a variable or a manifest
//! gave, and says in a clause why it cannot be read.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use super::{Link, Listen};
use crate::event::Swap;

/// A duration that the tool waits for stays below this; more is a mistake in the unit.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);
/// What `--poll` without an interval means.
const POLL: Duration = Duration::from_secs(1);
/// Looking more often than this keeps a core busy.
const MOST_OFTEN: Duration = Duration::from_millis(10);

/// An address (IPv6 also in brackets) or what can be a host name; it is not looked up here.
pub(super) fn host(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("it is empty".into());
    }
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    if bare.parse::<IpAddr>().is_ok() || scoped(bare) {
        return Ok(bare.into());
    }
    if text.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '.' | '_')) {
        return Ok(text.into());
    }
    Err(
        if text.contains("://") || text.rsplit_once(':').is_some_and(|(_, end)| port(end).is_ok()) {
            "expected a host alone; the port goes to `--port`".into()
        } else {
            "expected an address or a host name".into()
        },
    )
}

/// `fe80::1%eth0`
fn scoped(text: &str) -> bool {
    let address = text.split_once('%').filter(|(_, zone)| !zone.is_empty());
    address.is_some_and(|(address, _)| address.parse::<Ipv6Addr>().is_ok())
}

pub(super) fn port(text: &str) -> Result<u16, String> {
    text.parse().map_err(|_| "expected a port from 0 to 65535".into())
}

pub(super) fn listen(text: &str) -> Result<Listen, String> {
    match text {
        "auto" => Ok(Listen::Auto),
        "inherit" => Ok(Listen::Inherit),
        "adopt" => Ok(Listen::Adopt),
        "direct" => Ok(Listen::Direct),
        _ => Err("expected `auto`, `inherit`, `adopt` or `direct`".into()),
    }
}

pub(super) fn link(text: &str) -> Result<Link, String> {
    match text {
        "once" => Ok(Link::Once),
        "plain" => Ok(Link::Plain),
        _ => Err("expected `once` or `plain`".into()),
    }
}

/// The name of a profile, as cargo allows it. Whether there is one is cargo's to say.
pub(super) fn profile(text: &str) -> Result<String, String> {
    let allowed = |character: char| character.is_alphanumeric() || "-_".contains(character);
    if !text.is_empty() && text.chars().all(allowed) {
        Ok(text.into())
    } else {
        Err("expected the name of a profile, such as `dev` or `release`".into())
    }
}

pub(super) fn swap(text: &str) -> Result<Swap, String> {
    match text {
        "auto" => Ok(Swap::Auto),
        "overlap" => Ok(Swap::Overlap),
        "stop-first" => Ok(Swap::StopFirst),
        _ => Err("expected `auto`, `overlap` or `stop-first`".into()),
    }
}

pub(super) fn tracer(text: &str) -> Result<String, String> {
    if text.is_empty() { Err("it is empty".into()) } else { Ok(text.into()) }
}

pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    let reason = "expected a number of seconds from 0 to 86400";
    let seconds: f64 = text.parse().map_err(|_| reason)?;
    let duration = Duration::try_from_secs_f64(seconds).map_err(|_| reason)?;
    if duration > LONGEST { Err(reason.into()) } else { Ok(duration) }
}

/// A time that nothing could come of if it were 0.
pub(super) fn positive_seconds(text: &str) -> Result<Duration, String> {
    match seconds(text) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => Err("expected a number of seconds above 0, up to 86400".into()),
    }
}

pub(super) fn milliseconds(text: &str) -> Result<Duration, String> {
    let reason = "expected a whole number of milliseconds from 0 to 86400000";
    let duration = Duration::from_millis(text.parse().map_err(|_| reason)?);
    if duration > LONGEST { Err(reason.into()) } else { Ok(duration) }
}

pub(super) fn switch(text: &str) -> Result<bool, String> {
    match text {
        "1" | "true" => Ok(true),
        "0" | "false" => Ok(false),
        _ => Err("expected `1`, `true`, `0` or `false`".into()),
    }
}

/// An interval, or a switch, as other tools take in their environment.
pub(super) fn poll(text: &str) -> Result<Option<Duration>, String> {
    if let Ok(on) = switch(text) {
        return Ok(on.then_some(POLL));
    }
    milliseconds(text).ok().filter(|interval| *interval >= MOST_OFTEN).map(Some).ok_or_else(|| {
        "expected `true`, `false` or a whole number of milliseconds, at least 10".into()
    })
}

/// The number behind `fd:`.
pub(super) fn descriptor(text: &str) -> Result<i32, String> {
    let reason = "expected the number of an open descriptor behind `fd:`";
    text.parse().ok().filter(|number| *number >= 0).ok_or_else(|| reason.into())
}
