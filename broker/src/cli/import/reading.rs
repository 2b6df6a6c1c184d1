//! The thread that reads a list and makes batches of it.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use anyhow::Result;
use firstwake::{Provisioner, Serial};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::cli::factory::{List, Row};
use crate::cli::rejects::Rejects;
use crate::control::DeviceWish;

/// Bytes of a list that go into one batch at most, so that it fits into the
/// body of a request.
const BYTES: u64 = 256 * 1024;
/// Batches that are read ahead.
const AHEAD: usize = 2;

/// Devices that are sent together.
pub(super) struct Batch {
    pub(super) devices: Vec<DeviceWish>,
    /// The lines they stand in, the first and the last.
    pub(super) first: u64,
    pub(super) last: u64,
    /// Bytes of the list up to its end.
    pub(super) position: u64,
}

/// A list that is being read.
pub(super) struct Reading {
    batches: mpsc::Receiver<Batch>,
    thread: JoinHandle<Result<End>>,
}

/// How it ended.
pub(super) struct End {
    pub(super) rejected: u64,
    /// Lines whose serial stands in a line before.
    pub(super) repeats: u64,
    /// Whether it was read to its end.
    pub(super) outcome: Result<()>,
}

impl Reading {
    /// Begins. Repeats are sent like other lines, so that none is lost that is
    /// taken for one; `dry_run` leaves them out, as the registry, which writes
    /// nothing then, would find each of them new.
    pub(super) fn of(list: List, rejects: Rejects, dry_run: bool) -> Self {
        let (sender, batches) = mpsc::channel(AHEAD);
        let mut reader = Reader {
            list,
            rejects,
            met: Met::default(),
            repeats: 0,
            sends_repeats: !dry_run,
            batches: sender,
        };
        let thread = tokio::task::spawn_blocking(move || {
            let outcome = reader.read();
            Ok(End {
                rejected: reader.rejects.finish()?,
                repeats: reader.repeats,
                outcome,
            })
        });
        Self { batches, thread }
    }

    pub(super) async fn next(&mut self) -> Option<Batch> {
        self.batches.recv().await
    }

    /// Waits for the thread, which stops at once if there is more to read.
    pub(super) async fn end(self) -> Result<End> {
        drop(self.batches);
        self.thread.await?
    }
}

struct Reader {
    list: List,
    rejects: Rejects,
    met: Met,
    repeats: u64,
    sends_repeats: bool,
    batches: mpsc::Sender<Batch>,
}

impl Reader {
    fn read(&mut self) -> Result<()> {
        let mut devices: Vec<DeviceWish> = Vec::new();
        let (mut first, mut last) = (0, 0);
        let mut begun = self.list.position();
        while let Some(Row { line, device }) = self.list.next()? {
            let device = match device {
                Ok(device) => device,
                Err(rejected) => {
                    self.rejects.note(line, &rejected)?;
                    continue;
                }
            };
            if !self.met.is_new(&device.serial) {
                self.repeats += 1;
                if !self.sends_repeats {
                    continue;
                }
            }
            if devices.is_empty() {
                first = line;
            }
            last = line;
            devices.push(device);
            let position = self.list.position();
            if devices.len() >= Provisioner::REGISTERED_AT_ONCE || position - begun >= BYTES {
                begun = position;
                if !self.send(&mut devices, first, last) {
                    return Ok(());
                }
            }
        }
        if !devices.is_empty() {
            self.send(&mut devices, first, last);
        }
        Ok(())
    }

    /// False if nobody takes batches any more.
    fn send(&self, devices: &mut Vec<DeviceWish>, first: u64, last: u64) -> bool {
        let mut devices = std::mem::take(devices);
        // Neighbours are found and written faster.
        devices.sort_unstable_by(|one, other| one.serial.cmp(&other.serial));
        let batch = Batch {
            devices,
            first,
            last,
            position: self.list.position(),
        };
        self.batches.blocking_send(batch).is_ok()
    }
}

/// Serials that were met, as 8 bytes each: two of ten million may share them
/// once in half a million lists.
#[derive(Default)]
struct Met {
    keys: RandomState,
    seen: HashSet<u64>,
}

impl Met {
    fn is_new(&mut self, serial: &Serial) -> bool {
        self.seen.insert(self.keys.hash_one(serial))
    }
}
