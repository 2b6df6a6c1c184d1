//! `firstwake product`.

mod policies;
mod secrets;

use std::path::PathBuf;

use anyhow::Result;
use firstwake::{DatastreamId, DeviceName, Product, ProductId, Reactivation, Stage};
use serde_json::json;
use zeroize::Zeroizing;

use self::policies::Policies;
use self::secrets::Rotation;
use super::form::{Form, Row, fields, joined, or_dash};
use super::{secret, serials};
use crate::control::{Absent, Control, ProductPatch, ProductView, ProductWish, Reply, Request};

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
        /// What it is, in more words
        #[arg(long, value_name = "TEXT")]
        description: Option<String>,
        /// How far it has come; changes nothing that the server does
        #[arg(long, value_name = "STAGE", default_value = "develop")]
        stage: StageWord,
        /// What its devices are told they may send
        #[arg(long, value_name = "NAMES", value_delimiter = ',')]
        datastreams: Vec<DatastreamId>,
        /// Whether a code works again: until-confirmed, always, never
        #[arg(long, value_name = "POLICY", default_value = "until-confirmed")]
        reactivation: Reactivation,
        /// How many further datastreams each device may add
        #[arg(long, value_name = "N", default_value_t = Product::NEW_DATASTREAMS)]
        new_datastreams: u32,
        #[command(flatten)]
        policies: Policies,
    },
    /// What is known of a product; never its secret
    Show {
        /// The product
        #[arg(value_name = "PRODUCT_ID")]
        product: ProductId,
    },
    /// Change what is named, and nothing else
    Set {
        /// The product
        #[arg(value_name = "PRODUCT_ID")]
        product: ProductId,
        /// What people call it
        #[arg(long)]
        name: Option<String>,
        /// What it is, in more words
        #[arg(long, value_name = "TEXT")]
        description: Option<String>,
        /// How far it has come
        #[arg(long, value_name = "STAGE")]
        stage: Option<StageWord>,
        /// What its devices are told they may send
        #[arg(long, value_name = "NAMES", value_delimiter = ',')]
        datastreams: Option<Vec<DatastreamId>>,
        /// Whether a code works again: until-confirmed, always, never
        #[arg(long, value_name = "POLICY")]
        reactivation: Option<Reactivation>,
        /// How many further datastreams each device may add
        #[arg(long, value_name = "N")]
        new_datastreams: Option<u32>,
        #[command(flatten)]
        policies: Policies,
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
    /// Remove it and all its devices: their sessions end, their feeds are gone
    Remove {
        /// The product
        #[arg(value_name = "PRODUCT_ID")]
        product: ProductId,
        /// With all its devices
        #[arg(long, required = true)]
        yes: bool,
    },
    /// Its newest secret, 40 hex characters
    Secret {
        /// The product
        #[arg(value_name = "PRODUCT_ID")]
        product: ProductId,
    },
    /// Give it another secret; devices with a code of the one before get in for
    /// a while. The new one is shown now
    RotateSecret(Rotation),
    /// End a secret now that another one has replaced
    EndSecret {
        /// The product
        #[arg(value_name = "PRODUCT_ID")]
        product: ProductId,
        /// Which, as `product show` numbers them
        #[arg(value_name = "GENERATION")]
        generation: u32,
    },
    /// What its devices hash the facts of their boards under, 64 hex characters:
    /// for a factory that computes the hashes itself
    Pepper {
        /// The product
        #[arg(value_name = "PRODUCT_ID")]
        product: ProductId,
    },
    /// All products
    List,
}

/// A [`Stage`] as an argument.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(super) enum StageWord {
    /// Being made
    Develop,
    /// In the field
    Deploy,
}

impl From<StageWord> for Stage {
    fn from(word: StageWord) -> Self {
        match word {
            StageWord::Develop => Self::Develop,
            StageWord::Deploy => Self::Deploy,
        }
    }
}

impl Command {
    /// Making the first of something makes where it is kept.
    pub(super) fn absent(&self) -> Absent {
        match self {
            Self::Create { .. } => Absent::IsMade,
            _ => Absent::IsAnError,
        }
    }

