//! One act on many devices: named, listed in a file, or all of a product.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use firstwake::{DeviceName, ProductId};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::factory::{Named, names};
use super::form::Form;
use super::rejects::Rejects;
use crate::control::{Act, Control, Outcome, Reply, Request};
use crate::output::complain;

/// Devices sent to the server at once.
const CHUNK: usize = 1000;

/// Which devices a command is about.
#[derive(clap::Args)]
pub(super) struct Which {
    #[arg(
        value_name = "SERIAL",
        allow_hyphen_values = true,
        required_unless_present_any = ["product", "from"],
        conflicts_with_all = ["product", "from"]
    )]
    name: Option<DeviceName>,
    /// All devices of this product; needs --yes
    #[arg(
        long,
        value_name = "PRODUCT_ID",
        requires = "yes",
        conflicts_with = "from"
    )]
    product: Option<ProductId>,
    /// The devices named in a file, one SERIAL or PRODUCT_ID/SERIAL a line;
    /// `-` is standard input
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// A whole product is meant
    #[arg(long, requires = "product")]
    yes: bool,
}

/// One device, or many.
pub(super) enum Chosen {
    One(DeviceName),
    Many(Many),
}

/// Devices, and how many lines of their list name none: these are told already.
pub(super) struct Many {
    names: Vec<DeviceName>,
    rejected: u64,
}

impl Which {
    pub(super) async fn choose(self, control: &mut Control) -> Result<Chosen> {
        match self {
            Self {
                name: Some(name), ..
            } => Ok(Chosen::One(name)),
            Self {
                from: Some(path), ..
            } => Ok(Chosen::Many(listed(&path)?)),
            Self {
                product: Some(product),
                ..
            } => Ok(Chosen::Many(Many {
                names: members(control, product).await?,
                rejected: 0,
            })),
            Self { .. } => bail!("name a device, or use --product or --from"),
        }
    }
}

/// The names in a file, or on standard input. A line that names no device is
/// told, and costs itself.
fn listed(path: &Path) -> Result<Many> {
    let mut rejects = Rejects::shown();
    let mut found = Vec::new();
    for Named { line, name } in names(path, DeviceName::parse)? {
        match name {
            Ok(name) => found.push(name),
            Err(rejected) => rejects.note(line, &rejected)?,
        }
    }
    Ok(Many {
        names: found,
        rejected: rejects.finish()?,
    })
}

async fn members(control: &mut Control, product: ProductId) -> Result<Vec<DeviceName>> {
    let mut names: Vec<DeviceName> = Vec::new();
    let mut after = None;
    loop {
        let request = Request::Devices {
            product: Some(product.clone()),
            after,
            serial: None,
            activated: None,
            limit: CHUNK,
        };
        let Reply::Devices(page) = control.ask(request).await? else {
            bail!("the server gave an answer to another question");
        };
        names.extend(page.devices.into_iter().map(|device| DeviceName {
            product: Some(device.product_id),
            serial: device.serial,
        }));
        after = page.next;
        if after.is_none() {
            return Ok(names);
        }
    }
}

/// Carries an act out on many devices; fails if any could not be changed, or a
/// line named none.
pub(super) async fn change(control: &mut Control, many: Many, act: Act, form: Form) -> Result<()> {
    let Many { names, rejected } = many;
    let outcome = each_chunk(control, &names, |names| Request::ChangeMany { names, act }).await?;
    let (changed, already, failed) = (outcome.changed, outcome.already, outcome.failed.len());
    let mut words = format!("changed {changed}, already so {already}, failed {failed}");
    if rejected > 0 {
        words.push_str(&format!(", rejected {rejected}"));
    }
    form.tell(
        &json!({
            "changed": changed, "already": already, "failed": failed, "rejected": rejected,
        }),
        &words,
    )?;
    settle(&outcome, rejected)
}

/// Asks for one chunk after the other, and shows a terminal how far it is.
async fn each_chunk(
    control: &mut Control,
    names: &[DeviceName],
    request: impl Fn(Vec<DeviceName>) -> Request,
) -> Result<Outcome> {
    let progress = ProgressBar::new(names.len() as u64);
    progress.set_style(ProgressStyle::with_template("{pos} of {len}")?);
    let mut total = Outcome::default();
    for chunk in names.chunks(CHUNK) {
        let Reply::Changed(outcome) = control.ask(request(chunk.to_vec())).await? else {
            bail!("the server gave an answer to another question");
        };
        total.changed += outcome.changed;
        total.already += outcome.already;
        total.failed.extend(outcome.failed);
        progress.inc(chunk.len() as u64);
    }
    progress.finish_and_clear();
    Ok(total)
}

/// Tells of each failure why; any is one of the whole command.
fn settle(outcome: &Outcome, rejected: u64) -> Result<()> {
    for failure in &outcome.failed {
        complain(&format!("{}: {}", failure.device, failure.reason));
    }
    let left = match outcome.failed.len() {
        0 => None,
        1 => Some("1 device was left as it is".to_owned()),
        count => Some(format!("{count} devices were left as they are")),
    };
    let lines = match rejected {
        0 => None,
        1 => Some("1 line names no device".to_owned()),
        count => Some(format!("{count} lines name no device")),
    };
    match (left, lines) {
        (None, None) => Ok(()),
        (Some(one), None) | (None, Some(one)) => bail!("{one}"),
        (Some(left), Some(lines)) => bail!("{left}, and {lines}"),
    }
}
