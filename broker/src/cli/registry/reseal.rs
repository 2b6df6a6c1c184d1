//! `firstwake registry reseal`: another sealing key.

use anyhow::Result;
use serde_json::json;

use super::lock_existing;
use crate::cli::form::{Form, fields};
use crate::cli::place::Place;
use crate::edge::Clock;

pub(super) async fn run(place: &Place, form: Form) -> Result<()> {
    // A server seals with the key that it started with.
    let lock = lock_existing(place)?;
    let resealed = lock.reseal(Clock::start().now()).await?;
    let key = lock.home().path().join("sealing.key").display().to_string();
    let answer = json!({
        "products": resealed.products,
        "answers": resealed.answers,
        "sealing_key": key,
    });
    let words = fields(&[
        ("products", format!("{} sealed anew", resealed.products)),
        ("answers", format!("{} sealed anew", resealed.answers)),
        (
            "sealing_key",
            format!("{key} is another one now: keep a copy of it apart from backups"),
        ),
        (
            "before",
            "backups that were made before still need the key before".to_owned(),
        ),
    ]);
    form.tell(&answer, &words)
}
