//! Messages that wait in a registry of the first format, read as of its time.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use firstwake::mailbox::{Change, Mailbox, Moment, Outcome, Resume};
use firstwake::registry::{Embedded, Registry};
use firstwake::{FeedId, Timestamp};

use super::Message;

/// What the makers of the fixture have written down of it.
fn told(fixture: &Path) -> serde_json::Value {
    let told = std::fs::read(fixture.join("told.json")).expect("readable");
    serde_json::from_slice(&told).expect("JSON")
}

/// Takes up the device's session at a time, or begins a new one.
async fn open(registry: &Embedded, feed: FeedId, before: &Mailbox, at: Timestamp) -> Outcome {
    let moment = Moment {
        at,
        running_since: at,
    };
    let change = Change::Open {
        connection: before.connection + 1,
        client_id: before.client_id.clone(),
        resume: Resume::Yes,
        expiry: before.expiry,
        moment,
    };
    let outcome = registry.change_mailbox(feed, change).await;
    outcome.expect("the registry is there")
}

#[tokio::test]
async fn a_session_of_the_first_format_is_there_for_its_day() {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/format-1");
    let told = told(&fixture);
    let feed = told["feed"].as_u64().expect("a feed").to_string();
    let feed: FeedId = feed.parse().expect("a feed");
    for (hours, is_there) in [(1, true), (23, true), (25, false), (4 * 365 * 24, false)] {
        let directory = tempfile::tempdir().expect("a directory");
        let done = Command::new("tar")
            .args(["--extract", "--no-same-owner", "--file"])
            .arg(fixture.join("data.tar"))
            .arg("-C")
            .arg(directory.path())
            .status();
        assert!(done.expect("tar").success());
        let registry = Embedded::open(&directory.path().join("data/registry")).expect("opens");
        let before = registry.mailbox(feed).await.expect("readable");
        let before = before.expect("a session");
        let events = registry.events(0, 1).await.expect("readable");
        let at = events[0].body.at.plus(Duration::from_secs(hours * 3600));
        let outcome = open(&registry, feed, &before, at).await;
        let mail = registry.mail(feed, 0, 10).await.expect("readable");
        if !is_there {
            assert!(matches!(outcome, Outcome::New(_)), "{hours}: {outcome:?}");
            assert_eq!(mail, [], "{hours}");
            continue;
        }
        assert!(
            matches!(outcome, Outcome::Resumed(_)),
            "{hours}: {outcome:?}"
        );
        let [(_, mail)] = &mail[..] else {
            panic!("{hours}: {mail:?}");
        };
        let message = Message::of_mail(mail).expect("a message");
        let topic = format!("feeds/{feed}/commands/reboot");
        assert_eq!(message.topic.as_str(), topic);
        assert_eq!(message.payload, b"now");
    }
}
