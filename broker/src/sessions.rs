//! Every live session, found by whom it belongs to.
//!
//! This is how a session is ended from outside: by a newer one of the same
//! device or client, by an operator's act, by its deadline, or because the
//! server stops. A session enters the table before its admission is checked a
//! last time, so none slips through; it leaves when its [`Place`] is dropped.

mod handle;

use std::hash::Hash;
use std::sync::Arc;

use dashmap::DashMap;
use firstwake::{FeedId, Network, OperatorName, Refusal};

use crate::bus::Message;
use crate::control::view::Connected;
use crate::edge::Tick;
use crate::mqtt::packet::{Farewell, Start};

pub(crate) use self::handle::{Began, Handle, Origin};

/// A session's handle, and that of the session whose place it took.
type Entered = (Arc<Handle>, Option<Arc<Handle>>);

/// Sessions of one kind, by whom they belong to.
#[derive(Debug)]
struct Table<K: Eq + Hash>(DashMap<K, Arc<Handle>>);

impl<K: Eq + Hash> Default for Table<K> {
    fn default() -> Self {
        Self(DashMap::new())
    }
}

impl<K: Eq + Hash + Clone> Table<K> {
    /// Adds a session, ending the one that was there, which is returned.
    fn enter(&self, key: K, origin: Origin, start: Start, deadline: Tick) -> Entered {
        let handle = Arc::new(Handle::new(origin, deadline));
        let earlier = self.0.insert(key, Arc::clone(&handle));
        if let Some(earlier) = &earlier {
            earlier.end(match start {
                Start::Clean => Farewell::Replaced,
                Start::Resume => Farewell::TakenOver,
            });
        }
        (handle, earlier)
    }

    /// Puts a fresh handle in the place of one that nobody has replaced.
    fn renew(&self, key: &K, handle: &Arc<Handle>, deadline: Tick) -> Option<Arc<Handle>> {
        let mut found = self.0.get_mut(key)?;
        if !Arc::ptr_eq(found.value(), handle) {
            return None;
        }
        let fresh = Arc::new(Handle::new(handle.origin().clone(), deadline));
        *found = Arc::clone(&fresh);
        Some(fresh)
    }

    fn leave(&self, key: &K, handle: &Arc<Handle>) {
        self.0.remove_if(key, |_, found| Arc::ptr_eq(found, handle));
    }

    fn each(&self, act: impl Fn(&Handle)) {
        self.0.iter().for_each(|entry| act(entry.value()));
    }
}

/// All live sessions.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    activations: Table<FeedId>,
    devices: Table<FeedId>,
    operators: Table<(OperatorName, String)>,
}

/// Whom a session belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Owner {
    /// A device that fetches its credentials.
    Activation(FeedId),
    /// A device.
    Device(FeedId),
    /// An operator, by name and client id.
    Operator(OperatorName, String),
}

/// What became of a session whose device has begun another elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Yielded {
    /// There was none.
    Nothing,
    /// It ends; whose it was.
    Place(Origin),
    /// It began later: the other one has to end.
    NotTo(Origin),
}

/// A session's place in the table, for as long as it lives.
#[derive(Debug)]
pub(crate) struct Place {
    sessions: Arc<Sessions>,
    owner: Owner,
    handle: Arc<Handle>,
}

impl Place {
    /// Whose session it is.
    pub(crate) fn owner(&self) -> &Owner {
        &self.owner
    }

    /// What the outside signals this session with.
    pub(crate) fn handle(&self) -> &Arc<Handle> {
        &self.handle
    }

