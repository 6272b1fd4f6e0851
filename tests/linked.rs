//! Real dependencies, linked once and linked in whole: each server's answers, its panics' backtraces and its
//! exit are the same both ways. `fixtures/linked` has a server for each set of dependencies that links in a
//! way of its own. The tests share a target folder, so that each crate is compiled once.

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

use support::{Project, get, repository};

/// What is seen of a server.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    answer: String,
    panics_with: Option<String>,
    backtrace: Vec<String>,
    exit: i64,
}

/// The fixture where it is, not a copy: of two at once, each would build the library that they share.
fn fixture() -> Project {
    let mut project = Project::empty();
    project.root = repository().join("fixtures/linked");
    project
}

/// A server of its own kind, on the same plumbing.
fn own(dependencies: &str, main: &str) -> Project {
    let project = Project::package(&format!("mod linked;\n\n{main}"));
    let plumbing = repository().join("fixtures/linked/src/lib.rs");
    project.write("src/linked.rs", std::fs::read(plumbing).expect("the plumbing"));
    let manifest = project.read("Cargo.toml");
    project.write("Cargo.toml", format!("{manifest}\n[dependencies]\n{dependencies}\n"));
    project
}

/// What the fixture and the copies of it that are changed are built in.
fn target(project: &Project) -> PathBuf {
    let shared = project.root == fixture().root;
    if shared { repository().join("target/linked") } else { project.path("target") }
}

/// Builds and asks a server, and ends it by its own hand. Second: how it was linked, and why.
fn see(project: &Project, bin: &str, how: &str, env: &[(&str, &Path)]) -> (Seen, String, String) {
    let tool = project.tool(["watch", "--bin", bin, "--port", "0", "--link", how, "--target-dir"]);
    let mut tool = env.iter().fold(tool, |tool, (name, value)| tool.env(name, value));
    tool.command.arg(target(project)).env("RUST_BACKTRACE", "1");
    let mut run = tool.start();
    let address = run.serving();
    let answer = get(address, "/").expect("it answers");
    let panics_with = get(address, "/panic");
    run.wait_for_stderr("note: Some details are omitted");
    // It may be gone before it has answered.
    let _ = get(address, "/exit");
    let exit = run.wait_for("server-exited")["code"].as_i64().expect("no signal");
    run.signal("INT");
    run.wait();
    let said =
        run.log.iter().find(|it| it["code"].as_str().is_some_and(|it| it.starts_with("linked-")));
    let text =
        |key| said.map(|it| it[key].as_str().expect("a text").to_owned()).unwrap_or_default();
    let backtrace = backtrace(&run.stderr());
    (Seen { answer, panics_with, backtrace, exit }, text("code"), text("text"))
}

/// The lines of the first backtrace, without what stands around it. No addresses are among them.
fn backtrace(said: &str) -> Vec<String> {
    let (_, trace) = said.split_once("stack backtrace:").expect("a backtrace");
    let (trace, _) = trace.split_once("note: Some details").expect("its end");
    trace.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect()
}

#[track_caller]
fn is_the_same_both_ways(
    project: &Project,
    bin: &str,
    env: &[(&str, &Path)],
    wanted: &str,
) -> Seen {
    let (once, how, why) = see(project, bin, "once", env);
    assert_eq!(how, wanted, "{why}");
    let (plain, how, _) = see(project, bin, "plain", env);
    assert_eq!(how, "");
    assert_eq!(once, plain);
    assert_eq!(once.exit, 7);
    let trace = once.backtrace.join("\n");
    assert!(trace.contains("linked::panics") && trace.contains("src/li"), "{trace}");
    once
}

#[track_caller]
fn holds(bin: &str, answer: &str) {
    let project = fixture();
    let seen = is_the_same_both_ways(&project, bin, &[], "linked-once");
    assert!(seen.answer.contains(answer), "{seen:?}");
}

#[test]
fn axum() {
    holds("axum", "axum");
}

#[test]
fn actix_web() {
    holds("actix", "actix");
}

#[test]
fn rocket() {
    holds("rocket", "rocket");
}

#[test]
fn sqlx() {
    holds("sqlx", "two3.");
}

#[test]
fn rusqlite() {
    holds("rusqlite", "423.");
}

