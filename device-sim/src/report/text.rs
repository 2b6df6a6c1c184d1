//! The report for people: what was asked, what became of the devices, and how
//! long it took them.

use std::fmt;

use super::table::{self, grouped, millis};
use super::{Kind, Report};
use crate::plan::Ask;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.headline(f)?;
        table::outcomes(f, &self.result.outcomes)?;
        table::phases(f, &self.result.phases_us)?;
        self.summary(f)
    }
}

impl Report {
    fn headline(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Storm => "storm",
            Kind::Floor => "floor (a server that does the least any must: no checks, no disk)",
        };
        let then = match self.plan.confirm {
            true => "activate and confirm",
            false => "activate",
        };
        let asking = match self.plan.ask {
            Ask::Subscribe => "",
            Ask::SubscribeAndRequest => " on request",
            Ask::Http => " over HTTP",
        };
        writeln!(
            f,
            "{kind}: {} devices {then}{asking} at {}",
            grouped(self.plan.devices),
            self.plan.broker
        )?;
        table::closed_loop(f, self.plan.in_flight)
    }

    fn summary(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let result = &self.result;
        writeln!(
            f,
            "{} activated in {} ms: {:.0}/s",
            grouped(result.activated),
            millis(result.elapsed_us),
            result.activations_per_second
        )?;
        match (result.repeated_feed_ids, result.repeated_keys) {
            _ if result.activated == 0 => {}
            (0, 0) => writeln!(f, "every feed id and every key is distinct")?,
            (feeds, keys) => writeln!(f, "repeated: {feeds} feed ids, {keys} keys")?,
        }
        match result.held {
            Some(held) => table::held(f, held, self.plan.hold),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::example;

    #[test]
    fn a_report_reads_well() {
        assert_eq!(
            example().to_string(),
            "\
storm: 2 devices activate and confirm at 127.0.0.1:1883
closed loop, 2 in flight: a device starts when an earlier one is done, and its wait
for that is in no time below

outcome                                           devices
confirmed                                               1
refused: CONNACK 4 (bad user name or password)          1

phase (ms)                  devices        p50        p95        p99        max
TCP connection                    2       0.10       0.10       0.10       0.10
CONNECT to CONNACK                1       0.10       0.10       0.10       0.10
SUBSCRIBE/GET to answer           1       0.10       0.10       0.10       0.10
activation, all of it             1       0.10       0.10       0.10       0.10
confirmation                      1       0.10       0.10       0.10       0.10

1 activated in 500.00 ms: 2/s
every feed id and every key is distinct
1 sessions held for 5,000.00 ms, 0 lost
"
        );
    }
}
