//! A product secret from standard input: an argument would show it to other
//! users of the machine.

use std::io::Read;

use anyhow::{Context, Result};
use zeroize::Zeroizing;

/// All of standard input.
pub(super) fn read() -> Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::new());
    std::io::stdin()
        .read_to_string(&mut text)
        .context("standard input cannot be read")?;
    Ok(text)
}
