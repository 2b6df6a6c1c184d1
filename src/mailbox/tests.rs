//! What a session keeps, for whom, and for how long.

use proptest::prelude::*;

use super::*;
use crate::topic::Limits;

const CAPACITY: Capacity = Capacity {
    messages: 3,
    bytes: 1000,
};

fn at(seconds: u64) -> Moment {
    Moment {
        at: Timestamp::from_millis(seconds * 1000),
        running_since: Timestamp::from_millis(0),
    }
}

fn mail(text: &str) -> Mail {
    Mail {
        topic: TopicName::parse("feeds/5/commands/x", Limits::DEVICE).expect("valid"),
        expires_at: None,
        retained: false,
        content: text.as_bytes().to_vec(),
    }
}

fn configuration(text: &str) -> Mail {
    Mail {
        topic: TopicName::parse("feeds/5/config", Limits::DEVICE).expect("valid"),
        ..mail(text)
    }
}

fn to(filter: &str, qos: Qos) -> Subscription {
    Subscription {
        filter: TopicFilter::parse(filter, Limits::DEVICE).expect("valid"),
        qos,
        retain_as_published: false,
        identifier: None,
    }
}

/// A registry of one device.
#[derive(Default)]
struct Bench {
    mailbox: Option<Mailbox>,
    mail: Vec<(u64, Mail)>,
    configuration: Option<Mail>,
    connections: u64,
}

impl Bench {
    /// A session that waits for commands.
    fn subscribed(expiry: u32) -> (Self, u64) {
        let mut bench = Self::default();
        bench.open("c", Resume::No, expiry, at(0));
        let connection = bench.connections;
        bench.subscribe(to("feeds/5/commands/+", Qos::AtLeastOnce));
        (bench, connection)
    }

    fn change(&mut self, change: Change) -> Outcome {
        let configuration = self.configuration.clone();
        let configuration = configuration.filter(|_| change.wants_configuration());
        let applied = apply(self.mailbox.take(), configuration, change);
        self.mailbox = applied.mailbox;
        self.mail.extend(applied.added);
        self.mail.retain(|(n, _)| !applied.removed.contains(n));
        if let Some(configuration) = applied.configuration {
            self.configuration = configuration;
        }
        let waiting = self.mailbox.iter().flat_map(|mailbox| mailbox.waiting(0));
        assert!(waiting.eq(self.mail.iter().map(|(n, _)| *n)), "in step");
        applied.outcome
    }

    fn open(&mut self, client_id: &str, resume: Resume, expiry: u32, moment: Moment) -> Outcome {
        self.connections += 1;
        self.change(Change::Open {
            connection: self.connections,
            client_id: client_id.to_owned(),
            resume,
            expiry,
            moment,
        })
    }

    fn subscribe(&mut self, subscription: Subscription) -> Outcome {
        self.change(Change::Subscribe {
            connection: self.connections,
            subscription,
            retained: Retained::Wanted,
            capacity: CAPACITY,
        })
    }

    fn post(&mut self, mail: Mail, moment: Moment) -> Outcome {
        self.change(Change::Post {
            mail,
            capacity: CAPACITY,
            moment,
        })
    }

    fn close(&mut self, connection: u64, sent: u64, seconds: u64) -> Outcome {
        self.change(Change::Close {
            connection,
            expiry: None,
            sent,
            received: vec![9],
            at: at(seconds).at,
        })
    }

    fn texts(&self) -> Vec<String> {
        let text = |(_, mail): &(u64, Mail)| String::from_utf8_lossy(&mail.content).into_owned();
        self.mail.iter().map(text).collect()
    }
}

#[test]
fn mail_waits_for_who_subscribed_to_it() {
    let mut bench = Bench::default();
    assert_eq!(bench.post(mail("early"), at(0)), Outcome::NobodyThere);
    let opened = bench.open("c", Resume::Yes, 60, at(0));
    assert!(matches!(opened, Outcome::New(_)), "{opened:?}");
    assert_eq!(bench.post(mail("none"), at(0)), Outcome::NobodyThere);
    bench.subscribe(to("feeds/5/commands/+", Qos::AtMostOnce));
    assert_eq!(bench.post(mail("fleeting"), at(0)), Outcome::Fleeting);
    bench.subscribe(to("feeds/5/commands/+", Qos::AtLeastOnce));
    assert_eq!(
        bench.post(mail("kept"), at(0)),
        Outcome::Posted { dropped: 0 }
    );
    assert_eq!(bench.texts(), ["kept"]);
    let filters = vec![to("feeds/5/commands/+", Qos::AtMostOnce).filter];
    bench.change(Change::Unsubscribe {
        connection: 1,
        filters,
    });
    assert_eq!(bench.post(mail("late"), at(0)), Outcome::NobodyThere);
    assert_eq!(bench.texts(), ["kept"], "what waits already is delivered");
}

