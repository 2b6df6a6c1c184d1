//! What a registry promises about sessions of devices, and what waits in them.

use std::future::Future;

use super::{NOW, load, register};
use crate::device::{Key, Transition};
use crate::entropy::counting::Counting;
use crate::identity::FeedId;
use crate::mailbox::{
    Capacity, Change, Mail, Mailbox, Moment, Outcome, Resume, Retained, Subscription,
};
use crate::qos::Qos;
use crate::registry::{Commit, Registry, Write};
use crate::secret::ApiKey;
use crate::topic::{Limits, TopicFilter, TopicName};

/// Runs every check, each against a fresh store.
pub(super) async fn check<R: Registry, F: Future<Output = R>>(open: &impl Fn() -> F) {
    mail_waits_in_order(&open().await).await;
    a_configuration_outlives_sessions(&open().await).await;
    mailboxes_are_paged(&open().await).await;
    whoever_is_out_has_no_mailbox(&open().await).await;
    writes_at_once_lose_no_mail(&open().await).await;
}

const MOMENT: Moment = Moment {
    at: NOW,
    running_since: NOW,
};
const CAPACITY: Capacity = Capacity {
    messages: 100,
    bytes: 100_000,
};

fn topic(text: &str) -> TopicName {
    TopicName::parse(text, Limits::DEVICE).expect("valid")
}

fn mail(on: &str, text: &str) -> Mail {
    Mail {
        topic: topic(on),
        expires_at: None,
        retained: false,
        content: text.into(),
    }
}

async fn change(registry: &impl Registry, feed: FeedId, change: Change) -> Outcome {
    let outcome = registry.change_mailbox(feed, change).await;
    outcome.expect("written")
}

/// Opens a session that has subscribed to everything.
pub(super) async fn open_mailbox(
    registry: &impl Registry,
    feed: FeedId,
    connection: u64,
) -> Mailbox {
    let open = Change::Open {
        connection,
        client_id: "c".to_owned(),
        resume: Resume::Yes,
        expiry: 60,
        moment: MOMENT,
    };
    let (Outcome::New(mailbox) | Outcome::Resumed(mailbox)) = change(registry, feed, open).await
    else {
        panic!("it is opened");
    };
    let subscribe = Change::Subscribe {
        connection,
        subscription: Subscription {
            filter: TopicFilter::parse("#", Limits::DEVICE).expect("valid"),
            qos: Qos::AtLeastOnce,
            retain_as_published: false,
            identifier: None,
        },
        retained: Retained::Wanted,
        capacity: CAPACITY,
    };
    assert_eq!(change(registry, feed, subscribe).await, Outcome::Done);
    mailbox
}

pub(super) async fn post(registry: &impl Registry, feed: FeedId, text: &str) -> Outcome {
    let post = Change::Post {
        mail: mail("x", text),
        capacity: CAPACITY,
        moment: MOMENT,
    };
    change(registry, feed, post).await
}

async fn mail_waits_in_order(registry: &impl Registry) {
    let feeds = register(registry, 0, &["a", "b"]).await;
    assert_eq!(post(registry, feeds[0], "x").await, Outcome::NobodyThere);
    assert_eq!(registry.mailbox(feeds[0]).await, Ok(None));
    for (connection, feed) in feeds.iter().enumerate() {
        open_mailbox(registry, *feed, connection as u64).await;
    }
    for text in ["one", "two", "three"] {
        let posted = post(registry, feeds[0], text).await;
        assert_eq!(posted, Outcome::Posted { dropped: 0 });
    }
    let page = registry.mail(feeds[0], 0, 2).await.expect("readable");
    let expected = [(1, mail("x", "one")), (2, mail("x", "two"))];
    assert_eq!(page, expected);
    assert_eq!(
        registry.mail(feeds[0], 2, 9).await,
        Ok(vec![(3, mail("x", "three"))])
    );
    assert_eq!(registry.mail(feeds[1], 0, 9).await, Ok(Vec::new()));
    let take = Change::Take {
        connection: 0,
        numbers: vec![1, 3],
    };
    assert_eq!(change(registry, feeds[0], take).await, Outcome::Done);
    assert_eq!(
        registry.mail(feeds[0], 0, 9).await,
        Ok(vec![(2, mail("x", "two"))])
    );
}

