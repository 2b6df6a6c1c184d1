//! Shared subscriptions: one of a group gets each message.
//!
//! They pass the router by. Whose turn it is, is decided here and under one
//! lock, in the order in which messages are published; so a message is neither
//! delivered twice nor not at all when members come and go. Members take
//! turns, those that are connected before those that are not.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use firstwake::Qos;
use firstwake::topic::TopicFilter;
use tokio::sync::Notify;

use super::{Message, Sender};

/// Messages that wait for one member, or for a group without one.
const MESSAGES: usize = 10_000;
/// Bytes of those.
const BYTES: usize = 16 * 1024 * 1024;
/// Bytes that wait for groups without a member, in all.
const PARKED: usize = 64 * 1024 * 1024;
/// Groups in all: each message is held against each.
const GROUPS: usize = 256;

/// What a group shares: MQTT 5, 4.8.2, `$share/<group>/<filter>`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Share {
    pub(crate) group: Box<str>,
    pub(crate) filter: TopicFilter,
}

impl Share {
    /// Whether it is written so.
    pub(crate) fn is_written(&self, text: &str) -> bool {
        let rest = text.strip_prefix("$share/");
        rest.and_then(|rest| rest.split_once('/'))
            .is_some_and(|(group, filter)| *self.group == *group && self.filter.as_str() == filter)
    }
}

/// A message that it is a member's turn to deliver.
#[derive(Debug)]
pub(crate) struct Turn {
    pub(crate) share: Arc<Share>,
    pub(crate) message: Arc<Message>,
    /// Messages that the member lost before this one, because it was too slow.
    pub(crate) lost: u64,
}

/// There are as many groups as there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooMany;

/// All groups.
#[derive(Debug, Default)]
pub(crate) struct Groups(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    groups: BTreeMap<Arc<Share>, Group>,
    members: HashMap<Sender, Member>,
}

#[derive(Debug, Default)]
struct Group {
    /// With the quality that each has subscribed at.
    members: Vec<(Sender, Qos)>,
    /// Whose turn it is.
    turn: usize,
    /// What came while nobody was connected.
    parked: Pile<Arc<Message>>,
}

#[derive(Debug)]
struct Member {
    presence: Presence,
    turns: Pile<(Arc<Share>, Arc<Message>)>,
    wake: Arc<Notify>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Presence {
    Connected,
    Away,
}

/// What a member finds when it looks for its turn.
enum Look {
    Turn(Turn),
    Wait(Arc<Notify>),
    NoMember,
}

/// A queue that forgets its oldest rather than grow without bounds.
#[derive(Debug)]
struct Pile<T> {
    waiting: VecDeque<(T, usize)>,
    bytes: usize,
    lost: u64,
}

impl<T> Default for Pile<T> {
    fn default() -> Self {
        Self {
            waiting: VecDeque::new(),
            bytes: 0,
            lost: 0,
        }
    }
}

impl<T> Pile<T> {
    fn push(&mut self, item: T, size: usize) {
        self.bytes += size;
        self.waiting.push_back((item, size));
        while self.waiting.len() > MESSAGES || self.bytes > BYTES {
            drop(self.pop());
            self.lost += 1;
        }
    }

    fn pop(&mut self) -> Option<T> {
        let (item, size) = self.waiting.pop_front()?;
        self.bytes -= size;
        Some(item)
    }

    fn take_all(&mut self) -> impl Iterator<Item = T> + use<T> {
        self.bytes = 0;
        std::mem::take(&mut self.waiting)
            .into_iter()
            .map(|(item, _)| item)
    }
}

impl Groups {
    /// A connected session joins a group, or stays in it at another quality.
    pub(crate) fn join(&self, member: Sender, share: &Arc<Share>, qos: Qos) -> Result<(), TooMany> {
        let mut inner = self.lock();
        if inner.groups.len() >= GROUPS && !inner.groups.contains_key(share) {
            return Err(TooMany);
        }
        inner.members.entry(member).or_insert_with(|| Member {
            presence: Presence::Connected,
            turns: Pile::default(),
            wake: Arc::default(),
        });
        let group = inner.groups.entry(Arc::clone(share)).or_default();
        match group.members.iter_mut().find(|(found, _)| *found == member) {
            Some((_, found)) => *found = qos,
            None => group.members.push((member, qos)),
        }
        inner.unpark(share);
        Ok(())
    }

    /// A session leaves one group; what it had not taken goes to the others.
    pub(crate) fn quit(&self, member: Sender, share: &Arc<Share>) {
        let mut inner = self.lock();
        inner.remove(member, share);
        let Some(found) = inner.members.get_mut(&member) else {
            return;
        };
        let (theirs, rest): (Vec<_>, Vec<_>) = found
            .turns
            .take_all()
            .partition(|(found, _)| found == share);
        for (share, message) in rest {
            let size = message.size();
            found.turns.push((share, message), size);
        }
        for (share, message) in theirs {
            inner.give(&share, message);
        }
    }

