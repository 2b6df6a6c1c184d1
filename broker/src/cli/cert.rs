//! `firstwake cert dev`: a certificate to try TLS with.
//!
//! A certificate authority of its own and a server's certificate from it. Good
//! for a year, for a desk, and for nothing that has to be trusted.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};
use serde_json::json;
use time::OffsetDateTime;
use zeroize::Zeroizing;

use super::form::Form;
use crate::home;

/// For how long they are good.
const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// Clocks of boards run late.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Where a server to try is reached.
const HERE: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// Certificates
#[derive(Subcommand)]
pub(super) enum Command {
    /// Make a certificate authority and a server certificate to try TLS with
    Dev(Dev),
}

#[derive(clap::Args)]
pub(super) struct Dev {
    /// Where to put the files
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// A further host name or address of the server; may be repeated
    #[arg(long = "name", value_name = "HOST")]
    names: Vec<String>,
    /// Replace files that are there
    #[arg(long)]
    force: bool,
}

impl Command {
    pub(super) fn run(self, form: Form) -> Result<()> {
        match self {
            Self::Dev(dev) => dev.run(form),
        }
    }
}

impl Dev {
    fn run(self, form: Form) -> Result<()> {
        let dir = &self.dir;
        let files = ["ca.pem", "ca.key", "server.pem", "server.key"].map(|name| dir.join(name));
        if !self.force
            && let Some(there) = files.iter().find(|file| file.exists())
        {
            bail!(
                "{} is there already: name another --dir, or replace it with --force",
                there.display()
            );
        }
        fs::create_dir_all(dir).with_context(|| format!("{} cannot be made", dir.display()))?;
        let pems = self.make()?;
        for (file, pem) in files.iter().zip(&pems) {
            replace(file, pem)?;
        }
        let made = files.each_ref().map(|file| file.display().to_string());
        let [ca, _, server, key] = files.map(|file| quoted(&file));
        let words = format!(
            "made {ca}, {server} and their keys, good for a year. Try them:\n  \
             firstwake serve --mqtts 127.0.0.1:8883 --cert {server} --key {key}\n  \
             mosquitto_sub --cafile {ca} -p 8883 -i SERIAL -u SERIAL -P CODE \
             -t provision/SERIAL/response -q 1 -C 1"
        );
        form.tell(&json!({ "made": made }), &words)
    }

    /// Both certificates and both keys, in the order of the files.
    fn make(&self) -> Result<[Zeroizing<String>; 4]> {
        let mut params = params(Vec::new(), "Firstwake, to try out")?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;

        let mut names: Vec<String> = HERE.map(str::to_owned).to_vec();
        names.extend(self.names.iter().cloned());
        let mut params = self::params(names, "Firstwake server, to try out")
            .context("a --name is no host name")?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let server = params.signed_by(&key, &ca)?;
        Ok([
            ca.pem().into(),
            ca.key().serialize_pem().into(),
            server.pem().into(),
            key.serialize_pem().into(),
        ])
    }
}

fn params(names: Vec<String>, name: &str) -> Result<CertificateParams> {
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.remove(DnType::CommonName);
    params.distinguished_name.push(DnType::CommonName, name);
    let now = SystemTime::now();
    params.not_before = OffsetDateTime::from(now - DAY);
    params.not_after = OffsetDateTime::from(now + YEAR);
    Ok(params)
}

/// A running server reads the file when it changes: it never finds half of one.
fn replace(file: &Path, pem: &str) -> Result<()> {
    let mut new = file.to_owned().into_os_string();
    new.push(".new");
    let new = PathBuf::from(new);
    // Left by a run that was cut off.
    drop(fs::remove_file(&new));
    home::write_private(&new, pem)?;
    fs::rename(&new, file).with_context(|| format!("{} cannot be written", file.display()))
}

/// As a shell takes it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    match text.chars().all(plain) {
        true => text,
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}
