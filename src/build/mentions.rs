//! Which of systemd's variables an executable has the names of. Who reads `LISTEN_FDS` may take our
//! socket, who reads `NOTIFY_SOCKET` may say when it is ready; who has not even the name does
//! neither. The dependencies cannot tell: a crate may be there and not be used, and the variable be
//! read without one.

use memchr::memmem::Finder;

use crate::event::Mentions;

const LISTEN_FDS: &[u8] = b"LISTEN_FDS";
const NOTIFY_SOCKET: &[u8] = b"NOTIFY_SOCKET";
/// A name that lies across two pieces has at most so many bytes in the first one.
const ACROSS: usize = NOTIFY_SOCKET.len() - 1;

/// Looks for the names in a file that is read piece by piece.
pub(super) struct Search {
    names: [(Finder<'static>, bool); 2],
    /// The end of the piece before.
    tail: Vec<u8>,
}

impl Search {
    pub(super) fn new() -> Self {
        let names = [LISTEN_FDS, NOTIFY_SOCKET].map(|name| (Finder::new(name), false));
        Self { names, tail: Vec::new() }
    }

    /// The next piece.
    pub(super) fn look(&mut self, piece: &[u8]) {
        self.tail.extend_from_slice(&piece[..piece.len().min(ACROSS)]);
        for (name, found) in &mut self.names {
            *found = *found || name.find(&self.tail).is_some() || name.find(piece).is_some();
        }
        let last = if piece.len() >= ACROSS { piece } else { &self.tail };
        self.tail = last[last.len().saturating_sub(ACROSS)..].to_vec();
    }

    pub(super) fn found(self) -> Mentions {
        let [(_, listen_fds), (_, notify_socket)] = self.names;
        Mentions { listen_fds, notify_socket }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found_in(text: &[u8], piece: usize) -> Mentions {
        let mut search = Search::new();
        text.chunks(piece).for_each(|piece| search.look(piece));
        search.found()
    }

    #[test]
    fn a_name_is_found_wherever_the_pieces_are_cut() {
        let text = b"\0HOME\0LISTEN_FDSPATH NOTIFY_SOCKET";
        for piece in 1..=text.len() {
            let both = Mentions { listen_fds: true, notify_socket: true };
            assert_eq!(found_in(text, piece), both, "pieces of {piece}");
        }
    }

    #[test]
    fn what_only_resembles_a_name_is_none() {
        for piece in 1..40 {
            let found = found_in(b"LISTEN_FD S LISTEN_PID NOTIFY_SOCKE", piece);
            assert_eq!(found, Mentions::default(), "pieces of {piece}");
        }
    }
}
