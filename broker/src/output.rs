//! The only place that prints.

use std::io::{self, Write};

use anyhow::Result;
use serde::Serialize;

/// Writes a line to standard output. A reader that has gone away ends the
/// command quietly, as it does any other tool's.
pub(crate) fn say(line: &str) -> Result<()> {
    match writeln!(io::stdout().lock(), "{line}") {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        outcome => Ok(outcome?),
    }
}

/// Writes a line to standard error, if there is one.
pub(crate) fn complain(line: &str) {
    drop(writeln!(io::stderr().lock(), "{line}"));
}

/// Writes one JSON object on one line.
pub(crate) fn say_json(value: &impl Serialize) -> Result<()> {
    say(&serde_json::to_string(value)?)
}
