//! Why a request was not carried out: a cause that programs tell apart, and a
//! sentence for people.

use firstwake::registry::backup::NotBackedUp;
use firstwake::{
    BanError, DeviceError, InvalidSecret, NotKept, NotPosted, OperatorError, ProductError,
    RegistryError, SecretError,
};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A request that was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
#[error("{sentence}")]
pub(crate) struct Declined {
    pub(crate) because: Because,
    pub(crate) sentence: String,
}

/// The causes there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Because {
    /// It cannot be asked like that.
    Invalid,
    /// What it is about is not there.
    NotFound,
    /// It does not go with what is there.
    Conflict,
    /// Whoever asks may not.
    Forbidden,
    /// It is asked too often.
    TooFast,
    /// It could not be decided or written down; it may have been done.
    Busy,
}

impl Because {
    /// With what is to be told.
    pub(crate) fn told(self, sentence: impl ToString) -> Declined {
        Declined {
            because: self,
            sentence: sentence.to_string(),
        }
    }
}

impl From<RegistryError> for Declined {
    fn from(error: RegistryError) -> Self {
        Because::Busy.told(error)
    }
}

impl From<NotBackedUp> for Declined {
    fn from(error: NotBackedUp) -> Self {
        let because = match error {
            NotBackedUp::OwnTools | NotBackedUp::NotEmpty(_) | NotBackedUp::UnderWay(_) => {
                Because::Conflict
            }
            NotBackedUp::File { .. } => Because::Invalid,
            NotBackedUp::GivenUp | NotBackedUp::Open(_) | NotBackedUp::Registry(_) => Because::Busy,
        };
        because.told(error)
    }
}

impl From<InvalidSecret> for Declined {
    fn from(error: InvalidSecret) -> Self {
        Because::Invalid.told(error)
    }
}

impl From<ProductError> for Declined {
    fn from(error: ProductError) -> Self {
        let because = match error {
            ProductError::Unknown(_) => Because::NotFound,
            ProductError::Name | ProductError::TooLong => Because::Invalid,
            ProductError::SecretTaken(_) => Because::Conflict,
            ProductError::Registry(_) => Because::Busy,
        };
        because.told(error)
    }
}

impl From<SecretError> for Declined {
    fn from(error: SecretError) -> Self {
        let because = match error {
            SecretError::Unknown(_) | SecretError::Absent(_) => Because::NotFound,
            SecretError::TwoLive { .. }
            | SecretError::Known(_)
            | SecretError::TooMany
            | SecretError::Newest(_)
            | SecretError::Taken(_) => Because::Conflict,
            SecretError::Registry(_) => Because::Busy,
        };
        because.told(error)
    }
}

impl From<DeviceError> for Declined {
    fn from(error: DeviceError) -> Self {
        let because = match error {
            DeviceError::Unknown { .. } | DeviceError::Tried { .. } => Because::NotFound,
            DeviceError::Ambiguous { .. }
            | DeviceError::Taken(_)
            | DeviceError::OtherProduct(_)
            | DeviceError::Transition(_) => Because::Conflict,
            DeviceError::Registry(_) => Because::Busy,
        };
        because.told(error)
    }
}

impl From<OperatorError> for Declined {
    fn from(error: OperatorError) -> Self {
        let because = match error {
            OperatorError::Invalid(_) | OperatorError::Label => Because::Invalid,
            OperatorError::Unknown(_) | OperatorError::UnknownToken(_) => Because::NotFound,
            OperatorError::TooManyTokens(_) | OperatorError::LastAdmin(_) => Because::Conflict,
            OperatorError::TooFast(_) => Because::TooFast,
            OperatorError::Registry(_) => Because::Busy,
        };
        because.told(error)
    }
}

impl From<BanError> for Declined {
    fn from(error: BanError) -> Self {
        let because = match error {
            BanError::Reason => Because::Invalid,
            BanError::Unknown(_) => Because::NotFound,
            BanError::Registry(_) => Because::Busy,
        };
        because.told(error)
    }
}

impl From<NotPosted> for Declined {
    fn from(error: NotPosted) -> Self {
        let because = match error {
            NotPosted::Unknown(_) => Because::NotFound,
            NotPosted::Revoked(_) => Because::Conflict,
            NotPosted::Registry(_) => Because::Busy,
        };
        because.told(error)
    }
}

impl From<NotKept> for Declined {
    fn from(error: NotKept) -> Self {
        let because = match error {
            NotKept::Unknown(_) => Because::NotFound,
            NotKept::QuotaExceeded => Because::Conflict,
            NotKept::Unavailable(_) => Because::Busy,
        };
        because.told(error)
    }
}
