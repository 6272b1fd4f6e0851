//! Clients that ask all the time, and count exactly what becomes of each request. No tool from
//! outside tells a refused connection from a dropped request and from an orderly close.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::grpc::Channel;
use super::{PATIENCE, eventually};

/// Nobody waits longer for an answer.
pub const TIMEOUT: Duration = Duration::from_secs(20);
/// Between two requests of a client: what is tested also has to get on.
const PAUSE: Duration = Duration::from_millis(1);
/// So many of what went wrong are kept word for word.
const KEPT: usize = 8;

/// Who is asked.
#[derive(Clone, Debug)]
pub enum Target {
    /// Over TCP.
    Tcp(SocketAddr),
    /// Through a Unix socket.
    Unix(PathBuf),
    /// Over TCP, by gRPC, and so by HTTP/2.
    Grpc(SocketAddr),
}

/// How a client comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connections {
    /// With a connection for each request.
    Fresh,
    /// With one that it keeps for as long as the server does.
    KeptAlive,
}

/// What became of all requests.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// With status 2xx.
    pub answered: u64,
    /// With status 5xx.
    pub failed: u64,
    /// With another status, or with what is no HTTP.
    pub strange: u64,
    /// Nobody took the connection.
    pub refused: u64,
    /// Sent, and then the connection ended without a byte of an answer.
    pub dropped: u64,
    /// The connection ended within the answer.
    pub cut: u64,
    /// Of those two, how many ended with a reset: so do those that had been waiting on a listener
    /// that was closed.
    pub reset: u64,
    /// No answer in [`TIMEOUT`].
    pub timed_out: u64,
    /// HTTP/2: sent, and given back untouched by a server that had announced its connection's end
    /// meanwhile. The client is to ask again, which is no new request here.
    pub given_back: u64,
    /// Connections that were made.
    pub connections: u64,
    /// Connections that the server ended in order: with an answer that said so.
    pub closed: u64,
    /// Kept connections that were seen to be ended between two requests, without having been told.
    pub closed_unannounced: u64,
    /// From the attempt to connect (or to send, on a kept connection) to the last byte.
    pub slowest: Duration,
    /// Of the answers, by the first word of their bodies.
    pub versions: BTreeMap<String, u64>,
    /// Of the answers, by what their bodies say besides version and process: by which of its
    /// applications a server has answered.
    pub applications: BTreeMap<String, u64>,
    /// The first few of what went wrong.
    pub notes: Vec<String>,
}

impl Counts {
    /// Requests that were not answered with 2xx.
    pub fn unanswered(&self) -> u64 {
        self.failed + self.strange + self.refused + self.dropped + self.cut + self.timed_out
    }

    fn add(&mut self, other: Self) {
        self.answered += other.answered;
        self.failed += other.failed;
        self.strange += other.strange;
        self.refused += other.refused;
        self.dropped += other.dropped;
        self.cut += other.cut;
        self.reset += other.reset;
        self.timed_out += other.timed_out;
        self.given_back += other.given_back;
        self.connections += other.connections;
        self.closed += other.closed;
        self.closed_unannounced += other.closed_unannounced;
        self.slowest = self.slowest.max(other.slowest);
        for (version, count) in other.versions {
            *self.versions.entry(version).or_default() += count;
        }
        for (application, count) in other.applications {
            *self.applications.entry(application).or_default() += count;
        }
        self.notes.extend(other.notes);
        self.notes.truncate(KEPT);
    }

    fn note(&mut self, what: impl fmt::Display) {
        if self.notes.len() < KEPT {
            self.notes.push(what.to_string());
        }
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} answered by {} versions on {} connections ({} closed in order, {} unannounced); \
             {} refused, {} dropped, {} cut ({} of them reset), {} 5xx, {} strange, {} timed out; \
             {} given back; slowest {:.1} ms",
            self.answered,
            self.versions.len(),
            self.connections,
            self.closed,
            self.closed_unannounced,
            self.refused,
            self.dropped,
            self.cut,
            self.reset,
            self.failed,
            self.strange,
            self.timed_out,
            self.given_back,
            self.slowest.as_secs_f64() * 1e3,
        )?;
        for note in &self.notes {
            write!(f, "\n    {note}")?;
        }
        Ok(())
    }
}

