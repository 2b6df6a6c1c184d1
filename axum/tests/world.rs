//! A registry with one device that signs, and a server in front of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::FromRef;
use axum::routing::{any, get};
use axum::{Json, Router};
use firstwake::hardware::Facts;
use firstwake::registry::Memory;
use firstwake::signed::{Audience, LoginClaims, RequestClaims, RequestDigest, Signer};
use firstwake::{
    Attempt, DeviceKey, DeviceName, Entropy, NewProduct, NewSerial, ProductId, ProductSecret,
    Provisioner, SealingKey, Serial, Timestamp, Transition,
};
use firstwake_axum::{SignedRequest, Verifier};
use http::{Method, Request, StatusCode};
use serde_json::{Value, json};
use tower::ServiceExt;

pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);
const SECRET: &str = "488f40ff3d0b2c6188e272f8d86416b73b3cb4ef";
const LARGEST: usize = 64;

/// No two draws are alike.
#[derive(Default)]
struct Counting(AtomicU64);

impl Entropy for Counting {
    fn fill(&self, buffer: &mut [u8]) {
        for chunk in buffer.chunks_mut(8) {
            let next = self.0.fetch_add(1, Ordering::Relaxed).to_le_bytes();
            chunk.copy_from_slice(&next[..chunk.len()]);
        }
    }
}

/// The state of a server of somebody's own.
#[derive(Clone)]
struct Shop {
    verifier: Verifier,
}

impl FromRef<Shop> for Verifier {
    fn from_ref(shop: &Shop) -> Self {
        shop.verifier.clone()
    }
}

async fn report(SignedRequest { device, body }: SignedRequest) -> Json<Value> {
    let body = String::from_utf8_lossy(&body);
    Json(json!({"serial": device.serial(), "body": body}))
}

/// What a device signs.
#[derive(Clone)]
pub(crate) struct Signed {
    pub(crate) audience: Audience,
    pub(crate) request: RequestDigest,
    pub(crate) issued_at: Timestamp,
}

impl Signed {
    pub(crate) fn new(method: &str, target: &str, body: &[u8]) -> Self {
        Self {
            audience: shop(),
            request: RequestDigest::of(method, target, body),
            issued_at: NOW,
        }
    }
}

/// The name that the server has for itself.
pub(crate) fn shop() -> Audience {
    "https://shop.example".parse().expect("a name")
}

/// All of it.
pub(crate) struct World {
    pub(crate) registry: Arc<Memory>,
    door: Arc<Provisioner>,
    app: Router,
    product: ProductId,
    serial: Serial,
    hardware: Facts,
    counter: AtomicU64,
}

impl World {
    pub(crate) async fn new() -> Self {
        let registry = Arc::new(Memory::default());
        let entropy = Arc::new(Counting::default());
        let sealing = SealingKey::generate(&*entropy);
        let door = Provisioner::start(Arc::clone(&registry) as _, sealing, entropy).await;
        let door = Arc::new(door.expect("an empty registry"));
        let product = NewProduct {
            secret: Some(ProductSecret::parse(SECRET).expect("a secret")),
            ..NewProduct::named("lamp")
        };
        let (product, _) = door.create_product(product, NOW).await.expect("made");
        let serial = Serial::parse("S1").expect("a serial");
        let new = NewSerial::from(serial.clone());
        door.register(&product.id, vec![new], NOW)
            .await
            .expect("registered");
        let verifier = Verifier::new(Arc::clone(&door), shop(), || NOW).with_largest_body(LARGEST);
        let reports = Router::new().route("/reports", any(report));
        let app = Router::new()
            .nest("/shop", reports.clone())
            .merge(reports)
            // What is written otherwise is another route to axum.
            .route("/{other}", get(report).post(report))
            .with_state(Shop { verifier });
        let world = Self {
            registry,
            door,
            app,
            product: product.id,
            serial,
            hardware: Facts::default(),
            counter: AtomicU64::new(1),
        };
        world.confirm().await;
        world
    }

    /// Logs in once: from then on the device is active.
    async fn confirm(&self) {
        let login = self.login();
        let attempt = Attempt {
            username: None,
            password: Some(login.as_bytes()),
            source: std::net::Ipv4Addr::LOCALHOST.into(),
            hardware: None,
        };
        self.door.admit(attempt, NOW).await.expect("admitted");
    }

    fn signer(&self) -> Signer {
        let secret = ProductSecret::parse(SECRET).expect("a secret");
        Signer::DeviceKey(DeviceKey::derive(&secret, &self.serial))
    }

    fn claims(&self, issued_at: Timestamp) -> LoginClaims<'_> {
        LoginClaims {
            serial: &self.serial,
            product: &self.product,
            issued_at,
            span: Duration::from_secs(60),
            jti: "j",
            hardware: &self.hardware,
        }
    }

    fn request(&self, signed: &Signed, signer: &Signer) -> String {
        signer.request(&RequestClaims {
            login: self.claims(signed.issued_at),
            counter: self.counter.fetch_add(1, Ordering::Relaxed),
            audience: &signed.audience,
            request: signed.request,
        })
    }

    /// A token of the device, with the next counter.
    pub(crate) fn token(&self, signed: &Signed) -> String {
        self.request(signed, &self.signer())
    }

    /// The same by somebody who does not have its key.
    pub(crate) fn stranger(&self, signed: &Signed) -> String {
        let key = DeviceKey::parse(&"0b".repeat(32)).expect("a key");
        self.request(signed, &Signer::DeviceKey(key))
    }

    /// A token that is good for logging in.
    pub(crate) fn login(&self) -> String {
        self.signer().login(&self.claims(NOW))
    }

    pub(crate) async fn suspend(&self) {
        let name = DeviceName {
            product: Some(self.product.clone()),
            serial: self.serial.clone(),
        };
        let suspended = self.door.change_device(&name, Transition::Suspend, NOW);
        suspended.await.expect("suspended");
    }

    /// Sends a request to the server, and reads its answer.
    pub(crate) async fn send(&self, request: Request<Body>) -> (StatusCode, Value) {
        let answer = self.app.clone().oneshot(request).await.expect("infallible");
        let status = answer.status();
        let headers = answer.headers().clone();
        let challenge = headers.get("www-authenticate");
        assert_eq!(challenge.is_some(), status == StatusCode::UNAUTHORIZED);
        if !status.is_success() {
            assert_eq!(headers["content-type"], "application/problem+json");
        }
        let body = to_bytes(answer.into_body(), 1 << 20).await;
        let body = serde_json::from_slice(&body.expect("whole"));
        (status, body.expect("JSON"))
    }

    pub(crate) async fn get(&self, target: &str, token: &str) -> (StatusCode, Value) {
        self.send(asked(Method::GET, target, token, "")).await
    }
}

/// A request as it is sent.
pub(crate) fn asked(method: Method, target: &str, token: &str, body: &str) -> Request<Body> {
    Request::builder()
        .method(method)
        .uri(target)
        .header("authorization", format!("Bearer {token}"))
        .body(Body::from(body.to_owned()))
        .expect("a request")
}