async fn a_configuration_outlives_sessions(registry: &impl Registry) {
    let feed = register(registry, 0, &["a"]).await[0];
    let configure = |mail| Change::Configure {
        mail,
        capacity: CAPACITY,
        moment: MOMENT,
    };
    let v1 = mail("config", "v1");
    let told = change(registry, feed, configure(Some(v1.clone()))).await;
    assert_eq!(told, Outcome::NobodyThere);
    assert_eq!(registry.configuration(feed).await, Ok(Some(v1.clone())));
    open_mailbox(registry, feed, 1).await;
    let retained = Mail {
        retained: true,
        ..v1
    };
    assert_eq!(registry.mail(feed, 0, 9).await, Ok(vec![(1, retained)]));
    assert_eq!(change(registry, feed, configure(None)).await, Outcome::Done);
    assert_eq!(registry.configuration(feed).await, Ok(None));
}

async fn mailboxes_are_paged(registry: &impl Registry) {
    let feeds = register(registry, 0, &["a", "b", "c"]).await;
    for feed in [feeds[2], feeds[0]] {
        open_mailbox(registry, feed, 1).await;
        post(registry, feed, "x").await;
    }
    let page = |after, limit| async move {
        let page = registry.mailboxes(after, limit).await.expect("readable");
        page.iter().map(|(feed, _)| *feed).collect::<Vec<_>>()
    };
    assert_eq!(page(None, 9).await, [feeds[0], feeds[2]]);
    assert_eq!(page(None, 1).await, [feeds[0]]);
    assert_eq!(page(Some(feeds[0]), 9).await, [feeds[2]]);
    assert!(page(Some(feeds[2]), 9).await.is_empty());
}

async fn whoever_is_out_has_no_mailbox(registry: &impl Registry) {
    let entropy = Counting::default();
    for transition in [Transition::Suspend, Transition::Revoke, Transition::Reset] {
        let feed = register(registry, 0, &[&format!("{transition:?}")]).await[0];
        let key = ApiKey::generate(&entropy).digest();
        let issued = load(registry, feed).await.issue(Key::Api(key), 1, NOW);
        let write = Write::Device(issued.device);
        assert_eq!(
            registry.commit(write, issued.events).await,
            Ok(Commit::Done)
        );
        open_mailbox(registry, feed, 1).await;
        post(registry, feed, "x").await;
        let changed = load(registry, feed).await.apply(transition, NOW);
        let changed = changed.expect("allowed");
        let write = Write::Device(changed.device);
        assert_eq!(
            registry.commit(write, changed.events).await,
            Ok(Commit::Done)
        );
        let there = registry.mailbox(feed).await.expect("readable").is_some();
        let mail = registry.mail(feed, 0, 9).await.expect("readable");
        assert_eq!(there, transition == Transition::Suspend, "{transition:?}");
        assert_eq!(mail.len(), usize::from(there), "{transition:?}");
    }
}

async fn writes_at_once_lose_no_mail(registry: &impl Registry) {
    let feed = register(registry, 0, &["a"]).await[0];
    open_mailbox(registry, feed, 1).await;
    let post = |text| post(registry, feed, text);
    tokio::join!(post("a"), post("b"), post("c"), post("d"));
    let mail = registry.mail(feed, 0, 9).await.expect("readable");
    let (numbers, mut texts): (Vec<u64>, Vec<Vec<u8>>) = mail
        .into_iter()
        .map(|(number, mail)| (number, mail.content))
        .unzip();
    texts.sort();
    assert_eq!(numbers, [1, 2, 3, 4]);
    assert_eq!(texts, [b"a", b"b", b"c", b"d"]);
}
