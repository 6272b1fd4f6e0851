//! The shared object of the dependencies: what tells one set of them from another, and how it is made.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::Xxh3Default;

use super::Library;
use super::driver::{Plainly, linker};
use super::folder::Folder;
use super::line::{Parts, Word};
use super::symbols::{self, Names, Seen};
use crate::event::Mentions;

/// Another version of ours may make something else of the same words.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Who defines one of these allocates for the whole process, the C library included.
const ALLOCATOR: [&str; 7] =
    ["malloc", "free", "calloc", "realloc", "aligned_alloc", "memalign", "posix_memalign"];
/// The linker makes these names where a section begins and ends: it would do so on both sides.
const SECTIONS: [&str; 2] = ["__start_", "__stop_"];
/// What the linker puts in front of a name that it is told to `--wrap`. Under such names what is C's goes from
/// one side to the other: what is hidden in its object is shown to nobody under its own name, and what is not
/// would be found, in place of their own, by libraries that are loaded later.
const WRAPPED: &str = "__wrap_";

/// What goes from one side to the other, apart from the names of Rust's that the dependencies have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Border<'a> {
    /// What the dependencies give away of C's names.
    pub(super) exports: &'a BTreeSet<String>,
    /// What they want of the user's allocator, and what is hidden there.
    pub(super) allocator: &'a BTreeSet<String>,
    /// An object of the user's that lies with them.
    pub(super) shim: Option<&'a Path>,
    /// What that has of C's names: before Rust 1.87, the allocator's.
    pub(super) shims: &'a BTreeSet<String>,
}

impl Border<'_> {
    /// The names by which the executable finds what is C's.
    pub(super) fn given(&self) -> impl Iterator<Item = String> {
        let wrapped = self.exports.iter().map(|name| format!("{WRAPPED}{name}"));
        wrapped.chain(self.shims.iter().cloned())
    }
}

/// Tells this set of dependencies from others: by paths, sizes and times, by the words around them, and by
/// whose they are (`record`): two executables do not get in each other's way.
pub(super) fn set(parts: &Parts, record: &Path) -> io::Result<String> {
    let mut hash = Xxh3Default::new();
    hash.update(VERSION.as_bytes());
    let mut add = |bytes: &[u8]| {
        hash.update(&bytes.len().to_le_bytes());
        hash.update(bytes);
    };
    add(record.file_name().unwrap_or_default().as_encoded_bytes());
    for word in &parts.words {
        match word {
            Word::Dependency(path) => {
                let stamp = crate::build::stamp(path)?;
                add(path.as_os_str().as_encoded_bytes());
                add(&stamp.length.to_le_bytes());
                let since = stamp.modified.duration_since(std::time::UNIX_EPOCH);
                add(&since.unwrap_or_default().as_nanos().to_le_bytes());
            }
            Word::Both(word) => add(word.as_encoded_bytes()),
            Word::Shared(shared) => add(&[u8::from(*shared)]),
            _ => {}
        }
    }
    Ok(short(hash.digest128()))
}

fn short(hash: u128) -> String {
    format!("{hash:032x}")[..16].to_owned()
}

/// The names of C's in all dependencies.
///
/// # Errors
///
/// One cannot be read, or has what does not work across a border.
pub(super) fn names(parts: &Parts) -> Result<Names, Plainly> {
    let mut names = Names::new();
    for path in parts.dependencies() {
        let take = |name: &[u8], seen| symbols::take(&mut names, name, seen);
        symbols::rlib(path, take).map_err(|error| Plainly::of_file(path, &error))?;
    }
    if let Some(name) = ALLOCATOR.into_iter().find(|it| names.get(*it) == Some(&Seen::Defined)) {
        return Err(Plainly::always(format!("a dependency has a `{name}` of its own")));
    }
    match gathered(names.keys()) {
        Some(name) => Err(Plainly::always(gathers(name))),
        None => Ok(names),
    }
}

/// A name that stands for the beginning or the end of a section.
pub(super) fn gathered<'a>(names: impl IntoIterator<Item = &'a String>) -> Option<&'a String> {
    names.into_iter().find(|name| SECTIONS.iter().any(|start| name.starts_with(start)))
}

/// Why it does not work.
pub(super) fn gathers(name: &str) -> String {
    format!("the linker gathers a section (`{name}`), as the crate linkme has it do")
}

/// How the shared object of these is called: what it gives away is part of what it is.
pub(super) fn name(set: &str, border: &Border<'_>, shim: Option<&[u8]>) -> String {
    let mut hash = Xxh3Default::new();
    hash.update(set.as_bytes());
    for name in border.allocator {
        hash.update(name.as_bytes());
        hash.update(&[0, 2]);
    }
    for name in border.given() {
        hash.update(name.as_bytes());
        hash.update(&[0]);
    }
    hash.update(shim.unwrap_or_default());
    short(hash.digest128())
}

/// Links the dependencies into a file of this path. It is there as a whole or not at all, so that another
/// driver may do the same.
pub(super) fn make(
    parts: &Parts,
    folder: &Folder,
    path: &Path,
    border: &Border<'_>,
) -> Result<Library, Plainly> {
    let failed = |error: &io::Error| Plainly::of_file(&folder.path, error);
    let making = folder.making().map_err(|error| failed(&error))?;
    let script = making.path().join("exports");
    std::fs::write(&script, version_script(border)).map_err(|error| failed(&error))?;
    let made = making.path().join("made.so");
    let mut words = parts.shared(border.shim);
    words.extend(["-shared".into(), "-o".into(), made.clone().into()]);
    words.extend(to_linker("-soname", path.file_name().unwrap_or_default()));
    words.extend(to_linker("--version-script", script.as_os_str()));
    // Nobody comes in between: what the dependencies call among themselves is found without a search.
    words.push("-Wl,-Bsymbolic".into());
    words.extend(border.exports.iter().map(|name| alias(name)));
    words.extend(border.allocator.iter().map(|name| wrap(name)));
    linker(&words).map_err(|failed| failed.plainly("the dependencies alone do not link"))?;
    let mentions = mentions(&made).map_err(|error| failed(&error))?;
    let stamp = crate::build::stamp(&made).map_err(|error| failed(&error))?;
    std::fs::rename(&made, path).map_err(|error| failed(&error))?;
    Ok(Library { path: path.to_owned(), stamp, mentions })
}

