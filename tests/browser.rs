//! `fixtures/tiles` in real browser windows while its source is edited: the page follows by itself,
//! each window exactly once for each swap.

#![cfg(unix)]

mod support;
mod webdriver;

use std::path::{Path, PathBuf};
use std::process::Command;

use support::{Project, Run, has, needs, repository};
use webdriver::{Browser, Tab};

const PAGE: &str = "src/page.rs";
const TITLE: &str = "document.querySelector('h1')?.innerText";
const HERE: &str = "document.querySelector('.here b')?.innerText";

/// Datastar's client, which is not ours to keep among the sources.
fn datastar() -> Option<PathBuf> {
    let named = std::env::var_os("STARIO_DATASTAR").map(PathBuf::from);
    let file = named.unwrap_or_else(|| repository().join("fixtures/tiles/static/datastar.js"));
    let there = file.is_file();
    needs("Datastar's client, fixtures/tiles/static/datastar.js", there).then_some(file)
}

/// A copy of the board, under a name of its own: several share a target folder, for the sake of
/// what they are built from.
struct Tiles {
    project: Project,
    name: &'static str,
    target: PathBuf,
}

impl Tiles {
    /// `None`: this machine lacks something.
    fn new(name: &'static str) -> Option<Self> {
        if !(has("chromedriver") && has("chromium")) {
            return None;
        }
        let datastar = datastar()?;
        let tiles = Self::copy(name);
        tiles.project.write("static/datastar.js", std::fs::read(datastar).expect("it is there"));
        Some(tiles)
    }

    fn copy(name: &'static str) -> Self {
        let project = Project::copy("tiles");
        let runtime = repository().join("runtime");
        project.edit("Cargo.toml", "../../runtime", runtime.to_str().expect("UTF-8"));
        for file in ["Cargo.toml", "Cargo.lock"] {
            project.edit(file, "name = \"tiles\"", &format!("name = \"{name}\""));
        }
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("tiles");
        Self { project, name, target }
    }

    fn watch(&self, port: u16) -> Run {
        let port = port.to_string();
        let mut tool = self.project.tool(["watch", "main:bootstrap", "--locked", "--port", &port]);
        tool.command.arg("--target-dir").arg(&self.target).env_remove("RUST_LOG");
        tool.env("STARIO_TRACER", "json").start()
    }

    /// Gives the page another title, as an editor would.
    fn call_it(&self, title: &str) {
        let old = self.project.read(PAGE);
        let line = old.lines().find(|line| line.starts_with("const TITLE")).expect("a title");
        self.project.edit(PAGE, line, &format!("const TITLE: &str = \"{title}\";"));
    }
}

impl Drop for Tiles {
    fn drop(&mut self) {
        let _ = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()))
            .args(["clean", "--quiet", "--package", self.name, "--target-dir"])
            .arg(&self.target)
            .current_dir(&self.project.root)
            .status();
    }
}

/// The address as one types it.
fn url(run: &mut Run) -> String {
    format!("http://{}/", run.serving())
}

/// Opens the page, and counts from now on how often it is replaced as a whole. The count does not
/// survive a load.
fn look(browser: &Browser, tab: &Tab, url: &str) {
    browser.open(tab, url);
    browser.run(
        tab,
        "window.resyncs = 0;
         document.addEventListener('datastar-fetch', ({detail}) => {
             if (detail.type === 'datastar-patch-elements' && detail.argsRaw.selector === 'html') {
                 window.resyncs += 1;
             }
         });",
    );
}

/// How often this window's page has been replaced.
fn resyncs(browser: &Browser, tab: &Tab) -> String {
    browser.text(tab, "window.resyncs")
}

/// How often servers say that they have sent a page.
fn sent(run: &Run) -> usize {
    run.stderr().matches("\"event\":\"the page is sent anew\"").count()
}

fn paint(browser: &Browser, tab: &Tab, tile: usize) {
    browser.run(tab, &format!("document.querySelector('[data-tile=\"{tile}\"]').click()"));
}

fn wait_for_tile(browser: &Browser, tab: &Tab, tile: usize, colour: &str) {
    let expression = format!("document.querySelector('[data-tile=\"{tile}\"]').className");
    browser.wait_for(tab, &expression, colour);
}

