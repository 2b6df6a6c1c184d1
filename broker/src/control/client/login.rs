//! The token that a command shows to a server elsewhere: from a file that is
//! its owner's alone, or from the environment. Never from an argument, which
//! other users of this machine can read.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result, bail};
use firstwake::OperatorToken;
use zeroize::Zeroizing;

/// Where a token may stand, if no file is named.
const VARIABLE: &str = "FIRSTWAKE_TOKEN";
/// More than a file with a token holds.
const MOST: u64 = 4096;

/// The token that is wanted stands nowhere.
#[derive(Debug, thiserror::Error)]
#[error(
    "a server asks for a token: name a file that holds one with --token-file, or set {VARIABLE} \
     (`firstwake token create`, on the server's machine, makes the first)"
)]
pub(crate) struct NoToken;

/// Finds the token: a file that is named goes before the environment.
pub(super) fn token(file: Option<&Path>) -> Result<OperatorToken> {
    if let Some(path) = file {
        let text = read(path)?;
        return OperatorToken::parse(text.trim())
            .with_context(|| format!("{} holds no token", path.display()));
    }
    let text = Zeroizing::new(std::env::var(VARIABLE).unwrap_or_default());
    if text.is_empty() {
        bail!(NoToken);
    }
    OperatorToken::parse(text.trim()).with_context(|| format!("{VARIABLE} holds no token"))
}

/// Reads a file that nobody else can: as `ssh` does with its keys.
fn read(path: &Path) -> Result<Zeroizing<String>> {
    let shown = path.display();
    let file = File::open(path).with_context(|| format!("{shown} cannot be opened"))?;
    let mode = file.metadata()?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        bail!(
            "{shown} is open to others (mode {mode:04o}): close it with chmod 600, and if others \
             use this machine, make another token"
        );
    }
    let mut text = Zeroizing::new(String::new());
    file.take(MOST)
        .read_to_string(&mut text)
        .with_context(|| format!("{shown} cannot be read"))?;
    Ok(text)
}
