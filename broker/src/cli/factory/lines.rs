//! A file's lines, one at a time, none longer than a device needs.

use std::io::{BufRead, BufReader, Read};

use anyhow::{Result, bail};

/// Bytes of a line at most.
const LONGEST: u64 = 64 * 1024;
/// What some programs begin a file with.
const MARK: &[u8] = "\u{feff}".as_bytes();

pub(super) struct Lines<R> {
    source: BufReader<R>,
    line: Vec<u8>,
    number: u64,
    position: u64,
}

impl<R: Read> Lines<R> {
    pub(super) fn of(source: R) -> Self {
        Self {
            source: BufReader::with_capacity(256 * 1024, source),
            line: Vec::new(),
            number: 0,
            position: 0,
        }
    }

    /// The first byte, without taking it.
    pub(super) fn first(&mut self) -> Result<Option<u8>> {
        let ahead = self.source.fill_buf()?;
        Ok(ahead.strip_prefix(MARK).unwrap_or(ahead).first().copied())
    }

    /// The number of the line that was read last; the first is 1.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Bytes that were read.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// The next line, without its end.
    pub(super) fn next(&mut self) -> Result<Option<&[u8]>> {
        self.line.clear();
        let mut source = (&mut self.source).take(LONGEST);
        let read = source.read_until(b'\n', &mut self.line)? as u64;
        if read == 0 {
            return Ok(None);
        }
        self.number += 1;
        self.position += read;
        let line = match self.line.strip_suffix(b"\n") {
            Some(line) => line,
            None if read == LONGEST => {
                bail!("this is longer than {LONGEST} bytes: is it a list, with a device a line?")
            }
            None => &self.line,
        };
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        Ok(Some(match self.number {
            1 => line.strip_prefix(MARK).unwrap_or(line),
            _ => line,
        }))
    }
}
