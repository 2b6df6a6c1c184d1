//! One JSON object a line.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use firstwake::hardware::Fact;
use firstwake::{Label, Serial};
use serde::Deserializer;
use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;

use super::Rejected;
use super::column::{Column, Names};
use crate::control::{DeviceWish, Values, one_by_one};

/// Reads an object's members, which go by these names.
struct Members<'a>(&'a Names);

pub(super) fn device(line: &str, names: &Names) -> Result<DeviceWish, Rejected> {
    let mut json = serde_json::Deserializer::from_str(line);
    let read = Members(names).deserialize(&mut json);
    match read.and_then(|device| json.end().map(|()| device)) {
        Ok(device) => Ok(device),
        Err(error) => Err(rejected(line, &error, names)),
    }
}

impl<'de> DeserializeSeed<'de> for Members<'_> {
    type Value = DeviceWish;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<DeviceWish, D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Members<'_> {
    type Value = DeviceWish;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<DeviceWish, A::Error> {
        let (mut serial, mut label) = (None, None);
        let mut hardware: BTreeMap<Fact, Values> = BTreeMap::new();
        while let Some(name) = map.next_key::<Cow<'de, str>>()? {
            let is_twice = match self.0.column(&name) {
                Some(Column::Serial) => serial.replace(map.next_value::<Serial>()?).is_some(),
                Some(Column::Label) => {
                    let value = map.next_value::<Option<Label>>()?;
                    label.replace(value).is_some()
                }
                Some(Column::Fact(fact)) => match map.next_value::<Option<Values>>()? {
                    Some(values) => hardware.insert(fact, values).is_some(),
                    None => false,
                },
                Some(Column::Ignored) => {
                    map.next_value::<IgnoredAny>()?;
                    false
                }
                Some(Column::Nameless) | None => {
                    let all = Names::all();
                    let reason = format!(
                        "{name:?} is none of {all}: say which one it is with --column, or pass \
                         over all of other names with --ignore-columns"
                    );
                    return Err(A::Error::custom(reason));
                }
            };
            if is_twice {
                return Err(A::Error::custom(format!("{name:?} is there twice")));
            }
        }
        let serial: Serial = serial.ok_or_else(|| A::Error::custom("there is no \"serial\""))?;
        Ok(DeviceWish {
            serial,
            label: label.flatten(),
            hardware: one_by_one(hardware).map_err(A::Error::custom)?,
        })
    }
}

fn rejected(line: &str, error: &serde_json::Error, names: &Names) -> Rejected {
    let object: Option<Value> = serde_json::from_str(line).ok();
    let Some(Value::Object(object)) = object else {
        return Rejected::of("", "this is not a JSON object");
    };
    let is_serial = |name: &str| names.column(name) == Some(Column::Serial);
    let serial = object.iter().find(|(name, _)| is_serial(name));
    let serial = serial.and_then(|(_, value)| value.as_str());
    Rejected::of(serial.unwrap_or_default(), told(error))
}

/// The parser's sentence without the place: a line is one object.
fn told(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rsplit_once(" at line ") {
        Some((reason, _)) => reason.to_owned(),
        None => text,
    }
}
