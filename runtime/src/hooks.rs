//! What is to be done when the server stops, and what comes of it.
//!
//! Hooks run one after the other, the last registered first, as values are dropped. One that fails
//! or panics is reported and does not keep the others from running.

use std::pin::Pin;
use std::time::Duration;

use tokio::time::Instant;

use crate::error::{Error, panic_message, report};

/// What a hook may return: nothing, or a result whose error is reported.
pub trait Outcome {
    /// The same as a result of ours.
    fn into_result(self) -> crate::Result;
}

impl Outcome for () {
    fn into_result(self) -> crate::Result {
        Ok(())
    }
}

impl<T, E: Into<Error>> Outcome for Result<T, E> {
    fn into_result(self) -> crate::Result {
        self.map(drop).map_err(Into::into)
    }
}

/// In the order of their registration.
#[derive(Default)]
pub(crate) struct Hooks(Vec<Pin<Box<dyn Future<Output = crate::Result> + Send>>>);

impl Hooks {
    pub(crate) fn push(&mut self, hook: impl Future<Output: Outcome> + Send + 'static) {
        self.0.push(Box::pin(async move { hook.await.into_result() }));
    }

    /// Runs them. After `deadline` those that are left are dropped. Returns how many failed, were
    /// cut or were not run.
    pub(crate) async fn run(self, deadline: Instant) -> usize {
        let mut failed = 0;
        let mut hooks = self.0.into_iter().rev();
        while let Some(hook) = hooks.next() {
            // A task of its own: what blocks its thread cannot block the deadline.
            let mut task = tokio::spawn(hook);
            // One that has only to be polled once gets that even when the time is up.
            let end = deadline.max(Instant::now() + Duration::from_millis(1));
            match tokio::time::timeout_at(end, &mut task).await {
                Ok(Ok(Ok(()))) => {}
                Ok(Ok(Err(error))) => {
                    report(format_args!("a shutdown hook failed: {error:?}"));
                    failed += 1;
                }
                Ok(Err(error)) => {
                    if let Ok(payload) = error.try_into_panic() {
                        let message = panic_message(&*payload);
                        report(format_args!("a shutdown hook panicked: {message}"));
                    }
                    failed += 1;
                }
                Err(_late) => {
                    task.abort();
                    let left = hooks.len() + 1;
                    report(format_args!(
                        "{left} shutdown {} not done in time (STARIO_GRACE)",
                        if left == 1 { "hook was" } else { "hooks were" }
                    ));
                    return failed + left;
                }
            }
        }
        failed
    }
}
