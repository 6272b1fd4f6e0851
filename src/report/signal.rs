//! Names of the signals that the tool answers, for messages.

use crate::event::Signal;

/// What a signal that the tool got is called by people.
pub(super) fn spoken(signal: Signal) -> &'static str {
    match signal {
        Signal::Interrupt => "Ctrl-C",
        Signal::Terminate | Signal::Hangup => name(signal),
    }
}

/// The system's name of a signal that the tool got.
pub(super) fn name(signal: Signal) -> &'static str {
    match signal {
        Signal::Interrupt => "SIGINT",
        Signal::Terminate => "SIGTERM",
        Signal::Hangup => "SIGHUP",
    }
}
