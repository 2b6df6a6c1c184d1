//! The server, as a process of its own.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child as Process, Command};
use zeroize::Zeroizing;

/// How long the server may take to stop.
const STOP: Duration = Duration::from_secs(10);

/// A running `firstwake serve`. Dropping it kills the process.
pub(super) struct Child {
    process: Process,
    pid: u32,
    address: SocketAddr,
    data_dir: PathBuf,
}

/// A name and a password.
pub(super) struct Login {
    pub(super) name: String,
    pub(super) password: Zeroizing<String>,
}

impl Child {
    /// Where the server keeps its data.
    pub(super) fn data_dir(home: &Path) -> PathBuf {
        home.join("data")
    }

    /// Starts this program as a server, and returns once it listens.
    pub(super) async fn start(home: &Path) -> Result<Self> {
        let program = std::env::current_exe().context("this program does not find itself")?;
        let data_dir = Self::data_dir(home);
        let log = fs::File::create(home.join("server.log"))?;
        let mut process = Command::new(program)
            .arg("serve")
            .arg("--data-dir")
            .arg(&data_dir)
            .args(["--mqtt", "127.0.0.1:0", "--http", "off"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            // Ctrl-C is for the demo, which then stops the server.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .context("the server cannot be started")?;
        let pid = process.id().context("the server has ended at once")?;
        let stdout = process.stdout.take().context("the server has no output")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).await?;
        let address = line.trim().strip_prefix("mqtt listening on ");
        let Some(address) = address.and_then(|text| text.parse().ok()) else {
            let log = fs::read_to_string(home.join("server.log")).unwrap_or_default();
            bail!("the server did not start: {}", log.trim());
        };
        Ok(Self {
            process,
            pid,
            address,
            data_dir,
        })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The credentials that the server's first run made.
    pub(super) fn first_operator(&self) -> Result<Login> {
        let path = self.data_dir.join("first-operator");
        let text = Zeroizing::new(
            fs::read_to_string(&path)
                .with_context(|| format!("{} cannot be read", path.display()))?,
        );
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.map(|value| value.trim().to_owned())
                .with_context(|| format!("{} has no {name}", path.display()))
        };
        Ok(Login {
            name: field("username ")?,
            password: field("password ")?.into(),
        })
    }

    /// Bytes of memory that the server holds now.
    pub(super) fn resident(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid))
            .context("the server has ended")?;
        let kilobytes = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .and_then(|rest| rest.trim().strip_suffix(" kB"))
            .and_then(|number| number.trim().parse::<u64>().ok())
            .context("the server's memory cannot be read")?;
        Ok(kilobytes * 1024)
    }

    /// Asks the server to stop, and checks that it did so cleanly.
    pub(super) async fn stop(mut self) -> Result<()> {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        kill_process(pid.context("no process id")?, Signal::TERM)?;
        let ended = tokio::time::timeout(STOP, self.process.wait()).await;
        let status = ended.context("the server does not stop")??;
        if !status.success() {
            bail!("the server ended with {status}");
        }
        Ok(())
    }
}
