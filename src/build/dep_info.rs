//! Dep-info: the make rules in which rustc and cargo write down what something was compiled from.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// Every file that the dep-info file names as a source of anything. `base` is what relative paths
/// are relative to. `None` when it cannot be read.
pub(super) fn read(path: &Path, base: &Path) -> Option<HashSet<PathBuf>> {
    let text = std::fs::read_to_string(path).ok()?;
    Some(sources(&text).into_iter().map(|source| base.join(source)).collect())
}

/// The sources in the rules of a dep-info file. Spaces in paths are escaped with `\`; nothing else
/// is, so that a backslash before anything but a space is part of a Windows path.
fn sources(text: &str) -> Vec<PathBuf> {
    let rules = text.lines().filter(|line| !line.starts_with('#'));
    // `C:\target` has a colon as well: the rule's is followed by a space.
    let rules = rules.filter_map(|line| line.split_once(": "));
    rules.flat_map(|(_, sources)| words(sources)).map(PathBuf::from).collect()
}

fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut characters = line.chars().peekable();
    while let Some(character) = characters.next() {
        let word = words.last_mut().expect("it starts with one and only grows");
        match character {
            '\\' if characters.next_if_eq(&' ').is_some() => word.push(' '),
            ' ' => words.push(String::new()),
            other => word.push(other),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(text: &str) -> Vec<String> {
        sources(text).iter().map(|path| path.display().to_string()).collect()
    }

    #[test]
    fn sources_stand_behind_the_colon() {
        assert_eq!(
            named("/t/debug/app: /w/src/main.rs /w/src/a.rs\n"),
            ["/w/src/main.rs", "/w/src/a.rs"]
        );
    }

    #[test]
    fn spaces_are_escaped() {
        assert_eq!(named("/t/my\\ app: /w/my\\ file.rs /w/b.rs"), ["/w/my file.rs", "/w/b.rs"]);
    }

    #[test]
    fn rustc_writes_a_rule_for_each_source_and_its_environment() {
        let text =
            "t/a.d: src/main.rs src/t.html\n\nsrc/main.rs:\nsrc/t.html:\n\n# env-dep:X=a: b\n";
        assert_eq!(named(text), ["src/main.rs", "src/t.html"]);
    }

    #[test]
    fn windows_paths_keep_their_backslashes() {
        assert_eq!(named(r"C:\t\app.exe: C:\w\src\main.rs"), [r"C:\w\src\main.rs"]);
    }
}
