//! The driver: rustc calls it in the linker's place. It links against the shared object of the dependencies,
//! which it makes where there is none; where anything stands against that, it does what rustc asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus, Output, Stdio};

use super::face::{self, Hash};
use super::folder::{self, Face, Folder, Local, State};
use super::library::{self, Border};
use super::line::{Line, Parts};
use super::symbols::{self, Seen, Symbols};
use super::{Library, Linked, Record};

/// What rustc calls where nobody names another linker.
const LINKER: &str = "cc";
/// What is said where a disk has no room, or where somebody has ended the linker: it may be otherwise the
/// next time. A file system that runs full under a mapped file ends it as well.
const PASSING: [&str; 2] = ["No space left on device", "terminated with signal"];

/// Why an executable is linked plainly.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Plainly {
    /// Behind «because».
    because: String,
    /// It will be so whenever these dependencies are linked.
    always: bool,
}

impl Plainly {
    /// With these dependencies.
    pub(super) fn always(because: String) -> Self {
        Self { because, always: true }
    }

    /// This time.
    pub(super) fn now(because: impl Into<String>) -> Self {
        Self { because: because.into(), always: false }
    }

    /// A file cannot be read or written.
    pub(super) fn of_file(path: &Path, error: &io::Error) -> Self {
        Self::now(format!("{}: {error}", path.display()))
    }
}

/// The linker did not do it.
#[derive(Debug)]
pub(super) enum Failed {
    /// It says why, and would say so again.
    Refuses(String),
    /// Something came between.
    Ended(String),
}

impl Failed {
    /// So it is done otherwise. `what`: what was to be done.
    pub(super) fn plainly(self, what: &str) -> Plainly {
        match self {
            Self::Refuses(said) => Plainly::always(format!("{what}: {said}")),
            Self::Ended(said) => Plainly::now(format!("{what}: {said}")),
        }
    }
}

/// Links, if these are the words of a linker's command line that is meant for us.
pub(super) fn called(words: Vec<OsString>) -> Option<ExitCode> {
    let line = match Line::of(words)? {
        Ok(line) => line,
        Err(error) => {
            say(format!("cannot read what the linker is to do: {error}\n").as_bytes());
            return Some(ExitCode::FAILURE);
        }
    };
    Some(link(&line))
}

fn link(line: &Line) -> ExitCode {
    let because = match once(line) {
        Ok(()) => return ExitCode::SUCCESS,
        Err(because) => because,
    };
    let linked = plain(&line.words);
    if linked.is_ok_and(|status| status.success()) {
        remember(line, because);
        return ExitCode::SUCCESS;
    }
    // The linker has said why: rustc shows it.
    ExitCode::FAILURE
}

/// The very link that rustc asked for.
fn plain(words: &[OsString]) -> io::Result<ExitStatus> {
    let status = Command::new(LINKER).args(words).status();
    if let Err(error) = &status {
        say(format!("cannot run `{LINKER}`: {error}\n").as_bytes());
    }
    status
}

/// For the tool, and for the next link of these dependencies. A plain link stands, whoever knows of it.
fn remember(line: &Line, plainly: Plainly) {
    let output = line.words.iter().position(|word| word == "-o").map(|at| at + 1);
    let executable = output.and_then(|at| line.words.get(at)).map(PathBuf::from);
    let record = Record {
        executable: executable.unwrap_or_default(),
        linked: Linked::Plainly(plainly.because.clone()),
    };
    let _ = folder::leave(&line.record, &record);
    if plainly.always
        && let Ok(parts) = line.parts()
        && let Ok(set) = library::set(&parts, &line.record)
    {
        let folder = Folder::of(&line.record, &set);
        let state = State { plain: Some(plainly.because), ..folder.state() };
        let _ = folder.keep(&state);
    }
}

