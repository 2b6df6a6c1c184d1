//! One HTTP connection from its first byte to its last.
//!
//! A peer is a stranger, in the gate's sense, until somebody is admitted on its
//! connection. One on which nobody ever is ends after as long as a CONNECT may
//! take, whatever it asked meanwhile: so strangers cannot hold connections.
//! From then on it has so long for each further head, and for taking what it is
//! answered; bodies have a deadline of their own where they are read.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use tower::Service;

use super::unread::Unread;
use super::{Admitted, Http, Source};
use crate::broker::Broker;
use crate::gate::{Courtesy, Pass, Turned};
use crate::listen::Conversation;
use crate::wire::Stream;

/// Bytes of a request's head at most.
const HEAD: usize = 16 * 1024;
/// How long a stranger whose time is over may still be answered: those who fail
/// too often wait for theirs.
const LAST_ANSWER: Duration = Duration::from_secs(5);
/// How long a peer that is turned away may take for its request.
const COURTESY: Duration = Duration::from_secs(1);
/// What it is told, if it may come again.
const BUSY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\n\
                      Content-Length: 0\r\nConnection: close\r\n\r\n";

impl Conversation for Http {
    fn hold<A, S>(
        self,
        arriving: A,
        pass: Pass,
        broker: Arc<Broker>,
    ) -> impl Future<Output = ()> + Send + 'static
    where
        A: Future<Output = Option<S>> + Send + 'static,
        S: Stream,
    {
        converse(self.app, arriving, pass, broker)
    }

    fn turn_away<S: Stream>(
        self,
        stream: S,
        turned: Turned,
        courtesy: Courtesy,
        broker: Arc<Broker>,
    ) -> impl Future<Output = ()> + Send + 'static {
        turn_away(stream, turned, courtesy, broker)
    }
}

/// Answers requests until the peer is gone or the server stops.
async fn converse<A, S>(app: Router, arriving: A, mut pass: Pass, broker: Arc<Broker>)
where
    A: Future<Output = Option<S>>,
    S: Stream,
{
    let span = Duration::from_secs(broker.limits.connect_seconds.into());
    let arrived = broker
        .stopping
        .run_until_cancelled(pass.within(span, arriving));
    let Some(stream) = arrived.await.flatten().flatten() else {
        return;
    };

    let admitted = Admitted::default();
    let source = Source(pass.address());
    let service = service_fn(|mut request: Request<Incoming>| {
        request.extensions_mut().insert(source);
        request.extensions_mut().insert(admitted.clone());
        app.clone().call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(span)
        .max_buf_size(HEAD)
        // Firmware compares names of headers letter by letter.
        .title_case_headers(true)
        .serve_connection(TokioIo::new(Unread::new(stream)), service);
    let mut connection = pin!(connection);

    let opening = async {
        tokio::select! {
            biased;
            ended = connection.as_mut() => Opening::Ended(ended),
            () = admitted.0.notified() => Opening::Admitted,
        }
    };
    let opening = broker
        .stopping
        .run_until_cancelled(pass.within(span, opening));
    match opening.await {
        Some(Some(Opening::Admitted)) => {}
        Some(Some(Opening::Ended(ended))) => return note(ended),
        // Nobody was admitted, or the server stops: what is being answered is
        // still answered.
        Some(None) | None => {
            connection.as_mut().graceful_shutdown();
            if let Ok(ended) = timeout(LAST_ANSWER, connection).await {
                note(ended);
            }
            return;
        }
    }
    pass.opened();
    tokio::select! {
        biased;
        ended = connection.as_mut() => return note(ended),
        () = broker.stopping.cancelled() => {}
    }
    connection.as_mut().graceful_shutdown();
    note(connection.await);
}

/// How a connection began.
enum Opening {
    Ended(hyper::Result<()>),
    Admitted,
}

fn note(ended: hyper::Result<()>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "an HTTP connection broke off");
    }
}

/// Tells a peer to come again, once it has asked. Who is banned is told nothing.
async fn turn_away<S: Stream>(
    mut stream: S,
    turned: Turned,
    _courtesy: Courtesy,
    broker: Arc<Broker>,
) {
    if turned == Turned::Banned {
        return;
    }
    let told = timeout(COURTESY, async {
        // Who closes over what was not read takes back what it has written.
        let _count = stream.read(&mut [0; 4096]).await?;
        stream.write_all(BUSY).await?;
        stream.shutdown().await
    });
    drop(broker.stopping.run_until_cancelled(told).await);
}
