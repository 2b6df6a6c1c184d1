//! The first packet of a connection: a CONNECT of at most 8 KB, or nothing.
//!
//! Read before anybody is trusted, so it allocates little, answers what MQTT
//! lets it answer, and hands on a [`Connect`] that is well formed. It decides
//! nothing about who the peer is.

use std::num::NonZeroU16;

use mqtt_protocol_core::mqtt::common::Cursor;
use mqtt_protocol_core::mqtt::connection::{PacketBuildResult, PacketBuilder};
use mqtt_protocol_core::mqtt::packet::{Property, v3_1_1, v5_0};
use mqtt_protocol_core::mqtt::result_code::MqttError;
use zeroize::Zeroizing;

use super::connack::Rejection;
use super::machine::properties;
use super::packet::{Connect, Start, Version, Will};
use super::qos;

/// The first byte of a CONNECT.
const CONNECT: u8 = 0x10;
/// The largest CONNECT, header included.
const LIMIT: u32 = 8 * 1024;
/// The user property in which a device without a signed login says what
/// hardware it runs on.
const HARDWARE: &str = "hardware";
/// Seconds that a session of 3.1 or 3.1.1 outlives its connection, unless it
/// is a clean one: those versions have no word for it.
const SESSION_EXPIRY_3: u32 = 24 * 60 * 60;

/// Gathers the bytes of the first packet.
pub(crate) struct Reader {
    builder: PacketBuilder,
    begun: bool,
}

/// What has been read so far.
#[derive(Debug)]
pub(crate) enum Progress {
    /// Not a whole packet yet.
    More,
    /// A CONNECT.
    Opened(Box<Opening>),
    /// A CONNECT that cannot be accepted, in words of this version.
    Rejected(Rejection, Version),
    /// Not MQTT: there is nothing to say.
    Close,
}

/// A well-formed CONNECT.
#[derive(Debug)]
pub(crate) struct Opening {
    pub(crate) connect: Connect,
    /// What the protocol state has to know of it, as a CONNECT.
    pub(crate) frame: Vec<u8>,
}

impl Reader {
    pub(crate) fn new() -> Self {
        Self {
            builder: PacketBuilder::with_maximum_packet_size(LIMIT),
            begun: false,
        }
    }

    /// Takes bytes off the front of `bytes` until the packet is whole; what
    /// follows it is left.
    pub(crate) fn feed(&mut self, bytes: &mut &[u8]) -> Progress {
        if let Some(first) = bytes.first()
            && !std::mem::replace(&mut self.begun, true)
            && *first != CONNECT
        {
            return Progress::Close;
        }
        let mut cursor = Cursor::new(*bytes);
        loop {
            let built = self.builder.feed(&mut cursor);
            let taken = usize::try_from(cursor.position()).unwrap_or(bytes.len());
            match built {
                PacketBuildResult::Complete(packet) => {
                    *bytes = &bytes[taken..];
                    return open(packet.data_as_slice());
                }
                PacketBuildResult::Error(_) => return Progress::Close,
                PacketBuildResult::Incomplete if taken == bytes.len() => {
                    *bytes = &[];
                    return Progress::More;
                }
                PacketBuildResult::Incomplete => {}
            }
        }
    }
}

