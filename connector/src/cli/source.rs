//! Where secrets are that a device is given: the activation code, or the key
//! that the factory burnt in.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use firstwake::hardware::Pepper;
use firstwake::{DeviceKey, ProductId};
use firstwake_connector::{BurntIn, CodeSource, Origin, Signing};
use zeroize::Zeroizing;

use super::wrong_usage;

/// Where the code may be, if no option says so.
const CODE_VARIABLE: &str = "FIRSTWAKE_CODE";

#[derive(Debug, Args)]
#[group(multiple = false)]
pub(crate) struct SourceArgs {
    /// A file whose first line is the activation code.
    #[arg(long, value_name = "FILE")]
    code_file: Option<PathBuf>,
    /// The first line of standard input is the activation code.
    #[arg(long)]
    code_stdin: bool,
    /// A file whose first line is the product secret.
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// The first line of standard input is the product secret.
    #[arg(long)]
    secret_stdin: bool,
}

impl SourceArgs {
    /// Where the code is, if it is anywhere. An option goes before the
    /// environment.
    pub(super) fn source(&self) -> Option<CodeSource> {
        let file = |path: &PathBuf| Origin::File(path.clone());
        let Self {
            code_file,
            code_stdin,
            secret_file,
            secret_stdin,
        } = self;
        code_file
            .as_ref()
            .map(|path| CodeSource::Code(file(path)))
            .or(code_stdin.then_some(CodeSource::Code(Origin::Stdin)))
            .or(secret_file
                .as_ref()
                .map(|path| CodeSource::Secret(file(path))))
            .or(secret_stdin.then_some(CodeSource::Secret(Origin::Stdin)))
            .or_else(code_in_environment)
    }
}

/// The pepper on the first line of a file.
pub(super) fn pepper_in(file: &Path) -> anyhow::Result<Pepper> {
    let expected = "a pepper is 64 hex characters (32 bytes)";
    let parse = |text: &str| Pepper::parse(text).ok_or(expected);
    Ok(Origin::File(file.to_owned()).parse(parse)?)
}

fn code_in_environment() -> Option<CodeSource> {
    let text = std::env::var_os(CODE_VARIABLE)?;
    let text = text.to_string_lossy().into_owned();
    Some(CodeSource::Code(Origin::Environment(Zeroizing::new(text))))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Algorithm {
    /// With a key pair that this device makes.
    Ed25519,
    /// With the key that the factory burnt in.
    Hs256,
    /// Not at all: with an API key.
    Off,
}

#[derive(Debug, Args)]
pub(crate) struct ProofArgs {
    /// How the device proves itself. Left out: with a key pair of its own where
    /// the server takes that, else with an API key.
    #[arg(long, value_name = "ALGORITHM")]
    sign: Option<Algorithm>,
    /// A file whose first line is the device key, for hs256.
    #[arg(long, value_name = "FILE", requires = "product")]
    device_key_file: Option<PathBuf>,
    /// The product of the device key.
    #[arg(long, value_name = "ID", requires = "device_key_file")]
    product: Option<ProductId>,
    /// A file whose first line is the product's pepper, so that the very first
    /// login with the device key shows the board.
    #[arg(long, value_name = "FILE", requires = "device_key_file")]
    pepper_file: Option<PathBuf>,
}

impl ProofArgs {
    /// How the device is to prove itself. Wrong usage ends the program.
    pub(super) fn signing(&self) -> anyhow::Result<Signing> {
        match (self.sign, &self.device_key_file, &self.product) {
            (None | Some(Algorithm::Hs256), Some(file), Some(product)) => {
                let pepper = self.pepper_file.as_deref().map(pepper_in);
                Ok(Signing::BurntIn(BurntIn {
                    key: Origin::File(file.clone()).parse(DeviceKey::parse)?,
                    product: product.clone(),
                    pepper: pepper.transpose()?,
                }))
            }
            (Some(Algorithm::Ed25519 | Algorithm::Off), Some(_), _) => {
                wrong_usage("a device key signs with --sign hs256")
            }
            (None, ..) => Ok(Signing::WhereAllowed),
            (Some(Algorithm::Ed25519), ..) => Ok(Signing::KeyPair),
            (Some(Algorithm::Off), ..) => Ok(Signing::Off),
            (Some(Algorithm::Hs256), ..) => {
                wrong_usage("--sign hs256 needs --device-key-file and --product")
            }
        }
    }
}