    /// A session is over: it leaves all its groups.
    pub(crate) fn leave(&self, member: Sender) {
        let mut inner = self.lock();
        let Some(mut gone) = inner.members.remove(&member) else {
            return;
        };
        let shares: Vec<Arc<Share>> = inner.groups.keys().cloned().collect();
        for share in &shares {
            inner.remove(member, share);
        }
        for (share, message) in gone.turns.take_all() {
            inner.give(&share, message);
        }
    }

    /// A member's peer is there again.
    pub(crate) fn arrive(&self, member: Sender) {
        let mut inner = self.lock();
        let Some(found) = inner.members.get_mut(&member) else {
            return;
        };
        found.presence = Presence::Connected;
        let of_member = |group: &Group| group.members.iter().any(|(found, _)| *found == member);
        let shares: Vec<Arc<Share>> = inner
            .groups
            .iter()
            .filter(|(_, group)| of_member(group))
            .map(|(share, _)| Arc::clone(share))
            .collect();
        for share in &shares {
            inner.unpark(share);
        }
    }

    /// A member's peer has gone; what it had not taken goes to the others.
    pub(crate) fn go_away(&self, member: Sender) {
        let mut inner = self.lock();
        let Some(found) = inner.members.get_mut(&member) else {
            return;
        };
        found.presence = Presence::Away;
        for (share, message) in found.turns.take_all() {
            inner.give(&share, message);
        }
    }

    /// Gives a message that a member cannot deliver to another one.
    pub(crate) fn give_back(&self, share: &Arc<Share>, message: Arc<Message>) {
        self.lock().give(share, message);
    }

    /// Waits for a member's next turn. Dropping the future loses nothing.
    pub(crate) async fn next(&self, member: Sender) -> Turn {
        loop {
            match self.look(member) {
                Look::Turn(turn) => return turn,
                Look::Wait(wake) => wake.notified().await,
                Look::NoMember => return std::future::pending().await,
            }
        }
    }

    fn look(&self, member: Sender) -> Look {
        let mut inner = self.lock();
        let Some(found) = inner.members.get_mut(&member) else {
            return Look::NoMember;
        };
        match found.turns.pop() {
            Some((share, message)) => Look::Turn(Turn {
                share,
                message,
                lost: std::mem::take(&mut found.turns.lost),
            }),
            None => Look::Wait(Arc::clone(&found.wake)),
        }
    }

    /// Gives a message that was published to one member of each group.
    pub(super) fn publish(&self, message: &Message) {
        let mut inner = self.lock();
        let matching: Vec<Arc<Share>> = inner
            .groups
            .keys()
            .filter(|share| share.filter.matches(&message.topic))
            .cloned()
            .collect();
        if matching.is_empty() {
            return;
        }
        let message = Arc::new(message.clone());
        for share in matching {
            inner.give(&share, Arc::clone(&message));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Whose turn it is gets it. Without anybody connected it waits, if its
    /// quality does; without members, there is nobody it is for.
    fn give(&mut self, share: &Arc<Share>, message: Arc<Message>) {
        let parked: usize = self.groups.values().map(|group| group.parked.bytes).sum();
        let Some(group) = self.groups.get_mut(share) else {
            return;
        };
        let size = message.size();
        let count = group.members.len();
        let connected = |(sender, _): &(Sender, Qos)| {
            let found = self.members.get(sender);
            found.is_some_and(|member| member.presence == Presence::Connected)
        };
        let next = (group.turn..group.turn + count)
            .map(|turn| turn % count)
            .find(|at| connected(&group.members[*at]));
        let Some(at) = next else {
            let waits = group.members.iter().any(|(_, qos)| *qos > Qos::AtMostOnce);
            if waits && message.qos > Qos::AtMostOnce {
                match parked + size <= PARKED {
                    true => group.parked.push(message, size),
                    false => group.parked.lost += 1,
                }
            }
            return;
        };
        group.turn = (at + 1) % count;
        let (sender, _) = group.members[at];
        if let Some(member) = self.members.get_mut(&sender) {
            member.turns.push((Arc::clone(share), message), size);
            member.wake.notify_one();
        }
    }

    /// Somebody is connected: hands out what waited for that.
    fn unpark(&mut self, share: &Arc<Share>) {
        let Some(group) = self.groups.get_mut(share) else {
            return;
        };
        let lost = std::mem::take(&mut group.parked.lost);
        let parked = group.parked.take_all();
        let heirs: Vec<Sender> = group.members.iter().map(|(sender, _)| *sender).collect();
        for message in parked {
            self.give(share, message);
        }
        let told = heirs.into_iter().find_map(|sender| {
            let member = self.members.get(&sender)?;
            (member.presence == Presence::Connected).then_some(sender)
        });
        if let Some(member) = told.and_then(|sender| self.members.get_mut(&sender)) {
            member.turns.lost += lost;
        }
    }

    fn remove(&mut self, member: Sender, share: &Arc<Share>) {
        let Some(group) = self.groups.get_mut(share) else {
            return;
        };
        let Some(at) = group.members.iter().position(|(found, _)| *found == member) else {
            return;
        };
        group.members.remove(at);
        if at < group.turn {
            group.turn -= 1;
        }
        if group.members.is_empty() {
            self.groups.remove(share);
        }
    }
}

#[cfg(test)]
mod tests;
