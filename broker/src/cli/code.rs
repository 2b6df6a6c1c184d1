//! `firstwake code`: the 40 characters and, as words, nothing else.

use anyhow::Result;
use firstwake::{ActivationCode, ProductSecret, Serial};
use serde_json::json;

use super::form::Form;
use super::secret;

/// Compute a device's activation code: hex(HMAC-SHA1(unhex(secret), serial))
#[derive(clap::Args)]
pub(super) struct Args {
    /// The product secret, 40 hex characters; other users of this machine may
    /// see arguments, so prefer --secret-stdin
    #[arg(
        long,
        value_name = "HEX40",
        required_unless_present = "secret_stdin",
        conflicts_with = "secret_stdin"
    )]
    secret: Option<String>,
    /// Read the secret from standard input
    #[arg(long)]
    secret_stdin: bool,
    /// The device's serial; case matters
    #[arg(long, allow_hyphen_values = true)]
    serial: Serial,
}

impl Args {
    pub(super) fn run(self, form: Form) -> Result<()> {
        let text = match self.secret {
            Some(secret) => secret.into(),
            None => secret::read()?,
        };
        let secret = ProductSecret::parse(text.trim())?;
        let code = ActivationCode::compute(&secret, &self.serial).expose_hex();
        form.tell(&json!({ "serial": self.serial, "code": code }), &code)
    }
}
