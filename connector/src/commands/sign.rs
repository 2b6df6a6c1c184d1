//! `sign`: one token on standard output.

use std::io::{self, Read};
use std::path::Path;

use anyhow::Context;
use firstwake_connector::{Machine, RequestSigner};

use super::say;
use crate::cli::{OwnArgs, SignArgs, wrong_usage};

pub(super) fn sign(own: &OwnArgs, asked: &SignArgs) -> anyhow::Result<()> {
    // Each run of this program is another process: what it drew and did not
    // use would be lost.
    let signer = RequestSigner::new(own.file(), &own.serial, Machine::here(), 1);
    let mut signer = signer?;
    if asked.login {
        say(&signer.login());
        return Ok(());
    }
    let (Some(audience), Some(method), Some(target)) =
        (&asked.audience, &asked.method, &asked.target)
    else {
        wrong_usage("expected --audience, --method and --target, or --login");
    };
    let body = match &asked.body_file {
        Some(file) => read(file).with_context(|| format!("cannot read {}", file.display()))?,
        None => Vec::new(),
    };
    say(&signer.sign(audience, method, target, &body)?);
    Ok(())
}

fn read(file: &Path) -> io::Result<Vec<u8>> {
    if file == Path::new("-") {
        let mut body = Vec::new();
        io::stdin().read_to_end(&mut body)?;
        Ok(body)
    } else {
        std::fs::read(file)
    }
}
