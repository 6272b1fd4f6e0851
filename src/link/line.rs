//! The command line by which rustc calls the linker, taken apart: what goes into the executable, what into
//! the shared object, what to both. It is trusted only where every word of it is known: what a build script
//! or a flag has added is not (`rustc_codegen_ssa::back::link` has what rustc adds itself).

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::{fs, io};

use super::{LOCAL, RECORD};

/// What rustc asks for.
#[derive(Debug)]
pub(super) struct Line {
    /// Its own words, without ours.
    pub(super) words: Vec<OsString>,
    /// Where the record goes.
    pub(super) record: PathBuf,
    /// The user's own crates.
    local: Vec<String>,
}

/// The words, by where they go.
#[derive(Debug, Default)]
pub(super) struct Parts {
    /// In rustc's order.
    pub(super) words: Vec<Word>,
    /// The executable.
    pub(super) output: PathBuf,
    /// Where libraries are looked for.
    folders: Vec<PathBuf>,
}

/// A word or two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// An object file of the final crate.
    Object(PathBuf),
    /// A crate of the user's.
    Local(PathBuf),
    /// A crate of others.
    Dependency(PathBuf),
    /// For the executable alone.
    Executable(OsString),
    /// For both, and what comes of it depends on it.
    Both(OsString),
    /// For both: a folder to look in that is made anew for each call.
    Passing(OsString),
    /// Libraries that follow are looked for as shared ones (`true`) or as archives.
    Shared(bool),
}

/// What rustc itself says in one word, for both.
const KNOWN: [&str; 12] = [
    "-m64",
    "-nodefaultlibs",
    "-Wl,--as-needed",
    "-Wl,--eh-frame-hdr",
    "-Wl,-z,noexecstack",
    "-Wl,-z,relro,-z,now",
    "-Wl,-z,relro",
    "-Wl,-O1",
    "-Wl,-O2",
    "-Wl,--strip-debug",
    "-Wl,--strip-all",
    LLD,
];
/// The linker for which all of this is known to hold: rustc's own.
const LLD: &str = "-fuse-ld=lld";
const PIE: &str = "-pie";
const SHARED: &str = "-Wl,-Bdynamic";
const ARCHIVES: &str = "-Wl,-Bstatic";

impl Line {
    /// `None` where it is not one for the driver.
    pub(super) fn of(words: Vec<OsString>) -> Option<io::Result<Self>> {
        let words = match words.as_slice() {
            // Where there are too many for the system.
            [only] if only.as_bytes().starts_with(b"@") => match from_file(only) {
                Ok(words) => words,
                Err(error) => return Some(Err(error)),
            },
            _ => words,
        };
        let (mut record, mut local) = (None, Vec::new());
        let mut own = Vec::with_capacity(words.len());
        for word in words {
            if let Some(path) = word.as_bytes().strip_prefix(RECORD.as_bytes()) {
                record = Some(PathBuf::from(OsStr::from_bytes(path)));
            } else if let Some(names) = word.as_bytes().strip_prefix(LOCAL.as_bytes()) {
                let names = String::from_utf8_lossy(names);
                local = names.split(',').map(ToOwned::to_owned).collect();
            } else {
                own.push(word);
            }
        }
        Some(Ok(Self { words: own, record: record?, local }))
    }

