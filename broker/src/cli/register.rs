//! `firstwake device register`: serials that are named, in a short list, or made
//! up.

use std::collections::HashSet;
use std::path::PathBuf;

use anyhow::{Result, bail};
use firstwake::{ProductId, Serial};

use super::factory::{Reading, boards};
use super::form::Form;
use super::serials::{Pattern, gather};
use crate::control::{Control, DeviceWish, DevicesWish, Registered, Reply, Request};

/// Devices sent to the server at once: few enough that what is known of their
/// boards fits into the body of a request.
const CHUNK: usize = 2000;

/// Devices to be made known.
#[derive(clap::Args)]
pub(super) struct Args {
    /// The product
    #[arg(value_name = "PRODUCT_ID")]
    product: ProductId,
    /// Serials: letters, digits and + - , _ : (case matters); those that
    /// start with - come behind --
    #[arg(value_name = "SERIAL")]
    serials: Vec<Serial>,
    /// Read serials from a file, one a line; `-` is standard input
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// Make up serials: the prefix and six digits, from 000000
    #[arg(long, value_name = "PREFIX:COUNT")]
    generate: Option<Pattern>,
    /// Read serials and what was read on their boards from a short list, as
    /// `import` reads it: values with commas, semicolons, tabs or bars between
    /// them, whose first line names the columns; `-` is standard input
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["serials", "from", "generate"]
    )]
    csv: Option<PathBuf>,
    #[command(flatten)]
    reading: Reading,
}

impl Args {
    pub(super) async fn run(self, control: &mut Control, form: Form) -> Result<()> {
        let devices = match self.csv {
            Some(path) => boards(&path, &self.reading)?,
            None if self.reading.is_said() => {
                bail!("say how a list is to be read together with --csv")
            }
            None => {
                let serials = gather(self.serials, self.from, self.generate)?;
                serials.into_iter().map(Into::into).collect()
            }
        };
        register(control, &self.product, &devices, form).await
    }
}

async fn register(
    control: &mut Control,
    product: &ProductId,
    devices: &[DeviceWish],
    form: Form,
) -> Result<()> {
    let mut total = Registered::default();
    let mut met = HashSet::with_capacity(devices.len());
    let repeats = devices.iter().filter(|device| !met.insert(&device.serial));
    let repeated = repeats.count();
    for chunk in devices.chunks(CHUNK) {
        let request = Request::Register(DevicesWish::of(product.clone(), chunk.to_vec()));
        match control.ask(request).await? {
            Reply::Registered(registered) => {
                total.new += registered.new;
                total.known += registered.known + registered.repeated;
            }
            _ => bail!("the server gave an answer to another question"),
        }
    }
    // Parts of the list that were sent one after the other may repeat each other.
    total.known = total.known.saturating_sub(repeated);
    total.repeated = repeated;
    let mut words = format!("registered {}, known before {}", total.new, total.known);
    if repeated > 0 {
        words.push_str(&format!(", repeated {repeated}"));
    }
    form.tell(&total, &words)
}
