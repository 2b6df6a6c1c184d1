//! Bytes that HTTP connections hold in memory, bounded in all.
//!
//! A body that is not whole and an answer that is not taken wait in memory for
//! as long as their peers like. What they hold comes out of one budget for all
//! connections; who finds it used up is asked to come again.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use axum::response::{IntoResponse, Response};
use http_body_util::{BodyExt, LengthLimitError};
use hyper::body::{Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::problem::{Kind, Problem};

/// What is counted together.
const UNIT: usize = 1024;
/// Bytes of an answer that goes out at once: hyper holds about so much of each.
const AT_ONCE: usize = 16 * 1024;

/// A budget of bytes.
#[derive(Debug)]
pub(crate) struct Budget {
    left: Arc<Semaphore>,
    all: usize,
}

/// A part of a budget, for as long as it is held.
#[derive(Debug)]
struct Held {
    permit: OwnedSemaphorePermit,
    left: Arc<Semaphore>,
}

/// The sentence for a body that finds no room.
pub(super) const NO_ROOM: &str = "too many bodies are being read: try again in a few seconds";

/// Why a body is not there.
#[derive(Debug)]
pub(super) enum NotRead {
    /// The budget is used up.
    NoRoom,
    /// It is larger than its route takes.
    TooLarge,
    /// It broke off.
    Broken,
}

impl Budget {
    pub(crate) fn new(bytes: usize) -> Self {
        let all = (bytes / UNIT).clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize));
        Self {
            left: Arc::new(Semaphore::new(all)),
            all,
        }
    }

    /// Takes so many bytes, if they are left. One thing alone is never too
    /// much.
    fn take(&self, bytes: usize) -> Option<Held> {
        let left = Arc::clone(&self.left);
        let units = u32::try_from(bytes.div_ceil(UNIT).min(self.all)).ok()?;
        let permit = Arc::clone(&left).try_acquire_many_owned(units).ok()?;
        Some(Held { permit, left })
    }

    /// Reads a body. It counts until its last byte is dropped.
    pub(super) async fn read(&self, mut body: Body) -> Result<Bytes, NotRead> {
        let mut held = self.take(0).ok_or(NotRead::NoRoom)?;
        let mut whole = Vec::new();
        while let Some(frame) = body.frame().await {
            if let Ok(data) = frame.map_err(|error| NotRead::of(&error))?.into_data() {
                whole.extend_from_slice(&data);
                let all = self.all;
                held.cover(whole.capacity(), all).ok_or(NotRead::NoRoom)?;
            }
        }
        Ok(Bytes::from_owner(Kept { whole, _held: held }))
    }

    /// Has an answer count until its peer has taken it, or asks its peer to
    /// come again.
    pub(super) fn meter(&self, response: Response) -> Response {
        let Some(bytes) = HttpBody::size_hint(response.body()).exact() else {
            return response;
        };
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        if bytes <= AT_ONCE {
            return response;
        }
        let Some(held) = self.take(bytes) else {
            let sentence = "too many answers wait to be taken: try again in a few seconds";
            return Problem::new(Kind::Unavailable, sentence).into_response();
        };
        response.map(|body| {
            Body::new(Metered {
                body,
                ahead: Bytes::new(),
                _held: held,
            })
        })
    }
}

impl NotRead {
    fn of(error: &axum::Error) -> Self {
        let mut cause: Option<&dyn std::error::Error> = Some(error);
        while let Some(error) = cause {
            if error.is::<LengthLimitError>() {
                return Self::TooLarge;
            }
            cause = error.source();
        }
        Self::Broken
    }
}

impl Held {
    /// Holds so many bytes at least.
    fn cover(&mut self, bytes: usize, all: usize) -> Option<()> {
        let units = bytes.div_ceil(UNIT).min(all);
        let more = units.saturating_sub(self.permit.num_permits());
        if more > 0 {
            let more = u32::try_from(more).ok()?;
            let more = Arc::clone(&self.left).try_acquire_many_owned(more).ok()?;
            self.permit.merge(more);
        }
        Some(())
    }
}

/// Bytes that count.
struct Kept {
    whole: Vec<u8>,
    _held: Held,
}

impl AsRef<[u8]> for Kept {
    fn as_ref(&self) -> &[u8] {
        &self.whole
    }
}

/// An answer that is handed out in pieces, so that what is not taken waits
/// here, where it counts.
struct Metered {
    body: Body,
    ahead: Bytes,
    _held: Held,
}

impl HttpBody for Metered {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.ahead.is_empty() {
            match std::task::ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.ahead = data,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                other => return Poll::Ready(other),
            }
        }
        let piece = self.ahead.len().min(AT_ONCE);
        Poll::Ready(Some(Ok(Frame::data(self.ahead.split_to(piece)))))
    }

    fn is_end_stream(&self) -> bool {
        self.ahead.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let left = HttpBody::size_hint(&self.body);
        let ahead = self.ahead.len() as u64;
        match left.exact() {
            Some(exact) => SizeHint::with_exact(exact + ahead),
            None => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn bodies_come_out_of_one_budget() {
        let budget = Budget::new(8 * UNIT);
        let body = |bytes: usize| Body::from(vec![7; bytes]);
        let first = budget.read(body(5 * UNIT)).await.expect("room");
        assert_eq!(first.len(), 5 * UNIT);
        let second = budget.read(body(4 * UNIT)).await;
        assert!(matches!(second, Err(NotRead::NoRoom)));
        drop(first);
        drop(budget.read(body(4 * UNIT)).await.expect("room again"));
        let alone = budget.read(body(20 * UNIT)).await.expect("alone it may");
        assert_eq!(alone.len(), 20 * UNIT);
        assert!(budget.read(body(1)).await.is_err());
        drop(alone);
        assert_eq!(budget.left.available_permits(), budget.all);
    }

    #[tokio::test]
    async fn an_answer_counts_until_it_is_taken() {
        let budget = Budget::new(64 * UNIT);
        let answer = |bytes: usize| Response::new(Body::from(vec![7; bytes]));
        let waits = budget.meter(answer(40 * UNIT));
        let refused = budget.meter(answer(40 * UNIT));
        assert_eq!(refused.status(), http::StatusCode::SERVICE_UNAVAILABLE);
        let small = budget.meter(answer(AT_ONCE));
        assert_eq!(small.status(), http::StatusCode::OK, "small ones always go");
        let hint = HttpBody::size_hint(waits.body()).exact();
        assert_eq!(hint, Some(40 * UNIT as u64));
        let mut body = waits.into_body();
        let mut sizes = Vec::new();
        while let Some(frame) = body.frame().await {
            let data = frame.expect("whole").into_data().expect("data");
            sizes.push(data.len());
        }
        assert_eq!(sizes, [AT_ONCE, AT_ONCE, 8 * UNIT]);
        drop(body);
        assert_eq!(budget.left.available_permits(), budget.all);
    }
}
