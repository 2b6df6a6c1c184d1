//! `firstwake code`: the 40 characters and nothing else.

use anyhow::Result;
use firstwake::{ActivationCode, ProductSecret, Serial};

use crate::output::say;

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
    pub(super) fn run(self) -> Result<()> {
        let secret = ProductSecret::parse(&self.secret)?;
        say(&ActivationCode::compute(&secret, &self.serial).expose_hex())
    }
}
