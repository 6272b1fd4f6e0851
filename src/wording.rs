//! Small helpers for messages: the nearest name, lists of names, paths as the user would write
//! them. Used by every room that makes a [`Failure`](crate::error::Failure).

use std::path::Path;

mod exit;

pub use exit::exit;

/// The name that a typo most likely stands for: within a third of its length in edits (the bound
/// that rustc uses), the closest one first.
pub fn nearest<'a>(wanted: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let bound = wanted.chars().count().max(3) / 3;
    names
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(wanted, name), name))
        .filter(|(distance, _)| *distance <= bound)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Names as prose: `a`, `b` and `c`, each in backticks.
pub fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    joined(names, "and")
}

/// Alternatives as prose: `a`, `b` or `c`, each in backticks.
pub fn either<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    joined(names, "or")
}

fn joined<'a>(names: impl IntoIterator<Item = &'a str>, word: &str) -> String {
    let quoted: Vec<_> = names.into_iter().map(|name| format!("`{name}`")).collect();
    match quoted.split_last() {
        None => "none".into(),
        Some((only, [])) => only.clone(),
        Some((last, rest)) => format!("{} {word} {last}", rest.join(", ")),
    }
}

/// The path relative to the folder that the user is in, where it lies inside.
pub fn relative(path: &Path, current_dir: &Path) -> String {
    path.strip_prefix(current_dir)
        .ok()
        .filter(|inside| !inside.as_os_str().is_empty())
        .unwrap_or(path)
        .display()
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::{either, list, nearest, relative};
    use std::path::Path;

    #[test]
    fn the_nearest_name_is_within_a_third() {
        assert_eq!(nearest("bootstrp", ["main", "bootstrap"]), Some("bootstrap"));
        assert_eq!(nearest("mian", ["main"]), Some("main"));
        assert_eq!(nearest("api", ["web"]), None);
    }

    #[test]
    fn names_read_as_prose() {
        assert_eq!(list([]), "none");
        assert_eq!(list(["a"]), "`a`");
        assert_eq!(list(["a", "b", "c"]), "`a`, `b` and `c`");
        assert_eq!(either(["a", "b"]), "`a` or `b`");
    }

    #[test]
    fn a_path_inside_is_shown_relative() {
        assert_eq!(relative(Path::new("/w/src/main.rs"), Path::new("/w")), "src/main.rs");
        assert_eq!(relative(Path::new("/x"), Path::new("/w")), "/x");
        assert_eq!(relative(Path::new("/w"), Path::new("/w")), "/w");
    }
}
