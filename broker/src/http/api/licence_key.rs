//! The key that licences are signed with: its public half, for applications
//! that check a licence without a network. Nobody has to say who asks.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use firstwake::licence::key_id;
use serde::Serialize;
use utoipa::ToSchema;

use crate::broker::Broker;
use crate::http::problem::{Kind, Problem};

/// A public key as JWK (RFC 8037).
#[derive(Serialize, ToSchema)]
pub(super) struct LicenceKey {
    /// `OKP`.
    #[schema(example = "OKP")]
    kty: &'static str,
    /// `Ed25519`.
    #[schema(example = "Ed25519")]
    crv: &'static str,
    /// The key: 32 bytes in base64url.
    x: String,
    /// As in the header of each licence.
    kid: String,
    /// `sig`.
    #[serde(rename = "use")]
    #[schema(example = "sig")]
    usage: &'static str,
    /// `EdDSA`.
    #[schema(example = "EdDSA")]
    alg: &'static str,
}

/// The key that licences are signed with
#[utoipa::path(get, path = "/api/v1/licence-key", tag = "server", operation_id = "show_licence_key",
    security(()), responses((status = OK, body = LicenceKey)))]
pub(super) async fn licence_key(
    State(broker): State<Arc<Broker>>,
) -> Result<Json<LicenceKey>, Problem> {
    let key = broker.provisioner.licence_key().await;
    let key = key.map_err(|error| {
        tracing::warn!(%error, "the licence key could not be told");
        let sentence = "the registry does not answer: try again in a few seconds";
        Problem::new(Kind::Unavailable, sentence)
    })?;
    Ok(Json(LicenceKey {
        kty: "OKP",
        crv: "Ed25519",
        x: key.to_string(),
        kid: key_id(&key),
        usage: "sig",
        alg: "EdDSA",
    }))
}