/// Clients at work. They go away when this is dropped.
#[must_use]
pub struct Load {
    stop: Arc<AtomicBool>,
    answers: Arc<AtomicU64>,
    refusals: Arc<AtomicU64>,
    last: Arc<Mutex<String>>,
    clients: Vec<JoinHandle<Counts>>,
}

impl Load {
    /// So many clients, who ask for `/` from now on.
    pub fn start(target: &Target, connections: Connections, clients: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let answers = Arc::new(AtomicU64::new(0));
        let refusals = Arc::new(AtomicU64::new(0));
        let last = Arc::new(Mutex::new(String::new()));
        let clients = (0..clients).map(|_| {
            let client = Client {
                target: target.clone(),
                connections,
                kept: None,
                channel: None,
                counts: Counts::default(),
                answers: Arc::clone(&answers),
                refusals: Arc::clone(&refusals),
                last: Arc::clone(&last),
            };
            let stop = Arc::clone(&stop);
            thread::spawn(move || client.run(&stop))
        });
        Self { clients: clients.collect(), stop, answers, refusals, last }
    }

    /// Waits until so many more requests have been answered.
    pub fn wait_for_answers(&self, count: u64) {
        let enough = self.answers.load(Ordering::SeqCst) + count;
        eventually("answers", || self.answers.load(Ordering::SeqCst) >= enough);
    }

    /// Waits until somebody is refused.
    pub fn wait_for_refusal(&self) {
        eventually("a refusal", || self.refusals.load(Ordering::SeqCst) > 0);
    }

    /// Waits until somebody is answered by this version.
    pub fn wait_for_version(&self, version: &str) {
        eventually(version, || *self.last.lock().expect("no client panics") == version);
    }

    /// Ends it at once (requests that were sent are still answered); what became of all.
    pub fn stop(mut self) -> Counts {
        self.stop.store(true, Ordering::SeqCst);
        let mut all = Counts::default();
        for client in self.clients.drain(..) {
            all.add(client.join().expect("no client panics"));
        }
        all
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
    }
}

/// Either kind of stream.
trait Stream: Read + Write + Send {
    /// Whether the other side has ended it.
    fn is_ended(&mut self) -> bool;
}

macro_rules! stream {
    ($kind:ty) => {
        impl Stream for $kind {
            fn is_ended(&mut self) -> bool {
                if self.set_nonblocking(true).is_err() {
                    return true;
                }
                // Between two requests there is nothing else to come.
                let ended = !matches!(self.read(&mut [0]),
                    Err(error) if error.kind() == ErrorKind::WouldBlock);
                ended || self.set_nonblocking(false).is_err()
            }
        }
    };
}

stream!(TcpStream);
stream!(UnixStream);

struct Client {
    target: Target,
    connections: Connections,
    kept: Option<Box<dyn Stream>>,
    channel: Option<Channel>,
    counts: Counts,
    answers: Arc<AtomicU64>,
    refusals: Arc<AtomicU64>,
    last: Arc<Mutex<String>>,
}

/// What a request came to.
pub enum Came {
    /// Status, body, whether the connection ends.
    Answer(u16, String, bool),
    /// Something that is no HTTP.
    Strange(String),
    /// The connection ended before the first byte.
    Dropped(io::Error),
    /// And here after it.
    Cut(io::Error),
    TimedOut,
    /// Announced: no request is taken any more. This one was not sent.
    NotSent,
    /// And here it was, and was not looked at.
    GivenBack,
}

impl Client {
    fn run(mut self, stop: &AtomicBool) -> Counts {
        while !stop.load(Ordering::SeqCst) {
            match self.target {
                Target::Grpc(address) => self.ask_by_grpc(address),
                _ => self.ask(),
            }
            thread::sleep(PAUSE);
        }
        self.counts
    }

