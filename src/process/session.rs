//! What is left of a group, also outside of it. The launcher begins a session for every program, and
//! a process that makes a group of its own (`process_group(0)`, a shell's job) stays in that: on
//! Linux it is found there. What begins a session itself (`setsid`) is on its own.

use rustix::process::Pid;

/// Kills what still runs in the sessions of these leaders; says whether there was anything. To be
/// called again until there is not: a process may start another meanwhile, and what is killed takes
/// a moment to end. Reads all of `/proc` (milliseconds).
///
/// A leader's number is not given to another process as long as anybody is left in its session.
#[cfg(target_os = "linux")]
pub(super) fn kill_rest(leaders: &[Pid]) -> bool {
    use rustix::process::{Signal, kill_process};

    let Ok(processes) = procfs::process::all_processes() else {
        return leaders.iter().any(|leader| kill_group(*leader));
    };
    let mut any = false;
    for stat in processes.filter_map(|process| process.ok()?.stat().ok()) {
        // An idle init, as there are in containers, waits for nobody: what has ended stays.
        let runs = !matches!(stat.state, 'Z' | 'X');
        let ours = leaders.iter().any(|leader| leader.as_raw_nonzero().get() == stat.session);
        if runs
            && ours
            && let Some(pid) = Pid::from_raw(stat.pid)
        {
            // What is not ours to kill (`sudo`) is not waited for either.
            any |= kill_process(pid, Signal::KILL).is_ok();
        }
    }
    any
}

/// Nothing says quickly who is in a session: the group alone.
#[cfg(not(target_os = "linux"))]
pub(super) fn kill_rest(leaders: &[Pid]) -> bool {
    leaders.iter().any(|leader| kill_group(*leader))
}

/// Whether there was a group to kill. macOS answers EPERM where only zombies are left.
fn kill_group(leader: Pid) -> bool {
    rustix::process::kill_process_group(leader, rustix::process::Signal::KILL).is_ok()
}
