//! `firstwake device`.

use anyhow::{Result, bail};
use firstwake::{DeviceName, Label, ProductId, Serial};
use serde_json::json;
use zeroize::Zeroizing;

use super::form::{Form, Row, fields, joined, or_dash};
use super::many::{self, Chosen, Which};
use super::{export, import, register};
use crate::control::{Act, Control, DeviceView, ExplanationView, Reply, Request};

/// Seconds that a code may be open again, at most: a year.
const LONGEST_WINDOW: u64 = 366 * 24 * 60 * 60;
/// Devices listed with one request.
const PAGE: usize = 1000;

/// Single devices. SERIAL is a bare serial, or PRODUCT_ID/SERIAL where two
/// products share one
#[derive(clap::Subcommand)]
pub(super) enum Command {
    /// Make serials known to a product; those it knows already stay as they are
    Register(register::Args),
    /// Take in a factory's list of any length; those known already stay as
    /// they are
    Import(import::Args),
    /// A product's devices as a list that `import` takes; with --codes for
    /// programming them
    Export(export::Args),
    /// What is known of a device; never its key or code
    Show {
        #[arg(value_name = "SERIAL", allow_hyphen_values = true)]
        name: DeviceName,
    },
    /// Say what people call it
    Set {
        #[arg(value_name = "SERIAL", allow_hyphen_values = true)]
        name: DeviceName,
        /// 1 to 128 characters on one line
        #[arg(long, value_name = "TEXT", required_unless_present = "no_label")]
        label: Option<Label>,
        /// It has none any more
        #[arg(long, conflicts_with = "label")]
        no_label: bool,
    },
    /// Devices, in the order of their products and serials
    List {
        /// Of this product; of all without it
        #[arg(value_name = "PRODUCT_ID")]
        product: Option<ProductId>,
        /// Only those whose serial has this in it, in any case
        #[arg(long, value_name = "PART", allow_hyphen_values = true)]
        serial: Option<String>,
        /// Only those that have been given a key
        #[arg(long, conflicts_with = "new")]
        activated: bool,
        /// Only those that have not
        #[arg(long)]
        new: bool,
    },
    /// What happened to a device, and what to do about it
    Explain {
        #[arg(value_name = "SERIAL", allow_hyphen_values = true)]
        name: DeviceName,
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
    /// Give it another serial, and with it another activation code
    Rename {
        #[arg(value_name = "SERIAL", allow_hyphen_values = true)]
        name: DeviceName,
        /// The new one
        #[arg(value_name = "NEW_SERIAL", allow_hyphen_values = true)]
        serial: Serial,
    },
    /// Remove it and its feed; its session ends
    Remove {
        #[arg(value_name = "SERIAL", allow_hyphen_values = true)]
        name: DeviceName,
    },
    /// Its activation code, 40 hex characters
    Code {
        #[arg(value_name = "SERIAL", allow_hyphen_values = true)]
        name: DeviceName,
    },
    /// The key that it signs with, if it has made none itself: 64 hex
    /// characters, for a factory to burn in
    Key {
        #[arg(value_name = "SERIAL", allow_hyphen_values = true)]
        name: DeviceName,
    },
    /// Let its next login enrol the board it comes from, whatever was known
    ForgetHardware(Which),
    /// Let it in again after its lease has run out
    Renew(Which),
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
    pub(super) async fn run(self, control: &mut Control, form: Form) -> Result<()> {
        match self {
            Self::Register(register) => register.run(control, form).await,
            Self::Import(import) => import.run(control, form).await,
            Self::Export(export) => export.run(control, form).await,
            Self::Set {
                name,
                label,
                no_label: _,
            } => match control.ask(Request::Label { name, label }).await? {
                Reply::Device(device) => form.tell(&device, &fields(&known(&device))),
                _ => bail!("the server gave an answer to another question"),
            },
            Self::Show { name } => match control.ask(Request::Device { name }).await? {
                Reply::Device(device) => form.tell(&device, &fields(&known(&device))),
                _ => bail!("the server gave an answer to another question"),
            },
            Self::List {
                product,
                serial,
                activated,
                new,
            } => {
                let activated = match (activated, new) {
                    (true, _) => Some(true),
                    (_, true) => Some(false),
                    _ => None,
                };
                let looked_for = LookedFor {
                    product,
                    serial,
                    activated,
                };
                list(control, looked_for, form).await
            }
            Self::Explain { name } => match control.ask(Request::Explain { name }).await? {
                Reply::Explanation(explanation) => explain(&explanation, form),
                _ => bail!("the server gave an answer to another question"),
            },
            Self::Revoke(which) => change_which(control, which, Act::Revoke, form).await,
            Self::Suspend(which) => change_which(control, which, Act::Suspend, form).await,
            Self::Resume(which) => change_which(control, which, Act::Resume, form).await,
            Self::Quarantine(which) => change_which(control, which, Act::Quarantine, form).await,
            Self::Release(which) => change_which(control, which, Act::Release, form).await,
            Self::Reset {
                which,
                from_revoked,
            } => {
                let act = match from_revoked {
                    true => Act::ResetFromRevoked,
                    false => Act::Reset,
                };
                change_which(control, which, act, form).await
            }
            Self::Rename { name, serial } => {
                let words = format!("{name} is now {serial}");
                match control.ask(Request::Rename { name, serial }).await? {
                    Reply::Device(device) => form.tell(&device, &words),
                    _ => bail!("the server gave an answer to another question"),
                }
            }
            Self::Remove { name } => match control.ask(Request::RemoveDevice { name }).await? {
                Reply::Device(device) => {
                    let words = format!("{} is removed", device.serial);
                    form.tell(&device, &words)
                }
                _ => bail!("the server gave an answer to another question"),
            },
            Self::Code { name } => {
                let serial = name.serial.clone();
                match control.ask(Request::Code { name }).await? {
                    Reply::Shown(code) => {
                        form.tell(&json!({ "serial": serial, "code": code }), &code)
                    }
                    _ => bail!("the server gave an answer to another question"),
                }
            }
            Self::Key { name } => {
                let serial = name.serial.clone();
                match control.ask(Request::DeviceKey { name }).await? {
                    Reply::Shown(key) => {
                        let key = Zeroizing::new(key);
                        let answer = json!({ "serial": serial, "device_key": key.as_str() });
                        form.tell(&answer, &key)
                    }
                    _ => bail!("the server gave an answer to another question"),
                }
            }
            Self::ForgetHardware(which) => {
                change_which(control, which, Act::ForgetHardware, form).await
            }
            Self::Renew(which) => change_which(control, which, Act::Renew, form).await,
            Self::Reopen { name, span } => {
                let seconds = span.as_secs();
                if !(1..=LONGEST_WINDOW).contains(&seconds) {
                    bail!("a window is open from one second to a year");
                }
                change(control, name, Act::Reopen { seconds }, form).await
            }
        }
    }
}

async fn change_which(control: &mut Control, which: Which, act: Act, form: Form) -> Result<()> {
    match which.choose(control).await? {
        Chosen::One(name) => change(control, name, act, form).await,
        Chosen::Many(many) => many::change(control, many, act, form).await,
    }
}

async fn change(control: &mut Control, name: DeviceName, act: Act, form: Form) -> Result<()> {
    let Reply::Device(device) = control.ask(Request::Change { name, act }).await? else {
        bail!("the server gave an answer to another question");
    };
    let mut words = format!("{} is {}", device.serial, device.lifecycle);
    if let (Act::Reopen { .. }, Some(until)) = (act, device.reactivation_until) {
        words.push_str(&format!(", and its code works until {until}"));
    }
    form.tell(&device, &words)
}

/// Which devices are listed.
struct LookedFor {
    product: Option<ProductId>,
    serial: Option<String>,
    activated: Option<bool>,
}

async fn list(control: &mut Control, looked_for: LookedFor, form: Form) -> Result<()> {
    let mut pages = form.pages();
    let mut after = None;
    loop {
        let request = Request::Devices {
            product: looked_for.product.clone(),
            after,
            serial: looked_for.serial.clone(),
            activated: looked_for.activated,
            limit: PAGE,
        };
        let Reply::Devices(page) = control.ask(request).await? else {
            bail!("the server gave an answer to another question");
        };
        pages.add(&page.devices)?;
        after = page.next;
        if after.is_none() {
            return Ok(());
        }
    }
}

impl Row for DeviceView {
    const COLUMNS: &'static [&'static str] =
        &["SERIAL", "LIFECYCLE", "FEED_ID", "PRODUCT_ID", "LABEL"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.serial.to_string(),
            self.lifecycle.to_string(),
            self.feed_id.to_string(),
            self.product_id.to_string(),
            or_dash(self.label.as_ref()),
        ]
    }
}

