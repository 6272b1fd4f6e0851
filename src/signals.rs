//! Signals to the tool become [`Event::Signal`]s.

use std::io;

use tokio::sync::mpsc::UnboundedSender;

use crate::event::{Event, Signal};

/// Takes the signals over from now on and sends each one as an event. Needs tokio's runtime.
///
/// A SIGHUP that was ignored when we were started (`nohup`) stays ignored.
#[cfg(unix)]
pub fn listen(events: &UnboundedSender<Event>) -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut kinds = vec![
        (SignalKind::interrupt(), Signal::Interrupt),
        (SignalKind::terminate(), Signal::Terminate),
    ];
    if !hangup_is_ignored() {
        kinds.push((SignalKind::hangup(), Signal::Hangup));
    }
    for (kind, name) in kinds {
        let mut stream = signal(kind)?;
        let events = events.clone();
        tokio::spawn(async move {
            while stream.recv().await.is_some() && events.send(Event::Signal(name)).is_ok() {}
        });
    }
    Ok(())
}

/// Whether SIGHUP is ignored: `SigIgn` in proc(5), a mask in which signal 1 is the lowest bit. Where
/// there is no procfs, `nohup` is not honoured.
#[cfg(unix)]
fn hangup_is_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask & 1 != 0)
}

/// Takes Ctrl-C, Ctrl-Break and the closing of the console over from now on.
#[cfg(windows)]
pub fn listen(events: &UnboundedSender<Event>) -> io::Result<()> {
    use tokio::signal::windows;

    let events = events.clone();
    let mut interrupt = windows::ctrl_c()?;
    let mut stop = windows::ctrl_break()?;
    let mut close = windows::ctrl_close()?;
    tokio::spawn(async move {
        loop {
            let signal = tokio::select! {
                Some(()) = interrupt.recv() => Signal::Interrupt,
                Some(()) = stop.recv() => Signal::Terminate,
                Some(()) = close.recv() => Signal::Hangup,
                else => return,
            };
            if events.send(Event::Signal(signal)).is_err() {
                return;
            }
        }
    });
    Ok(())
}
