//! Where MQTT packets begin and end in a stream of them.
//!
//! Only the fixed header is read (MQTT 5, 2.1): a byte, and a length of one to
//! four bytes, seven bits in each.

/// The largest shift of a byte in a length.
const LAST: u32 = 21;

/// A place in a stream of packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Packets {
    /// The next byte begins a packet.
    #[default]
    Between,
    /// The next byte is one of the length, of which this is known.
    Length { known: u32, shift: u32 },
    /// So many bytes of the packet are still to come.
    Body { left: u32 },
}

impl Packets {
    /// Whether the next byte begins a packet.
    pub(super) fn is_between(self) -> bool {
        self == Self::Between
    }

    /// Goes on to the end of the packet, or of the bytes. Returns how many are
    /// passed.
    pub(super) fn pass(&mut self, bytes: &[u8]) -> usize {
        let mut passed = 0;
        while passed < bytes.len() {
            match *self {
                Self::Between => {
                    passed += 1;
                    *self = Self::Length { known: 0, shift: 0 };
                }
                Self::Length { known, shift } => {
                    let byte = bytes[passed];
                    passed += 1;
                    let known = known | u32::from(byte & 0x7f) << shift;
                    let shift = shift + 7;
                    *self = match (byte & 0x80, known) {
                        (0x80, known) if shift <= LAST => Self::Length { known, shift },
                        (_, 0) => Self::Between,
                        (_, left) => Self::Body { left },
                    };
                }
                Self::Body { left } => {
                    let here = bytes.len() - passed;
                    let count = here.min(left as usize);
                    passed += count;
                    *self = match left - count as u32 {
                        0 => Self::Between,
                        left => Self::Body { left },
                    };
                }
            }
            if self.is_between() {
                break;
            }
        }
        passed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(body: usize) -> Vec<u8> {
        let mut packet = vec![0x30];
        let mut left = body;
        loop {
            let byte = (left % 128) as u8;
            left /= 128;
            packet.push(if left > 0 { byte | 0x80 } else { byte });
            if left == 0 {
                break;
            }
        }
        packet.extend(vec![7; body]);
        packet
    }

    #[test]
    fn packets_end_where_their_length_says() {
        for body in [0, 1, 127, 128, 16_383, 16_384, 2_097_152] {
            let packet = packet(body);
            let two = [&packet[..], &[0xd0, 0]].concat();
            let mut packets = Packets::default();
            assert_eq!(packets.pass(&two), packet.len(), "{body}");
            assert!(packets.is_between(), "{body}");
            assert_eq!(packets.pass(&two[packet.len()..]), 2);
        }
    }

    #[test]
    fn a_packet_may_come_in_any_pieces() {
        let packet = packet(200);
        for at in 1..packet.len() {
            let (head, rest) = packet.split_at(at);
            let mut packets = Packets::default();
            assert_eq!(packets.pass(head), at);
            assert!(!packets.is_between(), "{at}");
            assert_eq!(packets.pass(&[rest, rest].concat()), rest.len());
            assert!(packets.is_between(), "{at}");
        }
    }
}
