//! `identity`: what this board shows of itself.

use firstwake::hardware::{Fact, FactHash, Pepper};
use firstwake_connector::{Inventory, Machine, Reading};
use serde_json::{Map, Value, json};

use super::say;
use crate::cli::{BoardArgs, Form};

pub(super) fn show(board: &BoardArgs, form: Form) -> anyhow::Result<()> {
    let pepper = board.pepper()?;
    let inventory = Machine::here().inventory();
    match form {
        Form::Text => in_lines(&inventory, pepper.as_ref())
            .iter()
            .for_each(|line| say(line)),
        Form::Json => say(&in_json(&inventory, pepper.as_ref()).to_string()),
    }
    Ok(())
}

/// A line for each value: fact, hash if there is a pepper, value.
fn in_lines(inventory: &Inventory, pepper: Option<&Pepper>) -> Vec<String> {
    let hash = |fact, value: &str| match pepper {
        Some(pepper) => format!("{}  ", FactHash::of(pepper, fact, value)),
        None => String::new(),
    };
    let line = |fact: Fact, reading: &Reading| match reading {
        Reading::Values(values) => values
            .iter()
            .map(|value| format!("{:<10}  {}{value}", fact.as_str(), hash(fact, value)))
            .collect(),
        Reading::Nothing(why) => vec![format!("{:<10}  none: {why}", fact.as_str())],
    };
    let facts = inventory.iter();
    facts
        .flat_map(|(fact, reading)| line(fact, reading))
        .collect()
}

/// `{"facts":{"mac":["…"],…},"hashes":{…},"absent":{"sd_card":"why"}}`, the
/// hashes only with a pepper.
fn in_json(inventory: &Inventory, pepper: Option<&Pepper>) -> Value {
    let (mut facts, mut absent) = (Map::new(), Map::new());
    for (fact, reading) in inventory.iter() {
        let name = fact.as_str().to_owned();
        match reading {
            Reading::Values(values) => facts.insert(name, json!(values)),
            Reading::Nothing(why) => absent.insert(name, json!(why)),
        };
    }
    let mut shown = json!({"facts": facts, "absent": absent});
    if let Some(pepper) = pepper {
        let hashes = firstwake::hardware::Facts::of(pepper, inventory.values());
        shown["hashes"] = hashes.to_json();
    }
    shown
}
