//! The tool's end of the socket to the shim of one server: messages, and descriptors with them.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::{MaybeUninit, offset_of};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use tokio::io::Interest;
use tokio::net::UnixDatagram;

use super::wire::{self, Address, MESSAGE, Message};
use crate::event::Endpoint;

/// An address as a program gives it to the system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Name {
    Tcp(SocketAddr),
    /// A path, as the program wrote it.
    Path(PathBuf),
    /// A name that is no file's (`unix(7)`, «abstract»).
    Abstract(Vec<u8>),
}

impl Name {
    pub(super) fn endpoint(&self) -> Endpoint {
        match self {
            Self::Tcp(address) => Endpoint::Tcp(*address),
            Self::Path(path) => Endpoint::Unix(path.clone()),
            Self::Abstract(name) => {
                let shown = format!("@{}", String::from_utf8_lossy(name).replace('\0', "@"));
                Endpoint::Unix(PathBuf::from(shown))
            }
        }
    }
}

/// A message of the shim.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) sequence: u16,
    pub(super) inode: u64,
    /// Device and inode of the file at the path, where there is one.
    pub(super) file: Option<(u64, u64)>,
    pub(super) asked: Option<Name>,
    pub(super) actual: Option<Name>,
    pub(super) socket: Option<OwnedFd>,
}

/// The tool's end. Tokio has no type for sockets of whole packets with an end; nothing of a datagram
/// socket's own is used of this one.
#[derive(Debug)]
pub(super) struct Control(UnixDatagram);

impl Control {
    /// A pair: the tool's end and the server's. Needs tokio's runtime.
    pub(super) fn pair() -> io::Result<(Self, OwnedFd)> {
        let (ours, its) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        rustix::io::ioctl_fionbio(&ours, true)?;
        Ok((Self(UnixDatagram::from_std(ours.into())?), its))
    }

    /// Sends a message, without waiting: the server has room for it, or is not to be waited for.
    pub(super) fn send(
        &self,
        kind: u8,
        sequence: u16,
        descriptors: &[BorrowedFd<'_>],
    ) -> io::Result<()> {
        let mut message = [0; MESSAGE];
        message[offset_of!(Message, kind)] = kind;
        let at = offset_of!(Message, sequence);
        message[at..at + 2].copy_from_slice(&sequence.to_ne_bytes());
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors))
        {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        sendmsg(&self.0, &[IoSlice::new(&message)], &mut ancillary, flags)?;
        Ok(())
    }

    /// A message that has come already, also where the runtime has not been told yet.
    pub(super) fn received(&self) -> Option<Said> {
        receive(self.0.as_fd()).ok().flatten()
    }

    /// The next message. `None`: there are no more.
    pub(super) async fn receive(&self) -> Option<Said> {
        loop {
            self.0.readable().await.ok()?;
            match self.0.try_io(Interest::READABLE, || receive(self.0.as_fd())) {
                Ok(said) => return said,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return None,
            }
        }
    }
}

/// A pair of sockets of whole packets.
fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
}

/// The tool's end of the socket on which a server gets connections of other servers.
#[derive(Debug)]
pub(super) struct Hand(OwnedFd);

impl Hand {
    /// The tool's end and the server's.
    pub(super) fn pair() -> io::Result<(Self, OwnedFd)> {
        let (ours, its) = pair()?;
        Ok((Self(ours), its))
    }

    /// Lays a connection there for the listener of this inode, without waiting.
    pub(super) fn give(&self, connection: BorrowedFd<'_>, listener: u64) -> io::Result<()> {
        let mut message = [0; MESSAGE];
        message[offset_of!(Message, kind)] = wire::PASS;
        let at = offset_of!(Message, inode);
        message[at..at + 8].copy_from_slice(&listener.to_ne_bytes());
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let descriptors = [connection];
        if !ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        sendmsg(&self.0, &[IoSlice::new(&message)], &mut ancillary, flags)?;
        Ok(())
    }
}

/// `Ok(None)`: the other end is closed.
pub(super) fn receive(socket: BorrowedFd<'_>) -> io::Result<Option<Said>> {
    let mut bytes = [0; MESSAGE];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = loop {
        let parts = &mut [IoSliceMut::new(&mut bytes)];
        match recvmsg(socket, parts, &mut ancillary, RecvFlags::CMSG_CLOEXEC) {
            // A server that ends and has not read all that it was answered: said once, and before what
            // it has still sent.
            Err(Errno::INTR | Errno::CONNRESET) => {}
            other => break other?,
        }
    };
    if received.bytes == 0 {
        return Ok(None);
    }
    let socket = ancillary
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
            _ => None,
        })
        .flatten()
        .next();
    Ok(Some(parse(&bytes, socket)))
}

fn parse(bytes: &[u8; MESSAGE], socket: Option<OwnedFd>) -> Said {
    let number = |at: usize| u64::from_ne_bytes(array(bytes, at));
    let file = (number(offset_of!(Message, file_device)), number(offset_of!(Message, file_inode)));
    Said {
        kind: bytes[offset_of!(Message, kind)],
        flags: bytes[offset_of!(Message, flags)],
        sequence: u16::from_ne_bytes(array(bytes, offset_of!(Message, sequence))),
        inode: number(offset_of!(Message, inode)),
        file: (file.1 != 0).then_some(file),
        asked: name(bytes, offset_of!(Message, asked)),
        actual: name(bytes, offset_of!(Message, actual)),
        socket,
    }
}

