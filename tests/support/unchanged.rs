//! The servers of `fixtures/unchanged` under the tool. They are built once, into a target folder that
//! all tests share, and run where they lie; each test has a folder of its own, with the file
//! `version` in it, which they read when they start.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};

use super::{Project, Tool, repository};

/// An address that no other test has, and no connection either: each test process has an IP address
/// of its own out of the 16 million that are this machine, and counts ports up. (On Linux; the system
/// gives none of these to a client.)
pub fn address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(3000);
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    // Process ids have 22 bits.
    let ip = Ipv4Addr::new(127, 64 | high, middle, low);
    (ip, NEXT.fetch_add(1, Ordering::Relaxed)).into()
}

/// A port on which an address of no one machine can be bound: below those that clients are given.
pub fn port() -> u16 {
    let first = 10_000 + u16::try_from(std::process::id() % 20_000).expect("it is small");
    let free = |port: &u16| std::net::TcpListener::bind(("::", *port)).is_ok();
    (first..32_000).find(free).expect("one of them is free")
}

fn target() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("unchanged")
}

fn manifest() -> PathBuf {
    repository().join("fixtures/unchanged/Cargo.toml")
}

/// Builds all of them, however long that takes: what comes after is at once.
fn build() {
    let mut cargo = Command::new("cargo");
    for name in ["CARGO", "CARGO_MANIFEST_DIR", "CARGO_TARGET_DIR"] {
        cargo.env_remove(name);
    }
    let built = cargo
        .args(["build", "--quiet", "--locked", "--bins", "--manifest-path"])
        .arg(manifest())
        .arg("--target-dir")
        .arg(target())
        .status()
        .expect("cargo is there");
    assert!(built.success(), "fixtures/unchanged does not build");
}

/// The tool on one of them, which listens at this address; not started yet.
pub fn tool(project: &Project, server: &str, address: &str) -> Tool {
    build();
    project.write("version", "v0");
    // As they have been built.
    let arguments = ["watch", server, "--watch", "version", "--locked", "--profile", "dev"];
    let mut tool = project.tool(arguments);
    tool.command.arg("--manifest-path").arg(manifest()).arg("--target-dir").arg(target());
    tool.env("ADDRESS", address)
}
