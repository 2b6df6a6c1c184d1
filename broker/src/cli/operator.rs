//! `firstwake operator`.

use std::io::Read;

use anyhow::{Context, Result, bail};
use firstwake::topic::{Limits, TopicFilter};
use firstwake::{OperatorName, Role};
use serde_json::json;

use super::form::{Form, Row, joined};
use crate::control::{Absent, Control, OperatorView, Reply, Request};

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

    pub(super) async fn run(self, control: &mut Control, form: Form) -> Result<()> {
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
                let added = OperatorView {
                    name: name.clone(),
                    role,
                    publish: publish.clone(),
                    subscribe: subscribe.clone(),
                };
                let request = Request::AddOperator {
                    name,
                    password: password.trim_end_matches(['\r', '\n']).to_owned(),
                    role,
                    publish,
                    subscribe,
                };
                control.ask(request).await?;
                let words = format!("{} is {}", added.name, role.as_str());
                form.tell(&added, &words)
            }
            Self::Remove { name } => {
                let request = Request::RemoveOperator { name: name.clone() };
                control.ask(request).await?;
                form.tell(&json!({ "removed": name }), &format!("{name} is removed"))
            }
            Self::List => match control.ask(Request::Operators).await? {
                Reply::Operators(operators) => form.list(&operators),
                _ => bail!("the server gave an answer to another question"),
            },
        }
    }
}

impl Row for OperatorView {
    const COLUMNS: &'static [&'static str] = &["NAME", "ROLE", "PUBLISH", "SUBSCRIBE"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.name.to_string(),
            self.role.as_str().to_owned(),
            joined(&self.publish, " "),
            joined(&self.subscribe, " "),
        ]
    }
}
