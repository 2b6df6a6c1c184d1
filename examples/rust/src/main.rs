//! A device in Rust: wakes for the first time, keeps its key, sends a value.
//!
//! ```text
//! example-device mqtt://HOST:PORT SERIAL FILE      or http://HOST:PORT, https://
//! ```
//!
//! FILE keeps the credentials. The environment variable `FIRSTWAKE_CODE` holds
//! the activation code, or `FIRSTWAKE_SECRET` the product secret to compute it
//! from. Exit status: 0 the value has arrived, 1 something here is broken, 2
//! wrong usage, 3 a person has to act. Nothing here prints the code or the key.

mod code;
mod credentials;
mod over_http;
mod over_mqtt;
mod server;

use std::env;
use std::io::{Write, stderr, stdout};
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};

use crate::code::ActivationCode;
use crate::credentials::{Credentials, CredentialsFile};
use crate::over_http::OverHttp;
use crate::over_mqtt::OverMqtt;
use crate::server::{No, Server};

const LONGEST_WAIT: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    let Some(device) = Device::from_arguments() else {
        say("usage: example-device mqtt://HOST:PORT|http://HOST:PORT SERIAL FILE");
        say("with FIRSTWAKE_CODE or FIRSTWAKE_SECRET in the environment");
        return ExitCode::from(2);
    };
    match device.and_then(Device::live) {
        Ok(Ended::Sent) => ExitCode::SUCCESS,
        Ok(Ended::Refused(why)) => {
            say(&format!(
                "refused, and asking again will not help: {why}. Tell an operator."
            ));
            ExitCode::from(3)
        }
        Err(error) => {
            say(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

struct Device {
    server: Box<dyn Server>,
    code: ActivationCode,
    file: CredentialsFile,
}

enum Ended {
    Sent,
    Refused(String),
}

/// What goes wrong in one attempt.
enum Failed {
    /// The server says no.
    No(No),
    /// This device cannot do its part.
    Here(anyhow::Error),
}

impl Device {
    /// `None` for what is no usage.
    fn from_arguments() -> Option<Result<Self>> {
        let [url, serial, file]: [String; 3] =
            env::args().skip(1).collect::<Vec<_>>().try_into().ok()?;
        let code = match (env::var("FIRSTWAKE_CODE"), env::var("FIRSTWAKE_SECRET")) {
            (Ok(code), _) => ActivationCode::burnt_in(code),
            (_, Ok(secret)) => ActivationCode::compute(&secret, &serial)?,
            _ => return None,
        };
        let server: Box<dyn Server> = match url.split_once("://")? {
            ("mqtt", address) => Box::new(OverMqtt::new(address, serial)?),
            ("http" | "https", _) => {
                let authority = env::var_os("FIRSTWAKE_CA").map(PathBuf::from);
                match OverHttp::new(url, authority.as_deref()) {
                    Ok(server) => Box::new(server),
                    Err(error) => return Some(Err(error)),
                }
            }
            _ => return None,
        };
        Some(Ok(Self {
            server,
            code,
            file: CredentialsFile::at(file),
        }))
    }

    fn live(self) -> Result<Ended> {
        let mut known = self.file.load()?;
        let mut failures = 0;
        loop {
            let complaint = match self.attempt(&mut known) {
                Ok(()) => return Ok(Ended::Sent),
                Err(Failed::Here(error)) => return Err(error),
                Err(Failed::No(No::Stop(why))) => return Ok(Ended::Refused(why)),
                Err(Failed::No(No::Later(why))) => why,
                // Where an operator has reset the device, its code works again.
                // The file stays until there is another answer.
                Err(Failed::No(No::Unknown)) => match known.take() {
                    Some(_) => "the server knows no such key".to_owned(),
                    None => "the server knows no such serial and code: are both right, and was \
                             the code made from the secret's bytes?"
                        .to_owned(),
                },
            };
            let wait = jittered(failures)?;
            failures += 1;
            say(&format!("{complaint}; next try in {wait:.1?}"));
            sleep(wait);
        }
    }

    fn attempt(&self, known: &mut Option<Credentials>) -> Result<(), Failed> {
        let credentials = match known {
            Some(credentials) => credentials,
            None => known.insert(self.first_time()?),
        };
        self.server.send(credentials).map_err(Failed::No)?;
        tell(&format!("sent: a value to feed {}", credentials.feed_id)).map_err(Failed::Here)
    }

    fn first_time(&self) -> Result<Credentials, Failed> {
        let answer = self.server.activate(&self.code).map_err(Failed::No)?;
        let credentials = Credentials::of(&answer)
            .ok_or_else(|| Failed::No(No::Later("the answer makes no sense".to_owned())))?;
        // Before the key is used, as its first use is what spends the code.
        self.file
            .store(&answer)
            .context("the credentials cannot be kept")
            .map_err(Failed::Here)?;
        tell(&format!("activated: feed {}", credentials.feed_id)).map_err(Failed::Here)?;
        Ok(credentials)
    }
}

/// Full jitter: a fleet that lost its server must not come back in step.
fn jittered(failures: u32) -> Result<Duration> {
    let ceiling = Duration::from_secs(2_u64.saturating_pow(failures)).min(LONGEST_WAIT);
    let random = getrandom::u32().map_err(|error| anyhow!("there is no randomness: {error}"))?;
    Ok(ceiling.mul_f64(f64::from(random) / f64::from(u32::MAX)))
}

fn tell(line: &str) -> Result<()> {
    Ok(writeln!(stdout(), "{line}")?)
}

/// Whether anybody reads complaints changes nothing.
fn say(line: &str) {
    let _ = writeln!(stderr(), "{line}");
}