/// What the user's side has of C's names, and the shim.
struct Own {
    wanted: BTreeSet<String>,
    defined: BTreeSet<String>,
    /// What it wants of Rust's.
    rust: BTreeSet<Hash>,
    /// The shim, where it goes into the shared object: it has to lie where the allocator lies.
    shim: Option<PathBuf>,
    /// What the shim has of C's names.
    shims: BTreeSet<String>,
    /// What the dependencies want of an allocator of the user's, and what is hidden there.
    allocator: BTreeSet<String>,
}

impl Own {
    fn border<'a>(&'a self, exports: &'a BTreeSet<String>) -> Border<'a> {
        let Self { allocator, shim, shims, .. } = self;
        Border { exports, allocator, shim: shim.as_deref(), shims }
    }
}

/// Links against the shared object.
fn once(line: &Line) -> Result<(), Plainly> {
    let parts = line.parts().map_err(Plainly::now)?;
    let set =
        library::set(&parts, &line.record).map_err(|error| Plainly::now(error.to_string()))?;
    let folder = Folder::of(&line.record, &set);
    let mut state = folder.state();
    if let Some(because) = state.plain {
        // It stands there already.
        return Err(Plainly::now(because));
    }
    let before = state.clone();
    let made = std::fs::create_dir_all(&folder.path);
    made.map_err(|error| Plainly::of_file(&folder.path, &error))?;
    let mut own = own(&parts, &mut state)?;
    resolve(&parts, &own, &mut state)?;
    let library = library(&parts, &folder, &set, &own, &mut state)?;
    let mut wanted = std::mem::take(&mut own.rust);
    wanted.extend(own.border(&state.exports).given().map(|name| face::hash(name.as_bytes())));
    // Where there is none, the linker looks at all of it.
    state.face = folder.face(&library.path, wanted, state.face.take()).ok();
    let looked_at = state.face.as_ref().map_or(library.path.as_path(), Face::path);
    let mut words = parts.executable(looked_at, own.shim.as_deref());
    let border = own.border(&state.exports);
    words.extend(library::words(&library.path, &parts.output, &border));
    linker(&words).map_err(|failed| failed.plainly("the executable does not link"))?;
    let executable = parts.output;
    let record = Record { executable, linked: Linked::Once(library.clone()) };
    folder::leave(&line.record, &record).map_err(|error| Plainly::of_file(&line.record, &error))?;
    if state != before {
        // Without it, the next link finds out the same.
        let _ = folder.keep(&state);
    }
    if state.library != before.library {
        folder.clear(&library.path);
    }
    Ok(())
}

/// Reads what is the user's.
fn own(parts: &Parts, state: &mut State) -> Result<Own, Plainly> {
    let (mut symbols, mut shim) = (Symbols::default(), None);
    let (mut shims, mut allocator) = (BTreeSet::new(), BTreeSet::new());
    for path in parts.objects() {
        let object = symbols::object(path).map_err(|error| Plainly::of_file(path, &error))?;
        if object.is_shim {
            let names = object.symbols.names.into_iter();
            shims.extend(names.filter(|(_, seen)| *seen == Seen::Defined).map(|(name, _)| name));
            shim = Some(path.to_owned());
        } else {
            symbols.add(object.symbols);
            allocator.extend(object.allocator);
        }
    }
    let (wanted, defined) = (BTreeSet::new(), BTreeSet::new());
    // What the objects want of each other is nobody else's.
    let rust = symbols.wanted.difference(&symbols.defined).copied().collect();
    let mut own = Own { wanted, defined, rust, shim, shims, allocator };
    let mut local = BTreeMap::new();
    for path in parts.local() {
        let stamp = crate::build::stamp(path).map_err(|error| Plainly::of_file(path, &error))?;
        let known = state.local.remove(path).filter(|known| known.stamp == stamp);
        let read = match known {
            Some(known) => known,
            None => read_local(path, stamp).map_err(|error| Plainly::of_file(path, &error))?,
        };
        own.wanted.extend(read.wanted.iter().cloned());
        own.defined.extend(read.defined.iter().cloned());
        own.rust.extend(&read.rust);
        local.insert(path.to_owned(), read);
    }
    state.local = local;
    for path in parts.archives().map_err(Plainly::now)? {
        let read = symbols::rlib(&path, |name, seen| symbols.take(name, seen));
        read.map_err(|error| Plainly::of_file(&path, &error))?;
    }
    for (name, seen) in symbols.names {
        let names = if seen == Seen::Wanted { &mut own.wanted } else { &mut own.defined };
        names.insert(name);
    }
    match library::gathered(own.wanted.iter()) {
        Some(name) => Err(Plainly::now(library::gathers(name))),
        None => Ok(own),
    }
}

