//! What helps while you write a server, and does nothing in production.
