//! Looking into refused logins, for `device explain`.
//!
//! A refused peer must learn nothing from the time that its answer takes, so
//! nothing is looked into before it is answered: what it showed is put into a
//! bounded queue, in memory only, and looked into later, whoever asks for it.
//! What does not fit is counted as a refusal and not looked into.

mod code;
mod spelling;
mod token;

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use zeroize::Zeroizing;

use self::spelling::{Spelled, spellings};
use super::admit::Attempt;
use super::attempts::Finding;
use super::tally::NearMiss;
use crate::cause::{Cause, bounded};
use crate::clock::Timestamp;
use crate::credential::Shape;
use crate::device::Device;
use crate::identity::{DeviceName, Serial};
use crate::provision::{OpenProduct, Provisioner};
use crate::refusal::Refusal;
use crate::registry::RegistryError;
use crate::secret::ApiKey;
use crate::source::Source;

/// Refused logins that wait to be looked into.
const WAITING: usize = 512;
/// Those of one source: one that floods hides its own only.
const OF_A_SOURCE: usize = 32;
/// Bytes of a user name that are looked at.
const USERNAME: usize = 256;
/// Bytes of a password that are looked at: a token and what may be around it.
const PASSWORD: usize = 4200;
/// Unknown serials of one round that a registered one is looked for.
const SEARCHES: usize = 8;

/// One refused login.
struct Refused {
    username: Option<String>,
    password: Option<Zeroizing<Vec<u8>>>,
    /// Bytes of the whole password.
    length: usize,
    source: IpAddr,
    refusal: Refusal,
    at: Timestamp,
}

/// Refused logins that wait to be looked into.
#[derive(Default)]
pub(in crate::provision) struct Inquiries(Mutex<VecDeque<Refused>>);

impl Inquiries {
    /// Takes in a refused login, if there is room.
    fn put(&self, attempt: &Attempt<'_>, refusal: Refusal, at: Timestamp) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let source = Source::from(attempt.source);
        let of_source = |it: &&Refused| Source::from(it.source) == source;
        if waiting.len() >= WAITING || waiting.iter().filter(of_source).count() >= OF_A_SOURCE {
            return;
        }
        let password = attempt.password;
        waiting.push_back(Refused {
            username: attempt.username.map(|name| {
                let end = name.floor_char_boundary(USERNAME);
                name[..end].to_owned()
            }),
            password: password
                .map(|bytes| Zeroizing::new(bytes[..bytes.len().min(PASSWORD)].to_vec())),
            length: password.map_or(0, <[u8]>::len),
            source: attempt.source,
            refusal,
            at,
        });
    }

    fn take(&self) -> VecDeque<Refused> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A device that a user name means, as far as it was spelled rightly.
struct Meant {
    device: Device,
    product: std::sync::Arc<OpenProduct>,
    spelled: Spelled,
}

impl Provisioner {
    /// Puts a refused login aside to be looked into. Costs the same for every
    /// login, whoever it names.
    pub(in crate::provision) fn put_aside(
        &self,
        attempt: &Attempt<'_>,
        refusal: Refusal,
        at: Timestamp,
    ) {
        let unexplained = matches!(
            refusal,
            Refusal::UnknownDevice
                | Refusal::WrongCode
                | Refusal::WrongKey
                | Refusal::Malformed
                | Refusal::NoCredentials
                | Refusal::TokenInvalid
                | Refusal::TokenExpired
                | Refusal::WrongOperator
                | Refusal::Throttled
        );
        if unexplained {
            self.inquiries.put(attempt, refusal, at);
        }
    }

    /// Looks into the logins that were refused since the last call, and keeps
    /// what is found for [`explain`](Self::explain). To be called now and then.
    pub async fn look_into_refusals(&self) -> Result<(), RegistryError> {
        let mut searches = SEARCHES;
        for refused in self.inquiries.take() {
            self.look_into(&refused, &mut searches).await?;
        }
        Ok(())
    }