fn read_local(path: &Path, stamp: crate::event::Stamp) -> io::Result<Local> {
    let mut symbols = Symbols::default();
    symbols::rlib(path, |name, seen| symbols.take(name, seen))?;
    let with = |wanted: bool| {
        let names = symbols.names.iter();
        let names = names.filter(move |(_, seen)| (**seen == Seen::Wanted) == wanted);
        names.map(|(name, _)| name.clone()).collect()
    };
    let rust = symbols.wanted.difference(&symbols.defined).copied().collect();
    Ok(Local { stamp, wanted: with(true), defined: with(false), rust })
}

/// Which of the names the dependencies have. Reads them only where one is new.
fn resolve(parts: &Parts, own: &Own, state: &mut State) -> Result<(), Plainly> {
    let is_known = |name: &&String| {
        [&state.exports, &state.twice, &state.elsewhere].iter().any(|it| it.contains(*name))
    };
    if state.library.is_none() || !own.wanted.iter().chain(&own.defined).all(|it| is_known(&it)) {
        let names = library::names(parts)?;
        for name in own.wanted.iter().chain(&own.defined) {
            match names.get(name) {
                Some(Seen::Defined | Seen::Hidden) if own.wanted.contains(name) => {
                    state.exports.insert(name.clone());
                }
                Some(Seen::Defined) => drop(state.twice.insert(name.clone())),
                Some(Seen::Wanted | Seen::Hidden) | None => {
                    state.elsewhere.insert(name.clone());
                }
            }
        }
    }
    let has = |name: &&String| state.exports.contains(*name) || state.twice.contains(*name);
    match own.defined.iter().find(has) {
        Some(name) => Err(Plainly::now(format!("your code and a dependency both have a `{name}`"))),
        None => Ok(()),
    }
}

/// The shared object, made where there is none.
fn library(
    parts: &Parts,
    folder: &Folder,
    set: &str,
    own: &Own,
    state: &mut State,
) -> Result<Library, Plainly> {
    let content = own.shim.as_deref().map(std::fs::read).transpose();
    let content = content.map_err(|error| Plainly::now(error.to_string()))?;
    let border = own.border(&state.exports);
    let path = folder.library(&library::name(set, &border, content.as_deref()));
    if let Some(library) = &state.library
        && library.path == path
        && library.is_whole()
    {
        return Ok(library.clone());
    }
    let library = library::make(parts, folder, &path, &border)?;
    state.library = Some(library.clone());
    Ok(library)
}

/// Runs the linker. What it says of an attempt that failed is not for rustc's ears.
pub(super) fn linker(words: &[OsString]) -> Result<(), Failed> {
    let output = Command::new(LINKER).args(words).stdin(Stdio::null()).output();
    let Output { status, stderr, .. } =
        output.map_err(|error| Failed::Ended(format!("cannot run `{LINKER}`: {error}")))?;
    if status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&stderr);
    let line = said.lines().find(|line| line.contains("error")).map(|line| line.trim().to_owned());
    match line {
        Some(line)
            if status.code().is_some() && !PASSING.iter().any(|words| line.contains(words)) =>
        {
            Err(Failed::Refuses(line))
        }
        line => Err(Failed::Ended(line.unwrap_or_else(|| status.to_string()))),
    }
}

fn say(text: &[u8]) {
    // Who does not listen has no need of it.
    let _ = io::stderr().write_all(text);
}
