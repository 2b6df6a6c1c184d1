//! Who may open a connection at all.
//!
//! The accept loop asks the gate and never waits: whoever is over its share is
//! turned away at once. Strangers are only counted here, by source; who gets
//! in is the core's to say, and so is who is banned.
//!
//! What is fair when the places for silent connections are used up: the source
//! that has most of them loses the one that has been silent the longest, and
//! the newcomer takes that place. A real device is silent for one round trip,
//! so it is the oldest of nobody; a flood, from one source or from thousands,
//! displaces itself. Where all connections are used up, sessions stay, and
//! only a source with several silent connections has to give one up. An entry
//! is kept for each source that is connected now, and for no other.

mod shares;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use firstwake::{Bans, Refusal, Source};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

pub(crate) use self::shares::Share;
use self::shares::Shares;
use crate::edge::Clock;
use crate::limits::Limits;

/// Turned-away peers that are told so at once; others are just closed.
const COURTESIES: usize = 64;
/// The same from one source.
const COURTESIES_PER_SOURCE: usize = 8;
/// Connections that the server has ended and the peer has not: they count as no
/// connections. Others are closed without waiting for the peer.
const LINGERING: usize = 256;
/// The same of one source.
const LINGERING_PER_SOURCE: usize = 64;
/// Refusals that wait before they are told; others are just closed.
const DELAYED: usize = 256;
/// Open files that connections leave to the server itself.
const RESERVE: usize = 512;

/// Why a peer is turned away before it has said anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turned {
    /// An operator banned its address.
    Banned,
    /// All connections are used up.
    Full,
    /// Its source has as many connections as it may.
    SourceFull,
    /// Its source has as many silent connections as it may.
    SourceSilent,
}

impl Turned {
    /// What operators see of it.
    pub(crate) fn refusal(self) -> Refusal {
        match self {
            Self::Banned => Refusal::Banned,
            Self::Full | Self::SourceFull | Self::SourceSilent => Refusal::Overloaded,
        }
    }
}

/// The gate of one server, shared by its listeners.
#[derive(Debug)]
pub(crate) struct Gate {
    bounds: Bounds,
    bans: Arc<Bans>,
    clock: Clock,
    state: Mutex<State>,
    delayed: Arc<Semaphore>,
    courtesies: Arc<Shares>,
    lingering: Arc<Shares>,
}

/// A connection's right to be, for as long as it lives. In a box: tasks hold
/// it while they idle, and futures hold what they hold twice.
#[derive(Debug)]
pub(crate) struct Pass(Box<Seat>);

#[derive(Debug)]
struct Seat {
    gate: Arc<Gate>,
    address: IpAddr,
    /// Until it has shown its credentials.
    silent: Option<Arc<Silent>>,
}

/// A connection that has not shown its credentials.
#[derive(Debug)]
struct Silent {
    ticket: u64,
    since: Instant,
    displaced: Notify,
}

impl Gate {
    /// A gate for as many open files as the process may have now.
    pub(crate) fn new(limits: &Limits, bans: Arc<Bans>, clock: Clock) -> Self {
        let files = rlimit::getrlimit(rlimit::Resource::NOFILE);
        let files = files.map_or(1024, |(soft, _)| {
            usize::try_from(soft).unwrap_or(usize::MAX)
        });
        if limits.connections > files {
            let connections = limits.connections;
            tracing::warn!(
                connections,
                files,
                "more connections are allowed than files may be open"
            );
        }
        // They take open files of the reserve, and leave half of it.
        let lingering = LINGERING.min(reserve(files) / 2);
        Self {
            bounds: Bounds::new(limits, files),
            bans,
            clock,
            state: Mutex::default(),
            delayed: Arc::new(Semaphore::new(DELAYED)),
            courtesies: Shares::new(COURTESIES, COURTESIES_PER_SOURCE),
            lingering: Shares::new(lingering, LINGERING_PER_SOURCE),
        }
    }