    /// Takes it apart.
    ///
    /// # Errors
    ///
    /// There is something in it with which it cannot be done, in words that stand behind «because».
    pub(super) fn parts(&self) -> Result<Parts, String> {
        let mut parts = Parts::default();
        let mut shared = true;
        let mut lld = false;
        let mut words = self.words.iter();
        while let Some(word) = words.next() {
            let text = word.to_str().ok_or("a path is not valid UTF-8")?;
            let path = Path::new(text);
            let extension = path.extension().and_then(OsStr::to_str).unwrap_or_default();
            let is_path = !text.starts_with('-');
            let word = match text {
                "-o" => {
                    parts.output = words.next().ok_or("the output has no name")?.into();
                    continue;
                }
                "-L" => {
                    let folder = words.next().ok_or("a folder has no name")?;
                    parts.words.push(passing(word));
                    parts.folders.push(folder.into());
                    if folder.as_bytes().ends_with(b"/raw-dylibs") {
                        passing(folder)
                    } else {
                        Word::Both(folder.clone())
                    }
                }
                "-Wl,--gc-sections" => continue,
                PIE => Word::Executable(word.clone()),
                SHARED | ARCHIVES => {
                    shared = text == SHARED;
                    Word::Shared(shared)
                }
                _ if is_path && extension == "o" => Word::Object(path.to_owned()),
                _ if is_path && extension == "rlib" => self.rlib(path)?,
                _ if is_path && extension == "so" => {
                    return Err(format!("{text} is shared already"));
                }
                // What a build script of the user's has made stands before all dependencies.
                _ if (is_path && extension == "a") || (text.starts_with("-l") && !shared) => {
                    if parts.dependencies().next().is_some() {
                        return Err(format!("the archive {text} belongs to no crate"));
                    }
                    Word::Executable(word.clone())
                }
                _ if text.starts_with("-l") || text.starts_with("-B") => Word::Both(word.clone()),
                _ if KNOWN.contains(&text) => Word::Both(word.clone()),
                _ => return Err(format!("the linker is given `{text}`")),
            };
            lld = lld || text == LLD;
            parts.words.push(word);
        }
        if !lld {
            return Err("the linker is not the toolchain's lld".to_owned());
        }
        if parts.output.as_os_str().is_empty() {
            return Err("the output has no name".to_owned());
        }
        let toolchain = |path: &Path| path.components().any(|it| it.as_os_str() == "rustlib");
        if parts.dependencies().all(toolchain) {
            return Err("there are no dependencies that it would be worth it for".to_owned());
        }
        Ok(parts)
    }

    fn rlib(&self, path: &Path) -> Result<Word, String> {
        let stem = path.file_stem().and_then(OsStr::to_str).unwrap_or_default();
        let name = stem.strip_prefix("lib").unwrap_or(stem);
        // Cargo puts a hash behind the name.
        let name = name.rsplit_once('-').map_or(name, |(name, _)| name);
        match name {
            // What the compiler itself calls: each side has its own, hidden.
            "compiler_builtins" => Ok(Word::Both(path.into())),
            "panic_abort" => Err("a panic aborts".to_owned()),
            _ if self.local.iter().any(|local| local == name) => Ok(Word::Local(path.to_owned())),
            _ => Ok(Word::Dependency(path.to_owned())),
        }
    }
}

impl Parts {
    /// The final crate's objects.
    pub(super) fn objects(&self) -> impl Iterator<Item = &Path> {
        self.words.iter().filter_map(|word| match word {
            Word::Object(path) => Some(path.as_path()),
            _ => None,
        })
    }

    /// The user's crates.
    pub(super) fn local(&self) -> impl Iterator<Item = &Path> {
        self.words.iter().filter_map(|word| match word {
            Word::Local(path) => Some(path.as_path()),
            _ => None,
        })
    }

    /// The crates of others.
    pub(super) fn dependencies(&self) -> impl Iterator<Item = &Path> {
        self.words.iter().filter_map(|word| match word {
            Word::Dependency(path) => Some(path.as_path()),
            _ => None,
        })
    }

    /// The archives of the user's, where the linker finds them.
    ///
    /// # Errors
    ///
    /// One is nowhere, in words that stand behind «because».
    pub(super) fn archives(&self) -> Result<Vec<PathBuf>, String> {
        let words = self.words.iter().filter_map(|word| match word {
            Word::Executable(word) => word.to_str(),
            _ => None,
        });
        let folders: Vec<&Path> = self.folders.iter().map(PathBuf::as_path).collect();
        words
            .filter(|word| *word != PIE)
            .map(|word| match word.strip_prefix("-l") {
                None => Ok(PathBuf::from(word)),
                Some(name) => {
                    let file = format!("lib{name}.a");
                    let found = folders.iter().map(|it| it.join(&file)).find(|it| it.exists());
                    found.ok_or_else(|| format!("the archive {file} is in no folder that is named"))
                }
            })
            .collect()
    }

