//! Waiting for a line without being stopped for it.

use std::io;
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::getpgrp;
use rustix::termios::tcgetpgrp;

/// How often to look whether we are back in the foreground while a line waits for somebody else.
const RECHECK: Duration = Duration::from_secs(1);

/// Waits until there is a line, and it is for us. A process in the background that reads from its
/// terminal is stopped by SIGTTIN (`termios(3)`), so reading has to wait until we are in front;
/// polling is free to everybody.
pub(super) fn wait_for_line() -> io::Result<()> {
    let stdin = io::stdin();
    loop {
        poll(&mut [PollFd::new(&stdin, PollFlags::IN)], None)?;
        match tcgetpgrp(&stdin) {
            Ok(front) if front == getpgrp() => return Ok(()),
            // There is no event for coming to the front.
            Ok(_) => thread::sleep(RECHECK),
            Err(error) => return Err(error.into()),
        }
    }
}
