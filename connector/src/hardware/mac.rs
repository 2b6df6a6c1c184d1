//! The addresses that the makers of the network interfaces gave them.
//!
//! Only interfaces that are a device (so no bridge, no tunnel, nothing of a
//! container) and only addresses that came with it: not those that were drawn
//! at random or set by hand, as a telephone's for each Wi-Fi, nor those that
//! say of themselves that nobody assigned them.

use super::Reading;
use super::tree::Tree;

/// The kernel's word for an address that is the device's own.
const PERMANENT: &str = "0";
/// The kernel's word for Ethernet, which Wi-Fi is too.
const ETHERNET: &str = "1";

pub(super) fn read(tree: &Tree) -> Reading {
    let mut addresses: Vec<String> = Vec::new();
    for name in tree.names("sys/class/net") {
        if let Some(address) = permanent(tree, &name)
            && !addresses.contains(&address)
        {
            addresses.push(address);
        }
    }
    Reading::of(
        addresses,
        "no network interface has an address of its maker's",
    )
}

fn permanent(tree: &Tree, name: &str) -> Option<String> {
    let file = |file: &str| tree.text(format!("sys/class/net/{name}/{file}"));
    if !tree.has(format!("sys/class/net/{name}/device")) || file("type")? != ETHERNET {
        return None;
    }
    // What is part of a bond has the bond's address, and its own beside it.
    let address = match file("bonding_slave/perm_hwaddr") {
        Some(own) => own,
        None => {
            file("address").filter(|_| file("addr_assign_type").as_deref() == Some(PERMANENT))?
        }
    };
    let address = address.to_ascii_lowercase();
    is_assigned(&address).then_some(address)
}

/// Six octets of a maker: not zero, not for a group, not locally administered
/// (IEEE 802, the two low bits of the first octet).
fn is_assigned(address: &str) -> bool {
    let octets: Option<Vec<u8>> = address
        .split(':')
        .map(|octet| u8::from_str_radix(octet, 16).ok())
        .collect();
    octets.is_some_and(|octets| {
        octets.len() == 6 && octets[0] & 0b11 == 0 && octets.iter().any(|octet| *octet != 0)
    })
}

#[cfg(test)]
mod tests {
    use super::is_assigned;

    #[test]
    fn addresses_of_makers() {
        for address in [
            "b8:27:eb:12:34:56",
            "dc:a6:32:00:00:01",
            "00:0c:29:aa:bb:cc",
        ] {
            assert!(is_assigned(address), "{address}");
        }
        for address in [
            "",
            "00:00:00:00:00:00",
            "02:42:ac:11:00:02",
            "52:54:00:12:34:56",
            "01:00:5e:00:00:01",
            "b8:27:eb:12:34",
            "b8:27:eb:12:34:zz",
            "00:00:00:00:00:00:00:00:fe:80:00:00:00:00:00:00:b8:27:eb:12",
        ] {
            assert!(!is_assigned(address), "{address}");
        }
    }
}
