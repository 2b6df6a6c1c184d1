//! A server's certificate and key: read from two files, shown to peers, and
//! read again when the files change.
//!
//! Handshakes ask for the certificate of the moment, so a new one is in use at
//! once and no session notices. Files that do not make a certificate are told
//! of and change nothing. A key is never logged and leaves memory with its
//! certificate.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::time::{MissedTickBehavior, interval};
use zeroize::Zeroizing;

use crate::signals::Hangups;
use crate::systemd;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(2);

/// Where a certificate with its chain, and its key, lie: both PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Files {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

/// The certificate that is shown now.
pub(crate) struct Certificate {
    files: Files,
    provider: Arc<CryptoProvider>,
    shown: RwLock<Arc<CertifiedKey>>,
    seen: Mutex<Seen>,
}

/// What the files held when they were last looked at.
struct Seen {
    text: Text,
    /// Whether it was tried: a change is tried once it holds still, as two
    /// files are not replaced in one moment.
    tried: bool,
}

/// The bytes of both files.
#[derive(PartialEq, Eq)]
struct Text {
    certificate: Vec<u8>,
    key: Zeroizing<Vec<u8>>,
}

impl Files {
    fn read(&self) -> Result<Text> {
        let read = |path: &Path| {
            // Reading anything else might never end.
            if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
                bail!("{} is not a file", path.display());
            }
            fs::read(path).with_context(|| format!("{} cannot be read", path.display()))
        };
        Ok(Text {
            certificate: read(&self.certificate)?,
            key: read(&self.key)?.into(),
        })
    }

    fn parse(&self, text: &Text, provider: &CryptoProvider) -> Result<CertifiedKey> {
        let certificate = self.certificate.display();
        let key_file = self.key.display();
        let chain: Vec<_> = CertificateDer::pem_slice_iter(&text.certificate)
            .collect::<Result<_, _>>()
            .with_context(|| format!("{certificate} is not a PEM file of certificates"))?;
        if chain.is_empty() {
            bail!("{certificate} holds no certificate (-----BEGIN CERTIFICATE-----)");
        }
        // What is wrong with a key is not repeated: it might be part of it.
        let Ok(key) = PrivateKeyDer::from_pem_slice(&text.key) else {
            bail!("{key_file} holds no private key (-----BEGIN PRIVATE KEY-----)");
        };
        CertifiedKey::from_der(chain, key, provider)
            .with_context(|| format!("{certificate} and {key_file} do not go together"))
    }
}

impl Certificate {
    /// Reads the files; they have to be right to begin with.
    pub(crate) fn load(files: Files, provider: Arc<CryptoProvider>) -> Result<Self> {
        let text = files.read()?;
        let shown = RwLock::new(Arc::new(files.parse(&text, &provider)?));
        let seen = Mutex::new(Seen { text, tried: true });
        Ok(Self {
            files,
            provider,
            shown,
            seen,
        })
    }

    pub(crate) fn files(&self) -> &Files {
        &self.files
    }

    /// Reads the files now, whether they changed or not.
    fn reload(&self) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match self.files.read() {
            Ok(text) => {
                self.try_out(&text);
                *seen = Seen { text, tried: true };
            }
            Err(error) => keep(&error),
        }
    }

    /// Looks whether the files changed.
    fn look(&self) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        // One that is not there for the moment is about to be put there.
        let Ok(text) = self.files.read() else { return };
        if text != seen.text {
            *seen = Seen { text, tried: false };
        } else if !seen.tried {
            self.try_out(&seen.text);
            seen.tried = true;
        }
    }

    fn try_out(&self, text: &Text) {
        match self.files.parse(text, &self.provider) {
            Ok(new) => {
                *self.shown.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
                let certificate = self.files.certificate.display();
                tracing::info!(%certificate, "the certificate was read again");
            }
            Err(error) => keep(&error),
        }
    }
}

fn keep(error: &anyhow::Error) {
    tracing::error!("the certificate before stays in use: {error:#}");
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let shown = self.shown.read().unwrap_or_else(PoisonError::into_inner);
        Some(Arc::clone(&shown))
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Certificate").field(&self.files).finish()
    }
}

/// Reads certificates again on SIGHUP, and when their files change.
pub(crate) async fn watch(certificates: Vec<Arc<Certificate>>, mut hangups: Hangups) {
    let mut look = interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = look.tick(), if !certificates.is_empty() => each(&certificates, Certificate::look).await,
            () = hangups.next() => {
                systemd::reloading();
                each(&certificates, Certificate::reload).await;
                systemd::ready();
            }
        }
    }
}

/// Files are read where a slow disk holds up no session.
async fn each(certificates: &[Arc<Certificate>], act: fn(&Certificate)) {
    let certificates = certificates.to_vec();
    let acted = tokio::task::spawn_blocking(move || certificates.iter().for_each(|it| act(it)));
    if let Err(error) = acted.await {
        tracing::error!(%error, "the certificates could not be looked at");
    }
}
