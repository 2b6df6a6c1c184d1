//! Commands to try on the demo's server, to be pasted as they are.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context, Result};

use super::Set;
use super::child::Child;
use crate::output::say;

/// A serial that no simulated device has.
const ONE_MORE: &str = "one-more";

/// Prints them, with full paths and the real port. The product's secret is
/// not among them.
pub(super) fn print(home: &Path, server: SocketAddr, set: &Set) -> Result<()> {
    let program = std::env::current_exe().context("this program does not find itself")?;
    let firstwake = format!(
        "{} --data-dir {}",
        quote(&program.to_string_lossy()),
        quote(&Child::data_dir(home).to_string_lossy())
    );
    let code = firstwake::ActivationCode::compute(&set.secret, &ONE_MORE.parse()?);
    let (code, product) = (code.expose_hex(), &set.product);
    let mqtt = format!("-h {} -p {}", server.ip(), server.port());
    let credentials = Child::data_dir(home).join("first-operator");
    let password = format!(
        "\"$(sed -n 's/^password //p' {})\"",
        quote(&credentials.to_string_lossy())
    );
    say("")?;
    say("The server is still running. Try, in another terminal:")?;
    say("")?;
    say("# register one more device, and activate it")?;
    say(&format!("{firstwake} device register {product} {ONE_MORE}"))?;
    say(&format!(
        "mosquitto_sub {mqtt} -i {ONE_MORE} -u {ONE_MORE} -P {code} -t provision/{ONE_MORE}/response -q 1 -C 1"
    ))?;
    say("")?;
    say("# watch what happens")?;
    say(&format!(
        "mosquitto_sub {mqtt} -u admin -P {password} -t 'provisioning/#' -q 1 -v"
    ))?;
    say("")?;
    say("# be refused, and have it explained")?;
    let wrong = "0".repeat(40);
    say(&format!(
        "mosquitto_pub {mqtt} -i {ONE_MORE} -u {ONE_MORE} -P {wrong} -t x -m x"
    ))?;
    say(&format!("{firstwake} device explain {ONE_MORE}"))?;
    say("")?;
    say("# end a device")?;
    say(&format!("{firstwake} device revoke {}", set.serials[0]))?;
    say("")?;
    say("Ctrl-C stops the server and removes its data.")
}

/// Quotes a word for a shell, if it needs that.
fn quote(word: &str) -> String {
    let plain = |symbol: char| symbol.is_ascii_alphanumeric() || "/._-+:@%,=".contains(symbol);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::quote;

    #[test]
    fn words_are_quoted_for_a_shell() {
        assert_eq!(quote("/tmp/a-b"), "/tmp/a-b");
        assert_eq!(quote("/tmp/a b"), "'/tmp/a b'");
        assert_eq!(quote("it's"), r"'it'\''s'");
        assert_eq!(quote(""), "''");
    }
}
