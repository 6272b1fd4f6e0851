//! The documents tell the truth where a test can see it: named paths exist, every event is
//! documented.

use std::fs;
use std::path::Path;

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Everything in backticks.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn every_path_that_the_architecture_names_exists() {
    let text = read("ARCHITECTURE.md");
    let paths: Vec<_> = code(&text)
        .filter(|name| {
            ["src/", "tests/", "fixtures/", "benches/"].iter().any(|top| name.starts_with(top))
        })
        .collect();
    assert!(paths.len() > 15, "{paths:?}");
    for path in paths {
        assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join(path).exists(), "{path} is not there");
    }
}

#[test]
fn every_event_for_scripts_is_documented() {
    let source = read("src/report/json.rs");
    let table = read("README.md");
    // Each arm of the table makes a pair: a name and its fields.
    let names: Vec<_> = source
        .split('(')
        .filter_map(|text| text.trim_start().strip_prefix('"')?.split_once("\","))
        .map(|(name, _)| name)
        .filter(|name| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'))
        .collect();
    assert!(names.len() > 20, "{names:?}");
    for name in names {
        assert!(table.contains(&format!("| `{name}` |")), "`{name}` is not in the README");
    }
}

#[test]
fn every_option_of_ours_is_in_the_readme() {
    let readme = read("README.md");
    let help = read("src/cli/snapshots/watch.txt");
    let options: Vec<_> = help
        .split_whitespace()
        .filter(|word| word.starts_with("--") && word.len() > 2)
        .map(|word| word.split(['[', '=', ',', '.', ';', ')']).next().unwrap_or(word))
        .collect();
    assert!(options.len() > 20, "{options:?}");
    for option in options {
        assert!(readme.contains(option), "{option} is not in the README");
    }
}
