//! The report for people: what was asked, what became of the devices, and how
//! long it took them.

use std::fmt;

use super::{HoldSummary, Kind, Latency, Report};
use crate::plan::Ask;
use crate::record::Phase;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.headline(f)?;
        self.outcomes(f)?;
        self.phases(f)?;
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
        };
        writeln!(
            f,
            "{kind}: {} devices {then}{asking} at {}",
            grouped(self.plan.devices),
            self.plan.broker
        )?;
        writeln!(
            f,
            "closed loop, {} in flight: a device starts when an earlier one is done, and its wait\n\
             for that is in no time below\n",
            grouped(self.plan.in_flight)
        )
    }

    fn outcomes(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows: Vec<_> = self
            .result
            .outcomes
            .iter()
            .map(|(end, n)| (end.to_string(), *n))
            .collect();
        let width = rows
            .iter()
            .map(|(end, _)| end.len())
            .max()
            .unwrap_or_default()
            .max(24);
        writeln!(f, "{:<width$} {:>10}", "outcome", "devices")?;
        for (end, count) in rows {
            writeln!(f, "{end:<width$} {:>10}", grouped(count))?;
        }
        writeln!(f)
    }

    fn phases(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.result.phases_us.is_empty() {
            return Ok(());
        }
        let row = |f: &mut fmt::Formatter<'_>, cells: [&str; 6]| {
            let [name, cells @ ..] = cells;
            write!(f, "{name:<24}")?;
            cells.iter().try_for_each(|cell| write!(f, " {cell:>10}"))?;
            writeln!(f)
        };
        row(f, ["phase (ms)", "devices", "p50", "p95", "p99", "max"])?;
        for (phase, latency) in &self.result.phases_us {
            let Latency {
                count,
                p50,
                p95,
                p99,
                max,
            } = *latency;
            let [p50, p95, p99, max] = [p50, p95, p99, max].map(millis);
            row(f, [name(*phase), &grouped(count), &p50, &p95, &p99, &max])?;
        }
        writeln!(f)
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
        match (result.held, self.plan.hold) {
            (Some(held), hold) => {
                write!(f, "{} sessions held", grouped(held.sessions))?;
                if let HoldSummary::ForUs(time) = hold {
                    write!(f, " for {} ms", millis(time))?;
                }
                writeln!(f, ", {} lost", grouped(held.lost))
            }
            (None, _) => Ok(()),
        }
    }
}

fn name(phase: Phase) -> &'static str {
    match phase {
        Phase::Connect => "TCP connection",
        Phase::Connack => "CONNECT to CONNACK",
        Phase::Answer => "SUBSCRIBE to answer",
        Phase::Activation => "activation, all of it",
        Phase::Confirm => "confirmation",
    }
}

/// Microseconds as milliseconds with two decimals.
fn millis(micros: u64) -> String {
    let hundredths = micros.saturating_add(5) / 10;
    format!("{}.{:02}", grouped(hundredths / 100), hundredths % 100)
}

/// With a comma between groups of three digits.
fn grouped(number: impl ToString) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::tests::example;
    use super::*;

    #[test]
    fn numbers() {
        let check = |number: u64, expected: &str| assert_eq!(grouped(number), expected);
        check(0, "0");
        check(999, "999");
        check(1_000, "1,000");
        check(1_234_567, "1,234,567");
        assert_eq!(millis(4), "0.00");
        assert_eq!(millis(5), "0.01");
        assert_eq!(millis(1_234_567), "1,234.57");
    }

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
SUBSCRIBE to answer               1       0.10       0.10       0.10       0.10
activation, all of it             1       0.10       0.10       0.10       0.10
confirmation                      1       0.10       0.10       0.10       0.10

1 activated in 500.00 ms: 2/s
every feed id and every key is distinct
1 sessions held for 5,000.00 ms, 0 lost
"
        );
    }
}
