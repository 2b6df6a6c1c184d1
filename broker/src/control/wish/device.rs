//! A device to be made known: its serial, and what its factory read on its
//! board, if it did.
//!
//! Facts come as they were read; the core hashes them, and nothing else keeps
//! them.

use std::collections::BTreeMap;
use std::fmt;

use firstwake::Serial;
use firstwake::hardware::Fact;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde::{Serialize, Serializer};

/// A device that is to be registered.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct DeviceWish {
    pub(crate) serial: Serial,
    pub(crate) hardware: Vec<(Fact, String)>,
}

impl From<Serial> for DeviceWish {
    fn from(serial: Serial) -> Self {
        Self {
            serial,
            hardware: Vec::new(),
        }
    }
}

/// A device of which more than the serial is known.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Described {
    serial: Serial,
    #[serde(default)]
    hardware: BTreeMap<Fact, Values>,
}

/// A board may have several of a fact.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(untagged)]
enum Values {
    One(String),
    Several(Vec<String>),
}

impl From<Values> for Vec<String> {
    fn from(values: Values) -> Self {
        match values {
            Values::One(value) => vec![value],
            Values::Several(values) => values,
        }
    }
}

impl Serialize for DeviceWish {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.hardware.is_empty() {
            return self.serial.serialize(serializer);
        }
        let mut several: BTreeMap<Fact, Vec<String>> = BTreeMap::new();
        for (fact, value) in &self.hardware {
            several.entry(*fact).or_default().push(value.clone());
        }
        let hardware = several
            .into_iter()
            .map(|(fact, values)| (fact, Values::Several(values)));
        Described {
            serial: self.serial.clone(),
            hardware: hardware.collect(),
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for DeviceWish {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = DeviceWish;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a serial, or an object with a serial and its hardware")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<DeviceWish, E> {
                let serial = Serial::parse(text).map_err(E::custom)?;
                Ok(serial.into())
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<DeviceWish, A::Error> {
                let Described { serial, hardware } =
                    Described::deserialize(MapAccessDeserializer::new(map))?;
                let several = hardware.into_iter().flat_map(|(fact, values)| {
                    let values = Vec::from(values).into_iter();
                    values.map(move |value| (fact, value))
                });
                Ok(DeviceWish {
                    serial,
                    hardware: several.collect(),
                })
            }
        }

        deserializer.deserialize_any(Either)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<DeviceWish, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[test]
    fn a_device_is_a_serial_or_more() {
        let bare = read(r#""LAMP-1""#).expect("a serial");
        assert!(bare.hardware.is_empty());
        let more = read(r#"{"serial":"LAMP-1","hardware":{"mac":["a","b"],"sd_card":"c"}}"#);
        let more = more.expect("a device");
        let facts: Vec<(Fact, &str)> = more
            .hardware
            .iter()
            .map(|(fact, value)| (*fact, value.as_str()))
            .collect();
        let expected = [(Fact::Mac, "a"), (Fact::Mac, "b"), (Fact::SdCard, "c")];
        assert_eq!(facts, expected);
        for wish in [bare, more] {
            let json = serde_json::to_string(&wish).expect("JSON");
            assert!(read(&json) == Ok(wish), "{json}");
        }
    }

    #[test]
    fn what_is_none_is_told() {
        let told = |json: &str| read(json).err().expect("refused");
        assert!(told(r#""a b""#).contains("serial"), "a space");
        assert!(told("7").contains("a serial, or an object"));
        assert!(told(r#"{"serial":"a","hardware":{"imei":"1"}}"#).contains("imei"));
        assert!(told(r#"{"serial":"a","hard":{}}"#).contains("hard"));
    }
}
