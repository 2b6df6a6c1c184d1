//! Other spellings of a serial: those that a peer may have meant.

use crate::identity::{DeviceName, Serial};

/// Look-ups for a serial that is near to an unknown one.
const VARIANTS: usize = 48;

/// How a user name was spelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spelled {
    /// As the device is registered.
    Exactly,
    /// With this around it.
    WithExtras(&'static str),
    /// In another case, perhaps with something around it.
    InOtherCase,
    /// With the id of a product that has no such device.
    OtherProduct,
}

/// The names that a user name may mean, the likeliest first: always so few.
pub(super) fn spellings(username: &str) -> Vec<(DeviceName, Spelled)> {
    let trimmed = trim(username);
    let extras = around(username, trimmed);
    let as_sent = match extras {
        None => Spelled::Exactly,
        Some(extras) => Spelled::WithExtras(extras),
    };
    let folded = |serial: String| match trimmed.rsplit_once('/') {
        Some((product, _)) => format!("{product}/{serial}"),
        None => serial,
    };
    let serial = trimmed.rsplit('/').next().unwrap_or_default();
    let texts = [
        (trimmed.to_owned(), as_sent),
        (folded(serial.to_ascii_uppercase()), Spelled::InOtherCase),
        (folded(serial.to_ascii_lowercase()), Spelled::InOtherCase),
        // What stands in front may be no product at all.
        (serial.to_owned(), Spelled::OtherProduct),
    ];
    texts
        .into_iter()
        .filter_map(|(text, spelled)| Some((DeviceName::parse(&text).ok()?, spelled)))
        .collect()
}

/// The name under which an unknown serial is remembered.
pub(super) fn unknown(username: &str) -> Option<DeviceName> {
    DeviceName::parse(trim(username)).ok()
}

fn trim(text: &str) -> &str {
    text.trim_matches(|it: char| {
        it.is_whitespace() || it.is_control() || "\"'`\u{feff}".contains(it)
    })
}

/// What stands around the part of a text that counts, in words.
fn around(text: &str, part: &str) -> Option<&'static str> {
    let (before, after) = text.split_once(part)?;
    describe(before.as_bytes(), after.as_bytes())
}

/// The words for what stands before and after a text.
pub(super) fn describe(before: &[u8], after: &[u8]) -> Option<&'static str> {
    let quote = |it: &[u8]| matches!(it, b"\"" | b"'" | b"`");
    let blank = |it: &[u8]| {
        it.iter()
            .all(|byte| byte.is_ascii_whitespace() || *byte == 0)
    };
    Some(match (before, after) {
        (b"", b"") => return None,
        (b"", b" ") => "it is followed by a space",
        (b"", b"\n") => "it is followed by a line feed",
        (b"", b"\r\n") => "it is followed by a carriage return and a line feed",
        (b"", b"\r") => "it is followed by a carriage return",
        (b"", b"\t") => "it is followed by a tab",
        (b"", nul) if nul.iter().all(|byte| *byte == 0) => "it is followed by NUL",
        (b" ", b"") => "it follows a space",
        (before, after) if quote(before) && quote(after) => "it stands in quotes",
        (before, after) if blank(before) && blank(after) => "it has blanks or line ends around it",
        (b"", _) => "it is followed by other characters",
        (_, b"") => "it follows other characters",
        _ => "it has other characters around it",
    })
}

