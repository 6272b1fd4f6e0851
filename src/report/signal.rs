//! Names of the signals that the tool answers, for messages.

use crate::event::Signal;

/// The name of a signal that the tool got.
pub(super) fn own(signal: Signal) -> &'static str {
    match signal {
        Signal::Interrupt => "Ctrl-C",
        Signal::Terminate => "SIGTERM",
        Signal::Hangup => "SIGHUP",
    }
}
