//! Who asks.
//!
//! A handler that needs somebody takes one of these as an argument, and so
//! cannot forget to ask. The core admits; each request is admitted anew, so an
//! operator's act bites at once.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum_extra::headers::HeaderMapExt;
use axum_extra::headers::authorization::{Authorization, Basic, Bearer};
use firstwake::{Admission, Attempt, NotAdmitted, OperatorLogin, Refusal, Role};
use http::request::Parts;

use super::problem::{Kind, Problem};
use super::{Admitted, Source};
use crate::broker::Broker;

/// Whoever was admitted.
#[derive(Clone, Debug)]
pub(crate) enum Caller {
    /// An operator or a service.
    Operator(OperatorLogin),
    /// A device with its key or a signed login, which this confirmed.
    Device,
}

/// Any operator: it may have requests verified.
pub(crate) struct Verifier;

/// An operator that may read what is no secret.
pub(crate) struct Viewer(pub(crate) OperatorLogin);

/// An operator that may act on devices.
pub(crate) struct AsOperator(pub(crate) OperatorLogin);

/// An operator that may do everything.
pub(crate) struct Admin(pub(crate) OperatorLogin);

impl FromRequestParts<Arc<Broker>> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, broker: &Arc<Broker>) -> Result<Self, Problem> {
        // Whoever was asked before on the way of this request.
        if let Some(caller) = parts.extensions.get::<Self>() {
            return Ok(caller.clone());
        }
        let source = source(parts);
        let basic = parts.headers.typed_get::<Authorization<Basic>>();
        let bearer = parts.headers.typed_get::<Authorization<Bearer>>();
        let (username, password) = match (&basic, &bearer) {
            (Some(basic), _) => (Some(basic.username()), basic.password()),
            (None, Some(bearer)) => (None, bearer.token()),
            (None, None) => {
                let refusal = Refusal::NoCredentials;
                broker.provisioner.count_turned_away(source, refusal);
                return Err(Problem::unauthenticated());
            }
        };
        let attempt = Attempt {
            username,
            password: Some(password.as_bytes()),
            source,
            hardware: None,
        };
        let admission = admit(attempt, broker).await?;
        let caller = match &admission {
            Admission::Operator(login) => Self::Operator(login.clone()),
            Admission::Device(_) => Self::Device,
            // A code gets a device its key, and nothing here.
            Admission::Activation(_) => {
                let refusal = NotAdmitted::Refused(Refusal::Malformed);
                return Err(Problem::refused(&refusal, broker.clock.now()));
            }
        };
        Admitted::tell(&parts.extensions, admission);
        parts.extensions.insert(caller.clone());
        Ok(caller)
    }
}

/// Asks the core. Who fails too often waits for the answer.
pub(crate) async fn admit(
    attempt: Attempt<'_>,
    broker: &Arc<Broker>,
) -> Result<Admission, Problem> {
    let now = broker.clock.now();
    match broker.provisioner.admit(attempt, now).await {
        Ok(admission) => Ok(admission),
        Err(not) => {
            if let NotAdmitted::Refused(refusal) = not {
                wait(refusal, attempt.source, broker).await?;
            }
            Err(Problem::refused(&not, now))
        }
    }
}

/// Has a source that fails too often wait; a problem if there is no room to.
pub(crate) async fn wait(refusal: Refusal, source: IpAddr, broker: &Broker) -> Result<(), Problem> {
    let waited = broker.take_time(refusal, source).await;
    let throttled = NotAdmitted::Refused(Refusal::Throttled);
    waited.ok_or_else(|| Problem::refused(&throttled, broker.clock.now()))
}

/// Where a request comes from. Each connection says so.
pub(crate) fn source(parts: &Parts) -> IpAddr {
    let source = parts.extensions.get::<Source>();
    source.map_or(Ipv4Addr::UNSPECIFIED.into(), |source| source.0)
}

impl FromRequestParts<Arc<Broker>> for Verifier {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, broker: &Arc<Broker>) -> Result<Self, Problem> {
        at_least(Role::Verifier, parts, broker).await.map(|_| Self)
    }
}

impl FromRequestParts<Arc<Broker>> for Viewer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, broker: &Arc<Broker>) -> Result<Self, Problem> {
        at_least(Role::Viewer, parts, broker).await.map(Self)
    }
}

impl FromRequestParts<Arc<Broker>> for AsOperator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, broker: &Arc<Broker>) -> Result<Self, Problem> {
        at_least(Role::Operator, parts, broker).await.map(Self)
    }
}

impl FromRequestParts<Arc<Broker>> for Admin {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, broker: &Arc<Broker>) -> Result<Self, Problem> {
        at_least(Role::Admin, parts, broker).await.map(Self)
    }
}

async fn at_least(
    role: Role,
    parts: &mut Parts,
    broker: &Arc<Broker>,
) -> Result<OperatorLogin, Problem> {
    match Caller::from_request_parts(parts, broker).await? {
        Caller::Operator(login) if login.role() >= role => Ok(login),
        Caller::Operator(_) => Err(Problem::new(
            Kind::Forbidden,
            format!("this takes the role {}", role.as_str()),
        )),
        Caller::Device => Err(Problem::new(
            Kind::Forbidden,
            "this is for operators, not for devices",
        )),
    }
}
