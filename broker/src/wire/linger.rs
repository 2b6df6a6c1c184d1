//! The end of a connection that the server ends.
//!
//! A socket that is closed while bytes of the peer are unread is reset, and a
//! reset discards what the peer has not read yet: the reason of the end, which
//! was sent last. So the server ends its own direction, reads on and discards,
//! and closes once the peer has closed too. Both bounds are small, so a peer
//! that never closes holds nothing for long.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::ready;
use std::time::Duration;

use tokio::io::{AsyncWriteExt, ReadBuf};
use tokio::time::timeout;

use super::{BUFFER, Stream};

/// Time that a peer has to close after the server has.
pub(crate) const SPAN: Duration = Duration::from_secs(1);
/// Bytes that are discarded at most: the largest packet that an operator sends
/// by default, which is refused while it is still on its way.
pub(crate) const BYTES: usize = 1024 * 1024;

/// The rest of a connection's life. In a box, as the session that leads to it
/// may last for years.
pub(crate) type Lingering = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Shuts down writing, discards what still comes, and closes.
pub(crate) async fn linger<S: Stream>(mut stream: S) {
    let parting = async {
        stream.shutdown().await?;
        let mut left = BYTES;
        while left > 0 {
            match discard(&mut stream).await? {
                0 => break,
                count => left = left.saturating_sub(count),
            }
        }
        io::Result::Ok(())
    };
    drop(timeout(SPAN, parting).await);
}

/// Reads what is there through the buffer of the thread; 0 is the end.
async fn discard<S: Stream>(stream: &mut S) -> io::Result<usize> {
    poll_fn(|cx| {
        BUFFER.with_borrow_mut(|buffer| {
            let mut read = ReadBuf::new(buffer);
            ready!(Pin::new(&mut *stream).poll_read(cx, &mut read))?;
            Ok(read.filled().len()).into()
        })
    })
    .await
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, duplex};

    use super::*;

    #[tokio::test]
    async fn a_peer_that_never_closes_is_closed_on() {
        let (mut peer, server) = duplex(64);
        linger(server).await;
        assert_eq!(peer.read(&mut [0]).await.expect("the end"), 0);
        peer.write_all(b"late").await.expect_err("closed");
    }

    #[tokio::test]
    async fn what_is_discarded_is_bounded() {
        let (mut peer, server) = duplex(64);
        let endless = async {
            let mut sent = 0;
            while let Ok(count) = peer.write(&[7; 64]).await {
                sent += count;
            }
            sent
        };
        let ((), sent) = tokio::join!(linger(server), endless);
        assert!((BYTES..=BYTES + 128).contains(&sent), "{sent}");
    }

    #[tokio::test]
    async fn a_peer_that_closes_is_waited_for_no_longer() {
        let (peer, server) = duplex(64);
        drop(peer);
        let over = timeout(Duration::ZERO, linger(server)).await;
        over.expect("at once");
    }
}
