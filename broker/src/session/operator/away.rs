//! Sitting in for a peer that is away: what comes over the bus is kept for it,
//! until it is there again or its session is over.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use super::OperatorHold;
use crate::broker::Broker;
use crate::bus::{BusEnded, Received};
use crate::edge::Tick;
use crate::mqtt::packet::Farewell;
use crate::sessions::{Handle, Place};

/// What happens next.
enum Next {
    /// The session's admission has to be checked again.
    Poked,
    Ended(Farewell),
    Received(Result<Received, BusEnded>),
    Stopping,
}

/// Keeps a session for a peer that is away, until `deadline` at the latest.
pub(super) async fn sit(mut hold: OperatorHold, place: Place, deadline: Tick, broker: Arc<Broker>) {
    let handle = place.handle();
    let bound = broker.limits.sessions_away();
    broker.seats.note_away(hold.seat.key(), handle, bound);
    let end = watch(&mut hold, handle, &broker).await;
    broker.seats.forget_away(handle);
    // The sweep may be late.
    let is_over = broker.clock.tick() >= deadline;
    match end {
        Some(Farewell::TakenOver) if !is_over => hold.put_down(),
        // A newcomer that begins anew publishes the will itself.
        Some(Farewell::Replaced | Farewell::TakenOver) => hold.end(&broker),
        Some(_) => {
            hold.end(&broker);
            if let Some(will) = broker.wills.take(place.owner()) {
                broker.publish_will(will).await;
            }
        }
        // Who may not be here may not publish a will either.
        None => {
            hold.end(&broker);
            drop(broker.wills.take(place.owner()));
        }
    }
}

/// Returns why the session has to end, or go on with another connection;
/// `None` if its operator is not what it was.
async fn watch(hold: &mut OperatorHold, handle: &Handle, broker: &Broker) -> Option<Farewell> {
    // What was to be checked may have been told to the connection before.
    let mut next = Next::Poked;
    loop {
        match next {
            Next::Poked => {
                let login = &hold.kept.login;
                broker.provisioner.recheck_operator(login).await.ok()?;
            }
            Next::Ended(farewell) => return Some(farewell),
            Next::Received(Ok(received)) => {
                let room = broker.limits.operator_queue();
                hold.kept.receive_away(received, room);
            }
            Next::Received(Err(BusEnded)) | Next::Stopping => {
                return Some(Farewell::ShuttingDown);
            }
        }
        let reader = &mut hold.kept.reader;
        let received = async {
            match reader {
                Some(reader) => reader.next().await,
                None => std::future::pending().await,
            }
        };
        next = tokio::select! {
            biased;
            () = broker.stopping.cancelled() => Next::Stopping,
            signal = signal(handle) => signal,
            received = received => Next::Received(received),
        };
    }
}

/// Waits for a signal from outside.
async fn signal(handle: &Handle) -> Next {
    poll_fn(|cx| {
        handle.register(cx.waker());
        if let Some(farewell) = handle.ended() {
            Poll::Ready(Next::Ended(farewell))
        } else if handle.take_poke() {
            Poll::Ready(Next::Poked)
        } else {
            Poll::Pending
        }
    })
    .await
}