/// What the linker is told when the executable is linked against the library.
pub(super) fn words(library: &Path, output: &Path, border: &Border<'_>) -> Vec<OsString> {
    let mut words = Vec::new();
    for folder in run_paths(library, output) {
        words.extend(to_linker("-rpath", folder.as_os_str()));
    }
    words.extend(border.exports.iter().map(|name| wrap(name)));
    words.extend(border.allocator.iter().map(|name| alias(name)));
    words
}

/// Has who wants this name look for another one, which [`alias`] gives to it.
fn wrap(name: &str) -> OsString {
    format!("-Wl,--wrap={name}").into()
}

/// As a sum it has no type, and backtraces go on to call it by its own name.
fn alias(name: &str) -> OsString {
    format!("-Wl,--defsym={WRAPPED}{name}={name}+0").into()
}

/// Where the loader looks for it: from where cargo has the executable made, from where it puts it in the
/// end, one folder further up, so that the target folder can be moved; and where it is now.
fn run_paths(library: &Path, output: &Path) -> Vec<PathBuf> {
    let Some(folder) = library.parent() else { return Vec::new() };
    let mut paths: Vec<PathBuf> = Vec::new();
    let made = output.parent();
    for from in [made, made.and_then(Path::parent)].into_iter().flatten() {
        let common = from.ancestors().find(|it| folder.starts_with(it)).unwrap_or(Path::new("/"));
        let up = from.strip_prefix(common).map_or(0, |rest| rest.components().count());
        let down = folder.strip_prefix(common).unwrap_or(folder);
        let up = std::iter::repeat_n("..", up).collect::<PathBuf>();
        paths.push(Path::new("$ORIGIN").join(up).join(down));
    }
    paths.push(folder.to_owned());
    paths
}

/// Words for the linker itself, whatever is in them: `-Wl,` would part them at commas.
fn to_linker(option: &str, value: &OsStr) -> [OsString; 4] {
    ["-Xlinker".into(), option.into(), "-Xlinker".into(), value.to_owned()]
}

/// All that is Rust's, and what is named of C's. What nobody names stays inside: else other libraries of
/// the process, loaded later perhaps, would find it in place of their own.
fn version_script(border: &Border<'_>) -> String {
    let mut script = "{ global: _R*; _ZN*17h????????????????E;\n".to_owned();
    for name in border.given() {
        // Writing to a string does not fail.
        let _ = writeln!(script, "\"{name}\";");
    }
    script + "local: *; };\n"
}

fn mentions(path: &Path) -> io::Result<Mentions> {
    let data = std::fs::read(path)?;
    Ok(Mentions {
        listen_fds: symbols::has(&data, "LISTEN_FDS"),
        notify_socket: symbols::has(&data, "NOTIFY_SOCKET"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loader_looks_beside_the_executable_wherever_the_target_folder_lies() {
        let library = Path::new("/p/target/stario-link/dependencies-1.so");
        let paths = |output: &str| {
            let paths = run_paths(library, Path::new(output));
            paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>()
        };
        assert_eq!(
            paths("/p/target/stario/deps/app-1"),
            ["$ORIGIN/../../stario-link", "$ORIGIN/../stario-link", "/p/target/stario-link"]
        );
        assert_eq!(
            paths("/elsewhere/stario/deps/app-1"),
            [
                "$ORIGIN/../../../p/target/stario-link",
                "$ORIGIN/../../p/target/stario-link",
                "/p/target/stario-link"
            ]
        );
    }

    #[test]
    fn what_is_cs_goes_over_under_another_name() {
        let names = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        let (exports, allocator) = (names(&["sqlite3_open"]), names(&["__rust_alloc"]));
        let shims = names(&["__rust_realloc"]);
        let border = Border { exports: &exports, allocator: &allocator, shim: None, shims: &shims };
        assert_eq!(
            version_script(&border),
            "{ global: _R*; _ZN*17h????????????????E;\n\"__wrap_sqlite3_open\";\n\
             \"__rust_realloc\";\nlocal: *; };\n"
        );
        let words = words(Path::new("/l.so"), Path::new("/app"), &border);
        assert_eq!(
            words[words.len() - 2..],
            ["-Wl,--wrap=sqlite3_open", "-Wl,--defsym=__wrap___rust_alloc=__rust_alloc+0"]
        );
    }

    #[test]
    fn what_it_gives_away_and_the_shim_in_it_tell_it_from_others() {
        let nobody = BTreeSet::new();
        let some = ["a".to_owned()].into();
        let name = |set, exports, allocator, content| {
            name(set, &Border { exports, allocator, shim: None, shims: &nobody }, content)
        };
        let names = [
            name("1", &nobody, &nobody, None),
            name("2", &nobody, &nobody, None),
            name("1", &some, &nobody, None),
            name("1", &nobody, &some, None),
            name("1", &nobody, &nobody, Some(b"shim")),
        ];
        for (at, one) in names.iter().enumerate() {
            assert!(names[at + 1..].iter().all(|other| other != one), "{names:?}");
        }
    }
}
