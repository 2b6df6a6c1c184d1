//! Sentences about requests that do not have the form they should.
//!
//! serde gives its reasons as text, in the words of Rust types. This is the one
//! place that knows those words: each reason becomes a sentence that names the
//! field, what was sent and what is accepted. A reason in other words passes as
//! it is, cut and escaped; `misread/tests.rs` holds each wording, so that a
//! release of serde with others is noticed.
//!
//! What was sent is repeated only in part, escaped, and never for a field that
//! holds a credential.

use std::borrow::Cow;
use std::fmt::Write;

use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::error::Category;
use serde_path_to_error::{Path, Segment};

/// The reason of a number that is none.
pub(crate) const NUMBER: &str = "invalid digit found in string";
/// Characters of a value that are repeated at most.
const VALUE: usize = 40;
/// Characters of a reason in other words at most.
const REASON: usize = 300;
/// Names with one of these in them hold credentials.
const CREDENTIALS: [&str; 6] = ["code", "key", "password", "secret", "signature", "token"];

/// A reason why a body was not read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Misread {
    /// Not JSON at all.
    #[error("{0}")]
    NotJson(String),
    /// JSON, but not of the form that is taken here.
    #[error("{0}")]
    Form(String),
}

/// Reads a body of JSON.
pub(crate) fn json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Misread> {
    serde_json::from_slice(bytes).map_err(|error| misread::<T>(bytes, &error))
}

/// The second reading, which keeps account of where it is: the first one, which
/// is all that most bodies need, has no time for that.
fn misread<T: DeserializeOwned>(bytes: &[u8], error: &serde_json::Error) -> Misread {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Misread::NotJson("the body is not JSON: it is empty".to_owned());
    }
    // A number in the place of a name is called wrong syntax too.
    let is_json = serde_json::from_slice::<IgnoredAny>(bytes).is_ok();
    if !is_json && error.classify() != Category::Data {
        return Misread::NotJson(syntax(error));
    }
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let Err(placed) = serde_path_to_error::deserialize::<_, T>(&mut reader) else {
        return Misread::Form(sentence("", &error.to_string()));
    };
    let path = field(placed.path());
    let reason = placed.inner().to_string();
    if placed.inner().classify() != Category::Data {
        let names = names::<T>(bytes, placed.path());
        return Misread::Form(match names {
            Some(names) => format!("{}: it has to be {names}", subject(&path)),
            None => format!("{} is of a kind that is not taken here", subject(&path)),
        });
    }
    Misread::Form(sentence(&path, &reason))
}

fn syntax(error: &serde_json::Error) -> String {
    let (line, column) = (error.line(), error.column());
    if error.classify() == Category::Eof {
        return format!("the body is not JSON: it ends too early, in line {line}");
    }
    let text = error.to_string();
    let reason = without_place(&text);
    let reason = match reason {
        "trailing characters" => "something stands behind its end",
        "trailing comma" => "a comma stands before a closing bracket",
        "key must be a string" => "a name has to stand in double quotes",
        "number out of range" => "a number is too large",
        "recursion limit exceeded" => "it is nested too deep",
        "expected value" => "there is no value",
        "expected `:`" => "a colon is missing",
        _ if reason.starts_with("expected `,`") => "a comma or a closing bracket is missing",
        _ if reason.starts_with("control character") => "a text holds a control character",
        _ => "this cannot stand here",
    };
    format!("the body is not JSON: {reason}, in line {line} at column {column}")
}

/// Names that are accepted at a place where something else than text is.
fn names<T: DeserializeOwned>(bytes: &[u8], path: &Path) -> Option<String> {
    let mut body: serde_json::Value = serde_json::from_slice(bytes).ok()?;
    let mut place = &mut body;
    for segment in path {
        place = match segment {
            Segment::Seq { index } => place.get_mut(index)?,
            Segment::Map { key } => place.get_mut(key)?,
            _ => return None,
        };
    }
    *place = "".into();
    let error = T::deserialize(body).err()?.to_string();
    let expected = error.strip_prefix("unknown variant ``, expected ");
    expected.map(listed)
}

/// A sentence about what stands behind a `?`, of which these are the pairs.
pub(crate) fn query(text: &str, pairs: &[(String, String)]) -> String {
    let (path, reason) = match text.split_once(": ") {
        Some((path, reason)) if pairs.iter().any(|(name, _)| name == path) => (path, reason),
        _ => ("", text),
    };
    let sent = pairs.iter().find(|(name, _)| name == path);
    let Some((name, value)) = sent else {
        return sentence("", reason);
    };
    match parsed(reason) {
        Some(accepted) => unfit(name, value, accepted),
        None => sentence(path, reason),
    }
}

