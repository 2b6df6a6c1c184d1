//! Commands that come down, and what is done with them.
//!
//! One at a time and in their order. A command is acknowledged when it has been
//! handed over: its line is written, or its program has started. Until then it
//! comes again on each connection; afterwards it does not, even if it restarts
//! the machine. What waits is bounded by what a server has under way at once.

mod line;
mod program;

use std::collections::VecDeque;
use std::fmt;
use std::future::pending;
use std::io::{self, Write};
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use firstwake::{FeedId, Serial};
use tokio::sync::mpsc;
use tracing::warn;

use crate::client::{INCOMING, Message, Receipt};

/// What is done with commands.
pub enum OnCommand {
    /// Nothing: they are not subscribed to.
    Ignore,
    /// Each becomes a line `NAME PAYLOAD`.
    Print(Box<dyn Write + Send>),
    /// Each runs this program, with the payload on its standard input.
    Run {
        /// What is started, without arguments.
        program: PathBuf,
        /// When it is ended, if it has not ended by itself.
        limit: Duration,
    },
}

impl fmt::Debug for OnCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ignore => "Ignore",
            Self::Print(_) => "Print",
            Self::Run { .. } => "Run",
        })
    }
}

/// A command to this device.
#[derive(Debug)]
pub(crate) struct Order {
    serial: Serial,
    feed: FeedId,
    name: String,
    payload: Vec<u8>,
}

/// What the worker says about the one order that it has.
enum Progress {
    /// It was handed over.
    Taken,
    /// There may be another one.
    Done,
}

/// Where orders wait for the worker.
pub(crate) struct Orders {
    serial: Serial,
    /// `None` where commands are ignored.
    worker: Option<Worker>,
    waiting: VecDeque<(Order, Receipt)>,
    at_work: AtWork,
}

struct Worker {
    orders: mpsc::Sender<Order>,
    progress: mpsc::Receiver<Progress>,
}

enum AtWork {
    Nothing,
    /// Not handed over yet; without a receipt if its connection is gone.
    Given(Option<Receipt>),
    Taken,
}

impl Orders {
    pub(crate) fn new(serial: Serial, on_command: OnCommand) -> io::Result<Self> {
        let (orders, given) = mpsc::channel(1);
        let (tell, progress) = mpsc::channel(2);
        let worker = Worker { orders, progress };
        let worker = match on_command {
            OnCommand::Ignore => None,
            OnCommand::Print(output) => {
                let print = move || print(output, given, &tell);
                thread::Builder::new()
                    .name("commands".to_owned())
                    .spawn(print)?;
                Some(worker)
            }
            OnCommand::Run { program, limit } => {
                tokio::spawn(program::run(program, limit, given, tell));
                Some(worker)
            }
        };
        Ok(Self {
            serial,
            worker,
            waiting: VecDeque::new(),
            at_work: AtWork::Nothing,
        })
    }

    /// What a connection has to subscribe to.
    pub(crate) fn filter(&self, feed: FeedId) -> Option<String> {
        self.worker.as_ref()?;
        Some(format!("feeds/{feed}/commands/+"))
    }

    /// Takes a message; one that is no command of this feed is `Err`.
    pub(crate) fn take(&mut self, feed: FeedId, message: Message) -> Result<(), Message> {
        let prefix = format!("feeds/{feed}/commands/");
        let Some(name) = message.topic.strip_prefix(&prefix) else {
            return Err(message);
        };
        let name = name.to_owned();
        if self.waiting.len() == INCOMING {
            warn!("too many commands at once: {name} waits for the next connection");
            return Ok(());
        }
        let (_, payload, receipt) = message.into_parts();
        let order = Order {
            serial: self.serial.clone(),
            feed,
            name,
            payload,
        };
        self.waiting.push_back((order, receipt));
        self.give();
        Ok(())
    }

    /// The receipt of the next command that was handed over. Cancel-safe.
    pub(crate) async fn taken(&mut self) -> Receipt {
        loop {
            let progress = match &mut self.worker {
                Some(worker) => worker.progress.recv().await,
                None => None,
            };
            match progress {
                Some(Progress::Taken) => {
                    let given = std::mem::replace(&mut self.at_work, AtWork::Taken);
                    if let AtWork::Given(Some(receipt)) = given {
                        return receipt;
                    }
                }
                Some(Progress::Done) => {
                    self.at_work = AtWork::Nothing;
                    self.give();
                }
                // Nobody works: commands wait for the next start.
                None => pending().await,
            }
        }
    }

    /// The connection is gone: what waits comes again on the next.
    pub(crate) fn disconnected(&mut self) {
        self.waiting.clear();
        if let AtWork::Given(receipt) = &mut self.at_work {
            *receipt = None;
        }
    }

    fn give(&mut self) {
        let Some(worker) = &self.worker else { return };
        if !matches!(self.at_work, AtWork::Nothing) {
            return;
        }
        if let Some((order, receipt)) = self.waiting.pop_front()
            && worker.orders.try_send(order).is_ok()
        {
            self.at_work = AtWork::Given(Some(receipt));
        }
    }
}

/// Writes lines, on a thread of its own: whoever reads them may be slow.
fn print(
    mut output: Box<dyn Write + Send>,
    mut given: mpsc::Receiver<Order>,
    tell: &mpsc::Sender<Progress>,
) {
    while let Some(order) = given.blocking_recv() {
        let line = line::of(&order.name, &order.payload);
        if let Err(error) = output
            .write_all(line.as_bytes())
            .and_then(|()| output.flush())
        {
            return warn!("cannot write commands any more: {error}");
        }
        for progress in [Progress::Taken, Progress::Done] {
            if tell.blocking_send(progress).is_err() {
                return;
            }
        }
    }
}