    async fn look_into(&self, it: &Refused, searches: &mut usize) -> Result<(), RegistryError> {
        let username = it.username.as_deref().unwrap_or_default();
        let meant = self.meant(username).await?;
        let mut found_any = false;
        for meant in &meant {
            found_any = true;
            if let Some(found) = self.cause(it, username, meant).await? {
                let feed = meant.device.feed;
                self.reasons.count(it.source, found.0.as_str());
                self.attempts
                    .explain(feed, it.source, it.refusal, found, it.at);
            }
        }
        if !found_any {
            found_any = self.look_without_name(it).await?;
        }
        if let (false, Some(name)) = (found_any, spelling::unknown(username)) {
            self.attempts
                .keep_stranger(&name, it.source, it.refusal, it.at);
            if *searches > 0 {
                *searches -= 1;
                if let Some(near) = self.near(&name.serial).await? {
                    self.refusals.count_near(NearMiss {
                        source: Source::from(it.source),
                        tried: name.serial,
                        registered: near.serial,
                        product_id: near.product,
                    });
                }
            }
        }
        Ok(())
    }

    /// The devices that a user name means: those it names exactly, or else
    /// those of the first other spelling that is registered.
    async fn meant(&self, username: &str) -> Result<Vec<Meant>, RegistryError> {
        for (name, spelled) in spellings(username) {
            let mut meant = Vec::new();
            for device in self.registry.by_serial(&name.serial).await? {
                let spelled = match name.fits(&device) {
                    true => spelled,
                    false => Spelled::OtherProduct,
                };
                let product = self
                    .catalogue
                    .find(&device.product, &*self.registry)
                    .await?;
                meant.push(Meant {
                    device,
                    product,
                    spelled,
                });
            }
            if meant.iter().any(|it| it.spelled != Spelled::OtherProduct) {
                meant.retain(|it| it.spelled != Spelled::OtherProduct);
            }
            if !meant.is_empty() {
                return Ok(meant);
            }
        }
        Ok(Vec::new())
    }

    /// The exact cause for which a device was refused; `None` if the refusal
    /// says it all.
    async fn cause(
        &self,
        it: &Refused,
        username: &str,
        meant: &Meant,
    ) -> Result<Option<Finding>, RegistryError> {
        let password = it.password.as_ref().map(|bytes| bytes.as_slice());
        let password = password.unwrap_or_default();
        let of_password = self
            .cause_in_password(it, username, password, meant)
            .await?;
        let (device, now) = (&meant.device, it.at);
        let name = match meant.spelled {
            Spelled::Exactly => return Ok(of_password),
            Spelled::WithExtras(extras) => (Cause::SerialWithExtras, Some(extras.into())),
            Spelled::InOtherCase => {
                let text = format!("it is registered as {}", device.serial);
                (Cause::SerialInOtherCase, Some(bounded(&text)))
            }
            Spelled::OtherProduct => {
                let text = format!("it is registered in {}", device.product);
                (Cause::SerialOfOtherProduct, Some(bounded(&text)))
            }
        };
        let (cause, detail) = name;
        let right = code::is_right(password, &meant.product, &device.serial, now);
        let more = match of_password {
            _ if right => Some("the code is right"),
            Some((more, _)) => Some(more.meaning()),
            None => None,
        };
        let detail = detail.unwrap_or_default();
        let detail = match more {
            Some(more) => bounded(&format!("{detail}; {more}")),
            None => detail,
        };
        Ok(Some((cause, Some(detail))))
    }

