//! What helps while you write a server: the page in the browser follows a swap by itself.
//!
//! Active only with `STARIO_DEV=1`, which `cargo stario watch` sets, and nobody else should.
//!
//! # The pattern
//!
//! The page keeps a long-lived stream of server-sent events open. When the server is swapped for a
//! new one, the stream ends and the client opens it again, now at the new server. That one sees that
//! the client knows an older server, renders the page anew and sends it whole, from `<html>` to
//! `</html>`, over the stream: as [Datastar](https://data-star.dev)'s `patch_elements` with the
//! selector `html` and the mode `outer`. The tab shows what you have just saved, without a reload.
//!
//! ```
//! use axum::response::Html;
//! use axum::routing::get;
//! use stario::{App, Span, dev};
//!
//! async fn home() -> Html<String> {
//!     Html(format!(
//!         "<!doctype html>
//!         <html lang=\"en\"{resync}>
//!           <head>
//!             <title>Hello</title>
//!             <script type=\"module\" src=\"/datastar.js\"></script>
//!           </head>
//!           <body><h1>Hello</h1></body>
//!         </html>",
//!         resync = dev::attribute("/dev"), // nothing without STARIO_DEV=1
//!     ))
//! }
//!
//! async fn bootstrap(app: &mut App, _span: &Span) -> stario::Result {
//!     app.route("/", get(home));
//!     app.route("/dev", dev::resync(home)); // the same handler: the same page
//!     Ok(())
//! }
//! ```
//!
//! Each tab gets the page once for each swap that it has missed, or once for several of them: also a
//! tab that was hidden or without a network meanwhile, and one whose page was rendered by the old
//! server while the stream was opened at the new one. A tab that was never away gets nothing, and a
//! server that is being stopped sends nothing to anybody.
//!
//! # Streams of your own
//!
//! A stream of yours comes back to the new server as well, perhaps sooner than the page does. What it
//! has patched by then, the page may cover with what was true when it was rendered. [`mark`] behind the
//! stream's URL makes the stream begin anew once the page is there:
//!
//! ```
//! # use stario::dev;
//! format!("<main data-init=\"@get('/updates{}', {{retry: 'always'}})\">", dev::mark())
//! # ;
//! ```
//!
//! # Use it mindfully
//!
//! - **Scope.** This makes developing pleasant. It is not a feature of your product, unless you own
//!   all that follows from it.
//! - **Surprise.** A whole page takes the place of another. Datastar changes only what differs, so
//!   that much stays; but what the client alone knew (text in a form, what scripts have built, where
//!   you had scrolled to, what had the focus) may be lost. It happens after a swap, and only then.
//! - **Production.** Without `STARIO_DEV=1` the stream answers `204 No Content`, upon which clients
//!   stop asking, and [`attribute`] is empty. Do not rely on a stream that replaces the world for real
//!   users without the care that any live edit needs: ship ordinary page loads and small patches.
//! - It is **not a substitute for normal navigation** (a tab stays on its page; the stream does not
//!   know other pages) **or for error recovery in production** (it neither repeats what was lost nor
//!   tells anybody that something was).
//!
//! # What to know
//!
//! - The page has to be a whole HTML document that loads Datastar 1.0 (a new version of Datastar
//!   itself is the one thing that wants a reload by hand).
//! - The handler is asked as for a plain visit: with the path, the cookies and the state of the
//!   request for the stream, but without what Datastar adds to it. A page with parameters in its
//!   path has its stream below the same ones: `/rooms/{id}` and `/rooms/{id}/dev`.
//! - [`attribute`] belongs on an element that starts no other requests, since Datastar cancels an
//!   element's request when it starts the next; `<html>` is a good place.
//! - A hidden tab closes its stream, as Datastar does by default: browsers open no more than six
//!   connections to one server. It gets what it has missed when it is shown again.
//! - Each time it sends a page, the server says so: `RUST_LOG=stario::dev=info`.

use std::fmt::Write as _;
use std::sync::OnceLock;
use std::time::SystemTime;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::handler::Handler;
use axum::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, SET_COOKIE};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::sse::{Event, KeepAlive};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use datastar::DatastarEvent;
use datastar::consts::{ElementPatchMode, EventType};
use datastar::patch_elements::PatchElements;
use tracing::{info, warn};

use crate::Alive;

/// Whether this process runs under `cargo stario watch`: `STARIO_DEV=1`.
pub fn enabled() -> bool {
    static ENABLED: OnceLock<bool> = OnceLock::new();
    *ENABLED.get_or_init(|| std::env::var_os("STARIO_DEV").is_some_and(|value| value == "1"))
}

