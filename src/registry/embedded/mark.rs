//! How far the store had got: a small file in its directory, compared with the
//! store whenever that is opened.
//!
//! Rule: the mark is never ahead of what is on disk in the store. It is written
//! after a batch has been synced, and synced itself by a thread of its own, at
//! most once in [`PACE`]: a process that is killed leaves it exact, a power cut
//! leaves it behind by that long at most. So a store that is behind its mark has
//! lost something that was acknowledged, whatever happened.
//!
//! Three slots: one is synced, one is being synced, one is written. At most the
//! latter two can be torn at once, and each has a checksum.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::mpsc::{self, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::super::backup;
use super::super::rows::Counters;

/// The file's name in the store's directory.
pub(super) const NAME: &str = "mark";
/// Rest between two syncs of the mark.
const PACE: Duration = Duration::from_secs(1);

const SLOTS: u64 = 3;
/// Bytes from one slot to the next: a block each, so that a write to one never
/// touches another.
const SLOT: u64 = 4096;
const CONTENT: usize = 36;
const LENGTH: usize = CONTENT + 16;
const MAGIC: &[u8; 8] = b"FWmark\x00\x01";

/// A state that a store had reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Position {
    /// The newest batch has this number in the journal, or a higher one.
    pub(super) batch: u64,
    pub(super) newest_event: u64,
    pub(super) newest_feed: u32,
}

impl Position {
    pub(super) fn new(batch: u64, counters: Counters) -> Self {
        Self {
            batch,
            newest_event: counters.newest_event,
            newest_feed: counters.newest_feed,
        }
    }
}

