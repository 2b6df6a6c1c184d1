//! What a message says: which one it is, and when it was meant to be sent.
//!
//! Text, as a datastream's value may be: hexadecimal numbers of fixed width,
//! then padding. The run's number keeps what an earlier run left on the broker
//! from being counted.

use std::time::Duration;

/// One message of one device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Message {
    /// Which run.
    pub(super) run: u32,
    /// The device's place in the fleet.
    pub(super) device: u32,
    /// From 0 on.
    pub(super) number: u32,
    /// When it was meant to be sent: microseconds since the run began.
    pub(super) intended_us: u64,
}

/// Three numbers of eight digits and one of twelve.
pub(super) const LEAST: u16 = 36;

/// Twelve hexadecimal digits: nine years.
const LATEST_US: u64 = (1 << 48) - 1;

impl Message {
    /// Writes exactly `size` bytes, which are at least [`LEAST`].
    pub(super) fn write(&self, size: usize, out: &mut Vec<u8>) {
        let Self {
            run,
            device,
            number,
            intended_us,
        } = *self;
        out.clear();
        let when = intended_us.min(LATEST_US);
        out.extend_from_slice(format!("{run:08x}{device:08x}{number:08x}{when:012x}").as_bytes());
        out.resize(size, b'.');
    }

    /// `None` if no message of any run looks so.
    pub(super) fn read(payload: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(payload.get(..LEAST.into())?).ok()?;
        let digits = |range| u64::from_str_radix(text.get(range)?, 16).ok();
        let number = |range| u32::try_from(digits(range)?).ok();
        Some(Self {
            run: number(0..8)?,
            device: number(8..16)?,
            number: number(16..24)?,
            intended_us: digits(24..36)?,
        })
    }

    pub(super) fn intended(&self) -> Duration {
        Duration::from_micros(self.intended_us)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_can_be_read(
            run: u32, device: u32, number: u32, intended_us in 0..=LATEST_US, more in 0..100_usize,
        ) {
            let message = Message { run, device, number, intended_us };
            let size = usize::from(LEAST) + more;
            let mut out = vec![7];
            message.write(size, &mut out);
            prop_assert_eq!(out.len(), size);
            prop_assert_eq!(Message::read(&out), Some(message));
        }

        #[test]
        fn anything_can_be_read(payload: Vec<u8>) {
            Message::read(&payload);
        }
    }

    #[test]
    fn what_is_no_message() {
        let check =
            |payload: &str| assert_eq!(Message::read(payload.as_bytes()), None, "{payload}");
        check("");
        check(&"0".repeat(35));
        check(&"g".repeat(36));
        check(&format!("+{}", "0".repeat(35)).replace('+', "-"));
    }
}
