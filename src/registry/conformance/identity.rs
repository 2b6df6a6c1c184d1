//! What a store promises about who a device is: seats, counters, boards, and
//! the one licence key.

use std::future::Future;

use super::{NOW, load, product, register, serial};
use crate::clock::Timestamp;
use crate::device::{Device, Key, Transition};
use crate::entropy::counting::Counting;
use crate::hardware::{Fact, Facts, Pepper};
use crate::identity::FeedId;
use crate::registry::{Batch, Commit, Registrant, Registration, Registry, Write};
use crate::sealing::{SealedSecret, SealingKey};
use crate::secret::ApiKey;

pub(super) async fn check<R: Registry, F: Future<Output = R>>(open: &impl Fn() -> F) {
    seats_are_given_once(&open().await).await;
    counters_are_used_once(&open().await).await;
    boards_are_kept(&open().await).await;
    there_is_one_licence_key(&open().await).await;
}

async fn seat(registry: &impl Registry, device: Device, seats: u64) -> Commit {
    let key = ApiKey::generate(&Counting::default()).digest();
    let issued = device.issue(Key::Api(key), 1, NOW);
    let write = Write::Seated {
        device: issued.device,
        seats,
    };
    let seated = registry.commit(write, issued.events).await;
    seated.expect("decided")
}

async fn seats_are_given_once(registry: &impl Registry) {
    let feeds = register(registry, 0, &["a", "b", "c"]).await;
    let others = register(registry, 1, &["a"]).await;
    let device = async |feed: FeedId| load(registry, feed).await;
    assert_eq!(
        seat(registry, device(feeds[0]).await, 1).await,
        Commit::Done
    );
    let events = registry.events(0, 100).await.expect("events").len();
    assert_eq!(
        seat(registry, device(feeds[1]).await, 1).await,
        Commit::Lost
    );
    let after = registry.events(0, 100).await.expect("events").len();
    assert_eq!(events, after, "who finds no seat leaves no event");
    // Who has one keeps it, and another product has its own.
    assert_eq!(
        seat(registry, device(feeds[0]).await, 1).await,
        Commit::Done
    );
    assert_eq!(
        seat(registry, device(others[0]).await, 1).await,
        Commit::Done
    );

    let stale = device(feeds[2]).await;
    let revoked = device(feeds[0]).await.apply(Transition::Revoke, NOW);
    let revoked = revoked.expect("allowed");
    let write = Write::Device(revoked.device);
    let done = registry.commit(write, revoked.events).await;
    assert_eq!(done, Ok(Commit::Done));
    assert_eq!(seat(registry, stale.clone(), 1).await, Commit::Done);
    assert_eq!(
        seat(registry, stale, 9).await,
        Commit::Lost,
        "an old version"
    );
}

async fn counters_are_used_once(registry: &impl Registry) {
    let feeds = register(registry, 0, &["a", "b"]).await;
    let check = async |feed: usize, counter, expected| {
        let feed = feeds[feed];
        let used = registry.commit(Write::Counted { feed, counter }, Vec::new());
        assert_eq!(used.await, Ok(expected), "{counter}");
    };
    check(0, 5, Commit::Done).await;
    check(0, 5, Commit::Lost).await;
    check(0, 4, Commit::Done).await;
    check(1, 5, Commit::Done).await;
    check(0, 500, Commit::Done).await;
    check(0, 300, Commit::Lost).await;
}

async fn boards_are_kept(registry: &impl Registry) {
    let pepper = Pepper::generate(&Counting::default());
    let hardware = Facts::of(&pepper, [(Fact::Mac, "b8:27:eb:01:02:03")]);
    let batch = |hardware: &Facts| Batch {
        product: product(0),
        generation: 1,
        devices: vec![Registrant {
            serial: serial("a"),
            codes: Vec::new(),
            hardware: hardware.clone(),
            label: None,
        }],
        at: Timestamp::from_millis(1),
    };
    let new = registry.register(batch(&hardware)).await.expect("new");
    let [Registration::New(feed)] = new[..] else {
        panic!("{new:?}");
    };
    assert_eq!(load(registry, feed).await.hardware, hardware);
    let known = registry.register(batch(&Facts::default())).await;
    assert_eq!(known, Ok(vec![Registration::Known(feed)]));
    assert_eq!(load(registry, feed).await.hardware, hardware, "as it was");
}

async fn there_is_one_licence_key(registry: &impl Registry) {
    assert_eq!(registry.licence_key().await, Ok(None));
    let entropy = Counting::default();
    let sealing = SealingKey::generate(&entropy);
    let sealed = |n: u8| -> SealedSecret { sealing.seal_bytes(&[n; 32], b"", &entropy) };
    let (one, two) = (sealed(1), sealed(2));
    let keep = |key: &SealedSecret| registry.commit(Write::LicenceKey(key.clone()), Vec::new());
    assert_eq!(keep(&one).await, Ok(Commit::Done));
    assert_eq!(keep(&two).await, Ok(Commit::Lost));
    assert_eq!(registry.licence_key().await, Ok(Some(one)));
}
