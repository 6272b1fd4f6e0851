//! Lines on their way out, by a thread of their own: a reader who stalls, or a named pipe that
//! nobody has opened yet, holds up that thread and not the tool.

use std::io::{self, Write};
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::Duration;

/// How long a slow reader is waited for at the end.
const PATIENCE: Duration = Duration::from_secs(1);

/// The sending end. Nothing is ever dropped in between: what nobody reads is kept in memory, which
/// is little beside what a build takes.
#[derive(Debug)]
pub(super) struct Lines(Sender<Message>);

#[derive(Debug)]
enum Message {
    Line(String),
    /// Everything before this is written: says so by dropping the sender.
    Flush(Sender<()>),
}

impl Lines {
    /// Starts the thread. It opens what is written to, which may block.
    ///
    /// # Errors
    /// The system has no thread left.
    pub(super) fn start<W: Write>(
        open: impl FnOnce() -> io::Result<W> + Send + 'static,
    ) -> io::Result<Self> {
        let (sender, messages) = mpsc::channel();
        thread::Builder::new().name("events".into()).spawn(move || {
            let Ok(mut out) = open() else { return };
            for message in messages {
                match message {
                    // A reader who is gone is not an error, and the next one may come.
                    Message::Line(line) => drop(out.write_all(line.as_bytes())),
                    Message::Flush(done) => {
                        let _ = out.flush();
                        drop(done);
                    }
                }
            }
        })?;
        Ok(Self(sender))
    }

    /// Hands a line over. Never blocks.
    pub(super) fn write(&self, line: String) {
        // It could not be opened: nobody reads.
        let _ = self.0.send(Message::Line(line));
    }

    /// Waits until everything is written, or until a slow reader has had its time.
    pub(super) fn flush(&self) {
        let (done, end) = mpsc::channel();
        if self.0.send(Message::Flush(done)).is_ok() {
            // Never a value: either its end or the timeout.
            let _ = end.recv_timeout(PATIENCE);
        }
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.flush();
    }
}
