//! Who copies, records, forges or borrows a device's identity: what happens,
//! and what an operator sees of it.
//!
//! Each story is a row of the attack table in `docs/identity.md`. Peers from
//! other addresses of 127.0.0.0/8 are peers from elsewhere.

mod clocks;
mod clones;
mod copies;
mod downgrade;
mod licences;
mod restarts;
mod tokens;

use serde_json::Value;

use crate::support::Version;

/// "No", and nothing more: what everybody reads who proved nothing.
fn no(version: Version) -> Vec<u8> {
    version.connack(if version.is_5() { 0x86 } else { 4 })
}

/// Whether it was refused as somebody whose signature holds.
fn is_refused_with_reason(version: Version, connack: &[u8], reason: &str) -> bool {
    let told = String::from_utf8_lossy(connack).into_owned();
    match version.is_5() {
        true => connack[0] == 0x20 && connack[3] == 0x87 && told.contains(reason),
        false => connack == version.connack(5),
    }
}

/// The facts that an event names.
fn facts(event: &Value) -> Vec<&str> {
    let facts = event["facts"].as_array().expect("a list");
    facts
        .iter()
        .map(|fact| fact.as_str().expect("a name"))
        .collect()
}
