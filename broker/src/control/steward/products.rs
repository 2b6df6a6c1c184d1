//! What operators do to products.

use firstwake::{DeviceName, NewProduct, ProductChange, ProductId, ProductSecret, Profile};

use super::devices;
use crate::control::declined::{Because, Declined};
use crate::control::request::Reply;
use crate::control::view::DatastreamView;
use crate::control::wish::{ProductPatch, ProductWish};
use crate::downlink::Dispatch;

/// Failures that are told one by one.
const TOLD: usize = 10;

pub(super) async fn create(wish: ProductWish, dispatch: &Dispatch<'_>) -> Result<Reply, Declined> {
    each_once(&wish.datastreams)?;
    let secret = wish.secret.as_deref().map(ProductSecret::parse);
    let new = NewProduct {
        secret: secret.transpose()?,
        datastreams: wish.datastreams.into_iter().map(Into::into).collect(),
        reactivation: wish.reactivation,
        new_datastreams: wish.new_datastreams,
        profile: Profile {
            description: wish.description,
            stage: wish.stage,
            feed_defaults: wish.feed_defaults.into(),
        },
        ..NewProduct::named(&wish.name)
    };
    let now = dispatch.moment.at;
    let (product, secret) = dispatch.provisioner.create_product(new, now).await?;
    Ok(Reply::ProductCreated {
        product: product.into(),
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
        ..ProductChange::default()
    };
    let now = dispatch.moment.at;
    let changed = dispatch.provisioner.change_product(id, change, now).await?;
    Ok(Reply::Product(changed.into()))
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
    Ok(Reply::Product(blocked.await?.into()))
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
