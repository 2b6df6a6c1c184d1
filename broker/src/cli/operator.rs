//! `firstwake operator`.

use std::io::Read;

use anyhow::{Context, Result, bail};
use firstwake::topic::{Limits, TopicFilter};
use firstwake::{OperatorName, Role};

use crate::control::{Absent, Control, Reply, Request};
use crate::output::say;

/// Who may watch and talk to devices
#[derive(clap::Subcommand)]
pub(super) enum Command {
    /// Add an operator, or give one another password and other rights
    Add {
        /// What it logs in with
        name: OperatorName,
        /// viewer, operator or admin
        #[arg(long)]
        role: Role,
        /// Read the password from standard input (required: an argument would
        /// show it to other users of this machine)
        #[arg(long, required = true)]
        password_stdin: bool,
        /// A topic filter it may publish to, beside those of its role
        #[arg(long, value_name = "FILTER", value_parser = filter)]
        publish: Vec<TopicFilter>,
        /// A topic filter it may subscribe, beside those of its role
        #[arg(long, value_name = "FILTER", value_parser = filter)]
        subscribe: Vec<TopicFilter>,
    },
    /// Remove an operator and end its sessions
    Remove {
        /// What it logs in with
        name: OperatorName,
    },
    /// All operators
    List,
}

fn filter(text: &str) -> Result<TopicFilter, String> {
    TopicFilter::parse(text, Limits::SERVICE).map_err(|error| error.to_string())
}

impl Command {
    /// Making the first of something makes where it is kept.
    pub(super) fn absent(&self) -> Absent {
        match self {
            Self::Add { .. } => Absent::IsMade,
            _ => Absent::IsAnError,
        }
    }

    pub(super) async fn run(self, control: &mut Control) -> Result<()> {
        match self {
            Self::Add {
                name,
                role,
                password_stdin: _,
                publish,
                subscribe,
            } => {
                let mut password = String::new();
                std::io::stdin()
                    .read_to_string(&mut password)
                    .context("the password cannot be read from standard input")?;
                let request = Request::AddOperator {
                    name: name.clone(),
                    password: password.trim_end_matches(['\r', '\n']).to_owned(),
                    role,
                    publish,
                    subscribe,
                };
                control.ask(request).await?;
                say(&format!("{name} is {}", role.as_str()))
            }
            Self::Remove { name } => {
                let request = Request::RemoveOperator { name: name.clone() };
                control.ask(request).await?;
                say(&format!("{name} is removed"))
            }
            Self::List => match control.ask(Request::Operators).await? {
                Reply::Operators(operators) => operators.iter().try_for_each(|operator| {
                    let own = |word: &str, filters: &[TopicFilter]| {
                        let each = filters.iter().map(|filter| format!("  {word} {filter}"));
                        each.collect::<String>()
                    };
                    say(&format!(
                        "{}  {}{}{}",
                        operator.name,
                        operator.role.as_str(),
                        own("publish", &operator.publish),
                        own("subscribe", &operator.subscribe)
                    ))
                }),
                _ => bail!("the server gave an answer to another question"),
            },
        }
    }
}
