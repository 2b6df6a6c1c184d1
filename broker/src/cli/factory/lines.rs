//! A file's lines, one at a time, none longer than a device needs.

use std::io::{BufRead, BufReader, Read};

use anyhow::Result;

/// Bytes of a line at most.
pub(super) const LONGEST: usize = 64 * 1024;
/// What some programs begin a file with.
const MARK: &[u8] = "\u{feff}".as_bytes();

pub(super) struct Lines<R> {
    source: BufReader<R>,
    line: Vec<u8>,
    number: u64,
    position: u64,
}

/// One line, without its end.
pub(super) enum Line<'a> {
    Whole(&'a [u8]),
    /// The beginning of one that is longer than [`LONGEST`].
    Long(&'a [u8]),
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

    /// The next bytes, without taking them; none at the end.
    pub(super) fn ahead(&mut self) -> Result<&[u8]> {
        let ahead = self.source.fill_buf()?;
        Ok(match self.number {
            0 => ahead.strip_prefix(MARK).unwrap_or(ahead),
            _ => ahead,
        })
    }

    /// The number of the line that was read last; the first is 1.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Bytes that were read.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// The next line. Of one that is too long, what follows is read and left.
    pub(super) fn next(&mut self) -> Result<Option<Line<'_>>> {
        self.line.clear();
        let most = LONGEST as u64;
        let mut source = (&mut self.source).take(most);
        let read = source.read_until(b'\n', &mut self.line)? as u64;
        if read == 0 {
            return Ok(None);
        }
        self.number += 1;
        self.position += read;
        let ends = self.line.ends_with(b"\n");
        if !ends && read == most && self.skip_rest()? {
            return Ok(Some(Line::Long(&self.line)));
        }
        let line = self.line.strip_suffix(b"\n").unwrap_or(&self.line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        Ok(Some(Line::Whole(match self.number {
            1 => line.strip_prefix(MARK).unwrap_or(line),
            _ => line,
        })))
    }

    /// Reads up to the end of the line, and returns whether there was more of
    /// it.
    fn skip_rest(&mut self) -> Result<bool> {
        let mut was_there = false;
        loop {
            let ahead = self.source.fill_buf()?;
            let end = ahead.iter().position(|byte| *byte == b'\n');
            let count = end.map_or(ahead.len(), |end| end + 1);
            was_there |= end.unwrap_or(count) > 0;
            self.position += count as u64;
            self.source.consume(count);
            if end.is_some() || count == 0 {
                return Ok(was_there);
            }
        }
    }
}
