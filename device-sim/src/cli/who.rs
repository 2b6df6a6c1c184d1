//! Who comes back, and with what to show.

use std::path::PathBuf;
use std::time::SystemTime;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use device_sim::callers::{Caller, Proof};
use device_sim::serials::SerialSource;
use device_sim::{Downlink, credentials};
use firstwake::{ProductId, Timestamp};

use super::options::read_product_secret;

#[derive(Debug, Args)]
pub(super) struct WhoArgs {
    /// What devices show.
    #[arg(long, value_name = "HOW", default_value = "key")]
    login: LoginArg,
    /// With `key`: a file that `storm --save-credentials` wrote.
    #[arg(long, value_name = "FILE")]
    #[arg(required_if_eq("login", "key"), required_unless_present("secret_file"))]
    credentials: Option<PathBuf>,
    /// With anything else: a file that holds the product secret.
    #[arg(long, value_name = "FILE", conflicts_with = "credentials")]
    #[arg(required_if_eq_any([("login", "code"), ("login", "hs256"), ("login", "eddsa")]))]
    secret_file: Option<PathBuf>,
    /// With anything else: PREFIX:COUNT, or a file with one serial a line.
    #[arg(long, value_name = "FILE|PREFIX:COUNT", conflicts_with = "credentials")]
    #[arg(required_if_eq_any([("login", "code"), ("login", "hs256"), ("login", "eddsa")]))]
    serials: Option<SerialSource>,
    /// With `hs256` and `eddsa`: the product, which devices sign.
    #[arg(long, value_name = "PRODUCT_ID", conflicts_with = "credentials")]
    #[arg(value_parser = ProductId::parse)]
    #[arg(required_if_eq_any([("login", "hs256"), ("login", "eddsa")]))]
    product: Option<ProductId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LoginArg {
    /// The API key that activation gave them.
    Key,
    /// Their activation code; nothing is asked for with it.
    Code,
    /// A token signed with the device key, from the product secret.
    Hs256,
    /// A token signed with the key pair that `enrol` enrolled.
    Eddsa,
}

impl WhoArgs {
    pub(super) fn proof(&self) -> Proof {
        match self.login {
            LoginArg::Key => Proof::Key,
            LoginArg::Code => Proof::Code,
            LoginArg::Hs256 => Proof::Hs256,
            LoginArg::Eddsa => Proof::EdDsa,
        }
    }

    /// The devices with their passwords; tokens are signed here and now.
    pub(super) fn callers(self, downlink: Downlink) -> Result<Vec<Caller>> {
        let missing = "give --credentials, or say with --login how devices log in";
        if self.login == LoginArg::Key {
            let keys = credentials::load(&self.credentials.context(missing)?)?;
            let keys = keys.into_iter();
            return Ok(keys.map(|one| Caller::with_key(one, downlink)).collect());
        }
        let secret = read_product_secret(&self.secret_file.context(missing)?)?;
        let serials = self.serials.context(missing)?.load()?.into_iter();
        if self.login == LoginArg::Code {
            return Ok(serials.map(|one| Caller::with_code(&secret, one)).collect());
        }
        let product = self.product.context(missing)?;
        let now = now();
        let sign = |serial| match self.login {
            LoginArg::Hs256 => Caller::with_device_key(&secret, &product, serial, now),
            _ => Caller::with_key_pair(&secret, &product, serial, now),
        };
        Ok(serials.map(sign).collect())
    }
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let millis = since.map_or(0, |since| since.as_millis());
    Timestamp::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
}
