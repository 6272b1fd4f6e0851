//! The names in object files and rlibs: what they define and what they want. Names of Rust's are told
//! from all others, which are called C's here: the shared object gives away all of the former, and of the
//! latter only those that somebody outside names.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use memchr::memmem;
use object::elf::{FileHeader64, SHN_UNDEF, SHT_SYMTAB, STB_LOCAL, STV_HIDDEN, STV_INTERNAL};
use object::endian::LittleEndian;
use object::read::archive::ArchiveFile;
use object::read::elf::{FileHeader, Sym};

use super::face::{self, Hash};

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

/// The names in some objects.
#[derive(Debug, Default)]
pub(super) struct Symbols {
    /// Of C's.
    pub(super) names: Names,
    /// Of Rust's: those that are wanted, and those that are defined.
    pub(super) wanted: BTreeSet<Hash>,
    pub(super) defined: BTreeSet<Hash>,
}

/// What is in one object file of the final crate.
#[derive(Debug, Default)]
pub(super) struct Object {
    pub(super) symbols: Symbols,
    /// It is the *shim*, which leads from the names that all code allocates by to std's own allocator. rustc
    /// makes one for each executable; with a `#[global_allocator]` it leads elsewhere, and is none here.
    pub(super) is_shim: bool,
    /// What it has, hidden, of the names that all code allocates by: where a `#[global_allocator]` is.
    pub(super) allocator: BTreeSet<String>,
}

/// Reads an object file.
pub(super) fn object(path: &Path) -> io::Result<Object> {
    let data = std::fs::read(path)?;
    let mut object = Object::default();
    let (mut allocates, mut to_std) = (false, false);
    each(&data, |name, seen| {
        // `__rustc::__rust_alloc` or, before Rust 1.87, `__rust_alloc`; likewise the other.
        allocates |= seen != Seen::Wanted && name.ends_with(b"__rust_alloc");
        to_std |= seen == Seen::Wanted && name.ends_with(b"__rdl_alloc");
        if seen == Seen::Hidden && is_std_internal(name) {
            object.allocator.extend(std::str::from_utf8(name).ok().map(ToOwned::to_owned));
        }
        object.symbols.take(name, seen);
    })?;
    object.is_shim = allocates && to_std;
    Ok(object)
}

/// Reads all objects in an rlib, or in an archive of C's. Hands over each name, and whether rustc has made it.
pub(super) fn rlib(path: &Path, mut take: impl FnMut(&[u8], Seen)) -> io::Result<()> {
    let data = std::fs::read(path)?;
    let archive = ArchiveFile::parse(data.as_slice()).map_err(io::Error::other)?;
    for member in archive.members() {
        let member = member.map_err(io::Error::other)?;
        let content = member.data(data.as_slice()).map_err(io::Error::other)?;
        // What rustc knows of the crate lies beside the objects.
        if content.starts_with(&object::elf::ELFMAG) && member.name() != b"lib.rmeta" {
            each(content, &mut take)?;
        }
    }
    Ok(())
}

impl Symbols {
    /// Takes in a name.
    pub(super) fn take(&mut self, name: &[u8], seen: Seen) {
        if !is_rust(name) {
            take(&mut self.names, name, seen);
        } else if seen == Seen::Wanted {
            self.wanted.insert(face::hash(name));
        } else {
            self.defined.insert(face::hash(name));
        }
    }

    /// Takes in what another object has.
    pub(super) fn add(&mut self, other: Self) {
        for (name, seen) in other.names {
            add(&mut self.names, name, seen);
        }
        self.wanted.extend(other.wanted);
        self.defined.extend(other.defined);
    }
}

/// Takes in a name of C's.
pub(super) fn take(names: &mut Names, name: &[u8], seen: Seen) {
    if !is_rust(name)
        && let Ok(name) = std::str::from_utf8(name)
    {
        match names.get_mut(name) {
            Some(before) => *before = before.or(seen),
            None => drop(names.insert(name.to_owned(), seen)),
        }
    }
}

fn add(names: &mut Names, name: String, seen: Seen) {
    let known = names.entry(name).or_insert(seen);
    *known = known.or(seen);
}

impl Seen {
    /// In one object so and in another so. A definition for everybody counts for more than a hidden one.
    fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Defined, _) | (_, Self::Defined) => Self::Defined,
            (Self::Hidden, _) | (_, Self::Hidden) => Self::Hidden,
            (Self::Wanted, Self::Wanted) => Self::Wanted,
        }
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

/// Whether it is one of the few names by which std reaches what an executable has: `__rustc::__rust_…`.
fn is_std_internal(name: &[u8]) -> bool {
    memmem::find(name, b"_7___rustc").is_some() || name.starts_with(b"__rust_")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_rusts_are_told_from_those_of_c_and_of_cpp() {
        for name in ["_RNvCs1_7___rustc12___rust_alloc", "_ZN4core3fmt5Write17h0123456789abcdefE"] {
            assert!(is_rust(name.as_bytes()), "{name}");
        }
        for name in ["sqlite3_open", "_ZN7rocksdb2DB4OpenE", "_ZNSt6vectorIiE17hereE", "_start"] {
            assert!(!is_rust(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn who_defines_a_name_counts_for_more_than_who_wants_it() {
        let mut symbols = Symbols::default();
        for seen in [Seen::Wanted, Seen::Hidden, Seen::Wanted] {
            symbols.take(b"inflate", seen);
        }
        assert_eq!(symbols.names["inflate"], Seen::Hidden);
        let mut others = Symbols::default();
        others.take(b"inflate", Seen::Defined);
        symbols.add(others);
        assert_eq!(symbols.names["inflate"], Seen::Defined);
    }

    #[test]
    fn the_names_by_which_std_is_reached_are_known() {
        assert!(is_std_internal(b"_RNvCsfLfy6EI15iL_7___rustc12___rust_alloc"));
        assert!(is_std_internal(b"__rust_dealloc"));
        assert!(!is_std_internal(b"_RNvCs1_3app4main"));
    }
}