    /// One request.
    fn ask(&mut self) {
        if self.kept.as_mut().is_some_and(|kept| kept.is_ended()) {
            self.kept = None;
            self.counts.closed_unannounced += 1;
        }
        let asked = Instant::now();
        let mut stream = match self.kept.take().map_or_else(|| self.connect(), Ok) {
            Ok(stream) => stream,
            Err(error) => {
                self.refused(&error);
                return;
            }
        };
        let connection = match self.connections {
            Connections::Fresh => "close",
            Connections::KeptAlive => "keep-alive",
        };
        let request = format!("GET / HTTP/1.1\r\nhost: test\r\nconnection: {connection}\r\n\r\n");
        let came = converse(stream.as_mut(), request.as_bytes());
        if !self.became(came, asked.elapsed()) && self.connections == Connections::KeptAlive {
            self.kept = Some(stream);
        }
    }

    /// The same by gRPC.
    fn ask_by_grpc(&mut self, address: SocketAddr) {
        if let Some(channel) = &mut self.channel
            && let Some(in_order) = channel.ended()
        {
            self.channel = None;
            *if in_order {
                &mut self.counts.closed
            } else {
                &mut self.counts.closed_unannounced
            } += 1;
        }
        let asked = Instant::now();
        let mut channel = match self.channel.take().map_or_else(|| Channel::connect(address), Ok) {
            Ok(channel) => channel,
            Err(error) => {
                self.refused(&error);
                return;
            }
        };
        if channel.requests == 0 {
            self.counts.connections += 1;
        }
        let came = channel.ask();
        if !self.became(came, asked.elapsed()) && self.connections == Connections::KeptAlive {
            self.channel = Some(channel);
        }
    }

    /// Nothing else can be meant by it: the tests have a server all the time.
    fn refused(&mut self, error: &io::Error) {
        self.counts.refused += 1;
        // One of them tells it all; there can be thousands.
        if self.counts.refused == 1 {
            self.counts.note(format!("connect: {error}"));
        }
        self.refusals.fetch_add(1, Ordering::SeqCst);
    }

    /// Counts it. Whether the connection ends with it.
    fn became(&mut self, came: Came, took: Duration) -> bool {
        self.counts.slowest = self.counts.slowest.max(took);
        let is_reset = |error: &io::Error| u64::from(error.kind() == ErrorKind::ConnectionReset);
        match came {
            Came::Answer(status, body, ends) => {
                let mut words = body.split_whitespace();
                let word = words.next().unwrap_or_default().to_owned();
                match status {
                    200..300 => {
                        self.counts.answered += 1;
                        let application = words.skip(1).collect::<Vec<_>>().join(" ");
                        *self.counts.applications.entry(application).or_default() += 1;
                        *self.counts.versions.entry(word.clone()).or_default() += 1;
                        *self.last.lock().expect("no client panics") = word;
                        self.answers.fetch_add(1, Ordering::SeqCst);
                    }
                    500..600 => self.counts.failed += 1,
                    _ => self.counts.strange += 1,
                }
                self.counts.closed += u64::from(ends);
                return ends;
            }
            Came::Strange(text) => {
                self.counts.strange += 1;
                self.counts.note(format!("not an answer: {text:?}"));
            }
            Came::Dropped(error) => {
                self.counts.dropped += 1;
                self.counts.reset += is_reset(&error);
                self.counts.note(format!("dropped after {took:?}: {error}"));
            }
            Came::Cut(error) => {
                self.counts.cut += 1;
                self.counts.reset += is_reset(&error);
                self.counts.note(format!("cut after {took:?}: {error}"));
            }
            Came::TimedOut => {
                self.counts.timed_out += 1;
                self.counts.note(format!("no answer in {took:?}"));
            }
            Came::NotSent => self.counts.closed += 1,
            Came::GivenBack => {
                self.counts.closed += 1;
                self.counts.given_back += 1;
            }
        }
        true
    }

