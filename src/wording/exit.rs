//! How processes end, in words.

use crate::event::Exit;

/// As `kill -l` names them, where POSIX fixes the number or both Linux and macOS agree on it.
fn name(number: i32) -> Option<&'static str> {
    Some(match number {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        5 => "SIGTRAP",
        6 => "SIGABRT",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        14 => "SIGALRM",
        15 => "SIGTERM",
        _ => return platform_name(number),
    })
}

/// `signal(7)` on Linux (x86 and ARM).
#[cfg(target_os = "linux")]
fn platform_name(number: i32) -> Option<&'static str> {
    Some(match number {
        7 => "SIGBUS",
        10 => "SIGUSR1",
        12 => "SIGUSR2",
        24 => "SIGXCPU",
        25 => "SIGXFSZ",
        31 => "SIGSYS",
        _ => return None,
    })
}

/// `signal(3)` on macOS and the BSDs.
#[cfg(not(target_os = "linux"))]
fn platform_name(number: i32) -> Option<&'static str> {
    Some(match number {
        10 => "SIGBUS",
        12 => "SIGSYS",
        24 => "SIGXCPU",
        25 => "SIGXFSZ",
        30 => "SIGUSR1",
        31 => "SIGUSR2",
        _ => return None,
    })
}

/// How a process ended, in words: `exit code 3`, `signal 11 (SIGSEGV)`.
pub fn exit(exit: Exit) -> String {
    match exit {
        Exit::Code(code) => format!("exit code {code}"),
        Exit::Signal(number) => match name(number) {
            Some(name) => format!("signal {number} ({name})"),
            None => format!("signal {number}"),
        },
    }
}
