//! NumericDate (RFC 7519): seconds since 1970, a fraction allowed. Kept to the
//! millisecond, so that two logins within a second have an order.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::clock::Timestamp;

/// The end of the year 9999.
const MOST: f64 = 253_402_300_799.0;

pub(crate) fn serialize<S: Serializer>(date: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
    let millis = date.as_millis();
    match millis % 1000 {
        0 => (millis / 1000).serialize(to),
        #[expect(
            clippy::cast_precision_loss,
            reason = "milliseconds up to the year 9999 fit into 53 bits"
        )]
        _ => (millis as f64 / 1000.0).serialize(to),
    }
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Timestamp, D::Error> {
    let seconds = f64::deserialize(from)?;
    if !(0.0..=MOST).contains(&seconds) {
        return Err(D::Error::custom("a date is seconds since 1970"));
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked to be within 0 and the year 9999"
    )]
    Ok(Timestamp::from_millis((seconds * 1000.0).round() as u64))
}

/// A date that may be left away, but is a date where it is there.
pub(crate) mod optional {
    use serde::{Deserializer, Serializer};

    use crate::clock::Timestamp;

    pub(crate) fn serialize<S: Serializer>(
        date: &Option<Timestamp>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        match date {
            Some(date) => super::serialize(date, to),
            None => to.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Timestamp>, D::Error> {
        super::deserialize(from).map(Some)
    }
}