    async fn cause_in_password(
        &self,
        it: &Refused,
        username: &str,
        password: &[u8],
        meant: &Meant,
    ) -> Result<Option<Finding>, RegistryError> {
        let (device, product) = (&meant.device, &meant.product);
        if password.is_empty() {
            return Ok(Some((Cause::NoPassword, None)));
        }
        if let Some(found) = code::examine(password, username, product, &device.serial, it.at) {
            return Ok(Some(found));
        }
        if let Some(found) = token::examine(password, device, product, it.at) {
            return Ok(Some(found));
        }
        for part in code::key_like(password) {
            let Ok(key) = ApiKey::parse(part) else {
                continue;
            };
            let found = self.registry.by_key(&key.digest()).await?;
            let alone = part.len() == password.len();
            match found {
                Some(owner) if owner.feed != device.feed => {
                    let text = format!("it is the key of {}", owner.serial);
                    return Ok(Some((Cause::KeyOfOtherDevice, Some(bounded(&text)))));
                }
                Some(_) if !alone => {
                    let extras = code::around(password, part.as_bytes());
                    return Ok(Some((Cause::KeyWithExtras, Some(extras.into()))));
                }
                _ => {}
            }
        }
        Ok(match Shape::of(password) {
            Shape::Other => Some((
                Cause::PasswordWithoutShape,
                Some(bounded(&code::shape(password, it.length))),
            )),
            _ => None,
        })
    }

    /// What came without a name that means a device may hold one: a serial as
    /// password, the code of one device, its key, or the subject of a token.
    async fn look_without_name(&self, it: &Refused) -> Result<bool, RegistryError> {
        let Some(password) = it.password.as_ref() else {
            return Ok(false);
        };
        let text = std::str::from_utf8(password).unwrap_or_default();
        let username = it.username.as_deref().unwrap_or_default();
        if Shape::of(username.trim().as_bytes()) == Shape::ActivationCode {
            for meant in self.meant(text).await? {
                let code = username.trim().as_bytes();
                if code::is_right(code, &meant.product, &meant.device.serial, it.at) {
                    let found = (Cause::UsernameAndPasswordSwapped, None);
                    let feed = meant.device.feed;
                    self.attempts
                        .explain(feed, it.source, it.refusal, found, it.at);
                    return Ok(true);
                }
            }
        }
        let Some(subject) = token::subject(password) else {
            return Ok(false);
        };
        let mut found_any = false;
        for meant in self.meant(&subject).await? {
            let (device, product) = (&meant.device, &meant.product);
            if let Some(found) = token::examine(password, device, product, it.at) {
                found_any = true;
                self.attempts
                    .explain(device.feed, it.source, it.refusal, found, it.at);
            }
        }
        Ok(found_any)
    }

    /// A registered device whose serial is nearly this one, by a bounded number
    /// of look-ups.
    pub(in crate::provision) async fn near(
        &self,
        serial: &Serial,
    ) -> Result<Option<Device>, RegistryError> {
        for variant in spelling::near(serial) {
            if let Some(device) = self.registry.by_serial(&variant).await?.pop() {
                return Ok(Some(device));
            }
        }
        Ok(None)
    }

    /// What is remembered of a serial that no device has, and which registered
    /// one is near, as a clause; `None` if there is nothing to say.
    pub(in crate::provision) async fn tell_of_stranger(
        &self,
        name: &DeviceName,
    ) -> Result<Option<String>, RegistryError> {
        let tried = self.attempts.of_stranger(name);
        let mut clauses = Vec::new();
        if let (Some(first), Some(last)) = (tried.first(), tried.last()) {
            let count: u64 = tried.iter().map(|it| it.count).sum();
            let times = match count {
                1 => "once".to_owned(),
                _ => format!("{count} times since {}", self.since.unwrap_or(first.at)),
            };
            clauses.push(format!(
                "it was tried {times}, last at {} from {} ({})",
                last.at,
                last.source,
                last.refusal.meaning()
            ));
        } else if let Some(since) = self.since {
            clauses.push(format!(
                "nothing has tried it since {since}, when the server started"
            ));
        }
        if let Some(near) = self.near(&name.serial).await? {
            clauses.push(format!("near: {} is registered", near.serial));
        }
        Ok((!clauses.is_empty()).then(|| clauses.join("; ")))
    }
}
