//! What was typed. Touches no file, no environment, no cargo.
