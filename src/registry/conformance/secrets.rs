//! What a store promises about secrets: the index of codes follows them, and
//! all that is sealed is sealed anew at once.

use std::future::Future;

use super::{NOW, a_product, an_event, load, product, register, serial};
use crate::clock::Timestamp;
use crate::code::ActivationCode;
use crate::device::{Key, Transition};
use crate::entropy::Entropy;
use crate::entropy::counting::Counting;
use crate::hardware::Facts;
use crate::identity::FeedId;
use crate::once::{Occasion, OccasionId};
use crate::operator::OperatorName;
use crate::product::{Indexed, Product, ProductSecretSlot, Progress};
use crate::registry::{Batch, Commit, Recoded, Registrant, Registry, Reseal, Write};
use crate::sealing::{SealedSecret, SealingKey};
use crate::secret::{CodeDigest, ProductSecret};

pub(super) async fn check<R: Registry, F: Future<Output = R>>(open: &impl Fn() -> F) {
    codes_go_in_and_out(&open().await).await;
    a_device_that_went_meanwhile_leaves_no_code(&open().await).await;
    an_old_registration_is_caught_up_with(&open().await).await;
    a_newer_secret_is_not_overlooked(&open().await).await;
    keys_from_a_secret_are_counted(&open().await).await;
    a_sealing_key_is_proved_once(&open().await).await;
    all_is_sealed_anew_or_nothing(&open().await).await;
}

fn sealed(byte: u8) -> SealedSecret {
    let entropy = Counting::default();
    SealingKey::generate(&entropy).seal_bytes(&[byte; 20], b"", &entropy)
}

fn slot(generation: u32, indexed: Indexed) -> ProductSecretSlot {
    ProductSecretSlot {
        generation,
        sealed: sealed(0),
        expires_at: None,
        since: NOW,
        indexed,
    }
}

/// A code of these devices with another secret than they were registered with.
fn newer(text: &str) -> CodeDigest {
    let entropy = Counting::default();
    entropy.fill(&mut [0; 64]);
    ActivationCode::compute(&ProductSecret::generate(&entropy), &serial(text)).digest()
}

/// A product with two secrets, the index of the second not begun.
async fn rotated(registry: &impl Registry) -> Product {
    let product = Product {
        secrets: vec![
            slot(2, Indexed::Growing(Progress::default())),
            slot(1, Indexed::Whole),
        ],
        ..a_product()
    };
    let write = Write::Product(Box::new(product));
    assert_eq!(registry.commit(write, Vec::new()).await, Ok(Commit::Done));
    read(registry).await
}

async fn read(registry: &impl Registry) -> Product {
    let found = registry.product(&product(0)).await.expect("readable");
    found.expect("made before")
}

async fn recode(registry: &impl Registry, product: &Product, members: Vec<Recoded>) -> Commit {
    let write = Write::Codes {
        product: Box::new(product.clone()),
        members,
    };
    let written = registry.commit(write, Vec::new()).await;
    written.expect("decided")
}

fn added(text: &str, feed: FeedId) -> Recoded {
    Recoded {
        serial: serial(text),
        feed,
        added: vec![newer(text)],
        removed: Vec::new(),
    }
}

async fn found(registry: &impl Registry, code: CodeDigest) -> Vec<FeedId> {
    let devices = registry.by_code(&code).await.expect("readable");
    devices.iter().map(|device| device.feed).collect()
}

async fn codes_go_in_and_out(registry: &impl Registry) {
    rotated(registry).await;
    // Registered by somebody who knew of the first secret only.
    let feeds = register(registry, 0, &["a", "b"]).await;
    let mut product = read(registry).await;
    let events = registry.events(0, 100).await.map(|all| all.len());
    let members = vec![added("a", feeds[0]), added("b", feeds[1])];
    product.secrets[0].indexed = Indexed::Whole;
    assert_eq!(
        recode(registry, &product, members.clone()).await,
        Commit::Done
    );
    assert_eq!(found(registry, newer("a")).await, [feeds[0]]);
    assert_eq!(found(registry, newer("b")).await, [feeds[1]]);
    let after = read(registry).await;
    assert_eq!(after.version, product.version + 1);
    assert_eq!(after.secrets, product.secrets);
    assert_eq!(
        registry.events(0, 100).await.map(|all| all.len()),
        events,
        "it is no change of a device"
    );
    // Two who do the same work: one is late, and doing it twice changes nothing.
    assert_eq!(
        recode(registry, &product, members.clone()).await,
        Commit::Lost
    );
    assert_eq!(recode(registry, &after, members).await, Commit::Done);
    assert_eq!(found(registry, newer("a")).await, [feeds[0]]);

    let out = Recoded {
        added: Vec::new(),
        removed: vec![newer("a")],
        ..added("a", feeds[0])
    };
    let product = read(registry).await;
    assert_eq!(recode(registry, &product, vec![out]).await, Commit::Done);
    assert_eq!(found(registry, newer("a")).await, []);
    assert_eq!(found(registry, newer("b")).await, [feeds[1]]);
    let gone = Product {
        version: 0,
        ..a_product()
    };
    assert_eq!(recode(registry, &gone, Vec::new()).await, Commit::Lost);
}

