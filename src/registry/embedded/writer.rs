//! The one thread that writes.
//!
//! It takes whoever is waiting ([`Line`] says who is next), stages their writes
//! in order, syncs once, and only then answers. After an I/O error the store
//! refuses further writes until it is opened anew: the thread drops it, answers
//! "unavailable", and opens it again, reading the counters from disk, before
//! the next batch.

mod line;

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use tokio::sync::{mpsc, oneshot};

use self::line::Line;
use super::super::rows::Counters;
use super::super::staging::{Changes, Staging};
use super::super::trouble::Trouble;
use super::super::{Batch, Commit, Registration, RegistryError, Write};
use super::Shared;
use super::mark::Position;
use super::store::Store;
use crate::event::NewEvent;
use crate::identity::FeedId;
use crate::mailbox::{Change, Outcome};

/// How many requests may wait before further senders do.
const QUEUE: usize = 8192;
/// How many requests share one sync at most.
const GROUP: usize = 1024;

/// Where an outcome goes.
type Answer<T> = oneshot::Sender<Result<T, RegistryError>>;

/// What is asked of the writer.
pub(super) enum Request {
    Commit {
        write: Box<Write>,
        events: Vec<NewEvent>,
        answer: Answer<Commit>,
    },
    Register {
        batch: Batch,
        answer: Answer<Vec<Registration>>,
    },
    Mailbox {
        feed: FeedId,
        change: Change,
        answer: Answer<Outcome>,
    },
    /// A reader found the store closed: open it again.
    Reopen,
}

/// The thread's handle. Dropping it writes what was accepted, then joins.
#[derive(Debug)]
pub(super) struct Writer {
    requests: Option<mpsc::Sender<Request>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    pub(super) fn spawn(shared: Arc<Shared>, counters: Counters) -> io::Result<Self> {
        let (requests, queue) = mpsc::channel(QUEUE);
        let thread = thread::Builder::new()
            .name("registry-writer".to_owned())
            .spawn(move || run(&shared, counters, queue))?;
        Ok(Self {
            requests: Some(requests),
            thread: Some(thread),
        })
    }

    pub(super) async fn send(&self, request: Request) -> Result<(), ()> {
        match &self.requests {
            Some(requests) => requests.send(request).await.map_err(|_| ()),
            None => Err(()),
        }
    }

    /// Has the store opened again, if the writer has not done so already. With
    /// a full queue there is no need: its next group does.
    pub(super) fn nudge(&self) {
        if let Some(requests) = &self.requests {
            drop(requests.try_send(Request::Reopen));
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.requests = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the registry's writer ended with a panic");
        }
    }
}

fn run(shared: &Shared, mut counters: Counters, queue: mpsc::Receiver<Request>) {
    let mut line = Line::new(queue);
    let mut group = Vec::with_capacity(GROUP);
    let mut ails = Ails::No;
    let mut trouble = Trouble::default();
    // A store that is closed is opened by whoever comes next.
    let has_room = || shared.store().map_or(true, |store| store.has_room());
    while line.next(&mut group, has_room) {
        match shared.store().or_else(|_| reopen(shared, &mut counters)) {
            Ok(store) => {
                let ill = (&mut ails, &mut trouble);
                counters = write_group(shared, &store, counters, ill, &mut group);
            }
            Err(error) => {
                trouble.failed(&error);
                group.drain(..).for_each(|request| request.refuse(&error));
            }
        }
        // At once, for those who only read. If it does not open yet, whoever
        // asks next has it tried again.
        if shared.store().is_err() {
            drop(reopen(shared, &mut counters));
        }
    }
}

/// Whether the last write failed. Then one that notes nothing writes all the
/// same: whoever asks for it wants to know whether the store can.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ails {
    No,
    Perhaps,
}

/// Opens the store again after an error; what it says is on disk is the truth.
fn reopen(shared: &Shared, counters: &mut Counters) -> Result<Arc<Store>, RegistryError> {
    let known = Some(shared.mark.position());
    let opened = shared
        .faults
        .open(|| Store::open_behind(&shared.path, known));
    let (store, found, position) = opened.map_err(|error| {
        let error = RegistryError::Unavailable(error.to_string());
        shared.replace(Err(error.clone()));
        error
    })?;
    let store = Arc::new(store);
    *counters = found;
    shared.mark.note(position);
    shared.replace(Ok(Arc::clone(&store)));
    // What failed may be on disk all the same, and nobody has been told.
    shared.newest.send_if_modified(|newest| {
        let moved = *newest != found.newest_event;
        *newest = found.newest_event;
        moved
    });
    tracing::debug!("the registry is open again");
    Ok(store)
}