#[test]
fn diesel() {
    holds("diesel", r#"[(2, "two"), (1, "one")]"#);
}

#[test]
fn reqwest_over_rustls_and_the_systems_tls() {
    holds("reqwest", "tls.tls.");
}

#[test]
fn ring() {
    holds("ring", "SHA256:");
}

#[test]
fn zstd() {
    holds("zstd", " 65536");
}

#[test]
fn inventory() {
    holds("inventory", "onetwo");
}

#[test]
fn ctor() {
    holds("ctor", "ran 1");
}

#[test]
fn tracing() {
    holds("tracing", "22");
}

#[test]
fn jemalloc_as_the_global_allocator() {
    holds("jemalloc", "true true");
}

#[test]
fn mimalloc_as_the_global_allocator() {
    holds("mimalloc", "499500 mimalloc\n 0");
}

/// A section that the linker puts together would be two.
#[test]
fn linkme_is_linked_in_whole() {
    let project = fixture();
    let seen = is_the_same_both_ways(&project, "linkme", &[], "linked-plainly");
    assert_eq!(seen.answer, "onetwo");
}

#[test]
fn a_plugin_that_is_loaded_later_finds_its_own_names() {
    let project = fixture();
    let built = Command::new("cargo")
        .args(["build", "--quiet", "--package", "plugin", "--target-dir"])
        .arg(target(&project))
        .current_dir(&project.root)
        .status();
    assert!(built.expect("cargo").success());
    let plugin = target(&project).join("debug/libplugin.so");
    let seen = is_the_same_both_ways(&project, "dlopen", &[("PLUGIN", &plugin)], "linked-once");
    assert!(seen.answer.starts_with("42 1 ") && seen.answer.ends_with(" true"), "{seen:?}");
}

/// C of the user's own, which its build script compiles.
#[test]
fn c_of_the_users_own() {
    let project = own(
        "zstd = { version = \"0.13\", default-features = false }",
        r#"unsafe extern "C-unwind" {
    safe fn own_count(called: Option<extern "C-unwind" fn()>) -> i32;
}

extern "C-unwind" fn panics() {
    linked::panics();
}

fn main() {
    let packed = || zstd::encode_all(&[7; 1 << 10][..], 3).expect("it packs").len();
    let answer = || format!("{} {} {}", own_count(None), own_count(None), packed());
    linked::serve(answer, |_| drop(own_count(Some(panics))))
}
"#,
    );
    project.write(
        "build.rs",
        r#"//! Compiles `own.c`.
use std::process::Command;

fn main() {
    let out = std::env::var("OUT_DIR").unwrap();
    let (object, archive) = (format!("{out}/own.o"), format!("{out}/libown.a"));
    assert!(Command::new("cc").args(["-c", "-fPIC", "own.c", "-o", &object]).status().unwrap().success());
    assert!(Command::new("ar").args(["rcs", &archive, &object]).status().unwrap().success());
    println!("cargo::rustc-link-search=native={out}");
    println!("cargo::rustc-link-lib=static=own");
}
"#,
    );
    project.write(
        "own.c",
        "static int count;\nint own_count(void (*called)(void)) {\n    if (called) called();\n    \
         return ++count;\n}\n",
    );
    let seen = is_the_same_both_ways(&project, "app", &[], "linked-once");
    assert!(seen.answer.starts_with("1 2 "), "{seen:?}");
}

