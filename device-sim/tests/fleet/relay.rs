//! The least broker that passes a message on: every PUBLISH that anybody sends
//! goes to whoever has subscribed, as it came or as the test wants it.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// How the relay passes on what it has acknowledged.
#[derive(Clone, Copy)]
pub(crate) enum Manners {
    /// Each message once.
    Faithful,
    /// Not the first one.
    LosesOne,
    /// The first one again.
    RepeatsOne,
    /// Acknowledges nothing.
    NeverAcknowledges,
}

type Subscriber = Arc<Mutex<Option<mpsc::UnboundedSender<Vec<u8>>>>>;

pub(crate) async fn relay(manners: Manners) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
    let listener = listener.expect("a free port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        let subscriber = Subscriber::default();
        let first = Arc::new(Mutex::new(true));
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, manners, subscriber.clone(), first.clone()));
        }
    });
    address
}

async fn serve(
    stream: TcpStream,
    manners: Manners,
    subscriber: Subscriber,
    first: Arc<Mutex<bool>>,
) {
    let (mut from, to) = stream.into_split();
    let (say, said) = mpsc::unbounded_channel();
    tokio::spawn(speak(to, said));
    while let Some((kind, body)) = packet(&mut from).await {
        match kind >> 4 {
            1 => drop(say.send(vec![0x20, 2, 0, 0])),
            8 => {
                drop(say.send(vec![0x90, 3, body[0], body[1], 1]));
                *subscriber.lock().expect("no panic") = Some(say.clone());
            }
            3 => {
                if kind & 0b0110 != 0 {
                    let topic = usize::from(u16::from_be_bytes([body[0], body[1]]));
                    let id = &body[2 + topic..][..2];
                    if !matches!(manners, Manners::NeverAcknowledges) {
                        drop(say.send([&[0x40, 2], id].concat()));
                    }
                }
                let is_first = std::mem::take(&mut *first.lock().expect("no panic"));
                let times = match manners {
                    Manners::LosesOne if is_first => 0,
                    Manners::RepeatsOne if is_first => 2,
                    _ => 1,
                };
                let length = u8::try_from(body.len()).expect("short messages");
                let copy = [&[kind, length], &body[..]].concat();
                let subscriber = subscriber.lock().expect("no panic").clone();
                for _ in 0..times {
                    subscriber
                        .iter()
                        .for_each(|one| drop(one.send(copy.clone())));
                }
            }
            _ => {}
        }
    }
}

async fn speak(mut to: OwnedWriteHalf, mut said: mpsc::UnboundedReceiver<Vec<u8>>) {
    while let Some(bytes) = said.recv().await {
        if to.write_all(&bytes).await.is_err() {
            return;
        }
    }
}

/// Nothing here is longer than 127 bytes.
async fn packet(from: &mut OwnedReadHalf) -> Option<(u8, Vec<u8>)> {
    let mut header = [0; 2];
    from.read_exact(&mut header).await.ok()?;
    let mut body = vec![0; header[1].into()];
    from.read_exact(&mut body).await.ok()?;
    Some((header[0], body))
}
