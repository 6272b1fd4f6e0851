//! Reading from the console waits for a line by itself.

use std::io;

/// Nothing to wait for.
pub(super) fn wait_for_line() -> io::Result<()> {
    Ok(())
}
