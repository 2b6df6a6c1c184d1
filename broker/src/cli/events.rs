//! `firstwake events`: the audit log.

use anyhow::{Result, bail};

use crate::control::{Control, Reply, Request};
use crate::output::say_json;

/// Events read with one request.
const PAGE: usize = 1000;

/// Read the audit log, one JSON object a line
#[derive(clap::Args)]
pub(super) struct Args {
    /// Start behind the event of this number
    #[arg(long, value_name = "N", default_value_t = 0)]
    after: u64,
}

impl Args {
    pub(super) async fn run(self, control: &mut Control) -> Result<()> {
        let mut after = self.after;
        loop {
            let request = Request::Events { after, limit: PAGE };
            let Reply::Events(events) = control.ask(request).await? else {
                bail!("the server gave an answer to another question");
            };
            let Some(last) = events.last() else {
                return Ok(());
            };
            let seq = last.get("seq").and_then(serde_json::Value::as_u64);
            let Some(seq) = seq else {
                bail!("an event has no number");
            };
            after = seq;
            events.iter().try_for_each(say_json)?;
        }
    }
}
