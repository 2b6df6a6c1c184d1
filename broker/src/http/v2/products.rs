//! `products`: all of them, and a new one.

use firstwake::{
    Datastream, DatastreamId, FeedDefaults, OperatorLogin, Product, Profile, Role, Stage, Unit,
    Visibility,
};
use serde::{Deserialize, Deserializer, Serialize};

use super::Answer;
use super::denied::Denied;
use super::request::{Asked, Unread, parse};
use crate::control::{ProductWish, Reply, Request};
use firstwake::feed::Format;

/// Bytes of a body about one product.
pub(super) const MOST: usize = 256 * 1024;
/// Datastreams that a product names.
const DATASTREAMS: usize = 500;
/// Tags of a feed or a datastream.
const TAGS: usize = 100;
/// Bytes of one text.
const TEXT: usize = 4096;

/// A product as it is shown.
#[derive(Serialize)]
pub(super) struct Shown<'a> {
    name: &'a str,
    description: &'a str,
    product_id: &'a str,
    /// For administrators only.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
    state: Stage,
    devices_count: u64,
    activated_devices_count: u64,
    feed_defaults: Defaults<'a>,
}

#[derive(Serialize)]
struct Defaults<'a> {
    title: &'a str,
    tags: &'a [String],
    private: bool,
    datastreams: Vec<ShownDatastream<'a>>,
}

#[derive(Serialize)]
struct ShownDatastream<'a> {
    id: &'a DatastreamId,
    tags: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    unit: Option<UnitFields>,
}

/// A product as it is sent; what is left out is not changed.
#[derive(Deserialize)]
pub(super) struct Sent {
    product: Fields,
}

/// What is said of a product.
#[derive(Default, Deserialize)]
pub(super) struct Fields {
    name: Option<String>,
    description: Option<String>,
    state: Option<Stage>,
    feed_defaults: Option<SentDefaults>,
}

#[derive(Default, Deserialize)]
struct SentDefaults {
    title: Option<String>,
    tags: Option<Tags>,
    #[serde(default, deserialize_with = "yes_or_no")]
    private: Option<bool>,
    datastreams: Option<Vec<SentDatastream>>,
}

#[derive(Deserialize)]
struct SentDatastream {
    id: String,
    tags: Option<Tags>,
    unit: Option<UnitFields>,
}

/// A unit, in both directions.
#[derive(Clone, Default, Serialize, Deserialize)]
struct UnitFields {
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    symbol: Option<String>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
}

/// Tags as a list, or in one text with commas.
#[derive(Deserialize)]
#[serde(untagged, expecting = "it has to be a text or a list of texts")]
enum Tags {
    List(Vec<String>),
    Text(String),
}

/// `true`, or Xively's `"true"`.
fn yes_or_no<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<bool>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "it has to be true or false")]
    enum Said {
        Plainly(bool),
        InText(String),
    }
    match Option::<Said>::deserialize(deserializer)? {
        None => Ok(None),
        Some(Said::Plainly(yes)) => Ok(Some(yes)),
        Some(Said::InText(text)) => match text.as_str() {
            "true" => Ok(Some(true)),
            "false" => Ok(Some(false)),
            _ => Err(serde::de::Error::custom("private is true or false")),
        },
    }
}

pub(super) async fn list(asked: &Asked<'_>) -> Result<Answer, Denied> {
    #[derive(Serialize)]
    struct List {
        #[serde(rename = "totalResults")]
        total: usize,
        products: Vec<serde_json::Value>,
    }
    asked.takes_json()?;
    let login = asked.operator(Role::Viewer).await?;
    let products = asked.broker.provisioner.registry().products().await?;
    let mut list = List {
        total: products.len(),
        products: Vec::with_capacity(products.len()),
    };
    for product in &products {
        let shown = show(product, &login, asked).await?;
        list.products.push(value(&shown));
    }
    Ok(page(&list))
}

pub(super) async fn create(asked: &Asked<'_>, body: Unread<'_>) -> Result<Answer, Denied> {
    asked.operator(Role::Admin).await?;
    let Sent { product } = parse(&body.whole(MOST).await?)?;
    let Some(name) = product.name.clone() else {
        return Err(Denied::invalid("a product needs a name"));
    };
    let mut profile = Profile::default();
    let datastreams = product.apply(&mut profile)?.unwrap_or_default();
    let wish = ProductWish {
        description: profile.description,
        stage: profile.stage,
        datastreams: datastreams.into_iter().map(Into::into).collect(),
        feed_defaults: profile.feed_defaults.into(),
        ..ProductWish::named(name)
    };
    // The secret is read where it is asked for.
    match asked.carry_out(Request::CreateProduct(wish)).await? {
        Reply::ProductCreated { product, .. } => Ok(Answer::Created(format!(
            "/v2/products/{}",
            product.product_id
        ))),
        _ => Err(Denied::unavailable()),
    }
}

