//! What a changed file is to the build, by its name.

use std::path::Path;

use crate::event::ChangeKind;

/// What the file at `path` is to the build.
pub(super) fn classify(path: &Path) -> ChangeKind {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
        return by_extension(path);
    };
    let in_cargo = || path.parent().is_some_and(|folder| folder.ends_with(".cargo"));
    match name {
        "Cargo.lock" => ChangeKind::Lock,
        "Cargo.toml" | "rust-toolchain" | "rust-toolchain.toml" => ChangeKind::Manifest,
        "config" | "config.toml" if in_cargo() => ChangeKind::Manifest,
        _ => by_extension(path),
    }
}

fn by_extension(path: &Path) -> ChangeKind {
    if path.extension().is_some_and(|extension| extension == "rs") {
        ChangeKind::Source
    } else {
        ChangeKind::Asset
    }
}

#[cfg(test)]
mod tests {
    use super::classify;
    use crate::event::ChangeKind::{Asset, Lock, Manifest, Source};

    #[test]
    fn names_say_what_a_file_is() {
        for (path, kind) in [
            ("/p/src/main.rs", Source),
            ("/p/Cargo.toml", Manifest),
            ("/p/.cargo/config.toml", Manifest),
            ("/p/.cargo/config", Manifest),
            ("/p/rust-toolchain", Manifest),
            ("/p/rust-toolchain.toml", Manifest),
            ("/p/Cargo.lock", Lock),
            ("/p/config.toml", Asset),
            ("/p/index.html", Asset),
            ("/p/rs", Asset),
        ] {
            assert_eq!(classify(path.as_ref()), kind, "{path}");
        }
    }
}
