//! Facts in the clear, as a factory gives them.
//!
//! A value that its kind cannot have is refused before it is hashed: a hash
//! does not show that it is of nothing any board will ever show.

use super::Fact;

/// One fact as it was read on a board, in the form in which it is hashed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FactValue {
    fact: Fact,
    text: String,
}

/// A text cannot be the value of a fact of this kind. The text is not part of
/// the sentence: what boards are made of stands in no log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is no {fact}: {}", shape(*.fact))]
pub struct InvalidFactValue {
    fact: Fact,
}

impl FactValue {
    /// Characters of a value at most.
    pub const MAX: usize = 256;

    /// Checks a value as it was read, with spaces or a NUL around it or without.
    pub fn parse(fact: Fact, text: &str) -> Result<Self, InvalidFactValue> {
        let text = fact.normalise(text);
        let is_hex = |length: usize| {
            text.len() == length && text.bytes().all(|byte| byte.is_ascii_hexdigit())
        };
        let fits = match fact {
            // `normalise` brings every way to write an address to this one.
            Fact::Mac => is_mac(text.as_bytes()),
            Fact::SdCard | Fact::MachineId => is_hex(32),
            Fact::Cpuinfo => is_hex(64),
            Fact::CpuSerial | Fact::RootDisk | Fact::Board => {
                let length = text.chars().count();
                (1..=Self::MAX).contains(&length) && !text.contains(char::is_control)
            }
        };
        match fits && (fact == Fact::Board || !is_placeholder(&text)) {
            true => Ok(Self { fact, text }),
            false => Err(InvalidFactValue { fact }),
        }
    }

    /// The kind.
    pub const fn fact(&self) -> Fact {
        self.fact
    }

    /// The value as it is hashed.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// Whether a text is an address as it is hashed.
fn is_mac(text: &[u8]) -> bool {
    let is_digit = |byte: &u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte);
    text.len() == 17
        && text.chunks(3).all(|pair| match pair {
            [first, second] | [first, second, b':'] => is_digit(first) && is_digit(second),
            _ => false,
        })
}

/// An address with colons, from 12 hex digits with colons, hyphens, dots (as
/// some switches print them) or nothing between them.
pub(super) fn mac(text: &str) -> Option<String> {
    if is_mac(text.as_bytes()) {
        return Some(text.to_owned());
    }
    let size = match text.len() {
        12 => 12,
        14 => 4,
        17 => 2,
        _ => return None,
    };
    let separators: &[char] = if size == 4 { &['.'] } else { &[':', '-'] };
    let mut digits = String::with_capacity(12);
    for (place, character) in text.chars().enumerate() {
        if place % (size + 1) == size {
            if !separators.contains(&character) {
                return None;
            }
        } else if character.is_ascii_hexdigit() {
            digits.push(character.to_ascii_lowercase());
        } else {
            return None;
        }
    }
    let mut written = String::with_capacity(17);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && place % 2 == 0 {
            written.push(':');
        }
        written.push(digit);
    }
    Some(written)
}

/// All zeros or all ones: programs write it where a board has none.
fn is_placeholder(text: &str) -> bool {
    let all = |digit: char| text.chars().all(|one| one == digit || one == ':');
    all('0') || all('f')
}

fn shape(fact: Fact) -> &'static str {
    match fact {
        Fact::Mac => {
            "a MAC address is 6 pairs of hex digits, such as dc:a6:32:01:02:03, neither all zeros \
             nor all ones"
        }
        Fact::SdCard => "the CID of a card is 32 hex digits, not all zeros",
        Fact::MachineId => "/etc/machine-id is 32 hex digits, not all zeros",
        Fact::Cpuinfo => "the SHA-256 of /proc/cpuinfo is 64 hex digits",
        Fact::CpuSerial | Fact::RootDisk => {
            "a serial number is 1 to 256 characters on one line, not all zeros"
        }
        Fact::Board => "a board's name is 1 to 256 characters on one line",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_of_their_kind() {
        let check = |fact, text: &str, expected: Option<&str>| {
            let value = FactValue::parse(fact, text).ok();
            let value = value.as_ref().map(FactValue::as_str);
            assert_eq!(value, expected, "{fact} {text:?}");
        };
        let address = Some("dc:a6:32:01:02:03");
        for text in [
            "dc:a6:32:01:02:03",
            " DC-A6-32-01-02-03\n",
            "DCA632010203",
            "dca6.3201.0203",
        ] {
            check(Fact::Mac, text, address);
        }
        for text in [
            "",
            "dc:a6:32:zz:00:01",
            "dc:a6:32:01:02",
            "dc:a6:32:01:02:03:04",
            "dc:a6:32:01:02:0",
            "dc a6 32 01 02 03",
            "dca6:3201:0203",
            "00:00:00:00:00:00",
            "FF:FF:FF:FF:FF:FF",
            "é:a6:32:01:02:03",
        ] {
            check(Fact::Mac, text, None);
        }
        let cid = "035344534c31364780f8a1b2c3012345";
        check(Fact::SdCard, cid, Some(cid));
        check(Fact::MachineId, cid, Some(cid));
        check(Fact::SdCard, &cid[1..], None);
        check(Fact::SdCard, &cid.replace('5', "g"), None);
        check(Fact::MachineId, &"0".repeat(32), None);
        check(Fact::Cpuinfo, &cid.repeat(2), Some(&cid.repeat(2)));
        check(Fact::Cpuinfo, cid, None);
        check(
            Fact::CpuSerial,
            "10000000ABCDEF01\0",
            Some("10000000abcdef01"),
        );
        check(Fact::CpuSerial, "0000000000000000", None);
        check(Fact::RootDisk, "a\nb", None);
        check(Fact::RootDisk, &"a".repeat(257), None);
        check(
            Fact::Board,
            "c03111 Raspberry Pi 4",
            Some("c03111 raspberry pi 4"),
        );
        check(Fact::Board, "0", Some("0"));
        check(Fact::Board, " ", None);
    }

    #[test]
    fn a_refusal_names_the_kind_and_not_the_value() {
        let error = FactValue::parse(Fact::Mac, "dc:a6:32:zz:00:01").err();
        let told = error.expect("refused").to_string();
        assert!(
            told.starts_with("this is no mac: a MAC address is"),
            "{told}"
        );
        assert!(!told.contains("zz"), "{told}");
    }
}
