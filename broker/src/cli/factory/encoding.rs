//! The encodings that lists come in, as UTF-8.
//!
//! UTF-8 and UTF-16 are recognised: by the mark at their beginning, or by the
//! zeros between the letters of the first line. Windows-1252 has no mark, so it
//! has to be named. Nothing here fails: what is no character becomes [`LOST`],
//! and costs the line in which it stands.

use std::borrow::Cow;
use std::io::{self, Cursor, Read};

/// How a list's characters are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Encoding {
    /// UTF-8, with or without a mark at its beginning
    #[value(name = "utf-8")]
    Utf8,
    /// UTF-16, little end first: "Unicode text" of spreadsheets
    #[value(name = "utf-16le")]
    Utf16Le,
    /// UTF-16, big end first
    #[value(name = "utf-16be")]
    Utf16Be,
    /// Windows-1252, which has Latin-1 in it
    #[value(name = "windows-1252")]
    Windows1252,
}

/// Stands for what is no character. It is none itself, so that no text has it;
/// U+FFFD may stand in a label.
pub(super) const LOST: char = '\u{fdd0}';
/// Bytes that are looked at to recognise an encoding.
const LOOK: usize = 4;
/// Bytes of a source that are decoded at once.
const BLOCK: usize = 64 * 1024;

/// The same text in UTF-8, and the encoding that it had. Without `said`, the
/// encoding is recognised.
pub(super) fn decoded(
    mut source: Box<dyn Read + Send>,
    said: Option<Encoding>,
) -> io::Result<(Box<dyn Read + Send>, Encoding)> {
    let mut begin = Vec::with_capacity(LOOK);
    source.by_ref().take(LOOK as u64).read_to_end(&mut begin)?;
    let encoding = said.unwrap_or_else(|| recognised(&begin));
    let whole = Box::new(Cursor::new(begin).chain(source));
    Ok(match encoding {
        Encoding::Utf8 => (whole, encoding),
        _ => (Box::new(Decoded::of(whole, encoding)), encoding),
    })
}

/// A line in UTF-8, as text.
pub(super) fn text(line: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(line) {
        return Cow::Borrowed(text);
    }
    let mut text = String::with_capacity(line.len());
    for chunk in line.utf8_chunks() {
        text.push_str(chunk.valid());
        if !chunk.invalid().is_empty() {
            text.push(LOST);
        }
    }
    Cow::Owned(text)
}

fn recognised(begin: &[u8]) -> Encoding {
    match begin {
        [0xff, 0xfe, ..] => Encoding::Utf16Le,
        [0xfe, 0xff, ..] => Encoding::Utf16Be,
        // Names of columns are ASCII.
        [first, 0, second, 0] if *first != 0 && *second != 0 => Encoding::Utf16Le,
        [0, first, 0, second] if *first != 0 && *second != 0 => Encoding::Utf16Be,
        _ => Encoding::Utf8,
    }
}

/// A source in another encoding, read as UTF-8.
struct Decoded<R> {
    source: R,
    encoding: Encoding,
    block: Vec<u8>,
    /// Bytes of a character that is not whole yet.
    begun: Vec<u8>,
    text: Vec<u8>,
    taken: usize,
    is_over: bool,
}

impl<R: Read> Decoded<R> {
    fn of(source: R, encoding: Encoding) -> Self {
        Self {
            source,
            encoding,
            block: vec![0; BLOCK],
            begun: Vec::new(),
            text: Vec::new(),
            taken: 0,
            is_over: false,
        }
    }

    fn decode(&mut self) -> io::Result<()> {
        let read = self.source.read(&mut self.block)?;
        self.is_over = read == 0;
        let mut bytes = std::mem::take(&mut self.begun);
        bytes.extend_from_slice(&self.block[..read]);
        self.text.clear();
        self.taken = 0;
        let mut text = String::with_capacity(bytes.len() * 3 / 2);
        match self.encoding {
            Encoding::Windows1252 => text.extend(bytes.iter().map(|byte| windows_1252(*byte))),
            encoding => self.begun = utf_16(&bytes, encoding, self.is_over, &mut text),
        }
        self.text = text.into_bytes();
        Ok(())
    }
}

