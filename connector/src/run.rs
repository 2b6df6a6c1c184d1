//! Staying connected, and publishing what comes in.
//!
//! Two states, each a function: [`offline`] until there is a connection,
//! [`online`] until it is lost. Values wait in the outbox meanwhile. Online, a
//! full outbox makes the input wait; offline too, but only for a moment: then
//! it drops its oldest, so that whoever measures is not held up.

use std::future::Future;
use std::pin::pin;
use std::time::{Duration, Instant};

use firstwake::ActivationCode;
use firstwake::topic::device::data;
use tokio::select;
use tokio::sync::mpsc;
use tokio::time::sleep;
use tracing::{info, warn};

use crate::client::{Event, WINDOW};
use crate::device::Device;
use crate::error::{RunError, Trouble};
use crate::intake::{Intake, Taken};
use crate::orders::{OnCommand, Orders};
use crate::outbox::{CAPACITY, Outbox, Room};
use crate::values::Value;
use crate::wake::{Awake, NotAwake, Waking};

/// How long a full outbox makes the input wait for a connection.
const GRACE: Duration = Duration::from_secs(5);

/// Connects (activating first, if there are no credentials yet) and publishes
/// every value, until `values` ends or `stop` completes; then waits, for as
/// long as the device's pace allows, until all is acknowledged.
///
/// Trouble is retried for ever, and so are refusals, slowly: an operator may
/// resume the device. Commands that come meanwhile are handed to `on_command`.
pub async fn run(
    device: &Device,
    code: Option<&ActivationCode>,
    values: mpsc::Receiver<Value>,
    on_command: OnCommand,
    stop: impl Future<Output = ()>,
) -> Result<(), RunError> {
    let mut waking = Waking::new(device, code);
    let orders = Orders::new(device.serial.clone(), on_command);
    let mut desk = Desk {
        intake: Intake::new(values, stop, device.pace.flush),
        outbox: Outbox::default(),
        orders: orders.map_err(RunError::Thread)?,
        dropped: 0,
    };
    let mut lost = None;
    loop {
        let Some(awake) = offline(&mut waking, &mut desk, lost).await? else {
            return desk.result();
        };
        info!("connected to {}", device.broker);
        let opened = Instant::now();
        let Some(trouble) = online(awake, &mut desk).await else {
            return desk.result();
        };
        waking.connection_ended(opened);
        lost = Some(trouble);
    }
}

/// What is kept from one connection to the next.
struct Desk<S> {
    intake: Intake<S>,
    outbox: Outbox,
    orders: Orders,
    /// Values displaced since the last connection.
    dropped: usize,
}

/// Wakes the device while values gather; `None` when it is time to end.
async fn offline<S: Future<Output = ()>>(
    waking: &mut Waking<'_>,
    desk: &mut Desk<S>,
    lost: Option<Trouble>,
) -> Result<Option<Awake>, RunError> {
    let mut connecting = pin!(connect(waking, lost));
    let mut grace = pin!(sleep(GRACE));
    while !desk.is_done() {
        let room = if grace.is_elapsed() {
            Room::Left
        } else {
            desk.outbox.room()
        };
        select! {
            connected = &mut connecting => {
                desk.report_dropped();
                return connected.map(Some);
            }
            () = &mut grace, if !grace.is_elapsed() => {}
            taken = desk.intake.next(room) => if desk.take(taken) == Then::End { break },
        }
    }
    Ok(None)
}

/// Wakes the device, however long that takes.
async fn connect(waking: &mut Waking<'_>, lost: Option<Trouble>) -> Result<Awake, RunError> {
    if let Some(trouble) = lost {
        waking.wait_after(trouble).await;
    }
    loop {
        let first = waking.first()?.ok_or(RunError::NoCode)?;
        match waking.wake(first).await {
            Ok(awake) => return Ok(awake),
            Err(NotAwake::Refused(refusal)) => waking.wait_after_refusal(&refusal).await,
            Err(NotAwake::Credentials(error)) => return Err(error.into()),
        }
    }
}

/// Publishes until the connection is lost (and says why), or until it is time
/// to end.
async fn online<S: Future<Output = ()>>(awake: Awake, desk: &mut Desk<S>) -> Option<Trouble> {
    let Awake {
        mut connection,
        feed,
        ..
    } = awake;
    if let Some(filter) = desk.orders.filter(feed)
        && let Err(trouble) = connection.subscribe(filter)
    {
        return Some(trouble);
    }
    let trouble = loop {
        if desk.is_done() {
            connection.close().await;
            return None;
        }
        if let Some(value) = desk.outbox.hand_over(usize::from(WINDOW)) {
            let topic = data(feed, &value.datastream).as_str().to_owned();
            match connection.publish(topic, value.payload.as_str()) {
                Ok(()) => continue,
                Err(trouble) => break trouble,
            }
        }
        select! {
            event = connection.next() => match event {
                Ok(Event::Sent(id)) => desk.outbox.sent(id),
                Ok(Event::Acknowledged(id)) => desk.outbox.acknowledged(id),
                Ok(Event::Message(message)) => {
                    if let Err(other) = desk.orders.take(feed, message)
                        && let Err(trouble) = connection.acknowledge(&other)
                    {
                        break trouble;
                    }
                }
                Ok(Event::SubscriptionRefused) => warn!("this device may have no commands"),
                Ok(Event::Subscribed) => {}
                Err(trouble) => break trouble,
            },
            receipt = desk.orders.taken() => if let Err(trouble) = connection.take_off(&receipt) {
                break trouble;
            },
            taken = desk.intake.next(desk.outbox.room()) => if desk.take(taken) == Then::End {
                connection.close().await;
                return None;
            },
        }
    };
    desk.outbox.disconnected();
    desk.orders.disconnected();
    Some(trouble)
}

#[derive(PartialEq, Eq)]
enum Then {
    GoOn,
    End,
}

impl<S: Future<Output = ()>> Desk<S> {
    fn take(&mut self, taken: Taken) -> Then {
        match taken {
            Taken::Value(value) => {
                if self.outbox.push(value).is_some() {
                    if self.dropped == 0 {
                        warn!("{CAPACITY} values are waiting: dropping the oldest");
                    }
                    self.dropped += 1;
                }
                Then::GoOn
            }
            Taken::Exhausted => Then::GoOn,
            Taken::Overtime => Then::End,
        }
    }

    fn report_dropped(&mut self) {
        if self.dropped > 0 {
            warn!("{} values were dropped while offline", self.dropped);
            self.dropped = 0;
        }
    }

    /// Nothing more to come, nothing left to send.
    fn is_done(&self) -> bool {
        self.intake.is_exhausted() && self.outbox.is_empty()
    }

    fn result(&self) -> Result<(), RunError> {
        match self.outbox.len() {
            0 => Ok(()),
            values => Err(RunError::Undelivered { values }),
        }
    }
}