    /// An operator's session goes on without its connection, whatever was to
    /// end that. `None` if a newer one has its place.
    pub(crate) fn renew(self, deadline: Tick) -> Option<Self> {
        let Owner::Operator(name, client) = &self.owner else {
            return None;
        };
        let key = (name.clone(), client.clone());
        let handle = self
            .sessions
            .operators
            .renew(&key, &self.handle, deadline)?;
        Some(Self {
            sessions: Arc::clone(&self.sessions),
            owner: self.owner.clone(),
            handle,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.handle.let_go();
        match &self.owner {
            Owner::Activation(feed) => self.sessions.activations.leave(feed, &self.handle),
            Owner::Device(feed) => self.sessions.devices.leave(feed, &self.handle),
            Owner::Operator(name, client) => {
                let key = (name.clone(), client.clone());
                self.sessions.operators.leave(&key, &self.handle);
            }
        }
    }
}

impl Sessions {
    /// Gives a session its place. An earlier session of the same owner ends,
    /// and is returned: what both share is the newer one's once it is
    /// [gone](Handle::gone).
    pub(crate) fn enter(
        self: &Arc<Self>,
        owner: Owner,
        origin: Origin,
        start: Start,
        deadline: Tick,
    ) -> (Place, Option<Arc<Handle>>) {
        let (handle, earlier) = match &owner {
            Owner::Activation(feed) => self.activations.enter(*feed, origin, start, deadline),
            Owner::Device(feed) => self.devices.enter(*feed, origin, start, deadline),
            Owner::Operator(name, client) => {
                let key = (name.clone(), client.clone());
                self.operators.enter(key, origin, start, deadline)
            }
        };
        let place = Place {
            sessions: Arc::clone(self),
            owner,
            handle,
        };
        (place, earlier)
    }

    /// Tells a device's session that something waits in its mailbox.
    pub(crate) fn tell_of_mail(&self, feed: FeedId) {
        if let Some(entry) = self.devices.0.get(&feed) {
            entry.tell_of_mail();
        }
    }

    /// Tells a device's session that its feed has changed.
    pub(crate) fn tell_of_values(&self, feed: FeedId) {
        if let Some(entry) = self.devices.0.get(&feed) {
            entry.tell_of_values();
        }
    }

    /// Hands a device's session something that waits nowhere else; whether
    /// there is a session.
    pub(crate) fn hand(&self, feed: FeedId, message: Arc<Message>) -> bool {
        match self.devices.0.get(&feed) {
            Some(entry) => {
                entry.hand(message);
                true
            }
            None => false,
        }
    }

    /// Whether a device has a session now.
    pub(crate) fn has_device(&self, feed: FeedId) -> bool {
        self.devices.0.contains_key(&feed)
    }

    /// Has a device's session end for one that began elsewhere, and later.
    pub(crate) fn yield_device(&self, feed: FeedId, began: Began, start: Start) -> Yielded {
        let Some(entry) = self.devices.0.get(&feed) else {
            return Yielded::Nothing;
        };
        if entry.origin().began > began {
            return Yielded::NotTo(entry.origin().clone());
        }
        // One that is ending anyway was not open any more.
        if entry.ended().is_some() {
            return Yielded::Nothing;
        }
        entry.end(match start {
            Start::Clean => Farewell::Replaced,
            Start::Resume => Farewell::TakenOver,
        });
        Yielded::Place(entry.origin().clone())
    }

    /// The devices that have a session now, and whose each is.
    pub(crate) fn device_origins(&self) -> Vec<(FeedId, Origin)> {
        let devices = self.devices.0.iter();
        let each = devices.map(|entry| (*entry.key(), entry.origin().clone()));
        each.collect()
    }

    /// The devices that have a session now.
    pub(crate) fn connected_devices(&self) -> Vec<FeedId> {
        let devices = self.devices.0.iter();
        devices.map(|entry| *entry.key()).collect()
    }

    /// Has a device's sessions check their admission again.
    pub(crate) fn poke_device(&self, feed: FeedId) {
        for table in [&self.activations, &self.devices] {
            if let Some(entry) = table.0.get(&feed) {
                entry.poke();
            }
        }
    }

    /// How many sessions of an operator there are, waiting ones included.
    pub(crate) fn of_operator(&self, name: &OperatorName) -> usize {
        let all = self.operators.0.iter();
        all.filter(|entry| entry.key().0 == *name).count()
    }

    /// Has an operator's sessions check their admission again.
    pub(crate) fn poke_operator(&self, name: &OperatorName) {
        for entry in &self.operators.0 {
            if entry.key().0 == *name {
                entry.value().poke();
            }
        }
    }

    /// Has every device's sessions check their admission again.
    pub(crate) fn poke_devices(&self) {
        self.activations.each(Handle::poke);
        self.devices.each(Handle::poke);
    }

    /// Ends every session that comes from a network which is banned now.
    pub(crate) fn end_from(&self, network: Network) {
        let end = |handle: &Handle| {
            if network.contains(handle.origin().source) {
                handle.end(Farewell::Administrative(Refusal::Banned));
            }
        };
        self.activations.each(end);
        self.devices.each(end);
        self.operators.each(end);
    }

    /// Ends every session whose deadline is over.
    pub(crate) fn sweep(&self, now: Tick) {
        let late = |why| {
            move |handle: &Handle| {
                if handle.is_late(now) {
                    handle.end(why);
                }
            }
        };
        self.activations.each(late(Farewell::MaximumConnectTime));
        self.devices.each(late(Farewell::KeepAliveTimeout));
        self.operators.each(late(Farewell::KeepAliveTimeout));
    }

    /// Ends all sessions.
    pub(crate) fn end_all(&self, why: Farewell) {
        self.activations.each(|handle| handle.end(why));
        self.devices.each(|handle| handle.end(why));
        self.operators.each(|handle| handle.end(why));
    }

    /// How many sessions of each kind there are.
    pub(crate) fn connected(&self) -> Connected {
        Connected {
            activations: self.activations.0.len() as u64,
            devices: self.devices.0.len() as u64,
            operators: self.operators.0.len() as u64,
        }
    }

    /// How many sessions there are.
    #[cfg(test)]
    pub(crate) fn count(&self) -> usize {
        self.activations.0.len() + self.devices.0.len() + self.operators.0.len()
    }
}

#[cfg(test)]
mod tests {
    use firstwake::Timestamp;
    use firstwake::topic::{Limits, TopicName};

    use super::handle::{HANDED, HANDED_BYTES};
    use super::*;
    use crate::edge::OsEntropy;

    fn at(second: u64) -> Began {
        Began::at(Timestamp::from_millis(second * 1000))
    }

    /// A peer of this machine that connected at this second.
    fn since(second: u64) -> Origin {
        let began = at(second);
        Origin::new(std::net::Ipv4Addr::LOCALHOST.into(), "a client", began)
    }

    fn here() -> Origin {
        since(0)
    }

    fn feed(n: u32) -> FeedId {
        FeedId::new(n).expect("valid")
    }

    #[test]
    fn the_newest_session_stays() {
        let sessions = Arc::new(Sessions::default());
        let old = sessions
            .enter(Owner::Device(feed(1)), here(), Start::Resume, Tick::NEVER)
            .0;
        let other = sessions
            .enter(
                Owner::Activation(feed(1)),
                here(),
                Start::Resume,
                Tick::NEVER,
            )
            .0;
        let new = sessions
            .enter(Owner::Device(feed(1)), here(), Start::Resume, Tick::NEVER)
            .0;
        assert_eq!(old.handle().ended(), Some(Farewell::TakenOver));
        assert_eq!(new.handle().ended(), None);
        assert_eq!(other.handle().ended(), None, "an activation kicks nobody");
        drop(old);
        assert_eq!(
            sessions.count(),
            2,
            "the old one does not take the new along"
        );
        drop((new, other));
        assert_eq!(sessions.count(), 0);
    }

    #[test]
    fn a_session_yields_to_a_later_one_elsewhere() {
        let sessions = Arc::new(Sessions::default());
        let yields = |second| sessions.yield_device(feed(1), at(second), Start::Resume);
        assert_eq!(yields(1), Yielded::Nothing);
        let place = sessions
            .enter(Owner::Device(feed(1)), since(5), Start::Resume, Tick::NEVER)
            .0;
        assert_eq!(yields(4), Yielded::NotTo(since(5)));
        assert_eq!(place.handle().ended(), None);
        assert_eq!(yields(5), Yielded::Place(since(5)));
        assert_eq!(place.handle().ended(), Some(Farewell::TakenOver));
        assert_eq!(yields(6), Yielded::Nothing, "it is ending");
    }

    #[test]
    fn of_two_that_begin_at_once_one_is_the_later() {
        let now = Timestamp::from_millis(1_700_000_000_000);
        let drawn = [0; 8].map(|_| Began::draw(now, &OsEntropy));
        assert!(drawn.iter().any(|one| *one != drawn[0]));
        assert!(drawn.iter().all(|one| *one >= Began::at(now)));
        let next = Timestamp::from_millis(1_700_000_000_001);
        assert!(drawn.iter().all(|one| *one < Began::at(next)));
    }

    #[test]
    fn what_is_handed_to_a_session_is_bounded_by_number_and_bytes() {
        let sessions = Arc::new(Sessions::default());
        let place = sessions
            .enter(Owner::Device(feed(1)), here(), Start::Clean, Tick::NEVER)
            .0;
        let taken = |count: usize, bytes: usize| {
            let topic = TopicName::parse("feeds/1/commands/x", Limits::DEVICE).expect("valid");
            let now = Timestamp::from_millis(0);
            let message = Arc::new(Message::of_server(topic, vec![0; bytes], now));
            for _ in 0..count {
                assert!(sessions.hand(feed(1), Arc::clone(&message)));
            }
            place.handle().take_handed().len()
        };
        assert_eq!(taken(HANDED + 1, 10), HANDED);
        assert_eq!(taken(9, HANDED_BYTES / 4), 3);
        assert_eq!(taken(2, 2 * HANDED_BYTES), 1, "a single one may be larger");
    }

    #[test]
    fn a_ban_ends_the_sessions_of_its_network() {
        let sessions = Arc::new(Sessions::default());
        let there = Origin::new([192, 0, 2, 7].into(), "", at(0));
        let banned = sessions
            .enter(Owner::Device(feed(1)), there, Start::Resume, Tick::NEVER)
            .0;
        let other = sessions
            .enter(Owner::Device(feed(2)), here(), Start::Resume, Tick::NEVER)
            .0;
        sessions.end_from(Network::parse("192.0.2.0/24").expect("valid"));
        let end = Some(Farewell::Administrative(Refusal::Banned));
        assert_eq!(
            (banned.handle().ended(), other.handle().ended()),
            (end, None)
        );
    }

    #[test]
    fn deadlines_and_pokes() {
        let sessions = Arc::new(Sessions::default());
        let device = sessions
            .enter(Owner::Device(feed(1)), here(), Start::Resume, Tick::at(10))
            .0;
        let activation = sessions
            .enter(
                Owner::Activation(feed(2)),
                here(),
                Start::Resume,
                Tick::at(10),
            )
            .0;
        sessions.sweep(Tick::at(10));
        assert_eq!(device.handle().ended(), None);
        sessions.sweep(Tick::at(11));
        assert_eq!(device.handle().ended(), Some(Farewell::KeepAliveTimeout));
        assert_eq!(
            activation.handle().ended(),
            Some(Farewell::MaximumConnectTime)
        );
        sessions.end_all(Farewell::ShuttingDown);
        assert_eq!(
            device.handle().ended(),
            Some(Farewell::KeepAliveTimeout),
            "the first reason stays"
        );
        sessions.poke_device(feed(1));
        assert!(device.handle().take_poke());
        assert!(!device.handle().take_poke());
    }
}
