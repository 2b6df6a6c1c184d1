//! Comma-separated values (RFC 4180), each line for itself: nothing in a list
//! of devices goes over two.

use anyhow::{Result, anyhow, bail};
use csv::{ReaderBuilder, StringRecord, Trim};
use firstwake::hardware::Fact;
use firstwake::{Label, Serial};

use super::{Rejected, columns};
use crate::control::DeviceWish;

/// What each column holds, from the left.
pub(super) struct Columns(Vec<Column>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Column {
    Serial,
    Label,
    Fact(Fact),
}

impl Columns {
    /// What the head says.
    pub(super) fn parse(head: &str) -> Result<Self> {
        if head.contains('\r') {
            bail!(
                "its lines end with a carriage return alone: save it with line feeds (LF or CRLF)"
            );
        }
        let cells = cells(head).map_err(|reason| anyhow!(reason))?;
        let column = |name: &str| match name {
            "serial" => Ok(Column::Serial),
            "label" => Ok(Column::Label),
            name => match name.parse() {
                Ok(fact) => Ok(Column::Fact(fact)),
                Err(_) => {
                    let (name, columns) = (short(name), columns());
                    Err(anyhow!(
                        "no column is called {name:?}: the first line names serial, and of \
                         {columns} those that there are, with commas between them"
                    ))
                }
            },
        };
        let found: Vec<Column> = cells.iter().map(column).collect::<Result<_>>()?;
        for (place, one) in found.iter().enumerate() {
            if found[..place].contains(one) {
                bail!("the first line names the column {} twice", &cells[place]);
            }
        }
        match found.contains(&Column::Serial) {
            true => Ok(Self(found)),
            false => bail!("the first line has to name the column serial"),
        }
    }

    /// What one line says. A cell may be empty: then that is not known.
    pub(super) fn device(&self, line: &str) -> Result<DeviceWish, Rejected> {
        // Most lists hold no quotes, and need no copy of each cell.
        if !line.contains('"') {
            return self.described(line.split(',').map(str::trim));
        }
        let cells = cells(line).map_err(|reason| Rejected::of("", reason))?;
        self.described(cells.iter())
    }

    fn described<'a>(
        &self,
        cells: impl Iterator<Item = &'a str> + Clone,
    ) -> Result<DeviceWish, Rejected> {
        let text = self.text_of_serial(cells.clone());
        let reject = |reason: &dyn ToString| Rejected::of(text, reason.to_string());
        let (have, need) = (cells.clone().count(), self.0.len());
        if have != need {
            let reason = format!("{have} cells, where the first line names {need} columns");
            return Err(reject(&reason));
        }
        let mut device = DeviceWish::from(Serial::parse(text).map_err(|error| reject(&error))?);
        for (column, cell) in self.0.iter().zip(cells) {
            match column {
                Column::Serial => {}
                _ if cell.is_empty() => {}
                Column::Label => {
                    device.label = Some(Label::parse(cell).map_err(|error| reject(&error))?);
                }
                // A board may have several interfaces.
                Column::Fact(Fact::Mac) => {
                    let values = cell.split([' ', ';']).filter(|value| !value.is_empty());
                    let each = values.map(|value| (Fact::Mac, value.to_owned()));
                    device.hardware.extend(each);
                }
                Column::Fact(fact) => device.hardware.push((*fact, cell.to_owned())),
            }
        }
        Ok(device)
    }

    fn text_of_serial<'a>(&self, cells: impl Iterator<Item = &'a str>) -> &'a str {
        let mut both = self.0.iter().zip(cells);
        both.find(|(column, _)| **column == Column::Serial)
            .map_or("", |(_, cell)| cell)
    }
}

/// The cells of a line that may have quotes.
fn cells(line: &str) -> Result<StringRecord, &'static str> {
    if line.matches('"').count() % 2 == 1 {
        return Err("a quote is not closed");
    }
    let mut reader = ReaderBuilder::new()
        .has_headers(false)
        .trim(Trim::All)
        .buffer_capacity(line.len().max(1))
        .from_reader(line.as_bytes());
    let mut record = StringRecord::new();
    match reader.read_record(&mut record) {
        Ok(true) => Ok(record),
        _ => Err("this is not a line of comma-separated values"),
    }
}

/// As much of a text as is worth showing.
fn short(text: &str) -> String {
    text.chars().take(64).collect()
}
