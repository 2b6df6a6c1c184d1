//! The floor over HTTP: a handler of axum that counts, and hyper set up as the
//! server of a front door would.
//!
//! The answer has the size of a real one for a product with one datastream.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::IntoResponse;
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};

/// What a server must allow itself, so that a peer cannot hold it for nothing.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
const LARGEST_HEAD: usize = 16 * 1024;

/// Answers with how many have asked.
pub(super) fn app() -> Router {
    let issued = Arc::new(AtomicU32::new(0));
    Router::new()
        .route("/v2/devices/{code}/activate", get(activate))
        .with_state(issued)
}

async fn activate(State(issued): State<Arc<AtomicU32>>) -> impl IntoResponse {
    let number = issued.fetch_add(1, Ordering::Relaxed) + 1;
    let headers = [
        (CONTENT_TYPE, "application/json; charset=utf-8"),
        (CACHE_CONTROL, "no-store"),
    ];
    let body =
        format!(r#"{{"apikey":"{number:048}","feed_id":{number},"datastreams":["temperature"]}}"#);
    (headers, body)
}

pub(super) async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    app: Router,
) -> io::Result<()> {
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(LARGEST_HEAD)
        .title_case_headers(true)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(app))
        .await
        .map_err(io::Error::other)
}
