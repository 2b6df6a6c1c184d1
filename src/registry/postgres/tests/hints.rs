//! What servers on one database say to each other, and what a role that may
//! only connect to it can make of that.

use std::collections::VecDeque;
use std::pin::pin;

use base64::Engine;
use base64::prelude::BASE64_STANDARD_NO_PAD;
use futures_util::{StreamExt, future};
use tokio::sync::broadcast::Receiver;
use tokio_postgres::{AsyncMessage, Client, Config, Error, NoTls};

use super::super::dial::Messages;
use super::super::{HINTS_CHANNEL, Line, Postgres, Registry};
use super::database;
use super::server::{Database, KEY, credentials};
use super::together::{FOREVER, hears};
use crate::clones::Peer;
use crate::identity::FeedId;
use crate::mailbox::{Mail, Resume};
use crate::registry::conformance::{an_event, register};
use crate::registry::{Commit, Hint, Write};
use crate::topic::{Limits, TopicName};

/// Of the texts of notifications, by how much is said.
const LENGTHS: [usize; 4] = [395, 1419, 3467, 7904];

fn mail(number: u32) -> Hint {
    Hint::Mail {
        feed: FeedId::new(number).expect("valid"),
    }
}

/// A command that waits nowhere.
fn command() -> Hint {
    Hint::Message {
        feed: FeedId::FIRST,
        mail: Mail {
            topic: TopicName::parse("feeds/1/commands/wipe", Limits::DEVICE).expect("valid"),
            expires_at: None,
            retained: false,
            content: b"factory-reset --wipe".to_vec(),
        },
    }
}

fn session() -> Hint {
    Hint::Session {
        feed: FeedId::new(7).expect("valid"),
        began: 7,
        resume: Resume::Yes,
        peer: Peer {
            source: [127, 0, 0, 1].into(),
            client_id: "c".to_owned(),
        },
    }
}

async fn next(hints: &mut Receiver<Hint>) -> Hint {
    let heard = tokio::time::timeout(FOREVER, hints.recv()).await;
    heard.expect("in time").expect("open")
}

/// The next one that says more than that something may have been missed.
async fn next_said(hints: &mut Receiver<Hint>) -> Hint {
    loop {
        match next(hints).await {
            Hint::Missed => {}
            hint => return hint,
        }
    }
}

/// Waits until servers take each other's letters.
async fn acquaint(servers: &[&Postgres]) {
    let epoch = |server: &&Postgres| server.shared.exchange.epoch();
    let known = async {
        while epoch(&servers[0]).is_none()
            || servers.iter().any(|it| epoch(it) != epoch(&servers[0]))
        {
            tokio::task::yield_now().await;
        }
    };
    let in_time = tokio::time::timeout(FOREVER, known).await;
    in_time.expect("acquainted");
}

async fn two_servers(database: &Database) -> ([Postgres; 2], [Receiver<Hint>; 2]) {
    let servers = [database.open().await, database.open().await];
    let heard = [&servers[0], &servers[1]].map(|it| it.hints().expect("some"));
    acquaint(&[&servers[0], &servers[1]]).await;
    (servers, heard)
}

#[tokio::test]
async fn hints_reach_the_others_only() {
    let database = database!();
    let (servers, [mut one, mut two]) = two_servers(&database).await;
    servers[0].tell(mail(1));
    servers[0].tell(session());
    servers[0].tell(mail(1));
    assert_eq!(next_said(&mut two).await, mail(1));
    assert_eq!(next_said(&mut two).await, session());
    // Behind what it told itself, had that come back.
    servers[1].tell(mail(2));
    assert_eq!(next_said(&mut one).await, mail(2));
}

#[tokio::test]
async fn more_hints_than_fit_are_sent_in_pieces() {
    let database = database!();
    let (servers, [_, mut heard]) = two_servers(&database).await;
    for number in 1..=3000 {
        servers[0].tell(mail(number));
    }
    for number in 1..=3000 {
        assert_eq!(next_said(&mut heard).await, mail(number));
    }
}

#[tokio::test]
async fn whoever_was_cut_off_may_have_missed_something() {
    let database = database!();
    let (servers, [_, mut heard]) = two_servers(&database).await;
    let admin = database.connect().await;
    let cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
               WHERE datname = current_database() AND pid <> pg_backend_pid()";
    admin.query_one(cut, &[]).await.expect("cut");
    while next(&mut heard).await != Hint::Missed {}
    acquaint(&[&servers[0], &servers[1]]).await;
    // Its first attempt may still go over a connection that is gone.
    let telling = async {
        loop {
            servers[0].tell(mail(1));
            tokio::task::yield_now().await;
        }
    };
    let hearing = async { while next(&mut heard).await != mail(1) {} };
    future::select(pin!(telling), pin!(hearing)).await;
}

