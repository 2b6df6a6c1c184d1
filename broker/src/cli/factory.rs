//! A factory's list of devices: serials, what people call them, and what was
//! read on each board.
//!
//! Read line by line, because a list may hold ten million: one bad line costs
//! itself and nothing else. How a list is written is recognised, what it means
//! is not guessed: a column of another name is refused unless it is named or
//! passed over, so that a misspelt one is not a missing one.

mod column;
mod csv;
mod encoding;
mod lines;
mod names;
mod ndjson;
mod spreadsheet;

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};

use self::column::{Names, Renamed};
use self::csv::{Columns, Head};
use self::encoding::{Encoding, LOST, decoded};
use self::lines::{LONGEST, Line, Lines};
use crate::control::DeviceWish;

#[cfg(fuzzing)]
pub(crate) use self::names::read as read_names;
pub(super) use self::names::{Named, names};
pub(super) use self::spreadsheet::harmless;

/// How a list is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// Comma-separated values, the first line names the columns
    Csv,
    /// One JSON object a line
    Ndjson,
}

/// How a list is to be read, where that cannot be recognised.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct Reading {
    /// A column that goes by another name in the list, such as
    /// serial="Serial Number"; may be repeated
    #[arg(long = "column", value_name = "COLUMN=NAME")]
    columns: Vec<Renamed>,
    /// Pass over columns of other names
    #[arg(long)]
    ignore_columns: bool,
    /// The character between cells, or tab; recognised by the first line
    /// otherwise
    #[arg(long, value_name = "CHARACTER", value_parser = delimiter)]
    delimiter: Option<char>,
    /// How characters are written; UTF-8 and UTF-16 are recognised
    #[arg(long)]
    encoding: Option<Encoding>,
}

impl Reading {
    /// Whether anything is said.
    pub(super) fn is_said(&self) -> bool {
        let is_written = self.delimiter.is_some() || self.encoding.is_some();
        is_written || self.ignore_columns || !self.columns.is_empty()
    }
}

fn delimiter(text: &str) -> Result<char, String> {
    let mut characters = text.chars();
    match (text, characters.next(), characters.next()) {
        ("tab" | "\\t", ..) => Ok('\t'),
        (_, Some(one), None) if one.is_ascii() && !matches!(one, '"' | '\r' | '\n') => Ok(one),
        _ => Err("use one character such as ';', or tab".to_owned()),
    }
}

/// A list that is being read.
pub(super) struct List {
    shown: String,
    lines: Lines<Box<dyn Read + Send>>,
    shape: Shape,
    encoding: Encoding,
    size: Option<u64>,
}

enum Shape {
    Csv(Columns),
    Ndjson(Names),
}

/// One line of a list.
pub(super) struct Row {
    /// The first is 1.
    pub(super) line: u64,
    pub(super) device: Result<DeviceWish, Rejected>,
}

/// A line that holds no device.
#[derive(Debug)]
pub(crate) struct Rejected {
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

    fn too_long() -> Self {
        Self::of("", format!("this is longer than {LONGEST} bytes"))
    }
}

impl List {
    /// Opens a file, or standard input (`-`). What it is told by its first
    /// character, unless it is said: an object begins with a brace, and no
    /// column's name does.
    pub(super) fn open(path: &Path, format: Option<Format>, reading: &Reading) -> Result<Self> {
        let (source, size, shown) = source(path)?;
        Self::read(source, size, shown, format, reading)
    }

    fn read(
        source: Box<dyn Read + Send>,
        size: Option<u64>,
        shown: String,
        format: Option<Format>,
        reading: &Reading,
    ) -> Result<Self> {
        let unreadable = || format!("{shown} cannot be read");
        let (source, encoding) = decoded(source, reading.encoding).with_context(unreadable)?;
        let mut lines = Lines::of(source);
        let ahead = lines.ahead().with_context(unreadable)?;
        let format = match (format, ahead) {
            (_, [b'P', b'K', 3, 4, ..]) => {
                bail!("{shown} is a workbook (or another archive): save the sheet as CSV UTF-8")
            }
            (Some(format), _) => format,
            (None, [b'{', ..]) => Format::Ndjson,
            (None, [b'[', ..]) => bail!(
                "{shown} is a JSON array: write one object a line, such as with `jq -c '.[]'`"
            ),
            (None, _) => Format::Csv,
        };
        let names = Names {
            renamed: reading.columns.clone(),
            ignores: reading.ignore_columns,
        };
        let shape = match format {
            Format::Ndjson => Shape::Ndjson(names),
            Format::Csv => {
                let columns = head(&mut lines, reading.delimiter, &names);
                Shape::Csv(columns.with_context(|| shown.clone())?)
            }
        };
        Ok(Self {
            shown,
            lines,
            shape,
            encoding,
            size,
        })
    }

