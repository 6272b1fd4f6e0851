//! What a [`Spec`] means: a path or a glob. The [`filter`](super::filter) builds on it, the
//! configuration checks with it.

use std::path::{Component, Path, PathBuf};

use globset::GlobBuilder;

use super::Spec;
use crate::error::Failure;

/// The characters that make a glob.
const META: [char; 4] = ['*', '?', '[', '{'];

/// A spec, understood.
#[derive(Clone, Debug)]
pub(super) enum Form {
    /// A file or a folder.
    Path {
        /// Absolute, without `.` and `..`.
        path: PathBuf,
        /// A trailing `/` said so.
        folder: bool,
    },
    /// A glob.
    Glob(Glob),
}

/// A glob, split into the folder it starts in and what is to match below.
#[derive(Clone, Debug)]
pub(super) struct Glob {
    /// The folder before the first segment with a wildcard. Absolute.
    pub(super) folder: PathBuf,
    /// For paths relative to `folder`. Whoever asks it of many paths compiles it.
    pub(super) pattern: globset::Glob,
    /// It had no `/`: it is about names, wherever they are.
    pub(super) anywhere: bool,
    /// It ended with `/`: it is about folders.
    pub(super) folders_only: bool,
    /// How many segments a match has at most, where there is no `**`.
    pub(super) depth: Option<usize>,
    /// Its last segment has more than wildcards: what it matches is named by it (`*.css`), not just
    /// swept up (`**`).
    pub(super) names: bool,
}

impl Spec {
    /// What to write where a glob's own characters are meant.
    pub const ESCAPES: &str =
        "`[[]`, `[*]`, `[?]` and `[{]` stand for the characters themselves, as in `a[[]1].html`";

    /// Whether it can be understood.
    ///
    /// # Errors
    ///
    /// An empty text, or a glob that does not parse.
    pub fn check(&self) -> Result<(), Failure> {
        self.understood().map_err(|reason| {
            Failure::usage(format!("invalid path to watch `{}`: {reason}", self.text))
                .help(Self::ESCAPES)
        })
    }

    /// The same, with the reason alone, for who names the place it comes from.
    ///
    /// # Errors
    ///
    /// As [`Spec::check`].
    pub fn understood(&self) -> Result<(), String> {
        self.form().map(|_| ())
    }

    pub(super) fn form(&self) -> Result<Form, String> {
        if self.text.is_empty() {
            return Err("it is empty".into());
        }
        let path = normal(&self.base.join(&self.text));
        let folder = self.text.ends_with(std::path::is_separator);
        // A file may be called `[id].html`.
        if !self.text.contains(META) || path.symlink_metadata().is_ok() {
            return Ok(Form::Path { path, folder });
        }
        self.glob(folder).map(Form::Glob)
    }

    fn glob(&self, folders_only: bool) -> Result<Glob, String> {
        let text = self.text.replace(std::path::MAIN_SEPARATOR, "/");
        let text = text.trim_end_matches('/');
        let wild = text.find(META).unwrap_or(text.len());
        let start = text[..wild].rfind('/').map_or(0, |slash| slash + 1);
        let (before, rest) = text.split_at(start);
        let anywhere = !text.contains('/');
        let crosses = anywhere || rest.contains("**");
        let last = rest.rsplit('/').next().unwrap_or(rest);
        let whole = if anywhere { format!("**/{rest}") } else { rest.to_owned() };
        let pattern = GlobBuilder::new(&whole)
            .literal_separator(true)
            .build()
            .map_err(|error| format!("not a glob: {}", error.kind()))?;
        Ok(Glob {
            folder: normal(&self.base.join(before)),
            depth: (!crosses && !folders_only).then(|| 1 + rest.matches('/').count()),
            names: last.chars().any(|c| !matches!(c, '*' | '?')),
            pattern,
            anywhere,
            folders_only,
        })
    }
}

/// `path` without `.` and `..`, as its text says.
pub(super) fn normal(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                out.pop();
            }
            other => out.push(other),
        }
    }
    out
}

/// `path` without symbolic links as far as it exists; what does not exist stays as it is.
pub(super) fn resolve(path: &Path) -> PathBuf {
    for ancestor in path.ancestors() {
        if let Ok(real) = ancestor.canonicalize() {
            return match path.strip_prefix(ancestor) {
                Ok(rest) if !rest.as_os_str().is_empty() => real.join(rest),
                _ => real,
            };
        }
    }
    path.to_path_buf()
}

/// The same, but a link at the very end stays: the place of the file, not of what it points to.
pub(super) fn resolve_place(path: &Path) -> PathBuf {
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => resolve(parent).join(name),
        _ => resolve(path),
    }
}

#[cfg(test)]
mod tests {
    use super::{Form, Glob, normal};
    use crate::watch::Spec;
    use std::path::Path;

    fn glob(text: &str) -> Glob {
        match (Spec { text: text.into(), base: "/b".into() }).form() {
            Ok(Form::Glob(glob)) => glob,
            other => panic!("{text} is no glob: {other:?}"),
        }
    }

    fn matches(glob: &Glob, path: &str) -> bool {
        glob.pattern.compile_matcher().is_match(path)
    }

    #[test]
    fn a_glob_is_split_where_its_wildcards_start() {
        let it = glob("templates/../pages/*/x?.html");
        assert_eq!(it.folder, Path::new("/b/pages"));
        assert_eq!(it.depth, Some(2));
        assert!(matches(&it, "a/x1.html"));
        assert!(!matches(&it, "a/b/x1.html"));
        let it = glob("/srv/{a,b}/**");
        assert_eq!(it.folder, Path::new("/srv"));
        assert_eq!(it.depth, None);
        assert!(!it.names);
    }

    #[test]
    fn without_a_slash_it_is_about_names() {
        let it = glob("*.css");
        assert!(it.anywhere && it.names);
        assert!(matches(&it, "x.css") && matches(&it, "a/b/x.css"));
        assert!(!matches(&glob("./*.css"), "a/x.css"));
    }

    #[test]
    fn a_bad_glob_is_named_with_its_error() {
        let failure = Spec { text: "a[".into(), base: "/b".into() }.check().unwrap_err();
        assert_eq!(failure.code, crate::error::USAGE);
        assert!(failure.message.contains("`a[`"), "{failure}");
        assert!(failure.message.contains("character class"), "{failure}");
    }

    #[test]
    fn an_existing_file_beats_the_glob_of_its_name() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("[id].html"), "").unwrap();
        let spec = Spec { text: "[id].html".into(), base: folder.path().into() };
        assert!(matches!(spec.form(), Ok(Form::Path { folder: false, .. })));
    }

    #[test]
    fn dots_are_resolved_by_text() {
        assert_eq!(normal(Path::new("/a/./b/../c/")), Path::new("/a/c"));
    }
}
