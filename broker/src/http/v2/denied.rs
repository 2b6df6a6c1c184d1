//! What is answered when something went wrong: always the same two fields.
//!
//! The one place where `/v2` turns a refusal into a status. A stranger learns
//! nothing but "no"; who proved a secret is told why. No sentence repeats a
//! credential.

use std::borrow::Cow;

use axum::response::{IntoResponse, Response};
use firstwake::feed::NotRead;
use firstwake::{DeviceError, NotAdmitted, NotKept, ProductError, Proof, Refusal, RegistryError};
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde::Serialize;

use super::path::{Absent, Resource};
use super::verb::Verb;
use crate::control::{Because, Declined};

/// A request that was not carried out, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Denied {
    status: StatusCode,
    errors: Cow<'static, str>,
    allow: &'static [Verb],
}

#[derive(Serialize)]
struct Fields<'a> {
    title: &'a str,
    errors: &'a str,
}

impl Denied {
    pub(super) fn new(status: StatusCode, errors: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status,
            errors: errors.into(),
            allow: &[],
        }
    }

    pub(super) fn invalid(errors: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, errors)
    }

    pub(super) fn forbidden(errors: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::FORBIDDEN, errors)
    }

    pub(super) fn not_found(errors: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::NOT_FOUND, errors)
    }

    /// No path leads there.
    pub(super) fn nothing_here() -> Self {
        Self::not_found("there is nothing at this path: compare it letter by letter")
    }

    /// No key was shown, or none that holds.
    pub(super) fn unauthorized(errors: &'static str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, errors)
    }

    pub(super) fn method(allow: &'static [Verb]) -> Self {
        let errors = "this cannot be asked here: the header Allow lists what can";
        Self {
            allow,
            ..Self::new(StatusCode::METHOD_NOT_ALLOWED, errors)
        }
    }

    pub(super) fn not_acceptable() -> Self {
        let errors = "answers come as JSON (.json) or, where there is one, as CSV (.csv)";
        Self::new(StatusCode::NOT_ACCEPTABLE, errors)
    }

    /// Xively had it, this server has not.
    pub(super) fn not_offered(resource: &Resource) -> Self {
        let errors = match resource {
            Resource::Absent(Absent::Feeds) => {
                "feeds are neither made nor listed by themselves: each comes with its device, under products/ID/devices"
            }
            Resource::Absent(Absent::History) => Self::NO_HISTORY,
            Resource::Absent(Absent::Keys) => {
                "keys are not made here: a device gets its own by activating, an operator's is made with `firstwake token create`"
            }
            Resource::Absent(Absent::Triggers) => {
                "there are no triggers: subscribe to feeds over MQTT"
            }
            Resource::Absent(Absent::Users) => "there are no users: see `firstwake operator`",
            _ => "this server does not have that",
        };
        Self::new(StatusCode::NOT_IMPLEMENTED, errors)
    }

    pub(super) const NO_HISTORY: &'static str =
        "no history is kept, only the current value of each datastream";

    /// Over the rate. A 403, as v2 had it.
    pub(super) fn too_many() -> Self {
        Self::forbidden("too many requests from this address: wait a minute")
    }

    /// The same for a device that writes too often.
    pub(super) fn too_fast() -> Self {
        Self::forbidden("too many requests of this device: send several values in one")
    }

    pub(super) fn unavailable() -> Self {
        let errors = "the registry does not answer: try again in a few seconds";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, errors)
    }

    /// Why there are no credentials.
    pub(super) fn activation(not: &NotAdmitted) -> Self {
        match not {
            NotAdmitted::Unavailable(_) => Self::unavailable(),
            NotAdmitted::Refused(Refusal::CodeSpent) => {
                Self::forbidden("This device has already been activated")
            }
            NotAdmitted::Refused(Refusal::Throttled) => Self::forbidden(
                "this device fetches its credentials too often: try again in a few seconds",
            ),
            NotAdmitted::Refused(refusal) => match refusal.proof() {
                Proof::Unproved => Self::stranger(*refusal).unwrap_or_else(Self::no_such_device),
                Proof::Proved => Self::forbidden(refusal.meaning()),
            },
        }
    }

    /// Whatever was wrong with a code: nobody has it.
    pub(super) fn no_such_device() -> Self {
        Self::not_found("no device has this activation code")
    }

    /// Why a key does not hold.
    pub(super) fn key(not: &NotAdmitted) -> Self {
        match not {
            NotAdmitted::Unavailable(_) => Self::unavailable(),
            NotAdmitted::Refused(refusal) => match refusal.proof() {
                Proof::Unproved => Self::stranger(*refusal).unwrap_or_else(|| {
                    Self::unauthorized("the key is nobody's: send the newest that was received")
                }),
                // A fresh one is another matter.
                Proof::Proved
                    if matches!(refusal, Refusal::TokenExpired | Refusal::TokenReplayed) =>
                {
                    Self::unauthorized(refusal.meaning())
                }
                Proof::Proved => Self::forbidden(refusal.meaning()),
            },
        }
    }

    /// What is not about the credential at all.
    fn stranger(refusal: Refusal) -> Option<Self> {
        match refusal {
            Refusal::Banned => Some(Self::forbidden("an operator keeps this address out")),
            Refusal::Overloaded | Refusal::Throttled => Some(Self::too_many()),
            _ => None,
        }
    }

    fn title(&self) -> &'static str {
        match self.status {
            StatusCode::BAD_REQUEST => "Bad request",
            StatusCode::UNAUTHORIZED => "Unauthorized",
            StatusCode::FORBIDDEN => "Forbidden",
            StatusCode::NOT_FOUND => "Not found",
            StatusCode::METHOD_NOT_ALLOWED => "Method not allowed",
            StatusCode::NOT_ACCEPTABLE => "Not acceptable",
            StatusCode::REQUEST_TIMEOUT => "Request timeout",
            StatusCode::PAYLOAD_TOO_LARGE => "Payload too large",
            StatusCode::UNPROCESSABLE_ENTITY => "Unprocessable entity",
            StatusCode::NOT_IMPLEMENTED => "Not implemented",
            StatusCode::SERVICE_UNAVAILABLE => "Service unavailable",
            _ => "Error",
        }
    }
}

