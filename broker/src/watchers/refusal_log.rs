//! The log's lines about what was refused: one for each source and reason in a
//! minute, and a bounded number of them.

use std::collections::HashMap;

use firstwake::{Cause, ReasonCount, Refusal, Source};

/// Reports in which a pair is not logged again.
const FOLD: u32 = 60;
/// Pairs that are logged in so many reports.
const LINES: usize = 30;

/// What was logged since the fold began.
#[derive(Debug, Default)]
pub(super) struct RefusalLog {
    reports: u32,
    /// How often each pair that has a line came again.
    again: HashMap<(Source, &'static str), u64>,
    /// Refusals of pairs that had no line.
    others: u64,
}

impl RefusalLog {
    /// Logs what is new. Called once a second.
    pub(super) fn report(&mut self, reasons: Vec<ReasonCount>) {
        for line in self.fold(reasons) {
            tracing::info!("{line}");
        }
    }

    fn fold(&mut self, reasons: Vec<ReasonCount>) -> Vec<String> {
        let mut lines = Vec::new();
        self.reports += 1;
        if self.reports > FOLD {
            self.reports = 1;
            let mut again: Vec<_> = self.again.drain().filter(|(_, count)| *count > 0).collect();
            again.sort_unstable();
            for ((source, reason), count) in again {
                lines.push(format!(
                    "refused {source} {count} times more in a minute: {reason}"
                ));
            }
            match std::mem::take(&mut self.others) {
                0 => {}
                count => lines.push(format!("refused others {count} times in a minute")),
            }
        }
        for it in reasons {
            let pair = (it.source, it.reason);
            if let Some(again) = self.again.get_mut(&pair) {
                *again += it.count;
            } else if self.again.len() < LINES {
                self.again.insert(pair, 0);
                let times = match it.count {
                    1 => String::new(),
                    count => format!(" {count} times"),
                };
                let (source, reason) = pair;
                let meaning = meaning(reason);
                lines.push(format!("refused {source}{times}: {reason} ({meaning})"));
            } else {
                self.others += it.count;
            }
        }
        lines
    }
}

/// The sentence of a refusal or of a cause.
fn meaning(reason: &str) -> &'static str {
    let refusal = Refusal::ALL.iter().find(|it| it.as_str() == reason);
    let cause = Cause::ALL.iter().find(|it| it.as_str() == reason);
    match (refusal, cause) {
        (Some(refusal), _) => refusal.meaning(),
        (None, Some(cause)) => cause.meaning(),
        (None, None) => "",
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn from(n: u8, reason: Refusal) -> ReasonCount {
        ReasonCount {
            source: Source::from(IpAddr::from([10, 0, 0, n])),
            reason: reason.as_str(),
            count: 1,
        }
    }

    #[test]
    fn a_pair_has_one_line_a_minute() {
        let mut log = RefusalLog::default();
        let first = log.fold(vec![from(1, Refusal::WrongCode)]);
        assert_eq!(first.len(), 1);
        assert!(
            first[0].contains("wrong_code (the activation code"),
            "{first:?}"
        );
        for _ in 1..FOLD {
            assert!(log.fold(vec![from(1, Refusal::WrongCode)]).is_empty());
        }
        let folded = log.fold(Vec::new());
        assert_eq!(folded.len(), 1);
        assert!(folded[0].contains("59 times more"), "{folded:?}");
    }

    #[test]
    fn lines_are_bounded() {
        let mut log = RefusalLog::default();
        let many = |n: u8| from(n, Refusal::WrongCode);
        let lines = log.fold((0..=255).map(many).collect());
        assert_eq!(lines.len(), LINES);
        assert!((1..FOLD).all(|_| log.fold(vec![many(200)]).is_empty()));
        assert_eq!(log.fold(Vec::new()).len(), 1, "the others are one line");
    }
}
