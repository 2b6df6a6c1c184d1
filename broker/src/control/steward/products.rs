//! What operators do to products.

use std::time::Duration;

use firstwake::hardware::HardwarePolicy;
use firstwake::licence::Licence;
use firstwake::{
    DeviceName, NewProduct, Product, ProductChange, ProductId, ProductSecret, Profile,
};

use super::{devices, span};
use crate::control::declined::{Because, Declined};
use crate::control::request::Reply;
use crate::control::view::{DatastreamView, ProductView};
use crate::control::wish::{ProductPatch, ProductWish, SecretWish};
use crate::downlink::Dispatch;

/// Failures that are told one by one.
const TOLD: usize = 10;
/// What is told of a lease that ends before it has begun.
const LEASE: &str = "a lease lasts a second at least";

/// A product with what is counted of its devices.
pub(super) async fn view(
    product: Product,
    dispatch: &Dispatch<'_>,
) -> Result<ProductView, Declined> {
    let registry = dispatch.provisioner.registry();
    let census = registry.product_census(&product.id).await?;
    Ok(ProductView::of(product, &census, dispatch.moment.at))
}

pub(super) async fn create(wish: ProductWish, dispatch: &Dispatch<'_>) -> Result<Reply, Declined> {
    each_once(&wish.datastreams)?;
    let secret = wish.secret.as_deref().map(ProductSecret::parse);
    let new = NewProduct {
        name: wish.name,
        secret: secret.transpose()?,
        datastreams: wish.datastreams.into_iter().map(Into::into).collect(),
        reactivation: wish.reactivation,
        new_datastreams: wish.new_datastreams,
        profile: Profile {
            description: wish.description,
            stage: wish.stage,
            feed_defaults: wish.feed_defaults.into(),
        },
        proof: wish.proof,
        codes_until: wish.codes_until,
        hardware: HardwarePolicy {
            mode: wish.hardware,
            may_change: wish.may_change,
        },
        on_clone: wish.on_clone,
        licence: Licence {
            seats: wish.seats,
            lease: span(wish.lease_seconds, LEASE)?,
            ..Licence::default()
        },
    };
    let now = dispatch.moment.at;
    let (product, secret) = dispatch.provisioner.create_product(new, now).await?;
    Ok(Reply::ProductCreated {
        product: view(product, dispatch).await?,
        secret: secret.expose_hex().to_string(),
    })
}

pub(super) async fn change(
    id: &ProductId,
    patch: ProductPatch,
    dispatch: &Dispatch<'_>,
) -> Result<Reply, Declined> {
    each_once(patch.datastreams.as_deref().unwrap_or_default())?;
    let datastreams = patch.datastreams;
    let change = ProductChange {
        name: patch.name,
        datastreams: datastreams.map(|each| each.into_iter().map(Into::into).collect()),
        reactivation: patch.reactivation,
        new_datastreams: patch.new_datastreams,
        description: patch.description,
        stage: patch.stage,
        feed_defaults: patch.feed_defaults.map(Into::into),
        proof: patch.proof,
        codes_until: patch.codes_until,
        hardware_mode: patch.hardware,
        may_change: patch.may_change,
        on_clone: patch.on_clone,
        seats: patch.seats,
        lease: lease(patch.lease_seconds)?,
    };
    let now = dispatch.moment.at;
    let changed = dispatch.provisioner.change_product(id, change, now).await?;
    Ok(Reply::Product(view(changed, dispatch).await?))
}

pub(super) async fn rotate_secret(
    id: &ProductId,
    wish: SecretWish,
    dispatch: &Dispatch<'_>,
) -> Result<Reply, Declined> {
    let given = wish.secret.as_deref().map(ProductSecret::parse);
    let grace = Duration::from_secs(wish.grace_seconds);
    let (provisioner, now) = (dispatch.provisioner, dispatch.moment.at);
    let rotated = provisioner.rotate_secret(id, given.transpose()?, grace, now);
    let rotated = rotated.await?;
    Ok(Reply::SecretRotated {
        generation: rotated.generation,
        until: rotated.until,
        secret: rotated.secret.expose_hex().to_string(),
    })
}

/// The exceptions are written before the block takes effect: if one of them
/// cannot be, nothing has happened to any device.
pub(super) async fn block(
    id: &ProductId,
    except: &[DeviceName],
    dispatch: &Dispatch<'_>,
) -> Result<Reply, Declined> {
    let (provisioner, now) = (dispatch.provisioner, dispatch.moment.at);
    let block = provisioner.reserve_block(id, now).await?;
    let failed = devices::except(id, block, except, dispatch).await.failed;
    if !failed.is_empty() {
        let told: Vec<&str> = failed.iter().take(TOLD).map(|it| &*it.reason).collect();
        return Err(Because::Conflict.told(format!(
            "nothing is blocked: {} of the exceptions cannot be made ({})",
            failed.len(),
            told.join("; ")
        )));
    }
    let excepted = except.len() as u64;
    let blocked = provisioner.block_product(id, block, excepted, now);
    Ok(Reply::Product(view(blocked.await?, dispatch).await?))
}

/// Another lease, none any more, or the one that there is.
fn lease(seconds: Option<Option<u64>>) -> Result<Option<Option<Duration>>, Declined> {
    seconds.map(|seconds| span(seconds, LEASE)).transpose()
}

/// No datastream stands in the list twice.
fn each_once(datastreams: &[DatastreamView]) -> Result<(), Declined> {
    let mut ids: Vec<_> = datastreams.iter().map(|it| &it.id).collect();
    ids.sort();
    match ids.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => {
            let sentence = format!("the datastream {} is named twice", pair[0]);
            Err(Because::Invalid.told(sentence))
        }
        None => Ok(()),
    }
}
