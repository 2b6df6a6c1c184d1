//! The closed list of reasons to say no.
//!
//! A refusal is data: what a peer is told, what an operator reads and what is
//! stored are each decided by one `match` over it, here or at the edge.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Whether the peer proved a secret before it was refused.
///
/// Only then may it learn more than "no", and only then is the refusal written
/// down durably: a stranger must not be able to fill the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// It showed a right code, key or password.
    Proved,
    /// It showed nothing that holds.
    Unproved,
}

macro_rules! refusals {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $proof:ident, $what:literal, $next:literal;)*) => {
        /// Why somebody was not let in.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Refusal {
            $($(#[$doc])* $name,)*
        }

        impl Refusal {
            /// Every reason there is.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The name in events, counts and commands.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// Whether the peer had proved a secret.
            pub const fn proof(self) -> Proof {
                match self { $(Self::$name => Proof::$proof,)* }
            }

            /// Whether it becomes an event. An expired token was somebody's
            /// once: whoever has recorded one must not write with it for ever.
            pub const fn is_written_down(self) -> bool {
                matches!(self.proof(), Proof::Proved) && !matches!(self, Self::TokenExpired)
            }

            /// What happened, in words for an operator.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$name => $what,)* }
            }

            /// What an operator can do about it.
            pub const fn advice(self) -> &'static str {
                match self { $(Self::$name => $next,)* }
            }
        }
    };
}

refusals! {
    /// No device of that serial.
    UnknownDevice = "unknown_device", Unproved,
        "no device has this serial",
        "check the serial letter by letter (case matters), or register it";
    /// The code was made with something else.
    WrongCode = "wrong_code", Unproved,
        "the activation code does not belong to this serial",
        "compute the code again with `firstwake code`, from this product's secret and this serial";
    /// The near miss.
    CodeFromTextSecret = "code_from_text_secret", Unproved,
        "the activation code was made with the product secret's 40 characters as text, not with its 20 bytes",
        "decode the hex of the secret to bytes before it is used as the HMAC key";
    /// No device has that key.
    WrongKey = "wrong_key", Unproved,
        "the API key is not this device's",
        "if the device lost its key, `device reset` lets it activate again";
    /// A key that was replaced.
    KeyEnded = "key_ended", Unproved,
        "the API key was this device's, but a newer one has replaced it",
        "the device must use the newest key it received; if it lost that, `device reset` lets it activate again";
    /// A credential without a shape.
    Malformed = "malformed", Unproved,
        "what was shown is neither a code (40 hex), a key (48 characters) nor an operator's password",
        "check that the firmware sends the serial as username and the code or key as password, uncut";
    /// Neither username nor password.
    NoCredentials = "no_credentials", Unproved,
        "no username and no password were sent",
        "send the serial as username and the activation code or API key as password";
    /// The code was used before.
    CodeSpent = "code_spent", Proved,
        "the device is already active: its code was used, and the key made with it too",
        "if the device lost its key, `device reset` or `device reopen` lets it activate again; if not, somebody else has its code";
    /// The product no longer takes codes.
    CodeDisabled = "code_disabled", Proved,
        "this product no longer takes activation codes",
        "let the device sign its logins, or change the product's policy";
    /// An operator's act.
    Suspended = "suspended", Proved,
        "an operator suspended this device",
        "`device resume` lets it in again";
    /// An operator's or a policy's act.
    Quarantined = "quarantined", Proved,
        "this device is quarantined: two may be using one identity",
        "find out which is the real one, then `device release` or `device reset`";
    /// An operator's act, final.
    Revoked = "revoked", Proved,
        "an operator revoked this device",
        "revocation is final; an admin can undo it with `device reset --from-revoked`";
    /// An operator's act on the whole product.
    ProductBlocked = "product_blocked", Proved,
        "an operator blocked the whole product",
        "unblock the product when its devices may come back";
    /// Licence.
    NoSeats = "no_seats", Proved,
        "all seats of this product's licence are taken",
        "revoke devices that are no longer used, or raise the number of seats";
    /// Licence.
    LeaseExpired = "lease_expired", Proved,
        "the device's lease has run out",
        "`device renew` lets it in again; each login renews it from then on";
    /// Hardware identity.
    HardwareMismatch = "hardware_mismatch", Proved,
        "the device's hardware is not the one that was enrolled",
        "if a part was replaced, `device forget-hardware` lets it enrol anew; if not, its identity was copied";
    /// Signed logins.
    TokenInvalid = "token_invalid", Unproved,
        "the signed login does not hold",
        "check the device's key, the algorithm and the claims";
    /// Signed logins.
    TokenExpired = "token_expired", Proved,
        "the signed login is too old, from the future, or good for more than five minutes",
        "set the device's clock, or let it ask the server for the time";
    /// Signed logins.
    TokenReplayed = "token_replayed", Proved,
        "the token was used before, or is older than the last one",
        "sign each login and each request anew; if the device does, somebody recorded one";
    /// Operators.
    WrongOperator = "wrong_operator", Unproved,
        "the password is not this operator's, or the token is nobody's",
        "type it again, set a new one with `operator add`, or make a token with `token create`";
    /// An operator's act on a source.
    Banned = "banned", Unproved,
        "an operator banned the address it comes from",
        "remove the ban when it is no longer needed";
    /// Too much at once.
    Overloaded = "overloaded", Unproved,
        "the server had too much to do",
        "devices try again by themselves; if it lasts, give the server more room";
    /// Too many failures of one source.
    Throttled = "throttled", Unproved,
        "too many logins failed from the address it comes from, or the device asks too often",
        "find out who fails there; an operator may log in from another address meanwhile";
    /// The product takes signatures only.
    KeyDisabled = "key_disabled", Proved,
        "this product's devices sign their logins: API keys are not accepted any more",
        "let the device sign, or change the product's policy with `product set --proof either`";
    /// The product takes no signatures.
    SigningDisabled = "signing_disabled", Proved,
        "this product takes no signed logins",
        "change the product's policy with `product set --proof either`";
    /// A request that is not the one that was signed.
    RequestAltered = "request_altered", Proved,
        "the token was signed for another request",
        "check that method, path with query and body are hashed as they are sent; if they are, somebody altered the request";
    /// A code of a secret that has ended: that proves nothing any more.
    SecretEnded = "secret_ended", Unproved,
        "the activation code was made with a secret of the product that has ended",
        "give the device the code of the newest secret (`device code`), or find out who still uses the one that has ended";
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_serialisation() {
        for refusal in Refusal::ALL {
            let json = serde_json::to_string(refusal).expect("a string");
            assert_eq!(json, format!("\"{refusal}\""));
        }
        assert_eq!(Refusal::ALL.len(), 27);
    }

    #[test]
    fn strangers_learn_nothing() {
        use Refusal::{SecretEnded, UnknownDevice, WrongCode, WrongKey};
        for refusal in [UnknownDevice, WrongCode, WrongKey, SecretEnded] {
            assert_eq!(refusal.proof(), Proof::Unproved);
        }
    }
}
