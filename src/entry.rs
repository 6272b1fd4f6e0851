//! `MODULE[:FUNCTION]` and cargo's metadata become the [`Entry`]: package, target, function.

use std::path::PathBuf;

/// What is built and run.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The package that has the target.
    pub package: cargo_metadata::Package,
    /// What kind of target it is.
    pub kind: TargetKind,
    /// The target's name, as cargo's `--bin` or `--example` takes it.
    pub target: String,
    /// The function's path inside the binary, as in `admin::bootstrap`: the server's
    /// `STARIO_BOOTSTRAP`. `None` when no function was named.
    pub function: Option<String>,
    /// Every local package that the target depends on, its own first.
    pub local: Vec<LocalPackage>,
    /// The crate in the target's dependency graph that says that it takes inherited sockets.
    pub takes_socket: Option<String>,
}

/// Which of cargo's target kinds can be run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetKind {
    /// A binary.
    Bin,
    /// An example.
    Example,
}

/// A package that lies on this machine as a folder (not in cargo's registry).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalPackage {
    /// Its name.
    pub name: String,
    /// The folder of its manifest. Absolute.
    pub root: PathBuf,
}
