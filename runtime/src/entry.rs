//! From `fn main` to the exit code: the settings, the bootstrap that they choose, serving, the stop.

use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, Span};

use crate::app::{App, Life, catch};
use crate::error::{Error, Failed, panic_message, report, say};
use crate::listener::{Inherited, Listening, Reserved};
use crate::serve::{LINGER, Server, until};
use crate::settings::Settings;
use crate::{notify, tracer};

/// Exit code for a bad setting.
const USAGE: u8 = 2;

/// One of a binary's bootstraps.
pub struct Bootstrap {
    /// As [`main!`](crate::main) was given it.
    pub path: &'static str,
    /// Calls it.
    pub run: for<'a> fn(&'a mut App, &'a Span) -> Boxed<'a>,
}

type Boxed<'a> = Pin<Box<dyn Future<Output = crate::Result> + 'a>>;

impl Bootstrap {
    /// What `STARIO_BOOTSTRAP` calls it.
    fn name(&self) -> String {
        name(self.path)
    }
}

/// A path without spaces and without what says that it starts here.
fn name(path: &str) -> String {
    let path: String = path.split_whitespace().collect();
    let mut path = path.as_str();
    while let Some(rest) = path.strip_prefix("crate::").or_else(|| path.strip_prefix("self::")) {
        path = rest;
    }
    path.to_owned()
}

fn choose<'a>(all: &'a [Bootstrap], wanted: Option<&str>) -> Result<&'a Bootstrap, String> {
    let Some(wanted) = wanted else { return Ok(&all[0]) };
    if let Some(found) = all.iter().find(|one| one.name() == name(wanted)) {
        return Ok(found);
    }
    let mut message = format!(
        "STARIO_BOOTSTRAP is {wanted:?}, which `stario::main!` does not list; there is {}",
        all.iter().map(|one| format!("`{}`", one.name())).collect::<Vec<_>>().join(", ")
    );
    let near = all.iter().map(|one| (strsim::jaro_winkler(&one.name(), wanted), one.name()));
    let nearest = near.max_by(|one, other| one.0.total_cmp(&other.0));
    if let Some((likeness, nearest)) = nearest
        && likeness > 0.7
        && all.len() > 1
    {
        message = format!("{message}; did you mean `{nearest}`?");
    }
    Err(message)
}

/// The body of `fn main`.
pub fn main(bootstraps: &[Bootstrap]) -> ExitCode {
    // Before any thread runs: this changes the environment.
    let inherited = Inherited::take();
    let settings = match Settings::from_env() {
        Ok(settings) => settings,
        Err(message) => {
            report(message);
            return ExitCode::from(USAGE);
        }
    };
    let bootstrap = match choose(bootstraps, settings.bootstrap.as_deref()) {
        Ok(bootstrap) => bootstrap,
        Err(message) => {
            report(message);
            return ExitCode::from(USAGE);
        }
    };
    let inherited = match inherited {
        Ok(inherited) => inherited,
        Err(error) => return failed(&error.into()),
    };
    let _tracer = match tracer::init(settings.tracer) {
        Ok(tracer) => tracer,
        Err(message) => {
            report(message);
            return ExitCode::from(USAGE);
        }
    };

    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error.into()),
    };
    let stopping = CancellationToken::new();
    if let Err(error) = signals::watch(stopping.clone(), settings.grace) {
        return failed(&error.into());
    }
    let code = runtime.block_on(run(bootstrap, &settings, inherited, stopping));
    // What blocks its thread would be waited for.
    runtime.shutdown_background();
    code
}

/// Says that the start failed, here and to the supervisor.
fn failed(error: &Error) -> ExitCode {
    report(format_args!("{error:?}"));
    if let Some(errno) = error.errno() {
        notify::failed(errno);
    }
    ExitCode::FAILURE
}

async fn run(
    bootstrap: &Bootstrap,
    settings: &Settings,
    inherited: Inherited,
    stopping: CancellationToken,
) -> ExitCode {
    let reserved = match Reserved::new(inherited, settings).await {
        Ok(reserved) => reserved,
        Err(error) => return failed(&error.into()),
    };

    let mut app = App::with_token(stopping.clone());
    let name = bootstrap.name();
    let span = tracing::info_span!("bootstrap", name);
    let started = {
        let running = async { (bootstrap.run)(&mut app, &span).await }.instrument(span.clone());
        stopping.run_until_cancelled(catch(running)).await
    };
    drop(span);
    let error = match started {
        Some(Ok(Ok(()))) => match reserved.listen() {
            Ok(listening) => return serve(app, listening, settings, stopping).await,
            Err(error) => Some(error.into()),
        },
        Some(Ok(Err(error))) => Some(Error::from(Failed {
            message: format!("the bootstrap `{name}` failed"),
            cause: Some(error.into_inner()),
        })),
        Some(Err(payload)) => {
            let message = format!("the bootstrap `{name}` panicked: {}", panic_message(&*payload));
            Some(Failed { message, cause: None }.into())
        }
        // Asked to stop before it was there.
        None => {
            notify::stopping();
            None
        }
    };
    let code = error.as_ref().map_or(ExitCode::SUCCESS, failed);
    let now = Instant::now();
    match end(app.into_parts().1, 0, now, settings.grace).await {
        ExitCode::SUCCESS => code,
        failure => failure,
    }
}

