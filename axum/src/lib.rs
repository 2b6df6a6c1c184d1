//! For API servers in Rust: a handler that takes a [`SignedRequest`] is
//! reached only by a device of the registry, with a request that this very
//! device has signed, and once.
//!
//! The server's state names a [`Verifier`]: the registry's [`Provisioner`], the
//! name of the server, a clock, and how large a body may be. What a device signs, and what each
//! refusal means, is in `docs/requests.md`; servers in other languages ask
//! `POST /api/v1/verify`. This crate decides nothing: it asks the core. It
//! reads no clock of its own, and logs no token, target or body.
//!
//! [`Provisioner`]: firstwake::Provisioner
//!
//! ```
//! use std::sync::Arc;
//! use std::time::{SystemTime, UNIX_EPOCH};
//!
//! use axum::body::Body;
//! use axum::extract::FromRef;
//! use axum::routing::post;
//! use axum::{Router, http};
//! use firstwake::registry::Memory;
//! use firstwake::{Entropy, Provisioner, SealingKey, Timestamp};
//! use firstwake_axum::{SignedRequest, Verifier};
//! use tower::ServiceExt;
//!
//! #[derive(Clone)]
//! struct Fleet {
//!     verifier: Verifier,
//! }
//!
//! impl FromRef<Fleet> for Verifier {
//!     fn from_ref(fleet: &Fleet) -> Self {
//!         fleet.verifier.clone()
//!     }
//! }
//!
//! async fn report(SignedRequest { device, body }: SignedRequest) -> String {
//!     format!("{} has reported {} bytes", device.serial(), body.len())
//! }
//!
//! # struct Os;
//! # impl Entropy for Os {
//! #     fn fill(&self, buffer: &mut [u8]) {
//! #         buffer.fill(7); // A server passes the operating system's generator.
//! #     }
//! # }
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let entropy = Arc::new(Os);
//! # let sealing = SealingKey::generate(&*entropy);
//! // A server that lasts opens `registry::Embedded`, as `firstwake serve` does.
//! let registry = Arc::new(Memory::default());
//! let provisioner = Arc::new(Provisioner::start(registry, sealing, entropy).await?);
//! let clock = || {
//!     let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
//!     Timestamp::from_millis(now.as_millis() as u64)
//! };
//! let verifier = Verifier::new(provisioner, "https://api.example.com".parse()?, clock)
//!     .with_largest_body(64 * 1024);
//! let app = Router::new()
//!     .route("/reports", post(report))
//!     .with_state(Fleet { verifier });
//!
//! let stranger = http::Request::post("/reports").body(Body::from("21.5"))?;
//! let answer = app.oneshot(stranger).await?;
//! assert_eq!(answer.status(), http::StatusCode::UNAUTHORIZED);
//! # Ok(())
//! # }
//! ```

mod problem;
mod request;
mod verifier;

pub use self::problem::Rejection;
pub use self::request::SignedRequest;
pub use self::verifier::Verifier;
