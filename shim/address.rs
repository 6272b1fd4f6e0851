//! Addresses of sockets: which of them the tool is asked for, and what lies at their path.

use core::ffi::c_int;

use crate::system::{
    self, AF_INET, AF_INET6, AF_UNIX, AT_FDCWD, IPPROTO_IPV6, IPPROTO_TCP, IPV6_V6ONLY, Identity,
    SO_DOMAIN, SO_PROTOCOL, SO_TYPE, SOCK_DGRAM, SOCK_STREAM, SOL_SOCKET,
};
use crate::wire::{ADDRESS, Address, V6ONLY};

const INET: u32 = 16;
const INET6: u32 = 28;
/// In front of a Unix socket's path or name.
const FAMILY: u32 = 2;

/// What kind of socket the tool may want to hear of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Stream,
    Datagram,
}

/// A socket's kind, where its addresses are of this family.
pub fn kind(socket: c_int, family: u16) -> Option<Kind> {
    let number = |name| system::option(socket, SOL_SOCKET, name, 0 as c_int);
    if number(SO_DOMAIN)? != c_int::from(family) {
        return None;
    }
    match number(SO_TYPE)? {
        SOCK_STREAM if family == AF_UNIX || number(SO_PROTOCOL)? == IPPROTO_TCP => {
            Some(Kind::Stream)
        }
        SOCK_DGRAM => Some(Kind::Datagram),
        _ => None,
    }
}

/// `V6ONLY`, where the socket is so.
pub fn flags(socket: c_int, address: &Address) -> u8 {
    let only = address.family() == AF_INET6
        && system::option(socket, IPPROTO_IPV6, IPV6_V6ONLY, 0 as c_int).is_some_and(|it| it != 0);
    if only { V6ONLY } else { 0 }
}

impl Address {
    /// What the program has handed over, without what does not count: bytes behind the address, the
    /// 0 at the end of a path. None for what the tool is never asked for.
    ///
    /// # Safety
    /// `bytes` is null or as long as `length` says.
    pub unsafe fn read(bytes: *const u8, length: u32) -> Option<Self> {
        if bytes.is_null() || length <= FAMILY || length as usize > ADDRESS {
            return None;
        }
        let mut address = Self::NONE;
        // SAFETY: `length` is no more than there is room for.
        unsafe {
            core::ptr::copy_nonoverlapping(bytes, (&raw mut address.bytes).cast(), length as usize);
        }
        address.length = length;
        address.tidy().then_some(address)
    }

    /// No address, any port: where a socket listens that was never bound.
    pub fn unspecified(family: u16) -> Option<Self> {
        let mut address = Self::NONE;
        address.length = ADDRESS as u32;
        let [low, high] = family.to_ne_bytes();
        let [one, two, ..] = &mut address.bytes.0;
        (*one, *two) = (low, high);
        (family != AF_UNIX && address.tidy()).then_some(address)
    }

    /// Leaves out what does not count. False for what the tool is never asked for.
    fn tidy(&mut self) -> bool {
        let length = match self.family() {
            AF_INET if self.length >= INET => INET,
            AF_INET6 if self.length >= INET6 => INET6,
            AF_UNIX if self.length > FAMILY => match self.path() {
                Some(path) => FAMILY.wrapping_add(path.count() as u32),
                None => self.length,
            },
            _ => return false,
        };
        self.length = length;
        // Behind an IPv4 address is nothing, in 8 bytes.
        let end = if self.family() == AF_INET { 8 } else { length as usize };
        self.bytes.0.iter_mut().skip(end).for_each(|byte| *byte = 0);
        true
    }

    pub fn family(&self) -> u16 {
        let [low, high, ..] = self.bytes.0;
        u16::from_ne_bytes([low, high])
    }

    /// Of an IP address; 0 of any other.
    pub fn port(&self) -> u16 {
        let [_, _, high, low, ..] = self.bytes.0;
        if self.family() == AF_UNIX { 0 } else { u16::from_be_bytes([high, low]) }
    }

    /// Whether the system chooses the port.
    pub fn any_port(&self) -> bool {
        self.family() != AF_UNIX && self.port() == 0
    }

    /// The bytes of an IP address.
    pub fn ip(&self) -> impl Iterator<Item = u8> {
        let (from, count) = if self.family() == AF_INET { (4, 4) } else { (8, 16) };
        self.bytes.0.into_iter().skip(from).take(count)
    }

    /// Whether this machine talks to itself from there.
    pub fn loopback(&self) -> bool {
        let last = if self.family() == AF_INET { 0 } else { 12 };
        // 127.0.0.0/8, also as ::ffff:127.0.0.0/104.
        let four = self.ip().nth(last) == Some(127)
            && (last == 0 || self.ip().take(12).eq([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255]));
        four || (last != 0 && self.ip().eq([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]))
    }

    /// The bytes of a Unix socket's path. None for a name in the abstract.
    fn path(&self) -> Option<impl Iterator<Item = u8>> {
        let length = (self.length as usize).min(ADDRESS);
        let bytes = self.bytes.0;
        let path = bytes.into_iter().take(length).skip(FAMILY as usize).take_while(|it| *it != 0);
        (self.family() == AF_UNIX && path.clone().next().is_some()).then_some(path)
    }

    /// What lies at a Unix socket's path.
    pub fn file(&self) -> Option<Identity> {
        let mut path = [0_u8; ADDRESS];
        for (to, from) in path.iter_mut().zip(self.path()?) {
            *to = from;
        }
        // SAFETY: the path is shorter than the array by the family, so it ends with a 0.
        unsafe { system::identity_at(AT_FDCWD, path.as_ptr()) }
    }
}
