//! Where there are no such sockets, servers say nothing.

use std::io;
use std::path::Path;

use super::{Folder, Word, words};
use crate::event::Generation;

/// Never made.
#[derive(Debug)]
pub(in crate::server) enum Notify {}

impl Notify {
    pub(in crate::server) fn open(folder: &Folder, generation: Generation) -> io::Result<Self> {
        let _ = (folder.socket_of(generation), words(&[]));
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(in crate::server) fn path(&self) -> &Path {
        match *self {}
    }

    pub(in crate::server) async fn next(&self) -> Vec<Word> {
        match *self {}
    }

    pub(in crate::server) fn rest(&self) -> Vec<Word> {
        match *self {}
    }
}
