//! The flags in each packet's first byte, which the codec does not look at, and
//! lengths that a kind of packet cannot have.
//!
//! Follows the peer's bytes from header to header, in whatever pieces they
//! come.

use crate::mqtt::packet::Version;

/// Where in the peer's stream of packets the next byte lies.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Headers {
    /// It begins a packet.
    #[default]
    First,
    /// It belongs to the length of a packet of this kind, of which so much is
    /// known.
    Length { kind: u8, shift: u32, length: u32 },
    /// It belongs to a body, of which so much is left.
    Body(u32),
}

impl Headers {
    /// Whether the next byte begins a packet.
    pub(super) fn is_between(&self) -> bool {
        matches!(self, Self::First)
    }

    /// Goes on over these bytes. An error is the position of a first byte with
    /// flags that its kind of packet does not have, or of a length without end
    /// or that its kind does not have.
    pub(super) fn follow(&mut self, bytes: &[u8], version: Version) -> Result<(), usize> {
        let mut at = 0;
        while at < bytes.len() {
            let byte = bytes[at];
            *self = match *self {
                Self::First if !fits(byte) => return Err(at),
                Self::First => Self::Length {
                    kind: byte >> 4,
                    shift: 0,
                    length: 0,
                },
                Self::Length {
                    kind,
                    shift,
                    length,
                } => {
                    let length = length | u32::from(byte & 0x7f) << shift;
                    match byte {
                        0x80.. if shift < 21 => Self::Length {
                            kind,
                            shift: shift + 7,
                            length,
                        },
                        // MQTT 1.5.5: there is no fifth byte of length.
                        0x80.. => return Err(at),
                        _ if !has_length(kind, length, version) => return Err(at),
                        _ => Self::Body(length),
                    }
                }
                Self::Body(left) => {
                    let here = u32::try_from(bytes.len() - at).unwrap_or(u32::MAX);
                    let taken = left.min(here);
                    at += taken as usize;
                    *self = Self::Body(left - taken);
                    if left > taken {
                        return Ok(());
                    }
                    *self = Self::First;
                    continue;
                }
            };
            at += 1;
        }
        if matches!(self, Self::Body(0)) {
            *self = Self::First;
        }
        Ok(())
    }
}

/// Whether a kind of packet may have this length. Before MQTT 5, an
/// acknowledgement is a packet id and nothing else, and a DISCONNECT is empty.
fn has_length(kind: u8, length: u32, version: Version) -> bool {
    match (kind, version) {
        (4..=7, Version::V31 | Version::V311) => length == 2,
        (14, Version::V31 | Version::V311) | (12, _) => length == 0,
        _ => true,
    }
}

/// MQTT, table 2.2: PUBLISH has flags of its own, the others fixed ones. What
/// is delivered at most once is no duplicate. Types that are none are left to
/// the codec.
fn fits(first: u8) -> bool {
    match first >> 4 {
        0 => true,
        3 => first & 0b1110 != 0b1000,
        6 | 8 | 10 => first & 0x0f == 0b0010,
        _ => first & 0x0f == 0,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn packets_of_a_fixed_length_have_no_other() {
        let check = |packet: &[u8], before_5, at_5| {
            for (version, fits) in [
                (Version::V31, before_5),
                (Version::V311, before_5),
                (Version::V5, at_5),
            ] {
                let followed = Headers::default().follow(packet, version);
                assert_eq!(followed.is_ok(), fits, "{packet:02x?} {version:?}");
            }
        };
        for first in [0x40, 0x50, 0x62, 0x70] {
            check(&[first, 2, 0, 7], true, true);
            check(&[first, 3, 0, 7, 0], false, true);
            check(&[first, 1, 7], false, true);
            check(&[first, 0x82, 0, 0, 7], true, true);
        }
        check(&[0xc0, 0], true, true);
        check(&[0xc0, 1, 0], false, false);
        check(&[0xe0, 0], true, true);
        check(&[0xe0, 1, 0], false, true);
    }

    #[test]
    fn wrong_flags_are_found_where_they_are() {
        let mut packets = vec![0x3d, 0x81, 1];
        packets.extend([0xff; 129]);
        packets.extend([0xc0, 0, 0x82, 1, 0x80, 0xe0, 0]);
        assert_eq!(Headers::default().follow(&packets, Version::V5), Ok(()));
        let good = packets.len();
        for wrong in [
            0x38, 0x39, 0x80, 0x83, 0xa0, 0x60, 0x41, 0x51, 0x71, 0xc1, 0xe1, 0xf1,
        ] {
            packets.truncate(good);
            packets.push(wrong);
            assert_eq!(
                Headers::default().follow(&packets, Version::V5),
                Err(good),
                "{wrong:02x}"
            );
        }
    }

    proptest! {
        /// Pieces are as good as the whole.
        #[test]
        fn pieces_make_no_difference(
            bodies in proptest::collection::vec(0usize..300, 1..6),
            cuts in proptest::collection::vec(1usize..50, 1..40),
        ) {
            let mut stream = Vec::new();
            for length in bodies {
                stream.push(0x30);
                match length {
                    0..128 => stream.push(length as u8),
                    _ => stream.extend([length as u8 | 0x80, (length >> 7) as u8]),
                }
                stream.resize(stream.len() + length, 0xff);
            }
            let good = stream.len();
            stream.push(0xc1);
            let (mut headers, mut start) = (Headers::default(), 0);
            let found = cuts.iter().cycle().find_map(|cut| {
                let end = stream.len().min(start + cut);
                let found = headers.follow(&stream[start..end], Version::V311).err().map(|at| start + at);
                start = end;
                found.or((start == stream.len()).then_some(usize::MAX))
            });
            prop_assert_eq!(found, Some(good));
        }
    }
}
