//! Lines that held no device, told where the operator wants them.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use csv::Writer;

use crate::cli::factory::Rejected;
use crate::output::complain;

/// Lines that are told on standard error.
const SHOWN: u64 = 20;
/// Characters of a serial that is none.
const SHORT: usize = 128;

pub(super) struct Rejects {
    report: Option<(PathBuf, Writer<File>)>,
    count: u64,
}

impl Rejects {
    /// Into a file, if one is named, in place of what it held.
    pub(super) fn to(path: Option<&Path>) -> Result<Self> {
        let open = |path: &Path| {
            let told = || format!("{} cannot be written", path.display());
            let mut report = Writer::from_writer(File::create(path).with_context(told)?);
            report.write_record(["line", "serial", "reason"])?;
            Ok::<_, anyhow::Error>((path.to_owned(), report))
        };
        Ok(Self {
            report: path.map(open).transpose()?,
            count: 0,
        })
    }

    pub(super) fn note(&mut self, line: u64, rejected: &Rejected) -> Result<()> {
        self.count += 1;
        let serial: String = rejected.serial.chars().take(SHORT).collect();
        match &mut self.report {
            Some((path, report)) => report
                .write_record([line.to_string().as_str(), &serial, &rejected.reason])
                .with_context(|| format!("{} cannot be written", path.display()))?,
            // What is no serial may be anything: a terminal gets it in quotes.
            None if self.count <= SHOWN => {
                let reason = &rejected.reason;
                complain(&format!("line {line}: {serial:?}: {reason}"));
            }
            None => {}
        }
        Ok(())
    }

    /// How many there were.
    pub(super) fn finish(&mut self) -> Result<u64> {
        match &mut self.report {
            Some((path, report)) => report
                .flush()
                .with_context(|| format!("{} cannot be written", path.display()))?,
            None if self.count > SHOWN => {
                let more = self.count - SHOWN;
                complain(&format!(
                    "and {more} more lines: --report FILE has all of them written down"
                ));
            }
            None => {}
        }
        Ok(self.count)
    }
}
