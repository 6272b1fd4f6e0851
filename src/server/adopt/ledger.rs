//! Which listeners are kept, for which addresses, and which servers have them. One for the tool's
//! whole life; every server's [`Adoption`](super::Adoption) asks it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::control::{Hand, Name, Said};
use super::page::{FileId, Page};
use super::probe::{self, Source};
use super::wire;
use crate::event::{Endpoint, Generation};
use crate::server::listening::overlap;
use crate::server::socket::KnownAs;

/// All listeners that are kept.
#[derive(Debug, Default)]
pub(super) struct Ledger(Mutex<Books>);

#[derive(Debug, Default)]
struct Books {
    kept: Vec<Kept>,
    servers: BTreeMap<Generation, Server>,
    probes: Source,
    /// The last server that has ended had asked for nothing: it may have failed for what is kept.
    in_vain: bool,
    /// The listeners, by inode, on which a probe wakes whoever accepts; and whether it has to be done
    /// once more.
    waking: BTreeMap<u64, bool>,
}

/// A server that adopts.
#[derive(Debug)]
struct Server {
    page: Arc<Page>,
    hand: Hand,
    /// How many connections it was handed.
    handed: u32,
    retired: bool,
    /// It has bound anything where the shim sees it.
    binds: bool,
}

impl Server {
    fn give(&mut self, connection: BorrowedFd<'_>, listener: u64) -> io::Result<()> {
        self.hand.give(connection, listener)?;
        self.handed = self.handed.wrapping_add(1);
        self.page.handed(self.handed)
    }
}

/// A listener.
#[derive(Debug)]
struct Kept {
    /// As the first server has asked for it: the port may be 0.
    asked: Name,
    /// Where it listens.
    actual: Name,
    v6only: bool,
    socket: Arc<OwnedFd>,
    inode: u64,
    /// A Unix socket's file.
    file: Option<FileId>,
    /// Who has it.
    users: BTreeSet<Generation>,
    /// Who listens on it. One who has it is about to.
    listening: BTreeSet<Generation>,
    /// The tool's own, offered to servers that may take it by another way.
    lent: bool,
}

impl Kept {
    fn answers(&self, said: &Said, asked: &Name) -> bool {
        match (asked, &self.actual) {
            (Name::Tcp(asked), Name::Tcp(actual)) => {
                let v6only = said.flags & wire::V6ONLY != 0;
                // One address is one address; the kernel sets the option once that is bound.
                let one = asked.is_ipv4() || !asked.ip().is_unspecified();
                asked == actual && (one || v6only == self.v6only || self.lent)
            }
            // However the path is written, the file decides.
            (Name::Path(_), Name::Path(_)) => self.file.is_some() && self.file == said.file,
            (Name::Abstract(asked), Name::Abstract(actual)) => asked == actual,
            _ => false,
        }
    }

    /// Whether it keeps a server from binding this address.
    fn is_in_the_way_of(&self, asked: &Name) -> bool {
        match (asked, &self.actual) {
            (Name::Tcp(asked), Name::Tcp(actual)) => overlap(asked, actual),
            (asked, actual) => asked == actual,
        }
    }

    fn endpoint(&self) -> Endpoint {
        self.actual.endpoint()
    }
}

impl Ledger {
    fn books(&self) -> MutexGuard<'_, Books> {
        // Whatever panicked has left lists behind, which are as good as before.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A server is about to start.
    pub(super) fn enter(&self, generation: Generation, page: Arc<Page>, hand: Hand) {
        let mut books = self.books();
        let server = Server { page, hand, handed: 0, retired: false, binds: false };
        books.servers.insert(generation, server);
        books.protect();
    }

    /// A server has ended. What it alone had is kept, for the one to come, as long as no other server
    /// listens: then it is no longer wanted. Nor is it after one that has never asked for it, since it
    /// may want the same addresses by a way that the shim does not see.
    pub(super) fn leave(&self, generation: Generation) {
        let mut books = self.books();
        if let Some(server) = books.servers.remove(&generation) {
            books.in_vain |= !server.binds;
        }
        for kept in &mut books.kept {
            kept.users.remove(&generation);
            kept.listening.remove(&generation);
        }
        if books.in_vain || books.kept.iter().any(|kept| !kept.listening.is_empty()) {
            books.prune();
        }
    }

