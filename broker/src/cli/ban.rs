//! `firstwake ban`.

use anyhow::{Result, bail};
use firstwake::{Ban, Network};
use serde_json::json;

use super::form::{Form, Row, or_dash};
use crate::control::{BanWish, Control, Reply, Request};

/// Keep sources out, whoever connects from there
#[derive(clap::Subcommand)]
pub(super) enum Command {
    /// Keep an address or a network out, and end its sessions at once
    Add {
        /// Such as 192.0.2.7, 192.0.2.0/24 or 2001:db8::/32
        #[arg(value_name = "ADDRESS|NETWORK")]
        network: Network,
        /// For how long, such as 15m or 2h; without it, until it is removed
        #[arg(long = "for", value_name = "TIME")]
        span: Option<humantime::Duration>,
        /// Why; told with the ban in events and lists
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        /// Even if that may lock out this machine or nearly everybody
        #[arg(long)]
        force: bool,
    },
    /// The bans that hold now
    List,
    /// Let an address or a network in again
    Remove {
        /// As `ban list` shows it
        #[arg(value_name = "ADDRESS|NETWORK")]
        network: Network,
    },
}

impl Command {
    pub(super) async fn run(self, control: &mut Control, form: Form) -> Result<()> {
        match self {
            Self::Add {
                network,
                span,
                reason,
                force,
            } => {
                // Said here, where `--force` is what to add.
                if network.is_perilous() && !force {
                    bail!(
                        "banning {network} may lock out this machine or nearly everybody: \
                         add --force if that is meant"
                    );
                }
                let seconds = span.map(|span| span.as_secs());
                let request = Request::Ban(BanWish {
                    network,
                    seconds,
                    reason,
                    force,
                });
                match control.ask(request).await? {
                    Reply::Ban(ban) => form.tell(&ban, &sentence(&ban)),
                    _ => bail!("the server gave an answer to another question"),
                }
            }
            Self::List => match control.ask(Request::Bans).await? {
                Reply::Bans(bans) => form.list(&bans),
                _ => bail!("the server gave an answer to another question"),
            },
            Self::Remove { network } => {
                control.ask(Request::Unban { network }).await?;
                let words = format!("{network} is no longer banned");
                form.tell(&json!({ "unbanned": network }), &words)
            }
        }
    }
}

fn sentence(ban: &Ban) -> String {
    let until = match ban.until {
        Some(until) => format!("until {until}"),
        None => "until it is removed".to_owned(),
    };
    let reason = ban.reason.as_ref().map(|text| format!(": {text}"));
    let reason = reason.unwrap_or_default();
    format!("{} is banned {until}{reason}", ban.network)
}

impl Row for Ban {
    const COLUMNS: &'static [&'static str] = &["NETWORK", "UNTIL", "REASON"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.network.to_string(),
            or_dash(self.until),
            or_dash(self.reason.as_deref()),
        ]
    }
}
