//! Where secrets come from that a device is given: never from the command line.
//!
//! Arguments are visible to every user of the machine. A file, standard input
//! and the environment are not.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::PathBuf;

use firstwake::{ActivationCode, ProductSecret, Serial};
use zeroize::Zeroizing;

use crate::error::CodeSourceError;

/// Longer than any code or secret, in bytes.
const MAX_LINE: u64 = 256;

/// What is given, and where.
#[derive(Clone, Debug)]
pub enum CodeSource {
    /// The 40 hex characters of the activation code.
    Code(Origin),
    /// The 40 hex characters of the product secret: the code is computed.
    Secret(Origin),
}

/// Where a secret is read from: the first line, without space around it.
#[derive(Clone)]
pub enum Origin {
    /// A file.
    File(PathBuf),
    /// Standard input; what follows the line is left there.
    Stdin,
    /// The value of an environment variable.
    Environment(Zeroizing<String>),
}

impl CodeSource {
    /// Reads what is there, and computes the code if that is the secret.
    pub fn read(&self, serial: &Serial) -> Result<ActivationCode, CodeSourceError> {
        match self {
            Self::Code(origin) => origin.parse(ActivationCode::parse),
            Self::Secret(origin) => {
                let secret = origin.parse(ProductSecret::parse)?;
                Ok(ActivationCode::compute(&secret, serial))
            }
        }
    }
}

impl Origin {
    /// Reads the line as what it should be. What is expected is said by the
    /// parser's error, which must not quote what was there instead.
    pub fn parse<T, E: fmt::Display>(
        &self,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Result<T, CodeSourceError> {
        let line = self.first_line().map_err(|cause| CodeSourceError::Read {
            origin: self.to_string(),
            cause,
        })?;
        parse(line.trim()).map_err(|cause| CodeSourceError::Content {
            origin: self.to_string(),
            expected: cause.to_string(),
        })
    }

    fn first_line(&self) -> io::Result<Zeroizing<String>> {
        match self {
            Self::File(path) => first_line(BufReader::new(File::open(path)?)),
            Self::Stdin => first_line(io::stdin().lock()),
            Self::Environment(text) => Ok(text.clone()),
        }
    }
}

fn first_line(input: impl BufRead) -> io::Result<Zeroizing<String>> {
    let mut line = Zeroizing::new(String::with_capacity(MAX_LINE as usize));
    input.take(MAX_LINE).read_line(&mut line)?;
    Ok(line)
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Stdin => f.write_str("standard input"),
            Self::Environment(_) => f.write_str("the environment variable"),
        }
    }
}

/// Says where, never what.
impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Origin({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "488f40ff3d0b2c6188e272f8d86416b73b3cb4ef";
    const CODE: &str = "b8b6aacc855a97a92eaa2d2201b5d04a06f204b7";

    fn environment(text: &str) -> Origin {
        Origin::Environment(Zeroizing::new(text.to_owned()))
    }

    fn read(source: &CodeSource) -> Result<String, String> {
        let serial = Serial::parse("0123456789").expect("serial");
        let code = source.read(&serial).map_err(|error| error.to_string())?;
        Ok(code.expose_hex())
    }

    #[test]
    fn a_code_is_taken_and_a_secret_computed_with() {
        let given = environment(&format!(" {} \n", CODE.to_uppercase()));
        assert_eq!(read(&CodeSource::Code(given)), Ok(CODE.to_owned()));
        let computed = read(&CodeSource::Secret(environment(SECRET)));
        assert_eq!(computed, Ok(CODE.to_owned()));
    }

    #[test]
    fn the_first_line_of_a_file_counts() {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("code");
        std::fs::write(&path, format!("{CODE}\nthe rest\n")).expect("written");
        let source = CodeSource::Code(Origin::File(path));
        assert_eq!(read(&source), Ok(CODE.to_owned()));
    }

    #[test]
    fn what_was_there_instead_is_not_quoted() {
        let source = CodeSource::Code(environment("hunter2"));
        let error = read(&source).expect_err("no code");
        assert_eq!(
            error,
            "the environment variable does not hold what it should: an activation code is 40 hex \
             characters"
        );
        assert!(!format!("{source:?}").contains("hunter2"));
    }
}