async fn serve(
    app: App,
    listening: Listening,
    settings: &Settings,
    stopping: CancellationToken,
) -> ExitCode {
    let (router, life) = app.into_parts();
    let server = Arc::new(Server {
        router,
        stopping: stopping.clone(),
        cut: CancellationToken::new(),
        connections: TaskTracker::new(),
        linger: LINGER.min(settings.grace / 2),
    });
    let accepting = TaskTracker::new();
    for listener in listening.listeners {
        accepting.spawn(Arc::clone(&server).accept(listener));
    }
    if listening.ours && !settings.dev {
        say(format_args!("Listening on {}", listening.place));
    }
    notify::ready(&format!("Serving on {}", listening.place));

    stopping.cancelled().await;
    let begun = Instant::now();
    notify::stopping();
    let requests_end = begun + settings.grace * 9 / 10;
    accepting.close();
    server.connections.close();
    let done = until(requests_end, async {
        accepting.wait().await;
        server.connections.wait().await;
    });
    let left = if done.await { 0 } else { server.connections.len() };
    server.cut.cancel();
    // Handlers are gone before the hooks run, unless they block.
    until(Instant::now() + settings.grace / 20, server.connections.wait()).await;
    end(life, left, begun, settings.grace).await
}

/// Ends background tasks and hooks, and says what was left.
async fn end(life: Life, connections: usize, begun: Instant, grace: Duration) -> ExitCode {
    let (tasks, hooks) = life.end(begun + grace * 9 / 10, begun + grace).await;
    if connections + tasks > 0 {
        let took = begun.elapsed().as_secs_f32();
        say(format_args!(
            "warning: dropped after {took:.1} s (STARIO_GRACE): connections {connections}, \
             background tasks {tasks}"
        ));
    }
    if hooks == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

mod signals {
    //! SIGTERM and SIGINT, in a thread of their own: it works when all others are blocked.

    use std::io;
    use std::time::Duration;

    use tokio_util::sync::CancellationToken;

    use crate::error::report;

    /// More than the grace, after which the process ends from here: somebody blocks a thread.
    const MARGIN: Duration = Duration::from_secs(1);

    /// The first one cancels the token; the second ends the process at once.
    pub(super) fn watch(stopping: CancellationToken, grace: Duration) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let mut signals = {
            let _inside = runtime.enter();
            Signals::new()?
        };
        let work = move || {
            runtime.block_on(async {
                signals.next().await;
                stopping.cancel();
                if let Ok(number) = tokio::time::timeout(grace + MARGIN, signals.next()).await {
                    std::process::exit(128 + number);
                }
                report("the stop takes longer than STARIO_GRACE; ending now");
                std::process::exit(1);
            });
        };
        std::thread::Builder::new().name("stario-signals".to_owned()).spawn(work).map(drop)
    }

    #[cfg(unix)]
    struct Signals {
        terminate: tokio::signal::unix::Signal,
        interrupt: tokio::signal::unix::Signal,
    }

    #[cfg(unix)]
    impl Signals {
        fn new() -> io::Result<Self> {
            use tokio::signal::unix::{SignalKind, signal};
            Ok(Self {
                terminate: signal(SignalKind::terminate())?,
                interrupt: signal(SignalKind::interrupt())?,
            })
        }

        /// Waits for one; its number.
        async fn next(&mut self) -> i32 {
            tokio::select! {
                _ = self.terminate.recv() => 15,
                _ = self.interrupt.recv() => 2,
            }
        }
    }

    #[cfg(windows)]
    struct Signals(tokio::signal::windows::CtrlC);

    #[cfg(windows)]
    impl Signals {
        fn new() -> io::Result<Self> {
            tokio::signal::windows::ctrl_c().map(Self)
        }

        async fn next(&mut self) -> i32 {
            self.0.recv().await;
            2
        }
    }
}

#[cfg(test)]
mod tests;
