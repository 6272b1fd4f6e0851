//! Where the shim lies as a file, for the dynamic loader to find.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;
use xxhash_rust::xxh3::xxh3_64;

use super::image::SHIM;
use crate::event::Unadopted;

/// The shim's file: beside the executable, where programs may be run from for certain; else in the
/// tool's own folder. Its name carries its content, so that it is written once, and left for the next
/// time.
pub(super) fn shim(beside: &Path, spare: Option<&Path>) -> Result<PathBuf, Unadopted> {
    let Some(image) = SHIM else {
        return Err(Unadopted::NoShim("this build of the tool has no shim for it".into()));
    };
    let name = format!("stario-adopt-{:016x}.so", xxh3_64(image));
    let mut error = None;
    for folder in [Some(beside), spare].into_iter().flatten() {
        let path = folder.join(&name);
        if !is_plain(&path) {
            continue;
        }
        match write(&path, folder, image) {
            Ok(()) => return Ok(path),
            Err(failed) => error = Some(failed),
        }
    }
    let why = error.map_or_else(|| "no folder with a plain name".into(), |it| it.to_string());
    Err(Unadopted::NoShim(format!("the shim could not be put beside the executable: {why}")))
}

/// Whether the loader reads the path as one name: it takes spaces and colons for separators, and
/// replaces what follows a dollar (`ld.so(8)`).
fn is_plain(path: &Path) -> bool {
    path.is_absolute()
        && path.to_str().is_some_and(|path| !path.contains([' ', ':', '$', '\t', '\n']))
}

fn write(path: &Path, folder: &Path, image: &[u8]) -> io::Result<()> {
    if fs::read(path).is_ok_and(|there| there == image) {
        return Ok(());
    }
    let mut file = NamedTempFile::new_in(folder)?;
    file.write_all(image)?;
    // Whole or not at all: another tool may be at the same folder.
    file.persist(path).map(drop).map_err(|error| error.error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_written_once_and_only_where_the_loader_can_read_the_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let odd = folder.path().join("my code");
        fs::create_dir(&odd).expect("a folder");
        let path = shim(&odd, Some(folder.path())).expect("there is a shim for this machine");
        assert_eq!(path.parent(), Some(folder.path()));
        let written = |path: &Path| fs::metadata(path).and_then(|it| it.modified()).expect("there");
        let before = written(&path);
        assert_eq!(shim(folder.path(), None), Ok(path.clone()));
        assert_eq!(written(&path), before);
        assert!(matches!(shim(&odd, None), Err(Unadopted::NoShim(_))));
    }
}