/// A connection as somebody has who listens.
struct Listener {
    client: Client,
    messages: Messages,
    said: VecDeque<String>,
}

impl Listener {
    async fn new(config: &Config) -> Self {
        let (client, connection) = config.connect(NoTls).await.expect("may connect");
        let Line { client, messages } = Line::new(client, connection);
        let mut listener = Self {
            client,
            messages,
            said: VecDeque::new(),
        };
        listener.ask(&format!("LISTEN {HINTS_CHANNEL}")).await;
        listener
    }

    async fn ask(&mut self, sql: &str) {
        self.try_to(sql).await.expect("may do so");
    }

    /// Does something; what is said meanwhile is kept.
    async fn try_to(&mut self, sql: &str) -> Result<(), Error> {
        let Self {
            client,
            messages,
            said,
        } = self;
        let asked = pin!(client.batch_execute(sql));
        let moved = async {
            while let Some(Ok(message)) = messages.next().await {
                if let AsyncMessage::Notification(notification) = message {
                    said.push_back(notification.payload().to_owned());
                }
            }
        };
        match future::select(asked, pin!(moved)).await {
            future::Either::Left((done, _)) => done,
            future::Either::Right(_) => panic!("the connection has ended"),
        }
    }

    async fn notification(&mut self) -> String {
        loop {
            if let Some(said) = self.said.pop_front() {
                return said;
            }
            let said = tokio::time::timeout(FOREVER, self.messages.next()).await;
            let said = said.expect("in time").expect("open").expect("open");
            if let AsyncMessage::Notification(said) = said {
                return said.payload().to_owned();
            }
        }
    }
}

fn notify(payload: &str) -> String {
    format!("NOTIFY {HINTS_CHANNEL}, '{payload}'")
}

/// Waits until a server has dropped so many.
async fn drops(server: &Postgres, count: u64) {
    let dropped = async {
        while server.shared.exchange.dropped() < count {
            tokio::task::yield_now().await;
        }
    };
    let in_time = tokio::time::timeout(FOREVER, dropped).await;
    in_time.expect("dropped");
}

#[tokio::test]
async fn a_commit_wakes_the_others() {
    let database = database!();
    let (servers, heard) = two_servers(&database).await;
    let mut listener = Listener::new(&database.stranger().await).await;
    let note = servers[0].commit(Write::Note, vec![an_event(); 3]).await;
    assert_eq!(note, Ok(Commit::Done));
    assert_eq!(listener.notification().await.len(), LENGTHS[0]);
    hears(&servers[1], 3).await;
    drop(heard);
}

#[tokio::test]
async fn a_stranger_who_listens_learns_nothing_and_repeats_nothing() {
    let database = database!();
    let (servers, [mut one, mut two]) = two_servers(&database).await;
    let mut stranger = Listener::new(&database.stranger().await).await;
    servers[0].tell(command());
    assert_eq!(next_said(&mut two).await, command());
    let mut recorded = vec![stranger.notification().await];
    servers[0].tell(mail(3));
    assert_eq!(next_said(&mut two).await, mail(3));
    recorded.push(stranger.notification().await);
    let told = b"factory-reset";
    for text in &recorded {
        let bytes = BASE64_STANDARD_NO_PAD.decode(text).expect("base64");
        assert!(!bytes.windows(told.len()).any(|part| part == told));
        assert_eq!(text.len(), LENGTHS[0]);
    }
    let before = servers[1].shared.exchange.dropped();
    for text in &recorded {
        stranger.ask(&notify(text)).await;
        // Cut short, and with something behind it.
        stranger.ask(&notify(&text[..text.len() - 1])).await;
        stranger.ask(&notify(&text[1..])).await;
        stranger.ask(&notify(&format!("{}A", &text[1..]))).await;
        // On other channels, which nobody listens to.
        for channel in ["firstwake_newest", "firstwake", "firstwake_hints2"] {
            stranger.ask(&format!("NOTIFY {channel}, '{text}'")).await;
        }
    }
    drops(&servers[1], before + 8).await;
    // To a server that begins after it was recorded.
    let third = database.open().await;
    let mut heard = third.hints().expect("some");
    acquaint(&[&servers[0], &servers[1], &third]).await;
    for text in &recorded {
        stranger.ask(&notify(text)).await;
    }
    servers[0].tell(mail(9));
    assert_eq!(next_said(&mut heard).await, mail(9), "and nothing before");
    assert_eq!(next_said(&mut two).await, mail(9));
    servers[1].tell(mail(4));
    assert_eq!(next_said(&mut one).await, mail(4), "and by the others");
}

