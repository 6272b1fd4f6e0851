//! A server with two bootstraps.

use axum::routing::get;
use stario::{App, Span};

mod admin {
    use stario::{App, Span};

    pub(super) async fn bootstrap(_app: &mut App, _span: &Span) -> stario::Result {
        Ok(())
    }
}

async fn bootstrap(app: &mut App, _span: &Span) -> stario::Result {
    app.route("/", get(async || "Hello"));
    Ok(())
}

stario::main!(bootstrap, admin::bootstrap);
