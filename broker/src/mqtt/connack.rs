//! The answer to a CONNECT: the one place where a refusal becomes a code.
//!
//! A stranger learns nothing but "no"; who proved a secret is told more.

use firstwake::{NotAdmitted, Proof, Refusal, Timestamp};
use mqtt_protocol_core::mqtt::packet::{Property, ReasonString, UserProperty, v3_1_1, v5_0};
use mqtt_protocol_core::mqtt::result_code::{ConnectReasonCode, ConnectReturnCode};

use super::packet::Version;
use crate::gate::Turned;

/// Why a CONNECT is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rejection {
    /// Level 3, 4 or 5 with another name, or any other level.
    ProtocolLevel,
    /// MQTT 5 only: earlier versions have no word for it.
    Malformed,
    /// Empty, where there has to be one.
    ClientId,
    /// MQTT 5 only: another way of logging in was asked for.
    AuthenticationMethod,
    /// The will is not the peer's to publish.
    WillTopic,
    /// MQTT 5 only: a retained will of a device.
    WillRetain,
    /// More connections than there may be.
    Crowded,
    /// Not let in.
    Refused(Refusal),
    /// Not let in for its own idea of the time, which is to be set right.
    Untimely(Refusal, Timestamp),
    /// It could not be decided.
    Unavailable,
}

impl From<Turned> for Rejection {
    fn from(turned: Turned) -> Self {
        match turned {
            Turned::Banned => Self::Refused(Refusal::Banned),
            Turned::Full | Turned::SourceFull | Turned::SourceSilent => Self::Crowded,
        }
    }
}

/// The user property that tells a device the server's time, in milliseconds
/// since 1970.
const SERVER_TIME: &str = "server_time";

impl Rejection {
    /// Why a peer that was heard at this time is not let in.
    pub(crate) fn of(not: &NotAdmitted, now: Timestamp) -> Self {
        match not {
            NotAdmitted::Refused(untimely @ (Refusal::TokenExpired | Refusal::TokenReplayed)) => {
                Self::Untimely(*untimely, now)
            }
            NotAdmitted::Refused(refusal) => Self::Refused(*refusal),
            NotAdmitted::Unavailable(_) => Self::Unavailable,
        }
    }

    /// The CONNACK that tells the peer; `None` where MQTT allows nothing but
    /// closing.
    pub(crate) fn connack(self, version: Version) -> Option<Vec<u8>> {
        match version {
            Version::V31 | Version::V311 => self.return_code().map(connack_v3),
            Version::V5 => Some(connack_v5(self.reason_code()?, self.properties())),
        }
    }

    /// MQTT 3.1 and 3.1.1, table 3.1.
    fn return_code(self) -> Option<ConnectReturnCode> {
        use ConnectReturnCode as Code;
        match self {
            Self::ProtocolLevel => Some(Code::UnacceptableProtocolVersion),
            Self::ClientId => Some(Code::IdentifierRejected),
            Self::WillTopic => Some(Code::NotAuthorized),
            Self::Unavailable => Some(Code::ServerUnavailable),
            Self::Refused(Refusal::Banned) | Self::Malformed => None,
            Self::AuthenticationMethod | Self::WillRetain => None,
            Self::Crowded | Self::Refused(Refusal::Overloaded | Refusal::Throttled) => {
                Some(Code::ServerUnavailable)
            }
            Self::Refused(refusal) | Self::Untimely(refusal, _) => Some(match refusal.proof() {
                Proof::Proved => Code::NotAuthorized,
                Proof::Unproved => Code::BadUserNameOrPassword,
            }),
        }
    }

    /// MQTT 5, section 3.2.2.2.
    fn reason_code(self) -> Option<ConnectReasonCode> {
        use ConnectReasonCode as Code;
        match self {
            Self::ProtocolLevel => Some(Code::UnsupportedProtocolVersion),
            Self::Malformed => Some(Code::MalformedPacket),
            Self::ClientId => Some(Code::ClientIdentifierNotValid),
            Self::AuthenticationMethod => Some(Code::BadAuthenticationMethod),
            Self::WillTopic => Some(Code::NotAuthorized),
            Self::WillRetain => Some(Code::RetainNotSupported),
            Self::Unavailable => Some(Code::ServerUnavailable),
            Self::Refused(Refusal::Banned) => Some(Code::Banned),
            Self::Refused(Refusal::Overloaded) => Some(Code::ServerBusy),
            Self::Crowded | Self::Refused(Refusal::Throttled) => Some(Code::QuotaExceeded),
            Self::Refused(refusal) | Self::Untimely(refusal, _) => Some(match refusal.proof() {
                Proof::Proved => Code::NotAuthorized,
                Proof::Unproved => Code::BadUserNameOrPassword,
            }),
        }
    }

