//! `firstwake registry backup` and `restore`: copies of the registry.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail};
use firstwake::FeedId;
use indicatif::{HumanBytes, ProgressBar};
use serde_json::json;

use super::lock;
use crate::cli::form::Form;
use crate::cli::place::Place;
use crate::control::{Absent, Reply, Request};
use crate::home::Home;

/// How often a line of progress is written anew.
const BEAT: Duration = Duration::from_millis(200);

pub(super) async fn back_up(directory: &Path, place: &Place, form: Form) -> Result<()> {
    let into = std::path::absolute(directory)?;
    let mut control = place.reach(Absent::IsAnError).await?;
    let bar = ProgressBar::new_spinner();
    let mut asking = std::pin::pin!(control.ask(Request::BackUp { into: into.clone() }));
    let reply = loop {
        tokio::select! {
            reply = &mut asking => break reply,
            () = tokio::time::sleep(BEAT) => {
                let mut draft = into.clone().into_os_string();
                draft.push(".partial");
                bar.set_message(format!("{} copied", HumanBytes(size(Path::new(&draft)))));
                bar.tick();
            }
        }
    };
    bar.finish_and_clear();
    let Reply::BackedUp(inventory) = reply? else {
        bail!("the server gave an answer to another question");
    };
    let key = place.data_dir()?.join("sealing.key");
    let answer = json!({
        "directory": into,
        "devices": inventory.devices,
        "newest_event": inventory.newest_event,
        "newest_feed": inventory.newest_feed,
        "sealing_key": key,
    });
    let words = format!(
        "{} devices and {} events are in {}\nthe sealing key is not: keep a copy of {} elsewhere, \
         without it the backup is of no use",
        inventory.devices,
        inventory.newest_event,
        into.display(),
        key.display()
    );
    form.tell(&answer, &words)
}

/// How many bytes lie below a directory that is being filled; 0 if nobody
/// knows.
fn size(directory: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let sizes = entries.map(|entry| match entry.metadata() {
        Ok(found) if found.is_dir() => size(&entry.path()),
        Ok(found) => found.blocks() * 512,
        Err(_) => 0,
    });
    sizes.sum()
}

pub(super) fn restore(
    directory: &Path,
    feeds_after: Option<FeedId>,
    place: &Place,
    form: Form,
) -> Result<()> {
    let home = Home::prepare(&place.data_dir()?)?;
    let lock = lock(&home)?;
    let (inventory, newest) = lock.restore(directory, feeds_after)?;
    let key = home.sealing_key();
    let key_is_there = key.exists();
    let answer = json!({
        "devices": inventory.devices,
        "made_at": inventory.made_at,
        "newest_event": inventory.newest_event,
        "feeds_after": newest,
        "sealing_key": key,
        "sealing_key_is_there": key_is_there,
    });
    let next = match key_is_there {
        true => format!("the server opens it with {}", key.display()),
        false => format!(
            "put the sealing key of that registry into {} before the server starts",
            key.display()
        ),
    };
    let words = format!(
        "{} devices are back as they were at {}; the next event is {}, new devices get feeds \
         behind {newest}\n{next}",
        inventory.devices,
        inventory.made_at,
        inventory.newest_event + 1,
    );
    form.tell(&answer, &words)
}