fn known(device: &DeviceView) -> Vec<(&'static str, String)> {
    vec![
        ("serial", device.serial.to_string()),
        ("label", or_dash(device.label.as_ref())),
        ("product_id", device.product_id.to_string()),
        ("lifecycle", device.lifecycle.to_string()),
        ("feed_id", device.feed_id.to_string()),
        ("registered", device.registered_at.to_string()),
        ("issued", or_dash(device.issued_at)),
        ("confirmed", or_dash(device.confirmed_at)),
        ("proof", or_dash(device.proof.as_ref())),
        ("secret", or_dash(device.secret_generation)),
        ("signed", or_dash(device.signed_at)),
        ("hardware", joined(&device.hardware, ",")),
        (
            "lease",
            or_dash(device.lease_until.map(|until| format!("until {until}"))),
        ),
    ]
}

fn explain(explanation: &ExplanationView, form: Form) -> Result<()> {
    let mut words = vec![("product", explanation.product.clone())];
    words.extend(known(&explanation.device));
    if explanation.refusals.is_empty() && explanation.problems.is_empty() {
        let none = match explanation.since {
            Some(since) => format!("none since {since}, when the server started"),
            None => "known to a running server only".to_owned(),
        };
        words.push(("refusals", none));
    }
    for attempt in &explanation.refusals {
        let times = if attempt.count == 1 {
            "once".to_owned()
        } else {
            format!("{} times in a row, the last", attempt.count)
        };
        let refusal = attempt.refusal;
        let meaning = match (attempt.cause, &attempt.detail) {
            (Some(cause), Some(detail)) => format!("{}: {detail}", cause.meaning()),
            (Some(cause), None) => cause.meaning().to_owned(),
            (None, _) => refusal.meaning().to_owned(),
        };
        words.push((
            "refused",
            format!(
                "{times} at {} from {}: {refusal} ({meaning})",
                attempt.at, attempt.source
            ),
        ));
    }
    for problem in &explanation.problems {
        let times = match problem.count {
            1 => "once".to_owned(),
            count => format!("{count} times, the last"),
        };
        let (cause, meaning) = (problem.cause, problem.cause.meaning());
        let detail = problem.detail.as_deref().map(|it| format!(": {it}"));
        words.push((
            "problem",
            format!(
                "{times} at {} from {}: {cause} ({meaning}{})",
                problem.at,
                problem.source,
                detail.unwrap_or_default()
            ),
        ));
    }
    words.push(("next", explanation.advice.clone()));
    form.tell(explanation, &fields(&words))
}
