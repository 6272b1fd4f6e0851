//! What the supervisor is told: `sd_notify`(3), on the socket that `NOTIFY_SOCKET` names.
//!
//! Without that variable nothing is sent. What cannot be sent is not worth ending for.

/// Bootstrap succeeded and connections are taken.
pub(crate) fn ready(status: &str) {
    send(&["READY=1", &format!("STATUS={status}")]);
}

/// The stop has begun.
pub(crate) fn stopping() {
    send(&["STOPPING=1", "STATUS=Stopping"]);
}

/// The start failed, with this error of the system.
pub(crate) fn failed(errno: u32) {
    send(&[&format!("ERRNO={errno}")]);
}

#[cfg(unix)]
fn send(lines: &[&str]) {
    let states: Vec<_> = lines.iter().map(|line| sd_notify::NotifyState::Custom(line)).collect();
    if let Err(error) = sd_notify::notify(&states) {
        tracing::debug!(%error, "the supervisor was not told {lines:?}");
    }
}

#[cfg(not(unix))]
fn send(_lines: &[&str]) {}
