//! `firstwake registry reseal`: another sealing key.

use std::path::Path;

use anyhow::{Result, anyhow, bail};
use serde_json::json;

use crate::cli::form::{Form, fields};
use crate::control::Unreachable;
use crate::edge::Clock;
use crate::home::{Home, InUse};

pub(super) async fn run(data_dir: &Path, form: Form) -> Result<()> {
    if !data_dir.join("lock").exists() {
        bail!(Unreachable::because(anyhow!(
            "there is no data directory {}: name the server's with --data-dir",
            data_dir.display()
        )));
    }
    let home = Home::prepare(data_dir)?;
    let lock = match home.try_lock()? {
        Ok(lock) => lock,
        Err(InUse { by }) => bail!(
            "the data directory {} is in use by process {by}: stop the server first, it seals with \
             the key that it started with",
            home.path().display()
        ),
    };
    let resealed = lock.reseal(Clock::start().now()).await?;
    let key = home.path().join("sealing.key").display().to_string();
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
