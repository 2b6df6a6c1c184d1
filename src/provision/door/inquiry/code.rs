//! What is wrong with a password that was meant to be an activation code.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};

use super::spelling::describe;
use crate::cause::{Cause, Detail};
use crate::clock::Timestamp;
use crate::code::ActivationCode;
use crate::identity::Serial;
use crate::provision::OpenProduct;
use crate::provision::door::attempts::Finding;
use crate::secret::{ApiKey, ProductSecret};

/// Hex digits from which on the beginning of a code is taken for one.
const BEGINNING: usize = 12;

/// Whether a password is the code of this serial, and nothing else.
pub(super) fn is_right(
    password: &[u8],
    product: &OpenProduct,
    serial: &Serial,
    now: Timestamp,
) -> bool {
    let code = std::str::from_utf8(password).map(ActivationCode::parse);
    let Ok(Ok(code)) = code else {
        return false;
    };
    let right =
        |secret: &ProductSecret| ActivationCode::compute(secret, serial).digest() == code.digest();
    product.live(now).any(|(_, secret)| right(secret))
}

/// The mistake in a password that is nearly the code of this device.
pub(super) fn examine(
    password: &[u8],
    username: &str,
    product: &OpenProduct,
    serial: &Serial,
    now: Timestamp,
) -> Option<Finding> {
    product
        .live(now)
        .find_map(|(_, secret)| examine_with(password, username, secret, serial))
}

fn examine_with(
    password: &[u8],
    username: &str,
    secret: &ProductSecret,
    serial: &Serial,
) -> Option<Finding> {
    let code = ActivationCode::compute(secret, serial).expose_hex();
    let lower = password.to_ascii_lowercase();
    if lower == code.as_bytes() {
        return None;
    }
    if let Some(extras) = position(&lower, code.as_bytes())
        .and_then(|at| describe(&password[..at], &password[at + code.len()..]))
    {
        return Some((Cause::CodeWithExtras, Some(extras.into())));
    }
    let digits: Vec<u8> = lower
        .iter()
        .copied()
        .filter(u8::is_ascii_hexdigit)
        .collect();
    if digits == code.as_bytes() {
        let detail: Detail = Some("there are other characters between its digits".into());
        return Some((Cause::CodeWithExtras, detail));
    }
    if (BEGINNING..code.len()).contains(&lower.len()) && code.as_bytes().starts_with(&lower) {
        let text = format!("it has {} of 40 digits", lower.len());
        return Some((Cause::CodeCutShort, Some(text.into())));
    }
    if let Some(form) = encoded(password, &code) {
        return Some((Cause::CodeInOtherEncoding, Some(form.into())));
    }
    if lower == secret.expose_hex().as_bytes() {
        return Some((Cause::SecretAsCode, None));
    }
    if lower == ActivationCode::with_sha256(secret, serial).as_bytes() {
        return Some((Cause::CodeWithOtherHash, None));
    }
    let text = serial.as_str();
    let others = [
        (format!("{text}\n"), "the serial followed by a line feed"),
        (
            format!("{text}\r\n"),
            "the serial followed by a carriage return and a line feed",
        ),
        (format!("{text}\0"), "the serial followed by NUL"),
        (format!("{text} "), "the serial followed by a space"),
        (text.to_ascii_lowercase(), "the serial in lower case"),
        (text.to_ascii_uppercase(), "the serial in upper case"),
        (username.to_owned(), "the username as it was sent"),
    ];
    others.iter().find_map(|(other, words)| {
        let made = ActivationCode::of_text(secret, other).expose_hex();
        let fits = position(&lower, made.as_bytes()).is_some();
        fits.then(|| (Cause::CodeOfOtherSpelling, Some((*words).into())))
    })
}

/// The encoding in which a password is this code, if it is not hex.
fn encoded(password: &[u8], code: &str) -> Option<&'static str> {
    let mut bytes = [0; 20];
    hex::decode_to_slice(code, &mut bytes).ok()?;
    if password == bytes {
        return Some("it came as 20 raw bytes");
    }
    let text = password.trim_ascii();
    let engines = [STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD];
    let of_bytes = engines
        .iter()
        .any(|engine| engine.encode(bytes).as_bytes() == text);
    let of_hex = engines
        .iter()
        .any(|engine| engine.encode(code).as_bytes() == text);
    (of_bytes || of_hex).then_some("it came in base64")
}

/// Parts of a password that look like an API key.
pub(super) fn key_like(password: &[u8]) -> impl Iterator<Item = &str> {
    let in_alphabet = |it: char| it.is_ascii_alphanumeric() || it == '_' || it == '-';
    let text = std::str::from_utf8(password).unwrap_or_default();
    text.split(move |it| !in_alphabet(it))
        .filter(|part| part.len() == ApiKey::LENGTH)
        .take(2)
}

/// What stands around a part of a password, in words.
pub(super) fn around(password: &[u8], part: &[u8]) -> &'static str {
    position(password, part)
        .and_then(|at| describe(&password[..at], &password[at + part.len()..]))
        .unwrap_or("it has other characters around it")
}

/// What a password without a shape looks like, and nothing of what it says.
pub(super) fn shape(password: &[u8], length: usize) -> String {
    let is_hex = |byte: &u8| byte.is_ascii_hexdigit();
    let blank = |byte: &u8| byte.is_ascii_whitespace() || *byte == 0;
    let hex = password.iter().filter(|byte| is_hex(byte)).count();
    let mut text = format!("it has {length} bytes");
    if length == hex {
        text.push_str(", all of them hex digits");
    } else if length == 40 {
        text.push_str(&format!(", but {} are no hex digits", length - hex));
    }
    if password.last().is_some_and(blank) || password.first().is_some_and(blank) {
        text.push_str(", with blanks, line ends or NUL around them");
    }
    text
}

pub(super) fn position(text: &[u8], part: &[u8]) -> Option<usize> {
    (!part.is_empty()).then_some(())?;
    text.windows(part.len()).position(|window| window == part)
}
