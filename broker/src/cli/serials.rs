//! Where serials come from: arguments, a file, standard input, or a pattern.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Result, anyhow};
use firstwake::{InvalidName, Serial};

use super::factory::{Named, names};

/// Serials made up at once, at most.
const MOST: u32 = 10_000_000;

/// `PREFIX:COUNT`: the prefix and six digits, from 000000.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    prefix: String,
    count: u32,
}

impl FromStr for Pattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text
            .rsplit_once(':')
            .and_then(|(prefix, count)| Some((prefix.to_owned(), count.parse().ok()?)));
        let (prefix, count) = parsed.ok_or("use PREFIX:COUNT, such as demo-:1000")?;
        if !(1..=MOST).contains(&count) {
            return Err(format!("use a count from 1 to {MOST}"));
        }
        Ok(Self { prefix, count })
    }
}

/// Gathers serials from wherever they were asked for.
pub(super) fn gather(
    named: Vec<Serial>,
    from: Option<PathBuf>,
    generate: Option<Pattern>,
) -> Result<Vec<Serial>> {
    let mut serials = named;
    if let Some(path) = from {
        serials.extend(lines(&path, Serial::parse)?);
    }
    if let Some(Pattern { prefix, count }) = generate {
        serials.extend(Serial::numbered(&prefix, count)?);
    }
    if serials.is_empty() {
        return Err(anyhow!(
            "no serials: name some, or use --from FILE or --generate PREFIX:COUNT"
        ));
    }
    Ok(serials)
}

/// One name a line; any bad line is one of the whole list.
pub(super) fn lines<T>(
    path: &Path,
    parse: impl Fn(&str) -> Result<T, InvalidName>,
) -> Result<Vec<T>> {
    let shown = path.display();
    let each = names(path, parse)?.into_iter();
    each.map(|Named { line, name }| {
        name.map_err(|rejected| {
            anyhow!(
                "{shown}: line {line}: {:?}: {}",
                rejected.serial,
                rejected.reason
            )
        })
    })
    .collect()
}
