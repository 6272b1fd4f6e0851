//! What the user types on the terminal becomes [`Event::Key`]s: a letter and Enter.
//!
//! Whole lines, so that the terminal stays in its ordinary mode: nothing is to be restored when the
//! tool is killed, and the server's output looks as it always does.

use std::io::{self, BufRead, IsTerminal};
use std::thread;

use tokio::sync::mpsc::UnboundedSender;

use crate::event::{Event, Key};

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
use self::unix::wait_for_line;
#[cfg(windows)]
use self::windows::wait_for_line;

/// Whether there is somebody who could type.
pub fn present() -> bool {
    io::stdin().is_terminal()
}

/// Reads keys from the terminal on a thread of its own, until its end.
pub fn listen(events: UnboundedSender<Event>) {
    thread::spawn(move || {
        let mut line = String::new();
        while wait_for_line().is_ok() {
            line.clear();
            match io::stdin().lock().read_line(&mut line) {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
            let Some(key) = key(&line) else { continue };
            if events.send(Event::Key(key)).is_err() {
                return;
            }
        }
    });
}

fn key(line: &str) -> Option<Key> {
    match line.trim() {
        "r" => Some(Key::Restart),
        "q" => Some(Key::Quit),
        "h" | "?" => Some(Key::Help),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{Key, key};

    #[test]
    fn a_letter_and_enter_is_a_key_and_nothing_else_is() {
        assert_eq!(key("r\n"), Some(Key::Restart));
        assert_eq!(key(" q \r\n"), Some(Key::Quit));
        assert_eq!(key("?\n"), Some(Key::Help));
        assert_eq!(key("\n"), None);
        assert_eq!(key("rq\n"), None);
    }
}