/// Stages the whole group, syncs once, then answers everybody. Returns the
/// counters as they are on disk.
fn write_group(
    shared: &Shared,
    store: &Store,
    before: Counters,
    (ails, trouble): (&mut Ails, &mut Trouble),
    group: &mut Vec<Request>,
) -> Counters {
    let is_asked = group.iter().any(Request::asks_whether_it_can);
    let mut staging = Staging::new(store, before);
    let staged: Vec<Staged> = group
        .drain(..)
        .filter_map(|request| request.stage(&mut staging))
        .collect();
    let mut is_written = false;
    let write = |mut changes: Changes| {
        if changes.rows.is_empty() {
            match (&ails, is_asked) {
                (Ails::Perhaps, true) => changes.rewrite_counters(),
                _ => return Ok(changes.counters),
            }
        }
        is_written = true;
        let batch = store.next_batch();
        let written = shared.faults.write(|| store.write(changes))?;
        // It is on disk, so the mark may say so.
        shared.mark.note(Position::new(batch, written));
        Ok(written)
    };
    let written = staging.finish().and_then(write);
    *ails = match (&written, is_written) {
        (Err(_), _) => Ails::Perhaps,
        (Ok(_), true) => Ails::No,
        (Ok(_), false) => *ails,
    };
    match written {
        Ok(after) => {
            if is_written {
                trouble.wrote();
            }
            if after.newest_event != before.newest_event {
                shared.newest.send_replace(after.newest_event);
            }
            staged.into_iter().for_each(|one| one.settle(Ok(())));
            after
        }
        Err(error) => {
            trouble.failed(&error);
            if matches!(error, RegistryError::Unavailable(_)) {
                shared.replace(Err(error.clone()));
            }
            staged.into_iter().for_each(|one| one.settle(Err(&error)));
            before
        }
    }
}

impl Request {
    /// Whether it is there for nothing but its outcome.
    fn asks_whether_it_can(&self) -> bool {
        matches!(self, Self::Commit { write, events, .. }
            if matches!(**write, Write::Note) && events.is_empty())
    }

    fn stage(self, staging: &mut Staging<'_, Store>) -> Option<Staged> {
        Some(match self {
            Self::Commit {
                write,
                events,
                answer,
            } => Staged::Commit(staging.write(*write, &events), answer),
            Self::Register { batch, answer } => Staged::Register(staging.register(&batch), answer),
            Self::Mailbox {
                feed,
                change,
                answer,
            } => Staged::Mailbox(staging.change_mailbox(feed, change), answer),
            Self::Reopen => return None,
        })
    }

    fn refuse(self, error: &RegistryError) {
        match self {
            Self::Commit { answer, .. } => drop(answer.send(Err(error.clone()))),
            Self::Register { answer, .. } => drop(answer.send(Err(error.clone()))),
            Self::Mailbox { answer, .. } => drop(answer.send(Err(error.clone()))),
            Self::Reopen => {}
        }
    }
}

/// A request that waits for the sync to be answered.
enum Staged {
    Commit(Result<Commit, RegistryError>, Answer<Commit>),
    Register(
        Result<Vec<Registration>, RegistryError>,
        Answer<Vec<Registration>>,
    ),
    Mailbox(Result<Outcome, RegistryError>, Answer<Outcome>),
}

impl Staged {
    /// Tells whoever asked, unless it has gone; the write stands either way.
    fn settle(self, synced: Result<(), &RegistryError>) {
        let synced = synced.map_err(RegistryError::clone);
        match self {
            Self::Commit(outcome, answer) => drop(answer.send(synced.and(outcome))),
            Self::Register(outcome, answer) => drop(answer.send(synced.and(outcome))),
            Self::Mailbox(outcome, answer) => drop(answer.send(synced.and(outcome))),
        }
    }
}
