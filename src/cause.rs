//! The closed list of precise causes, for operators alone.
//!
//! A [`Refusal`](crate::Refusal) is what a peer and the counts see; a cause says what exactly a
//! device did that kept it from working, and how to mend it. A cause is never
//! sent to the peer, and neither its texts nor its detail hold a secret.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Bytes of a [`Detail`].
const DETAIL: usize = 160;

/// One more clause about a cause, such as where the line feed was.
pub(crate) type Detail = Option<Cow<'static, str>>;

/// A text of no more bytes than a detail may have.
pub(crate) fn bounded(text: &str) -> Cow<'static, str> {
    let end = text.floor_char_boundary(DETAIL);
    Cow::Owned(text[..end].to_owned())
}

macro_rules! causes {
    ($($name:ident = $text:literal, $what:literal, $next:literal;)*) => {
        /// The exact mistake behind a refusal, a session's end or a message that was not taken.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        #[expect(missing_docs, reason = "each has its sentence in `meaning`")]
        pub enum Cause {
            $($name,)*
        }

        impl Cause {
            /// Every cause there is.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The name in JSON and in the log.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// The sentence that says what happened.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$name => $what,)* }
            }

            /// The remedy.
            pub const fn advice(self) -> &'static str {
                match self { $(Self::$name => $next,)* }
            }
        }
    };
}

