//! A command as one line of text: `NAME PAYLOAD`.
//!
//! A payload is any bytes, and a line must not contain its own end. So what is
//! no printable text is written as in a C string, `\n` or `\x00`, and so is a
//! backslash: `printf %b` reads it back.

use std::fmt::Write;

pub(super) fn of(name: &str, payload: &[u8]) -> String {
    let mut line = String::with_capacity(name.len() + payload.len() + 2);
    for (number, part) in name.split(' ').enumerate() {
        if number > 0 {
            line.push_str("\\x20");
        }
        escape(part.as_bytes(), &mut line);
    }
    line.push(' ');
    escape(payload, &mut line);
    line.push('\n');
    line
}

fn escape(bytes: &[u8], line: &mut String) {
    for chunk in bytes.utf8_chunks() {
        for symbol in chunk.valid().chars() {
            match symbol {
                '\\' => line.push_str("\\\\"),
                '\n' => line.push_str("\\n"),
                '\r' => line.push_str("\\r"),
                '\t' => line.push_str("\\t"),
                symbol if symbol.is_control() => {
                    symbol
                        .encode_utf8(&mut [0; 4])
                        .bytes()
                        .for_each(|byte| in_hex(byte, line));
                }
                symbol => line.push(symbol),
            }
        }
        chunk.invalid().iter().for_each(|byte| in_hex(*byte, line));
    }
}

fn in_hex(byte: u8, line: &mut String) {
    // Writing to a string does not fail.
    let _ = write!(line, "\\x{byte:02x}");
}

#[cfg(test)]
mod tests {
    use super::of;

    #[test]
    fn a_line_is_one_line() {
        let check = |name, payload: &[u8], expected| assert_eq!(of(name, payload), expected);
        check("reboot", b"now please", "reboot now please\n");
        check("reboot", b"", "reboot \n");
        check("set", "21 °C".as_bytes(), "set 21 °C\n");
        check("a b", b"1\n2\r\t\\", "a\\x20b 1\\n2\\r\\t\\\\\n");
        check(" a", b"1", "\\x20a 1\n");
        check("raw", b"\0\x7f\xff\xfe", "raw \\x00\\x7f\\xff\\xfe\n");
        check("raw", "\u{85}".as_bytes(), "raw \\xc2\\x85\n");
    }

    proptest::proptest! {
        #[test]
        fn whatever_comes(payload: Vec<u8>, name in "[^+#/\0]{1,20}") {
            let line = of(&name, &payload);
            assert_eq!(line.matches('\n').count(), 1);
            assert!(line.ends_with('\n') && !line.trim_end().contains(char::is_control));
            assert!(!line.split_once(' ').expect("two parts").0.is_empty());
        }
    }
}
