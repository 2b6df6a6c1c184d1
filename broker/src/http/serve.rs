//! One HTTP connection from its first byte to its last.
//!
//! A peer is a stranger, in the gate's sense, until somebody is admitted on its
//! connection, and again once a request on it is refused. One on which nobody
//! is ends after as long as a CONNECT may take, whatever it asked meanwhile: so
//! strangers cannot hold connections. One that belongs to somebody has so long
//! for each further head, and for taking what it is answered, and ends with the
//! right of its owner; bodies have a deadline of their own where they are read.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use http::header::CONNECTION;
use http::{HeaderValue, Request};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use tower::Service;

use super::peers::{Keep, Turn};
use super::unread::Unread;
use super::{Admitted, Http, Source};
use crate::broker::Broker;
use crate::gate::{Pass, Share, Turned};
use crate::listen::Conversation;
use crate::wire::{Stream, linger};

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
        courtesy: Share,
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

    let entry = broker.peers.enter(pass.address());
    let source = Source(pass.address());
    let (peer, shared) = (&entry, &broker);
    let service = service_fn(move |mut request: Request<Incoming>| {
        let admitted = Admitted::default();
        request.extensions_mut().insert(source);
        request.extensions_mut().insert(admitted.clone());
        let begun = peer.begin();
        let called = app.clone().call(request);
        async move {
            let mut response = called.await?;
            let (status, limits) = (response.status(), &shared.limits);
            let kept = peer.answered(begun, admitted.take(), status, limits);
            response = shared.answers.meter(response);
            if kept == Keep::Close {
                let close = HeaderValue::from_static("close");
                response.headers_mut().insert(CONNECTION, close);
            }
            Ok::<_, Infallible>(response)
        }
    });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(span)
        .max_buf_size(HEAD)
        // Firmware compares names of headers letter by letter.
        .title_case_headers(true)
        .serve_connection(TokioIo::new(Unread::new(stream)), service);

    let ended = loop {
        let step = async {
            tokio::select! {
                biased;
                ended = &mut connection => Step::Ended(ended),
                turn = entry.turn() => Step::Turned(turn),
            }
        };
        let step = broker.stopping.run_until_cancelled(pass.within(span, step));
        match step.await {
            Some(Some(Step::Ended(ended))) => break Ok(ended),
            Some(Some(Step::Turned(turn))) => match turn {
                Turn::Admitted => pass.opened(),
                Turn::Stranger => {
                    if pass.closed().is_err() {
                        break Err(LAST_ANSWER);
                    }
                }
                Turn::Check(admission) => {
                    if broker.provisioner.recheck(&admission).await.is_err() {
                        return;
                    }
                    pass.opened();
                }
                Turn::Banned => return,
            },
            // Nobody is admitted: what is being answered is still answered.
            Some(None) => break Err(LAST_ANSWER),
            None if pass.is_open() => break Err(Duration::MAX),
            None => break Err(LAST_ANSWER),
        }
    };
    let ended = match ended {
        Ok(ended) => Ok(ended),
        Err(deadline) => {
            Pin::new(&mut connection).graceful_shutdown();
            timeout(deadline, &mut connection).await
        }
    };
    let Ok(ended) = ended else {
        return;
    };
    note(ended);
    // A body may still be on its way to an answer that did not wait for it.
    let stream = connection.into_parts().io.into_inner();
    drop(entry);
    broker.linger(linger(stream), pass).await;
}

/// What happens next on a connection.
enum Step {
    Ended(hyper::Result<()>),
    Turned(Turn),
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
    _courtesy: Share,
    broker: Arc<Broker>,
) {
    if turned == Turned::Banned {
        return;
    }
    let told = timeout(COURTESY, async {
        let _count = stream.read(&mut [0; 4096]).await?;
        stream.write_all(BUSY).await?;
        linger(stream).await;
        io::Result::Ok(())
    });
    drop(broker.stopping.run_until_cancelled(told).await);
}
