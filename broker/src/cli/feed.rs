//! `firstwake feed`: current values, and messages down to devices.

use std::io::Read;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use firstwake::feed::Value;
use firstwake::{DatastreamId, FeedId, Qos};
use serde_json::json;

use super::form::{Form, Row};
use crate::control::{Control, Note, Reply, Request, ValueView, ValueWish, Wanted};

/// Bytes of a message at most: what a device may be sent in one packet.
const LARGEST: u64 = 256 * 1024;

/// What devices measured, and messages down to them
#[derive(clap::Subcommand)]
pub(super) enum Command {
    /// Send a command: it is kept until the device has acknowledged it
    Send {
        /// The device's feed, as `device show` tells it
        #[arg(value_name = "FEED_ID")]
        feed: FeedId,
        /// The command: the last level of feeds/FEED_ID/commands/NAME
        #[arg(value_name = "NAME")]
        name: String,
        #[command(flatten)]
        content: Content,
        /// Give up after this time, such as 90s or 2h
        #[arg(long = "for", value_name = "TIME")]
        expiry: Option<humantime::Duration>,
        /// 0: only to a device that is connected now; 1: until it is received
        #[arg(long, value_name = "0|1", default_value = "1")]
        qos: Quality,
    },
    /// What was measured last
    Show {
        /// The device's feed, as `device show` tells it
        #[arg(value_name = "FEED_ID")]
        feed: FeedId,
    },
    /// Keep values as the current ones, as if the device had sent them: all
    /// of them, or none
    Put {
        /// The device's feed, as `device show` tells it
        #[arg(value_name = "FEED_ID")]
        feed: FeedId,
        /// A datastream and its value
        #[arg(value_name = "NAME=VALUE", required = true, value_parser = value)]
        values: Vec<(DatastreamId, Value)>,
    },
    /// Set a device's configuration: it is kept, and told to the device
    /// whenever it subscribes to feeds/FEED_ID/config
    Config {
        /// The device's feed, as `device show` tells it
        #[arg(value_name = "FEED_ID")]
        feed: FeedId,
        #[command(flatten)]
        content: Content,
        /// Keep none from now on
        #[arg(long, conflicts_with_all = ["payload", "stdin"])]
        clear: bool,
    },
}

/// What a message says.
#[derive(clap::Args)]
#[group(multiple = false)]
pub(super) struct Content {
    /// The message
    #[arg(long, value_name = "TEXT")]
    payload: Option<String>,
    /// Read the message from standard input, byte for byte
    #[arg(long)]
    stdin: bool,
}

impl Content {
    fn read(self) -> Result<Vec<u8>> {
        if !self.stdin {
            return Ok(self.payload.unwrap_or_default().into_bytes());
        }
        let mut bytes = Vec::new();
        let mut input = std::io::stdin().lock().take(LARGEST + 1);
        input
            .read_to_end(&mut bytes)
            .context("standard input cannot be read")?;
        if bytes.len() as u64 > LARGEST {
            bail!("a message to a device holds at most {LARGEST} bytes");
        }
        Ok(bytes)
    }
}

/// A quality of service that devices are sent messages with.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(super) enum Quality {
    #[value(name = "0")]
    AtMostOnce,
    #[value(name = "1")]
    AtLeastOnce,
}

impl Command {
    pub(super) async fn run(self, control: &mut Control, form: Form) -> Result<()> {
        let (feed, note, clears) = match self {
            Self::Show { feed } => return show(control, feed, form).await,
            Self::Put { feed, values } => return put(control, feed, values, form).await,
            Self::Send {
                feed,
                name,
                content,
                expiry,
                qos,
            } => {
                let seconds = expiry.map(|time| Duration::from(time).as_secs());
                let expiry = seconds.map(u32::try_from).transpose();
                let qos = match qos {
                    Quality::AtMostOnce => Qos::AtMostOnce,
                    Quality::AtLeastOnce => Qos::AtLeastOnce,
                };
                let note = Note::Command {
                    name,
                    payload: content.read()?,
                    qos,
                    expiry: expiry.context("use a time of at most 136 years")?,
                };
                (feed, note, false)
            }
            Self::Config {
                feed,
                content,
                clear,
            } => {
                let payload = content.read()?;
                if payload.is_empty() && !clear {
                    bail!("an empty configuration is none: use --payload, --stdin or --clear");
                }
                (feed, Note::Configuration { payload }, clear)
            }
        };
        let Reply::Sent(became) = control.ask(Request::Send { feed, note }).await? else {
            bail!("the server gave an answer to another question");
        };
        let words = match became {
            _ if clears => "no configuration is kept any more",
            Wanted::Waits => {
                "kept until the device has acknowledged it: now if it is connected, or when it comes back"
            }
            Wanted::Handed => "handed to the device's session",
            Wanted::Kept => "kept; the device is told when it subscribes",
            Wanted::Nobody => bail!(
                "nothing was sent: the device of feed {feed} has no session that subscribed to this"
            ),
        };
        form.tell(&json!({ "feed_id": feed, "became": became }), words)
    }
}

/// `NAME=VALUE`: the first `=` ends the name, which has none.
fn value(text: &str) -> Result<(DatastreamId, Value), String> {
    let (name, value) = text.split_once('=').ok_or("use NAME=VALUE")?;
    let name = DatastreamId::parse(name).map_err(|error| error.to_string())?;
    let value = Value::parse(value).map_err(|error| error.to_string())?;
    Ok((name, value))
}

async fn show(control: &mut Control, feed: FeedId, form: Form) -> Result<()> {
    match (control.ask(Request::Feed { feed }).await?, form) {
        (Reply::Feed(feed), Form::Json) => form.tell(&feed, ""),
        (Reply::Feed(feed), Form::Table) => form.list(&feed.values),
        _ => bail!("the server gave an answer to another question"),
    }
}

async fn put(
    control: &mut Control,
    feed: FeedId,
    values: Vec<(DatastreamId, Value)>,
    form: Form,
) -> Result<()> {
    let count = values.len();
    let wish = |(datastream, value)| ValueWish {
        datastream,
        value,
        at: None,
    };
    let values = values.into_iter().map(wish).collect();
    control.ask(Request::PutValues { feed, values }).await?;
    form.tell(
        &json!({ "feed_id": feed, "kept": count }),
        &format!("kept {count} on feed {feed}"),
    )
}

impl Row for ValueView {
    const COLUMNS: &'static [&'static str] = &["DATASTREAM", "VALUE", "AT"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.datastream.to_string(),
            self.value.to_string(),
            self.at.to_string(),
        ]
    }
}
