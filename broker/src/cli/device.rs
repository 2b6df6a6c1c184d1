//! `firstwake device`.

use std::path::PathBuf;

use anyhow::{Result, bail};
use firstwake::{DeviceName, ProductId, Serial, Timestamp};

use super::many::{self, Chosen, Which};
use super::serials::{Pattern, gather};
use crate::control::{Act, Control, DeviceView, DevicesWish, ExplanationView, Reply, Request};
use crate::output::{say, say_json};

/// Serials sent to the server at once.
const CHUNK: usize = 10_000;
/// Seconds that a code may be open again, at most: a year.
const LONGEST_WINDOW: u64 = 366 * 24 * 60 * 60;
/// Devices listed with one request.
const PAGE: usize = 1000;

/// Single devices. SERIAL is a bare serial, or PRODUCT_ID/SERIAL where two
/// products share one
#[derive(clap::Subcommand)]
pub(super) enum Command {
    /// Make serials known to a product; those it knows already stay as they are
    Register {
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
    },
    /// What is known of a device; never its key or code
    Show {
        #[arg(value_name = "SERIAL", allow_hyphen_values = true)]
        name: DeviceName,
        /// Answer in JSON
        #[arg(long)]
        json: bool,
    },
    /// A product's devices, in the order of their serials
    List {
        /// The product
        #[arg(value_name = "PRODUCT_ID")]
        product: ProductId,
        /// Answer in JSON, one object a line
        #[arg(long)]
        json: bool,
    },
    /// What happened to a device, and what to do about it
    Explain {
        #[arg(value_name = "SERIAL", allow_hyphen_values = true)]
        name: DeviceName,
        /// Answer in JSON
        #[arg(long)]
        json: bool,
    },
    /// End its session and let it in never again
    Revoke(Which),
    /// End its session and keep it out until `resume`
    Suspend(Which),
    /// Let a suspended device in again
    Resume(Which),
    /// End its session and keep it out until it is clear who is who
    Quarantine(Which),
    /// Let a quarantined device in again
    Release(Which),
    /// Forget its keys, so that it activates anew on the same feed
    Reset {
        #[command(flatten)]
        which: Which,
        /// Even if it was revoked
        #[arg(long)]
        from_revoked: bool,
    },
    /// Let the code of an active device work again for a while
    Reopen {
        #[arg(value_name = "SERIAL", allow_hyphen_values = true)]
        name: DeviceName,
        /// How long, such as 15m or 2h
        #[arg(long = "for", value_name = "TIME", default_value = "1h")]
        span: humantime::Duration,
    },
}

impl Command {
    pub(super) async fn run(self, control: &mut Control) -> Result<()> {
        match self {
            Self::Register {
                product,
                serials,
                from,
                generate,
            } => register(control, &product, &gather(serials, from, generate)?).await,
            Self::Show { name, json } => match control.ask(Request::Device { name }).await? {
                Reply::Device(device) if json => say_json(&device),
                Reply::Device(device) => show(&device),
                _ => bail!("the server gave an answer to another question"),
            },
            Self::List { product, json } => list(control, product, json).await,
            Self::Explain { name, json } => match control.ask(Request::Explain { name }).await? {
                Reply::Explanation(explanation) if json => say_json(&explanation),
                Reply::Explanation(explanation) => explain(&explanation),
                _ => bail!("the server gave an answer to another question"),
            },
            Self::Revoke(which) => change_which(control, which, Act::Revoke).await,
            Self::Suspend(which) => change_which(control, which, Act::Suspend).await,
            Self::Resume(which) => change_which(control, which, Act::Resume).await,
            Self::Quarantine(which) => change_which(control, which, Act::Quarantine).await,
            Self::Release(which) => change_which(control, which, Act::Release).await,
            Self::Reset {
                which,
                from_revoked,
            } => {
                let act = match from_revoked {
                    true => Act::ResetFromRevoked,
                    false => Act::Reset,
                };
                change_which(control, which, act).await
            }
            Self::Reopen { name, span } => {
                let seconds = span.as_secs();
                if !(1..=LONGEST_WINDOW).contains(&seconds) {
                    bail!("a window is open from one second to a year");
                }
                change(control, name, Act::Reopen { seconds }).await
            }
        }
    }
}

async fn register(control: &mut Control, product: &ProductId, serials: &[Serial]) -> Result<()> {
    let (mut added, mut before) = (0, 0);
    for chunk in serials.chunks(CHUNK) {
        let request = Request::Register(DevicesWish {
            product_id: product.clone(),
            serials: chunk.to_vec(),
        });
        match control.ask(request).await? {
            Reply::Registered(registered) => {
                added += registered.new;
                before += registered.known;
            }
            _ => bail!("the server gave an answer to another question"),
        }
    }
    say(&format!("registered {added}, known before {before}"))
}

async fn change_which(control: &mut Control, which: Which, act: Act) -> Result<()> {
    match which.choose(control).await? {
        Chosen::One(name) => change(control, name, act).await,
        Chosen::Many(names) => many::change(control, &names, act).await,
    }
}

async fn change(control: &mut Control, name: DeviceName, act: Act) -> Result<()> {
    match control.ask(Request::Change { name, act }).await? {
        Reply::Device(device) => match (act, device.reactivation_until) {
            (Act::Reopen { .. }, Some(until)) => say(&format!(
                "{} is {}, and its code works until {until}",
                device.serial, device.lifecycle
            )),
            _ => say(&format!("{} is {}", device.serial, device.lifecycle)),
        },
        _ => bail!("the server gave an answer to another question"),
    }
}

async fn list(control: &mut Control, product: ProductId, json: bool) -> Result<()> {
    let mut after = None;
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
        for device in &page.devices {
            match json {
                true => say_json(device)?,
                false => say(&format!(
                    "{}  {}  feed {}",
                    device.serial, device.lifecycle, device.feed_id
                ))?,
            }
        }
        after = page.next;
        if after.is_none() {
            return Ok(());
        }
    }
}

fn show(device: &DeviceView) -> Result<()> {
    let time = |at: Option<Timestamp>| at.map_or_else(|| "-".to_owned(), |at| at.to_string());
    say(&format!("serial      {}", device.serial))?;
    say(&format!("product_id  {}", device.product_id))?;
    say(&format!("lifecycle   {}", device.lifecycle))?;
    say(&format!("feed_id     {}", device.feed_id))?;
    say(&format!("registered  {}", device.registered_at))?;
    say(&format!("issued      {}", time(device.issued_at)))?;
    say(&format!("confirmed   {}", time(device.confirmed_at)))
}

fn explain(explanation: &ExplanationView) -> Result<()> {
    say(&format!("product     {}", explanation.product))?;
    show(&explanation.device)?;
    if explanation.refusals.is_empty() {
        say("refusals    none since the server started")?;
    }
    for attempt in &explanation.refusals {
        let times = if attempt.count == 1 {
            "once".to_owned()
        } else {
            format!("{} times in a row, the last", attempt.count)
        };
        say(&format!(
            "refused     {times} at {} from {}: {} ({})",
            attempt.at,
            attempt.source,
            attempt.refusal,
            attempt.refusal.meaning()
        ))?;
    }
    say(&format!("next        {}", explanation.advice))
}
