//! A product's secrets: another one, the end of one, and what is shown of
//! them.

use anyhow::{Result, bail};
use firstwake::{ProductId, Timestamp};
use serde_json::json;
use zeroize::Zeroizing;

use crate::cli::form::{Form, fields};
use crate::cli::secret;
use crate::control::{Control, ProductView, Reply, Request, SecretView, SecretWish};

/// What takes the place of a product's secret.
#[derive(clap::Args)]
pub(in crate::cli) struct Rotation {
    /// The product
    #[arg(value_name = "PRODUCT_ID")]
    product: ProductId,
    /// How long the secret that it has is accepted beside the new one; 0s ends
    /// one that has leaked at once
    #[arg(long, value_name = "TIME", default_value = "90d")]
    grace: humantime::Duration,
    /// Use this secret, 40 hex characters; other users of this machine may
    /// see arguments, so prefer --secret-stdin
    #[arg(long, value_name = "HEX40", conflicts_with = "secret_stdin")]
    secret: Option<String>,
    /// Read the secret from standard input
    #[arg(long)]
    secret_stdin: bool,
}

impl Rotation {
    pub(super) async fn run(self, control: &mut Control, form: Form) -> Result<()> {
        let product = self.product;
        let secret = match self.secret_stdin {
            true => Some(secret::read()?.trim().to_owned()),
            false => self.secret,
        };
        let request = Request::RotateSecret {
            product: product.clone(),
            wish: SecretWish {
                secret,
                grace_seconds: self.grace.as_secs(),
            },
        };
        match control.ask(request).await? {
            Reply::SecretRotated {
                generation,
                until,
                secret,
            } => rotated(&product, generation, until, &Zeroizing::new(secret), form),
            _ => bail!("the server gave an answer to another question"),
        }
    }
}

fn rotated(
    product: &ProductId,
    generation: u32,
    until: Timestamp,
    secret: &str,
    form: Form,
) -> Result<()> {
    let answer = json!({
        "product_id": product,
        "generation": generation,
        "until": until,
        "secret": secret,
    });
    let words = fields(&[
        ("product_id", product.to_string()),
        ("generation", generation.to_string()),
        ("secret", format!("{secret}   (shown only here)")),
        (
            "before",
            format!("the secret before it is accepted until {until}"),
        ),
    ]);
    form.tell(&answer, &words)
}

/// What is shown of a product's secrets, a line each.
pub(super) fn told(product: &ProductView) -> Vec<(String, String)> {
    let lines = product.secrets.iter();
    let mut lines: Vec<(String, String)> = lines
        .map(|secret| (format!("secret {}", secret.generation), line(secret)))
        .collect();
    let never = product.never_activated.to_string();
    lines.push(("never_activated".to_owned(), never));
    lines
}

fn line(secret: &SecretView) -> String {
    let since = secret.since;
    let accepted = match (secret.accepted, secret.until) {
        (true, None) => format!("since {since}"),
        (true, Some(until)) => format!("since {since}, accepted until {until}"),
        (false, Some(until)) => format!("since {since}, ended at {until}"),
        (false, None) => format!("since {since}, not accepted"),
    };
    let signing = match secret.signing {
        0 => String::new(),
        signing => format!(" ({signing} sign with keys from it)"),
    };
    format!(
        "{accepted}; {} devices came with it{signing}; codes findable over HTTP: {} %",
        secret.devices, secret.codes_indexed
    )
}
