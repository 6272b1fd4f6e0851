//! The server that all runners run: a copy of `fixtures/ordinary` as its developer would have it, a
//! repository with its target folder inside. That lies outside of ours, where it would be ignored; and it
//! stays, since its first builds take minutes.

use std::ffi::OsString;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use cargo_stario::cli;
use cargo_stario::link::Linking;
use cargo_stario::plan::{self, Host, Plan, Source};
use cargo_stario::server::OWN_HOST;

use crate::terminal;

/// The line that is edited.
const EDITED: &str = "const GREETING: &str = ";

/// The server's source, and where it is to listen.
pub(crate) struct Project {
    pub(crate) folder: PathBuf,
    /// For everything that is started in it.
    pub(crate) path: OsString,
    /// Free when we began.
    pub(crate) port: u16,
    /// What our `watch` calls cargo.
    pub(crate) cargo: String,
    /// What it tells cargo of the profile.
    pub(crate) profile: Vec<String>,
    /// What rustc is told by it of the link.
    pub(crate) link: Vec<String>,
    edits: AtomicU32,
}

impl Project {
    /// Brings the copy up to date.
    pub(crate) fn prepare(path: OsString) -> Result<Self> {
        let named = std::env::var_os("STARIO_BENCH_FOLDER").map(PathBuf::from);
        let folder = named.unwrap_or_else(|| std::env::temp_dir().join("cargo-stario-bench"));
        let folder = folder.join("ordinary");
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/ordinary");
        fs::create_dir_all(folder.join("src")).with_context(|| folder.display().to_string())?;
        for file in ["Cargo.toml", "Cargo.lock", ".gitignore", "src/main.rs"] {
            fs::copy(fixture.join(file), folder.join(file)).context(file)?;
        }
        if !folder.join(".git").exists() {
            let made = terminal::command("git").arg("init").arg("--quiet").arg(&folder).status();
            ensure!(made.context("git")?.success(), "git init");
        }
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let plan = plan(&folder)?;
        let profile = plan.profile.args();
        let link = match &plan.link {
            Linking::Once(once) => once.rustc_args(Path::new(env!("CARGO_BIN_EXE_cargo-stario"))),
            Linking::Plain { because } => bail!("it is linked in whole: {because:?}"),
        };
        let texts = |words: Vec<OsString>| {
            words.iter().map(|it| it.to_string_lossy().into_owned()).collect::<Vec<_>>()
        };
        let (profile, link) = (texts(profile), texts(link));
        let cargo = plan.cargo.to_string_lossy().into_owned();
        Ok(Self { folder, path, port, cargo, profile, link, edits: AtomicU32::new(0) })
    }

    /// Saves another greeting. Returns it, and when.
    pub(crate) fn edit(&self) -> Result<(String, Instant)> {
        let number = self.edits.fetch_add(1, Ordering::Relaxed) + 1;
        // Always as long as the one before.
        let greeting = format!("edit {number:06}");
        let saved = self.save(&format!("{greeting:?}"))?;
        Ok((greeting, saved))
    }

    /// Saves what does not compile. Returns when, and what the compiler will say.
    pub(crate) fn break_it(&self) -> Result<(&'static str, Instant)> {
        Ok(("E0308", self.save("404")?))
    }

    fn save(&self, value: &str) -> Result<Instant> {
        let path = self.folder.join("src/main.rs");
        let text = fs::read_to_string(&path)?;
        let (before, rest) = text.split_once(EDITED).context("nothing to edit")?;
        let (_, after) = rest.split_once(';').context("an edit without an end")?;
        let text = format!("{before}{EDITED}{value};{after}");
        let now = Instant::now();
        fs::write(path, text)?;
        Ok(now)
    }
}

/// What our `watch` would do in this folder.
fn plan(folder: &Path) -> Result<Plan> {
    let words = ["cargo-stario", "watch"].map(OsString::from);
    let source = Source {
        command: cli::parse(words.into_iter())?,
        // `CARGO` among it, as cargo has it for its subcommands.
        env: std::env::vars_os().collect(),
        current_dir: folder.to_owned(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // Nobody contradicts: it is this machine that is built for.
    let host = Host { likely: OWN_HOST, known: std::future::ready(None) };
    let plan = runtime.block_on(plan::resolve(&source, host, None));
    plan.map_err(|failure| anyhow!("{failure:?}"))
}