    /// Lets go of what no server has.
    pub(super) fn prune(&self) {
        self.books().prune();
    }

    /// A server binds an address, or is about to listen on a port that it left to the system: the
    /// listener that is kept for it.
    pub(super) fn claim(&self, generation: Generation, said: &Said) -> Option<Arc<OwnedFd>> {
        let asked = said.asked.as_ref()?;
        let mut books = self.books();
        books.asks(generation);
        let any_port = said.kind == wire::LISTEN;
        let found = books.kept.iter_mut().find(|kept| {
            let same = if any_port { kept.asked == *asked } else { kept.answers(said, asked) };
            same && !kept.users.contains(&generation)
        });
        if let Some(kept) = found {
            kept.users.insert(generation);
            let socket = Arc::clone(&kept.socket);
            books.protect();
            return Some(socket);
        }
        // A listener that nobody has any more must not keep the server from its address.
        books.kept.retain(|kept| !(kept.users.is_empty() && kept.is_in_the_way_of(asked)));
        None
    }

    /// A server listens on a socket of its own, which the next one may have.
    pub(super) fn keep(&self, generation: Generation, said: Said) -> bool {
        let (Some(asked), Some(actual), Some(socket)) = (said.asked, said.actual, said.socket)
        else {
            return false;
        };
        let mut books = self.books();
        books.asks(generation);
        books.kept.push(Kept {
            asked,
            actual,
            v6only: said.flags & wire::V6ONLY != 0,
            socket: Arc::new(socket),
            inode: said.inode,
            file: said.file,
            users: BTreeSet::from([generation]),
            listening: BTreeSet::from([generation]),
            lent: false,
        });
        books.protect();
        true
    }

    /// A server listens on what it was given.
    pub(super) fn listens(&self, generation: Generation, inode: u64) {
        for kept in &mut self.books().kept {
            if kept.inode == inode && kept.users.contains(&generation) {
                kept.listening.insert(generation);
            }
        }
    }

    /// A server has closed a listener, and does without it.
    pub(super) fn closed(&self, generation: Generation, inode: u64) {
        let mut books = self.books();
        let found = books.kept.iter_mut().find(|kept| kept.inode == inode);
        let Some(kept) = found.filter(|kept| kept.users.contains(&generation)) else { return };
        kept.users.remove(&generation);
        kept.listening.remove(&generation);
        books.kept.retain(|kept| kept.inode != inode || !kept.users.is_empty() || kept.lent);
        books.protect();
    }

    /// A server has closed a listener; it may bind its address anew.
    pub(super) fn put_down(&self, generation: Generation, inode: u64) {
        for kept in self.books().kept.iter_mut().filter(|kept| kept.inode == inode) {
            kept.users.remove(&generation);
            kept.listening.remove(&generation);
        }
    }

    /// Lets go of this listener where no server has it.
    pub(super) fn forget(&self, inode: u64) {
        let mut books = self.books();
        books.kept.retain(|kept| kept.inode != inode || !kept.users.is_empty() || kept.lent);
        books.protect();
    }

    /// A server has nothing of what it had any more.
    pub(super) fn let_go(&self, generation: Generation) {
        let mut books = self.books();
        for kept in &mut books.kept {
            kept.users.remove(&generation);
            kept.listening.remove(&generation);
        }
        books.prune();
    }

    /// Offers the tool's own listener to those who bind its address.
    pub(super) fn lend(&self, socket: OwnedFd, known: &KnownAs, endpoint: &Endpoint) {
        let actual = match endpoint {
            Endpoint::Tcp(address) => Name::Tcp(*address),
            Endpoint::Unix(path) => Name::Path(path.clone()),
        };
        let file = match endpoint {
            Endpoint::Tcp(_) => None,
            Endpoint::Unix(path) => rustix::fs::lstat(path).ok().map(|it| (it.st_dev, it.st_ino)),
        };
        let mut books = self.books();
        if books.kept.iter().any(|kept| kept.inode == known.inode) {
            return;
        }
        books.kept.push(Kept {
            asked: actual.clone(),
            actual,
            v6only: false,
            socket: Arc::new(socket),
            inode: known.inode,
            file,
            users: BTreeSet::new(),
            listening: BTreeSet::new(),
            lent: true,
        });
        books.protect();
    }