async fn a_device_that_went_meanwhile_leaves_no_code(registry: &impl Registry) {
    let feeds = register(registry, 0, &["a", "b", "c"]).await;
    let product = rotated(registry).await;
    let members = vec![
        added("a", feeds[0]),
        added("b", feeds[1]),
        added("c", feeds[2]),
    ];
    let remove = Write::RemoveDevice {
        device: load(registry, feeds[0]).await,
        generation: 2,
        codes: Vec::new(),
        signed_until: None,
    };
    assert_eq!(registry.commit(remove, Vec::new()).await, Ok(Commit::Done));
    let rename = Write::RenameDevice {
        device: load(registry, feeds[1]).await,
        serial: serial("d"),
        generation: 2,
        ended: vec![newer("b")],
        codes: vec![newer("d")],
        signed_until: None,
    };
    assert_eq!(registry.commit(rename, Vec::new()).await, Ok(Commit::Done));
    assert_eq!(recode(registry, &product, members).await, Commit::Done);
    for gone in ["a", "b"] {
        assert_eq!(found(registry, newer(gone)).await, [], "{gone}");
    }
    assert_eq!(found(registry, newer("c")).await, [feeds[2]]);
    assert_eq!(found(registry, newer("d")).await, [feeds[1]]);
}

async fn an_old_registration_is_caught_up_with(registry: &impl Registry) {
    let mut made = rotated(registry).await;
    let through = Progress {
        through: Some(serial("m")),
        devices: 7,
    };
    made.secrets[0].indexed = Indexed::Growing(through.clone());
    assert_eq!(recode(registry, &made, Vec::new()).await, Commit::Done);
    let registering = async |text: &str, generation| {
        let batch = Batch {
            product: product(0),
            generation,
            devices: vec![Registrant {
                serial: serial(text),
                codes: Vec::new(),
                hardware: Facts::default(),
                label: None,
            }],
            at: NOW,
        };
        registry.register(batch).await.expect("registered");
        read(registry).await
    };
    let product = registering("a", 2).await;
    assert_eq!(product.secrets[0].indexed, Indexed::Growing(through));
    let before = product.version;
    let product = registering("b", 1).await;
    let anew = Indexed::Growing(Progress::default());
    assert_eq!(product.secrets[0].indexed, anew, "from the start again");
    assert_eq!(product.secrets[1].indexed, Indexed::Whole);
    assert_eq!(product.version, before + 1, "a step that was taken is lost");
}

async fn a_newer_secret_is_not_overlooked(registry: &impl Registry) {
    let feeds = register(registry, 0, &["a"]).await;
    rotated(registry).await;
    let device = load(registry, feeds[0]).await;
    let remove = |generation| Write::RemoveDevice {
        device: device.clone(),
        generation,
        codes: Vec::new(),
        signed_until: None,
    };
    let rename = |generation| Write::RenameDevice {
        device: device.clone(),
        serial: serial("b"),
        generation,
        ended: Vec::new(),
        codes: Vec::new(),
        signed_until: None,
    };
    for late in [remove(1), rename(1)] {
        let lost = registry.commit(late, vec![an_event()]).await;
        assert_eq!(lost, Ok(Commit::Lost));
    }
    assert_eq!(load(registry, feeds[0]).await, device);
    let renamed = registry.commit(rename(2), Vec::new()).await;
    assert_eq!(renamed, Ok(Commit::Done));
}