    /// The words for the shared object, `shim` among its objects.
    pub(super) fn shared(&self, shim: Option<&Path>) -> Vec<OsString> {
        let mut line = Vec::new();
        for word in &self.words {
            match word {
                Word::Object(path) if shim == Some(path) => line.push(path.into()),
                Word::Object(_) | Word::Local(_) | Word::Executable(_) => {}
                Word::Dependency(path) => {
                    line.push("-Wl,--whole-archive".into());
                    line.push(path.into());
                    line.push("-Wl,--no-whole-archive".into());
                }
                Word::Both(word) | Word::Passing(word) => line.push(word.clone()),
                Word::Shared(shared) => line.push(mode(*shared)),
            }
        }
        line
    }

    /// The words for the executable, with `library` in the place of the dependencies. Without `shim`.
    pub(super) fn executable(&self, library: &Path, shim: Option<&Path>) -> Vec<OsString> {
        let mut line = Vec::new();
        let (mut shared, mut stands) = (true, false);
        for word in &self.words {
            match word {
                Word::Object(path) if shim == Some(path) => {}
                Word::Object(path) | Word::Local(path) => line.push(path.into()),
                Word::Dependency(_) if stands => {}
                Word::Dependency(_) => {
                    stands = true;
                    line.extend([mode(true), library.into(), mode(shared)]);
                }
                Word::Executable(word) | Word::Both(word) | Word::Passing(word) => {
                    line.push(word.clone());
                }
                Word::Shared(now) => {
                    shared = *now;
                    line.push(mode(shared));
                }
            }
        }
        line.extend(["-o".into(), self.output.clone().into()]);
        line
    }
}

fn passing(word: &OsStr) -> Word {
    Word::Passing(word.to_owned())
}

fn mode(shared: bool) -> OsString {
    if shared { SHARED } else { ARCHIVES }.into()
}