    /// The tool's own listener is no longer offered. Who has it by now keeps it.
    pub(super) fn take_back(&self) {
        let mut books = self.books();
        books.kept.retain(|kept| !kept.lent || !kept.users.is_empty());
        for kept in &mut books.kept {
            kept.lent = false;
        }
        books.protect();
    }

    /// Where a server listens by way of us.
    pub(super) fn adopted(&self, generation: Generation) -> Vec<Endpoint> {
        let books = self.books();
        let kept = books.kept.iter().filter(|kept| kept.listening.contains(&generation));
        let mut endpoints: Vec<_> = kept.map(Kept::endpoint).collect();
        endpoints.sort();
        endpoints.dedup();
        endpoints
    }

    /// What all that is kept is to be recognised by.
    pub(super) fn sockets(&self) -> Vec<KnownAs> {
        let books = self.books();
        let known = |kept: &Kept| {
            let address = match kept.actual {
                Name::Tcp(address) => Some(address),
                Name::Path(_) | Name::Abstract(_) => None,
            };
            KnownAs { address, inode: kept.inode }
        };
        books.kept.iter().map(known).collect()
    }

    /// Whether a kept listener has this address.
    pub(super) fn holds(&self, endpoint: &Endpoint) -> bool {
        self.books().kept.iter().any(|kept| match (&kept.actual, endpoint) {
            (Name::Tcp(actual), Endpoint::Tcp(address)) => overlap(actual, address),
            (actual, endpoint) => actual.endpoint() == *endpoint,
        })
    }

    /// Connects to every listener that this server has: whoever accepts shows that it does, and the
    /// shim closes such a connection unseen. It also wakes who was not told of connections that have
    /// waited since before it was resumed: an edge-triggered epoll tells of the next one alone.
    pub(super) fn probe(self: &Arc<Self>, generation: Generation) {
        let books = self.books();
        let kept = books.kept.iter().filter(|kept| kept.listening.contains(&generation));
        let targets: Vec<_> = kept.map(|kept| kept.actual.clone()).collect();
        drop(books);
        for target in targets {
            probe::start(Arc::clone(self), target);
        }
    }

    /// Probes whoever has a listener together with this server.
    pub(super) fn probe_sharers(self: &Arc<Self>, generation: Generation) {
        let books = self.books();
        let shared = books.kept.iter().filter(|kept| kept.listening.contains(&generation));
        let sharers: BTreeSet<_> = shared.flat_map(|kept| kept.listening.iter().copied()).collect();
        drop(books);
        for other in sharers.into_iter().filter(|other| *other != generation) {
            self.probe(other);
        }
    }

    /// Whether another server listens on what this one has.
    pub(super) fn is_shared(&self, generation: Generation) -> bool {
        self.books()
            .kept
            .iter()
            .any(|kept| kept.listening.contains(&generation) && kept.listening.len() > 1)
    }

    /// A server accepts no more connections, or accepts them again.
    pub(super) fn retire(&self, generation: Generation, retired: bool) {
        let mut books = self.books();
        let Some(server) = books.servers.get_mut(&generation) else { return };
        server.retired = retired;
        // Where that fails both accept, and the old one is asked to stop all the same.
        let _ = server.page.retire(retired);
    }

    /// Hands a connection that came to this address to the server that accepts there.
    pub(super) fn pass(
        self: &Arc<Self>,
        connection: BorrowedFd<'_>,
        address: &Name,
    ) -> io::Result<()> {
        let mut books = self.books();
        let Books { kept, servers, .. } = &mut *books;
        let mut places = kept.iter().filter(|kept| kept.is_in_the_way_of(address));
        let found = places.find_map(|kept| {
            let accepts = |it: &&Generation| servers.get(it).is_some_and(|server| !server.retired);
            Some((kept, *kept.listening.iter().rev().find(accepts)?))
        });
        let (kept, newest) = found.ok_or(io::ErrorKind::NotFound)?;
        let server = servers.get_mut(&newest).ok_or(io::ErrorKind::NotFound)?;
        server.give(connection, kept.inode)?;
        let (inode, target) = (kept.inode, kept.actual.clone());
        // One that is on its way may have come too soon for this one.
        let wakes = books.waking.insert(inode, true).is_none();
        drop(books);
        if wakes {
            probe::wake(Arc::clone(self), inode, target);
        }
        Ok(())
    }