impl IntoResponse for Denied {
    fn into_response(self) -> Response {
        let fields = Fields {
            title: self.title(),
            errors: &self.errors,
        };
        let body = serde_json::to_string(&fields).unwrap_or_default();
        let mut response = (self.status, body).into_response();
        let headers = response.headers_mut();
        let put = HeaderValue::from_static;
        headers.insert(CONTENT_TYPE, put("application/json; charset=utf-8"));
        headers.insert(CACHE_CONTROL, put("no-store"));
        for verb in self.allow {
            headers.append(ALLOW, put(verb.allowed()));
        }
        match self.status {
            StatusCode::UNAUTHORIZED => {
                headers.insert(WWW_AUTHENTICATE, put("ApiKey realm=\"firstwake\""));
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(RETRY_AFTER, put("5"));
            }
            _ => {}
        }
        response
    }
}

impl From<RegistryError> for Denied {
    fn from(error: RegistryError) -> Self {
        tracing::warn!(%error, "a request could not be answered");
        Self::unavailable()
    }
}

impl From<NotRead> for Denied {
    fn from(not: NotRead) -> Self {
        match not {
            NotRead::Malformed(errors) => Self::new(StatusCode::BAD_REQUEST, errors),
            NotRead::Invalid(errors) => Self::invalid(errors),
        }
    }
}

impl From<NotKept> for Denied {
    fn from(not: NotKept) -> Self {
        match not {
            NotKept::Unknown(_) => Self::not_found("no device has this feed"),
            NotKept::QuotaExceeded => Self::forbidden(
                "the device has as many datastreams as its product allows: send to those it has",
            ),
            NotKept::Unavailable(error) => error.into(),
        }
    }
}

impl From<Declined> for Denied {
    fn from(declined: Declined) -> Self {
        match declined.because {
            Because::Invalid | Because::Conflict => Self::invalid(declined.sentence),
            Because::NotFound => Self::not_found(declined.sentence),
            Because::TooFast => Self::too_many(),
            Because::Forbidden => Self::forbidden(declined.sentence),
            Because::Busy => Self::unavailable(),
        }
    }
}

impl From<ProductError> for Denied {
    fn from(error: ProductError) -> Self {
        match error {
            ProductError::Unknown(_) => Self::not_found("no product has this id"),
            ProductError::Registry(error) => error.into(),
            other => Self::invalid(other.to_string()),
        }
    }
}

impl From<DeviceError> for Denied {
    fn from(error: DeviceError) -> Self {
        match error {
            // It says so, too, if only the case of the letters is wrong.
            DeviceError::Unknown { .. } | DeviceError::Tried { .. } => {
                Self::not_found(error.to_string())
            }
            DeviceError::Registry(error) => error.into(),
            other => Self::invalid(other.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_are_told_the_same() {
        let told = |refusal| Denied::activation(&NotAdmitted::Refused(refusal));
        for refusal in Refusal::ALL {
            let denied = told(*refusal);
            match (refusal, refusal.proof()) {
                (Refusal::Banned | Refusal::Overloaded | Refusal::Throttled, _) => {
                    assert_eq!(denied.status, StatusCode::FORBIDDEN);
                }
                (_, Proof::Unproved) => assert_eq!(denied, Denied::no_such_device(), "{refusal}"),
                (_, Proof::Proved) => assert_eq!(denied.status, StatusCode::FORBIDDEN),
            }
        }
        let key = |refusal| Denied::key(&NotAdmitted::Refused(refusal));
        assert_eq!(key(Refusal::WrongKey), key(Refusal::KeyEnded));
        assert_eq!(key(Refusal::WrongKey), key(Refusal::Malformed));
    }
}
