//! Causes for which a connection never came about, each with its remedy.

use std::io;

use rustls::{AlertDescription, CertificateError, Error};

/// A cause for which there is no TCP connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NoConnection {
    /// The machine is there, and nothing listens at that port.
    Refused,
    /// The network has no way to that address.
    NoRoute,
    /// The system gave up waiting for an answer, before the plan did.
    NoAnswer,
    /// The connection was reset while it was made.
    Reset,
    /// This machine may not connect to there.
    NotAllowed,
    /// Another error of the system.
    Other,
}

/// A cause for which a TLS handshake failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NoTls {
    /// The certificate is of an authority that the device does not trust.
    UnknownAuthority,
    /// The certificate is for another name.
    WrongName,
    /// The certificate is no longer valid.
    Expired,
    /// The certificate is not valid yet.
    NotYetValid,
    /// The certificate has another fault.
    BadCertificate,
    /// The server answered with something that is no TLS.
    NotTls,
    /// The two sides have no version or cipher in common.
    NothingInCommon,
    /// The server ended the handshake with an alert.
    Alert,
    /// The server closed or reset the connection in the handshake.
    Closed,
    /// The server took the connection and did not answer in time.
    TimedOut,
    /// Another fault.
    Other,
}

impl NoConnection {
    pub(crate) fn of(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::Refused,
            io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::NetworkDown => Self::NoRoute,
            io::ErrorKind::TimedOut => Self::NoAnswer,
            io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted => Self::Reset,
            io::ErrorKind::PermissionDenied => Self::NotAllowed,
            _ => Self::Other,
        }
    }

    /// The name in reports.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Refused => "unreachable_refused",
            Self::NoRoute => "unreachable_no_route",
            Self::NoAnswer => "unreachable_no_answer",
            Self::Reset => "unreachable_reset",
            Self::NotAllowed => "unreachable_not_allowed",
            Self::Other => "unreachable",
        }
    }

    /// For people, with the remedy.
    pub(super) const fn sentence(self) -> &'static str {
        match self {
            Self::Refused => "connection refused: does the broker run, and at this port?",
            Self::NoRoute => "no route to the broker: check the address and this machine's network",
            Self::NoAnswer => "no answer to the connection: check address, port and firewalls",
            Self::Reset => "connection reset at once: check what listens at this port",
            Self::NotAllowed => "this machine may not connect there: check its firewall",
            Self::Other => "no TCP connection: check the address, port and network",
        }
    }
}

impl NoTls {
    /// rustls' own reason comes wrapped in an error of input.
    pub(crate) fn of(error: &io::Error) -> Self {
        let cause = error.get_ref().and_then(|cause| cause.downcast_ref());
        match cause {
            Some(cause) => Self::of_rustls(cause),
            None => Self::Closed,
        }
    }

    fn of_rustls(error: &Error) -> Self {
        match error {
            Error::InvalidCertificate(fault) => match fault {
                // One that has signed itself, and is not the authority's, too.
                CertificateError::UnknownIssuer => Self::UnknownAuthority,
                CertificateError::BadSignature => Self::UnknownAuthority,
                CertificateError::NotValidForName
                | CertificateError::NotValidForNameContext { .. } => Self::WrongName,
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                    Self::Expired
                }
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                    Self::NotYetValid
                }
                _ => Self::BadCertificate,
            },
            Error::InvalidMessage(_) => Self::NotTls,
            Error::PeerIncompatible(_)
            | Error::AlertReceived(
                AlertDescription::ProtocolVersion | AlertDescription::InsufficientSecurity,
            ) => Self::NothingInCommon,
            Error::AlertReceived(_) => Self::Alert,
            _ => Self::Other,
        }
    }

    /// The name in reports.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::UnknownAuthority => "tls_unknown_authority",
            Self::WrongName => "tls_wrong_name",
            Self::Expired => "tls_expired",
            Self::NotYetValid => "tls_not_yet_valid",
            Self::BadCertificate => "tls_bad_certificate",
            Self::NotTls => "tls_not_spoken",
            Self::NothingInCommon => "tls_nothing_in_common",
            Self::Alert => "tls_alert",
            Self::Closed => "tls_closed",
            Self::TimedOut => "tls_timed_out",
            Self::Other => "tls_failed",
        }
    }

    /// For people, with the remedy.
    pub(super) const fn sentence(self) -> &'static str {
        match self {
            Self::UnknownAuthority => {
                "certificate of another authority: give the one that signed it (--tls-ca)"
            }
            Self::WrongName => "certificate for another name: give the name in it (--tls-name)",
            Self::Expired => "certificate expired: renew it, or set this machine's clock",
            Self::NotYetValid => "certificate not valid yet: set this machine's clock",
            Self::BadCertificate => "certificate with a fault: have another one made",
            Self::NotTls => "no TLS at this port: take the broker's port with TLS",
            Self::NothingInCommon => "no version or cipher in common: try --tls-version",
            Self::Alert => "handshake refused by the broker: its log says why",
            Self::Closed => "closed in the handshake: is it a port with TLS?",
            Self::TimedOut => "no answer to the handshake: is it a port with TLS?",
            Self::Other => "handshake failed",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_of_the_system() {
        let check = |kind: io::ErrorKind, expected: NoConnection| {
            assert_eq!(NoConnection::of(&kind.into()), expected, "{kind}");
        };
        check(io::ErrorKind::ConnectionRefused, NoConnection::Refused);
        check(io::ErrorKind::HostUnreachable, NoConnection::NoRoute);
        check(io::ErrorKind::NetworkUnreachable, NoConnection::NoRoute);
        check(io::ErrorKind::TimedOut, NoConnection::NoAnswer);
        check(io::ErrorKind::ConnectionReset, NoConnection::Reset);
        check(io::ErrorKind::PermissionDenied, NoConnection::NotAllowed);
        check(io::ErrorKind::InvalidInput, NoConnection::Other);
    }
}
