//! `firstwake completions`: what makes a shell complete this command.

use anyhow::Result;
use clap::Command;
use clap_complete::{Shell, generate};

use crate::output::say_exactly;

/// Write what makes a shell complete this command to standard output
#[derive(clap::Args)]
pub(super) struct Args {
    /// For which shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

impl Args {
    pub(super) fn run(self, mut command: Command) -> Result<()> {
        let mut script = Vec::new();
        generate(self.shell, &mut command, "firstwake", &mut script);
        say_exactly(String::from_utf8(script)?.trim_end())
    }
}
