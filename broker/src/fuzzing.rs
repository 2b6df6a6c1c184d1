//! What fuzzers drive: the parts that read a stranger's bytes, without a
//! socket. Compiled only for them.

use firstwake::topic::{Limits as TopicLimits, TopicName};
use firstwake::{DeviceName, Qos};

use crate::cli::factory::{list_of_devices, read_names};
use crate::control::Request;
use crate::limits::Limits;
use crate::mqtt::machine::{Machine, Session, Terms, Welcome};
use crate::mqtt::opening::{Opening, Progress, Reader};
use crate::mqtt::packet::{
    Attempt, Delivery, Granted, Input, Properties, Receipt, Unsubscribed, Verdict,
};

/// A first packet, whole and in pieces: it makes no difference.
pub fn connect(bytes: &[u8]) {
    let Some((piece, bytes)) = bytes.split_first() else {
        return;
    };
    let whole = read(bytes, bytes.len().max(1));
    let pieces = read(bytes, usize::from(*piece).max(1));
    assert_eq!(whole, pieces);
}

/// What comes of a first packet, and how many bytes of it were taken.
fn read(bytes: &[u8], piece: usize) -> (String, usize) {
    let mut reader = Reader::new();
    let mut taken = 0;
    for chunk in bytes.chunks(piece) {
        let mut rest = chunk;
        let progress = reader.feed(&mut rest);
        taken += chunk.len() - rest.len();
        let outcome = match progress {
            Progress::More => continue,
            Progress::Opened(opening) => format!("{:?}", opening.connect),
            Progress::Rejected(rejection, version) => {
                let connack = rejection.connack(version);
                assert!(connack.is_none_or(|bytes| bytes[0] == 0x20));
                format!("{rejection:?} {version:?}")
            }
            // Where it was given up does not matter.
            Progress::Close => return ("closed".to_owned(), 0),
        };
        return (outcome, taken);
    }
    ("more".to_owned(), taken)
}

/// Everything after the CONNACK, answered as a session would.
pub fn packets(bytes: &[u8]) {
    let [kind, piece, bytes @ ..] = bytes else {
        return;
    };
    let limits = Limits::default();
    let terms = match kind >> 2 & 3 {
        0 => Terms::ACTIVATION,
        1 => Terms::device(&limits),
        _ => Terms::operator(&limits),
    };
    let opening = opening(*kind);
    let mut machine = Machine::new(&opening, &terms);
    let welcome = Welcome {
        session: Session::New,
        session_expiry: opening.connect.session_expiry,
        session_expiry_asked: opening.connect.session_expiry,
        keep_alive: None,
        client_id: None,
    };
    machine.accept(&terms, &welcome);
    machine.expect_release(vec![1, 2]);
    for chunk in bytes.chunks(usize::from(*piece).max(1)) {
        let mut inputs = Vec::new();
        machine.feed(chunk, &mut inputs);
        let ended = machine.ended().is_some();
        for input in inputs {
            answer(&mut machine, input, chunk[0]);
        }
        // An answer is never much longer than what it answers.
        let said = machine.output().len();
        assert!(said <= 4096 + 64 * chunk.len(), "{said} bytes");
        machine.sent(said);
        let _ = deliver(&mut machine, chunk[0]);
        if ended {
            assert_eq!(machine.output().len(), 0, "nothing after the end");
        }
    }
}

/// A CONNECT of one of the versions, with and without aliases and a session.
fn opening(kind: u8) -> Box<Opening> {
    let packet: &[u8] = match kind & 3 {
        0 => b"\x10\x0f\0\x06MQIsdp\x03\x02\0\x3c\0\x01c",
        1 => b"\x10\x0d\0\x04MQTT\x04\0\0\x3c\0\x01c",
        2 => b"\x10\x0e\0\x04MQTT\x05\x02\0\x3c\0\0\x01c",
        _ => b"\x10\x19\0\x04MQTT\x05\0\0\x3c\x0b\x11\0\0\0\x3c\x21\0\x04\x22\0\x02\0\x01c",
    };
    match Reader::new().feed(&mut &*packet) {
        Progress::Opened(opening) => opening,
        progress => unreachable!("a good CONNECT gave {progress:?}"),
    }
}

fn answer(machine: &mut Machine, input: Input, choice: u8) {
    match input {
        Input::Publish(publish) => {
            let verdict = match (&publish.topic, choice & 1) {
                (Ok(_), 0) => Verdict::Accepted,
                (Ok(_), _) => Verdict::NotAuthorized,
                (Err(_), _) => Verdict::TopicInvalid,
            };
            assert_eq!(
                publish.receipt == Receipt::None,
                publish.qos == Qos::AtMostOnce
            );
            machine.acknowledge(publish.receipt, verdict);
        }
        Input::Subscribe(subscribe) => {
            let granted: Vec<Granted> = subscribe
                .filters
                .iter()
                .map(|one| match &one.filter {
                    Ok(_) => Granted::At(one.qos),
                    Err(_) => Granted::FilterInvalid,
                })
                .collect();
            machine.suback(subscribe.packet_id, &granted);
        }
        Input::Unsubscribe(unsubscribe) => {
            let outcome = vec![Unsubscribed::NotThere; unsubscribe.filters.len()];
            machine.unsuback(unsubscribe.packet_id, &outcome);
        }
        Input::Acknowledged(_) | Input::Received(_) | Input::Disconnect(_) => {}
    }
}

/// Sends something of its own, so that there is something to acknowledge.
fn deliver(machine: &mut Machine, choice: u8) -> Option<()> {
    let topic = TopicName::parse("feeds/1/config", TopicLimits::DEVICE).ok()?;
    let qos = [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce][usize::from(choice % 3)];
    let delivery = Delivery {
        topic: &topic,
        payload: b"x",
        qos,
        retain: choice & 4 != 0,
        attempt: match choice & 8 {
            0 => Attempt::First,
            _ => Attempt::Again(u16::from(choice) + 1),
        },
        properties: &Properties::default(),
        expiry: Some(u32::from(choice) + 1),
        subscriptions: &[1],
    };
    let before = machine.room();
    let sent = machine.publish(&delivery).ok()?;
    assert_eq!(machine.room(), before - u16::from(sent.is_some()));
    let said = machine.output().len();
    machine.sent(said);
    Some(())
}

/// What a command sends over the control socket: what is read can be written,
/// and read again.
pub fn requests(bytes: &[u8]) {
    if let Ok(request) = serde_json::from_slice::<Request>(bytes) {
        let written = serde_json::to_vec(&request).unwrap_or_default();
        let again = serde_json::from_slice::<Request>(&written).map(|r| serde_json::to_vec(&r));
        assert!(matches!(again, Ok(Ok(bytes)) if bytes == written));
    }
    let _ = firstwake::ProvisionRequest::parse(bytes);
}

/// A list of devices in a file: each line is a name or an error, and names read
/// back from what is shown of them.
pub fn lists(bytes: &[u8]) {
    let read = |bytes: &[u8]| {
        let source = Box::new(std::io::Cursor::new(bytes.to_vec()));
        let lines = read_names(source, DeviceName::parse).unwrap_or_default();
        let names = lines.into_iter().filter_map(|line| line.name.ok());
        names.map(|name| name.to_string()).collect::<Vec<_>>()
    };
    let names = read(bytes);
    let written = names.join("\n");
    // Two characters of another encoding are no beginning of a name.
    if written.len() >= 4 {
        assert_eq!(read(written.as_bytes()), names);
    }
    list_of_devices(bytes);
}