/// So many bytes from there on, which are within a message.
fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    std::array::from_fn(|index| bytes.get(at + index).copied().unwrap_or_default())
}

/// A `sockaddr` of a message: `ip(7)`, `ipv6(7)`, `unix(7)`.
fn name(bytes: &[u8], at: usize) -> Option<Name> {
    const INET: u16 = AddressFamily::INET.as_raw();
    const INET6: u16 = AddressFamily::INET6.as_raw();
    const UNIX: u16 = AddressFamily::UNIX.as_raw();
    let length = u32::from_ne_bytes(array(bytes, at + offset_of!(Address, length)));
    let start = at + offset_of!(Address, bytes);
    let end = start + usize::try_from(length).ok()?.min(wire::ADDRESS);
    let address = bytes.get(start..end)?;
    let family = u16::from_ne_bytes(array(address.get(..2)?, 0));
    match family {
        INET if address.len() >= 8 => {
            let port = u16::from_be_bytes(array(address, 2));
            let ip = Ipv4Addr::from(array::<4>(address, 4));
            Some(Name::Tcp((ip, port).into()))
        }
        INET6 if address.len() >= 24 => {
            let port = u16::from_be_bytes(array(address, 2));
            let ip = Ipv6Addr::from(array::<16>(address, 8));
            let scope = u32::from_ne_bytes(array(address, 24));
            Some(Name::Tcp(SocketAddrV6::new(ip, port, 0, scope).into()))
        }
        UNIX => match address.get(2..)? {
            [] => None,
            [0, rest @ ..] => Some(Name::Abstract(rest.to_vec())),
            path => {
                let path = path.split(|byte| *byte == 0).next().unwrap_or_default();
                Some(Name::Path(std::ffi::OsStr::from_bytes(path).into()))
            }
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(address: &[u8]) -> [u8; MESSAGE] {
        let mut bytes = [0; MESSAGE];
        let at = offset_of!(Message, asked);
        let length = u32::try_from(address.len()).expect("short");
        bytes[at..at + 4].copy_from_slice(&length.to_ne_bytes());
        let start = at + offset_of!(Address, bytes);
        bytes[start..start + address.len()].copy_from_slice(address);
        bytes
    }

    fn asked(family: AddressFamily, rest: &[u8]) -> Option<Name> {
        let mut address = family.as_raw().to_ne_bytes().to_vec();
        address.extend_from_slice(rest);
        parse(&message(&address), None).asked
    }

    #[test]
    fn addresses_are_read_as_the_system_has_them() {
        let v4 = asked(AddressFamily::INET, &[0x1f, 0x90, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(v4, Some(Name::Tcp("127.0.0.1:8080".parse().expect("an address"))));
        let mut v6 = vec![0x0b, 0xb8, 0, 0, 0, 0];
        v6.extend(Ipv6Addr::LOCALHOST.octets());
        v6.extend([0; 4]);
        let v6 = asked(AddressFamily::INET6, &v6);
        assert_eq!(v6, Some(Name::Tcp("[::1]:3000".parse().expect("an address"))));
        let path = asked(AddressFamily::UNIX, b"/run/app.sock\0");
        assert_eq!(path, Some(Name::Path("/run/app.sock".into())));
        let name = asked(AddressFamily::UNIX, b"\0app");
        assert_eq!(name, Some(Name::Abstract(b"app".to_vec())));
        assert_eq!(name.map(|it| it.endpoint()), Some(Endpoint::Unix("@app".into())));
        assert_eq!(asked(AddressFamily::UNIX, b""), None);
        assert_eq!(asked(AddressFamily::INET, &[0x1f]), None);
        assert_eq!(parse(&message(&[]), None).asked, None);
    }

    /// The server says this, with a descriptor of something.
    fn say(its: &OwnedFd, kind: u8) {
        let (something, _) = std::io::pipe().expect("a pipe");
        let mut bytes = message(&[]);
        bytes[offset_of!(Message, kind)] = kind;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let passed = [something.as_fd()];
        assert!(ancillary.push(SendAncillaryMessage::ScmRights(&passed)));
        sendmsg(its, &[IoSlice::new(&bytes)], &mut ancillary, SendFlags::empty()).expect("sent");
    }

    #[tokio::test]
    async fn what_was_said_before_the_end_is_heard_also_when_an_answer_was_not_read() {
        let (control, its) = Control::pair().expect("a pair");
        control.send(wire::DONE, 1, &[]).expect("there is room");
        say(&its, wire::PART);
        say(&its, wire::PASS);
        drop(its);
        let heard = std::iter::from_fn(|| control.received());
        let heard: Vec<_> = heard.map(|said| (said.kind, said.socket.is_some())).collect();
        assert_eq!(heard, [(wire::PART, true), (wire::PASS, true)]);
    }

    #[tokio::test]
    async fn a_descriptor_comes_with_its_message() {
        let (control, its) = Control::pair().expect("a pair");
        say(&its, wire::LISTENING);
        let said = control.receive().await.expect("a message");
        assert_eq!((said.kind, said.socket.is_some()), (wire::LISTENING, true));
        drop((its, said));
        assert!(control.receive().await.is_none(), "its end is closed");
    }
}