async fn keys_from_a_secret_are_counted(registry: &impl Registry) {
    let feed = register(registry, 0, &["a"]).await[0];
    let counted = async || {
        let census = registry.product_census(&product(0)).await;
        let census = census.expect("readable");
        [1, 2].map(|generation| census.sign_with(generation))
    };
    let write = async |device| {
        let written = registry.commit(Write::Device(device), Vec::new()).await;
        assert_eq!(written, Ok(Commit::Done));
        counted().await
    };
    assert_eq!(counted().await, [0, 0]);
    let issued = load(registry, feed).await.issue(Key::Derived(1), 1, NOW);
    assert_eq!(write(issued.device).await, [1, 0]);
    let confirmed = load(registry, feed).await.confirm(NOW).expect("pending");
    assert_eq!(write(confirmed.device).await, [1, 0]);
    let issued = load(registry, feed).await.issue(Key::Derived(2), 2, NOW);
    assert_eq!(write(issued.device).await, [1, 1], "one in each slot");
    let reset = load(registry, feed).await.apply(Transition::Reset, NOW);
    assert_eq!(write(reset.expect("allowed").device).await, [0, 0]);
}

async fn a_sealing_key_is_proved_once(registry: &impl Registry) {
    assert_eq!(registry.sealing_proof().await, Ok(None));
    let keep = |byte| registry.commit(Write::SealingProof(sealed(byte)), Vec::new());
    assert_eq!(keep(1).await, Ok(Commit::Done));
    assert_eq!(keep(2).await, Ok(Commit::Lost));
    assert_eq!(registry.sealing_proof().await, Ok(Some(sealed(1))));
}

async fn all_is_sealed_anew_or_nothing(registry: &impl Registry) {
    let name = OperatorName::parse("ops").expect("valid");
    let ids = ["one", "two"].map(|key| OccasionId::of(&name, NOW, None, key));
    let occasion = |response| Occasion {
        at: NOW,
        request: [7; 32],
        response,
    };
    rotated(registry).await;
    for write in [
        Write::SealingProof(sealed(1)),
        Write::LicenceKey(sealed(2)),
        Write::Begin(ids[0], occasion(None)),
        Write::End(ids[0], occasion(Some(sealed(3)))),
        Write::Begin(ids[1], occasion(None)),
    ] {
        assert_eq!(registry.commit(write, Vec::new()).await, Ok(Commit::Done));
    }
    let made = read(registry).await;
    let mut next = made.clone();
    next.secrets[0].sealed = sealed(11);
    next.pepper = Some(sealed(12));
    let reseal = Reseal {
        before: sealed(1),
        proof: sealed(13),
        products: vec![next.clone()],
        licence_key: Some(sealed(14)),
        occasions: vec![(ids[0], occasion(Some(sealed(15))))],
    };
    // Whatever is missing, other, or too much.
    let another = Product {
        id: product(1),
        ..made.clone()
    };
    let old = Product {
        version: made.version - 1,
        ..next.clone()
    };
    let later = Occasion {
        at: Timestamp::from_millis(5),
        ..occasion(Some(sealed(15)))
    };
    let with = |change: fn(&mut Reseal)| {
        let mut other = reseal.clone();
        change(&mut other);
        other
    };
    let wrong = [
        with(|it| it.before = sealed(9)),
        with(|it| it.licence_key = None),
        with(|it| it.products.clear()),
        with(|it| it.occasions.clear()),
        Reseal {
            products: vec![old],
            ..reseal.clone()
        },
        Reseal {
            products: vec![next.clone(), another],
            ..reseal.clone()
        },
        Reseal {
            occasions: vec![(ids[0], later)],
            ..reseal.clone()
        },
        Reseal {
            occasions: vec![(ids[1], occasion(Some(sealed(15))))],
            ..reseal.clone()
        },
    ];
    for wrong in wrong {
        let lost = registry.commit(Write::Reseal(Box::new(wrong)), vec![an_event()]);
        assert_eq!(lost.await, Ok(Commit::Lost));
    }
    assert_eq!(read(registry).await, made);
    assert_eq!(registry.sealing_proof().await, Ok(Some(sealed(1))));

    let again = Write::Reseal(Box::new(reseal.clone()));
    let done = registry.commit(Write::Reseal(Box::new(reseal)), Vec::new());
    assert_eq!(done.await, Ok(Commit::Done));
    next.version += 1;
    assert_eq!(read(registry).await, next);
    assert_eq!(registry.licence_key().await, Ok(Some(sealed(14))));
    assert_eq!(registry.sealing_proof().await, Ok(Some(sealed(13))));
    let answered = registry.occasion(&ids[0]).await;
    assert_eq!(answered, Ok(Some(occasion(Some(sealed(15))))));
    let begun = registry.occasion(&ids[1]).await;
    assert_eq!(begun, Ok(Some(occasion(None))));
    assert_eq!(registry.commit(again, Vec::new()).await, Ok(Commit::Lost));
}
