//! `firstwake product`.

use std::io::Read;
use std::path::PathBuf;

use anyhow::{Context, Result};
use firstwake::{DatastreamId, Product, ProductId, Reactivation};
use serde_json::json;
use zeroize::Zeroizing;

use super::many;
use crate::control::{Absent, Control, ProductPatch, ProductView, ProductWish, Reply, Request};
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
        /// How many further datastreams each device may add
        #[arg(long, value_name = "N", default_value_t = Product::NEW_DATASTREAMS)]
        new_datastreams: u32,
        /// Answer in JSON
        #[arg(long)]
        json: bool,
    },
    /// What is known of a product; never its secret
    Show {
        /// The product
        #[arg(value_name = "PRODUCT_ID")]
        product: ProductId,
        /// Answer in JSON
        #[arg(long)]
        json: bool,
    },
    /// Change what is named, and nothing else
    Change {
        /// The product
        #[arg(value_name = "PRODUCT_ID")]
        product: ProductId,
        /// What people call it
        #[arg(long)]
        name: Option<String>,
        /// What its devices are told they may send
        #[arg(long, value_name = "NAMES", value_delimiter = ',')]
        datastreams: Option<Vec<DatastreamId>>,
        /// Whether a code works again: until-confirmed, always, never
        #[arg(long, value_name = "POLICY")]
        reactivation: Option<Reactivation>,
        /// How many further datastreams each device may add
        #[arg(long, value_name = "N")]
        new_datastreams: Option<u32>,
    },
    /// Keep all its devices out and end their sessions, but for exceptions
    Block {
        /// The product
        #[arg(value_name = "PRODUCT_ID")]
        product: ProductId,
        /// Leave the devices alone that a file names, one a line; `-` is
        /// standard input. It replaces the exceptions of an earlier block
        #[arg(long, value_name = "FILE")]
        except: Option<PathBuf>,
    },
    /// Let its devices in again
    Unblock {
        /// The product
        #[arg(value_name = "PRODUCT_ID")]
        product: ProductId,
    },
    /// All products
    List {
        /// Answer in JSON
        #[arg(long)]
        json: bool,
    },
}

impl Command {
    /// Making the first of something makes where it is kept.
    pub(super) fn absent(&self) -> Absent {
        match self {
            Self::Create { .. } => Absent::IsMade,
            _ => Absent::IsAnError,
        }
    }

    pub(super) async fn run(self, control: &mut Control) -> Result<()> {
        match self {
            Self::Create {
                name,
                secret,
                secret_stdin,
                datastreams,
                reactivation,
                new_datastreams,
                json,
            } => {
                let secret = match secret_stdin {
                    true => Some(read_secret()?.trim().to_owned()),
                    false => secret,
                };
                let request = Request::CreateProduct(ProductWish {
                    secret,
                    datastreams: datastreams.into_iter().map(Into::into).collect(),
                    reactivation,
                    new_datastreams,
                    ..ProductWish::named(name)
                });
                match control.ask(request).await? {
                    Reply::ProductCreated { product, secret } => created(&product, secret, json),
                    _ => anyhow::bail!("the server gave an answer to another question"),
                }
            }
            Self::Show { product, json } => match ask(control, Request::Product { product }).await?
            {
                product if json => say_json(&product),
                product => show(&product),
            },
            Self::Change {
                product,
                name,
                datastreams,
                reactivation,
                new_datastreams,
            } => {
                let datastreams = datastreams.map(|ids| ids.into_iter().map(Into::into).collect());
                let change = ProductPatch {
                    name,
                    datastreams,
                    reactivation,
                    new_datastreams,
                    ..ProductPatch::default()
                };
                let request = Request::ChangeProduct { product, change };
                show(&ask(control, request).await?)
            }
            Self::Block { product, except } => block(control, product, except).await,
            Self::Unblock { product } => {
                let product = ask(control, Request::UnblockProduct { product }).await?;
                say(&format!("{} is not blocked", product.product_id))
            }
            Self::List { json } => match control.ask(Request::Products).await? {
                Reply::Products(products) if json => say_json(&products),
                Reply::Products(products) => products.iter().try_for_each(line),
                _ => anyhow::bail!("the server gave an answer to another question"),
            },
        }
    }
}

/// A request that is answered with the product.
async fn ask(control: &mut Control, request: Request) -> Result<ProductView> {
    match control.ask(request).await? {
        Reply::Product(product) => Ok(product),
        _ => anyhow::bail!("the server gave an answer to another question"),
    }
}

/// The exceptions are written before the block takes effect: if one of them
/// cannot be, nothing has happened to any device.
async fn block(control: &mut Control, product: ProductId, except: Option<PathBuf>) -> Result<()> {
    let names = except.map_or_else(|| Ok(Vec::new()), |path| many::names(&path))?;
    let request = Request::ReserveBlock {
        product: product.clone(),
    };
    let Reply::Block(block) = control.ask(request).await? else {
        anyhow::bail!("the server gave an answer to another question");
    };
    let outcome = many::each_chunk(control, &names, |names| Request::Except {
        product: product.clone(),
        block,
        names,
    });
    many::settle(&outcome.await?).context("nothing is blocked")?;
    let request = Request::BlockProduct {
        product,
        block,
        excepted: names.len() as u64,
    };
    let product = ask(control, request).await?;
    say(&format!(
        "{} is blocked, but for {} devices",
        product.product_id,
        names.len()
    ))
}

fn show(product: &ProductView) -> Result<()> {
    let datastreams: Vec<&str> = product
        .datastreams
        .iter()
        .map(|datastream| datastream.id.as_str())
        .collect();
    let blocked = if product.blocked { "yes" } else { "no" };
    say(&format!("product_id       {}", product.product_id))?;
    say(&format!("name             {}", product.name))?;
    say(&format!("datastreams      {}", datastreams.join(",")))?;
    say(&format!("new_datastreams  {}", product.new_datastreams))?;
    say(&format!("reactivation     {}", product.reactivation))?;
    say(&format!("blocked          {blocked}"))?;
    say(&format!("created          {}", product.created_at))
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
    let blocked = if product.blocked { "  blocked" } else { "" };
    say(&format!(
        "{}  {}  reactivation {}{blocked}",
        product.product_id, product.name, product.reactivation
    ))
}
