//! Reading the journals before `fjall` does.
//!
//! `fjall` reads a journal up to the first thing that does not fit, cuts the
//! file there, and serves what came before: right for a write that a power cut
//! tore, which is the last one, and wrong for damage further in, where whole
//! writes follow. So the journals are read here first, without a change to
//! them. Only a journal of the version known here is judged.
//!
//! ```text
//! batch  1 items:u32 number:u64  item…  3 checksum:u64 "FJL" 3     (little endian)
//! item   2 kind:u8 compression:u8 keyspace:u64 key:u16 value:u32 value:u32 KEY VALUE
//!        4 keyspace:u64
//! ```
//!
//! The checksum covers the items. A batch's number is covered by nothing, but
//! numbers go up.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_64;

use super::super::rows::{COUNTERS_KEY, Counters, decode};

/// The content of `fjall`'s marker file for the version whose journals are read.
const VERSION: &[u8] = b"FJL\x03";
const TRAILER: &[u8] = VERSION;
/// Batches that a mark is never behind by.
const FAR: u64 = 1 << 40;
/// Bytes read at once.
const CHUNK: usize = 1024 * 1024;

/// The state of all journals of a store.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// The number of the newest whole batch; `None` if the journals hold none.
    pub(super) newest: Option<u64>,
    /// Where that batch is.
    last: Option<(PathBuf, u64)>,
    /// The counters in the newest batch that has them.
    pub(super) counters: Option<Counters>,
    /// The first place that does not fit though whole batches follow.
    pub(super) damage: Option<Damage>,
    /// Bytes behind the last whole batch that are not zero: a write that was
    /// cut off, or one that was damaged.
    pub(super) tail: Option<Tail>,
}

/// A place in a journal that lies before whole batches and does not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Damage {
    pub(super) journal: PathBuf,
    /// In bytes from the start of the journal.
    pub(super) at: u64,
    /// The newest event before it, if a batch before it says so.
    pub(super) before: Option<u64>,
    /// The oldest event number that a batch behind it knows as the newest.
    pub(super) behind: Option<u64>,
    /// Only a batch's number is wrong: the batches are whole.
    pub(super) is_order: bool,
}

/// The end of the last journal that holds something.
#[derive(Debug)]
pub(super) struct Tail {
    journal: PathBuf,
    at: u64,
    bytes: Vec<u8>,
}

impl Tail {
    /// Cuts it off, as `fjall` does for most of what can be there: some of it
    /// it takes for damage, though the write was only torn.
    pub(super) fn cut(&self) -> io::Result<()> {
        let file = File::options().write(true).open(&self.journal)?;
        file.set_len(self.at)?;
        file.sync_all()
    }

    /// Puts it back where it was.
    pub(super) fn put_back(&self) -> io::Result<()> {
        use std::os::unix::fs::FileExt;
        let file = File::options().write(true).open(&self.journal)?;
        file.set_len(self.at)?;
        file.write_all_at(&self.bytes, self.at)?;
        file.sync_all()
    }
}

/// Reads the journals of the store in `path`. `None` if they are of a version
/// that is not known here.
pub(super) fn scan(path: &Path) -> io::Result<Option<Scan>> {
    if fs::read(path.join("version"))? != VERSION {
        return Ok(None);
    }
    let mut scan = Scan::default();
    for journal in journals(path)? {
        scan.read(&journal, &used(&journal)?);
    }
    Ok(Some(scan))
}

/// Takes what does not fit out of the journals, so that the whole batches around
/// it stay. The journals as they were stay beside them.
pub(super) fn cut_out_damage(path: &Path) -> io::Result<()> {
    for journal in journals(path)? {
        let bytes = used(&journal)?;
        let mut scan = Scan::default();
        let whole = scan.read(&journal, &bytes);
        if scan.damage.is_none() && scan.tail.is_none() {
            continue;
        }
        let mut kept = journal.clone();
        kept.set_extension("jnl.damaged");
        fs::write(&kept, &bytes)?;
        File::open(&kept)?.sync_all()?;
        let mut mended = journal.clone();
        mended.set_extension("jnl.mended");
        let mut file = File::create(&mended)?;
        for part in whole {
            file.write_all(&bytes[part])?;
        }
        file.sync_all()?;
        fs::rename(&mended, &journal)?;
    }
    File::open(path)?.sync_all()
}

/// The journals of a store, the oldest first.
fn journals(path: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(path)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let number = name.and_then(|name| name.strip_suffix(".jnl")?.parse::<u64>().ok());
        found.extend(number.map(|number| (number, path)));
    }
    found.sort_unstable();
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

/// A journal's bytes without the zeros at its end: `fjall` makes the file long
/// before it is full.
pub(super) fn used(journal: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(journal)?;
    let mut bytes = Vec::new();
    let mut zeros = 0;
    let mut chunk = vec![0; CHUNK];
    loop {
        let read = file.read(&mut chunk)?;
        let Some(last) = chunk[..read].iter().rposition(|byte| *byte != 0) else {
            if read == 0 {
                return Ok(bytes);
            }
            zeros += read;
            continue;
        };
        bytes.resize(bytes.len() + zeros, 0);
        bytes.extend_from_slice(&chunk[..=last]);
        zeros = read - last - 1;
    }
}

