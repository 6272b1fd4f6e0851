//! `--watch-ignore`: what the user never wants to hear of.

use std::path::{Path, PathBuf};

use super::Spec;
use super::spec::{Form, Glob, resolve};

/// What was named to be ignored, with all that is below it.
#[derive(Debug, Default)]
pub(super) struct Exclusions {
    paths: Vec<PathBuf>,
    globs: Vec<Excluded>,
}

#[derive(Debug)]
struct Excluded {
    glob: Glob,
    /// The glob's folder without symbolic links.
    real: PathBuf,
}

impl Exclusions {
    /// From specs that parse; others are left out.
    pub(super) fn new(specs: &[Spec]) -> Self {
        let mut all = Self::default();
        for spec in specs {
            match spec.form() {
                Err(_) => {}
                Ok(Form::Path { path, .. }) => {
                    all.paths.push(resolve(&path));
                    all.paths.push(path);
                }
                Ok(Form::Glob(glob)) => {
                    let real = resolve(&glob.folder);
                    all.globs.push(Excluded { glob, real });
                }
            }
        }
        all
    }

    /// Whether `path` is excluded, or a folder that it lies in. `below`: what of it lies in what is
    /// watched. A glob without `/` is about names: those in `below`, and those below its base.
    pub(super) fn exclude(&self, path: &Path, below: &Path, is_dir: bool) -> bool {
        self.paths.iter().any(|it| path.starts_with(it))
            || self.globs.iter().any(|Excluded { glob, real }| {
                let from_base =
                    path.strip_prefix(real).or_else(|_| path.strip_prefix(&glob.folder));
                from_base.is_ok_and(|it| glob.has(it, is_dir))
                    || glob.anywhere && glob.has(below, is_dir)
            })
    }
}
