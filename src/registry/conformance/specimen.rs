//! A small registry with a row of every kind, for whoever reads whole tables.

use super::mailboxes::{open_mailbox, post};
use super::*;
use crate::feed::{CurrentValue, Value};
use crate::mailbox::{Capacity, Change, Mail, Moment};
use crate::once::{Occasion, OccasionId};
use crate::product::{Indexed, ProductSecretSlot};
use crate::registry::Commit;
use crate::sealing::SealingKey;
use crate::secret::OperatorToken;
use crate::token::{Token, TokenId};
use crate::topic::{Limits, TopicName};

/// What the specimen's secrets are sealed with.
pub(crate) fn sealing() -> SealingKey {
    SealingKey::parse(&"5a".repeat(32)).expect("64 hex characters")
}

/// Fills an empty registry, and says which feeds its devices have.
pub(crate) async fn fill(registry: &impl Registry) -> Vec<FeedId> {
    let entropy = Counting::default();
    let sealed = sealing();
    for (n, name) in [(0, "lamp"), (1, "pump")] {
        let id = product(n);
        let slot = |generation, expires_at| ProductSecretSlot {
            generation,
            sealed: sealed.seal(&secret(), &id, generation, &entropy),
            expires_at,
            since: NOW,
            indexed: Indexed::Whole,
        };
        let made = Product {
            name: name.to_owned(),
            secrets: vec![slot(2, None), slot(1, Some(NOW))],
            id: id.clone(),
            ..a_product()
        };
        put(registry, Write::Product(Box::new(made))).await;
    }
    let feeds = [
        register(registry, 0, &["b", "a", "B", "a:1", "c", "d"]).await,
        register(registry, 1, &["a", "z"]).await,
    ]
    .concat();
    for n in [0, 1] {
        // The index has the codes of both secrets: they are the same.
        let found = registry.product(&product(n)).await.expect("readable");
        let mut found = found.expect("just made");
        for slot in &mut found.secrets {
            slot.indexed = Indexed::Whole;
        }
        put(registry, Write::Product(Box::new(found))).await;
    }
    for (n, feed) in feeds.iter().enumerate().take(5) {
        let key = |registry| async move { load(registry, *feed).await };
        let issued = Key::Api(ApiKey::generate(&entropy).digest());
        let issued = key(registry).await.issue(issued, 1 + n as u32 % 2, NOW);
        change(registry, issued).await;
        if n < 3 {
            let confirmed = key(registry).await.confirm(NOW).expect("pending");
            change(registry, confirmed).await;
            let again = Key::Api(ApiKey::generate(&entropy).digest());
            change(registry, key(registry).await.issue(again, 2, NOW)).await;
        }
    }
    for (feed, transition) in [
        (feeds[2], Transition::Suspend),
        (feeds[4], Transition::Revoke),
        (feeds[7], Transition::Quarantine),
    ] {
        let changed = load(registry, feed).await.apply(transition, NOW);
        change(registry, changed.expect("allowed")).await;
    }
    mail_and_values(registry, &feeds).await;
    meta(registry, &sealed, &entropy).await;
    feeds
}

async fn put(registry: &impl Registry, write: Write) {
    let put = registry.commit(write, vec![an_event()]).await;
    assert_eq!(put, Ok(Commit::Done));
}

async fn change(registry: &impl Registry, changed: Changed) {
    let write = Write::Device(changed.device);
    let put = registry.commit(write, changed.events).await;
    assert_eq!(put, Ok(Commit::Done));
}

async fn mail_and_values(registry: &impl Registry, feeds: &[FeedId]) {
    for feed in &feeds[..2] {
        open_mailbox(registry, *feed, 1).await;
        post(registry, *feed, "one").await;
        post(registry, *feed, "two").await;
    }
    let configure = Change::Configure {
        mail: Some(Mail {
            topic: TopicName::parse("x", Limits::DEVICE).expect("valid"),
            expires_at: None,
            retained: true,
            content: "configured".into(),
        }),
        capacity: Capacity {
            messages: 9,
            bytes: 900,
        },
        moment: Moment {
            at: NOW,
            running_since: NOW,
        },
    };
    let configured = registry.change_mailbox(feeds[1], configure).await;
    configured.expect("written");
    let datastream = DatastreamId::parse("x").expect("valid");
    let value = CurrentValue {
        datastream: datastream.clone(),
        value: Value::parse("7").expect("valid"),
        at: NOW,
    };
    let values = Write::Values {
        feed: feeds[0],
        values: vec![value],
        names: vec![datastream],
        most: 3,
    };
    put(registry, values).await;
    let counted = Write::Counted {
        feed: feeds[0],
        counter: 7,
    };
    put(registry, counted).await;
}

async fn meta(registry: &impl Registry, sealed: &SealingKey, entropy: &Counting) {
    let name = OperatorName::parse("ops").expect("valid");
    let operator = Operator::for_tests(name.clone(), Role::Admin);
    put(registry, Write::Operator(operator)).await;
    let token = Token {
        id: TokenId::generate(entropy),
        operator: name.clone(),
        label: "console".to_owned(),
        digest: OperatorToken::generate(entropy).digest(),
        created_at: NOW,
        expires_at: None,
    };
    put(registry, Write::Token(token)).await;
    let ban = Ban {
        network: Network::parse("10.0.0.0/8").expect("valid"),
        reason: None,
        at: NOW,
        until: None,
    };
    put(registry, Write::Ban(ban)).await;
    let licence = sealed.seal_bytes(b"a key", b"a licence", entropy);
    put(registry, Write::LicenceKey(licence)).await;
    let occasion = Occasion {
        at: NOW,
        request: [7; 32],
        response: None,
    };
    let id = OccasionId::of(&name, NOW, None, "a key");
    put(registry, Write::Begin(id, occasion)).await;
}
