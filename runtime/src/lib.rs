//! What a server links to have a composition root, a graceful stop and tracing.

pub mod alive;
mod app;
pub mod dev;
mod entry;
mod error;
mod hooks;
mod listener;
mod notify;
mod serve;
mod settings;
pub mod testing;
pub mod tracer;

pub use axum;
pub use tokio_util::sync::CancellationToken;
pub use tracing::Span;

pub use crate::alive::Alive;
pub use crate::app::App;
pub use crate::error::{Error, Result};
pub use crate::hooks::Outcome;

/// Defines `fn main`: it runs one of these bootstraps, as [`App`] describes.
///
/// A bootstrap is an `async fn(app: &mut App, span: &Span) -> stario::Result`; its future need not
/// be `Send`. `STARIO_BOOTSTRAP` names the one to run, as it is written here (without spaces and
/// without a leading `crate::` or `self::`); the first is the default.
///
/// ```no_run
/// use stario::{App, Span};
///
/// mod admin {
///     use stario::{App, Span};
///
///     pub async fn bootstrap(_app: &mut App, _span: &Span) -> stario::Result {
///         Ok(())
///     }
/// }
///
/// async fn bootstrap(_app: &mut App, _span: &Span) -> stario::Result {
///     Ok(())
/// }
///
/// stario::main!(bootstrap, admin::bootstrap);
/// ```
#[macro_export]
macro_rules! main {
    ($($bootstrap:path),+ $(,)?) => {
        fn main() -> ::std::process::ExitCode {
            $crate::__private::main(&[$(
                $crate::__private::Bootstrap {
                    path: ::core::stringify!($bootstrap),
                    run: |app, span| ::std::boxed::Box::pin($bootstrap(app, span)),
                },
            )+])
        }
    };
}

/// What [`main!`] expands to. No part of the API.
#[doc(hidden)]
pub mod __private {
    pub use crate::entry::{Bootstrap, main};
}