#[test]
fn a_session_goes_on_under_its_name_within_its_time() {
    let resumed = |expiry, client_id, resume, seconds| {
        let (mut bench, connection) = Bench::subscribed(expiry);
        bench.close(connection, 0, 100);
        assert_eq!(bench.mailbox.is_some(), expiry > 0);
        let opened = bench.open(client_id, resume, expiry, at(seconds));
        matches!(opened, Outcome::Resumed(mailbox) if mailbox.received == [9])
    };
    assert!(resumed(60, "c", Resume::Yes, 159));
    assert!(!resumed(60, "c", Resume::Yes, 160), "its time is over");
    assert!(!resumed(60, "d", Resume::Yes, 101), "another client");
    assert!(!resumed(60, "c", Resume::No, 101), "a clean start");
    assert!(
        !resumed(0, "c", Resume::Yes, 100),
        "ended with its connection"
    );
    assert!(
        resumed(u32::MAX, "c", Resume::Yes, 1_000_000_000),
        "for ever"
    );
}

#[test]
fn what_was_sent_is_sent_again_as_such() {
    let (mut bench, connection) = Bench::subscribed(60);
    for text in ["one", "two", "three"] {
        bench.post(mail(text), at(0));
    }
    bench.close(connection, 2, 1);
    let Outcome::Resumed(mailbox) = bench.open("c", Resume::Yes, 60, at(2)) else {
        panic!("it goes on");
    };
    assert_eq!(mailbox.sent, 2);
    assert!(mailbox.waiting(0).eq([1, 2, 3]));

    // Without a word, anything may have been sent.
    let Outcome::Resumed(mailbox) = bench.open("c", Resume::Yes, 60, at(3)) else {
        panic!("it goes on");
    };
    assert_eq!(mailbox.sent, 3);
}

#[test]
fn a_connection_that_was_replaced_changes_nothing() {
    let (mut bench, old) = Bench::subscribed(60);
    bench.open("c", Resume::Yes, 60, at(1));
    bench.post(mail("kept"), at(1));
    let before = bench.mailbox.clone();
    let numbers = vec![1];
    let take = Change::Take {
        connection: old,
        numbers,
    };
    assert_eq!(bench.change(take), Outcome::Stale);
    assert_eq!(bench.close(old, 1, 2), Outcome::Stale);
    let filters = vec![to("feeds/5/commands/+", Qos::AtMostOnce).filter];
    let unsubscribe = Change::Unsubscribe {
        connection: old,
        filters,
    };
    assert_eq!(bench.change(unsubscribe), Outcome::Stale);
    assert_eq!(bench.mailbox, before);
}

#[test]
fn a_session_cut_off_with_the_server_has_its_time_from_then_on() {
    let (mut bench, _) = Bench::subscribed(60);
    let restarted = |seconds| Moment {
        running_since: Timestamp::from_millis(1_000_000),
        ..at(seconds)
    };
    let mailbox = bench.mailbox.clone().expect("a session");
    assert!(!mailbox.is_over(at(5000)), "its connection may be there");
    assert!(!mailbox.is_over(restarted(1059)));
    assert!(mailbox.is_over(restarted(1060)));
    assert_eq!(bench.post(mail("x"), restarted(1060)), Outcome::NobodyThere);
    assert_eq!(bench.mailbox, None);
}

#[test]
fn the_oldest_make_room() {
    let (mut bench, _) = Bench::subscribed(60);
    for text in ["one", "two", "three"] {
        assert_eq!(
            bench.post(mail(text), at(0)),
            Outcome::Posted { dropped: 0 }
        );
    }
    assert_eq!(
        bench.post(mail("four"), at(0)),
        Outcome::Posted { dropped: 1 }
    );
    assert_eq!(bench.texts(), ["two", "three", "four"]);
    let large = "x".repeat(970);
    assert_eq!(
        bench.post(mail(&large), at(0)),
        Outcome::Posted { dropped: 3 }
    );
    let larger = "x".repeat(5000);
    assert_eq!(
        bench.post(mail(&larger), at(0)),
        Outcome::Posted { dropped: 1 }
    );
    assert_eq!(bench.texts(), [larger], "the newest stays");
}

