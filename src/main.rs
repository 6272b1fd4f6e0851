//! `cargo stario`. See `src/run/mod.rs`.

use std::env::args_os;
use std::process::ExitCode;

fn main() -> ExitCode {
    cargo_stario::process::hidden(args_os().skip(1))
        .or_else(|| cargo_stario::link::hidden(args_os().skip(1)))
        .unwrap_or_else(|| cargo_stario::run::main(args_os()))
}
