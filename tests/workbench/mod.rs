//! What the tests of processes share: fixtures in folders of their own, and events awaited.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it")]

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cargo_metadata::{MetadataCommand, Package};
use cargo_stario::build::{BuildCommand, BuildHandle, Builder};
use cargo_stario::entry::{LocalPackage, TargetKind};
use cargo_stario::event::{Artifact, BuildEvent, BuildOutcome, Event, Generation, Notice};
use cargo_stario::link::Linking;
use cargo_stario::process::Groups;
use tempfile::TempDir;
use tokio::sync::mpsc;

/// Far more than anything here takes, on a busy machine too.
pub const LONG: Duration = Duration::from_secs(120);

/// The binary under test, for its hidden subcommands.
pub fn tool() -> PathBuf {
    env!("CARGO_BIN_EXE_cargo-stario").into()
}

/// The cargo that runs the tests.
pub fn cargo() -> PathBuf {
    std::env::var_os("CARGO").map_or_else(|| "cargo".into(), PathBuf::from)
}

/// A copy of the fixtures' folder, in which tests may edit.
pub struct Fixtures {
    folder: TempDir,
}

impl Fixtures {
    /// Copies these of them.
    pub fn copy(names: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
        for name in names {
            copy(&from.join(name), &folder.path().join(name));
        }
        Self { folder }
    }

    /// A package of its own, with these files.
    pub fn package(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        Self { folder }
    }

    /// A path inside, without symbolic links.
    pub fn path(&self, path: &str) -> PathBuf {
        self.folder.path().canonicalize().unwrap().join(path)
    }

    /// Replaces a text in a file.
    pub fn edit(&self, path: &str, from: &str, to: &str) {
        let path = self.path(path);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{from} in {}", path.display());
        std::fs::write(path, text.replace(from, to)).unwrap();
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in from.read_dir().unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.file_name() == "target" {
        } else if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// A target folder that tests share which do not edit what they build.
pub fn shared_target() -> Vec<OsString> {
    vec!["--target-dir".into(), Path::new(env!("CARGO_TARGET_TMPDIR")).join("fixtures").into()]
}

/// A build room with its events.
pub struct Workbench {
    pub groups: Groups,
    pub builder: Builder,
    pub sender: mpsc::UnboundedSender<Event>,
    pub events: mpsc::UnboundedReceiver<Event>,
    generation: Generation,
}

impl Workbench {
    /// Must be called within a runtime.
    pub fn new() -> Self {
        let groups = Groups::start(tool()).unwrap();
        let (sender, events) = mpsc::unbounded_channel();
        let builder = Builder::new(groups.clone(), sender.clone());
        Self { groups, builder, sender, events, generation: Generation(0) }
    }

    /// Starts the next build.
    pub fn start(&mut self, command: &BuildCommand, changed: &[PathBuf]) -> BuildHandle {
        self.generation = self.generation.next();
        let command = std::future::ready(Ok(command.clone()));
        self.builder.spawn(self.generation, command, changed.to_vec())
    }

    /// Builds: the outcome and what was said on the way.
    pub async fn build(&mut self, command: &BuildCommand, changed: &[PathBuf]) -> Built {
        let _handle = self.start(command, changed);
        self.finished().await
    }

    /// Waits for the end of the build.
    pub async fn finished(&mut self) -> Built {
        let mut built =
            Built { events: Vec::new(), notices: Vec::new(), outcome: BuildOutcome::Cancelled };
        loop {
            match self.next().await {
                Event::Build(generation, event) => {
                    assert_eq!(generation, self.generation);
                    if let BuildEvent::Finished(outcome) = event {
                        built.outcome = outcome;
                        return built;
                    }
                    built.events.push(event);
                }
                Event::Notice(notice) => built.notices.push(notice),
                other => panic!("{other:?}"),
            }
        }
    }

    /// The next event.
    pub async fn next(&mut self) -> Event {
        tokio::time::timeout(LONG, self.events.recv()).await.expect("an event").unwrap()
    }
}

/// What came of a build.
#[derive(Debug)]
pub struct Built {
    pub events: Vec<BuildEvent>,
    pub notices: Vec<Notice>,
    pub outcome: BuildOutcome,
}

impl Built {
    /// Its executable.
    pub fn artifact(self) -> Artifact {
        match self.outcome {
            BuildOutcome::Succeeded(artifact) => artifact,
            other => panic!("{other:?}"),
        }
    }

    /// Whether cargo had to be forced.
    pub fn was_forced(&self) -> bool {
        self.notices.iter().any(|notice| notice.code == "forced-rebuild")
    }
}

/// The package of this name, and the command that builds a binary of it.
pub fn command(folder: &Path, package: &str, target: &str) -> (Package, BuildCommand) {
    let metadata = MetadataCommand::new().cargo_path(cargo()).current_dir(folder).exec().unwrap();
    let found = metadata.packages.iter().find(|it| it.name == package).unwrap().clone();
    let local = metadata.packages.iter().filter(|it| it.source.is_none());
    let command = BuildCommand {
        cargo: cargo(),
        current_dir: folder.to_owned(),
        workspace_root: metadata.workspace_root.clone().into(),
        package: found.id.clone(),
        spec: format!("{}@{}", found.name, found.version),
        kind: TargetKind::Bin,
        target: target.to_owned(),
        options: vec!["--quiet".into()],
        link: Linking::Plain { because: None },
        local: local
            .map(|it| LocalPackage {
                name: it.name.to_string(),
                root: it.manifest_path.parent().unwrap().into(),
            })
            .collect(),
    };
    (found, command)
}

/// The processes of a group that have not ended.
#[cfg(target_os = "linux")]
pub fn members(group: u32) -> Vec<String> {
    procfs::process::all_processes()
        .unwrap()
        .filter_map(|process| process.ok()?.stat().ok())
        .filter(|stat| u32::try_from(stat.pgrp) == Ok(group) && !matches!(stat.state, 'Z' | 'X'))
        .map(|stat| stat.comm)
        .collect()
}

/// Waits for what the system has no event for.
pub async fn eventually(what: impl Fn() -> bool) {
    let looking = async {
        while !what() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LONG, looking).await.expect("it comes true");
}
