//! Builds the shim (`shim/`), the library that is preloaded into servers so that their sockets can
//! be shared, for `src/server/adopt/image.rs` to embed. On systems without it, and where it cannot
//! be built, the tool does without.

use std::env;
use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

/// For which targets there is a shim. The rest of a triple (the vendor) does not matter.
const MACHINES: [&str; 2] = ["x86_64", "aarch64"];
const LIBRARIES: [&str; 2] = ["gnu", "musl"];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=shim");
    println!("cargo::rustc-check-cfg=cfg(adopt_shim)");
    let variable = |name| env::var(name).unwrap_or_default();
    println!("cargo::rustc-env=STARIO_TARGET={}", variable("TARGET"));
    let known = variable("CARGO_CFG_TARGET_OS") == "linux"
        && variable("CARGO_CFG_TARGET_POINTER_WIDTH") == "64"
        && MACHINES.contains(&variable("CARGO_CFG_TARGET_ARCH").as_str())
        && LIBRARIES.contains(&variable("CARGO_CFG_TARGET_ENV").as_str());
    if !known {
        return;
    }
    match build() {
        Ok(()) => println!("cargo::rustc-cfg=adopt_shim"),
        Err(why) => {
            println!(
                "cargo::warning=servers' own sockets cannot be shared: the shim was not built"
            );
            // The first line says it; the rest would be the linker's whole command.
            println!("cargo::warning={}", why.lines().next().unwrap_or_default());
        }
    }
}

/// Plain rustc: it has no dependencies, and one that cargo would build for us would need a package
/// of its own in the registry.
fn build() -> Result<(), String> {
    let of_cargo = |name: &str| env::var_os(name).ok_or_else(|| format!("{name} is not set"));
    let image = Path::new(&of_cargo("OUT_DIR")?).join("libstario_shim.so");
    let mut rustc = Command::new(of_cargo("RUSTC")?);
    rustc
        .args(["--crate-name", "stario_shim", "--crate-type", "cdylib", "--edition", "2024"])
        .args(["--cap-lints", "allow", "--target"])
        .arg(of_cargo("TARGET")?)
        .args(["-C", "panic=abort", "-C", "opt-level=3", "-C", "lto", "-C", "codegen-units=1"])
        .args(["-C", "debuginfo=0", "-C", "strip=symbols"])
        // A thread that is cancelled unwinds through the shim.
        .args(["-C", "force-unwind-tables=yes"])
        // Nothing is linked to it, neither libc nor what compilers add: so one image goes with
        // every libc that a server may have.
        .args(["-C", "link-arg=-nostartfiles", "-C", "target-feature=-crt-static"]);
    if let Some(linker) = env::var_os("RUSTC_LINKER") {
        let mut option = OsString::from("linker=");
        option.push(linker);
        rustc.arg("-C").arg(option);
    }
    rustc.arg("-o").arg(&image).arg(Path::new("shim").join("lib.rs"));
    let output = rustc.output().map_err(|error| format!("{rustc:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&output.stderr).into_owned())
}
