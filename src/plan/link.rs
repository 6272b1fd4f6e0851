//! Whether the executable may be linked against dependencies that were linked before: only where that is
//! known to hold. What the linker's command line shows is left to the driver (`src/link/line.rs`).

use std::path::Path;

use cargo_metadata::Metadata;

use super::Profile;
use crate::config::{Config, Link};
use crate::entry::{Entry, TargetKind};
use crate::link::{Linking, Once};
use crate::server::Toolchain;

/// The one platform that it is tested on.
const PLATFORM: &str = "x86_64-unknown-linux-gnu";

/// Flags of rustc that have nothing to do with linking: those that hold their value, and those that it
/// follows.
const HARMLESS: [&str; 12] = [
    "--cfg",
    "--check-cfg",
    "--cap-lints",
    "-A",
    "-W",
    "-D",
    "-F",
    "--allow",
    "--warn",
    "--deny",
    "--forbid",
    "--diagnostic-width",
];
/// Likewise, of those behind `-C`.
const HARMLESS_CODEGEN: [&str; 7] = [
    "codegen-units",
    "debug-assertions",
    "debuginfo",
    "force-frame-pointers",
    "opt-level",
    "overflow-checks",
    "target-cpu",
];

/// What the manifests and the user's words say.
pub(super) fn of(
    config: &Config,
    profile: &Profile,
    entry: &Entry,
    metadata: &Metadata,
    target_directory: &Path,
) -> Linking {
    if config.link == Some(Link::Plain) {
        return Linking::Plain { because: None };
    }
    if let Some(because) = &profile.unlinkable {
        return Linking::Plain { because: Some(because.clone()) };
    }
    let kind = match entry.kind {
        TargetKind::Bin => "bin",
        TargetKind::Example => "example",
    };
    let name = format!("{kind}-{}", entry.target);
    Linking::Once(Once::new(target_directory, &name, crates(metadata)))
}

impl Linking {
    /// With what the toolchain and cargo's configuration say.
    #[must_use]
    pub fn with(self, toolchain: &Toolchain) -> Self {
        match (self, unlinkable(toolchain)) {
            (Self::Once(_), Some(because)) => Self::Plain { because: Some(because) },
            (linking, _) => linking,
        }
    }
}

/// The libraries of the user's own packages, as rustc calls them.
fn crates(metadata: &Metadata) -> Vec<String> {
    let local = metadata.packages.iter().filter(|package| package.source.is_none());
    let libraries = local.flat_map(|package| package.targets.iter().filter(|it| !it.is_bin()));
    let mut names: Vec<_> = libraries.map(|library| library.name.replace('-', "_")).collect();
    names.sort();
    names.dedup();
    names
}

fn unlinkable(toolchain: &Toolchain) -> Option<String> {
    let linking = &toolchain.linking;
    let platform = linking.triple.as_deref().or(toolchain.rustc.host.as_deref());
    let platform = platform.unwrap_or("an unknown platform");
    if platform != PLATFORM || toolchain.rustc.host.as_deref() != Some(PLATFORM) {
        return Some(format!("it is tested for {PLATFORM} alone, not for {platform}"));
    }
    if linking.linker {
        return Some("cargo's configuration names a linker".to_owned());
    }
    if linking.runner {
        return Some("cargo's configuration names a runner".to_owned());
    }
    let flag = harmful(&linking.rustflags)?;
    Some(format!("rustc is given `{flag}`"))
}

/// The first flag that may have to do with linking.
fn harmful(flags: &[String]) -> Option<String> {
    let mut flags = flags.iter().map(String::as_str);
    while let Some(flag) = flags.next() {
        let codegen = match flag {
            "-C" | "--codegen" => flags.next(),
            _ => flag.strip_prefix("-C").or_else(|| flag.strip_prefix("--codegen=")),
        };
        let harmless = if let Some(codegen) = codegen {
            let name = codegen.split_once('=').map_or(codegen, |(name, _)| name);
            HARMLESS_CODEGEN.contains(&name.replace('_', "-").as_str())
        } else if HARMLESS.contains(&flag) {
            // Its value.
            flags.next();
            true
        } else {
            let holds = |known: &&str| match known.strip_prefix("--") {
                Some(_) => flag.strip_prefix(*known).is_some_and(|rest| rest.starts_with('=')),
                None => flag.starts_with(*known),
            };
            HARMLESS.iter().any(holds)
        };
        if !harmless {
            return Some(codegen.map_or_else(|| flag.to_owned(), |it| format!("-C {it}")));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn harmful_in(flags: &str) -> Option<String> {
        harmful(&flags.split_whitespace().map(ToOwned::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn flags_that_say_nothing_of_linking_are_harmless() {
        for flags in [
            "",
            "--cfg tokio_unstable",
            "--cfg=tokio_unstable -Dwarnings -W unused",
            "-C target-cpu=native -Cdebuginfo=1 --codegen opt-level=1 -Cforce_frame_pointers=yes",
            "--check-cfg=cfg(a) --cap-lints warn",
        ] {
            assert_eq!(harmful_in(flags), None, "{flags}");
        }
    }

    #[test]
    fn all_others_are_not() {
        for (flags, harmful) in [
            ("-C link-arg=-fuse-ld=mold", "-C link-arg=-fuse-ld=mold"),
            ("--cfg a -Clinker=clang", "-C linker=clang"),
            ("-C target-feature=+crt-static", "-C target-feature=+crt-static"),
            ("--codegen=panic=abort", "-C panic=abort"),
            ("-Zsanitizer=address", "-Zsanitizer=address"),
            ("-L native=/lib", "-L"),
            ("-C", "-C"),
        ] {
            assert_eq!(harmful_in(flags).as_deref(), Some(harmful), "{flags}");
        }
    }
}