/// Reads the body of a CONNECT.
fn open(body: &[u8]) -> Progress {
    const MQTT: &[u8] = b"\x00\x04MQTT";
    const MQISDP: &[u8] = b"\x00\x06MQIsdp";
    let (version, rest) = if let Some([level, rest @ ..]) = body.strip_prefix(MQTT) {
        match level {
            4 => (Version::V311, rest),
            5 => (Version::V5, rest),
            // A later MQTT than ours is likely to read the newest CONNACK.
            6.. if *level < 0x80 => {
                return Progress::Rejected(Rejection::ProtocolLevel, Version::V5);
            }
            _ => return Progress::Rejected(Rejection::ProtocolLevel, Version::V311),
        }
    } else if let Some([level, rest @ ..]) = body.strip_prefix(MQISDP) {
        match level {
            3 => (Version::V31, rest),
            _ => return Progress::Rejected(Rejection::ProtocolLevel, Version::V31),
        }
    } else {
        return Progress::Close;
    };
    if !rest.first().is_some_and(|flags| are_valid(*flags, version)) {
        return Progress::Rejected(Rejection::Malformed, version);
    }
    let level = if version == Version::V5 { 5 } else { 4 };
    let mut body = Zeroizing::new(Vec::with_capacity(MQTT.len() + 1 + rest.len()));
    body.extend_from_slice(MQTT);
    body.push(level);
    body.extend_from_slice(rest);
    if version == Version::V5 && add_username(&mut body, MQTT.len() + 1).is_none() {
        return Progress::Rejected(Rejection::Malformed, version);
    }

    let mut peer_props = None;
    let connect = match version {
        Version::V31 | Version::V311 => v3_1_1::Connect::parse(&body)
            .ok()
            .filter(|(_, read)| *read == body.len())
            .map(|(connect, _)| from_v3(version, &connect)),
        Version::V5 => v5_0::Connect::parse(&body)
            .ok()
            .filter(|(_, read)| *read == body.len())
            .filter(|(connect, _)| {
                let will = properties::hold_no_nul(connect.will_props());
                will && properties::hold_no_nul(connect.props())
            })
            .map(|(connect, _)| {
                peer_props = Some(connect.props().to_vec());
                from_v5(&connect)
            }),
    };
    let Some(connect) = connect.filter(Connect::has_good_texts) else {
        return Progress::Rejected(Rejection::Malformed, version);
    };
    if connect.client_id.is_empty() && !may_be_nameless(&connect) {
        return Progress::Rejected(Rejection::ClientId, version);
    }
    match frame(version, peer_props.as_deref()) {
        Ok(frame) => Progress::Opened(Box::new(Opening { connect, frame })),
        Err(_) => Progress::Close,
    }
}

/// A CONNECT of our own with what the protocol state has to know of the
/// peer's, and nothing secret. Sessions keep what outlives a connection, and
/// the machine counts what is in flight: the state is told of neither.
fn frame(version: Version, props: Option<&[Property]>) -> Result<Vec<u8>, MqttError> {
    const NAME: &str = "peer";
    Ok(match version {
        Version::V31 | Version::V311 => v3_1_1::Connect::builder()
            .client_id(NAME)?
            .clean_session(true)
            .build()?
            .to_continuous_buffer(),
        Version::V5 => {
            let limits = |property: &&Property| match property {
                Property::MaximumPacketSize(_) => true,
                // None at all is more than the codec bears.
                Property::TopicAliasMaximum(most) => most.val() > 0,
                _ => false,
            };
            let props = props.into_iter().flatten().filter(limits).cloned();
            v5_0::Connect::builder()
                .client_id(NAME)?
                .clean_start(true)
                .props(props.collect::<Vec<_>>())
                .build()?
                .to_continuous_buffer()
        }
    })
}

/// MQTT 5 lets a password come alone, the codec does not: puts an empty
/// username before it, which means the same to whoever judges it. `None` if the
/// packet has no room for what its flags promise.
fn add_username(body: &mut Vec<u8>, flags: usize) -> Option<()> {
    const NAME: u8 = 0b1000_0000;
    const PASSWORD: u8 = 0b0100_0000;
    if body[flags] & (NAME | PASSWORD) != PASSWORD {
        return Some(());
    }
    // The password is the last field: without it, reading stops before it.
    body[flags] &= !PASSWORD;
    let (_, before) = v5_0::Connect::parse(body).ok()?;
    body[flags] |= NAME | PASSWORD;
    body.splice(before..before, [0, 0]);
    Some(())
}

/// MQTT 3.1.2.3: the reserved bit is 0, a will that is not there has no
/// quality, and before MQTT 5 there is no password without a username.
fn are_valid(flags: u8, version: Version) -> bool {
    let reserved = flags & 0b0000_0001 != 0;
    let will = flags & 0b0000_0100 != 0;
    let will_qos = (flags >> 3) & 0b11;
    let will_retain = flags & 0b0010_0000 != 0;
    let password_alone = flags & 0b1100_0000 == 0b0100_0000;
    !reserved
        && will_qos != 3
        && (will || (will_qos == 0 && !will_retain))
        && !(password_alone && version != Version::V5)
}