impl Scan {
    /// The last batch, if its number cannot be one: so many batches are not
    /// written before the mark is. It is the one whose number no other follows.
    pub(super) fn number_far_beyond(&self, marked: u64) -> Option<Damage> {
        let ((journal, at), number) = self.last.as_ref().zip(self.newest)?;
        (number.saturating_sub(marked) > FAR).then(|| Damage {
            journal: journal.clone(),
            at: *at,
            before: None,
            behind: None,
            is_order: true,
        })
    }

    /// Goes on with the next journal; returns where its whole batches lie.
    fn read(&mut self, journal: &Path, bytes: &[u8]) -> Vec<Range<usize>> {
        let mut whole = Vec::new();
        let (mut at, mut last) = (0, None);
        while at < bytes.len() {
            let found = Whole::read(bytes, at);
            let is_in_order = |it: &Whole| self.newest.is_none_or(|newest| it.number > newest);
            if let Some(batch) = found.as_ref().filter(|it| is_in_order(it)) {
                self.take(batch);
                last = Some(at);
                // Neighbours are one part.
                match whole.last_mut() {
                    Some(Range { end, .. }) if *end == at => *end = batch.end,
                    _ => whole.push(at..batch.end),
                }
                at = batch.end;
                continue;
            }
            let damage = Damage {
                journal: journal.to_owned(),
                at: at as u64,
                before: self.counters.map(|counters| counters.newest_event),
                behind: None,
                is_order: found.is_some(),
            };
            let next = match found {
                // Out of order, and whole: nothing behind it can be judged.
                Some(_) => bytes.len(),
                None => match self.next_whole(bytes, at + 1) {
                    Some(next) => next,
                    None => {
                        self.end_at(journal, bytes, at);
                        break;
                    }
                },
            };
            self.damage.get_or_insert(damage);
            at = next;
        }
        if let Some(last) = last {
            self.last = Some((journal.to_owned(), last as u64));
        }
        whole
    }

    fn take(&mut self, batch: &Whole) {
        // A journal that ends in what does not fit, and is not the last one.
        if let Some(tail) = self.tail.take() {
            self.damage.get_or_insert(Damage {
                journal: tail.journal,
                at: tail.at,
                before: self.counters.map(|counters| counters.newest_event),
                behind: None,
                is_order: false,
            });
        }
        self.newest = Some(batch.number);
        self.counters = batch.counters.or(self.counters);
        if let (Some(damage), Some(counters)) = (&mut self.damage, batch.counters) {
            damage.behind.get_or_insert(counters.newest_event);
        }
    }

    /// Where the next whole batch begins that is newer than all before.
    fn next_whole(&self, bytes: &[u8], from: usize) -> Option<usize> {
        let mut candidates = (from..bytes.len()).filter(|at| bytes[*at] == 1);
        candidates.find(|at| {
            let found = Whole::read(bytes, *at);
            found.is_some_and(|it| self.newest.is_none_or(|newest| it.number > newest))
        })
    }

    fn end_at(&mut self, journal: &Path, bytes: &[u8], at: usize) {
        self.tail = Some(Tail {
            journal: journal.to_owned(),
            at: at as u64,
            bytes: bytes[at..].to_vec(),
        });
    }
}

/// A batch that is as it was written, its number aside.
struct Whole {
    end: usize,
    number: u64,
    counters: Option<Counters>,
}

impl Whole {
    fn read(bytes: &[u8], at: usize) -> Option<Self> {
        let mut input = Input { bytes, at };
        input.tag(1)?;
        let items = u32::from_le_bytes(input.array()?);
        let number = u64::from_le_bytes(input.array()?);
        let start = input.at;
        let mut counters = None;
        for _ in 0..items {
            if let Some((key, value)) = input.item()?
                && key == COUNTERS_KEY
            {
                counters = Some(value);
            }
        }
        let checksum = xxh3_64(&bytes[start..input.at]);
        input.tag(3)?;
        let is_whole = u64::from_le_bytes(input.array()?) == checksum;
        let is_ended = input.take(TRAILER.len())? == TRAILER;
        (items > 0 && is_whole && is_ended).then(|| Self {
            end: input.at,
            number,
            counters: counters.and_then(|row| decode(row).ok()),
        })
    }
}

/// Bytes that are read on from a place.
struct Input<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Input<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(length)?;
        let taken = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn tag(&mut self, expected: u8) -> Option<()> {
        (self.array()? == [expected]).then_some(())
    }

    /// The key and the value of an item that has them.
    fn item(&mut self) -> Option<Option<(&'a [u8], &'a [u8])>> {
        match self.array()? {
            [2] => {
                let [kind, compression] = self.array()?;
                // Journals are not compressed: this program is built without.
                if !matches!(kind, 0..=2 | 4) || compression != 0 {
                    return None;
                }
                let _keyspace: [u8; 8] = self.array()?;
                let key = usize::from(u16::from_le_bytes(self.array()?));
                let value = u32::from_le_bytes(self.array()?);
                if u32::from_le_bytes(self.array()?) != value {
                    return None;
                }
                let key = self.take(key)?;
                Some(Some((key, self.take(usize::try_from(value).ok()?)?)))
            }
            [4] => self.take(8).map(|_| None),
            _ => None,
        }
    }
}
