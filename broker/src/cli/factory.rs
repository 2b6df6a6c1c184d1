//! A factory's list of devices: serials, what people call them, and what was
//! read on each board.
//!
//! Read line by line, because a list may hold ten million: one bad line costs
//! itself and nothing else. Nothing is guessed: a column of another name is
//! refused, so that a misspelt one is not a missing one.

mod csv;
mod lines;
mod ndjson;

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use firstwake::hardware::Fact;

use self::csv::Columns;
use self::lines::Lines;
use crate::control::DeviceWish;

/// How a list is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// Comma-separated values, the first line names the columns
    Csv,
    /// One JSON object a line
    Ndjson,
}

/// A list that is being read.
pub(super) struct List {
    shown: String,
    lines: Lines<Box<dyn Read + Send>>,
    shape: Shape,
    size: Option<u64>,
}

enum Shape {
    Csv(Columns),
    Ndjson,
}

/// One line of a list.
pub(super) struct Row {
    /// The first is 1.
    pub(super) line: u64,
    pub(super) device: Result<DeviceWish, Rejected>,
}

/// A line that holds no device.
#[derive(Debug)]
pub(super) struct Rejected {
    /// What stands where the serial should, if that can be told.
    pub(super) serial: String,
    pub(super) reason: String,
}

impl Rejected {
    fn of(serial: &str, reason: impl ToString) -> Self {
        Self {
            serial: serial.to_owned(),
            reason: reason.to_string(),
        }
    }
}

impl List {
    /// Opens a file, or standard input (`-`). What it is told by its first
    /// character, unless it is said: an object begins with a brace, and no
    /// column's name does.
    pub(super) fn open(path: &Path, format: Option<Format>) -> Result<Self> {
        let shown = path.display().to_string();
        if path == Path::new("-") {
            return Self::read(Box::new(std::io::stdin()), None, shown, format);
        }
        let file = File::open(path).with_context(|| format!("{shown} cannot be read"))?;
        let facts = file.metadata()?;
        let size = facts.is_file().then_some(facts.len());
        Self::read(Box::new(file), size, shown, format)
    }

    fn read(
        source: Box<dyn Read + Send>,
        size: Option<u64>,
        shown: String,
        format: Option<Format>,
    ) -> Result<Self> {
        let mut lines = Lines::of(source);
        let format = match (format, lines.first()) {
            (Some(format), _) => format,
            (None, Ok(Some(b'{'))) => Format::Ndjson,
            (None, _) => Format::Csv,
        };
        let shape = match format {
            Format::Ndjson => Shape::Ndjson,
            Format::Csv => Shape::Csv(head(&mut lines).with_context(|| shown.clone())?),
        };
        Ok(Self {
            shown,
            lines,
            shape,
            size,
        })
    }

    /// Bytes in all, if that is known.
    pub(super) fn size(&self) -> Option<u64> {
        self.size
    }

    /// Bytes that have been read.
    pub(super) fn position(&self) -> u64 {
        self.lines.position()
    }

    /// The next line that is not empty. An error ends the list: what follows
    /// cannot be told apart.
    pub(super) fn next(&mut self) -> Result<Option<Row>> {
        loop {
            let line = self.lines.number() + 1;
            let text = self.lines.next();
            let Some(text) = text.with_context(|| format!("{}, line {line}", self.shown))? else {
                return Ok(None);
            };
            let device = match std::str::from_utf8(text) {
                Ok(text) if text.trim().is_empty() => continue,
                Ok(text) => match &self.shape {
                    Shape::Csv(columns) => columns.device(text),
                    Shape::Ndjson => ndjson::device(text),
                },
                Err(_) => Err(Rejected::of("", "this is not UTF-8")),
            };
            return Ok(Some(Row { line, device }));
        }
    }
}

fn head(lines: &mut Lines<Box<dyn Read + Send>>) -> Result<Columns> {
    let head = lines.next().context("line 1")?;
    let head = head.ok_or_else(|| anyhow!("it is empty: the first line names the columns"))?;
    match std::str::from_utf8(head) {
        Ok(head) => Columns::parse(head).context("line 1"),
        Err(_) => bail!("line 1: this is not UTF-8: is it a list of comma-separated values?"),
    }
}

/// Reads the whole of a short list; any bad line is one of the whole.
pub(super) fn boards(path: &Path) -> Result<Vec<DeviceWish>> {
    whole(List::open(path, Some(Format::Csv))?)
}

fn whole(mut list: List) -> Result<Vec<DeviceWish>> {
    let mut devices = Vec::new();
    while let Some(Row { line, device }) = list.next()? {
        let told = |rejected: Rejected| anyhow!("{}, line {line}: {}", list.shown, rejected.reason);
        devices.push(device.map_err(told)?);
    }
    match devices.is_empty() {
        true => bail!("{}: there is no device below the head", list.shown),
        false => Ok(devices),
    }
}

/// What columns there are, in words.
fn columns() -> String {
    let facts = Fact::ALL.map(Fact::as_str).join(", ");
    format!("serial, label, {facts}")
}

#[cfg(test)]
mod tests;