    pub(super) async fn run(self, control: &mut Control, form: Form) -> Result<()> {
        match self {
            Self::Create {
                name,
                secret,
                secret_stdin,
                description,
                stage,
                datastreams,
                reactivation,
                new_datastreams,
                policies,
            } => {
                let secret = match secret_stdin {
                    true => Some(secret::read()?.trim().to_owned()),
                    false => secret,
                };
                let request = Request::CreateProduct(policies.add_to(ProductWish {
                    secret,
                    description: description.unwrap_or_default(),
                    stage: stage.into(),
                    datastreams: datastreams.into_iter().map(Into::into).collect(),
                    reactivation,
                    new_datastreams,
                    ..ProductWish::named(name)
                }));
                match control.ask(request).await? {
                    Reply::ProductCreated { product, secret } => created(&product, secret, form),
                    _ => anyhow::bail!("the server gave an answer to another question"),
                }
            }
            Self::Show { product } => {
                let product = ask(control, Request::Product { product }).await?;
                form.tell(&product, &known(&product))
            }
            Self::Set {
                product,
                name,
                description,
                stage,
                datastreams,
                reactivation,
                new_datastreams,
                policies,
            } => {
                let change = ProductPatch {
                    name,
                    description,
                    stage: stage.map(Into::into),
                    datastreams: datastreams.map(|ids| ids.into_iter().map(Into::into).collect()),
                    reactivation,
                    new_datastreams,
                    ..policies.patch()
                };
                let request = Request::ChangeProduct { product, change };
                let product = ask(control, request).await?;
                form.tell(&product, &known(&product))
            }
            Self::Block { product, except } => block(control, product, except, form).await,
            Self::Unblock { product } => {
                let product = ask(control, Request::UnblockProduct { product }).await?;
                let words = format!("{} is not blocked", product.product_id);
                form.tell(&product, &words)
            }
            Self::Remove { product, yes: _ } => remove(control, product, form).await,
            Self::Secret { product } => match control.ask(Request::Secret { product }).await? {
                Reply::Shown(secret) => {
                    let secret = Zeroizing::new(secret);
                    form.tell(&json!({ "secret": secret.as_str() }), &secret)
                }
                _ => anyhow::bail!("the server gave an answer to another question"),
            },
            Self::RotateSecret(rotation) => rotation.run(control, form).await,
            Self::EndSecret {
                product,
                generation,
            } => {
                let request = Request::EndSecret {
                    product,
                    generation,
                };
                let product = ask(control, request).await?;
                form.tell(&product, &known(&product))
            }
            Self::Pepper { product } => match control.ask(Request::Pepper { product }).await? {
                Reply::Shown(pepper) => {
                    let pepper = Zeroizing::new(pepper);
                    form.tell(&json!({ "pepper": pepper.as_str() }), &pepper)
                }
                _ => anyhow::bail!("the server gave an answer to another question"),
            },
            Self::List => match control.ask(Request::Products).await? {
                Reply::Products(products) => form.list(&products),
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

async fn block(
    control: &mut Control,
    product: ProductId,
    except: Option<PathBuf>,
    form: Form,
) -> Result<()> {
    let except = except.map_or_else(
        || Ok(Vec::new()),
        |path| serials::lines(&path, DeviceName::parse),
    )?;
    let excepted = except.len();
    let product = ask(control, Request::BlockProduct { product, except }).await?;
    let words = format!(
        "{} is blocked, but for {excepted} devices",
        product.product_id
    );
    form.tell(&product, &words)
}

async fn remove(control: &mut Control, product: ProductId, form: Form) -> Result<()> {
    let request = Request::RemoveProduct {
        product: product.clone(),
    };
    match control.ask(request).await? {
        Reply::ProductRemoved { devices } => form.tell(
            &json!({ "removed": product, "devices": devices }),
            &format!("{product} is removed, and {devices} devices with it"),
        ),
        _ => anyhow::bail!("the server gave an answer to another question"),
    }
}

fn known(product: &ProductView) -> String {
    let datastreams: Vec<&DatastreamId> = product.datastreams.iter().map(|it| &it.id).collect();
    let mut words = vec![
        ("product_id", product.product_id.to_string()),
        ("name", product.name.clone()),
        (
            "description",
            or_dash(Some(&product.description).filter(|it| !it.is_empty())),
        ),
        (
            "stage",
            match product.stage {
                Stage::Develop => "develop",
                Stage::Deploy => "deploy",
            }
            .to_owned(),
        ),
        ("datastreams", joined(&datastreams, ",")),
        ("new_datastreams", product.new_datastreams.to_string()),
        ("reactivation", product.reactivation.to_string()),
    ];
    words.extend(policies::told(product));
    let secrets = secrets::told(product);
    let secrets = secrets.iter();
    words.extend(secrets.map(|(name, value)| (name.as_str(), value.clone())));
    words.extend([
        ("blocked", yes_or_no(product.blocked)),
        ("created", product.created_at.to_string()),
    ]);
    fields(&words)
}

fn yes_or_no(so: bool) -> String {
    if so { "yes" } else { "no" }.to_owned()
}

fn created(product: &ProductView, secret: String, form: Form) -> Result<()> {
    let secret = Zeroizing::new(secret);
    let answer = json!({
        "product_id": product.product_id,
        "name": product.name,
        "secret": secret.as_str(),
    });
    let words = fields(&[
        ("product_id", product.product_id.to_string()),
        ("name", product.name.clone()),
        ("secret", format!("{}   (shown only here)", secret.as_str())),
    ]);
    form.tell(&answer, &words)
}

impl Row for ProductView {
    const COLUMNS: &'static [&'static str] = &["PRODUCT_ID", "NAME", "REACTIVATION", "BLOCKED"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.product_id.to_string(),
            self.name.clone(),
            self.reactivation.to_string(),
            yes_or_no(self.blocked),
        ]
    }
}
