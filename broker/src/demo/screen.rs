//! What is seen while the devices wake: a bar on a terminal, lines in a pipe.

use std::io::IsTerminal;
use std::time::Duration;

use device_sim::Progress;
use firstwake::visible_lines;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::interval;

use crate::output::complain;

/// Standard error, one way or the other.
pub(super) enum Screen {
    Bar(ProgressBar),
    Lines,
}

impl Screen {
    pub(super) fn new(devices: u32) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self::Lines;
        }
        // Every device is counted twice: activated, then confirmed.
        let bar = ProgressBar::new(u64::from(devices) * 2);
        let style = ProgressStyle::with_template("{bar:40} {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self::Bar(bar)
    }

    /// Tells one thing that was done.
    pub(super) fn note(&self, what: &str) {
        match self {
            Self::Bar(bar) => bar.println(visible_lines(what)),
            Self::Lines => complain(what),
        }
    }

    /// Shows the progress until the future is dropped.
    pub(super) async fn follow(&self, progress: &Progress) {
        let every = match self {
            Self::Bar(_) => Duration::from_millis(100),
            Self::Lines => Duration::from_secs(1),
        };
        let mut tick = interval(every);
        loop {
            tick.tick().await;
            let counts = progress.counts();
            let words = format!(
                "activated {}, confirmed {}, refused {}, failed {}",
                counts.activated, counts.confirmed, counts.refused, counts.failed
            );
            match self {
                Self::Bar(bar) => {
                    bar.set_position(counts.activated + counts.confirmed);
                    bar.set_message(words);
                }
                Self::Lines => complain(&words),
            }
        }
    }

    pub(super) fn finish(&self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}