/// Serials that are nearly this one: in another case, with 0 for O and 1 for I
/// or l, without or with separators, leading zeros, or a character at the end.
pub(super) fn near(serial: &Serial) -> Vec<Serial> {
    let text = serial.as_str();
    let mut texts = vec![text.to_ascii_uppercase(), text.to_ascii_lowercase()];
    let swap = |from: &[char], to: &str| text.replace(from, to);
    texts.push(swap(&['O', 'o'], "0"));
    texts.push(swap(&['I', 'l'], "1"));
    texts.push(swap(&['O', 'o'], "0").replace(['I', 'l'], "1"));
    texts.push(swap(&['0'], "O"));
    texts.push(swap(&['1'], "I"));
    texts.push(swap(&['-', '_', ':', ',', '+'], ""));
    for separator in ["-", "_", ":"] {
        texts.push(swap(&['-', '_', ':', ',', '+'], separator));
    }
    // A part in front that is too much, and zeros that are.
    if let Some((_, rest)) = text.split_once(['-', '_', ':']) {
        texts.push(rest.to_owned());
    }
    let digits = text.trim_start_matches(|it: char| !it.is_ascii_digit());
    let (front, digits) = text.split_at(text.len() - digits.len());
    let short = digits.trim_start_matches('0');
    texts.push(digits.to_owned());
    texts.push(format!("{front}-{digits}"));
    texts.push(format!("{front}{short}"));
    for zeros in 1..=4 {
        texts.push(format!("{front}{}{digits}", "0".repeat(zeros)));
    }
    // A MAC with its colons.
    if text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        let pairs: Vec<&str> = (0..6).map(|n| &text[2 * n..2 * n + 2]).collect();
        texts.push(pairs.join(":"));
        texts.push(pairs.join("-"));
    }
    for front in ["SN-", "SN", "sn-"] {
        texts.push(format!("{front}{text}"));
    }
    if text.len() > 1 {
        texts.push(text[..text.len() - 1].to_owned());
        texts.push(text[1..].to_owned());
    }
    // One letter that is easily taken for another.
    for (at, letter) in text.char_indices() {
        let other = match letter {
            '0' => "O",
            'O' | 'o' => "0",
            '1' => "I",
            'I' | 'l' => "1",
            '5' => "S",
            'S' => "5",
            '8' => "B",
            'B' => "8",
            _ => continue,
        };
        texts.push(format!("{}{other}{}", &text[..at], &text[at + 1..]));
    }
    let mut variants: Vec<Serial> = Vec::new();
    for text in texts {
        if let Ok(variant) = Serial::parse(&text)
            && variant != *serial
            && !variants.contains(&variant)
            && variants.len() < VARIANTS
        {
            variants.push(variant);
        }
    }
    variants
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_are_few_and_the_likeliest_comes_first() {
        let check = |username: &str, expected: Spelled| {
            let found = spellings(username);
            let means = |(name, _): &&(DeviceName, Spelled)| name.serial.as_str() == "SN-1";
            assert_eq!(found.iter().find(means).expect(username).1, expected);
            assert!(found.len() <= 4);
        };
        check("SN-1", Spelled::Exactly);
        check("SN-1 ", Spelled::WithExtras("it is followed by a space"));
        check(
            "SN-1\r\n",
            Spelled::WithExtras("it is followed by a carriage return and a line feed"),
        );
        check("\"SN-1\"", Spelled::WithExtras("it stands in quotes"));
        check("sn-1", Spelled::InOtherCase);
        check("abcdefghijklmnopqrst/sn-1\n", Spelled::InOtherCase);
        check("lamp/SN-1", Spelled::OtherProduct);
    }

    #[test]
    fn near_serials_are_bounded() {
        let check = |tried: &str, registered: &str| {
            let near = near(&Serial::parse(tried).expect("serial"));
            let registered = Serial::parse(registered).expect("serial");
            assert!(near.contains(&registered), "{tried}: {near:?}");
        };
        check("sn-0001", "SN-0001");
        check("SN-OOO1", "SN-0001");
        check("SN-OO01", "SN-0001");
        check("SN-l001", "SN-1001");
        check("0001", "SN-0001");
        check("SN-1", "SN-0001");
        check("SN-0001", "SN-1");
        check("SN0001", "SN-0001");
        check("dc:a6:32:00:00:01", "dca632000001");
        check("dca632000001", "dc:a6:32:00:00:01");
        check("SN-0001x", "SN-0001");
        let long = Serial::parse(&"0O".repeat(32)).expect("serial");
        assert!(near(&long).len() <= VARIANTS);
    }
}
