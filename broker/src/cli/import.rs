//! `firstwake device import`: a list of any length, a batch at a time.
//!
//! A batch is one write: it happens whole or is told whole. Several are on
//! their way at once, so that the registry never waits for the list to be read,
//! nor the list for the registry. Nothing that is read is kept for longer than
//! its batch.

mod reading;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Error, Result, bail};
use firstwake::ProductId;
use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use serde::Serialize;
use tokio::task::JoinSet;

use self::reading::{Batch, Reading};
use super::factory::{self, Format, List};
use super::form::Form;
use super::rejects::Rejects;
use crate::control::{Control, DevicesWish, ImportWish, Registered, Reply, Request};
use crate::output::complain;
use crate::signals::Stop;

/// Batches on their way at once: one is written, one is made ready, one comes.
const LANES: usize = 3;

/// A list to be taken in.
#[derive(clap::Args)]
pub(super) struct Args {
    /// Serials, one a line: values with commas, semicolons, tabs or bars between
    /// them, whose first line names the columns (serial, and of label, mac,
    /// sd_card, cpu_serial, board, root_disk, machine_id, cpuinfo those that
    /// there are), or one JSON object a line with members of these names; `-` is
    /// standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The product; needed where there are several
    #[arg(long, value_name = "PRODUCT_ID")]
    product: Option<ProductId>,
    /// How the file is written; told by its first character otherwise
    #[arg(long)]
    format: Option<Format>,
    #[command(flatten)]
    reading: factory::Reading,
    /// Only say what would become of each
    #[arg(long)]
    dry_run: bool,
    /// Write the lines that are rejected to a file, as line,serial,reason; on
    /// standard error stand the first of them otherwise
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

/// What became of a list.
#[derive(Serialize)]
struct Summary {
    product_id: ProductId,
    new: u64,
    /// Before this list.
    known: u64,
    /// Named before in this list.
    repeated: u64,
    rejected: u64,
    /// Lines of batches that were not taken in: the first and the last of each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    failed: Vec<(u64, u64)>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    dry_run: bool,
}

impl Args {
    pub(super) async fn run(self, control: &mut Control, form: Form) -> Result<()> {
        let list = List::open(&self.file, self.format, &self.reading)?;
        if let Some(report) = &self.report
            && same_file(report, &self.file)
        {
            bail!("the report would take the place of the list: name another file");
        }
        let rejects = Rejects::to(self.report.as_deref())?;
        let product_id = match self.product {
            Some(product) => product,
            None => only_product(control).await?,
        };
        let progress = progress(list.size())?;
        let mut import = Import {
            summary: Summary {
                product_id,
                new: 0,
                known: 0,
                repeated: 0,
                rejected: 0,
                failed: Vec::new(),
                dry_run: self.dry_run,
            },
            progress,
            trouble: None,
            is_interrupted: false,
        };
        let mut reading = Reading::of(list, rejects, self.dry_run);
        let mut stop = Stop::listen()?;
        let taken = import.take_in(control, &mut reading, &mut stop).await;
        if import.is_interrupted {
            // The thread that reads may wait for a pipe that says nothing more.
            import.interrupted();
            std::process::exit(INTERRUPTED);
        }
        taken?;
        let end = reading.end().await?;
        import.summary.rejected = end.rejected;
        if !self.dry_run {
            // The registry finds a serial known that stands before in the list.
            import.summary.known = import.summary.known.saturating_sub(end.repeats);
        }
        import.summary.repeated = end.repeats;
        import.finish(control, end.outcome, form).await
    }
}

fn same_file(one: &Path, other: &Path) -> bool {
    let (one, other) = (fs::canonicalize(one), fs::canonicalize(other));
    one.is_ok_and(|one| other.is_ok_and(|other| one == other))
}

/// The product that is meant where none is named.
pub(super) async fn only_product(control: &mut Control) -> Result<ProductId> {
    let Reply::Products(mut products) = control.ask(Request::Products).await? else {
        bail!("the server gave an answer to another question");
    };
    match (products.pop(), products.is_empty()) {
        (Some(only), true) => Ok(only.product_id),
        (None, _) => bail!("there is no product yet: make one with `firstwake product create`"),
        (Some(_), false) => bail!(
            "there are several products: name one with --product; `firstwake product list` shows \
             them"
        ),
    }
}

/// A bar on a terminal, with the rate and the time that is left.
fn progress(size: Option<u64>) -> Result<ProgressBar> {
    let progress = match size {
        Some(size) => ProgressBar::new(size).with_style(ProgressStyle::with_template(
            "{wide_bar} {percent:>3}%  {msg}, {eta} left",
        )?),
        None => ProgressBar::no_length()
            .with_style(ProgressStyle::with_template("{spinner} {elapsed}  {msg}")?),
    };
    Ok(progress.with_message("0 devices"))
}

/// A list on its way in.
struct Import {
    summary: Summary,
    progress: ProgressBar,
    /// Why not all of it comes in.
    trouble: Option<Error>,
    /// Whether a person, or the system, has asked it to stop.
    is_interrupted: bool,
}

/// The exit status of a command that Ctrl-C has ended, as shells give it.
const INTERRUPTED: i32 = 130;

/// What became of a batch, and the way to the registry, which is free again.
type Done = (Control, Batch, Result<Registered>);

impl Import {
    async fn take_in(
        &mut self,
        control: &Control,
        reading: &mut Reading,
        stop: &mut Stop,
    ) -> Result<()> {
        let mut lanes = Vec::with_capacity(LANES);
        for _ in 0..LANES {
            lanes.push(control.beside().await?);
        }
        let mut under_way: JoinSet<Done> = JoinSet::new();
        while self.trouble.is_none()
            && let Some(mut batch) = tokio::select! {
                biased;
                () = stop.next() => {
                    self.is_interrupted = true;
                    None
                }
                batch = reading.next() => batch,
            }
        {
            let lane = match lanes.pop() {
                Some(lane) => lane,
                None => match under_way.join_next().await {
                    Some(done) => self.settle(done?),
                    None => bail!("no way to the registry is left"),
                },
            };
            if self.trouble.is_some() {
                self.summary.failed.push((batch.first, batch.last));
                break;
            }
            let wish = DevicesWish {
                dry_run: self.summary.dry_run,
                ..DevicesWish::of(
                    self.summary.product_id.clone(),
                    std::mem::take(&mut batch.devices),
                )
            };
            under_way.spawn(send(lane, batch, wish));
        }
        // What is under way is counted, unless that takes too long for whoever
        // asks a second time.
        loop {
            let done = tokio::select! {
                biased;
                () = stop.next() => {
                    if self.is_interrupted {
                        break;
                    }
                    self.is_interrupted = true;
                    continue;
                }
                done = under_way.join_next() => done,
            };
            match done {
                Some(done) => drop(self.settle(done?)),
                None => break,
            }
        }
        self.progress.finish_and_clear();
        Ok(())
    }

