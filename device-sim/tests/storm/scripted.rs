//! A broker that knows nothing of MQTT: it counts packets and plays a script.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::any_port;

/// Accepts, session not present.
pub(crate) const CONNACK: [u8; 4] = [0x20, 2, 0, 0];

/// SUBACK and answer for the serial `a+b000000`, in one piece.
pub(crate) const ANSWER: &[u8] = b"\x90\x03\x00\x01\x01\
    \x32\x4D\x00\x1Eprovision/a%2Bb000000/response\x00\x07\
    {\"apikey\":\"k\",\"feed_id\":7,\"datastreams\":[]}";

/// One connection: what the broker says to the first packet it hears, to the
/// second and so on, and what it does when it has said it all.
#[derive(Clone, Copy)]
pub(crate) struct Script(pub(crate) &'static [&'static [u8]], pub(crate) Then);

#[derive(Clone, Copy)]
pub(crate) enum Then {
    /// Listens until the device leaves.
    Linger,
    /// Hears one packet more, if the script is empty, and closes.
    Close,
}

/// Plays the scripts to one connection after the other. The task ends with the
/// last of them.
pub(crate) async fn scripted(scripts: Vec<Script>) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind(any_port()).await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let playing = tokio::spawn(async move {
        for script in scripts {
            let (stream, _) = listener.accept().await.expect("a device");
            script.play(stream).await;
        }
    });
    (address, playing)
}

impl Script {
    async fn play(self, mut stream: TcpStream) {
        let Self(replies, then) = self;
        for reply in replies {
            hear_packet(&mut stream).await;
            stream.write_all(reply).await.expect("the device listens");
        }
        match then {
            Then::Linger => {
                let mut rest = Vec::new();
                // However the device leaves, it has left.
                stream.read_to_end(&mut rest).await.ok();
            }
            Then::Close if replies.is_empty() => hear_packet(&mut stream).await,
            Then::Close => {}
        }
    }
}

/// Devices say nothing longer than 127 bytes.
async fn hear_packet(stream: &mut TcpStream) {
    let mut header = [0; 2];
    stream.read_exact(&mut header).await.expect("a packet");
    let mut body = vec![0; header[1].into()];
    stream.read_exact(&mut body).await.expect("its body");
}
