//! The names in object files and rlibs: what they define and what they want. Names of Rust's are told
//! from all others, which are called C's here: the shared object gives away all of the former, and of the
//! latter only those that somebody outside names.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use memchr::memmem;
use object::elf::{FileHeader64, SHN_UNDEF, SHT_SYMTAB, STB_LOCAL, STV_HIDDEN, STV_INTERNAL};
use object::endian::LittleEndian;
use object::read::archive::ArchiveFile;
use object::read::elf::{FileHeader, Sym};

/// Where a name of C's comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// It is wanted, and somebody else has to have it.
    Wanted,
    /// It is defined for everybody.
    Defined,
    /// It is defined for those that are linked together with it.
    Hidden,
}

/// The names of C's in some objects. One that several objects have counts as defined where any defines it.
pub(super) type Names = BTreeMap<String, Seen>;

/// What is in one object file of the final crate.
#[derive(Debug, Default)]
pub(super) struct Object {
    /// Its names of C's.
    pub(super) names: Names,
    /// What it is for allocation, where it has to do with that.
    pub(super) shim: Option<Shim>,
}

/// The object that leads from the names that all code allocates by to the allocator. rustc makes one for
/// each executable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shim {
    /// To std's own allocator.
    ToStd,
    /// To one that a `#[global_allocator]` names.
    ToOther,
}

/// Reads an object file.
pub(super) fn object(path: &Path) -> io::Result<Object> {
    let data = std::fs::read(path)?;
    let mut object = Object::default();
    let (mut allocates, mut std, mut other) = (false, false, false);
    each(&data, |name, seen| {
        // `__rustc::__rust_alloc` or, before Rust 1.87, `__rust_alloc`; likewise the others.
        allocates |= seen != Seen::Wanted && name.ends_with(b"__rust_alloc");
        if seen == Seen::Wanted {
            std |= name.ends_with(b"__rdl_alloc");
            other |= name.ends_with(b"__rg_alloc");
        }
        take(&mut object.names, name, seen);
    })?;
    object.shim = match (allocates, std, other) {
        (true, true, _) => Some(Shim::ToStd),
        (true, false, true) => Some(Shim::ToOther),
        _ => None,
    };
    Ok(object)
}

/// Adds the names of all objects in an rlib.
pub(super) fn rlib(path: &Path, names: &mut Names) -> io::Result<()> {
    let data = std::fs::read(path)?;
    let archive = ArchiveFile::parse(data.as_slice()).map_err(io::Error::other)?;
    for member in archive.members() {
        let member = member.map_err(io::Error::other)?;
        let content = member.data(data.as_slice()).map_err(io::Error::other)?;
        // What rustc knows of the crate lies beside the objects.
        if content.starts_with(&object::elf::ELFMAG) && member.name() != b"lib.rmeta" {
            each(content, |name, seen| take(names, name, seen))?;
        }
    }
    Ok(())
}

fn take(names: &mut Names, name: &[u8], seen: Seen) {
    if is_rust(name) {
        return;
    }
    let Ok(name) = std::str::from_utf8(name) else { return };
    match names.get_mut(name) {
        None => drop(names.insert(name.to_owned(), seen)),
        Some(before) if *before == Seen::Wanted => *before = seen,
        // A definition for everybody counts for more than a hidden one.
        Some(before) if seen == Seen::Defined => *before = seen,
        Some(_) => {}
    }
}

/// Whether rustc has made this name: `_R…`, or `_ZN…17h0123456789abcdefE`.
fn is_rust(name: &[u8]) -> bool {
    const HASH: usize = "17h0123456789abcdefE".len();
    name.starts_with(b"_R")
        || (name.starts_with(b"_ZN")
            && name.len() > HASH
            && name.ends_with(b"E")
            && name[name.len() - HASH..].starts_with(b"17h"))
}

/// Hands over each global name.
fn each(data: &[u8], mut take: impl FnMut(&[u8], Seen)) -> io::Result<()> {
    let read = || -> object::read::Result<_> {
        let header = FileHeader64::<LittleEndian>::parse(data)?;
        let sections = header.sections(LittleEndian, data)?;
        sections.symbols(LittleEndian, data, SHT_SYMTAB)
    };
    let symbols = read().map_err(io::Error::other)?;
    for symbol in symbols.iter() {
        if symbol.st_bind() == STB_LOCAL {
            continue;
        }
        let name = symbols.symbol_name(LittleEndian, symbol).map_err(io::Error::other)?;
        if name.is_empty() {
            continue;
        }
        let visibility = symbol.st_visibility();
        let seen = if symbol.st_shndx(LittleEndian) == SHN_UNDEF {
            Seen::Wanted
        } else if visibility == STV_HIDDEN || visibility == STV_INTERNAL {
            Seen::Hidden
        } else {
            Seen::Defined
        };
        take(name, seen);
    }
    Ok(())
}

/// Whether a text is in an object or a library.
pub(super) fn has(data: &[u8], text: &str) -> bool {
    memmem::find(data, text.as_bytes()).is_some()
}