/// The name of this process among all servers that there have ever been here: no two have the same,
/// whatever started them.
///
/// It begins with the time of the process's start, so that of two servers each knows which came
/// first. Letters, digits and `-` only.
pub fn generation() -> &'static str {
    static GENERATION: OnceLock<String> = OnceLock::new();
    GENERATION.get_or_init(|| format!("{:016x}-{:x}", nanoseconds(), std::process::id()))
}

/// Since 1970.
fn nanoseconds() -> u64 {
    let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// The attribute that opens the stream at this path, with a space before it:
/// ` data-init="@get('/dev?generation=…', {…})"`. Empty without `STARIO_DEV=1`.
///
/// It is HTML: a template engine has to take it as it is. For one that knows attributes and escapes
/// their values there is [`expression`].
///
/// The path may have a query. It is a part of a URL: what may not stand in one is encoded.
pub fn attribute(path: &str) -> String {
    expression(path).map(|expression| attribute_of(&expression)).unwrap_or_default()
}

fn attribute_of(expression: &str) -> String {
    // What else would need it cannot be in it.
    format!(" data-init=\"{}\"", expression.replace('&', "&amp;"))
}

/// To be put behind the URL of a stream of your own: a fragment, which no server gets to see, with
/// the [`generation`] in it. Empty without `STARIO_DEV=1`.
///
/// Datastar opens a stream anew when the attribute that opens it has changed, and ends the one that
/// it opened before. A stream that begins with how things are now is then right about them, whatever
/// came first after a swap.
pub fn mark() -> &'static str {
    static MARK: OnceLock<String> = OnceLock::new();
    MARK.get_or_init(|| if enabled() { format!("#{}", generation()) } else { String::new() })
}

/// What the attribute `data-init` has to say for [`resync`], not escaped:
/// `@get('/dev?generation=…', {…})`. `None` without `STARIO_DEV=1`.
pub fn expression(path: &str) -> Option<String> {
    enabled().then(|| expression_for(path, generation()))
}

/// - `generation`: who rendered the page. It counts while the stream has not told the client an id:
///   a page from the old server may open its stream at the new one.
/// - `retry: 'always'`: Datastar does not come back after a clean end otherwise, and a server that
///   stops ends its streams cleanly. Soon, at least once a second, for ever.
/// - `requestCancellation: 'cleanup'`: the stream ends with its element or attribute, of which the
///   new page may have another, or none.
/// - `payload`: no signals, nobody reads them; but something that no other tab sends. Chromium takes
///   what several tabs ask for at the same time for the same, and lets one wait for the other's answer,
///   which it then asks for again.
fn expression_for(path: &str, generation: &str) -> String {
    let mut url = String::new();
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/?&=%:+,;".contains(&byte) {
            url.push(char::from(byte));
        } else {
            let _ = write!(url, "%{byte:02X}");
        }
    }
    let separator = if url.contains('?') { '&' } else { '?' };
    format!(
        "@get('{url}{separator}generation={generation}', {{retry: 'always', retryInterval: 50, \
         retryMaxWait: 1000, retryMaxCount: Infinity, requestCancellation: 'cleanup', payload: {{tab: Math.random()}}}})"
    )
}

/// Answers the stream that [`attribute`] opens: sends a client that comes back after a swap the page
/// that this handler gives, once.
///
/// ```no_run
/// # use axum::{response::Html, routing::get};
/// # async fn home() -> Html<&'static str> { Html("") }
/// # fn routes(app: &mut stario::App) {
/// app.route("/", get(home));
/// app.route("/dev", stario::dev::resync(home));
/// # }
/// ```
///
/// See the [module](self) for what it is good for, and what not.
pub fn resync<H, T, S>(page: H) -> MethodRouter<S>
where
    H: Handler<T, S>,
    T: 'static,
    S: Clone + Send + Sync + 'static,
{
    // Called while the server starts, which is the time that the name has to have in it.
    stream(page, enabled(), generation())
}

