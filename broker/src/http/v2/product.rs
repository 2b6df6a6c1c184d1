//! `products/ID`: one product.

use firstwake::{ProductError, ProductId, Role};
use serde::Serialize;

use super::Answer;
use super::denied::Denied;
use super::products::{self, MOST, Sent, Shown};
use super::request::{Asked, Unread, parse};
use crate::control::{ProductPatch, Request};

pub(super) async fn show(id: &ProductId, asked: &Asked<'_>) -> Result<Answer, Denied> {
    #[derive(Serialize)]
    struct One<'a> {
        product: Shown<'a>,
    }
    asked.takes_json()?;
    let login = asked.operator(Role::Viewer).await?;
    let found = asked.broker.provisioner.registry().product(id).await?;
    let found = found.ok_or_else(|| ProductError::Unknown(id.clone()))?;
    let product = products::show(&found, &login, asked).await?;
    Ok(products::page(&One { product }))
}

/// What is left out stays as it is.
pub(super) async fn change(
    id: &ProductId,
    asked: &Asked<'_>,
    body: Unread<'_>,
) -> Result<Answer, Denied> {
    asked.operator(Role::Admin).await?;
    let fields = parse::<Sent>(&body.whole(MOST).await?)?.into_fields();
    let found = asked.broker.provisioner.registry().product(id).await?;
    let found = found.ok_or_else(|| ProductError::Unknown(id.clone()))?;
    let name = fields.name().cloned();
    let mut profile = found.profile;
    let datastreams = fields.apply(&mut profile)?;
    let change = ProductPatch {
        name,
        description: Some(profile.description),
        stage: Some(profile.stage),
        datastreams: datastreams.map(|each| each.into_iter().map(Into::into).collect()),
        feed_defaults: Some(profile.feed_defaults.into()),
        ..ProductPatch::default()
    };
    let product = id.clone();
    asked
        .carry_out(Request::ChangeProduct { product, change })
        .await?;
    Ok(Answer::Done)
}

/// With all its devices.
pub(super) async fn remove(id: &ProductId, asked: &Asked<'_>) -> Result<Answer, Denied> {
    asked.operator(Role::Admin).await?;
    let product = id.clone();
    asked.carry_out(Request::RemoveProduct { product }).await?;
    Ok(Answer::Done)
}