    /// Bytes in all, about, as [`position`](Self::position) counts them; `None`
    /// if that is not known.
    pub(super) fn size(&self) -> Option<u64> {
        match self.encoding {
            Encoding::Utf8 | Encoding::Windows1252 => self.size,
            // Most characters are ASCII.
            Encoding::Utf16Le | Encoding::Utf16Be => self.size.map(|size| size / 2),
        }
    }

    /// Bytes that have been read, in UTF-8.
    pub(super) fn position(&self) -> u64 {
        self.lines.position()
    }

    /// The next line that is not empty.
    pub(super) fn next(&mut self) -> Result<Option<Row>> {
        loop {
            let line = self.lines.number() + 1;
            let text = self.lines.next();
            let text = text.with_context(|| format!("{}, line {line}", self.shown))?;
            let device = match text {
                None => return Ok(None),
                Some(Line::Long(_)) => Err(Rejected::too_long()),
                Some(Line::Whole(text)) => match self.shape.device(text).transpose() {
                    None => continue,
                    Some(device) => device,
                },
            };
            return Ok(Some(Row { line, device }));
        }
    }
}

impl Shape {
    /// The device of a line, if there is anything in it.
    fn device(&self, line: &[u8]) -> Result<Option<DeviceWish>, Rejected> {
        let text = encoding::text(line);
        match self {
            _ if text.trim().is_empty() => Ok(None),
            // What is no character may stand in a column that is passed over.
            Self::Csv(columns) => columns.device(&text),
            Self::Ndjson(_) if text.contains(LOST) => Err(Rejected::of("", "this is not UTF-8")),
            Self::Ndjson(names) => ndjson::device(&text, names).map(Some),
        }
    }
}

/// Opens a file, or standard input (`-`); its size, and what it is called.
fn source(path: &Path) -> Result<(Box<dyn Read + Send>, Option<u64>, String)> {
    let shown = path.display().to_string();
    if path == Path::new("-") {
        return Ok((Box::new(std::io::stdin()), None, shown));
    }
    let file = File::open(path).with_context(|| format!("{shown} cannot be read"))?;
    let facts = file.metadata()?;
    let size = facts.is_file().then_some(facts.len());
    Ok((Box::new(file), size, shown))
}

fn head(
    lines: &mut Lines<Box<dyn Read + Send>>,
    mut delimiter: Option<char>,
    names: &Names,
) -> Result<Columns> {
    loop {
        let line = lines.number() + 1;
        let head = match lines.next()? {
            None => bail!("it is empty: the first line names the columns"),
            Some(Line::Whole(head) | Line::Long(head)) => head,
        };
        let head = encoding::text(head);
        let parsed = Head::parse(&head, delimiter, names);
        // A column that is passed over may be called anything.
        if parsed.is_err() && head.contains(LOST) {
            bail!(
                "line {line}: this is not UTF-8: is it a list of comma-separated values? If it \
                 is, save it as CSV UTF-8, or say --encoding windows-1252"
            );
        }
        match parsed.with_context(|| format!("line {line}"))? {
            Head::Columns(columns) => return Ok(columns),
            Head::Delimiter(said) if line == 1 => delimiter = Some(said),
            Head::Delimiter(_) => bail!("line {line}: the first line names the columns"),
        }
    }
}

/// Reads the whole of a short list; any bad line is one of the whole.
pub(super) fn boards(path: &Path, reading: &Reading) -> Result<Vec<DeviceWish>> {
    whole(List::open(path, Some(Format::Csv), reading)?)
}

#[cfg(fuzzing)]
/// Reads a list to its end, for what looks for bytes that end a reader.
pub(crate) fn list_of_devices(bytes: &[u8]) {
    let source = Box::new(std::io::Cursor::new(bytes.to_vec()));
    let read = List::read(source, None, String::new(), None, &Reading::default());
    drop(read.and_then(whole));
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

#[cfg(test)]
mod tests;
