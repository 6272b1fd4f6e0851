//! A real Chromium for the tests, driven by chromedriver over plain HTTP (`WebDriver`).
//! Both end with the [`Browser`].

#![allow(unreachable_pub, reason = "a module of tests")]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{PATIENCE, lives, processes_of, signal};

/// A browser of its own: nothing in it, and nobody else in it.
pub struct Browser {
    agent: ureq::Agent,
    /// Where the session answers.
    session: String,
    driver: Child,
    profile: TempDir,
}

/// One of its windows or tabs.
#[derive(Clone)]
pub struct Tab(String);

impl Browser {
    pub fn start() -> Self {
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver starts");
        let port = port_of(&mut driver);
        let agent = ureq::Agent::config_builder()
            .timeout_global(Some(PATIENCE))
            .http_status_as_error(false)
            .build()
            .new_agent();
        let profile = TempDir::with_prefix("stario-browser-").expect("a temporary folder");
        let mut browser =
            Self { agent, session: format!("http://127.0.0.1:{port}/session"), driver, profile };
        let arguments: Vec<String> = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--window-size=900,900",
        ]
        .into_iter()
        .map(ToOwned::to_owned)
        .chain([format!("--user-data-dir={}", browser.profile.path().display())])
        .collect();
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "goog:chromeOptions": {"args": arguments},
            "goog:loggingPrefs": {"browser": "ALL"},
        }}});
        let session = browser.post("", &wanted);
        let id = session["sessionId"].as_str().expect("a session");
        browser.session = format!("{}/{id}", browser.session);
        browser
    }

    /// The window that is there from the start.
    pub fn first(&self) -> Tab {
        Tab(self.get("/window").as_str().expect("a handle").to_owned())
    }

    /// A further window. It is visible beside the others.
    pub fn window(&self) -> Tab {
        self.new_tab("window")
    }

    /// A further tab in the window that was used last, shown in place of what that showed.
    pub fn tab(&self) -> Tab {
        let tab = self.new_tab("tab");
        self.show(&tab);
        tab
    }

    fn new_tab(&self, kind: &str) -> Tab {
        let made = self.post("/window/new", &json!({"type": kind}));
        Tab(made["handle"].as_str().expect("a handle").to_owned())
    }

    /// Shows a tab: it hides the others of its window. So does whatever is done in it.
    pub fn show(&self, tab: &Tab) {
        self.post("/window", &json!({"handle": tab.0}));
    }

    /// Loads a page, and waits for it.
    pub fn open(&self, tab: &Tab, url: &str) {
        self.show(tab);
        self.post("/url", &json!({"url": url}));
    }

    /// What this body of a function returns in that page.
    pub fn run(&self, tab: &Tab, script: &str) -> Value {
        self.show(tab);
        self.post("/execute/sync", &json!({"script": script, "args": []}))
    }

    /// What this expression is, as text.
    pub fn text(&self, tab: &Tab, expression: &str) -> String {
        let value = self.run(tab, &format!("return String({expression})"));
        value.as_str().expect("text").to_owned()
    }

    /// Waits until this expression is this text.
    pub fn wait_for(&self, tab: &Tab, expression: &str, wanted: &str) {
        let end = Instant::now() + PATIENCE;
        loop {
            let text = self.text(tab, expression);
            if text == wanted {
                return;
            }
            if Instant::now() > end {
                let console = self.console(tab);
                panic!("{expression} is {text:?} and never {wanted:?}; the console: {console:#?}");
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Everything that the console has been told since it was asked last.
    pub fn console(&self, tab: &Tab) -> Vec<String> {
        self.show(tab);
        let entries = self.post("/se/log", &json!({"type": "browser"}));
        let entries = entries.as_array().expect("a list");
        entries.iter().map(|entry| format!("{}: {}", entry["level"], entry["message"])).collect()
    }

    fn get(&self, path: &str) -> Value {
        value(self.agent.get(format!("{}{path}", self.session)).call(), path)
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        value(self.agent.post(format!("{}{path}", self.session)).send_json(body), path)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let end = self.agent.delete(&self.session);
        let _ = end.config().timeout_global(Some(Duration::from_secs(10))).build().call();
        let _ = self.driver.kill();
        let _ = self.driver.wait();
        // Where it did not obey. All that it starts names the profile, or ends with what does.
        for (pid, _) in processes_of(self.profile.path()) {
            if lives(pid) {
                signal(pid, "KILL");
            }
        }
    }
}

/// What `WebDriver` answers is in `value`, errors as well.
fn value(answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>, path: &str) -> Value {
    let mut answer = answer.unwrap_or_else(|error| panic!("chromedriver, {path}: {error}"));
    let mut body: Value = answer.body_mut().read_json().expect("JSON");
    let value = body["value"].take();
    assert!(answer.status().is_success(), "chromedriver, {path}: {value}");
    value
}

/// It says where it listens, and nothing more that anybody needs.
fn port_of(driver: &mut Child) -> u16 {
    let mut lines = BufReader::new(driver.stdout.take().expect("piped")).lines();
    let port = lines.by_ref().map_while(Result::ok).find_map(|line| {
        line.rsplit_once("successfully on port ")?.1.trim_end_matches('.').parse().ok()
    });
    // Its output has to go somewhere for as long as it lives.
    thread::spawn(move || lines.for_each(drop));
    port.expect("chromedriver says its port")
}
