//! A commit whose answer nobody hears.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use deadpool_postgres::{Manager, ManagerConfig, Pool};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_postgres::config::Host;
use tokio_postgres::{Client, Config, Error, NoTls};

use super::super::{Postgres, Registry};
use super::database;
use crate::registry::conformance::an_event;
use crate::registry::{Commit, RegistryError, Write};

/// Makes connections that break once, when the server has answered to COMMIT,
/// after `armed` was set.
struct Breaking {
    armed: Arc<AtomicBool>,
}

impl deadpool_postgres::Connect for Breaking {
    fn connect(
        &self,
        config: &Config,
    ) -> Pin<Box<dyn Future<Output = Result<Made, Error>> + Send + '_>> {
        let config = config.clone();
        let armed = Arc::clone(&self.armed);
        Box::pin(async move {
            let stream = Fragile {
                stream: stream(&config).await.expect("a server"),
                armed,
                is_committing: false,
            };
            let (client, connection) = config.connect_raw(stream, NoTls).await?;
            let moved = tokio::spawn(async move { drop(connection.await) });
            Ok((client, moved))
        })
    }
}

type Made = (Client, tokio::task::JoinHandle<()>);

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

async fn stream(config: &Config) -> io::Result<Box<dyn Stream>> {
    let port = config.get_ports().first().copied().unwrap_or(5432);
    Ok(match config.get_hosts().first() {
        Some(Host::Unix(directory)) => {
            let socket = directory.join(format!(".s.PGSQL.{port}"));
            Box::new(UnixStream::connect(socket).await?)
        }
        Some(Host::Tcp(name)) => Box::new(TcpStream::connect((name.as_str(), port)).await?),
        None => return Err(io::ErrorKind::NotFound.into()),
    })
}

struct Fragile {
    stream: Box<dyn Stream>,
    armed: Arc<AtomicBool>,
    is_committing: bool,
}

impl AsyncRead for Fragile {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        let answer = buffer.filled().get(before..).unwrap_or_default();
        let committed = answer.windows(7).any(|bytes| bytes == b"COMMIT\0");
        match self.is_committing && committed {
            true => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            false => Poll::Ready(Ok(())),
        }
    }
}

impl AsyncWrite for Fragile {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if bytes.windows(6).any(|part| part == b"COMMIT") {
            self.is_committing |= self.armed.swap(false, Ordering::Relaxed);
        }
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[tokio::test]
async fn a_commit_of_unknown_outcome_is_not_repeated() {
    let database = database!();
    let armed = Arc::new(AtomicBool::new(false));
    let breaking = Breaking {
        armed: Arc::clone(&armed),
    };
    let config = database.config();
    let manager = Manager::from_connect(config, breaking, ManagerConfig::default());
    let pool = Pool::builder(manager).max_size(4).build().expect("a pool");
    let server = Postgres::open(pool, database.dial()).await.expect("opens");
    let note = || server.commit(Write::Note, vec![an_event()]);
    assert_eq!(note().await, Ok(Commit::Done));
    armed.store(true, Ordering::Relaxed);
    let Err(RegistryError::Unavailable(said)) = note().await else {
        panic!("nobody knows");
    };
    assert!(said.contains("not known"), "{said}");
    assert!(!armed.load(Ordering::Relaxed), "it broke at its commit");
    assert_eq!(
        server.events(0, 9).await.map(|all| all.len()),
        Ok(2),
        "once"
    );
    assert_eq!(note().await, Ok(Commit::Done), "and it goes on");
    assert_eq!(*server.newest().borrow(), 3);
}
