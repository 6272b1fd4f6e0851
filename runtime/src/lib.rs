//! What a server links to have a composition root, a graceful stop and tracing.