    fn connect(&mut self) -> io::Result<Box<dyn Stream>> {
        let stream: Box<dyn Stream> = match &self.target {
            Target::Tcp(address) => {
                let stream = TcpStream::connect_timeout(address, TIMEOUT)?;
                stream.set_read_timeout(Some(TIMEOUT))?;
                stream.set_nodelay(true)?;
                Box::new(stream)
            }
            Target::Grpc(_) => unreachable!("asked by a channel"),
            Target::Unix(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_read_timeout(Some(TIMEOUT))?;
                Box::new(stream)
            }
        };
        self.counts.connections += 1;
        Ok(stream)
    }
}

/// Sends the request and reads the answer.
fn converse(stream: &mut dyn Stream, request: &[u8]) -> Came {
    if let Err(error) = stream.write_all(request) {
        return Came::Dropped(error);
    }
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    let mut expected = None;
    loop {
        let ended = |error| if answer.is_empty() { Came::Dropped(error) } else { Came::Cut(error) };
        match stream.read(&mut buffer) {
            Ok(0) => return ended(ErrorKind::UnexpectedEof.into()),
            Ok(count) => answer.extend_from_slice(&buffer[..count]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return Came::TimedOut;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return ended(error),
        }
        if expected.is_none() {
            let Some(end) = answer.windows(4).position(|part| part == b"\r\n\r\n") else {
                continue;
            };
            let text = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
            let status = text.split(' ').nth(1).and_then(|status| status.parse().ok());
            let length = text.lines().find_map(|line| line.strip_prefix("content-length:"));
            let length = length.and_then(|length| length.trim().parse::<usize>().ok());
            let (Some(status), Some(length)) = (status, length) else { return Came::Strange(text) };
            let ends = text.lines().any(|line| line == "connection: close");
            expected = Some((end + 4, length, status, ends));
        }
        if let Some((start, length, status, ends)) = expected
            && answer.len() >= start + length
        {
            let body = String::from_utf8_lossy(&answer[start..start + length]).into_owned();
            return Came::Answer(status, body, ends);
        }
    }
}

/// One long answer that is read while it comes: a slow one, or a stream of events.
pub struct Open {
    stream: TcpStream,
    text: Arc<Mutex<String>>,
    reader: JoinHandle<io::Result<()>>,
}

impl Open {
    /// Asks for this path. The request is on its way when this returns.
    pub fn get(address: SocketAddr, path: &str) -> Self {
        let mut stream = TcpStream::connect(address).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time");
        let request = format!("GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("it is sent");
        let text = Arc::new(Mutex::new(String::new()));
        let (into, mut from) = (Arc::clone(&text), stream.try_clone().expect("a copy"));
        let reader = thread::spawn(move || {
            let mut buffer = [0; 4096];
            loop {
                let count = from.read(&mut buffer)?;
                if count == 0 {
                    return Ok(());
                }
                let part = String::from_utf8_lossy(&buffer[..count]).into_owned();
                into.lock().expect("no panic").push_str(&part);
            }
        });
        Self { stream, text, reader }
    }

    /// What has come so far, head and body.
    pub fn text(&self) -> String {
        self.text.lock().expect("no panic").clone()
    }

    /// Waits until this has come.
    pub fn wait_for(&self, wanted: &str) {
        eventually(wanted, || self.text().contains(wanted));
    }

    /// Whether the server has ended it.
    pub fn is_over(&self) -> bool {
        self.reader.is_finished()
    }

    /// Waits for its end, which has to be an orderly one; all that has come.
    pub fn finish(self) -> String {
        self.reader.join().expect("no panic").expect("it is not broken off");
        self.text.lock().expect("no panic").clone()
    }

    /// Goes away.
    pub fn leave(self) {
        // It may be over.
        let _ = self.stream.shutdown(Shutdown::Both);
        let _ = self.reader.join();
    }
}
