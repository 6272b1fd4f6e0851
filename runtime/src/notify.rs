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
    if let Err(error) = try_send(lines) {
        tracing::debug!(%error, "the supervisor was not told {lines:?}");
    }
}

#[cfg(unix)]
fn try_send(lines: &[&str]) -> std::io::Result<()> {
    // sd-notify takes an abstract name (`@…`) for a path.
    #[cfg(target_os = "linux")]
    if let Some(name) = std::env::var_os("NOTIFY_SOCKET")
        && let [b'@', name @ ..] = name.as_encoded_bytes()
    {
        use std::os::linux::net::SocketAddrExt;
        use std::os::unix::net::{SocketAddr, UnixDatagram};
        let address = SocketAddr::from_abstract_name(name)?;
        let message = lines.join("\n") + "\n";
        return UnixDatagram::unbound()?.send_to_addr(message.as_bytes(), &address).map(drop);
    }
    let states: Vec<_> = lines.iter().map(|line| sd_notify::NotifyState::Custom(line)).collect();
    sd_notify::notify(&states)
}

#[cfg(not(unix))]
fn send(_lines: &[&str]) {}
