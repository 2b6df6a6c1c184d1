//! The one task of this process that writes.
//!
//! It takes whoever is waiting, has their writes committed together, and only
//! then answers. A batch that nothing came of for a passing reason is tried
//! again; one of which it is not known whether it was kept is not, because it
//! might happen twice.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::super::RegistryError;
use super::super::trouble::Trouble;
use super::batch;
use super::lease::{Tries, unavailable};
use super::request::Request;
use super::{Presence, Shared};

/// How many requests may wait before further senders do.
const QUEUE: usize = 8192;
/// How many requests share one commit at most.
const GROUP: usize = 1024;
/// How many devices and writes: a registration of many is a batch of its own,
/// and those who come behind it do not wait for more of its kind.
const WEIGHT: usize = 8192;
/// How often a batch is staged anew before its senders are told to come again.
const ATTEMPTS: usize = 10;

/// Starts the task. It ends when the sender is gone and what was accepted is
/// written.
pub(super) fn spawn(shared: Arc<Shared>) -> mpsc::Sender<Request> {
    let (requests, queue) = mpsc::channel(QUEUE);
    tokio::spawn(run(shared, queue));
    requests
}

async fn run(shared: Arc<Shared>, mut queue: mpsc::Receiver<Request>) {
    let mut trouble = Trouble::default();
    while let Some(first) = queue.recv().await {
        let group = gather(first, &mut queue);
        write_group(&shared, group, &mut trouble).await;
    }
}

/// Whoever else is waiting already.
fn gather(first: Request, queue: &mut mpsc::Receiver<Request>) -> Vec<Request> {
    let mut weight = first.weight();
    let mut group = vec![first];
    while group.len() < GROUP && weight < WEIGHT {
        let Ok(next) = queue.try_recv() else { break };
        weight += next.weight();
        group.push(next);
    }
    group
}

async fn write_group(shared: &Shared, group: Vec<Request>, trouble: &mut Trouble) {
    match try_write(shared, &group).await {
        Ok(written) => {
            trouble.wrote();
            if let Some(proof) = written.proof {
                shared.note_proof(proof);
            }
            if let Some(newest) = written.newest_event {
                shared.advance(newest);
                shared.announce();
            }
            let outcomes = group.into_iter().zip(written.outcomes);
            outcomes.for_each(|(request, staged)| request.settle(staged));
        }
        Err(error) => {
            trouble.failed(&error);
            let group = group.into_iter();
            group.for_each(|request| request.refuse(&error));
        }
    }
}

async fn try_write(shared: &Shared, group: &[Request]) -> Result<batch::Written, RegistryError> {
    let mut tries = Tries::at_most(ATTEMPTS);
    loop {
        if shared.presence == Presence::Alone && !shared.is_present() {
            return Err(unavailable(
                "the connection is lost that kept other servers out",
            ));
        }
        match batch::write(shared, group).await {
            Ok(written) => return Ok(written),
            Err(failure) => {
                tracing::debug!(?failure, "a batch failed");
                tries.failed(failure)?;
            }
        }
    }
}
