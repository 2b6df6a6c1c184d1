//! The floor as a process of its own, as a broker would be.
//!
//! The program that is started must answer to the argument `floor-server` by
//! printing its address on one line and serving until its standard input ends:
//! so it never outlives whoever started it. For TLS, the files' names follow as
//! `--cert` and `--key`; for HTTP, `--http`.

use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use super::{Identity, Speaks};

/// A floor in another process; it ends when this is dropped.
pub struct Child {
    process: std::process::Child,
    address: SocketAddr,
}

/// Why there is no floor.
#[derive(Debug, thiserror::Error)]
pub enum ChildError {
    /// The program cannot be run, or read from.
    #[error("cannot start the floor's own server: {0}")]
    Start(#[from] io::Error),
    /// The program said something else.
    #[error("the floor's own server did not say where it listens")]
    NoAddress,
}

impl Child {
    /// Starts `program` and waits until it listens; over TLS with an identity.
    pub fn start(
        program: &Path,
        identity: Option<&Identity>,
        speaks: Speaks,
    ) -> Result<Self, ChildError> {
        let mut command = Command::new(program);
        command.arg("floor-server");
        if let Some(Identity { cert, key }) = identity {
            command.arg("--cert").arg(cert).arg("--key").arg(key);
        }
        if speaks == Speaks::Http {
            command.arg("--http");
        }
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        if let Some(output) = process.stdout.take() {
            BufReader::new(output).read_line(&mut line)?;
        }
        let Ok(address) = line.trim_end().parse() else {
            process.wait()?;
            return Err(ChildError::NoAddress);
        };
        Ok(Self { process, address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Closes its standard input first, which is what ends it.
        let _ = self.process.wait();
    }
}
