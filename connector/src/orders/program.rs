//! A program for each command.
//!
//! It is started without a shell and without arguments: nothing of a command
//! is ever read as one. Its name is in the environment, its payload on standard
//! input. A program that does not end in time is ended.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tracing::warn;

use super::{Order, Progress};

pub(super) async fn run(
    program: PathBuf,
    limit: Duration,
    mut given: mpsc::Receiver<Order>,
    tell: mpsc::Sender<Progress>,
) {
    while let Some(order) = given.recv().await {
        match start(&program, &order) {
            Ok(child) => {
                if tell.send(Progress::Taken).await.is_err() {
                    return;
                }
                oversee(child, &order, limit).await;
            }
            Err(error) => {
                let (name, program) = (&order.name, program.display());
                warn!("{name}: cannot start {program}: {error}");
            }
        }
        if tell.send(Progress::Done).await.is_err() {
            return;
        }
    }
}

fn start(program: &Path, order: &Order) -> std::io::Result<Child> {
    Command::new(program)
        .env("FIRSTWAKE_COMMAND", &order.name)
        .env("FIRSTWAKE_FEED", order.feed.to_string())
        .env("FIRSTWAKE_SERIAL", order.serial.as_str())
        .env_remove("FIRSTWAKE_CODE")
        .stdin(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
}

async fn oversee(mut child: Child, order: &Order, limit: Duration) {
    let name = &order.name;
    match timeout(limit, finish(&mut child, &order.payload)).await {
        Ok(Ok(status)) if status.success() => {}
        Ok(Ok(status)) => warn!("{name}: the program ended with {status}"),
        Ok(Err(error)) => warn!("{name}: {error}"),
        Err(_) => {
            let seconds = limit.as_secs_f32();
            match child.kill().await {
                Ok(()) => warn!("{name}: the program was ended after {seconds} s"),
                Err(error) => warn!("{name}: the program cannot be ended: {error}"),
            }
        }
    }
}

async fn finish(child: &mut Child, payload: &[u8]) -> std::io::Result<ExitStatus> {
    if let Some(mut input) = child.stdin.take() {
        // A program that does not read it does not want it.
        let _ = input.write_all(payload).await;
    }
    child.wait().await
}