    /// Lets a connection in from this address, or says why not.
    pub(crate) fn admit(self: &Arc<Self>, address: IpAddr) -> Result<Pass, Turned> {
        if self.bans.covers(address, self.clock.now()) {
            return Err(Turned::Banned);
        }
        let source = Source::from(address);
        let silent = self.lock().admit(source, &self.bounds)?;
        Ok(Pass(Box::new(Seat {
            gate: Arc::clone(self),
            address,
            silent: Some(silent),
        })))
    }

    /// The right to tell a peer that was turned away why, if not too many are
    /// being told already.
    pub(crate) fn courtesy(&self, address: IpAddr) -> Option<Share> {
        self.courtesies.take(Source::from(address))
    }

    /// A place for a connection that the server has ended and its peer has not.
    pub(crate) fn linger(&self, address: IpAddr) -> Option<Share> {
        self.lingering.take(Source::from(address))
    }

    /// A place among the refusals that are told late.
    pub(crate) fn delay(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.delayed).try_acquire_owned().ok()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pass {
    /// Where the peer connected from.
    pub(crate) fn address(&self) -> IpAddr {
        self.0.address
    }

    /// Runs what has to be done before the credentials are there. `None` if
    /// the connection had to give its place to another, or took longer than
    /// this since it was accepted.
    pub(crate) async fn within<T>(
        &self,
        span: Duration,
        task: impl Future<Output = T>,
    ) -> Option<T> {
        let Some(silent) = &self.0.silent else {
            return Some(task.await);
        };
        tokio::select! {
            biased;
            done = tokio::time::timeout_at(silent.since + span, task) => done.ok(),
            () = silent.displaced.notified() => None,
        }
    }

    /// Gives back the place among the silent ones: the credentials are there.
    pub(crate) fn opened(&mut self) {
        let seat = &mut *self.0;
        if let Some(silent) = seat.silent.take() {
            let source = Source::from(seat.address);
            seat.gate.lock().speak(source, silent.ticket);
        }
    }

    /// Whether its peer has shown credentials.
    pub(crate) fn is_open(&self) -> bool {
        self.0.silent.is_none()
    }

    /// Takes a place among the silent ones again: on this connection somebody
    /// was refused. It has as long as a newcomer to show better credentials.
    pub(crate) fn closed(&mut self) -> Result<(), Turned> {
        let seat = &mut *self.0;
        if seat.silent.is_none() {
            let (source, bounds) = (Source::from(seat.address), &seat.gate.bounds);
            seat.silent = Some(seat.gate.lock().fall_silent(source, bounds)?);
        }
        Ok(())
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.opened();
        let seat = &*self.0;
        seat.gate.lock().leave(Source::from(seat.address));
    }
}

/// The limits, with what 0 stands for put in.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    connections: usize,
    per_source: usize,
    silent: usize,
    silent_per_source: usize,
}

impl Bounds {
    fn new(limits: &Limits, files: usize) -> Self {
        let connections = match limits.connections {
            0 => files - reserve(files),
            some => some,
        };
        let per_source = match limits.connections_per_source {
            // An eighth stays for everybody else.
            0 => connections - connections / 8,
            some => some,
        };
        Self {
            connections,
            per_source,
            silent: limits.handshakes.max(1),
            silent_per_source: limits.handshakes_per_source.max(1),
        }
    }
}

/// Of so many open files, those that connections leave to the server.
fn reserve(files: usize) -> usize {
    RESERVE.min(files / 4)
}

/// Who is connected now.
#[derive(Debug, Default)]
struct State {
    open: usize,
    by_source: HashMap<Source, usize>,
    silent: usize,
    /// Each source's silent connections, the oldest first.
    silent_by_source: HashMap<Source, BTreeMap<u64, Arc<Silent>>>,
    /// The sources of those; the last is the one to lose one next.
    ranking: BTreeSet<Rank>,
    newest_ticket: u64,
}

