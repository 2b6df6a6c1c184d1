//! What a request is about has to be there.

use firstwake::{Product, ProductError, ProductId};

use crate::control::declined::Declined;
use crate::downlink::Dispatch;

/// The product of this id.
pub(super) async fn product(id: &ProductId, dispatch: &Dispatch<'_>) -> Result<Product, Declined> {
    let found = dispatch.provisioner.registry().product(id).await?;
    Ok(found.ok_or_else(|| ProductError::Unknown(id.clone()))?)
}
