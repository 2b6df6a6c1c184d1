//! Sources that an operator keeps out, and finding out whether one is.
//!
//! A ban is an act of its own: nothing here is ever added by the server
//! itself. Whether an address is banned is asked at each accept, so the answer
//! costs one look-up for each length of network that is banned at all, however
//! many bans there are.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::{PoisonError, RwLock};

use ipnet::{IpNet, Ipv4Net};
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;

/// One address, or a network of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network(IpNet);

/// Why a text is no network, in words that say what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidNetwork {
    /// Neither an address nor a network.
    #[error("use an address such as 192.0.2.7, or a network such as 192.0.2.0/24")]
    Unreadable,
    /// It has bits behind its prefix: what is meant is not clear.
    #[error("{given} is not the start of a network: use {start}")]
    NotItsStart {
        /// What was given.
        given: IpNet,
        /// The network it lies in.
        start: IpNet,
    },
}

impl Network {
    /// Reads `ADDRESS` or `ADDRESS/LENGTH`.
    pub fn parse(text: &str) -> Result<Self, InvalidNetwork> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self(address.to_canonical().into()));
        }
        let given: IpNet = text.parse().map_err(|_| InvalidNetwork::Unreadable)?;
        let start = given.trunc();
        if given != start {
            return Err(InvalidNetwork::NotItsStart { given, start });
        }
        Ok(Self(canonical(given)))
    }

    /// Whether the address lies in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }

    /// Whether it is wider than the networks of one site: IPv4 /16, IPv6 /48.
    /// Only an admin bans so many at once.
    pub fn is_wide(&self) -> bool {
        let site = match self.0 {
            IpNet::V4(_) => 16,
            IpNet::V6(_) => 48,
        };
        self.0.prefix_len() < site
    }

    /// Whether banning it may lock out whoever does so: this machine itself,
    /// or a large part of everybody.
    pub fn is_perilous(&self) -> bool {
        let (wide, loopback): (u8, IpNet) = match self.0 {
            IpNet::V4(_) => (8, IpNet::from(IpAddr::from([127, 0, 0, 0]))),
            IpNet::V6(_) => (16, IpNet::from(IpAddr::from(std::net::Ipv6Addr::LOCALHOST))),
        };
        self.0.prefix_len() < wide || self.0.network().is_loopback() || self.0.contains(&loopback)
    }
}

impl fmt::Display for Network {
    /// A single address goes without its length.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.prefix_len() == self.0.max_prefix_len() {
            write!(f, "{}", self.0.addr())
        } else {
            write!(f, "{}", self.0)
        }
    }
}

impl FromStr for Network {
    type Err = InvalidNetwork;

    fn from_str(text: &str) -> Result<Self, InvalidNetwork> {
        Self::parse(text)
    }
}

impl TryFrom<String> for Network {
    type Error = InvalidNetwork;

    fn try_from(text: String) -> Result<Self, InvalidNetwork> {
        Self::parse(&text)
    }
}

impl From<Network> for String {
    fn from(network: Network) -> Self {
        network.to_string()
    }
}

/// IPv4 networks that are written as IPv6: peers from there are known by their
/// IPv4 addresses.
fn canonical(network: IpNet) -> IpNet {
    let IpNet::V6(six) = network else {
        return network;
    };
    let four = six.addr().to_ipv4_mapped();
    let length = six.prefix_len().checked_sub(96);
    match four
        .zip(length)
        .map(|(four, length)| Ipv4Net::new(four, length))
    {
        Some(Ok(four)) => four.into(),
        _ => network,
    }
}

/// An operator's act on a source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ban {
    /// From where nobody gets in.
    pub network: Network,
    /// Why, in the operator's words.
    pub reason: Option<String>,
    /// When it was made.
    pub at: Timestamp,
    /// When it ends by itself.
    pub until: Option<Timestamp>,
}