#[tokio::test]
async fn forged_notifications_are_counted_and_dropped() {
    let database = database!();
    let (servers, [_, mut two]) = two_servers(&database).await;
    let mut stranger = Listener::new(&database.stranger().await).await;
    let note = servers[0].commit(Write::Note, vec![an_event()]).await;
    assert_eq!(note, Ok(Commit::Done));
    hears(&servers[1], 1).await;
    let before = servers[1].shared.exchange.dropped();
    let forged = [
        "-",
        "7",
        "999999999",
        "x AAAA",
        "ü",
        &"A".repeat(LENGTHS[0]),
        &"A".repeat(7999),
    ];
    for payload in forged {
        stranger.ask(&notify(payload)).await;
    }
    stranger.ask("NOTIFY firstwake_newest, '999999999'").await;
    // As it was before: a name, and hints in the clear.
    stranger
        .ask(&notify("00000000-0000-0000-0000-000000000000 AgE"))
        .await;
    let flood = format!(
        "DO $$ BEGIN FOR n IN 1..20000 LOOP
        PERFORM pg_notify('{HINTS_CHANNEL}', 'forged ' || n || repeat('A', 380)); END LOOP; END $$"
    );
    stranger.ask(&flood).await;
    drops(&servers[1], before + 20_008).await;
    assert_eq!(*servers[1].newest().borrow(), 1, "a number says nothing");
    while let Ok(hint) = two.try_recv() {
        assert_eq!(hint, Hint::Missed, "nothing was heard");
    }
    // And each still hears the other.
    servers[0].tell(mail(5));
    assert_eq!(next_said(&mut two).await, mail(5));
    let note = servers[1].commit(Write::Note, vec![an_event()]).await;
    assert_eq!(note, Ok(Commit::Done));
    hears(&servers[0], 2).await;
}

#[tokio::test]
async fn locks_of_a_stranger_hold_up_nobody() {
    let database = database!();
    let server = database.open().await;
    let feeds = register(&server, 0, &["a"]).await;
    let mut stranger = Listener::new(&database.stranger().await).await;
    // Those that were used before, and whatever else.
    stranger
        .ask("SELECT count(pg_advisory_lock(it)) FROM generate_series(0::bigint, 99) AS all_of(it)")
        .await;
    for text in [*b"fw open\0", *b"fw migr\0"] {
        let key = i64::from_be_bytes(text);
        stranger
            .ask(&format!("SELECT pg_advisory_lock({key})"))
            .await;
    }
    for sql in [
        "DO $$ BEGIN LOCK TABLE firstwake.presence IN ACCESS SHARE MODE; END $$",
        "DO $$ BEGIN LOCK TABLE firstwake.migrations IN ACCESS SHARE MODE; END $$",
        "DO $$ BEGIN LOCK TABLE firstwake.meta IN ACCESS SHARE MODE; END $$",
        "SELECT * FROM firstwake.meta FOR UPDATE",
        "SELECT epoch FROM firstwake.hint_epoch",
        "UPDATE firstwake.hint_epoch SET epoch = '7'",
        "CREATE SCHEMA another",
    ] {
        let refused = stranger.try_to(sql).await.expect_err(sql);
        let code = refused.code().map(|code| code.code().to_owned());
        assert_eq!(code.as_deref(), Some("42501"), "{sql}: {refused}");
    }
    let note = server.commit(Write::Note, vec![an_event()]).await;
    assert_eq!(note, Ok(Commit::Done));
    let another = database.open().await;
    assert_eq!(register(&another, 0, &["a"]).await, feeds);
    drop((server, another));
    while database.try_open_alone().await.is_err() {}
}

#[tokio::test]
async fn a_server_with_another_key_says_nothing() {
    let database = database!();
    let (servers, [_, mut two]) = two_servers(&database).await;
    let other = database.try_open().await.expect("opens");
    other.seal_hints(credentials(KEY ^ 1));
    drop(other.hints());
    let before = servers[1].shared.exchange.dropped();
    for count in 1..=3 {
        other.tell(command());
        drops(&servers[1], before + count).await;
    }
    servers[0].tell(mail(6));
    assert_eq!(next_said(&mut two).await, mail(6));
}