#[test]
fn two_windows_follow_every_save() {
    let Some(tiles) = Tiles::new("tiles-followed") else { return };
    let mut run = tiles.watch(0);
    let url = url(&mut run);
    let browser = Browser::start();
    let windows = [browser.first(), browser.window()];
    for window in &windows {
        look(&browser, window, &url);
        browser.wait_for(window, TITLE, "Tiles");
    }
    let [one, two] = &windows;

    let all_are_here = || windows.iter().for_each(|tab| browser.wait_for(tab, HERE, "2"));
    all_are_here();
    paint(&browser, one, 0);
    wait_for_tile(&browser, two, 0, "rose");

    browser.run(two, "document.querySelector('.palette .green').click()");
    for (swaps, title) in [(1, "One"), (2, "Two")] {
        tiles.call_it(title);
        for window in &windows {
            browser.wait_for(window, TITLE, title);
            browser.wait_for(window, "document.title", title);
            assert_eq!(resyncs(&browser, window), swaps.to_string(), "{}", run.story());
        }
        // Their streams are at the new server, and nobody's is there twice.
        all_are_here();
    }

    // What is wrong in the source reaches nobody; the board goes on.
    tiles.project.edit(PAGE, "main data-init", "main ( data-init");
    run.wait_for("build-failed");
    paint(&browser, two, 1);
    wait_for_tile(&browser, one, 1, "green");
    paint(&browser, one, 1);
    wait_for_tile(&browser, two, 1, "rose");
    assert_eq!(resyncs(&browser, one), "2");

    tiles.project.edit(PAGE, "main ( data-init", "main data-init");
    tiles.call_it("Three");
    for window in &windows {
        browser.wait_for(window, TITLE, "Three");
    }
    all_are_here();
    for window in &windows {
        assert_eq!(resyncs(&browser, window), "3", "{}", run.story());
        assert_eq!(browser.console(window), Vec::<String>::new());
    }
    assert_eq!(sent(&run), 6, "two windows, three swaps\n{}", run.story());
}

#[test]
fn a_tab_that_comes_back_late_is_brought_up_to_date_once() {
    let Some(tiles) = Tiles::new("tiles-late") else { return };
    // Its own range: between two runs of the tool nobody else is given this one by the system.
    let port = (20_000..32_000).cycle().skip(std::process::id() as usize % 12_000);
    let port =
        port.into_iter().find(|port| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok());
    let port = port.expect("one of them is free");
    let mut run = tiles.watch(port);
    let url = url(&mut run);
    let browser = Browser::start();
    let late = browser.first();
    look(&browser, &late, &url);
    browser.wait_for(&late, HERE, "1");
    // Hidden by another tab, it leaves.
    let other = browser.tab();
    let present = browser.window();
    look(&browser, &present, &url);
    browser.wait_for(&present, HERE, "1");
    for title in ["One", "Two"] {
        tiles.call_it(title);
        browser.wait_for(&present, TITLE, title);
        browser.wait_for(&present, HERE, "1");
    }
    assert_eq!(resyncs(&browser, &present), "2");
    browser.wait_for(&late, TITLE, "Two");
    browser.wait_for(&late, HERE, "2");
    assert_eq!(resyncs(&browser, &late), "1", "{}", run.story());
    for tab in [&late, &present] {
        assert_eq!(browser.console(tab), Vec::<String>::new());
    }

    // Shown again when nothing has happened: nothing happens.
    browser.show(&other);
    browser.wait_for(&present, HERE, "1");
    browser.wait_for(&late, HERE, "2");
    assert_eq!(resyncs(&browser, &late), "1");

    // The tool itself is away for a while. What it starts then is no earlier server's.
    assert_eq!(sent(&run), 3);
    run.signal("INT");
    run.wait();
    tiles.call_it("Three");
    let mut run = tiles.watch(port);
    run.serving();
    for (tab, swaps) in [(&late, "2"), (&present, "3")] {
        browser.wait_for(tab, TITLE, "Three");
        browser.wait_for(tab, HERE, "2");
        assert_eq!(resyncs(&browser, tab), swaps, "{}", run.story());
    }
}

#[test]
fn the_board_passes_its_own_tests() {
    let tiles = Tiles::copy("tiles-tested");
    let passed = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()))
        .args(["test", "--quiet", "--locked", "--target-dir"])
        .arg(&tiles.target)
        .current_dir(&tiles.project.root)
        .output()
        .expect("cargo starts");
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    assert!(passed.status.success(), "{}{}", text(&passed.stderr), text(&passed.stdout));
}
