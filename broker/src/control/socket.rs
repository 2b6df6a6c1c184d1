//! The socket in the data directory, at both its ends.
//!
//! Whoever can open it owns the data directory, so there is no login. A Unix
//! socket's address holds 107 bytes only; the directory is therefore named
//! through an open descriptor, which is short wherever it lies.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio_util::task::TaskTracker;
use zeroize::Zeroizing;

use super::declined::Because;
use super::request::{Reply, Request};
use super::steward::carry_out;
use crate::broker::Broker;
use crate::home::Home;
use crate::misread;

const NAME: &str = "control.sock";

/// Bytes of one line at most: some hundred thousand serials.
const LINE: u64 = 64 * 1024 * 1024;

/// Names the socket by a path that is short enough. The descriptor has to stay
/// open while the path is used.
fn short_path(home: &Home) -> io::Result<(File, PathBuf)> {
    let directory = File::open(home.path())?;
    let path = format!("/proc/self/fd/{}/{NAME}", directory.as_raw_fd());
    Ok((directory, path.into()))
}

/// The server's end. Its caller holds the directory's lock, so a socket that
/// is there already is a dead one.
pub(crate) fn bind(home: &Home) -> io::Result<UnixListener> {
    match fs::remove_file(home.path().join(NAME)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let (_directory, path) = short_path(home)?;
    UnixListener::bind(path)
}

/// A command's end; `None` if no server is running.
pub(super) async fn connect(home: &Home) -> io::Result<Option<UnixStream>> {
    let (_directory, path) = short_path(home)?;
    match UnixStream::connect(path).await {
        Ok(stream) => Ok(Some(stream)),
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Ok(None),
            _ => Err(error),
        },
    }
}

/// Serves commands until the future is dropped.
pub(crate) async fn serve(listener: UnixListener, broker: Arc<Broker>, tasks: TaskTracker) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tasks.spawn(converse(stream, Arc::clone(&broker)));
            }
            Err(error) => {
                tracing::warn!(%error, "a command could not be accepted");
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        }
    }
}

async fn converse(stream: UnixStream, broker: Arc<Broker>) {
    let mut stream = BufReader::new(stream);
    let stopping = &broker.stopping;
    while let Some(Ok(Some(line))) = stopping.run_until_cancelled(read_line(&mut stream)).await {
        let reply = match misread::json::<Request>(&line) {
            // It may take minutes, and is given up when the server stops.
            Ok(request @ Request::BackUp { .. }) => {
                let dispatch = broker.downlink();
                let copying = carry_out(request, &dispatch);
                match stopping.run_until_cancelled(copying).await {
                    Some(reply) => reply,
                    None => Err(Because::Busy.told("the server is stopping: nothing was copied")),
                }
            }
            Ok(request) => carry_out(request, &broker.downlink()).await,
            Err(error) => {
                let sentence = format!("the server does not know this request: {error}");
                Err(Because::Invalid.told(sentence))
            }
        };
        let reply = reply.unwrap_or_else(Reply::Refused);
        if write_line(&mut stream, &reply).await.is_err() {
            return;
        }
    }
}

pub(super) async fn read_line(
    stream: &mut BufReader<UnixStream>,
) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
    use tokio::io::AsyncReadExt;
    let mut line = Zeroizing::new(Vec::new());
    stream.take(LINE).read_until(b'\n', &mut line).await?;
    match line.last() {
        None => Ok(None),
        Some(b'\n') => Ok(Some(line)),
        Some(_) => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

pub(super) async fn write_line(
    stream: &mut BufReader<UnixStream>,
    message: &impl serde::Serialize,
) -> io::Result<()> {
    let mut line = Zeroizing::new(serde_json::to_vec(message)?);
    line.push(b'\n');
    stream.write_all(&line).await?;
    stream.flush().await
}
