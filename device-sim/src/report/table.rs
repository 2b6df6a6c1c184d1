//! The tables and numbers that every report for people is made of.

use std::collections::BTreeMap;
use std::fmt;

use super::{Handshakes, Held, HoldSummary, Latency};
use crate::outcome::Outcome;
use crate::record::Phase;

/// What a reader must know of the load.
pub(crate) fn closed_loop(f: &mut fmt::Formatter<'_>, in_flight: usize) -> fmt::Result {
    writeln!(
        f,
        "closed loop, {} in flight: a device starts when an earlier one is done, and its wait\n\
         for that is in no time below\n",
        grouped(in_flight)
    )
}

/// How TLS came about.
pub(crate) fn handshakes(f: &mut fmt::Formatter<'_>, seen: Handshakes) -> fmt::Result {
    let Handshakes { full, resumed } = seen;
    writeln!(
        f,
        "TLS handshakes: {} full, {} resumed",
        grouped(full),
        grouped(resumed)
    )
}

/// What became of held sessions.
pub(crate) fn held(f: &mut fmt::Formatter<'_>, held: Held, hold: HoldSummary) -> fmt::Result {
    write!(f, "{} sessions held", grouped(held.sessions))?;
    if let HoldSummary::ForUs(time) = hold {
        write!(f, " for {} ms", millis(time))?;
    }
    writeln!(f, ", {} lost", grouped(held.lost))
}

/// Devices by what became of them.
pub(crate) fn outcomes(
    f: &mut fmt::Formatter<'_>,
    outcomes: &BTreeMap<Outcome, u64>,
) -> fmt::Result {
    let rows: Vec<_> = outcomes
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

/// Times by phase; nothing if there are none.
pub(crate) fn phases(f: &mut fmt::Formatter<'_>, phases: &BTreeMap<Phase, Latency>) -> fmt::Result {
    let rows = phases.iter().map(|(phase, seen)| (name(*phase), *seen));
    latencies(f, ["phase (ms)", "devices"], rows)
}

/// Times by name, under a head for the name and one for the count.
pub(crate) fn latencies<'a>(
    f: &mut fmt::Formatter<'_>,
    head: [&str; 2],
    rows: impl Iterator<Item = (&'a str, Latency)>,
) -> fmt::Result {
    let row = |f: &mut fmt::Formatter<'_>, cells: [&str; 6]| {
        let [name, cells @ ..] = cells;
        write!(f, "{name:<24}")?;
        cells.iter().try_for_each(|cell| write!(f, " {cell:>10}"))?;
        writeln!(f)
    };
    let mut rows = rows.peekable();
    if rows.peek().is_none() {
        return Ok(());
    }
    row(f, [head[0], head[1], "p50", "p95", "p99", "max"])?;
    for (name, latency) in rows {
        let Latency {
            count,
            p50,
            p95,
            p99,
            max,
        } = latency;
        let [p50, p95, p99, max] = [p50, p95, p99, max].map(millis);
        row(f, [name, &grouped(count), &p50, &p95, &p99, &max])?;
    }
    writeln!(f)
}

fn name(phase: Phase) -> &'static str {
    match phase {
        Phase::Connect => "TCP connection",
        Phase::Tls => "TLS handshake",
        Phase::Connack => "CONNECT to CONNACK",
        Phase::Answer => "SUBSCRIBE/GET to answer",
        Phase::Activation => "activation, all of it",
        Phase::Confirm => "confirmation",
        Phase::Suback => "SUBSCRIBE to SUBACK",
        Phase::Login => "login, all of it",
    }
}

/// Microseconds as milliseconds with two decimals.
pub(crate) fn millis(micros: u64) -> String {
    let hundredths = micros.saturating_add(5) / 10;
    format!("{}.{:02}", grouped(hundredths / 100), hundredths % 100)
}

/// With a comma between groups of three digits.
pub(crate) fn grouped(number: impl ToString) -> String {
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
}
