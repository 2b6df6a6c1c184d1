//! `firstwake registry`: copies of it, and whether it fits together.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use firstwake::FeedId;
use firstwake::registry::check::{Finding, Progress, Remedy, Repair, Verdict};
use indicatif::{HumanBytes, HumanCount, ProgressBar};
use serde_json::json;

use super::form::{Form, fields};
use super::place::Place;
use crate::control::{Absent, Reply, Request, Unreachable};
use crate::edge::Clock;
use crate::home::{Home, Lock};

/// How often a line of progress is written anew.
const BEAT: Duration = Duration::from_millis(200);

/// Copies of the registry, and whether it fits together
#[derive(clap::Subcommand)]
pub(super) enum Command {
    /// Copy the registry as it is now into a directory, also while the server
    /// runs. The sealing key is not in the copy
    Backup {
        /// It is made, or is empty
        #[arg(value_name = "DIR")]
        directory: PathBuf,
    },
    /// Put a backup into a data directory that has no registry
    Restore {
        /// What `registry backup` made
        #[arg(value_name = "DIR")]
        directory: PathBuf,
        /// The last feed that was given out since the backup: the next device
        /// gets the one behind it [default: a million behind the backup's]
        #[arg(long, value_name = "FEED")]
        feeds_after: Option<FeedId>,
    },
    /// Hold every index and count against the devices. The server must not run
    Check {
        /// Put right what can be computed: indexes and counts, never a device
        /// or product
        #[arg(long)]
        repair: bool,
    },
}

impl Command {
    pub(super) async fn run(self, place: &Place, form: Form) -> Result<()> {
        match self {
            Self::Backup { directory } => back_up(&directory, place, form).await,
            Self::Restore {
                directory,
                feeds_after,
            } => restore(&directory, feeds_after, place, form),
            Self::Check { repair } => {
                let repair = match repair {
                    true => Repair::Mend,
                    false => Repair::Report,
                };
                check(repair, place, form).await
            }
        }
    }
}

async fn back_up(directory: &Path, place: &Place, form: Form) -> Result<()> {
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

fn restore(directory: &Path, feeds_after: Option<FeedId>, place: &Place, form: Form) -> Result<()> {
    let home = Home::prepare(&place.data_dir()?)?;
    let lock = locked(&home)?;
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

async fn check(repair: Repair, place: &Place, form: Form) -> Result<()> {
    let path = place.data_dir()?;
    if !path.join("lock").exists() {
        bail!(Unreachable::because(anyhow!(
            "there is no data directory {}: name the server's with --data-dir",
            path.display()
        )));
    }
    let lock = locked(&Home::prepare(&path)?)?;
    let bar = ProgressBar::new_spinner();
    let mut told = Ok(());
    let mut tell = |progress| match progress {
        Progress::Found(finding) if told.is_ok() => {
            told = bar.suspend(|| form.tell(&shown(&finding), &finding.to_string()));
        }
        Progress::Found(_) => {}
        Progress::Read { table, rows } => {
            bar.set_message(format!("{} rows, {table}", HumanCount(rows)));
            bar.tick();
        }
    };
    let checked = lock.check(repair, Clock::start().now(), &mut tell).await;
    bar.finish_and_clear();
    told?;
    conclude(checked?, form)
}

fn shown(finding: &Finding) -> serde_json::Value {
    json!({
        "table": finding.table,
        "row": finding.row,
        "fault": finding.fault,
        "remedy": finding.remedy.as_str(),
    })
}

/// Tells the end of it; faults that are left are an error.
fn conclude(verdict: Verdict, form: Form) -> Result<()> {
    let answer = json!({
        "sound": verdict.is_sound(),
        "rows": verdict.rows,
        "devices": verdict.devices,
        "newest_event": verdict.newest_event,
        "mended": verdict.mended,
        "mendable": verdict.mendable,
        "lasting": verdict.lasting,
        "left_over": verdict.left_over,
    });
    let words = fields(&[
        ("rows", verdict.rows.to_string()),
        ("devices", verdict.devices.to_string()),
        ("newest event", verdict.newest_event.to_string()),
        (Remedy::Mended.as_str(), verdict.mended.to_string()),
        (Remedy::Mendable.as_str(), verdict.mendable.to_string()),
        (Remedy::Lasting.as_str(), verdict.lasting.to_string()),
        (Remedy::LeftOver.as_str(), verdict.left_over.to_string()),
    ]);
    form.tell(&answer, &words)?;
    match (verdict.mendable, verdict.lasting) {
        (0, 0) => Ok(()),
        (_, 0) => bail!("the registry does not fit together: --repair puts it right"),
        (_, lasting) => bail!(
            "the registry is damaged, and {lasting} faults cannot be put right: if devices are \
             kept out by them, restore a backup"
        ),
    }
}

/// The right to touch the registry's files, which a running server has.
fn locked(home: &Home) -> Result<Lock> {
    home.try_lock()?.map_err(|in_use| {
        Unreachable::because(anyhow!(
            "the data directory {} is in use by process {}: stop it first",
            home.path().display(),
            in_use.by
        ))
        .into()
    })
}