/// A product as this operator may see it.
pub(super) async fn show<'a>(
    product: &'a Product,
    login: &OperatorLogin,
    asked: &Asked<'_>,
) -> Result<Shown<'a>, Denied> {
    let provisioner = &asked.broker.provisioner;
    let secret = match login.role() >= Role::Admin {
        true => Some(provisioner.secret_of(&product.id, asked.now).await?),
        false => None,
    };
    let census = provisioner
        .registry()
        .product_census(&product.id)
        .await?
        .lifecycles;
    let total = census.total();
    let defaults = &product.profile.feed_defaults;
    let datastream = |one: &'a Datastream| ShownDatastream {
        id: &one.id,
        tags: &one.tags,
        unit: one.unit.as_ref().map(|unit| UnitFields {
            label: unit.label.clone(),
            symbol: unit.symbol.clone(),
            kind: unit.kind.clone(),
        }),
    };
    Ok(Shown {
        name: &product.name,
        description: &product.profile.description,
        product_id: product.id.as_str(),
        secret: secret.map(|secret| secret.expose_hex().to_string()),
        state: product.profile.stage,
        devices_count: total,
        activated_devices_count: total - census.of(firstwake::Lifecycle::Registered),
        feed_defaults: Defaults {
            title: defaults.title.as_deref().unwrap_or(&product.name),
            tags: &defaults.tags,
            private: defaults.visibility == Visibility::Private,
            datastreams: product.datastreams.iter().map(datastream).collect(),
        },
    })
}

impl Sent {
    pub(super) fn into_fields(self) -> Fields {
        self.product
    }
}

impl Fields {
    /// What people call it, if that was said.
    pub(super) fn name(&self) -> Option<&String> {
        self.name.as_ref()
    }

    /// Writes what was said into a profile, and returns the datastreams if
    /// there was a word about them.
    pub(super) fn apply(self, profile: &mut Profile) -> Result<Option<Vec<Datastream>>, Denied> {
        if let Some(description) = self.description {
            profile.description = text(description, "description")?;
        }
        profile.stage = self.state.unwrap_or(profile.stage);
        let Some(said) = self.feed_defaults else {
            return Ok(None);
        };
        let FeedDefaults {
            title,
            tags,
            visibility,
        } = &mut profile.feed_defaults;
        if let Some(said) = said.title {
            *title = Some(text(said, "title")?);
        }
        if let Some(said) = said.tags {
            *tags = said.checked()?;
        }
        match said.private {
            Some(true) => *visibility = Visibility::Private,
            Some(false) => *visibility = Visibility::Public,
            None => {}
        }
        said.datastreams.map(datastreams).transpose()
    }
}

fn datastreams(sent: Vec<SentDatastream>) -> Result<Vec<Datastream>, Denied> {
    if sent.len() > DATASTREAMS {
        return Err(Denied::invalid(format!(
            "a product names at most {DATASTREAMS} datastreams"
        )));
    }
    let mut checked: Vec<Datastream> = Vec::with_capacity(sent.len());
    for (number, one) in (1..).zip(sent) {
        let id = DatastreamId::parse(&one.id)
            .map_err(|error| Denied::invalid(format!("datastream {number}: {error}")))?;
        if checked.iter().any(|known| known.id == id) {
            return Err(Denied::invalid(format!(
                "datastream {number} ({id}) is named twice"
            )));
        }
        let word = |said: Option<String>| said.map(|said| text(said, "unit")).transpose();
        let unit = match one.unit {
            Some(unit) => Some(Unit {
                label: word(unit.label)?,
                symbol: word(unit.symbol)?,
                kind: word(unit.kind)?,
            }),
            None => None,
        };
        let tags = one.tags.map(Tags::checked).transpose()?.unwrap_or_default();
        checked.push(Datastream { id, tags, unit });
    }
    Ok(checked)
}

impl Tags {
    fn checked(self) -> Result<Vec<String>, Denied> {
        let tags = match self {
            Self::List(tags) => tags,
            Self::Text(tags) => tags.split(',').map(|tag| tag.trim().to_owned()).collect(),
        };
        if tags.len() > TAGS {
            return Err(Denied::invalid(format!("at most {TAGS} tags")));
        }
        let tags = tags.into_iter().filter(|tag| !tag.is_empty());
        tags.map(|tag| text(tag, "tag")).collect()
    }
}

fn text(said: String, what: &str) -> Result<String, Denied> {
    match said.len() <= TEXT {
        true => Ok(said),
        false => Err(Denied::invalid(format!("a {what} is at most {TEXT} bytes"))),
    }
}

/// A page of JSON.
pub(super) fn page(shown: &impl Serialize) -> Answer {
    #[expect(clippy::expect_used, reason = "texts and numbers always serialise")]
    let bytes = serde_json::to_vec(shown).expect("texts and numbers serialise");
    Answer::Page(Format::Json, bytes)
}

fn value(shown: &impl Serialize) -> serde_json::Value {
    #[expect(clippy::expect_used, reason = "texts and numbers always serialise")]
    serde_json::to_value(shown).expect("texts and numbers serialise")
}
