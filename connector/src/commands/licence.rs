//! `licence`: asks the server for one, or checks one without it.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use firstwake::Timestamp;
use firstwake::hardware::Facts;
use firstwake::licence::LicenceToken;
use firstwake_connector::{Machine, parse_key};

use super::say;
use crate::cli::{LicenceArgs, VerifyArgs};

pub(super) async fn ask(args: &LicenceArgs) -> anyhow::Result<()> {
    let device = args.device();
    let give_up_after = Duration::from_secs(args.patience.give_up_after);
    let token = firstwake_connector::licence(&device, give_up_after).await?;
    match &args.output {
        Some(path) => {
            keep(path, &token).with_context(|| format!("cannot write {}", path.display()))
        }
        None => {
            say(&token);
            Ok(())
        }
    }
}

/// A licence is no secret: whoever may read the directory may read it. It is
/// replaced as a whole, so that an application never sees half of one.
fn keep(path: &Path, token: &str) -> io::Result<()> {
    let mut beside = path.to_owned().into_os_string();
    beside.push(".new");
    // Left by a run that was cut off, or put there by another: it is not opened.
    drop(fs::remove_file(&beside));
    let mut file = File::create_new(&beside)?;
    writeln!(file, "{token}")?;
    file.sync_all()?;
    fs::rename(&beside, path)
}

pub(super) fn verify(args: &VerifyArgs) -> anyhow::Result<()> {
    let read = |path: &Path| {
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
    };
    let key = parse_key(&read(&args.key)?)?;
    let token = LicenceToken::verify(&read(&args.licence)?, &key, now())?;
    if let Some(serial) = &args.board.serial
        && *serial != token.serial
    {
        bail!("the licence is for the device {}", token.serial);
    }
    let board = match args.board.pepper()? {
        Some(pepper) => {
            let shown = Facts::of(&pepper, Machine::here().inventory().values());
            let misfits = token.misfits(&shown, &args.may_change);
            if !misfits.is_empty() {
                bail!("the licence is for another board: {misfits} differ");
            }
            match token.fits(&shown) {
                fits if fits.is_empty() => "any board: it names no fact of this one".to_owned(),
                fits => format!("this board ({fits})"),
            }
        }
        None => "any board, as none was compared (--credentials or --pepper-file)".to_owned(),
    };
    let LicenceToken {
        serial,
        product,
        expires_at,
        ..
    } = &token;
    say(&format!(
        "valid: {product}/{serial} until {expires_at}, for {board}"
    ));
    Ok(())
}

fn now() -> Timestamp {
    // Before 1970, no licence has begun.
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    Timestamp::from_millis(0).plus(since.unwrap_or_default())
}
