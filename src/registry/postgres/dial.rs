//! How a connection is made that notifications come over. The core opens no
//! socket: whoever opens the registry says how.

use std::fmt;
use std::pin::Pin;

use async_trait::async_trait;
use futures_util::Stream;
use futures_util::stream;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_postgres::{AsyncMessage, Client, Connection, Error};

/// Makes connections to the database that the pool's lead to, too.
#[async_trait]
pub trait Dial: Send + Sync {
    /// Makes one more.
    async fn dial(&self) -> Result<Line, Error>;
}

/// A connection that can be asked, and listened to.
pub struct Line {
    pub(super) client: Client,
    pub(super) messages: Messages,
}

/// What the server says without being asked. Asking it for the next message is
/// what moves the connection.
pub(super) type Messages = Pin<Box<dyn Stream<Item = Result<AsyncMessage, Error>> + Send>>;

impl Line {
    /// What `tokio_postgres` makes of a configuration, or of a stream.
    pub fn new<S, T>(client: Client, mut connection: Connection<S, T>) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let messages = stream::poll_fn(move |context| connection.poll_message(context));
        Self {
            client,
            messages: Box::pin(messages),
        }
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Line(…)")
    }
}
