//! What loads an executable: whether the shim can be preloaded into it.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::OnceLock;

use object::elf::FileHeader64;
use object::endian::Endianness;
use object::read::ReadCache;
use object::read::elf::{FileHeader, ProgramHeader};

use crate::event::Unadopted;

/// What an executable says of that (`elf(5)`).
#[derive(Clone, Debug, PartialEq, Eq)]
struct Loader {
    machine: u16,
    /// The name of its dynamic loader, without the folder: `ld-linux-x86-64.so.2`. The folder differs
    /// from one distribution to the next; the name tells one C library from the other.
    name: Option<String>,
}

/// Whether what is preloaded was made for the same machine and C library as this executable.
pub(super) fn allows(executable: &Path) -> Result<(), Unadopted> {
    static OURS: OnceLock<Option<Loader>> = OnceLock::new();
    let ours = OURS.get_or_init(|| loader(Path::new("/proc/self/exe")).ok());
    let Ok(its) = loader(executable) else { return Err(Unadopted::OtherMachine) };
    compare(ours.as_ref(), its)
}

fn compare(ours: Option<&Loader>, its: Loader) -> Result<(), Unadopted> {
    if ours.is_some_and(|ours| ours.machine != its.machine) {
        return Err(Unadopted::OtherMachine);
    }
    match its.name {
        None => Err(Unadopted::Static),
        Some(name) if ours.is_some_and(|ours| ours.name.as_ref() == Some(&name)) => Ok(()),
        Some(name) => Err(Unadopted::OtherLoader(name)),
    }
}

fn loader(executable: &Path) -> io::Result<Loader> {
    let file = File::open(executable)?;
    read(&ReadCache::new(file)).map_err(io::Error::other)
}

fn read(data: &ReadCache<File>) -> object::read::Result<Loader> {
    let header = FileHeader64::<Endianness>::parse(data)?;
    let endian = header.endian()?;
    let mut name = None;
    for segment in header.program_headers(endian, data)? {
        if let Some(path) = segment.interpreter(endian, data)? {
            let path = String::from_utf8_lossy(path).into_owned();
            name = path.rsplit('/').next().map(ToOwned::to_owned);
        }
    }
    Ok(Loader { machine: header.e_machine(endian).0, name })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_very_test_allows_it_and_what_is_no_executable_does_not() {
        let this = std::env::current_exe().expect("a test has an executable");
        assert_eq!(allows(&this), Ok(()));
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("script");
        std::fs::write(&path, "#!/bin/sh\n").expect("a file");
        assert_eq!(allows(&path), Err(Unadopted::OtherMachine));
        assert_eq!(allows(&folder.path().join("none")), Err(Unadopted::OtherMachine));
    }

    #[test]
    fn another_library_or_machine_is_told_apart() {
        let loader = |machine, name: Option<&str>| Loader { machine, name: name.map(Into::into) };
        let ours = loader(62, Some("ld-linux-x86-64.so.2"));
        let its = |machine, name| compare(Some(&ours), loader(machine, name));
        assert_eq!(its(62, None), Err(Unadopted::Static));
        assert_eq!(its(183, Some("ld-linux-x86-64.so.2")), Err(Unadopted::OtherMachine));
        let musl = "ld-musl-x86_64.so.1";
        assert_eq!(its(62, Some(musl)), Err(Unadopted::OtherLoader(musl.into())));
        assert_eq!(its(62, Some("ld-linux-x86-64.so.2")), Ok(()));
    }
}
