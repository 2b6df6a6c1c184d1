//! What became of a device: a closed list.
//!
//! An outcome is decided once, where it happens, and counted by its variant.
//! Nothing here or elsewhere tells two outcomes apart by a text.

mod connecting;

use std::fmt;

use serde::{Serialize, Serializer};

pub use self::connecting::{NoConnection, NoTls};

/// The end of one device's story.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// Has its feed id and key; the plan did not ask to confirm.
    Activated,
    /// Came back with its key and was let in.
    Confirmed,
    /// Its public key was taken.
    Enrolled,
    /// Was let in with what it had, and subscribed if the plan asked for it.
    LoggedIn,
    /// Its TLS handshake is done, which was all there was to do.
    Secured,
    /// Has sent every message, and at QoS 1 has each acknowledged.
    Published,
    /// The broker said no.
    Refused(Refusal),
    /// The broker did not get on within the plan's deadline for a step.
    TimedOut(Step),
    /// The broker closed or reset the connection.
    Closed(Step),
    /// No TCP connection could be made.
    Unreachable(NoConnection),
    /// The TLS handshake failed.
    NoTls(NoTls),
    /// What came was not MQTT, or not what the protocol allows there.
    Malformed(Step),
    /// An answer came that is meant for another device.
    ForeignAnswer,
    /// This machine had no socket to give: files or ports ran out. Says
    /// nothing of the broker.
    NoSocket,
}

/// How a broker says no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Refusal {
    /// By the CONNACK to the activation code, or to the key of a device that
    /// came with one.
    Connack(ConnackCode),
    /// By the SUBACK for the device's own topics.
    Subscribe,
    /// By an `{"error":…}` on the response topic.
    Answer,
    /// By the CONNACK to the key it gave out before.
    ConfirmConnack(ConnackCode),
    /// By the status of its reply over HTTP.
    Status(HttpStatus),
}

/// A status of HTTP that is a refusal: any but 200.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HttpStatus(u16);

impl HttpStatus {
    /// `None` for 200, which is no refusal.
    pub fn new(status: u16) -> Option<Self> {
        (status != 200).then_some(Self(status))
    }
}

/// A CONNACK return code that is a refusal: 1 to 5 (MQTT 3.1.1, table 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnackCode(u8);

impl ConnackCode {
    /// `None` for 0, which is no refusal, and for what MQTT 3.1.1 does not know.
    pub fn new(code: u8) -> Option<Self> {
        (1..=5).contains(&code).then_some(Self(code))
    }

    /// The number on the wire.
    pub const fn as_u8(self) -> u8 {
        self.0
    }

    fn meaning(self) -> &'static str {
        match self.0 {
            1 => "protocol version",
            2 => "client id",
            3 => "server unavailable",
            4 => "bad user name or password",
            _ => "not authorised",
        }
    }
}

/// What a device was waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// The connection, with TLS its handshake too.
    Connect,
    /// The CONNACK to the activation code, or to the key of a device that came
    /// with one.
    Connack,
    /// The answer, after SUBSCRIBE or the request.
    Answer,
    /// The connection of the confirmation.
    ConfirmConnect,
    /// The CONNACK to the key.
    ConfirmConnack,
    /// The SUBACK for its downlink.
    Suback,
    /// The acknowledgement of what it published, or room to send it.
    Puback,
    /// The broker's side of the farewell after a handshake.
    Close,
}

impl Step {
    const fn label(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Connack => "connack",
            Self::Answer => "answer",
            Self::ConfirmConnect => "confirm_connect",
            Self::ConfirmConnack => "confirm_connack",
            Self::Suback => "suback",
            Self::Puback => "puback",
            Self::Close => "close",
        }
    }
}

/// Why a step failed, before it is known which step it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mishap {
    Refused(Refusal),
    TimedOut,
    Closed,
    Unreachable(NoConnection),
    NoTls(NoTls),
    Malformed,
    ForeignAnswer,
    NoSocket,
}

impl Mishap {
    pub(crate) fn at(self, step: Step) -> Outcome {
        match self {
            Self::Refused(refusal) => Outcome::Refused(refusal),
            Self::TimedOut => Outcome::TimedOut(step),
            Self::Closed => Outcome::Closed(step),
            Self::Unreachable(cause) => Outcome::Unreachable(cause),
            Self::NoTls(cause) => Outcome::NoTls(cause),
            Self::Malformed => Outcome::Malformed(step),
            Self::ForeignAnswer => Outcome::ForeignAnswer,
            Self::NoSocket => Outcome::NoSocket,
        }
    }
}

