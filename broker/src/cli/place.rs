//! Where a command is carried out: on a data directory of this machine, or by
//! a server elsewhere.

use std::path::PathBuf;

use anyhow::Result;
use clap::ArgMatches;
use clap::parser::ValueSource;

use super::announce;
use crate::control::{Absent, Address, Control};
use crate::home::Home;

/// Options of every command.
#[derive(clap::Args)]
pub(super) struct Place {
    /// Where everything is kept [default: $XDG_DATA_HOME/firstwake or ~/.local/share/firstwake]
    #[arg(long, global = true, value_name = "DIR", env = "FIRSTWAKE_DATA_DIR")]
    data_dir: Option<PathBuf>,
    /// Ask the server at this address, such as https://HOST:8443, and not the
    /// one on the data directory
    #[arg(long, global = true, value_name = "URL", env = "FIRSTWAKE_URL")]
    url: Option<Address>,
    /// Show it the token in this file, which nobody else may read [default:
    /// $FIRSTWAKE_TOKEN]
    #[arg(long, global = true, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Trust only certificates that lead to one in this file (PEM)
    #[arg(long, global = true, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Show the token even where somebody on the way can read it
    #[arg(long, global = true)]
    dangerous_plaintext: bool,
}

/// What a command needs of a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reaches {
    /// It works on this machine, and asks no server.
    Here,
    Anywhere,
}

/// Why options do not go together.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Misplaced {
    #[error("this command works on this machine: it takes no --url")]
    Here,
    #[error("--url and --data-dir name two places: use one of them")]
    TwoPlaces,
    #[error(
        "{0} is not encrypted, and whoever listens in can read the token: use https, or \
         --dangerous-plaintext if that is meant"
    )]
    Exposed(String),
}

impl Place {
    /// Sees to it that one place is meant: an option goes before a variable,
    /// and FIRSTWAKE_URL before FIRSTWAKE_DATA_DIR.
    pub(super) fn settle(
        &mut self,
        matches: &ArgMatches,
        reaches: Reaches,
    ) -> Result<(), Misplaced> {
        let given = |id| matches.value_source(id) == Some(ValueSource::CommandLine);
        match (reaches, given("url"), given("data_dir")) {
            (Reaches::Here, true, _) => return Err(Misplaced::Here),
            (Reaches::Anywhere, true, true) => return Err(Misplaced::TwoPlaces),
            (Reaches::Here, false, _) | (Reaches::Anywhere, false, true) => self.url = None,
            (Reaches::Anywhere, _, false) => {}
        }
        match &self.url {
            Some(url) if url.is_exposed() && !self.dangerous_plaintext => {
                Err(Misplaced::Exposed(url.as_str().to_owned()))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn data_dir(&self) -> Result<PathBuf> {
        match &self.data_dir {
            Some(path) => Ok(path.clone()),
            None => Home::default_path(),
        }
    }

    /// Which place it is, for people.
    pub(super) fn told(&self) -> Result<String> {
        match &self.url {
            Some(url) => Ok(url.as_str().to_owned()),
            None => Ok(self.data_dir()?.display().to_string()),
        }
    }

    /// Reaches whoever carries a command out. Only what is here is ever made.
    pub(super) async fn reach(&self, absent: Absent) -> Result<Control> {
        if let Some(url) = &self.url {
            let (token_file, ca) = (self.token_file.as_deref(), self.ca.as_deref());
            return Control::elsewhere(url.clone(), token_file, ca);
        }
        let (control, first) = Control::reach(&self.data_dir()?, absent).await?;
        if let Some(first) = first {
            announce(&first);
        }
        Ok(control)
    }
}