/// A sentence about one value in an address.
pub(crate) fn part(name: &str, value: &str, reason: &str) -> String {
    match parsed(reason) {
        Some(accepted) => unfit(name, value, accepted),
        None => sentence(name, reason),
    }
}

/// Reasons of the standard library's parsers.
fn parsed(reason: &str) -> Option<&'static str> {
    Some(match reason {
        NUMBER | "cannot parse integer from empty string" => "a whole number, not negative",
        "number too large to fit in target type" => "a smaller number",
        "provided string was not `true` or `false`" => "true or false",
        _ => return None,
    })
}

fn unfit(name: &str, value: &str, accepted: &str) -> String {
    let subject = subject(name);
    match is_credential(name) {
        // A part of an address, which has no name.
        _ if name.is_empty() => format!("\"{}\" has to be {accepted}", cut(value, VALUE)),
        true => format!("{subject} has to be {accepted}"),
        false => format!(
            "{subject} is \"{}\": it has to be {accepted}",
            cut(value, VALUE)
        ),
    }
}

/// Turns serde's reason about a field into a sentence; `path` is empty for the
/// whole.
pub(crate) fn sentence(path: &str, reason: &str) -> String {
    let reason = without_place(reason);
    let subject = subject(path);
    let (before, expected) = match reason.rsplit_once(", expected ") {
        Some((before, expected)) => (before, Some(expected)),
        None => (reason, None),
    };
    if let Some(name) = between(before, "missing field `", "`") {
        return format!("{} is missing", self::subject(&inside(path, name)));
    }
    if let Some(name) = between(before, "duplicate field `", "`") {
        return format!("{} is there twice", self::subject(&inside(path, name)));
    }
    let (before, expected) = match (reason.rfind("`, expected "), expected) {
        // The names that are accepted may be many, and have commas between.
        (Some(at), _) if reason.starts_with("unknown ") => {
            (&reason[..=at], Some(&reason[at + "`, expected ".len()..]))
        }
        (_, expected) => (before, expected),
    };
    if let Some(name) = between(before, "unknown field `", "`") {
        let place = match parent(path, name) {
            "" => "here".to_owned(),
            parent => format!("in {}", self::subject(parent)),
        };
        let all = expected.map_or_else(|| "there is none".to_owned(), listed);
        let name = cut(name, VALUE);
        return format!("\"{name}\" is an unknown key {place}: known is {all}");
    }
    if let Some(name) = between(before, "unknown variant `", "`") {
        return unfit(path, name, &expected.map_or_else(String::new, listed));
    }
    let sent = before
        .strip_prefix("invalid type: ")
        .or_else(|| before.strip_prefix("invalid value: "))
        .or_else(|| before.strip_prefix("invalid length "));
    if let (Some(sent), Some(expected)) = (sent, expected) {
        let accepted = accepted(expected);
        return match kind(sent, is_credential(path)) {
            Some(sent) => format!("{subject} is {sent}: it has to be {accepted}"),
            None => format!("{subject} has to be {accepted}"),
        };
    }
    let reason = match between(
        reason,
        "data did not match any variant of untagged enum ",
        "",
    ) {
        Some(_) => "a value is of a kind that is not taken here",
        None => reason,
    };
    format!("{subject}: {}", cut(reason, REASON))
}

/// A sentence about a value in a file of TOML, whose line is known and whose
/// name is not.
pub(crate) fn toml(reason: &str) -> String {
    let reason = reason.trim().replace('\n', "; ");
    sentence("", &reason).replacen("the whole", "the value", 1)
}