#[test]
fn what_has_expired_makes_room_first() {
    let (mut bench, _) = Bench::subscribed(60);
    let expires_at = Some(at(10).at);
    for text in ["a", "b"] {
        let mail = Mail {
            expires_at,
            ..mail(text)
        };
        bench.post(mail, at(0));
    }
    bench.post(mail("c"), at(9));
    assert_eq!(bench.texts(), ["a", "b", "c"]);
    assert_eq!(
        bench.post(mail("d"), at(10)),
        Outcome::Posted { dropped: 0 }
    );
    assert_eq!(bench.texts(), ["c", "d"]);
    assert!(
        Mail {
            expires_at,
            ..mail("")
        }
        .is_expired(at(10).at)
    );
}

#[test]
fn the_configuration_is_kept_and_told_on_subscribing() {
    let configure = |text: Option<&str>| Change::Configure {
        mail: text.map(configuration),
        capacity: CAPACITY,
        moment: at(0),
    };
    let mut bench = Bench::default();
    assert_eq!(bench.change(configure(Some("v1"))), Outcome::NobodyThere);
    assert_eq!(bench.configuration, Some(configuration("v1")));
    bench.open("c", Resume::No, 0, at(0));
    bench.subscribe(to("feeds/5/commands/+", Qos::AtLeastOnce));
    assert!(bench.texts().is_empty(), "it asked for something else");
    bench.subscribe(to("feeds/5/config", Qos::AtMostOnce));
    assert!(bench.texts().is_empty(), "nothing waits at this quality");
    bench.subscribe(to("feeds/5/config", Qos::AtLeastOnce));
    assert_eq!(bench.texts(), ["v1"]);
    assert!(bench.mail[0].1.retained);
    bench.subscribe(to("feeds/5/config", Qos::AtLeastOnce));
    assert_eq!(bench.texts(), ["v1"], "asked again, told once");
    bench.change(configure(Some("v2")));
    assert_eq!(bench.texts(), ["v1", "v2"]);
    assert!(!bench.mail[1].1.retained);
    for n in 0..9 {
        bench.subscribe(to("feeds/5/#", Qos::AtLeastOnce));
        assert!(bench.mail.len() <= CAPACITY.messages, "{n}");
    }
    assert_eq!(bench.change(configure(None)), Outcome::Done);
    assert_eq!(bench.configuration, None);
}

#[test]
fn an_ended_session_leaves_nothing() {
    let (mut bench, connection) = Bench::subscribed(60);
    bench.post(mail("x"), at(0));
    bench.close(connection, 0, 1);
    bench.change(Change::Expire { moment: at(60) });
    assert!(bench.mailbox.is_some());
    bench.change(Change::Expire { moment: at(61) });
    assert_eq!((bench.mailbox, bench.mail), (None, Vec::new()));
}

proptest! {
    /// Whatever is posted and taken: numbers rise, nothing is there twice, and
    /// no more than may be.
    #[test]
    fn a_mailbox_is_bounded_and_in_order(
        steps in proptest::collection::vec((0u8..4, 0usize..1200), 1..60),
    ) {
        let (mut bench, connection) = Bench::subscribed(60);
        let mut newest = 0;
        for (step, size) in steps {
            match step {
                0..3 => {
                    let outcome = bench.post(mail(&"x".repeat(size)), at(0));
                    let posted = matches!(outcome, Outcome::Posted { .. });
                    prop_assert!(posted);
                    let last = bench.mail.last().expect("the newest stays").0;
                    prop_assert!(last > newest);
                    newest = last;
                }
                _ => {
                    let numbers: Vec<u64> = bench.mail.iter().map(|(n, _)| *n).take(2).collect();
                    let before = bench.mail.len();
                    let left = before - numbers.len();
                    bench.change(Change::Take { connection, numbers });
                    prop_assert_eq!(bench.mail.len(), left);
                }
            }
            let bytes: usize = bench.mail.iter().map(|(_, mail)| mail.bytes()).sum();
            prop_assert!(bench.mail.len() <= CAPACITY.messages);
            prop_assert!(bench.mail.len() <= 1 || bytes <= CAPACITY.bytes);
        }
    }
}
