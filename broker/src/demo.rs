//! `firstwake demo`: a server, thousands of devices and an operator, on this
//! machine, in one command.
//!
//! The server is this very program as `serve` in a process of its own, reached
//! over real sockets only; the demo has no way in that others do not have. It
//! succeeds only if every device got its own feed and key and the operator saw
//! exactly what happened.

mod child;
mod hints;
mod screen;
mod verdict;
mod watcher;

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Parser;
use device_sim::{Ask, Confirm, Hold, Plan, Progress, Report, Stage, Transport, storm};
use firstwake::{DatastreamId, ProductId, ProductSecret, Serial};
use tokio::sync::oneshot;

use self::child::Child;
use self::screen::Screen;
use self::watcher::Watcher;
use crate::control::{Absent, Control, DevicesWish, ProductWish, Reply, Request};
use crate::output::say;
use crate::signals::Stop;

/// What the demo's serials begin with.
const PREFIX: &str = "demo-";
/// Serials registered with one request.
const CHUNK: usize = 10_000;
/// How long the operator may take to read the last events.
const LAST_EVENTS: Duration = Duration::from_secs(60);

/// Show what this is: a server, thousands of simulated devices, an operator
#[derive(Parser)]
pub(crate) struct Args {
    /// How many devices wake up
    #[arg(long, value_name = "N", default_value_t = 5000,
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    devices: u32,
    /// How many of them at once
    #[arg(long, value_name = "N", default_value_t = NonZeroUsize::MIN.saturating_add(199))]
    in_flight: NonZeroUsize,
    /// Leave the server up and print commands to try, until ctrl-C
    #[arg(long)]
    keep_running: bool,
}

impl Args {
    pub(crate) async fn run(self) -> Result<()> {
        enough_files(self.devices)?;
        let home = tempfile::Builder::new()
            .prefix("firstwake-demo-")
            .tempdir()
            .context("a temporary directory cannot be made")?;
        let mut stop = Stop::listen()?.or_hangup()?;
        let server = tokio::select! {
            server = self.play(home.path()) => server?,
            () = stop.next() => bail!("interrupted"),
        };
        if self.keep_running {
            stop.next().await;
        }
        server.stop().await
    }

    /// Plays it all, and returns the server, which is still running.
    async fn play(&self, home: &Path) -> Result<Child> {
        let screen = Screen::new(self.devices);
        let server = Child::start(home).await?;
        screen.note(&format!("server on {}", server.address()));
        let watcher = Watcher::start(server.address(), &server.first_operator()?).await?;
        screen.note("an operator watches provisioning/events/#");
        let set = Set::up(home, self.devices).await?;
        screen.note(&format!("{} serials registered", self.devices));

        let memory_before = server.resident()?;
        let plan = Plan {
            broker: server.address(),
            transport: Transport::Plain,
            secret: set.secret.clone(),
            serials: set.serials.clone(),
            in_flight: self.in_flight,
            confirm: Confirm::Skip,
            ask: Ask::default(),
            step_deadline: Plan::STEP_DEADLINE,
        };
        let progress = Arc::new(Progress::default());
        let (report, memory_held) = storm_and_measure(plan, &progress, &server, &screen).await?;
        screen.finish();
        say(&report.to_string())?;
        let counts = progress.counts();
        say(&format!(
            "activated {}, confirmed {}, refused {}, failed {}",
            counts.activated, counts.confirmed, counts.refused, counts.failed
        ))?;
        let grown = memory_held.saturating_sub(memory_before);
        say(&format!(
            "server memory: {} MB before, {} MB with every device connected: {:.1} KB a device",
            memory_before / 1_000_000,
            memory_held / 1_000_000,
            grown as f64 / 1000.0 / f64::from(self.devices),
        ))?;

        report.verdict()?;
        let expected = verdict::expected_events(&report);
        let seen = watcher.until(expected, LAST_EVENTS).await?;
        verdict::judge(&seen, &report)?;
        say(&format!(
            "the operator received {} events without a gap, exactly those of each device",
            seen.len()
        ))?;
        if self.keep_running {
            hints::print(home, server.address(), &set)?;
        }
        Ok(server)
    }
}

/// What was prepared for the devices.
struct Set {
    product: ProductId,
    secret: ProductSecret,
    serials: Vec<Serial>,
}

impl Set {
    /// Makes the product and registers the serials, as any operator would.
    async fn up(home: &Path, devices: u32) -> Result<Self> {
        let (mut control, _) = Control::reach(&Child::data_dir(home), Absent::IsAnError).await?;
        let create = Request::CreateProduct(ProductWish {
            datastreams: vec!["temperature".parse::<DatastreamId>()?.into()],
            ..ProductWish::named("demo".to_owned())
        });
        let Reply::ProductCreated { product, secret } = control.ask(create).await? else {
            bail!("the server gave an answer to another question");
        };
        let serials = Serial::numbered(PREFIX, devices)?;
        for chunk in serials.chunks(CHUNK) {
            let register = Request::Register(DevicesWish::of(
                product.product_id.clone(),
                chunk.iter().cloned().map(Into::into).collect(),
            ));
            control.ask(register).await?;
        }
        Ok(Self {
            product: product.product_id,
            secret: ProductSecret::parse(&secret)?,
            serials,
        })
    }
}

/// Runs the storm, and measures the server while every device is connected.
async fn storm_and_measure(
    mut plan: Plan,
    progress: &Arc<Progress>,
    server: &Child,
    screen: &Screen,
) -> Result<(Report, u64)> {
    let (release, released) = oneshot::channel();
    plan.confirm = Confirm::ThenHold(Hold::Until(released));
    let mut stage = progress.stage();
    let storm = storm::run(plan, Arc::clone(progress));
    tokio::pin!(storm);
    let holding = async {
        let reached = stage.wait_for(|stage| *stage != Stage::Storming).await;
        reached.map(|_| ()).context("the simulation has ended")
    };
    tokio::select! {
        report = &mut storm => return Ok((report?, server.resident()?)),
        () = screen.follow(progress) => bail!("the progress has ended"),
        held = holding => held?,
    }
    let memory = server.resident()?;
    // A storm that has ended by itself needs no release.
    let _ = release.send(());
    Ok((storm.await?, memory))
}

/// Devices and server hold one file for each connection.
fn enough_files(devices: u32) -> Result<()> {
    /// What else a process needs.
    const RESERVE: u64 = 256;
    let files = rlimit::increase_nofile_limit(u64::MAX).unwrap_or(0);
    let room = files.saturating_sub(RESERVE);
    if u64::from(devices) > room {
        bail!(
            "{devices} devices need as many open files, and this machine allows {files} a process: \
             use --devices {room} or fewer, or raise the limit (ulimit -Hn)"
        );
    }
    Ok(())
}
