//! Numbers that makers leave in when they give none.

/// Whether a serial says nothing, since many machines have the same.
pub(super) fn is_placeholder(serial: &str) -> bool {
    const KNOWN: [&str; 12] = [
        "0123456789",
        "0123456789abcdef",
        "123456789",
        "1234567890",
        "default string",
        "n/a",
        "none",
        "not applicable",
        "not specified",
        "system serial number",
        "to be filled by o.e.m.",
        "unknown",
    ];
    let serial = serial.trim().to_ascii_lowercase();
    let digits = serial.strip_prefix("0x").unwrap_or(&serial);
    let mut characters = digits.chars();
    let first = characters.next();
    KNOWN.contains(&serial.as_str()) || characters.all(|other| Some(other) == first)
}

#[cfg(test)]
mod tests {
    use super::is_placeholder;

    #[test]
    fn what_many_machines_have() {
        for serial in [
            "",
            "0",
            "0000000000000000",
            "0x00000000",
            "FFFFFFFF",
            "xxxxxxxx",
            " Default string\n",
            "To be filled by O.E.M.",
            "0123456789",
        ] {
            assert!(is_placeholder(serial), "{serial:?}");
        }
        for serial in ["10000000a3f9c1d7", "1814BBBK0001", "0x1d2c3b4a", "01"] {
            assert!(!is_placeholder(serial), "{serial:?}");
        }
    }
}
