//! What a product demands of its devices, and what it allows them, as options.

use std::fmt::Display;
use std::str::FromStr;
use std::time::{Duration, UNIX_EPOCH};

use firstwake::hardware::{FactSet, HardwareMode};
use firstwake::{OnClone, ProofPolicy, Timestamp};

use crate::cli::form::or_dash;
use crate::control::{ProductPatch, ProductView, ProductWish};

/// The options. What is not named is left as it is, or as it is by default.
#[derive(clap::Args)]
pub(in crate::cli) struct Policies {
    /// What its devices may prove themselves with: code, signed, either
    #[arg(long, value_name = "PROOF")]
    proof: Option<ProofPolicy>,
    /// Accept no activation code from then on, such as 2027-01-31; or none
    #[arg(long, value_name = "TIME")]
    codes_until: Option<OrNone<Moment>>,
    /// What follows when a device shows other hardware: off, record, warn,
    /// enforce
    #[arg(long, value_name = "MODE")]
    hardware: Option<HardwareMode>,
    /// Facts that may change without anything following, such as
    /// sd_card,machine_id; or none
    #[arg(long, value_name = "FACTS")]
    may_change: Option<FactSet>,
    /// What follows a sign that a device was cloned: alert, quarantine
    #[arg(long, value_name = "ACT")]
    on_clone: Option<OnClone>,
    /// How many of its devices may be activated; or none for any number
    #[arg(long, value_name = "N")]
    seats: Option<OrNone<u64>>,
    /// How long a device may stay away, such as 30d; or none for ever
    #[arg(long, value_name = "TIME")]
    lease: Option<OrNone<humantime::Duration>>,
}

/// A value, or `none` in place of one.
#[derive(Clone, Debug)]
struct OrNone<T>(Option<T>);

impl<T: FromStr> FromStr for OrNone<T>
where
    T::Err: Display,
{
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Self(None)),
            text => match text.parse() {
                Ok(value) => Ok(Self(Some(value))),
                Err(error) => Err(format!("{error} (or write none)")),
            },
        }
    }
}

/// A day, or a time of a day (RFC 3339), UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Moment(Timestamp);

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let midnight = format!("{text}T00:00:00Z");
        let since = [text, &midnight].into_iter().find_map(|text| {
            let time = humantime::parse_rfc3339_weak(text).ok()?;
            time.duration_since(UNIX_EPOCH).ok()
        });
        let wrong = "write a day, such as 2027-01-31, or a time, such as 2027-01-31T12:00:00Z";
        let millis = since.and_then(|since| u64::try_from(since.as_millis()).ok());
        let moment = millis.map(|millis| Self(Timestamp::from_millis(millis)));
        moment.ok_or_else(|| wrong.to_owned())
    }
}

impl Policies {
    /// Of a product that is to be made.
    pub(super) fn add_to(self, wish: ProductWish) -> ProductWish {
        let patch = self.patch();
        ProductWish {
            proof: patch.proof.unwrap_or(wish.proof),
            codes_until: patch.codes_until.unwrap_or(wish.codes_until),
            hardware: patch.hardware.unwrap_or(wish.hardware),
            may_change: patch.may_change.unwrap_or(wish.may_change),
            on_clone: patch.on_clone.unwrap_or(wish.on_clone),
            seats: patch.seats.unwrap_or(wish.seats),
            lease_seconds: patch.lease_seconds.unwrap_or(wish.lease_seconds),
            ..wish
        }
    }

    /// Of one that is there.
    pub(super) fn patch(self) -> ProductPatch {
        let Self {
            proof,
            codes_until,
            hardware,
            may_change,
            on_clone,
            seats,
            lease,
        } = self;
        ProductPatch {
            proof,
            codes_until: codes_until.map(|OrNone(until)| until.map(|Moment(time)| time)),
            hardware,
            may_change,
            on_clone,
            seats: seats.map(|OrNone(seats)| seats),
            lease_seconds: lease.map(|OrNone(lease)| lease.map(|lease| lease.as_secs())),
            ..ProductPatch::default()
        }
    }
}

/// What is shown of them.
pub(super) fn told(product: &ProductView) -> [(&'static str, String); 7] {
    let taken = product.seats_taken;
    let seats = match product.seats {
        Some(seats) => format!("{taken} of {seats} taken"),
        None => format!("{taken} taken, any number"),
    };
    let lease = product.lease_seconds.map(Duration::from_secs);
    [
        ("proof", product.proof.to_string()),
        ("codes_until", or_dash(product.codes_until)),
        ("hardware", product.hardware.to_string()),
        ("may_change", product.may_change.to_string()),
        ("on_clone", product.on_clone.to_string()),
        ("seats", seats),
        ("lease", or_dash(lease.map(humantime::format_duration))),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_a_time_too() {
        let check = |text: &str, expected: Option<&str>| {
            let moment = text.parse::<Moment>().ok();
            let told = moment.map(|Moment(time)| time.to_string());
            assert_eq!(told.as_deref(), expected, "{text}");
        };
        check("2027-01-31", Some("2027-01-31T00:00:00.000Z"));
        check("2027-01-31T12:30:00Z", Some("2027-01-31T12:30:00.000Z"));
        check("2027-01-31 12:30:00", Some("2027-01-31T12:30:00.000Z"));
        check("tomorrow", None);
        check("", None);
        check("1969-12-31", None);
    }

    #[test]
    fn none_takes_away() {
        let seats = |text: &str| text.parse::<OrNone<u64>>().map(|OrNone(seats)| seats);
        assert_eq!(seats("none"), Ok(None));
        assert_eq!(seats("0"), Ok(Some(0)));
        assert!(seats("many").is_err_and(|told| told.contains("none")));
    }
}
