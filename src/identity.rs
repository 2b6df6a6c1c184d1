//! The names by which devices, products and feeds are known.
//!
//! Each type exists only if its text is valid: parse once, at the edge.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::entropy::{Entropy, url_safe};

/// Why a text is not a name, in words that say what to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    /// See [`Serial`].
    #[error("a serial is 1 to 64 characters: letters, digits and + - , _ : (case matters)")]
    Serial,
    /// See [`ProductId`].
    #[error("a product id is 20 characters of A-Z a-z 0-9 _ -")]
    ProductId,
    /// See [`FeedId`].
    #[error("a feed id is a number from 1 to 2147483647")]
    FeedId,
}

/// Identifies a device within its product: 1 to 64 ASCII letters, digits and
/// `+ - , _ :`, case-sensitive.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Serial(Arc<str>);

impl Serial {
    /// Checks the alphabet and the length.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        let in_alphabet = |byte: u8| byte.is_ascii_alphanumeric() || b"+-,_:".contains(&byte);
        if (1..=64).contains(&text.len()) && text.bytes().all(in_alphabet) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidName::Serial)
        }
    }

    /// Makes `count` serials: `prefix` and a number of at least six digits,
    /// from 000000 on. Registering a fleet and simulating it use this one rule,
    /// so that both mean the same devices by the same words.
    pub fn numbered(prefix: &str, count: u32) -> Result<Vec<Self>, InvalidName> {
        (0..count)
            .map(|number| Self::parse(&format!("{prefix}{number:06}")))
            .collect()
    }

    /// The characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A kind of device: 20 characters of `[A-Za-z0-9_-]`, drawn at random.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ProductId(Arc<str>);

impl ProductId {
    /// How long a product id is, in characters.
    pub const LENGTH: usize = 20;

    /// Draws a new id. It never starts with `-`, so that it can be given to a
    /// command without being taken for an option.
    pub fn generate(entropy: &dyn Entropy) -> Self {
        loop {
            let id = url_safe(entropy, Self::LENGTH);
            if !id.starts_with('-') {
                return Self(id.as_str().into());
            }
        }
    }

    /// Checks the alphabet and the length.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        let in_alphabet = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        if text.len() == Self::LENGTH && text.bytes().all(in_alphabet) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidName::ProductId)
        }
    }

    /// The characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A device's own data channel: a number from 1 to 2³¹ − 1, never reused.
///
/// The bound is Xively's: shipped firmware reads it into a signed 32-bit field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct FeedId(u32);

impl FeedId {
    /// The largest feed id there is.
    pub const MAX: u32 = (1 << 31) - 1;

    /// The feed of the device that was registered first.
    pub(crate) const FIRST: Self = Self(1);

    /// Numbers are given out from 1 on: no device will come to have this one.
    pub(crate) const NOBODYS: Self = Self(Self::MAX);

    /// Checks the range.
    pub fn new(number: u32) -> Result<Self, InvalidName> {
        match number {
            1..=Self::MAX => Ok(Self(number)),
            _ => Err(InvalidName::FeedId),
        }
    }

    /// Reads decimal digits: no sign, no leading zero, so that a feed has one
    /// spelling only.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
        match text.parse() {
            Ok(number) if plain => Self::new(number),
            _ => Err(InvalidName::FeedId),
        }
    }

    /// The number.
    pub const fn as_u32(self) -> u32 {
        self.0
    }
}

/// How people name a device: a bare serial, or `product_id/serial` where two
/// products share one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DeviceName {
    /// The product, if it was named.
    pub product: Option<ProductId>,
    /// The serial within the product.
    pub serial: Serial,
}

impl DeviceName {
    /// Reads `SERIAL` or `PRODUCT_ID/SERIAL`.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        let (product, serial) = match text.split_once('/') {
            Some((product, serial)) => (Some(ProductId::parse(product)?), serial),
            None => (None, text),
        };
        Ok(Self {
            product,
            serial: Serial::parse(serial)?,
        })
    }
}

impl TryFrom<String> for DeviceName {
    type Error = InvalidName;

    fn try_from(text: String) -> Result<Self, InvalidName> {
        Self::parse(&text)
    }
}

impl From<DeviceName> for String {
    fn from(name: DeviceName) -> Self {
        name.to_string()
    }
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(product) = &self.product {
            write!(f, "{product}/")?;
        }
        write!(f, "{}", self.serial)
    }
}

macro_rules! text_name {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidName;

            fn try_from(text: String) -> Result<Self, InvalidName> {
                Self::parse(&text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0.as_ref().to_owned()
            }
        }
    )*};
}

text_name!(Serial, ProductId);

macro_rules! from_str {
    ($($name:ident),*) => {$(
        impl FromStr for $name {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, InvalidName> {
                Self::parse(text)
            }
        }
    )*};
}

from_str!(Serial, ProductId, FeedId, DeviceName);

impl fmt::Display for FeedId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl TryFrom<u32> for FeedId {
    type Error = InvalidName;

    fn try_from(number: u32) -> Result<Self, InvalidName> {
        Self::new(number)
    }
}

impl From<FeedId> for u32 {
    fn from(feed: FeedId) -> u32 {
        feed.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serials() {
        let check = |text: &str, valid: bool| {
            assert_eq!(Serial::parse(text).is_ok(), valid, "{text:?}");
        };
        check("0123456789", true);
        check("aZ0+-,_:", true);
        check("+", true);
        check(&"x".repeat(64), true);
        check(&"x".repeat(65), false);
        for wrong in ["", " ", "a b", "a/b", "a#", "a\0", "é", "%2B", "$x", "a.b"] {
            check(wrong, false);
        }
    }

    #[test]
    fn feeds_have_one_spelling() {
        let check = |text: &str, expected: Option<u32>| {
            assert_eq!(
                FeedId::parse(text).ok().map(FeedId::as_u32),
                expected,
                "{text:?}"
            );
        };
        check("1", Some(1));
        check("2147483647", Some(2_147_483_647));
        for wrong in ["", "0", "01", "+1", "-1", "2147483648", "1 ", "٣"] {
            check(wrong, None);
        }
    }

    #[test]
    fn device_names() {
        let product = "abcdefghijklmnopqrst";
        let full = DeviceName::parse(&format!("{product}/S:1")).expect("valid");
        assert_eq!(full.to_string(), format!("{product}/S:1"));
        assert_eq!(
            DeviceName::parse("S:1").expect("valid").product,
            None,
            "a bare serial names no product"
        );
        assert!(DeviceName::parse("short/S1").is_err());
        assert!(DeviceName::parse(&format!("{product}/a/b")).is_err());
    }
}
