//! Lists of names alone: a device a line, with nothing else.

use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result};
use firstwake::InvalidName;

use super::csv::checked;
use super::encoding::{decoded, text as text_of};
use super::lines::{Line, Lines};
use super::{Rejected, source};

/// One line of a list of names.
pub(crate) struct Named<T> {
    /// The first is 1.
    pub(crate) line: u64,
    pub(crate) name: Result<T, Rejected>,
}

/// Reads one name a line from a file, or standard input (`-`). Empty lines are
/// passed over.
pub(in crate::cli) fn names<T>(
    path: &Path,
    parse: impl Fn(&str) -> Result<T, InvalidName>,
) -> Result<Vec<Named<T>>> {
    let (source, _, shown) = source(path)?;
    read(source, parse).with_context(|| format!("{shown} cannot be read"))
}

/// The same from a source.
pub(crate) fn read<T>(
    source: Box<dyn Read + Send>,
    parse: impl Fn(&str) -> Result<T, InvalidName>,
) -> Result<Vec<Named<T>>> {
    let (source, _) = decoded(source, None)?;
    let mut lines = Lines::of(source);
    let mut names = Vec::new();
    loop {
        let line = lines.number() + 1;
        let name = match lines.next()? {
            None => return Ok(names),
            Some(Line::Long(_)) => Err(Rejected::too_long()),
            Some(Line::Whole(text)) => {
                let text = text_of(text);
                match bare(&text) {
                    "" => continue,
                    text => one(text, &parse),
                }
            }
        };
        names.push(Named { line, name });
    }
}

fn one<T>(text: &str, parse: impl Fn(&str) -> Result<T, InvalidName>) -> Result<T, Rejected> {
    let name = checked(text).map_err(|reason| Rejected::of(text, reason))?;
    parse(name).map_err(|error| Rejected::of(text, error))
}

/// A name without what a program for tables puts around it: quotes, and the
/// delimiters of empty cells behind it. A comma may be part of a serial.
fn bare(line: &str) -> &str {
    let empty = |symbol: char| symbol.is_whitespace() || symbol == ';';
    let line = line.trim_matches(empty);
    if line.chars().all(|symbol| matches!(symbol, ',' | '"')) {
        return "";
    }
    let inner = line.strip_prefix('"').and_then(|it| it.strip_suffix('"'));
    inner.map_or(line, str::trim)
}