/// As rustc writes them: a line each, `\` in front of blanks and of itself.
fn from_file(word: &OsStr) -> io::Result<Vec<OsString>> {
    let text = fs::read(OsStr::from_bytes(&word.as_bytes()[1..]))?;
    let mut words = vec![Vec::new()];
    let mut bytes = text.into_iter();
    while let Some(byte) = bytes.next() {
        match (byte, words.last_mut()) {
            (b'\n', _) => words.push(Vec::new()),
            (b'\\', Some(word)) => word.extend(bytes.next()),
            (byte, Some(word)) => word.push(byte),
            (_, None) => {}
        }
    }
    words.retain(|word| !word.is_empty());
    Ok(words.into_iter().map(OsString::from_vec).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What rustc 1.95 says, shortened.
    const RUSTCS: &str = "-m64 /t/deps/rustcA/symbols.o /t/deps/app-1.a.rcgu.o -Wl,--as-needed \
        -Wl,-Bstatic /t/deps/libmine-2.rlib /t/deps/libaxum-3.rlib \
        /r/rustlib/x/lib/libstd-4.rlib /r/rustlib/x/lib/libcompiler_builtins-5.rlib \
        -Wl,-Bdynamic -lgcc_s -lc -L /t/deps/rustcA/raw-dylibs -B/r/gcc-ld -fuse-ld=lld \
        -Wl,--eh-frame-hdr -Wl,-z,noexecstack -L /t/build/zstd/out -o /t/deps/app-1 \
        -Wl,--gc-sections -pie -Wl,-z,relro,-z,now -nodefaultlibs";

    fn line(text: &str) -> Line {
        let ours = [format!("{RECORD}/t/stario-link/app.json"), format!("{LOCAL}mine,other")];
        let words = text.split_whitespace().map(ToOwned::to_owned).chain(ours);
        Line::of(words.map(OsString::from).collect()).expect("it is for us").expect("it is one")
    }

    fn text(words: &[OsString]) -> String {
        words.join(OsStr::new(" ")).into_string().expect("UTF-8")
    }

    #[test]
    fn the_plain_link_is_given_the_very_words_of_rustc() {
        let line = line(RUSTCS);
        assert_eq!(text(&line.words), RUSTCS.split_whitespace().collect::<Vec<_>>().join(" "));
        assert_eq!(line.record, Path::new("/t/stario-link/app.json"));
    }

    #[test]
    fn what_others_call_is_not_for_the_driver() {
        assert!(Line::of(vec!["watch".into(), "main".into()]).is_none());
    }

    #[test]
    fn the_dependencies_go_into_the_shared_object_and_the_rest_into_the_executable() {
        let parts = line(RUSTCS).parts().expect("all is known");
        assert_eq!(
            text(&parts.shared(None)),
            "-m64 -Wl,--as-needed -Wl,-Bstatic \
             -Wl,--whole-archive /t/deps/libaxum-3.rlib -Wl,--no-whole-archive \
             -Wl,--whole-archive /r/rustlib/x/lib/libstd-4.rlib -Wl,--no-whole-archive \
             /r/rustlib/x/lib/libcompiler_builtins-5.rlib -Wl,-Bdynamic -lgcc_s -lc \
             -L /t/deps/rustcA/raw-dylibs -B/r/gcc-ld -fuse-ld=lld -Wl,--eh-frame-hdr \
             -Wl,-z,noexecstack -L /t/build/zstd/out -Wl,-z,relro,-z,now -nodefaultlibs"
        );
        assert_eq!(
            text(&parts.executable(Path::new("/l.so"), None)),
            "-m64 /t/deps/rustcA/symbols.o /t/deps/app-1.a.rcgu.o -Wl,--as-needed -Wl,-Bstatic \
             /t/deps/libmine-2.rlib -Wl,-Bdynamic /l.so -Wl,-Bstatic \
             /r/rustlib/x/lib/libcompiler_builtins-5.rlib -Wl,-Bdynamic -lgcc_s -lc \
             -L /t/deps/rustcA/raw-dylibs -B/r/gcc-ld -fuse-ld=lld -Wl,--eh-frame-hdr \
             -Wl,-z,noexecstack -L /t/build/zstd/out -pie -Wl,-z,relro,-z,now -nodefaultlibs \
             -o /t/deps/app-1"
        );
    }

    #[test]
    fn the_shim_is_where_it_is_put() {
        let parts = line(RUSTCS).parts().expect("all is known");
        let shim = Path::new("/t/deps/app-1.a.rcgu.o");
        assert!(text(&parts.shared(Some(shim))).starts_with("-m64 /t/deps/app-1.a.rcgu.o -Wl"));
        let executable = text(&parts.executable(Path::new("/l.so"), Some(shim)));
        assert!(!executable.contains("rcgu.o"), "{executable}");
    }

    #[test]
    fn what_a_build_script_of_the_users_has_made_is_the_executables() {
        let own = RUSTCS.replace("-Wl,-Bstatic ", "-Wl,-Bstatic -lmine ");
        let parts = line(&own).parts().expect("all is known");
        assert!(parts.words.contains(&Word::Executable("-lmine".into())));
        let others = RUSTCS.replace("-Wl,-Bdynamic -lgcc_s", "-lsqlite3 -Wl,-Bdynamic -lgcc_s");
        let because = line(&others).parts().expect_err("whose is it?");
        assert_eq!(because, "the archive -lsqlite3 belongs to no crate");
    }

    #[test]
    fn what_is_not_known_is_refused() {
        for (from, to, because) in [
            ("-pie", "-no-pie", "the linker is given `-no-pie`"),
            ("-pie", "-pie -Wl,-Tscript.ld", "the linker is given `-Wl,-Tscript.ld`"),
            ("-fuse-ld=lld", "-fuse-ld=mold", "the linker is given `-fuse-ld=mold`"),
            ("-fuse-ld=lld", "", "the linker is not the toolchain's lld"),
            ("libaxum", "libpanic_abort", "a panic aborts"),
            ("libaxum-3.rlib", "libaxum-3.so", "/t/deps/libaxum-3.so is shared already"),
            (
                "/t/deps/libaxum-3.rlib",
                "",
                "there are no dependencies that it would be worth it for",
            ),
        ] {
            let because_of = line(&RUSTCS.replace(from, to)).parts().expect_err(because);
            assert_eq!(because_of, because);
        }
    }

    #[test]
    fn words_come_from_a_file_where_they_are_too_many() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("linker-arguments");
        fs::write(&path, format!("-m64\n/with\\ blank/a\\\\b.o\n{RECORD}/r.json\n"))
            .expect("a file");
        let mut word = OsString::from("@");
        word.push(&path);
        let line = Line::of(vec![word]).expect("it is for us").expect("it can be read");
        assert_eq!(text(&line.words), "-m64 /with blank/a\\b.o");
    }
}
