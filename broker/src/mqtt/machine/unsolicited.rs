//! Acknowledgements of messages that the peer was never sent.
//!
//! Clients send them after they or the server lost a session, and they change
//! nothing: they must not end the connection. The codec's state takes them for
//! errors, so they are taken out of the peer's bytes before it sees them.

use super::Machine;
use crate::mqtt::packet::{Farewell, Version};

/// Bytes of an acknowledgement that is waited for when it comes in pieces. A
/// longer one is left to the codec.
const LONGEST: usize = 256;

/// Acknowledgements of messages that were never sent which one connection may
/// send: far more than a lost session explains, and few enough that a flood of
/// them ends.
const MOST: u32 = 1_000;

/// The acknowledgements that answer a message to the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Puback,
    Pubrec,
    Pubcomp,
}

/// An acknowledgement at the start of some bytes.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    /// The bytes begin with another packet, or with one that the codec has to
    /// judge.
    Nothing,
    /// The rest of the packet has not come.
    Unfinished,
    /// The packet, with the position behind it.
    Whole { kind: Kind, id: u16, end: usize },
}

/// Reads the acknowledgement that `bytes`, which begin a packet, begin with.
fn read(bytes: &[u8], version: Version) -> Found {
    let kind = match bytes.first().map(|first| first >> 4) {
        Some(4) => Kind::Puback,
        Some(5) => Kind::Pubrec,
        Some(7) => Kind::Pubcomp,
        _ => return Found::Nothing,
    };
    let mut length = 0;
    let mut end = 1;
    for shift in [0, 7, 14, 21] {
        let Some(byte) = bytes.get(end) else {
            return Found::Unfinished;
        };
        end += 1;
        length |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    let body = end;
    end += length;
    // Before MQTT 5 there is nothing but the packet id.
    if length < 2 || end > LONGEST || (version != Version::V5 && length != 2) {
        return Found::Nothing;
    }
    match bytes.get(body..end) {
        None => Found::Unfinished,
        Some(body) => match u16::from_be_bytes([body[0], body[1]]) {
            0 => Found::Nothing,
            id => Found::Whole { kind, id, end },
        },
    }
}

/// What a peer did that it should not have done.
#[derive(Debug, Default)]
pub(super) struct Misconduct {
    /// What ended the connection, in words for operators.
    pub(super) fault: Option<&'static str>,
    /// How many acknowledgements answered nothing.
    unsolicited: u32,
    /// The start of an acknowledgement of which the rest has not come.
    held: Vec<u8>,
}

/// What is to be done with the bytes from the start of a packet on.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// The codec reads them.
    Feed,
    /// The packet was answered or passed over; the next one begins there.
    Skip(usize),
    /// The rest of the packet is waited for.
    Wait,
}

impl Machine {
    /// Looks at a packet before the codec does. A PUBREC of an unknown message
    /// is answered, as MQTT 5 says (4.3.3): the peer would go on asking.
    pub(super) fn screen(&mut self, bytes: &[u8]) -> Next {
        let (kind, id, end) = match read(bytes, self.version) {
            Found::Nothing => return Next::Feed,
            Found::Unfinished => return Next::Wait,
            Found::Whole { kind, id, end } => (kind, id, end),
        };
        if self.is_in_use(id) {
            return Next::Feed;
        }
        let misconduct = self.misconduct.get_or_insert_default();
        misconduct.unsolicited += 1;
        if misconduct.unsolicited > MOST {
            self.bid_farewell(Farewell::ProtocolError);
            self.blame("it went on acknowledging messages that it was never sent");
            return Next::Skip(end);
        }
        match kind {
            Kind::Pubrec => self.release_unknown(id),
            Kind::Puback | Kind::Pubcomp => {}
        }
        Next::Skip(end)
    }

    /// Says what ended the connection.
    pub(super) fn blame(&mut self, fault: &'static str) {
        self.misconduct.get_or_insert_default().fault = Some(fault);
    }

    /// Keeps the start of an acknowledgement until the rest comes.
    pub(super) fn hold(&mut self, start: &[u8]) {
        self.misconduct.get_or_insert_default().held = start.to_vec();
    }

    pub(super) fn take_held(&mut self) -> Option<Vec<u8>> {
        let held = std::mem::take(&mut self.misconduct.as_mut()?.held);
        (!held.is_empty()).then_some(held)
    }

    pub(super) fn holds(&self) -> bool {
        let misconduct = self.misconduct.as_ref();
        misconduct.is_some_and(|it| !it.held.is_empty())
    }

    /// Whether a packet id is that of a message which is not acknowledged yet.
    fn is_in_use(&mut self, id: u16) -> bool {
        match self.connection.register_packet_id(id) {
            Ok(()) => {
                drop(self.connection.release_packet_id(id));
                false
            }
            Err(_) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acknowledgements_are_read_from_the_start_of_a_packet() {
        let check = |bytes: &[u8], version, expected| {
            assert_eq!(read(bytes, version), expected, "{bytes:02x?}");
        };
        let whole = |kind, id, end| Found::Whole { kind, id, end };
        for version in [Version::V31, Version::V311, Version::V5] {
            check(&[0x40, 2, 0, 7], version, whole(Kind::Puback, 7, 4));
            check(&[0x50, 2, 1, 0, 0xc0], version, whole(Kind::Pubrec, 256, 4));
            check(&[0x70, 2, 0, 7], version, whole(Kind::Pubcomp, 7, 4));
            check(&[0x40], version, Found::Unfinished);
            check(&[0x40, 2], version, Found::Unfinished);
            check(&[0x40, 2, 0], version, Found::Unfinished);
            // The codec's to judge: no packet id, and packets of other kinds.
            for odd in [
                &[0x40, 2, 0, 0][..],
                &[0x40, 1, 7],
                &[0x40, 0],
                &[0x62, 2, 0, 7],
                &[0x30, 2, 0, 7],
                &[0x40, 0xff, 0xff, 0xff, 0x7f],
            ] {
                check(odd, version, Found::Nothing);
            }
        }
        check(&[0x40, 3, 0, 7, 0], Version::V311, Found::Nothing);
        let with_code = whole(Kind::Puback, 7, 5);
        check(&[0x40, 3, 0, 7, 0x10], Version::V5, with_code);
    }
}