/// How many silent connections a source has, the age of its oldest, and which
/// source that is.
type Rank = (usize, Reverse<u64>, Source);

impl State {
    fn admit(&mut self, source: Source, bounds: &Bounds) -> Result<Arc<Silent>, Turned> {
        let silent_here = self.silent_by_source.get(&source).map_or(0, BTreeMap::len);
        if self.by_source.get(&source).copied().unwrap_or(0) >= bounds.per_source {
            return Err(Turned::SourceFull);
        }
        if silent_here >= bounds.silent_per_source {
            return Err(Turned::SourceSilent);
        }
        if self.open >= bounds.connections {
            let most = self.ranking.last().map_or(0, |(count, _, _)| *count);
            if most <= silent_here + 1 {
                return Err(Turned::Full);
            }
            self.displace();
        } else if self.silent >= bounds.silent {
            self.displace();
        }
        self.open += 1;
        *self.by_source.entry(source).or_default() += 1;
        Ok(self.begin_silence(source))
    }

    /// A connection that is open already has no credentials any more.
    fn fall_silent(&mut self, source: Source, bounds: &Bounds) -> Result<Arc<Silent>, Turned> {
        let silent_here = self.silent_by_source.get(&source).map_or(0, BTreeMap::len);
        if silent_here >= bounds.silent_per_source {
            return Err(Turned::SourceSilent);
        }
        if self.silent >= bounds.silent {
            self.displace();
        }
        Ok(self.begin_silence(source))
    }

    fn begin_silence(&mut self, source: Source) -> Arc<Silent> {
        self.newest_ticket += 1;
        let silent = Arc::new(Silent {
            ticket: self.newest_ticket,
            since: Instant::now(),
            displaced: Notify::new(),
        });
        self.rank(source, |all| {
            all.insert(silent.ticket, Arc::clone(&silent));
        });
        self.silent += 1;
        silent
    }

    /// Takes the place of the connection that has to give it up.
    fn displace(&mut self) {
        let Some((_, Reverse(oldest), source)) = self.ranking.last().copied() else {
            return;
        };
        let found = self
            .silent_by_source
            .get(&source)
            .and_then(|all| all.get(&oldest));
        if let Some(silent) = found {
            silent.displaced.notify_one();
        }
        self.speak(source, oldest);
    }

    /// A connection is no longer silent, or no longer there.
    fn speak(&mut self, source: Source, ticket: u64) {
        let mut was_silent = false;
        self.rank(source, |all| was_silent = all.remove(&ticket).is_some());
        // One that was displaced has given its place back already.
        self.silent -= usize::from(was_silent);
    }

    fn leave(&mut self, source: Source) {
        self.open -= 1;
        if let Some(open) = self.by_source.get_mut(&source) {
            *open -= 1;
            if *open == 0 {
                self.by_source.remove(&source);
            }
        }
        give_back(&mut self.by_source);
    }

    /// Changes a source's silent connections and keeps the ranking true.
    fn rank(&mut self, source: Source, change: impl FnOnce(&mut BTreeMap<u64, Arc<Silent>>)) {
        let all = self.silent_by_source.entry(source).or_default();
        if let Some(rank) = rank_of(source, all) {
            self.ranking.remove(&rank);
        }
        change(all);
        match rank_of(source, all) {
            Some(rank) => {
                self.ranking.insert(rank);
            }
            None => {
                self.silent_by_source.remove(&source);
            }
        }
    }
}

fn rank_of(source: Source, all: &BTreeMap<u64, Arc<Silent>>) -> Option<Rank> {
    let (oldest, _) = all.first_key_value()?;
    Some((all.len(), Reverse(*oldest), source))
}

/// After a storm from many sources, the table gives its memory back.
fn give_back(by_source: &mut HashMap<Source, usize>) {
    if by_source.capacity() > 1024 && by_source.len() < by_source.capacity() / 8 {
        by_source.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests;
