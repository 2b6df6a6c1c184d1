//! Whose turn it is, whoever comes and goes.

use firstwake::Timestamp;
use firstwake::topic::{Limits, TopicName};

use super::*;

fn share(filter: &str) -> Arc<Share> {
    let filter = TopicFilter::parse(filter, Limits::SERVICE).expect("valid");
    let group = "g".into();
    Arc::new(Share { group, filter })
}

fn message(payload: &str, qos: Qos) -> Message {
    let topic = TopicName::parse("a/b", Limits::SERVICE).expect("valid");
    Message {
        qos,
        ..Message::of_server(topic, payload.into(), Timestamp::from_millis(0))
    }
}

/// What a member would deliver now.
fn taken(groups: &Groups, member: Sender) -> Vec<String> {
    let mut inner = groups.lock();
    let Some(found) = inner.members.get_mut(&member) else {
        return Vec::new();
    };
    let turns = found.turns.take_all();
    turns
        .map(|(_, message)| String::from_utf8_lossy(&message.payload).into())
        .collect()
}

fn publish(groups: &Groups, payloads: &[&str]) {
    for payload in payloads {
        groups.publish(&message(payload, Qos::AtLeastOnce));
    }
}

/// A group with these members, all connected.
fn group(count: usize) -> (Groups, Arc<Share>, Vec<Sender>) {
    let (groups, share) = (Groups::default(), share("a/#"));
    let members: Vec<Sender> = (0..count).map(|_| Sender::next()).collect();
    for member in &members {
        groups
            .join(*member, &share, Qos::AtLeastOnce)
            .expect("room");
    }
    (groups, share, members)
}

#[test]
fn members_take_turns() {
    let (groups, _, members) = group(3);
    publish(&groups, &["1", "2", "3", "4", "5"]);
    assert_eq!(taken(&groups, members[0]), ["1", "4"]);
    assert_eq!(taken(&groups, members[1]), ["2", "5"]);
    assert_eq!(taken(&groups, members[2]), ["3"]);
}

#[test]
fn each_group_gets_each_message() {
    let (groups, _, members) = group(1);
    let other = Sender::next();
    groups
        .join(other, &share("+/b"), Qos::AtMostOnce)
        .expect("room");
    groups
        .join(other, &share("other"), Qos::AtMostOnce)
        .expect("room");
    publish(&groups, &["1"]);
    assert_eq!(taken(&groups, members[0]), ["1"]);
    assert_eq!(taken(&groups, other), ["1"]);
}

#[test]
fn who_is_away_is_passed_over_and_what_it_had_goes_on() {
    let (groups, _, members) = group(2);
    publish(&groups, &["1", "2"]);
    groups.go_away(members[0]);
    publish(&groups, &["3"]);
    assert_eq!(taken(&groups, members[1]), ["2", "1", "3"]);
    groups.arrive(members[0]);
    publish(&groups, &["4", "5"]);
    assert_eq!(taken(&groups, members[0]).len(), 1);
    assert_eq!(taken(&groups, members[1]).len(), 1);
}

#[test]
fn with_everybody_away_messages_wait_for_the_first_to_come_back() {
    let (groups, _, members) = group(2);
    members.iter().for_each(|member| groups.go_away(*member));
    groups.publish(&message("fleeting", Qos::AtMostOnce));
    publish(&groups, &["1", "2"]);
    groups.arrive(members[1]);
    assert_eq!(taken(&groups, members[1]), ["1", "2"]);
    assert_eq!(taken(&groups, members[0]), Vec::<String>::new());
}

#[test]
fn who_leaves_takes_nothing_along() {
    let (groups, share, members) = group(3);
    publish(&groups, &["1", "2", "3"]);
    groups.quit(members[0], &share);
    groups.leave(members[1]);
    assert_eq!(taken(&groups, members[2]), ["3", "2", "1"]);
    assert_eq!(taken(&groups, members[0]), Vec::<String>::new());
    groups.leave(members[2]);
    publish(&groups, &["4"]);
    assert!(groups.lock().groups.is_empty(), "no group without members");
    groups.leave(members[0]);
    assert!(groups.lock().members.is_empty());
}

#[test]
fn a_pile_forgets_its_oldest() {
    let (groups, _, members) = group(1);
    for n in 0..MESSAGES + 3 {
        publish(&groups, &[&n.to_string()]);
    }
    let lost = groups.lock().members[&members[0]].turns.lost;
    let left = taken(&groups, members[0]);
    assert_eq!((lost, left.len()), (3, MESSAGES));
    assert_eq!(left[0], "3");
}

#[tokio::test]
async fn a_member_waits_for_its_turn() {
    let (groups, share, members) = group(1);
    let groups = Arc::new(groups);
    let waiting = tokio::spawn({
        let (groups, member) = (Arc::clone(&groups), members[0]);
        async move { groups.next(member).await }
    });
    tokio::task::yield_now().await;
    publish(&groups, &["1"]);
    let turn = waiting.await.expect("it was there");
    assert_eq!((turn.share, turn.lost), (share, 0));
    assert_eq!(turn.message.payload, b"1");
}

#[test]
fn how_a_share_is_written() {
    let share = share("a/#");
    assert!(share.is_written("$share/g/a/#"));
    for other in ["a/#", "$share/h/a/#", "$share/g/a", "$share/g"] {
        assert!(!share.is_written(other), "{other}");
    }
}

#[test]
fn groups_and_what_waits_for_them_are_bounded() {
    let groups = Groups::default();
    let member = Sender::next();
    for n in 0..GROUPS {
        let joined = groups.join(member, &share(&format!("t/{n}")), Qos::AtLeastOnce);
        assert_eq!(joined, Ok(()));
    }
    let one_more = groups.join(member, &share("more"), Qos::AtLeastOnce);
    assert_eq!(one_more, Err(TooMany));
    let known = groups.join(member, &share("t/0"), Qos::AtMostOnce);
    assert_eq!(known, Ok(()), "it is there");

    groups.go_away(member);
    let mut large = message("", Qos::AtLeastOnce);
    large.payload = vec![0; 1024 * 1024];
    for n in 1..20 {
        for _ in 0..10 {
            let topic = TopicName::parse(&format!("t/{n}"), Limits::SERVICE).expect("valid");
            groups.publish(&Message {
                topic,
                ..large.clone()
            });
        }
    }
    let inner = groups.lock();
    let parked: usize = inner.groups.values().map(|group| group.parked.bytes).sum();
    assert!(parked <= PARKED && parked > PARKED / 2, "{parked}");
}
