//! Plain TCP: there is no handshake.

use std::future::{Ready, ready};

use tokio::net::TcpStream;

use super::Transport;

/// Plain TCP.
pub(crate) struct Tcp;

impl Transport for Tcp {
    type Stream = TcpStream;
    type Arriving = Ready<Option<TcpStream>>;

    fn arrive(&self, tcp: TcpStream) -> Self::Arriving {
        ready(Some(tcp))
    }

    fn at_once(&self, tcp: TcpStream) -> Option<TcpStream> {
        Some(tcp)
    }
}