causes! {
    SerialWithExtras = "serial_with_extras",
        "the username is this device's serial with something around it",
        "let the firmware send the serial alone: strip spaces, line ends, NUL and quotes";
    SerialInOtherCase = "serial_in_other_case",
        "the username is this device's serial in another case",
        "send the serial exactly as it is registered, or rename the device: case matters";
    SerialOfOtherProduct = "serial_of_other_product",
        "the username names this serial in another product than the one it is registered in",
        "send the serial alone, or with the id of its own product";
    UsernameAndPasswordSwapped = "username_and_password_swapped",
        "the activation code came as username and the serial as password",
        "swap the two in the firmware";
    NoPassword = "no_password",
        "the serial came without a password",
        "send the activation code, the API key or a signed login as password";
    PasswordWithoutShape = "password_without_shape",
        "the password is neither a code, nor a key, nor a signed login",
        "send the activation code (40 hex digits), the API key (48 characters) or a signed login, uncut";
    CodeWithExtras = "code_with_extras",
        "the password is this device's activation code with something around it",
        "send the 40 hex digits alone: strip what is around them";
    CodeCutShort = "code_cut_short",
        "the password is the beginning of this device's activation code",
        "send all 40 hex digits: check the size of the firmware's buffer";
    CodeInOtherEncoding = "code_in_other_encoding",
        "the password is this device's activation code in another encoding",
        "write the code's 20 bytes as 40 hex digits";
    CodeWithOtherHash = "code_with_other_hash",
        "the activation code was made with HMAC-SHA256",
        "compute the code with HMAC-SHA1, or take it from `firstwake code`";
    CodeOfOtherSpelling = "code_of_other_spelling",
        "the activation code was made for another spelling of the serial",
        "compute the code from the serial exactly as it is registered: nothing around it, same case";
    SecretAsCode = "secret_as_code",
        "the password is the product's secret itself",
        "send the activation code that is made from it, and rotate the secret: it must not be in a device";
    KeyWithExtras = "key_with_extras",
        "the password is this device's API key with something around it",
        "send the 48 characters alone: strip what is around them";
    KeyOfOtherDevice = "key_of_other_device",
        "the API key belongs to another device",
        "let each device keep its own key: an image with a key in it must not be copied";
    TokenWithExtras = "token_with_extras",
        "the password is a signed login of this device with something around it",
        "send the token alone: strip what is around it";
    TokenEncoding = "token_encoding",
        "the signature holds, but the token is not written in base64url without padding",
        "use the URL-safe alphabet (`-` and `_`) and leave the `=` at the end away";
    TokenHeader = "token_header",
        "the signature holds, but the token's header does not fit",
        "send the header {\"alg\":\"HS256\"} or {\"alg\":\"EdDSA\"}, spelled so, and nothing that has to be understood";
    TokenSubject = "token_subject",
        "the signature holds, but the claim `sub` is not the serial",
        "let `sub` be the serial alone, as a text";
    TokenAudience = "token_audience",
        "the signature holds, but the claim `aud` is not the product's id",
        "let `aud` be the id of the product as one text, not a list";
    TokenId = "token_id",
        "the signature holds, but the claim `jti` does not fit",
        "let `jti` be a text of 1 to 64 of A-Z a-z 0-9 _ . : -, another one each time";
    TokenTime = "token_time",
        "the signature holds, but a time in the token does not fit",
        "let `iat` and `exp` be numbers of seconds since 1970, no more than 300 apart, and set the device's clock";
    TokenClaim = "token_claim",
        "the signature holds, but a claim in the token does not fit",
        "leave the claim away, or write it as the documentation of signed logins says";
    TokenKey = "token_key",
        "the token is signed with something else than the device's key",
        "sign with the 32 bytes that the hex of `device key` stands for, or with the enrolled private key";
    TokenAlgorithm = "token_algorithm",
        "the token is signed with an algorithm that is not accepted",
        "sign with HS256 or EdDSA (Ed25519)";
    ProtocolError = "protocol_error",
        "the session ended with a protocol error of the device",
        "mend the device's MQTT client, or use another one";
    Forbidden = "forbidden",
        "the session ended after ten forbidden messages or subscriptions within a minute",
        "let the device use its own topics only";
    PacketTooLarge = "packet_too_large",
        "the device takes no packet as large as its answer",
        "let the MQTT client accept packets of at least 1024 bytes";
    SubscribedElsewhere = "subscribed_elsewhere",
        "with its code the device subscribed to a topic that is not the one of its answer",
        "let it subscribe to its own response topic";
    AskedElsewhere = "asked_elsewhere",
        "with its code the device published to a topic that is not the one of its requests",
        "let it publish to its own request topic";
    NeverAsked = "never_asked",
        "the device was let in with its code and left without asking for its credentials",
        "let it subscribe to its own response topic";
    WaitsForPublicKey = "waits_for_public_key",
        "the device only subscribed, but its product takes signatures only: it has to send its public key",
        "let it publish a request with its public key to its request topic, or change the product's policy";
    PayloadUnreadable = "payload_unreadable",
        "a message with values could not be read: no value was kept",
        "mend the body that the device publishes";
    TopicForbidden = "topic_forbidden",
        "the device published to a topic that is not its own: the message was thrown away",
        "let it publish to topics of its own feed";
    FilterForbidden = "filter_forbidden",
        "the device subscribed to a topic that is not its own",
        "let it subscribe to topics of its own feed";
    TooFast = "too_fast",
        "the device publishes faster than it may",
        "let it publish less often, or several values in one message";
    DatastreamRefused = "datastream_refused",
        "the device sent a datastream that its feed has no room for",
        "let it use the datastreams of its product, or let the product take more new ones";
    CloneSuspected = "clone_suspected",
        "two may be using this identity",
        "find out which is the real one; `device quarantine` keeps both out meanwhile, `device reset` ends the key of both";
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_serialisation() {
        for cause in Cause::ALL {
            let json = serde_json::to_string(cause).expect("a string");
            assert_eq!(json, format!("\"{cause}\""));
        }
    }

    /// The table in the documentation has every cause and no other.
    #[test]
    fn the_documentation_lists_every_cause() {
        let page = include_str!("../docs/operators.md");
        for cause in Cause::ALL {
            let line = format!("| `{cause}` | {} | {} |", cause.meaning(), cause.advice());
            assert!(page.contains(&line), "docs/operators.md lacks:\n{line}");
        }
    }

    #[test]
    fn a_detail_is_cut_between_characters() {
        let long = "é".repeat(DETAIL);
        assert_eq!(bounded(&long).len(), DETAIL);
        assert_eq!(bounded("short"), "short");
    }
}
