//! Lines of lists that held no device, told where the operator wants them.

use std::path::Path;

use anyhow::{Context, Result};
use csv::Writer;

use super::factory::{Rejected, harmless};
use super::whole_file::WholeFile;
use crate::output::complain;

/// Lines that are told on standard error.
const SHOWN: u64 = 20;
/// Characters of a serial that is none.
const SHORT: usize = 128;

pub(super) struct Rejects {
    report: Option<Writer<WholeFile>>,
    count: u64,
    /// Follows on how many more there are than were shown.
    hint: &'static str,
}

impl Rejects {
    /// Into a file, if one is named, in place of what it held.
    pub(super) fn to(path: Option<&Path>) -> Result<Self> {
        let open = |path: &Path| {
            let mut report = Writer::from_writer(WholeFile::beside(path)?);
            report.write_record(["line", "serial", "reason"])?;
            Ok::<_, anyhow::Error>(report)
        };
        Ok(Self {
            report: path.map(open).transpose()?,
            count: 0,
            hint: ": --report FILE has all of them written down",
        })
    }

    /// On standard error.
    pub(super) fn shown() -> Self {
        Self {
            report: None,
            count: 0,
            hint: "",
        }
    }

    pub(super) fn note(&mut self, line: u64, rejected: &Rejected) -> Result<()> {
        self.count += 1;
        let serial: String = rejected.serial.chars().take(SHORT).collect();
        match &mut self.report {
            Some(report) => {
                let line = line.to_string();
                let cells = [line.as_str(), &harmless(&serial), &rejected.reason];
                report
                    .write_record(cells)
                    .context("the report cannot be written")?;
            }
            // What is no serial may be anything: a terminal gets it in quotes.
            None if self.count <= SHOWN => {
                let reason = &rejected.reason;
                complain(&format!("line {line}: {serial:?}: {reason}"));
            }
            None => {}
        }
        Ok(())
    }

    /// How many there were. A report takes its place now.
    pub(super) fn finish(&mut self) -> Result<u64> {
        match self.report.take() {
            Some(report) => match report.into_inner() {
                Ok(file) => file.keep()?,
                Err(error) => {
                    let error = error.into_error();
                    return Err(error).context("the report cannot be written");
                }
            },
            None if self.count > SHOWN => {
                let (more, hint) = (self.count - SHOWN, self.hint);
                complain(&format!("and {more} more lines{hint}"));
            }
            None => {}
        }
        Ok(self.count)
    }
}
