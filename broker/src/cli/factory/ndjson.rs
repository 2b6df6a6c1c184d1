//! One JSON object a line.

use std::collections::BTreeMap;

use firstwake::hardware::Fact;
use firstwake::{Label, Serial};
use serde::Deserialize;
use serde_json::Value;

use super::{Rejected, columns};
use crate::control::{DeviceWish, Values, one_by_one};

/// What a line says. Whatever else it names has to be a fact.
#[derive(Deserialize)]
struct Entry {
    serial: Serial,
    #[serde(default)]
    label: Option<Label>,
    #[serde(flatten)]
    hardware: BTreeMap<Fact, Values>,
}

pub(super) fn device(line: &str) -> Result<DeviceWish, Rejected> {
    match serde_json::from_str(line) {
        Ok(Entry {
            serial,
            label,
            hardware,
        }) => Ok(DeviceWish {
            serial,
            label,
            hardware: one_by_one(hardware),
        }),
        Err(error) => Err(rejected(line, &error)),
    }
}

fn rejected(line: &str, error: &serde_json::Error) -> Rejected {
    let object: Option<Value> = serde_json::from_str(line).ok();
    let Some(Value::Object(object)) = object else {
        return Rejected::of("", "this is not a JSON object");
    };
    let serial = object.get("serial").and_then(Value::as_str);
    let known = |key: &&String| {
        let key = key.as_str();
        matches!(key, "serial" | "label") || key.parse::<Fact>().is_ok()
    };
    let reason = match object.keys().find(|key| !known(key)) {
        Some(key) => format!("{key:?} is none of {}", columns()),
        None => told(error),
    };
    Rejected::of(serial.unwrap_or_default(), reason)
}

/// What the parser says, without the place: a line is one object.
fn told(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rsplit_once(" at line ") {
        Some((reason, _)) => reason.to_owned(),
        None => text,
    }
}
