//! What is said of servers that takes more than a line of a table.

use std::time::Duration;

use super::{Phase, Terminal, Tone, list};
use crate::event::{Endpoint, Exit, Held, WayOut};
use crate::wording;

/// What helps a server that was given up.
const LONGER: &str = "--ready-timeout SECONDS gives it longer; --swap stop-first waits for nothing; r \
                      and Enter starts it with the old one stopped first";

impl Terminal {
    pub(super) fn slow_to_stop(
        &mut self,
        pid: Option<u32>,
        endpoints: &[Endpoint],
        kill_in: Duration,
    ) {
        let ending = self.phase == Phase::Ending;
        let who = if ending { "the server" } else { "the old server" };
        let mut known: Vec<_> = pid.map(|pid| format!("pid {pid}")).into_iter().collect();
        if !endpoints.is_empty() {
            known.push(format!("on {}", list(endpoints)));
        }
        let known =
            if known.is_empty() { String::new() } else { format!(" ({})", known.join(", ")) };
        let sooner = if ending { ", on Ctrl-C at once" } else { "" };
        let text =
            format!("for {who} to stop{known}; killed in {:.0} s{sooner}", kill_in.as_secs_f64());
        self.status(Tone::Note, "Waiting", &text);
    }

    pub(super) fn exited(&mut self, exit: Exit, asked: bool, waiting: bool) {
        if asked {
            self.verbose("Stopped", &format!("the old server, {}", wording::exit(exit)));
            return;
        }
        let rest = if waiting { "; waiting for a change" } else { "" };
        let text = format!("the server ended by itself: {}{rest}", wording::exit(exit));
        let tone = if exit == Exit::Code(0) { Tone::Note } else { Tone::Bad };
        self.always(tone, "Exited", &text);
    }

    pub(super) fn failed_to_start(&mut self, exit: Exit, waiting: bool) {
        let rest = if waiting { "; the last good server goes on" } else { "" };
        let text =
            format!("the new server ended before it was ready: {}{rest}", wording::exit(exit));
        self.always(Tone::Bad, "Exited", &text);
        let may_want = waiting && matches!(exit, Exit::Code(code) if code != 0);
        if may_want && !std::mem::replace(&mut self.told_of_rivals, true) {
            self.help(
                "if it wants a port or a file that the old one holds: r and Enter starts it with the old \
                 one stopped first, --swap stop-first does so each time",
            );
        }
    }

    /// What a server says of itself: on its way to be ready that is what there is to see.
    pub(super) fn server_status(&mut self, status: &str, starting: bool) {
        // It must not move the cursor or change colours.
        let text: String = status.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        if starting {
            self.status(Tone::Note, "Status", &text);
        } else {
            self.verbose("Status", &text);
        }
    }

    pub(super) fn not_ready(&mut self, after: Duration, serving: bool, endpoints: &[Endpoint]) {
        let seconds = after.as_secs_f64();
        if !serving {
            self.warn(
                &format!("the server has not said after {seconds:.0} s that it is ready; it is left alone"),
                Some("it says so with READY=1 on the socket that NOTIFY_SOCKET names"),
            );
            return;
        }
        let elsewhere = match endpoints {
            [] => String::new(),
            endpoints => format!(" (it listens on {})", list(endpoints)),
        };
        self.error(
            &format!(
                "the new server was not ready within {seconds:.0} s{elsewhere} and is stopped; the last \
                 good server goes on"
            ),
            &[
                "it says that it is ready with READY=1 on the socket that NOTIFY_SOCKET names, as the \
                 servers before it did"
                    .into(),
                LONGER.into(),
            ],
        );
    }

    pub(super) fn not_listening(&mut self, after: Duration) {
        let seconds = after.as_secs_f64();
        self.error(
            &format!(
                "the new server did not come to listen within {seconds:.0} s and is stopped; the last \
                 good server goes on"
            ),
            &[LONGER.into()],
        );
    }

    pub(super) fn conflict(&mut self, holds: &[Held], way_out: WayOut) {
        let held: Vec<_> = holds.iter().map(ToString::to_string).collect();
        let held = held.join(", ");
        match way_out {
            WayOut::StartedAgain => self.warn(
                &format!(
                    "the new server could not start beside the old one, which holds {held}; it is \
                     started once more, the old one stopped first"
                ),
                Some("--swap stop-first does so from the start"),
            ),
            WayOut::OldOneStopped => self.warn(
                &format!(
                    "the new server waits for what the old one holds ({held}); the old one is stopped"
                ),
                Some("--swap stop-first does so from the start"),
            ),
            WayOut::Nothing => self.warn(
                &format!("the old server holds what the new one wants: {held}"),
                Some("--swap auto or --swap stop-first stops the old one first"),
            ),
        }
    }
}
