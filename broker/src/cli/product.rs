//! `firstwake product`.

use std::io::Read;

use anyhow::{Context, Result};
use firstwake::{DatastreamId, Reactivation};
use serde_json::json;
use zeroize::Zeroizing;

use crate::control::{Control, ProductView, Reply, Request};
use crate::output::{say, say_json};

/// Kinds of devices
#[derive(clap::Subcommand)]
pub(super) enum Command {
    /// Make a product; its secret is shown now and never again
    Create {
        /// What people call it
        name: String,
        /// Use this secret, 40 hex characters; other users of this machine may
        /// see arguments, so prefer --secret-stdin
        #[arg(long, value_name = "HEX40", conflicts_with = "secret_stdin")]
        secret: Option<String>,
        /// Read the secret from standard input
        #[arg(long)]
        secret_stdin: bool,
        /// What its devices are told they may send
        #[arg(long, value_name = "NAMES", value_delimiter = ',')]
        datastreams: Vec<DatastreamId>,
        /// Whether a code works again: until-confirmed, always, never
        #[arg(long, value_name = "POLICY", default_value = "until-confirmed")]
        reactivation: Reactivation,
        /// Answer in JSON
        #[arg(long)]
        json: bool,
    },
    /// All products
    List {
        /// Answer in JSON
        #[arg(long)]
        json: bool,
    },
}

impl Command {
    pub(super) async fn run(self, control: &mut Control) -> Result<()> {
        match self {
            Self::Create {
                name,
                secret,
                secret_stdin,
                datastreams,
                reactivation,
                json,
            } => {
                let secret = match secret_stdin {
                    true => Some(read_secret()?.trim().to_owned()),
                    false => secret,
                };
                let request = Request::CreateProduct {
                    name,
                    secret,
                    datastreams,
                    reactivation,
                };
                match control.ask(request).await? {
                    Reply::ProductCreated { product, secret } => created(&product, secret, json),
                    _ => anyhow::bail!("the server gave an answer to another question"),
                }
            }
            Self::List { json } => match control.ask(Request::Products).await? {
                Reply::Products(products) if json => say_json(&products),
                Reply::Products(products) => products.iter().try_for_each(line),
                _ => anyhow::bail!("the server gave an answer to another question"),
            },
        }
    }
}

fn read_secret() -> Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::new());
    std::io::stdin()
        .read_to_string(&mut text)
        .context("standard input cannot be read")?;
    Ok(text)
}

fn created(product: &ProductView, secret: String, json: bool) -> Result<()> {
    let secret = Zeroizing::new(secret);
    if json {
        return say_json(&json!({
            "product_id": product.product_id,
            "name": product.name,
            "secret": secret.as_str(),
        }));
    }
    say(&format!("product_id  {}", product.product_id))?;
    say(&format!("name        {}", product.name))?;
    say(&format!(
        "secret      {}   (shown only here)",
        secret.as_str()
    ))
}

fn line(product: &ProductView) -> Result<()> {
    say(&format!(
        "{}  {}  reactivation {}",
        product.product_id, product.name, product.reactivation
    ))
}
