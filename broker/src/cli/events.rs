//! `firstwake events`: the audit log.

use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use firstwake::visible;
use serde_json::Value;

use super::form::Form;
use crate::control::{Control, Reply, Request, Unreachable};

/// Events read with one request.
const PAGE: usize = 1000;
/// How long to wait before asking again whether something has happened.
const PAUSE: Duration = Duration::from_millis(500);
/// What has a place of its own in a line of words; the rest follows by name.
const PLACED: [&str; 6] = ["seq", "v", "at", "event", "product_id", "serial"];

/// Read the audit log, an event a line
#[derive(clap::Args)]
pub(super) struct Args {
    /// Start behind the event of this number
    #[arg(long, value_name = "N", default_value_t = 0)]
    after: u64,
    /// Then wait for what happens next, until ctrl-C
    #[arg(long)]
    follow: bool,
}

impl Args {
    pub(super) async fn run(self, control: &mut Control, form: Form) -> Result<()> {
        if self.follow && control.is_alone() {
            bail!(Unreachable::because(anyhow!(
                "no server is running here, so nothing will happen: leave out --follow"
            )));
        }
        let mut after = self.after;
        loop {
            let request = Request::Events { after, limit: PAGE };
            let asked = control.ask(request).await;
            // Whoever follows needs to know where to go on.
            let reply = match self.follow {
                true => asked.with_context(|| format!("go on with --after {after}"))?,
                false => asked?,
            };
            let Reply::Events(events) = reply else {
                bail!("the server gave an answer to another question");
            };
            let Some(last) = events.last() else {
                if !self.follow {
                    return Ok(());
                }
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            after = number(last)?;
            for event in &events {
                form.tell(event, &line(event))?;
            }
        }
    }
}

fn number(event: &Value) -> Result<u64> {
    let seq = event.get("seq").and_then(Value::as_u64);
    seq.context("an event has no number")
}

/// Number, time, what happened, to which device or product, and what else is
/// said of it.
fn line(event: &Value) -> String {
    let text = |name: &str| event.get(name).and_then(Value::as_str);
    let seq = event.get("seq").map(Value::to_string).unwrap_or_default();
    let mut line = format!(
        "{seq:>7}  {}  {}",
        text("at").unwrap_or("-"),
        text("event").unwrap_or("-"),
    );
    match (text("product_id"), text("serial")) {
        (Some(product), Some(serial)) => line.push_str(&format!("  {product}/{serial}")),
        (Some(product), None) => line.push_str(&format!("  {product}")),
        _ => {}
    }
    let fields = event.as_object().into_iter().flatten();
    for (name, value) in fields.filter(|(name, _)| !PLACED.contains(&name.as_str())) {
        match value {
            Value::String(text) => line.push_str(&format!("  {name}={text}")),
            value => line.push_str(&format!("  {name}={value}")),
        }
    }
    visible(&line).into_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::line;

    #[test]
    fn an_event_is_told_in_a_line() {
        let check = |event, expected: &str| assert_eq!(line(&event), expected);
        check(
            json!({
                "seq": 7, "v": 1, "at": "2026-11-22T01:13:56.617Z", "event": "activation_issued",
                "product_id": "p", "serial": "SN-1", "feed_id": 1, "secret_generation": 2,
            }),
            "      7  2026-11-22T01:13:56.617Z  activation_issued  p/SN-1  feed_id=1  secret_generation=2",
        );
        check(
            json!({"seq": 8, "v": 1, "at": "t", "event": "product_created", "product_id": "p", "name": "a b"}),
            "      8  t  product_created  p  name=a b",
        );
        check(
            json!({"seq": 8, "v": 1, "at": "t", "event": "product_created", "product_id": "p", "name": "a\n9\u{1b}"}),
            "      8  t  product_created  p  name=a\\u{a}9\\u{1b}",
        );
        check(
            json!({"seq": 9, "v": 1, "at": "t", "event": "source_banned", "source": "::/0", "until": null}),
            "      9  t  source_banned  source=::/0  until=null",
        );
    }
}
