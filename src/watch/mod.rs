//! Files become [`Event::Changed`](crate::event::Event::Changed).

use std::path::PathBuf;

/// A file, a folder or a glob that the user named, and the folder that it is relative to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// As it was written.
    pub text: String,
    /// Absolute.
    pub base: PathBuf,
}

/// What is watched, and what is not. All paths are absolute.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WatchSet {
    /// Folders watched for want of `specs`.
    pub roots: Vec<PathBuf>,
    /// `--watch`: replaces `roots` when there is one.
    pub specs: Vec<Spec>,
    /// `--watch-ignore`: always wins.
    pub ignore: Vec<Spec>,
    /// Files that always count: manifests, `Cargo.lock`, `.cargo/config.toml`.
    pub manifests: Vec<PathBuf>,
    /// Folders that are never watched: cargo's target and build folders.
    pub never: Vec<PathBuf>,
    /// Whether ignore files count.
    pub gitignore: bool,
}

// Stands in until the filter brings its own check of the same signature.
impl Spec {
    /// Why this cannot be watched, where it cannot.
    pub fn check(&self) -> Result<(), String> {
        globset::GlobBuilder::new(&self.text)
            .literal_separator(true)
            .build()
            .map(drop)
            .map_err(|error| error.kind().to_string())
    }
}
