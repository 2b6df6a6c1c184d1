//! `firstwake device export`: a product's devices as a list that `import`
//! takes, or with their codes, for the factory that burns them in.
//!
//! What boards were read is not in it: the registry knows hashes only. A file
//! takes the place of the one that is named when it is whole and on disk, and
//! only its owner reads it. In CSV no cell is one that a spreadsheet would run.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use firstwake::{DeviceName, Label, ProductId, Serial};
use serde::Serialize;
use serde_json::json;
use zeroize::Zeroizing;

use super::factory::{Format, harmless};
use super::form::Form;
use super::import::only_product;
use super::whole_file::WholeFile;
use crate::control::{Control, Reply, Request};
use crate::output::say_exactly;

/// Devices read with one request.
const PAGE: usize = 1000;
/// Codes read with one request: each leaves an event.
const CODES: usize = 10_000;

/// What is to be given out.
#[derive(clap::Args)]
pub(super) struct Args {
    /// The product; needed where there are several
    #[arg(long, value_name = "PRODUCT_ID")]
    product: Option<ProductId>,
    /// How the list is written: csv, unless answers are JSON
    #[arg(long)]
    format: Option<Format>,
    /// With the activation code of each, made with the newest secret; the audit
    /// log says that they were given out
    #[arg(long)]
    codes: bool,
    /// Into a file, which only its owner reads, in place of one that is there
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
}

/// A line of the list.
#[derive(Serialize)]
struct Line<'a> {
    serial: &'a Serial,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<&'a Label>,
    #[serde(skip_serializing_if = "Option::is_none")]
    activation_code: Option<&'a str>,
}

impl Args {
    pub(super) async fn run(self, control: &mut Control, form: Form) -> Result<()> {
        let product = match self.product {
            Some(product) => product,
            None => only_product(control).await?,
        };
        let format = self.format.unwrap_or(match form {
            Form::Table => Format::Csv,
            Form::Json => Format::Ndjson,
        });
        let place = Place::open(self.to.as_deref())?;
        let mut list = List {
            place,
            format,
            count: 0,
        };
        if format == Format::Csv {
            list.head(self.codes)?;
        }
        match self.codes {
            true => list.codes(control, &product).await?,
            false => list.devices(control, &product).await?,
        }
        let count = list.count;
        match list.place {
            Place::Stdout => Ok(()),
            Place::File(file) => {
                let path = file.path().to_owned();
                file.keep()?;
                let shown = path.display();
                form.tell(
                    &json!({ "product_id": product, "devices": count, "to": path }),
                    &format!("exported {count} to {shown}"),
                )
            }
        }
    }
}

/// Where a list goes.
enum Place {
    Stdout,
    File(WholeFile),
}

impl Place {
    fn open(to: Option<&Path>) -> Result<Self> {
        match to {
            Some(path) => WholeFile::beside(path).map(Self::File),
            None => Ok(Self::Stdout),
        }
    }

    /// Writes whole lines.
    fn write(&mut self, lines: &str) -> Result<()> {
        match self {
            Self::Stdout => say_exactly(lines.trim_end_matches('\n')),
            Self::File(file) => {
                let written = file.write_all(lines.as_bytes());
                written.with_context(|| format!("{} cannot be written", file.path().display()))
            }
        }
    }
}

/// A list that is being written.
struct List {
    place: Place,
    format: Format,
    count: u64,
}

impl List {
    fn head(&mut self, codes: bool) -> Result<()> {
        let more = if codes { ",activation_code" } else { "" };
        self.place.write(&format!("serial,label{more}\n"))
    }

    async fn devices(&mut self, control: &mut Control, product: &ProductId) -> Result<()> {
        let mut after: Option<DeviceName> = None;
        loop {
            let request = Request::Devices {
                product: Some(product.clone()),
                after,
                serial: None,
                activated: None,
                limit: PAGE,
            };
            let Reply::Devices(page) = control.ask(request).await? else {
                bail!("the server gave an answer to another question");
            };
            let lines = page.devices.iter().map(|device| Line {
                serial: &device.serial,
                label: device.label.as_ref(),
                activation_code: None,
            });
            self.add(lines)?;
            after = page.next;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    async fn codes(&mut self, control: &mut Control, product: &ProductId) -> Result<()> {
        let mut after: Option<Serial> = None;
        loop {
            let request = Request::Codes {
                product: product.clone(),
                after,
                limit: CODES,
            };
            let Reply::Codes(page) = control.ask(request).await? else {
                bail!("the server gave an answer to another question");
            };
            let lines = page.devices.iter().map(|device| Line {
                serial: &device.serial,
                label: device.label.as_ref(),
                activation_code: Some(&device.activation_code),
            });
            self.add(lines)?;
            after = page.next;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    fn add<'a>(&mut self, lines: impl ExactSizeIterator<Item = Line<'a>>) -> Result<()> {
        self.count += lines.len() as u64;
        let mut text = Zeroizing::new(Vec::new());
        match self.format {
            Format::Ndjson => {
                for line in lines {
                    serde_json::to_writer(&mut *text, &line)?;
                    text.push(b'\n');
                }
            }
            Format::Csv => {
                let mut writer = csv::Writer::from_writer(&mut *text);
                for line in lines {
                    writer.write_field(&*harmless(line.serial.as_str()))?;
                    writer.write_field(&*harmless(line.label.map_or("", Label::as_str)))?;
                    if let Some(code) = line.activation_code {
                        writer.write_field(code)?;
                    }
                    writer.write_record(None::<&[u8]>)?;
                }
                writer.flush()?;
            }
        }
        match text.is_empty() {
            true => Ok(()),
            false => self.place.write(std::str::from_utf8(&text)?),
        }
    }
}
