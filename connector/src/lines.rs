//! Lines of input, read on a thread of their own.
//!
//! A blocked read of standard input cannot be called off, so it must not be
//! on a thread that anything waits for. A bad line is a warning, never an end;
//! a line without end does not fill the memory.

use std::io::{self, BufRead, BufReader, Read};
use std::thread;

use tokio::sync::mpsc;
use tracing::warn;

use crate::error::InvalidLine;
use crate::values::{Payload, Value, parse_line};
use firstwake::DatastreamId;

/// Room for a name, a separator, and the longest value, with space around.
const MAX_LINE: usize = 2 * Payload::MAX_LENGTH;

/// Reads values from `input` until it ends; the receiver sees that as the end
/// of the channel. Bare lines belong to `default`.
pub fn read_values(
    input: impl Read + Send + 'static,
    default: Option<DatastreamId>,
) -> io::Result<mpsc::Receiver<Value>> {
    let (sender, values) = mpsc::channel(16);
    thread::Builder::new()
        .name("values".to_owned())
        .spawn(move || {
            let mut input = BufReader::new(input);
            for number in 1_u64.. {
                let line = match next_line(&mut input) {
                    Ok(Some(line)) => line,
                    Ok(None) => return,
                    Err(error) => return warn!("cannot read line {number}: {error}"),
                };
                match line.and_then(|line| parse_line(&line, default.as_ref())) {
                    Ok(Some(value)) => {
                        if sender.blocking_send(value).is_err() {
                            return;
                        }
                    }
                    Ok(None) => {}
                    Err(invalid) => warn!("line {number} ignored: {invalid}"),
                }
            }
        })?;
    Ok(values)
}

/// The next line, or why it is none; `None` at the end of input.
fn next_line(input: &mut impl BufRead) -> io::Result<Option<Result<String, InvalidLine>>> {
    let mut line = Vec::new();
    let limit = MAX_LINE as u64;
    if input.by_ref().take(limit).read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    if line.len() == MAX_LINE && !line.ends_with(b"\n") {
        input.skip_until(b'\n')?;
        return Ok(Some(Err(InvalidLine::TooLong)));
    }
    Ok(Some(
        String::from_utf8(line).map_err(|_| InvalidLine::NotText),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(input: impl Into<Vec<u8>>) -> Vec<String> {
        let input = io::Cursor::new(input.into());
        let mut values = read_values(input, None).expect("a thread");
        let next = || values.blocking_recv().map(|value| value.to_string());
        std::iter::from_fn(next).collect()
    }

    #[test]
    fn bad_lines_do_not_end_it() {
        assert_eq!(read("a 1\n\nb/c 2\nlonely\nd=4"), ["a=1", "d=4"]);
        assert_eq!(read(b"a 1\n\xff\xfe\nb 2\n".to_vec()), ["a=1", "b=2"]);
        assert!(read("").is_empty());
    }

    #[test]
    fn an_endless_line_is_skipped() {
        let long = "x".repeat(10 * MAX_LINE);
        assert_eq!(read(format!("a 1\nb {long}\nc 3\n")), ["a=1", "c=3"]);
        let filler = "x".repeat(MAX_LINE);
        assert_eq!(read(format!("{filler}b 2\nc 3\n")), ["c=3"]);
        let exact = "x".repeat(MAX_LINE - 1);
        assert_eq!(read(format!("{exact}\nc 3\n")), ["c=3"]);
    }
}
