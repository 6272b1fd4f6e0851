//! What cargo and rustc said at the last start, kept beside what cargo builds. Where nothing that they
//! read has changed since, the next start relies on it, builds at once, and asks them when the server
//! is up: see `project`.
//!
//! Nothing depends on its being true: what is found to be wrong is a changed manifest like any other.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use cargo_config2::{Config, ResolveOptions, Walk};
use cargo_metadata::Metadata;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3Default;

use crate::build::{self, Known};
use crate::event::Stamp;
use crate::plan::{Plan, Source};
use crate::server::{OWN_HOST, Rustc};

/// In the target folder, beside cargo's own `.rustc_info.json`.
const FILE: &str = ".stario-start.json";

/// What cargo and rustc say of a workspace, as far as it is used.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(super) struct Answers {
    pub(super) metadata: Metadata,
    pub(super) rustc: Rustc,
}

/// The file's content.
#[derive(Debug, Deserialize, Serialize)]
struct Kept {
    /// What they were asked, and by whom.
    question: String,
    /// What they have read, as it was. `None`: there is no such file.
    files: Vec<(PathBuf, Option<Stamp>)>,
    answers: Answers,
    executable: Option<Known>,
}

impl Answers {
    /// Leaves out what nobody asks for: most of what cargo knows is of packages that are others'.
    pub(super) fn new(mut metadata: Metadata, rustc: Rustc) -> Self {
        for package in metadata.packages.iter_mut().filter(|package| package.source.is_some()) {
            package.dependencies.clear();
            package.features.clear();
            package.targets.clear();
            package.authors.clear();
            package.keywords.clear();
            package.categories.clear();
            package.description = None;
            package.license = None;
            package.license_file = None;
            package.readme = None;
            package.repository = None;
            package.homepage = None;
            package.documentation = None;
            package.metadata = serde_json::Value::Null;
        }
        let local = metadata.packages.iter().filter(|package| package.source.is_none());
        let local: HashSet<_> = local.map(|package| &package.id).collect();
        for node in metadata.resolve.iter_mut().flat_map(|resolve| &mut resolve.nodes) {
            // The same as in `deps`, from which it is read.
            node.dependencies.clear();
            if !local.contains(&node.id) {
                node.features.clear();
            }
        }
        Self { metadata, rustc }
    }
}

/// What was said the last time, if the same was asked and nothing has changed since that they read; and
/// the executable as it was read then.
pub(super) fn recall(source: &Source) -> Option<(Answers, Option<Known>)> {
    let question = question(source);
    places(source).iter().find_map(|folder| {
        let text = std::fs::read(folder.join(FILE)).ok()?;
        let kept: Kept = serde_json::from_slice(&text).ok()?;
        let same = kept.question == question
            && kept.files.iter().all(|(path, stamp)| build::stamp(path).ok() == *stamp);
        same.then_some((kept.answers, kept.executable))
    })
}

/// Keeps it for the next start. What goes wrong costs that one some time, and nothing else.
pub(super) fn keep(answers: &Answers, executable: Option<&Known>, source: &Source, plan: &Plan) {
    let folder = plan.target_directory.as_path();
    if !places(source).iter().any(|place| place == folder) {
        // Nobody would look for it there.
        return;
    }
    let files = read_by_them(source, plan);
    let kept = Kept {
        question: question(source),
        files: files.into_iter().map(|it| (it.clone(), build::stamp(&it).ok())).collect(),
        answers: answers.clone(),
        executable: executable.cloned(),
    };
    let _ = write(&kept, folder);
}

/// Another tool of ours may be reading or writing it.
fn write(kept: &Kept, folder: &Path) -> std::io::Result<()> {
    let mut file = BufWriter::new(tempfile::NamedTempFile::new_in(folder)?);
    serde_json::to_writer(&mut file, kept)?;
    file.flush()?;
    file.into_inner()?.persist(folder.join(FILE))?;
    Ok(())
}

/// Where cargo may be building, without asking it.
fn places(source: &Source) -> Vec<PathBuf> {
    let options = &source.command.shared().cargo;
    let current_dir = &source.current_dir;
    if let Some(typed) = &options.target_dir {
        return vec![current_dir.join(typed)];
    }
    // With a host, so that nobody is asked for it.
    let asking = ResolveOptions::default().host_triple(OWN_HOST);
    let configured = Config::load_with_options(current_dir, asking).ok();
    if let Some(configured) = configured.and_then(|config| config.build.target_dir) {
        return vec![configured];
    }
    let manifest = options.manifest_path.as_ref().map(|path| current_dir.join(path));
    let from = manifest.as_deref().and_then(Path::parent).unwrap_or(current_dir);
    from.ancestors().map(|folder| folder.join("target")).collect()
}

/// The files that they read, as far as they are known to be such.
fn read_by_them(source: &Source, plan: &Plan) -> Vec<PathBuf> {
    let configuration = Walk::new(&source.current_dir);
    let cargo = plan.cargo.is_absolute().then(|| plan.cargo.clone());
    plan.watch.manifests.iter().cloned().chain(configuration).chain(cargo).collect()
}

/// What is asked, as a hash: whatever of the command line and of the environment they look at.
fn question(source: &Source) -> String {
    let options = &source.command.shared().cargo;
    let mut hash = Xxh3Default::new();
    let mut add = |text: &OsStr| {
        hash.update(&text.len().to_le_bytes());
        hash.update(text.as_encoded_bytes());
    };
    add(env!("CARGO_PKG_VERSION").as_ref());
    add(source.cargo().as_os_str());
    add(source.current_dir.as_os_str());
    add(options.target.as_deref().unwrap_or_default().as_ref());
    add(options.target_dir.as_deref().unwrap_or(Path::new("")).as_os_str());
    options.metadata_args().iter().for_each(|argument| add(argument));
    for (name, value) in source.env.iter() {
        let name_of_theirs = name.to_str().is_some_and(|name| {
            ["CARGO", "RUST"].iter().any(|start| name.starts_with(start))
                || ["HOME", "PATH"].contains(&name)
        });
        if name_of_theirs {
            add(name);
            add(value);
        }
    }
    format!("{:032x}", hash.digest128())
}
