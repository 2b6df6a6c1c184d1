//! Which address a device calls from.
//!
//! One address has about 28,000 ports for one broker, and a closed connection
//! keeps its port for a minute. All of 127.0.0.0/8 is this machine, so on
//! loopback the fleet spreads over it. Elsewhere the system chooses.
//!
//! The port is chosen when the connection is made and not when its address is
//! bound. A port that a bind has chosen is no other connection's of the machine
//! for a minute, whatever either is connected to: where 20,000 rest so, a bind
//! takes a millisecond, and connections that leave the choice to the system
//! find none. So a bind chooses the port only where there is no other way.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

#[cfg(target_os = "linux")]
use nix::sys::socket::{setsockopt, sockopt};
use tokio::net::TcpSocket;

/// How many connections of a run share an address: few enough for several
/// runs within the minute that a port rests.
const CONNECTIONS_PER_ADDRESS: u32 = 1_000;

/// Where one connection comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SourceAddress {
    /// Whatever the system chooses.
    Unbound,
    /// A loopback address, any port.
    Bound(SocketAddr),
}

/// When the port of a socket is chosen that is bound to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PortChoice {
    /// With the connection.
    Connect,
    /// With the address.
    Bind,
}

/// Binds a socket to an address.
pub(crate) fn bind(socket: &TcpSocket, address: SocketAddr, choice: PortChoice) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    setsockopt(
        socket,
        sockopt::IpBindAddressNoPort,
        &(choice == PortChoice::Connect),
    )?;
    socket.bind(address)
}

/// Deals out source addresses.
pub(crate) struct Sources {
    spread: Spread,
    dealt: AtomicU32,
}

enum Spread {
    System,
    Loopback,
}

impl Sources {
    /// Spreads if the broker is in 127.0.0.0/8 and this system, as Linux does,
    /// lets a socket have any address there.
    pub(crate) fn for_broker(broker: SocketAddr) -> Self {
        let spread = match broker.ip() {
            IpAddr::V4(ip) if ip.is_loopback() && TcpListener::bind(nth(0)).is_ok() => {
                Spread::Loopback
            }
            _ => Spread::System,
        };
        Self {
            spread,
            dealt: AtomicU32::new(0),
        }
    }

    pub(crate) fn next(&self) -> SourceAddress {
        match self.spread {
            Spread::System => SourceAddress::Unbound,
            Spread::Loopback => {
                let connection = self.dealt.fetch_add(1, Ordering::Relaxed);
                SourceAddress::Bound(nth(connection / CONNECTIONS_PER_ADDRESS))
            }
        }
    }

    /// How many addresses have been used so far; `None` where the system chose.
    pub(crate) fn used(&self) -> Option<u32> {
        match self.spread {
            Spread::System => None,
            Spread::Loopback => {
                let dealt = self.dealt.load(Ordering::Relaxed);
                Some(dealt.div_ceil(CONNECTIONS_PER_ADDRESS))
            }
        }
    }
}

/// 127.1.0.1, 127.1.0.2, …: from 127.1.0.0/16 on, away from where servers
/// listen, and never .0 or .255.
fn nth(index: u32) -> SocketAddr {
    let (network, host) = (index / 254, index % 254);
    let (second, third) = (1 + network / 256 % 254, network % 256);
    let octet = |number: u32| number.to_le_bytes()[0];
    let ip = Ipv4Addr::new(127, octet(second), octet(third), octet(host + 1));
    SocketAddr::V4(SocketAddrV4::new(ip, 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_spread() {
        let check = |index: u32, ip: &str| assert_eq!(nth(index).ip().to_string(), ip, "{index}");
        check(0, "127.1.0.1");
        check(253, "127.1.0.254");
        check(254, "127.1.1.1");
        check(254 * 256, "127.2.0.1");
        check(254 * 256 * 254, "127.1.0.1");
    }

    #[test]
    fn only_loopback_is_spread() {
        let sources = Sources::for_broker(([192, 0, 2, 1], 1883).into());
        assert_eq!(sources.next(), SourceAddress::Unbound);
        assert_eq!(sources.used(), None);
    }

    #[test]
    fn an_address_serves_a_thousand_connections() {
        let sources = Sources {
            spread: Spread::Loopback,
            dealt: AtomicU32::new(0),
        };
        for _ in 0..CONNECTIONS_PER_ADDRESS {
            assert_eq!(sources.next(), SourceAddress::Bound(nth(0)));
        }
        assert_eq!(sources.used(), Some(1));
        assert_eq!(sources.next(), SourceAddress::Bound(nth(1)));
        assert_eq!(sources.used(), Some(2));
    }

    #[tokio::test]
    async fn a_bound_socket_has_no_port_before_it_is_connected() {
        let socket = TcpSocket::new_v4().expect("a socket");
        bind(&socket, nth(0), PortChoice::Connect).expect("an address of this machine");
        assert_eq!(socket.local_addr().expect("bound"), nth(0));
    }
}