/// A dependency of others with statics and thread-locals that generic and inlined code of its own uses,
/// compiled into both sides.
#[test]
fn statics_and_thread_locals_are_the_same_on_both_sides() {
    let project = own(
        "",
        r#"use std::fmt::Write;
use std::sync::atomic::Ordering;

unsafe extern "C" {
    static mut others_number: u32;
    fn others_add(more: u32) -> u32;
}

#[derive(Debug)]
struct Own;

fn main() {
    linked::serve(|| std::thread::spawn(answer).join().expect("an answer"), others::through)
}

fn answer() -> String {
    let mut all = String::new();
    let mut say = |it: &dyn std::fmt::Debug| write!(all, "{it:?} ").expect("a text");
    say(&(others::count(), others::inlined(), others::count()));
    say(&others::SHARED.load(Ordering::Relaxed));
    say(&(others::generic(Own), others::generic(1u8), others::generic_here(), others::generic(Own)));
    let (speaks, any) = others::boxed();
    say(&(speaks.speak(), others::Speaks::speak(&Own), any.downcast::<String>().ok()));
    say(&(others::is_text(&String::new()), others::is_text(&Own)));
    say(&std::panic::catch_unwind(others::panics_with_text).map_err(|it| it.downcast::<String>().ok()));
    say(&others::catches(|| std::panic::panic_any(9u32)));
    // SAFETY: nobody else asks at the same time.
    let (first, number, second) = unsafe { (others_add(1), others_number, others_add(2)) };
    say(&(first, number, second));
    let known = std::thread::spawn(|| others::generic(Own)).join().expect("no panic");
    say(&(known, others::DROPPED.load(Ordering::Relaxed)));
    all
}
"#,
    );
    let others = project.beside("others");
    let write = |path: &str, text: &str| project.write(Path::new("../others").join(path), text);
    write("Cargo.toml", "[package]\nname = \"others\"\nversion = \"0.1.0\"\nedition = \"2024\"\n");
    write(
        "src/lib.rs",
        r#"//! Statics of all kinds.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::fmt::Debug;
use std::sync::atomic::{AtomicU32, Ordering};

pub static SHARED: AtomicU32 = AtomicU32::new(0);
pub static DROPPED: AtomicU32 = AtomicU32::new(0);

thread_local! {
    static CONST: Cell<u32> = const { Cell::new(0) };
    static LAZY: RefCell<Dropped> = RefCell::new(Dropped(Vec::new()));
}

struct Dropped(Vec<String>);

impl Drop for Dropped {
    fn drop(&mut self) {
        DROPPED.fetch_add(self.0.len() as u32, Ordering::Relaxed);
    }
}

/// Compiled here.
pub fn count() -> (u32, u32) {
    inlined()
}

/// Compiled into whoever calls it.
#[inline]
pub fn inlined() -> (u32, u32) {
    CONST.set(CONST.get() + 1);
    (SHARED.fetch_add(1, Ordering::Relaxed), CONST.get())
}

/// Compiled into whoever calls it with a type of its own.
pub fn generic<T: Debug>(value: T) -> (u32, usize) {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    let known = LAZY.with_borrow_mut(|known| {
        known.0.push(format!("{value:?}"));
        known.0.len()
    });
    (CALLS.fetch_add(1, Ordering::Relaxed), known)
}

/// `generic`, compiled here.
pub fn generic_here() -> (u32, usize) {
    generic(0u8)
}

pub trait Speaks {
    fn speak(&self) -> String;
}

impl<T: Debug> Speaks for T {
    fn speak(&self) -> String {
        format!("{self:?}!")
    }
}

pub fn boxed() -> (Box<dyn Speaks>, Box<dyn Any>) {
    (Box::new("others"), Box::new(String::from("any")))
}

pub fn is_text(any: &dyn Any) -> bool {
    any.is::<String>()
}

pub fn panics_with_text() {
    std::panic::panic_any(String::from("theirs"));
}

pub fn catches(panics: impl FnOnce() + std::panic::UnwindSafe) -> Option<u32> {
    std::panic::catch_unwind(panics).err()?.downcast::<u32>().ok().map(|it| *it)
}

pub fn through(called: fn()) {
    called();
}

#[unsafe(no_mangle)]
pub static mut others_number: u32 = 5;

#[unsafe(no_mangle)]
pub extern "C" fn others_add(more: u32) -> u32 {
    // SAFETY: one thread asks.
    unsafe {
        others_number += more;
        others_number
    }
}
"#,
    );
    for words in [
        &["init", "--quiet"][..],
        &["add", "."],
        &["-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "-m", "all"],
    ] {
        let done = Command::new("git").args(words).current_dir(&others).status();
        assert!(done.expect("git").success());
    }
    let dependency = format!("others = {{ git = \"file://{}\" }}\n", others.display());
    let dependency = format!("others = {{ git = \"file://{}\" }}\n", others.display());
    let manifest = project.read("Cargo.toml");
    project.write("Cargo.toml", manifest + &dependency);
    let seen = is_the_same_both_ways(&project, "app", &[], "linked-once");
    let first = "((0, 1), (1, 2), (2, 3)) 3 ";
    assert!(seen.answer.starts_with(first), "{}", seen.answer);
    assert!(
        seen.answer.contains("(6, 6, 8)") && seen.answer.contains("Some(9)"),
        "{}",
        seen.answer
    );
}