/// 3.1 wants a name; 3.1.1 lets a clean session go without; 5 assigns one.
fn may_be_nameless(connect: &Connect) -> bool {
    match connect.version {
        Version::V31 => false,
        Version::V311 => connect.start == Start::Clean,
        Version::V5 => true,
    }
}

fn from_v3(version: Version, connect: &v3_1_1::Connect) -> Connect {
    Connect {
        version,
        client_id: connect.client_id().to_owned(),
        start: start(connect.clean_session()),
        keep_alive: NonZeroU16::new(connect.keep_alive()),
        username: connect.user_name().map(str::to_owned),
        password: connect.password().map(|bytes| bytes.to_vec().into()),
        will: connect.will_topic().map(|topic| Will {
            topic: topic.to_owned(),
            payload: connect.will_payload().unwrap_or_default().to_vec(),
            qos: qos::read(connect.will_qos()),
            retain: connect.will_retain(),
            properties: super::packet::Properties::default(),
            delay: 0,
        }),
        session_expiry: match start(connect.clean_session()) {
            Start::Clean => 0,
            Start::Resume => SESSION_EXPIRY_3,
        },
        receive_maximum: NonZeroU16::MAX,
        packet_size: u32::MAX,
        enhanced_authentication: false,
        takes_reasons: false,
        hardware: None,
    }
}

fn from_v5(connect: &v5_0::Connect) -> Connect {
    let asks = |property: &Property| {
        matches!(
            property,
            Property::AuthenticationMethod(_) | Property::AuthenticationData(_)
        )
    };
    let session_expiry = connect.props().iter().find_map(|property| match property {
        Property::SessionExpiryInterval(seconds) => Some(seconds.val()),
        _ => None,
    });
    let receive_maximum = connect.props().iter().find_map(|property| match property {
        Property::ReceiveMaximum(count) => NonZeroU16::new(count.val()),
        _ => None,
    });
    let packet_size = connect.props().iter().find_map(|property| match property {
        Property::MaximumPacketSize(bytes) => Some(bytes.val()),
        _ => None,
    });
    let hardware = connect.props().iter().find_map(|property| match property {
        Property::UserProperty(pair) if pair.key() == HARDWARE => Some(pair.val().to_owned()),
        _ => None,
    });
    let delay = connect
        .will_props()
        .iter()
        .find_map(|property| match property {
            Property::WillDelayInterval(seconds) => Some(seconds.val()),
            _ => None,
        });
    Connect {
        version: Version::V5,
        client_id: connect.client_id().to_owned(),
        start: start(connect.clean_start()),
        keep_alive: NonZeroU16::new(connect.keep_alive()),
        username: connect.user_name().map(str::to_owned),
        password: connect.password().map(|bytes| bytes.to_vec().into()),
        will: connect.will_topic().map(|topic| Will {
            topic: topic.to_owned(),
            payload: connect.will_payload().unwrap_or_default().to_vec(),
            qos: qos::read(connect.will_qos()),
            retain: connect.will_retain(),
            properties: properties::read(connect.will_props()),
            delay: delay.unwrap_or(0),
        }),
        session_expiry: session_expiry.unwrap_or(0),
        receive_maximum: receive_maximum.unwrap_or(NonZeroU16::MAX),
        packet_size: packet_size.unwrap_or(u32::MAX),
        enhanced_authentication: connect.props().iter().any(asks),
        takes_reasons: !connect.props().iter().any(
            |property| matches!(property, Property::RequestProblemInformation(it) if it.val() == 0),
        ),
        hardware,
    }
}

fn start(clean: bool) -> Start {
    if clean { Start::Clean } else { Start::Resume }
}

impl Connect {
    /// MQTT 1.5.3: no string holds U+0000. Topics are checked where they are
    /// parsed; a will's response topic is carried on as it is.
    fn has_good_texts(&self) -> bool {
        let texts = [Some(&self.client_id), self.username.as_ref()];
        let will = self.will.as_ref();
        texts.into_iter().flatten().all(|text| !text.contains('\0'))
            && will.is_none_or(|will| will.properties.have_an_answerable_topic())
    }
}

#[cfg(test)]
mod tests;
