//! Who asks, by the key that came along.
//!
//! A device's key, which this confirms, or an operator's token, which is what
//! Xively's users called a master key: one header for both. The core admits;
//! each request is admitted anew.

use axum_extra::headers::HeaderMapExt;
use axum_extra::headers::authorization::{Authorization, Basic, Bearer};
use firstwake::{
    Admission, Attempt, DeviceLogin, FeedId, NotAdmitted, OperatorLogin, Refusal, Role,
};
use zeroize::Zeroizing;

use super::denied::Denied;
use super::request::Asked;
use crate::broker::Broker;

/// Whoever was admitted.
#[derive(Debug)]
pub(super) enum Caller {
    Device(DeviceLogin),
    Operator(OperatorLogin),
}

/// A feed that may be read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Readable(pub(super) FeedId);

/// A feed that may be written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Writable(pub(super) FeedId);

impl Asked<'_> {
    /// The key that came along, if any.
    pub(super) fn key(&self) -> Option<Zeroizing<String>> {
        let header = |name| self.headers.get(name).and_then(|it| it.to_str().ok());
        let key = header("x-apikey")
            .or_else(|| header("x-pachubeapikey"))
            .or_else(|| self.parameter("key"));
        let key = key.map(str::trim).filter(|key| !key.is_empty());
        key.map(|key| Zeroizing::new(key.to_owned()))
    }

    /// Admits whoever asks. The headers of the operators' API will do as well.
    pub(super) async fn caller(&self) -> Result<Caller, Denied> {
        let provisioner = &self.broker.provisioner;
        let key = self.key();
        let basic = self.headers.typed_get::<Authorization<Basic>>();
        let bearer = self.headers.typed_get::<Authorization<Bearer>>();
        let (username, password) = match (&key, &basic, &bearer) {
            (Some(key), ..) => (None, key.as_str()),
            (None, Some(basic), _) => (Some(basic.username()), basic.password()),
            (None, None, Some(bearer)) => (None, bearer.token()),
            (None, None, None) => {
                provisioner.count_turned_away(self.source, Refusal::NoCredentials);
                return Err(Denied::unauthorized("send a key in the header X-ApiKey"));
            }
        };
        let attempt = Attempt {
            username,
            password: Some(password.as_bytes()),
            source: self.source,
            hardware: None,
        };
        let not = match provisioner.admit(attempt, self.now).await {
            Ok(Admission::Device(login)) => {
                self.is_admitted(Admission::Device(login.clone()));
                return Ok(Caller::Device(login));
            }
            Ok(Admission::Operator(login)) => {
                self.is_admitted(Admission::Operator(login.clone()));
                return Ok(Caller::Operator(login));
            }
            // A code is no key.
            Ok(Admission::Activation(_)) => Refusal::Malformed.into(),
            Err(not) => not,
        };
        self.take_time(&not).await?;
        Err(Denied::key(&not))
    }

    /// Who fails too often waits for the answer, and is told so where there is
    /// no room to wait.
    pub(super) async fn take_time(&self, not: &NotAdmitted) -> Result<(), Denied> {
        let NotAdmitted::Refused(refusal) = not else {
            return Ok(());
        };
        let waited = self.broker.take_time(*refusal, self.source).await;
        waited.ok_or_else(Denied::too_many)
    }

    /// An operator of at least this role.
    pub(super) async fn operator(&self, role: Role) -> Result<OperatorLogin, Denied> {
        match self.caller().await? {
            Caller::Operator(login) if login.role() >= role => Ok(login),
            Caller::Operator(_) => Err(lacks(role)),
            Caller::Device(_) => Err(Denied::forbidden(
                "this takes a master key, an operator's token: a device's key is for its own feed",
            )),
        }
    }

    /// A feed that whoever asks may read: a device its own.
    pub(super) async fn readable(&self, feed: FeedId) -> Result<Readable, Denied> {
        reach(&self.caller().await?, feed, Role::Viewer).map(Readable)
    }

    /// A feed that whoever asks may write to: a device its own, as often as
    /// over MQTT.
    pub(super) async fn writable(&self, feed: FeedId) -> Result<Writable, Denied> {
        let caller = self.caller().await?;
        let Broker { paces, limits, .. } = self.broker;
        if let Caller::Device(login) = &caller
            && paces
                .publish(login.feed(), limits, self.broker.clock)
                .is_err()
        {
            return Err(Denied::too_fast());
        }
        reach(&caller, feed, Role::Operator).map(Writable)
    }
}

fn reach(caller: &Caller, feed: FeedId, role: Role) -> Result<FeedId, Denied> {
    match caller {
        Caller::Device(login) if login.feed() == feed => Ok(feed),
        Caller::Device(login) => Err(Denied::forbidden(format!(
            "this key is for the feed {}, and no other",
            login.feed()
        ))),
        Caller::Operator(login) if login.role() >= role => Ok(feed),
        Caller::Operator(_) => Err(lacks(role)),
    }
}

fn lacks(role: Role) -> Denied {
    Denied::forbidden(format!("this takes a key of the role {}", role.as_str()))
}