impl<R: Read> Read for Decoded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.taken == self.text.len() {
            if self.is_over {
                return Ok(0);
            }
            self.decode()?;
        }
        let left = &self.text[self.taken..];
        let count = left.len().min(buffer.len());
        buffer[..count].copy_from_slice(&left[..count]);
        self.taken += count;
        Ok(count)
    }
}

/// Decodes whole characters, and returns the bytes of the last if more of them
/// are to come.
fn utf_16(bytes: &[u8], encoding: Encoding, is_over: bool, text: &mut String) -> Vec<u8> {
    let unit = |pair: &[u8]| match (encoding, pair) {
        (Encoding::Utf16Be, [high, low]) => u16::from_be_bytes([*high, *low]),
        (_, [low, high]) => u16::from_le_bytes([*low, *high]),
        // Half of one, at the end.
        _ => 0xd800,
    };
    let is_first_half = |unit: u16| (0xd800..0xdc00).contains(&unit);
    let mut whole = bytes.len() - bytes.len() % 2;
    if whole >= 2 && is_first_half(unit(&bytes[whole - 2..whole])) {
        whole -= 2;
    }
    if is_over {
        whole = bytes.len();
    }
    let units = bytes[..whole].chunks(2).map(unit);
    text.extend(char::decode_utf16(units).map(|one| one.unwrap_or(LOST)));
    bytes[whole..].to_vec()
}

/// As browsers read it, but for the five bytes that mean nothing.
fn windows_1252(byte: u8) -> char {
    const FROM_80: [char; 32] = [
        '€', LOST, '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', LOST, 'Ž', LOST, LOST,
        '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', LOST, 'ž', 'Ÿ',
    ];
    match byte {
        0x80..=0x9f => FROM_80[usize::from(byte - 0x80)],
        _ => char::from(byte),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives a byte at a time.
    struct Slow(Cursor<Vec<u8>>);

    impl Read for Slow {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let length = buffer.len().min(1);
            self.0.read(&mut buffer[..length])
        }
    }

    fn read(bytes: &[u8], said: Option<Encoding>) -> (String, Encoding) {
        let source = Box::new(Slow(Cursor::new(bytes.to_vec())));
        let (mut source, encoding) = decoded(source, said).expect("readable");
        let mut text = String::new();
        source.read_to_string(&mut text).expect("UTF-8");
        (text, encoding)
    }

    fn units(text: &str, encoding: Encoding) -> Vec<u8> {
        let bytes = |unit: u16| match encoding {
            Encoding::Utf16Be => unit.to_be_bytes(),
            _ => unit.to_le_bytes(),
        };
        text.encode_utf16().flat_map(bytes).collect()
    }

    #[test]
    fn utf_16_is_recognised_and_read() {
        for encoding in [Encoding::Utf16Le, Encoding::Utf16Be] {
            for text in ["serial;é\r\n😀,1\r\n", "\u{feff}serial\n"] {
                let bytes = units(text, encoding);
                assert_eq!(read(&bytes, None), (text.to_owned(), encoding));
            }
            let mut cut = units("ab😀", encoding);
            cut.truncate(cut.len() - 1);
            assert!(
                read(&cut, Some(encoding))
                    .0
                    .starts_with(&format!("ab{LOST}"))
            );
            let halves: Vec<u8> = units("😀", encoding)[2..].to_vec();
            assert_eq!(read(&halves, Some(encoding)).0, LOST.to_string());
        }
    }

    #[test]
    fn bytes_that_are_no_character_are_marked() {
        assert_eq!(text(b"K\xfcche\xff"), format!("K{LOST}che{LOST}"));
        assert_eq!(text("K\u{fffd}".as_bytes()), "K\u{fffd}");
    }

    #[test]
    fn others_are_what_they_are_said_to_be() {
        assert_eq!(read(b"serial\n", None).1, Encoding::Utf8);
        assert_eq!(read(b"", None), (String::new(), Encoding::Utf8));
        assert_eq!(
            read(b"K\xfcche \x80", Some(Encoding::Windows1252)).0,
            "Küche €"
        );
    }
}