    /// Whether a connection was laid there for this listener since the last time that this was asked.
    pub(super) fn wakes(&self, listener: u64) -> bool {
        let mut books = self.books();
        let again = books.waking.get_mut(&listener).is_some_and(std::mem::take);
        if !again {
            books.waking.remove(&listener);
        }
        again
    }

    /// Changes what is expected of connections of the tool's own, and tells every server.
    pub(super) fn expect<T>(&self, change: impl FnOnce(&mut Source) -> T) -> T {
        let mut books = self.books();
        let before = books.probes.expected();
        let result = change(&mut books.probes);
        let now = books.probes.expected();
        if before != now {
            for server in books.servers.values() {
                // Where it cannot be written the server sees a connection that is closed at once.
                let _ = server.page.expect(now);
            }
        }
        result
    }
}

impl Books {
    /// A server binds where the shim sees it: so may the next one.
    fn asks(&mut self, generation: Generation) {
        self.in_vain = false;
        if let Some(server) = self.servers.get_mut(&generation) {
            server.binds = true;
        }
    }

    fn prune(&mut self) {
        self.kept.retain(|kept| !kept.users.is_empty() || kept.lent);
        self.protect();
    }

    /// Tells every server what has changed of what they all must know.
    fn protect(&self) {
        let files: Vec<FileId> = self.kept.iter().filter_map(|kept| kept.file).collect();
        let expected = self.probes.expected();
        for Server { page, .. } in self.servers.values() {
            // Where it cannot be written, what is not protected may be removed, and is bound anew.
            let _ = page.protect(&files);
            let _ = page.expect(expected);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::fd::AsFd;

    use super::*;

    const OLD: Generation = Generation(1);
    const NEW: Generation = Generation(2);

    fn tcp(address: &str) -> Name {
        Name::Tcp(address.parse().expect("an address"))
    }

    fn question(kind: u8, asked: Name) -> Said {
        let (flags, sequence, inode) = (0, 0, 0);
        Said {
            kind,
            flags,
            sequence,
            inode,
            file: None,
            asked: Some(asked),
            actual: None,
            socket: None,
        }
    }

    fn bind(address: &str) -> Said {
        question(wire::BIND, tcp(address))
    }

    /// A server listens on a socket of its own; the inode stands for it.
    fn listening(asked: Name, actual: Name, inode: u64) -> Said {
        let socket = TcpListener::bind("127.0.0.1:0").expect("a listener").into();
        let (actual, socket) = (Some(actual), Some(socket));
        Said { inode, actual, socket, ..question(wire::LISTENING, asked) }
    }

    fn on(address: &str, inode: u64) -> Said {
        listening(tcp(address), tcp(address), inode)
    }

    fn endpoints(addresses: &[&str]) -> Vec<Endpoint> {
        addresses.iter().map(|it| tcp(it).endpoint()).collect()
    }

    #[test]
    fn what_the_old_server_has_the_new_one_gets_once() {
        let ledger = Ledger::default();
        assert!(ledger.claim(OLD, &bind("127.0.0.1:3000")).is_none());
        assert!(ledger.keep(OLD, on("127.0.0.1:3000", 7)));
        assert_eq!(ledger.adopted(OLD), endpoints(&["127.0.0.1:3000"]));
        assert!(ledger.claim(OLD, &bind("127.0.0.1:3000")).is_none(), "it has it already");

        assert!(ledger.claim(NEW, &bind("127.0.0.1:3001")).is_none());
        assert!(ledger.claim(NEW, &bind("127.0.0.1:3000")).is_some());
        assert_eq!(ledger.adopted(NEW), [], "it does not listen yet");
        assert!(!ledger.is_shared(OLD));
        ledger.listens(NEW, 7);
        assert_eq!(ledger.adopted(NEW), endpoints(&["127.0.0.1:3000"]));
        assert!(ledger.is_shared(OLD));
    }

    #[test]
    fn two_of_one_address_are_handed_out_in_turn() {
        let ledger = Ledger::default();
        for inode in [7, 8] {
            ledger.keep(OLD, on("127.0.0.1:3000", inode));
        }
        let sockets: Vec<_> = (0..3).map(|_| ledger.claim(NEW, &bind("127.0.0.1:3000"))).collect();
        let [Some(first), Some(second), None] = &sockets[..] else { panic!("{sockets:?}") };
        assert!(!Arc::ptr_eq(first, second));
    }

    #[test]
    fn a_port_that_was_left_to_the_system_stays_the_same() {
        let ledger = Ledger::default();
        let asked = || tcp("127.0.0.1:0");
        ledger.keep(OLD, listening(asked(), tcp("127.0.0.1:40001"), 7));
        ledger.keep(OLD, listening(asked(), tcp("127.0.0.1:40002"), 8));
        let first = ledger.claim(NEW, &question(wire::LISTEN, asked())).expect("the first");
        ledger.listens(NEW, 7);
        assert_eq!(ledger.adopted(NEW), endpoints(&["127.0.0.1:40001"]));
        // By its number it is found as well.
        let second = ledger.claim(NEW, &bind("127.0.0.1:40002")).expect("the second");
        assert!(!Arc::ptr_eq(&first, &second));
        assert!(ledger.claim(NEW, &question(wire::LISTEN, asked())).is_none());
    }

    #[test]
    fn what_nobody_has_is_kept_for_the_next_one_and_given_up_once_that_has_settled() {
        let ledger = Ledger::default();
        ledger.keep(OLD, on("127.0.0.1:3000", 7));
        ledger.keep(OLD, on("127.0.0.1:3001", 8));
        ledger.leave(OLD);
        assert_eq!(ledger.sockets().len(), 2);
        assert!(ledger.claim(NEW, &bind("127.0.0.1:3000")).is_some());
        ledger.listens(NEW, 7);
        assert_eq!(ledger.sockets().len(), 2, "it may bind the other one yet");
        ledger.prune();
        assert!(!ledger.holds(&tcp("127.0.0.1:3001").endpoint()));
        assert!(ledger.holds(&tcp("127.0.0.1:3000").endpoint()));
    }

    /// A server starts.
    fn enter(ledger: &Ledger, generation: Generation) {
        let (hand, _) = Hand::pair().expect("a pair");
        ledger.enter(generation, Arc::new(Page::new().expect("a page")), hand);
    }

    #[test]
    fn what_nobody_has_is_given_up_after_a_server_that_has_not_asked_for_it() {
        let third = Generation(3);
        let ledger = Ledger::default();
        enter(&ledger, OLD);
        ledger.keep(OLD, on("127.0.0.1:3000", 7));
        enter(&ledger, NEW);
        ledger.leave(NEW);
        assert!(ledger.holds(&tcp("127.0.0.1:3000").endpoint()), "the old one has it");
        ledger.leave(OLD);
        assert!(!ledger.holds(&tcp("127.0.0.1:3000").endpoint()));
        // One that has asked may come to nothing for another reason.
        enter(&ledger, NEW);
        ledger.keep(NEW, on("127.0.0.1:3000", 7));
        ledger.leave(NEW);
        enter(&ledger, third);
        ledger.claim(third, &bind("127.0.0.1:3000"));
        ledger.leave(third);
        assert!(ledger.holds(&tcp("127.0.0.1:3000").endpoint()), "it is for the next one");
    }

    #[test]
    fn what_the_old_server_had_goes_with_it_where_the_new_one_listens_elsewhere() {
        let ledger = Ledger::default();
        ledger.keep(OLD, on("127.0.0.1:3000", 7));
        ledger.keep(NEW, on("127.0.0.1:4000", 8));
        ledger.leave(OLD);
        assert!(!ledger.holds(&tcp("127.0.0.1:3000").endpoint()));
        assert_eq!(ledger.adopted(NEW), endpoints(&["127.0.0.1:4000"]));
    }

    #[test]
    fn what_nobody_has_is_in_nobodys_way() {
        for (kept, wanted, goes) in [
            ("127.0.0.1:3000", "0.0.0.0:3000", true),
            ("0.0.0.0:3000", "127.0.0.1:3000", true),
            ("127.0.0.1:3000", "[::]:3000", true),
            ("127.0.0.1:3000", "127.0.0.2:3000", false),
            ("127.0.0.1:3000", "0.0.0.0:3001", false),
        ] {
            let ledger = Ledger::default();
            ledger.keep(OLD, on(kept, 7));
            assert!(ledger.claim(NEW, &bind(wanted)).is_none(), "{kept} is not {wanted}");
            assert!(ledger.holds(&tcp(kept).endpoint()), "{kept} is the old server's");
            ledger.leave(OLD);
            ledger.claim(NEW, &bind(wanted));
            assert_eq!(!ledger.holds(&tcp(kept).endpoint()), goes, "{kept}, {wanted}");
        }
    }

    #[test]
    fn ipv6_alone_is_another_address() {
        let ledger = Ledger::default();
        ledger.keep(OLD, Said { flags: wire::V6ONLY, ..on("[::]:3000", 7) });
        assert!(ledger.claim(NEW, &bind("[::]:3000")).is_none());
        let alone = Said { flags: wire::V6ONLY, ..bind("[::]:3000") };
        assert!(ledger.claim(NEW, &alone).is_some());
    }

    #[test]
    fn one_ipv6_address_is_the_same_before_and_after_it_is_bound() {
        let ledger = Ledger::default();
        ledger.keep(OLD, Said { flags: wire::V6ONLY, ..on("[::1]:3000", 7) });
        assert!(ledger.claim(NEW, &bind("[::1]:3000")).is_some());
    }

    #[test]
    fn of_a_unix_socket_the_file_decides() {
        let ledger = Ledger::default();
        let (path, other) = (Name::Path("app.sock".into()), Name::Path("/srv/app.sock".into()));
        let file = Some((1, 42));
        ledger.keep(OLD, Said { file, ..listening(path.clone(), path.clone(), 7) });
        let ask = |name: &Name, file| Said { file, ..question(wire::BIND, name.clone()) };
        assert!(ledger.claim(NEW, &ask(&path, None)).is_none(), "it was removed");
        assert!(ledger.claim(NEW, &ask(&path, Some((1, 43)))).is_none(), "it is another one");
        assert!(ledger.claim(NEW, &ask(&other, file)).is_some());
    }

    #[test]
    fn a_listener_that_was_closed_is_let_go_by_those_who_had_it() {
        let ledger = Ledger::default();
        ledger.keep(OLD, on("127.0.0.1:3000", 7));
        ledger.closed(NEW, 7);
        assert_eq!(ledger.adopted(OLD).len(), 1, "it is not the other one's to close");
        ledger.claim(NEW, &bind("127.0.0.1:3000"));
        ledger.closed(NEW, 7);
        assert_eq!(ledger.adopted(OLD).len(), 1);
        ledger.closed(OLD, 7);
        assert!(!ledger.holds(&tcp("127.0.0.1:3000").endpoint()));
        ledger.keep(OLD, on("127.0.0.1:3000", 7));
        ledger.leave(OLD);
        ledger.closed(OLD, 7);
        assert!(ledger.holds(&tcp("127.0.0.1:3000").endpoint()), "it has ended, and is awaited");
    }

    #[test]
    fn our_own_listener_is_lent_until_it_is_taken_back() {
        let ledger = Ledger::default();
        let ours = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let address = ours.local_addr().expect("it has one");
        let endpoint = Endpoint::Tcp(address);
        let known = KnownAs { address: Some(address), inode: 7 };
        let lend = || {
            let copy = ours.as_fd().try_clone_to_owned().expect("a copy");
            ledger.lend(copy, &known, &endpoint);
        };
        lend();
        ledger.prune();
        ledger.take_back();
        assert!(!ledger.holds(&endpoint));
        lend();
        assert!(ledger.claim(OLD, &bind(&address.to_string())).is_some());
        ledger.listens(OLD, 7);
        ledger.take_back();
        ledger.prune();
        assert_eq!(ledger.adopted(OLD), [endpoint]);
    }
}
