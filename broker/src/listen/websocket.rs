//! MQTT over WebSocket, with and without TLS: the HTTP request that asks for
//! it.
//!
//! [`answer`] judges a request of any HTTP server; [`upgrade`] is the small one
//! of these listeners, which knows no other request.

use std::convert::Infallible;
use std::future::{Future, poll_fn, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::header::{CONNECTION, CONTENT_TYPE, SEC_WEBSOCKET_PROTOCOL, UPGRADE};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tungstenite::handshake::server::create_response_with_body;

use super::Transport;
use super::tls::Tls;
use crate::origins::Origins;
use crate::websocket::WebSocket;
use crate::wire::{Stream, linger};

/// Where MQTT is.
const PATH: &str = "/mqtt";
/// What MQTT calls itself: since 3.1.1, and before.
const SUBPROTOCOLS: [&str; 2] = ["mqtt", "mqttv3.1"];
/// Bytes of a request at most. Browsers send cookies.
const REQUEST: usize = 16 * 1024;

/// What every WebSocket of a listener is held to.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    pub(crate) origins: Arc<Origins>,
    /// Bytes of the largest packet that anybody may send.
    pub(crate) packet: usize,
}

/// WebSocket over plain TCP.
pub(crate) struct Plain(pub(crate) Rules);

/// WebSocket over TLS.
pub(crate) struct Secure(pub(crate) Tls, pub(crate) Rules);

type Arriving<S> = Pin<Box<dyn Future<Output = Option<S>> + Send>>;

impl Transport for Plain {
    type Stream = WebSocket<TcpStream>;
    type Arriving = Arriving<Self::Stream>;

    fn arrive(&self, tcp: TcpStream) -> Self::Arriving {
        let rules = self.0.clone();
        Box::pin(async move { upgrade(tcp, &rules).await })
    }
}

impl Transport for Secure {
    type Stream = WebSocket<TlsStream<TcpStream>>;
    type Arriving = Arriving<Self::Stream>;

    fn arrive(&self, tcp: TcpStream) -> Self::Arriving {
        let Self(tls, rules) = self;
        let (tls, rules) = (tls.clone(), rules.clone());
        Box::pin(async move { upgrade(tls.accept(tcp).await?, &rules).await })
    }
}

/// Reads one request and answers it.
async fn upgrade<S: Stream>(stream: S, rules: &Rules) -> Option<WebSocket<S>> {
    let upgraded = AtomicBool::new(false);
    let service = service_fn(|request: Request<Incoming>| {
        let mut response = answer(&request, &rules.origins);
        match response.status() {
            StatusCode::SWITCHING_PROTOCOLS => upgraded.store(true, Ordering::Relaxed),
            // No second request on this connection.
            _ => drop(
                response
                    .headers_mut()
                    .append(CONNECTION, HeaderValue::from_static("close")),
            ),
        }
        ready(Ok::<_, Infallible>(response))
    });
    let mut connection = http1::Builder::new()
        .max_buf_size(REQUEST)
        .auto_date_header(false)
        .serve_connection(TokioIo::new(stream), service);
    let served = poll_fn(|cx| connection.poll_without_shutdown(cx)).await;
    let parts = connection.into_parts();
    let stream = parts.io.into_inner();
    if let Err(error) = &served {
        tracing::debug!(%error, "a WebSocket handshake failed");
    } else if upgraded.load(Ordering::Relaxed) {
        return Some(WebSocket::new(stream, &parts.read_buf, rules.packet));
    }
    // It was answered why, unless it is gone.
    linger(stream).await;
    None
}

/// What a request is answered: 101, or in a sentence why not.
pub(crate) fn answer<B>(request: &Request<B>, origins: &Origins) -> Response<String> {
    if request.uri().path() != PATH {
        return refuse(
            StatusCode::NOT_FOUND,
            "there is nothing here: MQTT over WebSocket is at /mqtt",
        );
    }
    if !wants_websocket(request.headers()) {
        let sentence = "this is MQTT over WebSocket: ask for an upgrade to websocket";
        let mut response = refuse(StatusCode::UPGRADE_REQUIRED, sentence);
        let headers = response.headers_mut();
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        return response;
    }
    if !origins.allow(request.headers()) {
        return refuse(
            StatusCode::FORBIDDEN,
            "pages of this origin may not connect: the operator lists those that may (origins)",
        );
    }
    let Some(subprotocol) = subprotocol(request.headers()) else {
        return refuse(
            StatusCode::BAD_REQUEST,
            "ask for the subprotocol mqtt (Sec-WebSocket-Protocol: mqtt)",
        );
    };
    match create_response_with_body(request, String::new) {
        Ok(mut response) => {
            let subprotocol = HeaderValue::from_static(subprotocol);
            response
                .headers_mut()
                .insert(SEC_WEBSOCKET_PROTOCOL, subprotocol);
            response
        }
        Err(error) => refuse(StatusCode::BAD_REQUEST, &error.to_string()),
    }
}

fn wants_websocket(headers: &HeaderMap) -> bool {
    let upgrade = headers.get(UPGRADE).and_then(|value| value.to_str().ok());
    upgrade.is_some_and(|value| value.eq_ignore_ascii_case("websocket"))
}

/// The first that the peer names and we speak.
fn subprotocol(headers: &HeaderMap) -> Option<&'static str> {
    let named = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter();
    let mut named = named
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(',').map(str::trim));
    named.find_map(|name| SUBPROTOCOLS.into_iter().find(|ours| *ours == name))
}

fn refuse(status: StatusCode, sentence: &str) -> Response<String> {
    let mut response = Response::new(format!("{sentence}\n"));
    *response.status_mut() = status;
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, text);
    response
}