/// The value as it was sent: its kind, and a part of it if that is harmless.
fn kind(sent: &str, is_credential: bool) -> Option<Cow<'static, str>> {
    let (kind, value) = match sent.split_once(' ') {
        Some((kind, value)) => (kind, value),
        None => (sent, ""),
    };
    Some(match kind {
        "string" if is_credential => "text".into(),
        "string" => {
            // Escaped by serde as Rust's `Debug` does it.
            let inner = value.strip_prefix('"').and_then(|it| it.strip_suffix('"'));
            format!(
                "the text \"{}\"",
                cut_escaped(inner.unwrap_or(value), VALUE)
            )
            .into()
        }
        "integer" | "floating" | "boolean" if is_credential => "no text".into(),
        "integer" | "floating" | "boolean" => {
            let value = value.trim_start_matches("point ").trim_matches('`');
            cut(value, VALUE).into()
        }
        "null" | "Option" | "unit" => "null".into(),
        "map" => "an object".into(),
        "sequence" => "a list".into(),
        // Of a list in the place of an object, or of one of a fixed length.
        _ if kind.bytes().all(|byte| byte.is_ascii_digit()) => "a list".into(),
        _ => return None,
    })
}

/// Words for what a Rust type accepts.
fn accepted(expected: &str) -> Cow<'_, str> {
    match expected {
        "u8" => "a whole number from 0 to 255".into(),
        "u16" => "a whole number from 0 to 65535".into(),
        "u32" => "a whole number from 0 to 4294967295".into(),
        "u64" | "usize" => "a whole number from 0 to 18446744073709551615".into(),
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number".into(),
        "f32" | "f64" => "a number".into(),
        "a boolean" => "true or false".into(),
        "a string" | "a borrowed string" | "str" | "string" => "text".into(),
        "a sequence" => "a list".into(),
        "a map" => "an object".into(),
        "unit" => "null".into(),
        "option" => "a value or null".into(),
        "string or map" | "variant identifier" | "field identifier" => "a name, as text".into(),
        _ if expected.starts_with("struct ") => "an object".into(),
        _ if expected.starts_with("tuple ") || expected.starts_with("an array") => "a list".into(),
        _ if expected.starts_with("enum ") => "a name, as text".into(),
        _ => cut(expected, REASON).into(),
    }
}

/// serde's list of names (``one of `a`, `b` ``) as people write one.
fn listed(expected: &str) -> String {
    let names: Vec<&str> = expected.split('`').skip(1).step_by(2).collect();
    match names.as_slice() {
        [] => "nothing".to_owned(),
        [only] => format!("\"{only}\""),
        [first, second] => format!("\"{first}\" or \"{second}\""),
        names => format!("one of \"{}\"", names.join("\", \"")),
    }
}

/// `serials[3].serial`; empty for the whole.
fn field(path: &Path) -> String {
    let mut text = String::new();
    for segment in path {
        // Writing to a `String` does not fail.
        let _ = match segment {
            Segment::Seq { index } => write!(text, "[{index}]"),
            Segment::Map { key } if text.is_empty() => write!(text, "{key}"),
            Segment::Map { key } => write!(text, ".{key}"),
            Segment::Enum { .. } | Segment::Unknown => Ok(()),
        };
    }
    text
}

fn inside(path: &str, name: &str) -> String {
    match path {
        "" => name.to_owned(),
        path => format!("{path}.{name}"),
    }
}

/// The path without the name at its end.
fn parent<'a>(path: &'a str, name: &str) -> &'a str {
    let parent = path.strip_suffix(name).unwrap_or(path);
    parent.trim_end_matches('.')
}

fn subject(path: &str) -> String {
    match path {
        "" | "." => "the whole".to_owned(),
        path => format!("\"{}\"", cut(path, 2 * VALUE)),
    }
}

fn is_credential(path: &str) -> bool {
    let name = path.rsplit('.').next().unwrap_or(path).to_ascii_lowercase();
    // `codes_until` is a date: a credential's name ends with its kind.
    CREDENTIALS.iter().any(|word| name.ends_with(word))
}

fn between<'a>(text: &'a str, before: &str, behind: &str) -> Option<&'a str> {
    text.strip_prefix(before)?.strip_suffix(behind)
}

fn without_place(text: &str) -> &str {
    match text.rsplit_once(" at line ") {
        Some((reason, place)) if place.contains(" column ") => reason,
        _ => text,
    }
}

/// The first characters, with whatever a terminal might obey escaped.
fn cut(text: &str, most: usize) -> String {
    let mut shown = String::new();
    let mut chars = text.chars();
    for char in chars.by_ref().take(most) {
        match char {
            '"' | '\'' | '\\' => shown.push(char),
            char => shown.extend(char.escape_debug()),
        }
    }
    if chars.next().is_some() {
        shown.push('…');
    }
    shown
}

/// The same for text that is escaped.
fn cut_escaped(text: &str, most: usize) -> String {
    let mut shown: String = text.chars().take(most).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests;
