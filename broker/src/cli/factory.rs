//! A factory's list of boards: serials, and what was read on each.
//!
//! A file of comma-separated values with a head: `serial`, and columns that
//! are called as facts are. Nothing is guessed: a column of another name is
//! refused, so that a misspelt one is not a missing one.

use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use csv::{ReaderBuilder, StringRecord, Trim};
use firstwake::Serial;
use firstwake::hardware::Fact;

use crate::control::DeviceWish;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Column {
    Serial,
    Fact(Fact),
}

/// Reads the devices in a file, or on standard input (`-`).
pub(super) fn boards(path: &Path) -> Result<Vec<DeviceWish>> {
    let shown = path.display().to_string();
    let read = if path == Path::new("-") {
        read(std::io::stdin().lock())
    } else {
        let file = std::fs::File::open(path);
        read(file.with_context(|| format!("{shown} cannot be read"))?)
    };
    read.with_context(|| shown)
}

fn read(source: impl Read) -> Result<Vec<DeviceWish>> {
    let mut reader = ReaderBuilder::new().trim(Trim::All).from_reader(source);
    let columns = columns(reader.headers()?)?;
    let mut devices = Vec::new();
    for record in reader.records() {
        let record = record?;
        let line = record.position().map_or(0, csv::Position::line);
        let device = device(&columns, &record).with_context(|| format!("line {line}"))?;
        devices.push(device);
    }
    if devices.is_empty() {
        bail!("there is no device below the head");
    }
    Ok(devices)
}

/// What the head says.
fn columns(head: &StringRecord) -> Result<Vec<Column>> {
    let column = |name: &str| match name {
        "serial" => Ok(Column::Serial),
        name => match name.parse() {
            Ok(fact) => Ok(Column::Fact(fact)),
            Err(_) => {
                let facts = Fact::ALL.map(Fact::as_str).join(", ");
                Err(anyhow!(
                    "no column is called {name:?}: the first line names serial, and of {facts} \
                     those that there are"
                ))
            }
        },
    };
    let columns: Vec<Column> = head.iter().map(column).collect::<Result<_>>()?;
    let serials = columns.iter().filter(|column| **column == Column::Serial);
    match serials.count() {
        1 => Ok(columns),
        _ => bail!("the first line has to name the column serial, once"),
    }
}

/// What one line says. A cell may be empty: then that was not read.
fn device(columns: &[Column], record: &StringRecord) -> Result<DeviceWish> {
    let mut serial = None;
    let mut hardware = Vec::new();
    for (column, cell) in columns.iter().zip(record) {
        match column {
            Column::Serial => serial = Some(Serial::parse(cell)?),
            // A board may have several interfaces.
            Column::Fact(Fact::Mac) => {
                let values = cell.split([' ', ';']).filter(|value| !value.is_empty());
                hardware.extend(values.map(|value| (Fact::Mac, value.to_owned())));
            }
            Column::Fact(_) if cell.is_empty() => {}
            Column::Fact(fact) => hardware.push((*fact, cell.to_owned())),
        }
    }
    let serial = serial.ok_or_else(|| anyhow!("there is no serial"))?;
    Ok(DeviceWish { serial, hardware })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        let error = read(text.as_bytes()).err().expect("refused");
        format!("{error:#}")
    }

    #[test]
    fn each_line_is_a_board() {
        let text = "serial, mac ,sd_card,board\n\
                    A1,b8:27:eb:01:02:03;b8:27:eb:01:02:04,,\"c03111 Raspberry Pi 4, B\"\n\
                    \n\
                    A2,,0353445355313647,\n";
        let devices = read(text.as_bytes()).expect("boards");
        let told: Vec<(&str, Vec<(Fact, &str)>)> = devices
            .iter()
            .map(|device| {
                let facts = device.hardware.iter();
                let facts = facts.map(|(fact, value)| (*fact, value.as_str()));
                (device.serial.as_str(), facts.collect())
            })
            .collect();
        let of_a1 = vec![
            (Fact::Mac, "b8:27:eb:01:02:03"),
            (Fact::Mac, "b8:27:eb:01:02:04"),
            (Fact::Board, "c03111 Raspberry Pi 4, B"),
        ];
        let of_a2 = vec![(Fact::SdCard, "0353445355313647")];
        assert_eq!(told, [("A1", of_a1), ("A2", of_a2)]);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        let told = refused("serial,imei\nA1,1\n");
        assert!(
            told.contains("imei") && told.contains("cpu_serial"),
            "{told}"
        );
        assert!(refused("mac\n1\n").contains("serial"));
        assert!(refused("serial,serial\na,b\n").contains("once"));
        assert!(refused("serial\n").contains("no device"));
        let told = refused("serial,mac\nA1,1\nA 2,1\n");
        assert!(told.contains("line 3"), "{told}");
        let told = refused("serial,mac\nA1\n");
        assert!(
            told.contains("line: 2") || told.contains("line 2"),
            "{told}"
        );
    }
}
