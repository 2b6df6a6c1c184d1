//! `firstwake licence`.

use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use super::form::Form;
use crate::control::{Control, Reply, Request};

/// What stands before the 32 bytes of an Ed25519 key in a public key (RFC
/// 8410, section 4).
const PREFIX: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];

/// What devices' licences are checked with
#[derive(clap::Subcommand)]
pub(super) enum Command {
    /// The public key that licences are checked with, as PEM; as a JWK with
    /// --output json. It is no secret: build it into the application
    Key,
}

impl Command {
    pub(super) async fn run(self, control: &mut Control, form: Form) -> Result<()> {
        let Self::Key = self;
        match control.ask(Request::LicenceKey).await? {
            Reply::LicenceKey(key) => form.tell(&key, &pem(&key.x)?),
            _ => bail!("the server gave an answer to another question"),
        }
    }
}

/// A key as tools and libraries read it.
fn pem(key: &str) -> Result<String> {
    let key = URL_SAFE_NO_PAD.decode(key);
    let key = key.context("the server's answer is not understood: is it another version?")?;
    let body = STANDARD.encode([&PREFIX[..], &key].concat());
    Ok(format!(
        "-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The key of RFC 8037, appendix A.2; the PEM was made of it with openssl.
    #[test]
    fn a_key_is_written_as_openssl_writes_it() {
        let told = pem("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
        let expected = "-----BEGIN PUBLIC KEY-----\n\
                        MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n\
                        -----END PUBLIC KEY-----";
        assert_eq!(told.expect("a key"), expected);
        assert!(pem("no key!").is_err());
    }
}
