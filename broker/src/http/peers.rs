//! Every HTTP connection, by who was admitted on it last.
//!
//! The last answer judges: a connection on which a request is refused is a
//! stranger's again, and the gate treats it so. A connection is found from
//! outside by whom it belongs to: an operator's act has it ask again whether
//! that one may stay, and a ban ends it. No one identity has more connections
//! than its share: one beyond that is answered, and closed.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dashmap::DashMap;
use firstwake::{Admission, FeedId, Network, OperatorName};
use http::StatusCode;
use tokio::sync::Notify;

use crate::limits::Limits;

/// All HTTP connections.
#[derive(Debug, Default)]
pub(crate) struct Peers {
    open: DashMap<u64, Arc<Peer>>,
    /// Those on which somebody was admitted last, by who that was.
    admitted: DashMap<Identity, Vec<Arc<Peer>>>,
    newest: AtomicU64,
    /// How often peers had to ask again: an admission that is older than the
    /// newest of these acts has to be checked.
    acts: AtomicU64,
}

/// The owner of a connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Identity {
    Device(FeedId),
    Operator(OperatorName),
}

/// One connection.
#[derive(Debug)]
struct Peer {
    source: IpAddr,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    owner: Option<(Identity, Arc<Admission>)>,
    check: Check,
    banned: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Check {
    #[default]
    Nothing,
    Due,
}

/// A connection's entry, for as long as it lives.
pub(super) struct Entry {
    peers: Arc<Peers>,
    peer: Arc<Peer>,
    number: u64,
}

/// The number of acts when a request began.
#[derive(Clone, Copy)]
pub(super) struct Begun(u64);

/// What a connection has to do after something has changed.
#[derive(Debug)]
pub(super) enum Turn {
    /// Somebody was admitted on it.
    Admitted,
    /// The last request on it was refused.
    Stranger,
    /// Its owner may have to go.
    Check(Arc<Admission>),
    /// It ends at once.
    Banned,
}

/// Whether a connection stays open after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    Open,
    /// Its owner has as many as it may.
    Close,
}

impl Peers {
    pub(super) fn enter(self: &Arc<Self>, source: IpAddr) -> Entry {
        let number = self.newest.fetch_add(1, Ordering::Relaxed);
        let peer = Arc::new(Peer {
            source,
            state: Mutex::default(),
            changed: Notify::new(),
        });
        self.open.insert(number, Arc::clone(&peer));
        Entry {
            peers: Arc::clone(self),
            peer,
            number,
        }
    }

    /// Has a device's connections check their admission again.
    pub(crate) fn poke_device(&self, feed: FeedId) {
        self.poke(&Identity::Device(feed));
    }

    /// Has an operator's connections check their admission again.
    pub(crate) fn poke_operator(&self, name: &OperatorName) {
        self.poke(&Identity::Operator(name.clone()));
    }

    /// Has every device's connections check their admission again.
    pub(crate) fn poke_devices(&self) {
        self.acts.fetch_add(1, Ordering::SeqCst);
        for entry in &self.admitted {
            if matches!(entry.key(), Identity::Device(_)) {
                entry.value().iter().for_each(|peer| peer.check());
            }
        }
    }

    /// Ends every connection that comes from a network which is banned now.
    pub(crate) fn end_from(&self, network: Network) {
        for entry in &self.open {
            if network.contains(entry.source) {
                entry.lock().banned = true;
                entry.changed.notify_one();
            }
        }
    }

    fn poke(&self, owner: &Identity) {
        // Before the look at who is there: a request that is answered after
        // that look sees that there was an act.
        self.acts.fetch_add(1, Ordering::SeqCst);
        if let Some(all) = self.admitted.get(owner) {
            all.iter().for_each(|peer| peer.check());
        }
    }

    /// Makes the connection its owner's, if that one has room for it.
    fn join(&self, owner: &Identity, peer: &Arc<Peer>, most: usize) -> Keep {
        let mut all = self.admitted.entry(owner.clone()).or_default();
        if all.len() >= most.max(1) {
            return Keep::Close;
        }
        all.push(Arc::clone(peer));
        Keep::Open
    }

    fn part(&self, owner: &Identity, peer: &Arc<Peer>) {
        if let Some(mut all) = self.admitted.get_mut(owner) {
            all.retain(|other| !Arc::ptr_eq(other, peer));
        }
        self.admitted.remove_if(owner, |_, all| all.is_empty());
    }
}

impl Entry {
    /// Before a request is looked at.
    pub(super) fn begin(&self) -> Begun {
        Begun(self.peers.acts.load(Ordering::SeqCst))
    }

    /// Takes in how a request was answered, and to whom.
    pub(super) fn answered(
        &self,
        begun: Begun,
        admitted: Option<Admission>,
        status: StatusCode,
        limits: &Limits,
    ) -> Keep {
        let Some(admission) = admitted else {
            if status.is_client_error() {
                self.leave();
            }
            return Keep::Open;
        };
        let (owner, most) = match &admission {
            Admission::Activation(it) => {
                (Identity::Device(it.feed()), limits.http_device_connections)
            }
            Admission::Device(it) => (Identity::Device(it.feed()), limits.http_device_connections),
            Admission::Operator(it) => (
                Identity::Operator(it.name().clone()),
                limits.http_operator_connections,
            ),
        };
        let is_known = matches!(&self.peer.lock().owner, Some((known, _)) if *known == owner);
        if !is_known {
            self.leave();
            if self.peers.join(&owner, &self.peer, most) == Keep::Close {
                return Keep::Close;
            }
        }
        let mut state = self.peer.lock();
        state.owner = Some((owner, Arc::new(admission)));
        if self.peers.acts.load(Ordering::SeqCst) != begun.0 {
            state.check = Check::Due;
        }
        if !is_known || state.check == Check::Due {
            self.peer.changed.notify_one();
        }
        Keep::Open
    }

    /// Waits until there is something to do.
    pub(super) async fn turn(&self) -> Turn {
        self.peer.changed.notified().await;
        let mut state = self.peer.lock();
        if state.banned {
            return Turn::Banned;
        }
        let check = std::mem::take(&mut state.check);
        match &state.owner {
            None => Turn::Stranger,
            Some((_, admission)) if check == Check::Due => Turn::Check(Arc::clone(admission)),
            Some(_) => Turn::Admitted,
        }
    }

    /// The connection belongs to nobody any more.
    fn leave(&self) {
        let owner = self.peer.lock().owner.take();
        if let Some((owner, _)) = owner {
            self.peers.part(&owner, &self.peer);
            self.peer.changed.notify_one();
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.leave();
        self.peers.open.remove(&self.number);
    }
}

impl Peer {
    fn check(&self) {
        self.lock().check = Check::Due;
        self.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
