//! Who runs the server, and how. Each of the others is started as its own documentation says, with
//! nothing but its defaults.

use anyhow::{Result, bail};

use crate::project::Project;
use crate::tools::{BACON, CARGO_WATCH, SYSTEMFD, Tool, WATCHEXEC};

/// One way to run a server while it is written.
pub(crate) struct Runner {
    /// What it is called on our command line and in the tables.
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// What is typed, unless it is done by hand. `PORT` stands for the port.
    words: &'static [&'static str],
    /// What it builds.
    build: Build,
    /// What has to be installed.
    pub(crate) tools: &'static [Tool],
    /// The runner's own executables.
    pub(crate) programs: &'static [&'static str],
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// No runner: cargo is called after the save, the server is started when it is done.
    Hand,
    Other,
    Ours,
}

/// What is told to cargo.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Build {
    /// Nothing.
    Dev,
    /// The feature by which the server takes a socket.
    Listenfd,
    /// What our `watch` tells it, and it is the cargo itself, not rustup's.
    Stario,
    /// The same with `--link plain`.
    Plain,
}

/// The floor: nobody who calls cargo with its defaults can be faster.
pub(crate) const FLOOR: &str = "by-hand";
/// What ours does, without ours.
pub(crate) const OURS_BY_HAND: &str = "by-hand-stario";
pub(crate) const OURS: &str = "stario";

const RUNNERS: &[Runner] = &[
    Runner {
        name: FLOOR,
        kind: Kind::Hand,
        words: &[],
        build: Build::Dev,
        tools: &[],
        programs: &[],
    },
    Runner {
        name: "cargo-watch",
        kind: Kind::Other,
        words: &["cargo", "watch", "-x", "run"],
        build: Build::Dev,
        tools: &[CARGO_WATCH],
        programs: &["cargo-watch"],
    },
    Runner {
        name: "watchexec",
        kind: Kind::Other,
        words: &["watchexec", "-r", "--", "cargo", "run"],
        build: Build::Dev,
        tools: &[WATCHEXEC],
        programs: &["watchexec"],
    },
    Runner {
        name: "bacon",
        kind: Kind::Other,
        words: &["bacon", "run-long"],
        build: Build::Dev,
        tools: &[BACON],
        programs: &["bacon"],
    },
    // The only one whose server has to be written for it: it takes the socket that `systemfd` holds.
    Runner {
        name: "systemfd",
        kind: Kind::Other,
        words: &[
            "systemfd",
            "--no-pid",
            "-s",
            "http::PORT",
            "--",
            "cargo",
            "watch",
            "-x",
            "run --features listenfd",
        ],
        build: Build::Listenfd,
        tools: &[CARGO_WATCH, SYSTEMFD],
        programs: &["cargo-watch", "systemfd"],
    },
    Runner {
        name: OURS,
        kind: Kind::Ours,
        words: &["cargo", "stario", "watch", "--port", "PORT"],
        build: Build::Stario,
        tools: &[],
        programs: &["cargo-stario"],
    },
    Runner {
        name: OURS_BY_HAND,
        kind: Kind::Hand,
        words: &[],
        build: Build::Stario,
        tools: &[],
        programs: &[],
    },
    Runner {
        name: "stario-plain",
        kind: Kind::Ours,
        words: &["cargo", "stario", "watch", "--port", "PORT", "--link", "plain"],
        build: Build::Plain,
        tools: &[],
        programs: &["cargo-stario"],
    },
    Runner {
        name: "stario-dev",
        kind: Kind::Ours,
        words: &["cargo", "stario", "watch", "--port", "PORT", "--profile", "dev"],
        build: Build::Dev,
        tools: &[],
        programs: &["cargo-stario"],
    },
];

impl Runner {
    /// Its command line.
    pub(crate) fn words(&self, project: &Project) -> Vec<String> {
        if self.kind == Kind::Hand {
            // `cargo run` takes no flags for the final target: it is built, then.
            return self.cargo(if self.build == Build::Dev { "run" } else { "build" }, project);
        }
        let port = project.port.to_string();
        self.words.iter().map(|word| word.replace("PORT", &port)).collect()
    }

    /// Its command line, as it is typed.
    pub(crate) fn typed(&self, project: &Project) -> String {
        let words = self.words(project);
        let quoted = |word: &String| {
            if word.contains([' ', '"', '*']) { format!("'{word}'") } else { word.clone() }
        };
        words.iter().map(quoted).collect::<Vec<_>>().join(" ")
    }

    /// The build that it does, by hand.
    pub(crate) fn by_hand(&self, project: &Project) -> Vec<String> {
        self.cargo("build", project)
    }

    fn cargo(&self, verb: &str, project: &Project) -> Vec<String> {
        let words = |cargo: &str, options: &[&str]| {
            [cargo, verb].iter().chain(options).map(ToString::to_string).collect::<Vec<_>>()
        };
        match self.build {
            Build::Dev => words("cargo", &[]),
            Build::Listenfd => words("cargo", &["--features", "listenfd"]),
            Build::Plain => {
                let mut words = words(&project.cargo, &[]);
                words.extend_from_slice(&project.profile);
                words
            }
            Build::Stario => {
                let mut words = vec![project.cargo.clone(), "rustc".to_owned()];
                words.extend_from_slice(&project.profile);
                words.push("--".to_owned());
                words.extend_from_slice(&project.link);
                words
            }
        }
    }

    /// Whether what is typed runs the server, too.
    pub(crate) fn runs(&self) -> bool {
        self.kind != Kind::Hand || self.build == Build::Dev
    }

    /// Where that puts the server, in the project's folder.
    pub(crate) fn executable(&self) -> &'static str {
        match self.build {
            Build::Dev | Build::Listenfd => "target/debug/ordinary",
            Build::Stario | Build::Plain => "target/stario/ordinary",
        }
    }
}

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Figure {
    /// From a save to the new answer, and what clients notice meanwhile.
    Swap,
    /// From a save to the compiler's first error.
    Diagnostic,
    /// From the start to the first answer, with nothing to build.
    Start,
    /// The memory of the runner.
    Memory,
}

const FIGURES: [(&str, Figure); 4] = [
    ("swap", Figure::Swap),
    ("diagnostic", Figure::Diagnostic),
    ("start", Figure::Start),
    ("memory", Figure::Memory),
];

/// The runners and the figures that these words name; all, where none is named.
pub(crate) fn chosen(words: &[String]) -> Result<(Vec<&'static Runner>, Vec<Figure>)> {
    let (mut runners, mut figures) = (Vec::new(), Vec::new());
    for word in words {
        if let Some(runner) = RUNNERS.iter().find(|it| it.name == word) {
            runners.push(runner);
        } else if let Some((_, figure)) = FIGURES.iter().find(|it| it.0 == word) {
            figures.push(*figure);
        } else {
            let names: Vec<_> = RUNNERS.iter().map(|it| it.name).collect();
            let parts = FIGURES.map(|it| it.0).join(", ");
            bail!("`{word}` is neither a runner ({}) nor a figure ({parts})", names.join(", "));
        }
    }
    if runners.is_empty() {
        runners.extend(RUNNERS);
    }
    if figures.is_empty() {
        figures.extend(FIGURES.map(|it| it.1));
    }
    Ok((runners, figures))
}
