//! Comma-separated values (RFC 4180), each line for itself: nothing in a list
//! of devices goes over two. Semicolons, tabs and bars divide as well: the
//! first line shows which.

use anyhow::{Result, bail};
use csv::{ReaderBuilder, StringRecord, Trim};
use firstwake::hardware::{Fact, FactValue};
use firstwake::{Label, Serial};

use super::column::{Column, Names};
use super::encoding::LOST;
use super::{Rejected, spreadsheet};
use crate::control::DeviceWish;

/// Between cells, as far as it is recognised; the first where none is there.
const DELIMITERS: [char; 4] = [',', ';', '\t', '|'];

/// How a list is divided, and what each column holds, from the left.
pub(super) struct Columns {
    delimiter: char,
    columns: Vec<Column>,
}

/// What the first line of a list is.
pub(super) enum Head {
    Columns(Columns),
    /// `sep=;`, as some spreadsheets write it before the head.
    Delimiter(char),
}

impl Head {
    /// What a first line says, where the delimiter is not known otherwise.
    pub(super) fn parse(head: &str, delimiter: Option<char>, names: &Names) -> Result<Self> {
        if let Some(said) = head.strip_prefix("sep=")
            && let (Some(said), None) = (said.chars().next(), said.chars().nth(1))
        {
            return Ok(Self::Delimiter(delimiter.unwrap_or(said)));
        }
        Columns::parse(head, delimiter, names).map(Self::Columns)
    }
}

impl Columns {
    /// What the head says.
    fn parse(head: &str, delimiter: Option<char>, names: &Names) -> Result<Self> {
        if head.contains('\r') {
            bail!(
                "its lines end with a carriage return alone: save it with line feeds (LF or CRLF)"
            );
        }
        let delimiter = delimiter.unwrap_or_else(|| recognised(head, names));
        let cells = match cells(head, delimiter) {
            Ok(cells) => cells,
            Err(reason) => bail!("{reason}"),
        };
        let columns = names.columns(cells.iter().map(str::trim))?;
        Ok(Self { delimiter, columns })
    }

    /// What one line says; nothing if all its cells are empty. A cell may be
    /// empty: then that is not known.
    pub(super) fn device(&self, line: &str) -> Result<Option<DeviceWish>, Rejected> {
        // Most lists hold no quotes, and need no copy of each cell.
        if !line.contains('"') {
            let cells: Vec<&str> = line.split(self.delimiter).map(str::trim).collect();
            return self.described(&cells);
        }
        let cells = cells(line, self.delimiter).map_err(|reason| Rejected::of("", reason))?;
        let cells: Vec<&str> = cells.iter().map(str::trim).collect();
        self.described(&cells)
    }

    fn described(&self, cells: &[&str]) -> Result<Option<DeviceWish>, Rejected> {
        let text = self.text_of_serial(cells);
        if text.is_empty() && cells.iter().all(|cell| cell.is_empty()) {
            return Ok(None);
        }
        let reject = |reason: &dyn ToString| Rejected::of(text, reason.to_string());
        let (have, need) = (cells.len(), self.columns.len());
        // Some programs end each line with one more delimiter.
        if have < need || cells[need..].iter().any(|cell| !cell.is_empty()) {
            let reason = format!("{have} cells, where the first line names {need} columns");
            return Err(reject(&reason));
        }
        let serial = checked(text).map_err(|reason| reject(&reason))?;
        let mut device = DeviceWish::from(Serial::parse(serial).map_err(|error| reject(&error))?);
        for (column, cell) in self.columns.iter().zip(cells) {
            match column {
                Column::Serial | Column::Ignored => {}
                _ if cell.is_empty() => {}
                Column::Nameless => {
                    let reason = "a cell is not empty whose column has no name: name it in the \
                                  first line, or pass over it with --ignore-columns";
                    return Err(reject(&reason));
                }
                Column::Label => device.label = Some(label(cell).map_err(|it| reject(&it))?),
                // A board may have several interfaces.
                Column::Fact(Fact::Mac) => {
                    let values = cell.split([' ', ';', ',', '|']);
                    for value in values.filter(|value| !value.is_empty()) {
                        let value = fact(Fact::Mac, value).map_err(|it| reject(&it))?;
                        device.hardware.push(value);
                    }
                }
                Column::Fact(kind) => {
                    let value = fact(*kind, cell).map_err(|it| reject(&it))?;
                    device.hardware.push(value);
                }
            }
        }
        Ok(Some(device))
    }

    fn text_of_serial<'a>(&self, cells: &[&'a str]) -> &'a str {
        let mut both = self.columns.iter().zip(cells);
        both.find(|(column, _)| **column == Column::Serial)
            .map_or("", |(_, cell)| *cell)
    }
}

/// A cell that a spreadsheet has left as it was.
pub(super) fn checked(cell: &str) -> Result<&str, &'static str> {
    let cell = spreadsheet::original(cell);
    match spreadsheet::damage(cell) {
        _ if cell.contains(LOST) => Err(NO_CHARACTER),
        Some(damage) => Err(damage),
        None => Ok(cell),
    }
}

const NO_CHARACTER: &str = "there is a byte that is no character of UTF-8: save the list as CSV \
                            UTF-8, or say --encoding windows-1252";

fn label(cell: &str) -> Result<Label, String> {
    let cell = spreadsheet::original(cell);
    if cell.contains(LOST) {
        return Err(NO_CHARACTER.to_owned());
    }
    Label::parse(cell).map_err(|error| error.to_string())
}

fn fact(kind: Fact, cell: &str) -> Result<FactValue, String> {
    let cell = match kind {
        // The one that is words and no number.
        Fact::Board if !cell.contains(LOST) => spreadsheet::original(cell),
        _ => checked(cell).map_err(|reason| format!("{kind}: {reason}"))?,
    };
    FactValue::parse(kind, cell).map_err(|error| error.to_string())
}

/// The delimiter that a head shows: one with which a cell names the serial,
/// else the one that is there most often.
fn recognised(head: &str, names: &Names) -> char {
    let has_serial = |delimiter: &char| {
        cells(head, *delimiter).is_ok_and(|cells| {
            cells.len() > 1
                && cells
                    .iter()
                    .any(|cell| names.column(cell) == Some(Column::Serial))
        })
    };
    let often = |delimiter: &char| head.matches(*delimiter).count();
    let [first, ..] = DELIMITERS;
    DELIMITERS.into_iter().find(has_serial).unwrap_or_else(|| {
        // Of several as frequent ones, the last would be taken.
        let each = DELIMITERS.into_iter().rev();
        each.max_by_key(often).unwrap_or(first)
    })
}

/// The cells of a line that may have quotes.
fn cells(line: &str, delimiter: char) -> Result<StringRecord, &'static str> {
    if line.matches('"').count() % 2 == 1 {
        return Err("a quote is not closed");
    }
    let Ok(delimiter) = u8::try_from(delimiter) else {
        return Err("a delimiter is one character of ASCII");
    };
    let mut reader = ReaderBuilder::new()
        .has_headers(false)
        .delimiter(delimiter)
        .trim(Trim::All)
        .buffer_capacity(line.len().max(1))
        .from_reader(line.as_bytes());
    let mut record = StringRecord::new();
    match reader.read_record(&mut record) {
        Ok(true) => Ok(record),
        _ => Err("this is not a line of comma-separated values"),
    }
}
