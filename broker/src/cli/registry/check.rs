//! `firstwake registry check`: whether the registry fits together.

use anyhow::{Result, bail};
use firstwake::registry::check::{Finding, Progress, Remedy, Repair, Verdict};
use indicatif::{HumanCount, ProgressBar};
use serde_json::json;

use super::lock_existing;
use crate::cli::form::{Form, fields};
use crate::cli::place::Place;
use crate::edge::Clock;

pub(super) async fn run(repair: Repair, place: &Place, form: Form) -> Result<()> {
    let lock = lock_existing(place)?;
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