    fn settle(&mut self, (lane, batch, outcome): Done) -> Control {
        match outcome {
            Ok(registered) => {
                self.summary.new += registered.new as u64;
                self.summary.known += (registered.known + registered.repeated) as u64;
                self.show(&batch);
            }
            Err(error) => {
                self.summary.failed.push((batch.first, batch.last));
                self.trouble.get_or_insert(error);
            }
        }
        lane
    }

    /// Says how much is in of a list that was not read to its end.
    fn interrupted(&self) {
        self.progress.finish_and_clear();
        let Summary { new, known, .. } = self.summary;
        let so_far = if self.summary.dry_run {
            "nothing was written"
        } else {
            "import the same file again for the rest: what is in is only counted"
        };
        complain(&format!(
            "interrupted: new {new}, known before or repeated {known}; {so_far}"
        ));
    }

    fn show(&self, batch: &Batch) {
        let devices = self.summary.new + self.summary.known;
        let took = self.progress.elapsed().as_millis().max(1);
        let rate = u64::try_from(u128::from(devices) * 1000 / took).unwrap_or(u64::MAX);
        let (devices, rate) = (HumanCount(devices), HumanCount(rate));
        self.progress
            .set_message(format!("{devices} devices, {rate}/s"));
        if batch.position > self.progress.position() {
            self.progress.set_position(batch.position);
        }
    }

    /// Tells what became of the list, here and in the audit log.
    async fn finish(mut self, control: &mut Control, read: Result<()>, form: Form) -> Result<()> {
        let Summary {
            new,
            known,
            repeated,
            rejected,
            dry_run,
            ..
        } = self.summary;
        if let Err(error) = read {
            // Why the registry did not take what was read says more.
            self.trouble.get_or_insert(error);
        } else if !dry_run && self.trouble.is_none() {
            let finished = ImportWish {
                product_id: self.summary.product_id.clone(),
                new,
                known,
                rejected,
            };
            let noted = control.ask(Request::FinishImport(finished)).await;
            let noted = noted.context("the devices are in, but not the note of it in the log");
            self.trouble = noted.err();
        }
        self.summary.failed.sort_unstable();
        let would = if dry_run { "would be: " } else { "" };
        let words = format!(
            "{would}new {new}, known before {known}, repeated {repeated}, rejected {rejected}"
        );
        form.tell(&self.summary, &words)?;
        for (first, last) in &self.summary.failed {
            complain(&format!("lines {first} to {last} are not known to be in"));
        }
        if let Some(error) = self.trouble {
            if !dry_run {
                complain(
                    "the list is not in as a whole: mend the cause and import the same file again; what is in is only counted",
                );
            }
            return Err(error);
        }
        match rejected {
            0 => Ok(()),
            1 => bail!("1 line was rejected"),
            count => bail!("{count} lines were rejected"),
        }
    }
}

async fn send(mut lane: Control, batch: Batch, wish: DevicesWish) -> Done {
    let outcome = match lane.ask(Request::Register(wish)).await {
        Ok(Reply::Registered(registered)) => Ok(registered),
        Ok(_) => Err(anyhow::anyhow!(
            "the server gave an answer to another question"
        )),
        Err(error) => Err(error),
    };
    (lane, batch, outcome)
}