/// The stable name in reports: `confirmed`, `refused_connack_4`,
/// `timed_out_answer`, …
impl Serialize for Outcome {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Activated => serializer.serialize_str("activated"),
            Self::Confirmed => serializer.serialize_str("confirmed"),
            Self::LoggedIn => serializer.serialize_str("logged_in"),
            Self::Enrolled => serializer.serialize_str("enrolled"),
            Self::Secured => serializer.serialize_str("secured"),
            Self::Published => serializer.serialize_str("published"),
            Self::Refused(Refusal::Connack(code)) => {
                serializer.collect_str(&format_args!("refused_connack_{}", code.0))
            }
            Self::Refused(Refusal::Subscribe) => serializer.serialize_str("refused_subscribe"),
            Self::Refused(Refusal::Answer) => serializer.serialize_str("refused_answer"),
            Self::Refused(Refusal::ConfirmConnack(code)) => {
                serializer.collect_str(&format_args!("refused_confirm_connack_{}", code.0))
            }
            Self::Refused(Refusal::Status(status)) => {
                serializer.collect_str(&format_args!("refused_http_{}", status.0))
            }
            Self::TimedOut(step) => {
                serializer.collect_str(&format_args!("timed_out_{}", step.label()))
            }
            Self::Closed(step) => serializer.collect_str(&format_args!("closed_{}", step.label())),
            Self::Unreachable(cause) => serializer.serialize_str(cause.name()),
            Self::NoTls(cause) => serializer.serialize_str(cause.name()),
            Self::Malformed(step) => {
                serializer.collect_str(&format_args!("malformed_{}", step.label()))
            }
            Self::ForeignAnswer => serializer.serialize_str("foreign_answer"),
            Self::NoSocket => serializer.serialize_str("no_socket"),
        }
    }
}

/// For people.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Activated => f.write_str("activated"),
            Self::Confirmed => f.write_str("confirmed"),
            Self::LoggedIn => f.write_str("logged in"),
            Self::Enrolled => f.write_str("enrolled"),
            Self::Secured => f.write_str("secured"),
            Self::Published => f.write_str("published"),
            Self::Refused(refusal) => write!(f, "refused: {refusal}"),
            Self::TimedOut(Step::Connect) => {
                f.write_str("no answer to the connection in time: check address and firewalls")
            }
            Self::TimedOut(step) => write!(f, "timed out waiting for {step}"),
            Self::Closed(step) => write!(f, "closed by the broker before {step}"),
            Self::Unreachable(cause) => f.write_str(cause.sentence()),
            Self::NoTls(cause) => f.write_str(cause.sentence()),
            Self::Malformed(Step::Connack) => {
                f.write_str("no MQTT in place of the CONNACK: a port with TLS needs --tls-ca")
            }
            Self::Malformed(step) => write!(f, "malformed, waiting for {step}"),
            Self::ForeignAnswer => f.write_str("got another device's answer"),
            Self::NoSocket => f.write_str("no file or port left on this machine"),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connack(code) => write!(f, "CONNACK {code}"),
            Self::Subscribe => f.write_str("SUBACK 128"),
            Self::Answer => f.write_str("an error for an answer"),
            Self::ConfirmConnack(code) => write!(f, "CONNACK {code} to its key"),
            Self::Status(status) => write!(f, "status {}", status.0),
        }
    }
}

impl fmt::Display for ConnackCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.0, self.meaning())
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "the connection",
            Self::Connack => "the CONNACK",
            Self::Answer => "the answer",
            Self::ConfirmConnect => "the second connection",
            Self::ConfirmConnack => "the CONNACK to its key",
            Self::Suback => "the SUBACK",
            Self::Puback => "the acknowledgement of its messages",
            Self::Close => "the end of the connection",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_reports_are_stable() {
        let check = |outcome: Outcome, name: &str| {
            let json = serde_json::to_value(outcome).expect("a string");
            assert_eq!(json, name);
        };
        let four = ConnackCode::new(4).expect("a refusal");
        check(Outcome::Activated, "activated");
        check(Outcome::Confirmed, "confirmed");
        check(
            Outcome::Refused(Refusal::Connack(four)),
            "refused_connack_4",
        );
        check(Outcome::Refused(Refusal::Subscribe), "refused_subscribe");
        check(Outcome::Refused(Refusal::Answer), "refused_answer");
        check(
            Outcome::Refused(Refusal::ConfirmConnack(four)),
            "refused_confirm_connack_4",
        );
        let status = HttpStatus::new(403).expect("a refusal");
        check(
            Outcome::Refused(Refusal::Status(status)),
            "refused_http_403",
        );
        check(Outcome::TimedOut(Step::Answer), "timed_out_answer");
        check(Outcome::Closed(Step::Connack), "closed_connack");
        check(Outcome::LoggedIn, "logged_in");
        check(Outcome::Enrolled, "enrolled");
        check(Outcome::Secured, "secured");
        check(Outcome::Published, "published");
        check(Outcome::TimedOut(Step::Suback), "timed_out_suback");
        check(Outcome::Closed(Step::Puback), "closed_puback");
        check(Outcome::TimedOut(Step::Close), "timed_out_close");
        check(Outcome::NoTls(NoTls::Expired), "tls_expired");
        check(
            Outcome::Unreachable(NoConnection::Refused),
            "unreachable_refused",
        );
        check(
            Outcome::Malformed(Step::ConfirmConnack),
            "malformed_confirm_connack",
        );
        check(Outcome::ForeignAnswer, "foreign_answer");
        check(Outcome::NoSocket, "no_socket");
    }

    #[test]
    fn only_one_to_five_refuse() {
        let refusals: Vec<u8> = (0..=255)
            .filter_map(ConnackCode::new)
            .map(ConnackCode::as_u8)
            .collect();
        assert_eq!(refusals, [1, 2, 3, 4, 5]);
    }
}
