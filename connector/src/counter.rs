//! The numbers of a device's requests: each is used once, and none comes back.
//!
//! A server lets a request in by its number, so a number that was ever used
//! must not be drawn again, whatever happens: a range of them is written down,
//! synced, before the first of it is used. What was not used of it is lost,
//! and there are enough. Where there is no file yet, or no longer, the numbers
//! begin at the time in milliseconds, which is beyond all that were drawn.

use std::ops::Range;

use firstwake::Timestamp;

use crate::error::CounterError;
use crate::private_file::PrivateFile;

/// The first number that is too large: JSON's numbers are exact below it.
const END: u64 = 1 << 53;

/// Where the next number is kept.
#[derive(Clone, Debug)]
pub struct CounterFile {
    file: PrivateFile,
}

impl CounterFile {
    pub(crate) fn beside(credentials: &PrivateFile) -> Self {
        Self {
            file: credentials.beside(".counter"),
        }
    }

    /// So many numbers for the caller alone.
    pub fn reserve(&self, count: u32, now: Timestamp) -> Result<Range<u64>, CounterError> {
        let _others_wait = self.file.lock()?;
        let first = match self.file.read()? {
            Some(content) => parse(&content).ok_or_else(|| CounterError::Garbled {
                path: self.file.path().to_owned(),
            })?,
            None => now.as_millis().max(1),
        };
        let next = first.saturating_add(u64::from(count));
        if next > END {
            return Err(CounterError::Exhausted);
        }
        self.file.replace(format!("{next}\n").as_bytes())?;
        Ok(first..next)
    }
}

fn parse(content: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(content).ok()?;
    text.strip_suffix('\n')?
        .parse()
        .ok()
        .filter(|next| *next > 0)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::CredentialsFile;

    const NOW: Timestamp = Timestamp::from_millis(1_763_800_000_123);

    fn fixture() -> (tempfile::TempDir, CounterFile) {
        let directory = tempfile::tempdir().expect("directory");
        let file = CredentialsFile::at(directory.path().join("device.json"));
        (directory, file.counter())
    }

    #[test]
    fn numbers_go_on_where_they_ended() {
        let (_directory, counter) = fixture();
        let first = counter.reserve(3, NOW).expect("numbers");
        assert_eq!(first, 1_763_800_000_123..1_763_800_000_126);
        // A clock that was set back changes nothing.
        let early = Timestamp::from_millis(5);
        assert_eq!(counter.reserve(1, early).expect("numbers").start, first.end);
        assert_eq!(
            counter.reserve(1, NOW).expect("numbers").start,
            first.end + 1
        );
    }

    #[test]
    fn a_damaged_counter_is_no_new_beginning() {
        let (directory, counter) = fixture();
        counter.reserve(1, NOW).expect("numbers");
        let path = directory.path().join("device.json.counter");
        for damaged in ["", "17", "0\n", "seventeen\n"] {
            fs::write(&path, damaged).expect("written");
            let error = counter.reserve(1, NOW).expect_err("damaged");
            assert!(matches!(error, CounterError::Garbled { .. }), "{error}");
        }
    }

    #[test]
    fn numbers_end_where_json_would_round_them() {
        let (_directory, counter) = fixture();
        let late = Timestamp::from_millis(END - 2);
        assert_eq!(counter.reserve(2, late).expect("numbers").end, END);
        let error = counter.reserve(1, late).expect_err("none left");
        assert!(matches!(error, CounterError::Exhausted), "{error}");
    }

    #[test]
    fn those_who_draw_at_once_draw_different_ones() {
        let (_directory, counter) = fixture();
        let draw = || counter.reserve(5, NOW).expect("numbers");
        let mut drawn: Vec<u64> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(draw)).collect();
            let ranges = threads
                .into_iter()
                .map(|thread| thread.join().expect("drawn"));
            ranges.flatten().collect()
        });
        drawn.sort_unstable();
        drawn.dedup();
        assert_eq!(drawn.len(), 40);
    }
}
