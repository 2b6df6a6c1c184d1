//! `products/ID`: one product.

use firstwake::{ProductChange, ProductError, ProductId, Role};
use serde::Serialize;

use super::Answer;
use super::denied::Denied;
use super::products::{self, MOST, Sent, Shown};
use super::request::{Asked, Unread, parse};

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
    body: Unread,
) -> Result<Answer, Denied> {
    asked.operator(Role::Admin).await?;
    let fields = parse::<Sent>(&body.whole(MOST).await?)?.into_fields();
    let provisioner = &asked.broker.provisioner;
    let found = provisioner.registry().product(id).await?;
    let found = found.ok_or_else(|| ProductError::Unknown(id.clone()))?;
    let name = fields.name().cloned();
    let mut profile = found.profile;
    let datastreams = fields.apply(&mut profile)?;
    let change = ProductChange {
        name,
        datastreams,
        profile: Some(profile),
        ..ProductChange::default()
    };
    provisioner.change_product(id, change, asked.now).await?;
    Ok(Answer::Done)
}

/// With all its devices.
pub(super) async fn remove(id: &ProductId, asked: &Asked<'_>) -> Result<Answer, Denied> {
    asked.operator(Role::Admin).await?;
    asked
        .broker
        .provisioner
        .remove_product(id, asked.now)
        .await?;
    Ok(Answer::Done)
}
