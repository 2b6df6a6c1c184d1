//! `firstwake demo`.
use anyhow::Result;
/// Show what this is
#[derive(clap::Args)]
pub(crate) struct Args {}
impl Args {
    pub(crate) async fn run(self) -> Result<()> {
        Ok(())
    }
}
