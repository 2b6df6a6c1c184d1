//! Where the server is, and whether a secret may travel there in the clear.
//!
//! There is no TLS yet. A [`Broker`] therefore exists only for this machine
//! itself, or for someone who wrote `dangerous` to have it otherwise.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use crate::error::InvalidBroker;

/// The address of an MQTT server, spoken to without encryption.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    /// A name, an IPv4 address, or an IPv6 address in brackets.
    host: String,
    port: u16,
}

impl Broker {
    /// Reads `HOST:PORT` and accepts only this machine itself: `localhost` or
    /// a loopback address.
    pub fn loopback(address: &str) -> Result<Self, InvalidBroker> {
        let broker = Self::dangerous_plaintext(address)?;
        if broker.is_loopback() {
            Ok(broker)
        } else {
            Err(InvalidBroker::Plaintext { host: broker.host })
        }
    }

    /// Reads `HOST:PORT` and accepts any host. The activation code and the
    /// API key then cross the network readable by everyone on the way.
    pub fn dangerous_plaintext(address: &str) -> Result<Self, InvalidBroker> {
        let (host, port) = address.rsplit_once(':').ok_or(InvalidBroker::Address)?;
        let port = port.parse().map_err(|_| InvalidBroker::Address)?;
        if port == 0 || !is_host(host) {
            return Err(InvalidBroker::Address);
        }
        Ok(Self {
            host: host.to_owned(),
            port,
        })
    }

    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    fn is_loopback(&self) -> bool {
        let bare = self.host.trim_matches(['[', ']']);
        self.host.eq_ignore_ascii_case("localhost")
            || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }
}

impl fmt::Display for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

fn is_host(text: &str) -> bool {
    match text.strip_prefix('[') {
        Some(rest) => rest
            .strip_suffix(']')
            .is_some_and(|ip| ip.parse::<Ipv6Addr>().is_ok()),
        None => {
            let in_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
            !text.is_empty() && text.bytes().all(in_name)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_without_saying_dangerous() {
        let check = |address: &str, loopback: bool| {
            assert!(Broker::dangerous_plaintext(address).is_ok(), "{address}");
            assert_eq!(Broker::loopback(address).is_ok(), loopback, "{address}");
        };
        check("127.0.0.1:1883", true);
        check("127.9.8.7:1883", true);
        check("localhost:1883", true);
        check("LOCALHOST:1883", true);
        check("[::1]:1883", true);
        check("localhost.example.org:1883", false);
        check("10.0.0.1:1883", false);
        check("[2001:db8::1]:1883", false);
        check("0.0.0.0:1883", false);
    }

    #[test]
    fn addresses_that_are_none() {
        for wrong in [
            "",
            ":",
            "localhost",
            "localhost:",
            ":1883",
            "localhost:0",
            "localhost:65536",
            "::1:1883",
            "[::1]",
            "[::1:1883",
            "[x]:1883",
            "mqtt://localhost:1883",
            "a b:1883",
        ] {
            assert_eq!(
                Broker::dangerous_plaintext(wrong),
                Err(InvalidBroker::Address),
                "{wrong:?}"
            );
        }
    }
}
