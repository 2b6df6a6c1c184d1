//! The time that this device signs with.
//!
//! A board without a battery may wake years ago, and a signature with a wrong
//! time is refused. So the server's time, where it is told, counts on in
//! memory, and nothing of the machine is set. No two
//! signatures have the same time, and none an earlier one than the last.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use firstwake::Timestamp;

/// A clock that is off by less is right enough: a server takes twice as much.
const CLOSE: Duration = Duration::from_secs(30);

/// The machine's clock, or the server's where that is another.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Clock {
    /// The time that a server told, and when. Nobody sets what counts on from
    /// there, as somebody may set the machine's clock right meanwhile.
    told: Option<(Timestamp, Instant)>,
    /// When was signed last.
    last: u64,
}

/// How far off the machine's clock is, and which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Off {
    Slow(Duration),
    Fast(Duration),
}

impl Clock {
    /// The time now, as far as the device knows.
    pub(crate) fn now(&self) -> Timestamp {
        match self.told {
            Some((time, at)) => time.plus(at.elapsed()),
            None => machine(),
        }
    }

    /// A time to sign with.
    pub(crate) fn sign(&mut self) -> Timestamp {
        self.last = self.now().as_millis().max(self.last.saturating_add(1));
        Timestamp::from_millis(self.last)
    }

    /// From now on this clock goes with the server's; by how much the
    /// machine's own is off.
    pub(crate) fn set(&mut self, server: Timestamp) -> Off {
        let machine = machine();
        let span = machine.since(server).max(server.since(machine));
        self.told = (span >= CLOSE).then(|| (server, Instant::now()));
        // A time that was ahead of the server's is no measure any more.
        self.last = self.last.min(server.as_millis());
        if server < machine {
            Off::Fast(span)
        } else {
            Off::Slow(span)
        }
    }
}

fn machine() -> Timestamp {
    // Before 1970 is as wrong as 1970.
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    Timestamp::from_millis(0).plus(since.unwrap_or_default())
}

impl std::fmt::Display for Off {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (span, way) = match self {
            Self::Slow(span) => (span, "slow"),
            Self::Fast(span) => (span, "fast"),
        };
        let seconds = span.as_secs();
        match seconds {
            0..120 => write!(f, "{seconds} s {way}"),
            120..7_200 => write!(f, "{} min {way}", seconds / 60),
            7_200..172_800 => write!(f, "{} h {way}", seconds / 3_600),
            _ => write!(f, "{} days {way}", seconds / 86_400),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_with_the_servers() {
        let mut clock = Clock::default();
        let server = Timestamp::from_millis(clock.now().as_millis() + 7_200_000);
        let off = clock.set(server);
        assert!(
            matches!(off, Off::Slow(span) if span <= Duration::from_secs(7_200)),
            "{off}"
        );
        assert!(clock.now() >= server);
        let off = clock.set(Timestamp::from_millis(5));
        assert!(matches!(off, Off::Fast(_)), "{off}");
        assert!(clock.now().as_millis() < 60_000);
    }

    #[test]
    fn a_clock_that_is_right_enough_is_kept() {
        let mut clock = Clock::default();
        clock.set(Timestamp::from_millis(5));
        let close = machine().plus(Duration::from_secs(20));
        clock.set(close);
        assert!(clock.now() < close);
    }

    #[test]
    fn no_two_signatures_have_one_time() {
        let mut clock = Clock::default();
        let times: Vec<Timestamp> = (0..50).map(|_| clock.sign()).collect();
        assert!(times.windows(2).all(|pair| pair[0] < pair[1]), "{times:?}");
        // Having been ahead of the server does not last.
        let server = Timestamp::from_millis(1_000_000);
        clock.set(server);
        assert!(clock.sign().since(server) < Duration::from_secs(60));
    }

    #[test]
    fn how_much_in_words() {
        let check = |seconds, expected: &str| {
            assert_eq!(
                Off::Slow(Duration::from_secs(seconds)).to_string(),
                expected
            );
        };
        check(7, "7 s slow");
        check(300, "5 min slow");
        check(7_200, "2 h slow");
        check(200_000, "2 days slow");
        assert_eq!(Off::Fast(Duration::ZERO).to_string(), "0 s fast");
    }
}
