//! A device to be made known: its serial, what people call it, and what its
//! factory read on its board, if it did.
//!
//! Facts come as they were read; the core hashes them, and nothing else keeps
//! them.

use std::collections::BTreeMap;
use std::fmt;

use firstwake::hardware::{Fact, FactValue, InvalidFactValue};
use firstwake::{Label, NewSerial, Serial};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde::{Serialize, Serializer};

/// A device that is to be registered.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct DeviceWish {
    pub(crate) serial: Serial,
    pub(crate) hardware: Vec<FactValue>,
    pub(crate) label: Option<Label>,
}

impl From<Serial> for DeviceWish {
    fn from(serial: Serial) -> Self {
        Self {
            serial,
            hardware: Vec::new(),
            label: None,
        }
    }
}

impl From<DeviceWish> for NewSerial {
    fn from(wish: DeviceWish) -> Self {
        Self {
            serial: wish.serial,
            hardware: wish.hardware,
            label: wish.label,
        }
    }
}

/// A device of which more than the serial is known.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Described {
    serial: Serial,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    hardware: BTreeMap<Fact, Values>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    label: Option<Label>,
}

/// A board may have several of a fact.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(untagged, expecting = "it has to be a text or a list of texts")]
pub(crate) enum Values {
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

/// Facts, each with one value; empty values are none.
pub(crate) fn one_by_one(
    hardware: BTreeMap<Fact, Values>,
) -> Result<Vec<FactValue>, InvalidFactValue> {
    let several = hardware.into_iter().flat_map(|(fact, values)| {
        let values = Vec::from(values).into_iter();
        values.map(move |value| (fact, value))
    });
    let there = several.filter(|(_, value)| !value.trim().is_empty());
    there
        .map(|(fact, value)| FactValue::parse(fact, &value))
        .collect()
}

impl Serialize for DeviceWish {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.hardware.is_empty() && self.label.is_none() {
            return self.serial.serialize(serializer);
        }
        let mut several: BTreeMap<Fact, Vec<String>> = BTreeMap::new();
        for value in &self.hardware {
            let values = several.entry(value.fact()).or_default();
            values.push(value.as_str().to_owned());
        }
        let hardware = several
            .into_iter()
            .map(|(fact, values)| (fact, Values::Several(values)));
        Described {
            serial: self.serial.clone(),
            hardware: hardware.collect(),
            label: self.label.clone(),
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
                f.write_str("a serial, or an object with a serial, its hardware and label")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<DeviceWish, E> {
                let serial = Serial::parse(text).map_err(E::custom)?;
                Ok(serial.into())
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<DeviceWish, A::Error> {
                let Described {
                    serial,
                    hardware,
                    label,
                } = Described::deserialize(MapAccessDeserializer::new(map))?;
                Ok(DeviceWish {
                    serial,
                    hardware: one_by_one(hardware).map_err(A::Error::custom)?,
                    label,
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
        let more = read(
            r#"{"serial":"LAMP-1","hardware":{"mac":["DCA632010203","dc:a6:32:01:02:04",""],"cpu_serial":"c"}}"#,
        );
        let more = more.expect("a device");
        let facts: Vec<(Fact, &str)> = more
            .hardware
            .iter()
            .map(|value| (value.fact(), value.as_str()))
            .collect();
        let expected = [
            (Fact::CpuSerial, "c"),
            (Fact::Mac, "dc:a6:32:01:02:03"),
            (Fact::Mac, "dc:a6:32:01:02:04"),
        ];
        assert_eq!(facts, expected);
        let called = read(r#"{"serial":"LAMP-1","label":"kitchen"}"#).expect("a device");
        assert_eq!(called.label.as_ref().map(Label::as_str), Some("kitchen"));
        for wish in [bare, more, called] {
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
        let told_of_mac = told(r#"{"serial":"a","hardware":{"mac":"dc:a6:32:zz:00:01"}}"#);
        assert!(told_of_mac.contains("this is no mac"), "{told_of_mac}");
        assert!(told(r#"{"serial":"a","label":"\n"}"#).contains("a label is"));
    }
}
