//! The binary `device-sim`: exit status 0 if every device got where it should,
//! 1 with one sentence on standard error if not, 2 for wrong usage.

mod cli;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    let done = tokio::runtime::Runtime::new()
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(cli.run()));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

#[expect(
    clippy::print_stderr,
    reason = "the one place where this program complains"
)]
fn complain(error: &anyhow::Error) {
    eprintln!("device-sim: {error:#}");
}
