//! A stream whose peer has to read.
//!
//! An answer waits in memory until its peer takes it. One that takes nothing
//! for a while, or next to nothing, loses its connection, so that nobody can
//! pile up answers.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use crate::wire::Stream;

/// How long a peer may take next to nothing.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes that it has to take in that time, unless that is all.
const LEAST: usize = 16 * 1024;

/// A stream that gives up a peer who does not read.
pub(super) struct Unread<S> {
    stream: S,
    /// Set while something waits to be taken.
    waiting: Option<Pin<Box<Sleep>>>,
    /// Bytes that were taken since then.
    taken: usize,
}

impl<S: Stream> Unread<S> {
    pub(super) fn new(stream: S) -> Self {
        Self {
            stream,
            waiting: None,
            taken: 0,
        }
    }

    /// Takes in that bytes were taken. A few at a time do not buy a peer
    /// another while.
    fn note_taken(&mut self, written: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(bytes)) = written {
            self.taken += bytes;
            if self.taken >= LEAST {
                self.all_taken();
            }
        }
    }

    /// Nothing waits any more, or enough was taken.
    fn all_taken(&mut self) {
        self.waiting = None;
        self.taken = 0;
    }

    /// Passes on what became of a write, or ends the wait for it.
    fn poll_patiently<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            return written;
        }
        let waiting = self
            .waiting
            .get_or_insert_with(|| Box::pin(sleep(PATIENCE)));
        ready!(waiting.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: Stream> AsyncRead for Unread<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: Stream> AsyncWrite for Unread<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.note_taken(&written);
        self.poll_patiently(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.note_taken(&written);
        self.poll_patiently(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        if flushed.is_ready() {
            self.all_taken();
        }
        self.poll_patiently(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let closed = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.poll_patiently(cx, closed)
    }
}