impl Ban {
    /// Whether it still holds.
    pub fn holds(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

/// The bans there are, in memory.
#[derive(Debug, Default)]
pub struct Bans(RwLock<Table>);

/// By length of the prefix, then by network.
type Table = BTreeMap<u8, HashMap<Network, Option<Timestamp>>>;

impl Bans {
    /// Whether somebody from this address is kept out.
    pub fn covers(&self, address: IpAddr, now: Timestamp) -> bool {
        let table = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let address = address.to_canonical();
        table.iter().any(|(length, networks)| {
            // A length that the address is too short for bans none like it.
            let Ok(network) = IpNet::new(address, *length) else {
                return false;
            };
            let until = networks.get(&Network(network.trunc()));
            until.is_some_and(|until| until.is_none_or(|until| now < until))
        })
    }

    pub(crate) fn put(&self, network: Network, until: Option<Timestamp>) {
        let mut table = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let networks = table.entry(network.0.prefix_len()).or_default();
        networks.insert(network, until);
    }

    pub(crate) fn drop_ended(&self, now: Timestamp) {
        let mut table = self.0.write().unwrap_or_else(PoisonError::into_inner);
        table.retain(|_, networks| {
            networks.retain(|_, until| until.is_none_or(|until| now < until));
            !networks.is_empty()
        });
    }

    pub(crate) fn remove(&self, network: &Network) {
        let mut table = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let length = network.0.prefix_len();
        let Some(networks) = table.get_mut(&length) else {
            return;
        };
        networks.remove(network);
        if networks.is_empty() {
            table.remove(&length);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_000);

    fn network(text: &str) -> Network {
        Network::parse(text).expect("valid")
    }

    fn address(text: &str) -> IpAddr {
        text.parse().expect("valid")
    }

    #[test]
    fn networks_have_one_spelling() {
        let check = |text: &str, expected: Option<&str>| {
            let parsed = Network::parse(text).ok().map(|network| network.to_string());
            assert_eq!(parsed.as_deref(), expected, "{text}");
        };
        check("192.0.2.7", Some("192.0.2.7"));
        check("192.0.2.7/32", Some("192.0.2.7"));
        check("192.0.2.0/24", Some("192.0.2.0/24"));
        check("::ffff:192.0.2.7", Some("192.0.2.7"));
        check("::ffff:192.0.2.0/120", Some("192.0.2.0/24"));
        check("2001:DB8::/32", Some("2001:db8::/32"));
        for wrong in [
            "",
            "x",
            "192.0.2.7/24",
            "192.0.2.0/33",
            "2001:db8::1/64",
            "1.2.3",
        ] {
            check(wrong, None);
        }
        let said = Network::parse("192.0.2.7/24").map_err(|error| error.to_string());
        assert_eq!(
            said,
            Err("192.0.2.7/24 is not the start of a network: use 192.0.2.0/24".to_owned())
        );
    }

    #[test]
    fn some_networks_are_perilous() {
        for text in [
            "127.0.0.1",
            "127.1.0.0/16",
            "0.0.0.0/0",
            "64.0.0.0/2",
            "::1",
            "::/0",
            "::/64",
        ] {
            assert!(network(text).is_perilous(), "{text}");
        }
        for text in ["10.0.0.0/8", "192.0.2.7", "2001:db8::/32"] {
            assert!(!network(text).is_perilous(), "{text}");
        }
    }

    #[test]
    fn a_network_of_several_sites_is_wide() {
        let check = |text, wide| assert_eq!(network(text).is_wide(), wide, "{text}");
        check("0.0.0.0/0", true);
        check("10.0.0.0/15", true);
        check("10.0.0.0/16", false);
        check("192.0.2.7", false);
        check("::/0", true);
        check("2001:db8::/47", true);
        check("2001:db8::/48", false);
    }

    #[test]
    fn bans_cover_what_they_name_while_they_hold() {
        let bans = Bans::default();
        assert!(!bans.covers(address("10.1.2.3"), NOW));
        bans.put(network("10.1.0.0/16"), None);
        bans.put(network("10.9.9.9"), Some(Timestamp::from_millis(2_000)));
        bans.put(network("2001:db8::/32"), None);
        for (text, banned) in [
            ("10.1.2.3", true),
            ("::ffff:10.1.2.3", true),
            ("10.2.2.3", false),
            ("10.9.9.9", true),
            ("2001:db8:1::1", true),
            ("2001:db9::1", false),
        ] {
            assert_eq!(bans.covers(address(text), NOW), banned, "{text}");
        }
        let later = Timestamp::from_millis(2_000);
        assert!(!bans.covers(address("10.9.9.9"), later), "it has ended");
        bans.remove(&network("10.1.0.0/16"));
        assert!(!bans.covers(address("10.1.2.3"), NOW));
        bans.drop_ended(later);
        assert!(!bans.covers(address("10.9.9.9"), NOW), "it is forgotten");
        assert!(bans.covers(address("2001:db8:1::1"), later));
    }

    proptest! {
        /// The table says what asking each ban says.
        #[test]
        fn the_table_agrees_with_each_ban(
            entries in proptest::collection::vec((any::<u32>(), 0u8..=32), 0..40),
            asked in proptest::collection::vec(any::<u32>(), 1..40),
        ) {
            let bans = Bans::default();
            let networks: Vec<Network> = entries
                .into_iter()
                .filter_map(|(bits, length)| {
                    let address = IpAddr::from(bits.to_be_bytes());
                    IpNet::new(address, length).ok().map(|net| Network(net.trunc()))
                })
                .collect();
            networks.iter().for_each(|network| bans.put(*network, None));
            for bits in asked {
                let address = IpAddr::from(bits.to_be_bytes());
                let expected = networks.iter().any(|network| network.contains(address));
                prop_assert_eq!(bans.covers(address, NOW), expected);
            }
        }
    }
}