    /// A reason in words, for those who proved who they are, and for all when
    /// to come back.
    fn reason(self) -> Option<&'static str> {
        match self {
            Self::Refused(refusal) | Self::Untimely(refusal, _)
                if refusal.proof() == Proof::Proved =>
            {
                Some(refusal.meaning())
            }
            Self::Crowded => Some("too many connections: try again in 5 s"),
            Self::Refused(Refusal::Overloaded) => Some("busy: try again in 5 s"),
            Self::Refused(Refusal::Throttled) => {
                Some("too many failures from your address: try again in 60 s")
            }
            Self::WillTopic => Some("the will's topic is not yours to publish to"),
            _ => None,
        }
    }

    /// What MQTT 5 is told beside the code.
    fn properties(self) -> Vec<Property> {
        let reason = self.reason().and_then(|text| ReasonString::new(text).ok());
        let time = match self {
            Self::Untimely(refusal, now) if refusal.proof() == Proof::Proved => {
                UserProperty::new(SERVER_TIME, now.as_millis().to_string()).ok()
            }
            _ => None,
        };
        let time = time.map(Property::from);
        reason.map(Property::from).into_iter().chain(time).collect()
    }
}

fn connack_v3(code: ConnectReturnCode) -> Vec<u8> {
    let packet = v3_1_1::Connack::builder()
        .session_present(false)
        .return_code(code)
        .build();
    #[expect(clippy::expect_used, reason = "both fields are set")]
    packet.expect("a complete CONNACK").to_continuous_buffer()
}

fn connack_v5(code: ConnectReasonCode, properties: Vec<Property>) -> Vec<u8> {
    let packet = v5_0::Connack::builder()
        .session_present(false)
        .reason_code(code)
        .props(properties)
        .build();
    #[expect(clippy::expect_used, reason = "all fields are set")]
    packet.expect("a complete CONNACK").to_continuous_buffer()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rejection: Rejection, v3: Option<u8>, v5: Option<u8>) {
        for version in [Version::V31, Version::V311] {
            let bytes = rejection.connack(version);
            assert_eq!(
                bytes,
                v3.map(|code| vec![0x20, 2, 0, code]),
                "{rejection:?}"
            );
        }
        let bytes = rejection.connack(Version::V5);
        assert_eq!(bytes.as_ref().map(|b| b[3]), v5, "{rejection:?}");
    }

    #[test]
    fn what_each_peer_is_told() {
        check(Rejection::ProtocolLevel, Some(1), Some(0x84));
        check(Rejection::Malformed, None, Some(0x81));
        check(Rejection::ClientId, Some(2), Some(0x85));
        check(Rejection::AuthenticationMethod, None, Some(0x8c));
        check(Rejection::Unavailable, Some(3), Some(0x88));
        check(Rejection::Crowded, Some(3), Some(0x97));
        for refusal in Refusal::ALL {
            let expected = match refusal {
                Refusal::Banned => (None, Some(0x8a)),
                Refusal::Overloaded => (Some(3), Some(0x89)),
                Refusal::Throttled => (Some(3), Some(0x97)),
                known if known.proof() == Proof::Proved => (Some(5), Some(0x87)),
                _ => (Some(4), Some(0x86)),
            };
            check(Rejection::Refused(*refusal), expected.0, expected.1);
        }
    }

    #[test]
    fn strangers_get_the_same_bytes() {
        for version in [Version::V311, Version::V5] {
            let told = |refusal| Rejection::Refused(refusal).connack(version);
            let no = told(Refusal::UnknownDevice);
            for refusal in [
                Refusal::WrongCode,
                Refusal::CodeFromTextSecret,
                Refusal::WrongKey,
                Refusal::KeyEnded,
                Refusal::SecretEnded,
                Refusal::Malformed,
                Refusal::NoCredentials,
                Refusal::WrongOperator,
            ] {
                assert_eq!(told(refusal), no, "{refusal}");
            }
        }
    }

    /// Its clock is wrong, or was set back: it has to learn the right time.
    #[test]
    fn who_signed_at_a_wrong_time_reads_the_right_one() {
        let now = Timestamp::from_millis(1_763_800_000_123);
        for refusal in [Refusal::TokenExpired, Refusal::TokenReplayed] {
            let rejection = Rejection::of(&refusal.into(), now);
            check(rejection, Some(5), Some(0x87));
            let bytes = rejection.connack(Version::V5).expect("a CONNACK");
            let text = String::from_utf8_lossy(&bytes);
            assert!(text.contains(refusal.meaning()), "{text}");
            assert!(text.contains("server_time\0\r1763800000123"), "{text}");
        }
        for refusal in [Refusal::TokenInvalid, Refusal::Suspended] {
            let rejection = Rejection::of(&refusal.into(), now);
            assert_eq!(rejection, Rejection::Refused(refusal));
        }
    }

    #[test]
    fn who_proved_a_secret_reads_why() {
        let bytes = Rejection::Refused(Refusal::CodeSpent).connack(Version::V5);
        let bytes = bytes.expect("a CONNACK");
        assert!(String::from_utf8_lossy(&bytes).contains("already active"));
    }
}
