//! `firstwake code`: the 40 characters and, as words, nothing else.

use anyhow::Result;
use firstwake::{ActivationCode, ProductSecret, Serial};
use serde_json::json;

use super::form::Form;

/// Compute a device's activation code: hex(HMAC-SHA1(unhex(secret), serial))
#[derive(clap::Args)]
pub(super) struct Args {
    /// The product secret, 40 hex characters
    #[arg(long, value_name = "HEX40")]
    secret: String,
    /// The device's serial; case matters
    #[arg(long, allow_hyphen_values = true)]
    serial: Serial,
}

impl Args {
    pub(super) fn run(self, form: Form) -> Result<()> {
        let secret = ProductSecret::parse(&self.secret)?;
        let code = ActivationCode::compute(&secret, &self.serial).expose_hex();
        form.tell(&json!({ "serial": self.serial, "code": code }), &code)
    }
}