/// The mark of an open store.
#[derive(Debug)]
pub(super) struct Mark {
    file: Arc<SlotFile>,
    wake: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct SlotFile {
    file: File,
    state: Mutex<State>,
}

#[derive(Clone, Copy, Debug)]
struct State {
    slot: u64,
    /// How often the mark was written.
    generation: u64,
    position: Position,
}

/// The mark in a store's directory, which nothing has open. `None` if there is
/// none that can be read: a store that was made by an earlier program, or is
/// new, or comes from a backup.
pub(super) fn read(directory: &Path) -> io::Result<Option<Position>> {
    match File::open(directory.join(NAME)) {
        Ok(file) => Ok(newest(&file)?.map(|state| state.position)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Removes the mark, so that the next start makes one of what is there.
pub(super) fn remove(directory: &Path) -> io::Result<()> {
    match fs::remove_file(directory.join(NAME)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => File::open(directory)?.sync_all(),
    }
}

impl Mark {
    /// Takes up the mark in a directory at this position; makes one where none
    /// can be read.
    pub(super) fn take_up(directory: &Path, position: Position) -> io::Result<Self> {
        let path = directory.join(NAME);
        let known = match File::options().read(true).write(true).open(&path) {
            Ok(file) => newest(&file)?.map(|state| (file, state)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let (file, mut state) = match known {
            Some(known) => known,
            None => make(&path, position)?,
        };
        // The slot that was written last may not be on disk: leave it be.
        state.slot = (state.slot + 1) % SLOTS;
        let file = Arc::new(SlotFile {
            file,
            state: Mutex::new(state),
        });
        file.note(position)?;
        let (wake, woken) = mpsc::sync_channel(1);
        let syncing = Arc::clone(&file);
        let thread = thread::Builder::new()
            .name("registry-mark".to_owned())
            .spawn(move || {
                while woken.recv().is_ok() {
                    syncing.sync();
                    thread::park_timeout(PACE);
                }
                syncing.sync();
            })?;
        Ok(Self {
            file,
            wake: Some(wake),
            thread: Some(thread),
        })
    }

    /// Where the store was when this was last noted.
    pub(super) fn position(&self) -> Position {
        self.file.state().position
    }

    /// Notes a state that is on disk in the store.
    pub(super) fn note(&self, position: Position) {
        if let Err(error) = self.file.note(position) {
            // A mark that lags is no worse than none: the write stands.
            tracing::warn!(%error, "the registry's mark could not be written");
        }
        if let Some(wake) = &self.wake {
            // Full: the thread is woken already.
            wake.try_send(()).ok();
        }
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        self.wake = None;
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            drop(thread.join());
        }
    }
}

impl SlotFile {
    fn state(&self) -> State {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, position: Position) -> io::Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.generation += 1;
        state.position = position;
        self.file.write_all_at(&encode(&state), state.slot * SLOT)
    }

    /// Brings what is noted to disk. What is noted meanwhile goes into the next
    /// slot: this one is whole on disk before it is written again.
    fn sync(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.slot = (state.slot + 1) % SLOTS;
        drop(state);
        if let Err(error) = self.file.sync_data() {
            tracing::warn!(%error, "the registry's mark could not be synced");
        }
    }
}

/// Makes the file beside its place, whole and on disk before it has its name.
fn make(path: &Path, position: Position) -> io::Result<(File, State)> {
    let state = State {
        slot: 0,
        generation: 1,
        position,
    };
    let beside = backup::beside(path, "new");
    let file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(&beside)?;
    // Zeros that are written, and not a hole: later writes then need no room.
    let room = usize::try_from(SLOTS * SLOT).unwrap_or_default();
    file.write_all_at(&vec![0; room], 0)?;
    file.write_all_at(&encode(&state), 0)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    if let Some(directory) = path.parent() {
        File::open(directory)?.sync_all()?;
    }
    Ok((file, state))
}

fn newest(file: &File) -> io::Result<Option<State>> {
    let mut newest: Option<State> = None;
    for slot in 0..SLOTS {
        let mut bytes = [0; LENGTH];
        match file.read_exact_at(&mut bytes, slot * SLOT) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => continue,
            read => read?,
        }
        let newer = decode(&bytes, slot)
            .filter(|found| newest.is_none_or(|it| it.generation < found.generation));
        newest = newer.or(newest);
    }
    Ok(newest)
}

fn encode(state: &State) -> [u8; LENGTH] {
    let State {
        slot: _,
        generation,
        position,
    } = state;
    let mut bytes = [0; LENGTH];
    let fields: [&[u8]; 5] = [
        MAGIC,
        &generation.to_le_bytes(),
        &position.batch.to_le_bytes(),
        &position.newest_event.to_le_bytes(),
        &position.newest_feed.to_le_bytes(),
    ];
    let mut rest = bytes.as_mut_slice();
    for field in fields {
        let (place, behind) = rest.split_at_mut(field.len());
        place.copy_from_slice(field);
        rest = behind;
    }
    let digest = Sha256::digest(&bytes[..CONTENT]);
    bytes[CONTENT..].copy_from_slice(&digest[..LENGTH - CONTENT]);
    bytes
}

fn decode(bytes: &[u8; LENGTH], slot: u64) -> Option<State> {
    let (content, checksum) = bytes.split_at(CONTENT);
    let number = |from: usize| {
        let field = content.get(from..from + 8)?;
        field.try_into().ok().map(u64::from_le_bytes)
    };
    let feed = content.get(32..36)?.try_into().ok()?;
    let is_whole = Sha256::digest(content)[..checksum.len()] == *checksum;
    (is_whole && content.starts_with(MAGIC)).then_some(State {
        slot,
        generation: number(8)?,
        position: Position {
            batch: number(16)?,
            newest_event: number(24)?,
            newest_feed: u32::from_le_bytes(feed),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(batch: u64) -> Position {
        Position {
            batch,
            newest_event: batch * 2,
            newest_feed: 7,
        }
    }

    #[test]
    fn a_mark_is_what_was_noted_last() {
        let home = tempfile::tempdir().expect("a directory");
        assert_eq!(read(home.path()).expect("readable"), None);
        for round in 0..5 {
            let mark = Mark::take_up(home.path(), at(round * 10)).expect("made");
            for batch in 1..=round {
                mark.note(at(round * 10 + batch));
                // A process that is killed leaves what a reader finds now.
                assert_eq!(
                    read(home.path()).expect("readable"),
                    Some(at(round * 10 + batch))
                );
            }
        }
        assert_eq!(read(home.path()).expect("readable"), Some(at(44)));
    }

    /// A slot that is torn or damaged is passed over: what is left is older.
    #[test]
    fn a_damaged_slot_is_never_a_mark() {
        let home = tempfile::tempdir().expect("a directory");
        let mark = Mark::take_up(home.path(), at(1)).expect("made");
        mark.note(at(2));
        drop(mark);
        let path = home.path().join(NAME);
        let whole = fs::read(&path).expect("readable");
        let newest = read(home.path()).expect("readable").expect("a mark");
        let mut older = 0;
        for bit in 0..whole.len() * 8 {
            if whole[bit / 8] == 0 && bit % 8 != 0 {
                continue;
            }
            let mut damaged = whole.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            fs::write(&path, damaged).expect("written");
            let found = read(home.path()).expect("readable").expect("a mark");
            assert!(found.batch <= newest.batch, "bit {bit}");
            older += usize::from(found != newest);
        }
        assert!(older >= LENGTH, "{older}");
        // Without any it is made anew.
        fs::write(&path, &whole[..20]).expect("written");
        assert_eq!(read(home.path()).expect("readable"), None);
        drop(Mark::take_up(home.path(), at(9)).expect("made"));
        assert_eq!(read(home.path()).expect("readable"), Some(at(9)));
    }
}