fn stream<H, T, S>(page: H, enabled: bool, generation: &'static str) -> MethodRouter<S>
where
    H: Handler<T, S>,
    T: 'static,
    S: Clone + Send + Sync + 'static,
{
    get(async move |State(state): State<S>, alive: Alive, request: Request| {
        if !enabled {
            return StatusCode::NO_CONTENT.into_response();
        }
        let theirs = known_to(&request);
        let client = Client::of(theirs.as_deref(), generation, nanoseconds());
        let mut cookies = HeaderMap::new();
        let event = match client {
            Client::Current => Some(Event::default().id(generation)),
            Client::Ahead => None,
            Client::Behind => {
                // Whoever is stopped has nothing to say: the next server has.
                let page = tokio::select! {
                    biased;
                    () = alive.stopped() => None,
                    page = render(page, request, state) => page,
                };
                page.map(|(html, set)| {
                    info!(target: "stario::dev", from = theirs, "the page is sent anew");
                    cookies = set;
                    patch(&html, generation)
                })
            }
        };
        // Where the server stops, this is empty and ends at once.
        let events = alive.sse(async move |sender| {
            if let Some(event) = event {
                sender.send(event).await?;
            }
            std::future::pending().await
        });
        // Chromium's cache lets several tabs that ask for the same wait for each other otherwise.
        let head = [(CACHE_CONTROL, "no-store")];
        // What is sent from time to time shows which clients have left.
        (head, cookies, events.keep_alive(KeepAlive::default())).into_response()
    })
}

/// The generation that this client knows: the last that a stream told it, else the one that rendered
/// its page.
fn known_to(request: &Request) -> Option<String> {
    let told = request.headers().get("last-event-id").and_then(|id| id.to_str().ok());
    let rendered =
        || parameters(request.uri()).find_map(|parameter| parameter.strip_prefix("generation="));
    told.filter(|id| !id.is_empty()).or_else(rendered).map(ToOwned::to_owned)
}

fn parameters(uri: &Uri) -> impl Iterator<Item = &str> {
    uri.query().unwrap_or_default().split('&').filter(|parameter| !parameter.is_empty())
}

/// What a client knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Client {
    /// This server, or none at all.
    Current,
    /// One before this: it has to get the page.
    Behind,
    /// One after this, which takes connections beside this one until this is told to stop. The
    /// client must not be thrown back. It comes again when this server stops.
    Ahead,
}

impl Client {
    fn of(theirs: Option<&str>, ours: &str, now: u64) -> Self {
        let started = |generation: &str| {
            let (time, _) = generation.split_once('-')?;
            u64::from_str_radix(time, 16).ok()
        };
        match theirs {
            None => Self::Current,
            Some(theirs) if theirs == ours => Self::Current,
            // Nobody starts in the future: then the clock has been set back since.
            Some(theirs) if (started(ours)..=Some(now)).contains(&started(theirs)) => Self::Ahead,
            Some(_) => Self::Behind,
        }
    }
}

/// The whole document, and the cookies that come with it.
async fn render<H, T, S>(page: H, request: Request, state: S) -> Option<(String, HeaderMap)>
where
    H: Handler<T, S>,
{
    let response: Response = page.call(plain(request), state).await;
    let (head, body) = response.into_parts();
    let kind = head.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    if !kind.is_some_and(|kind| kind.starts_with("text/html")) {
        warn!(
            target: "stario::dev",
            status = head.status.as_u16(), content_type = kind,
            "the page is no HTML now: tabs stay as they are until they are loaded again"
        );
        return None;
    }
    let html = match to_bytes(body, usize::MAX).await {
        Ok(html) => String::from_utf8_lossy(&html).into_owned(),
        Err(error) => {
            let error: &(dyn std::error::Error + 'static) = &error;
            warn!(target: "stario::dev", error, "the page broke off");
            return None;
        }
    };
    let mut cookies = HeaderMap::new();
    for cookie in head.headers.get_all(SET_COOKIE) {
        cookies.append(SET_COOKIE, cookie.clone());
    }
    Some((html, cookies))
}

/// The request as a plain visit would make it: many handlers answer Datastar with less than a page.
fn plain(request: Request) -> Request {
    let (mut head, _) = request.into_parts();
    head.headers.remove("datastar-request");
    head.headers.remove("last-event-id");
    head.headers.insert(ACCEPT, const { axum::http::HeaderValue::from_static("text/html") });
    let ours = |parameter: &&str| {
        !["generation=", "datastar="].iter().any(|name| parameter.starts_with(name))
    };
    let rest: Vec<_> = parameters(&head.uri).filter(ours).collect();
    let path = head.uri.path();
    let uri = if rest.is_empty() { path.to_owned() } else { format!("{path}?{}", rest.join("&")) };
    if let Ok(uri) = uri.parse() {
        head.uri = uri;
    }
    Request::from_parts(head, Body::empty())
}

/// The event that puts this page in the place of the present one.
fn patch(html: &str, generation: &str) -> Event {
    // A stream of events knows a carriage return as an end of a line, too.
    let mut html = html.replace("\r\n", "\n").replace('\r', "\n");
    // HTML may leave it out. Datastar knows a document by it.
    if !html.contains("</html>") {
        html.push_str("</html>");
    }
    let patch = PatchElements::new(html).selector("html").mode(ElementPatchMode::Outer);
    let patch = patch.into_datastar_event();
    // The id last: the client takes note of it as soon as it reads it, and must not when what comes
    // before it did not arrive.
    Event::default().event(name(patch.event)).data(patch.data.join("\n")).id(generation)
}

/// What an event of this type is called. The crate keeps that to itself, but for its text.
fn name(event: EventType) -> String {
    let text = DatastarEvent::new(event, None::<String>).to_string();
    text.trim_start_matches("event: ").trim_end().to_owned()
}

#[cfg(test)]
mod tests;
