//! The only place that prints.
//!
//! A peer, a list or a server elsewhere chooses texts that end up here. On a
//! terminal an escape sequence in one of them would act, so what is printed for
//! people has none: characters that deceive are written as their numbers.

use std::io::{self, Write};

use anyhow::Result;
use firstwake::{deceives, visible_lines};
use serde::Serialize;

/// Writes a line, or several, for people to standard output.
pub(crate) fn say(lines: &str) -> Result<()> {
    say_exactly(&visible_lines(lines))
}

/// Writes text as it is to standard output: a script, a page or a list that a
/// program reads. A reader that has gone away ends the command quietly, as it
/// does any other tool's.
pub(crate) fn say_exactly(text: &str) -> Result<()> {
    match writeln!(io::stdout().lock(), "{text}") {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        outcome => Ok(outcome?),
    }
}

/// Writes a line, or several, for people to standard error, if there is one.
pub(crate) fn complain(lines: &str) {
    drop(writeln!(io::stderr().lock(), "{}", visible_lines(lines)));
}

/// Writes one JSON object on one line.
pub(crate) fn say_json(value: &impl Serialize) -> Result<()> {
    say_exactly(&harmless_json(serde_json::to_string(value)?))
}

/// The same JSON, with escapes for what deceives: JSON itself asks for those of
/// C0 only. Outside of strings there is nothing that could be one.
fn harmless_json(json: String) -> String {
    if !json.contains(deceives) {
        return json;
    }
    let mut escaped = String::with_capacity(json.len() + 16);
    for character in json.chars() {
        if !deceives(character) {
            escaped.push(character);
            continue;
        }
        for unit in character.encode_utf16(&mut [0; 2]) {
            escaped.push_str(&format!("\\u{unit:04x}"));
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn json_says_the_same_without_what_deceives() {
        let value = json!({
            "client\u{9b}": "a\u{1b}[2J\u{9b}\u{7f}\u{202e}\u{2028}\u{e0041}\n\"é\\",
            "n": [1, null],
        });
        let json = harmless_json(value.to_string());
        assert!(!json.contains(deceives), "{json}");
        assert!(
            json.contains("\\u009b\\u007f\\u202e\\u2028\\udb40\\udc41"),
            "{json}"
        );
        let read: Value = serde_json::from_str(&json).expect("JSON");
        assert_eq!(read, value);
    }
}
