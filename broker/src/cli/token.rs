//! `firstwake token`.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use firstwake::{OperatorName, TokenId};
use serde_json::json;
use zeroize::Zeroizing;

use super::form::{Form, Row, fields, or_dash};
use crate::control::{Control, Reply, Request, TokenView, TokenWish};
use crate::home;

/// What services and commands show in place of an operator's password
#[derive(clap::Subcommand)]
pub(super) enum Command {
    /// Make a token for an operator; it is shown now and never again
    Create {
        /// Whose rights it has
        #[arg(value_name = "OPERATOR")]
        operator: OperatorName,
        /// What it is for; told in lists and events
        #[arg(long, value_name = "TEXT", default_value = "")]
        label: String,
        /// How long it works, such as 30d; without it, until it is removed
        #[arg(long = "for", value_name = "TIME")]
        span: Option<humantime::Duration>,
        /// Write it to this new file, for its owner alone, and do not show it
        #[arg(long, value_name = "FILE")]
        to: Option<PathBuf>,
    },
    /// The tokens that work now
    List,
    /// End a token, and what was opened with it
    Remove {
        /// As `token list` shows it
        #[arg(value_name = "TOKEN_ID")]
        token: TokenId,
    },
}

impl Command {
    pub(super) async fn run(self, control: &mut Control, form: Form) -> Result<()> {
        match self {
            Self::Create {
                operator,
                label,
                span,
                to,
            } => {
                if let Some(path) = to.as_ref().filter(|path| path.exists()) {
                    bail!("{} is there already: name a new file", path.display());
                }
                let seconds = span.map(|span| span.as_secs());
                let request = Request::CreateToken(TokenWish {
                    operator: Some(operator),
                    label,
                    seconds,
                });
                match control.ask(request).await? {
                    Reply::TokenCreated { token, secret } => {
                        created(&token, secret, to.as_deref(), form)
                    }
                    _ => bail!("the server gave an answer to another question"),
                }
            }
            Self::List => match control.ask(Request::Tokens).await? {
                Reply::Tokens(tokens) => form.list(&tokens),
                _ => bail!("the server gave an answer to another question"),
            },
            Self::Remove { token } => {
                let words = format!("{token} is removed");
                let answer = json!({ "removed": token });
                control.ask(Request::RemoveToken { token }).await?;
                form.tell(&answer, &words)
            }
        }
    }
}

fn created(token: &TokenView, secret: String, to: Option<&Path>, form: Form) -> Result<()> {
    let secret = Zeroizing::new(secret);
    let mut answer = json!({
        "id": token.id,
        "operator": token.operator,
        "label": token.label,
        "expires_at": token.expires_at,
    });
    let shown = match to {
        None => {
            answer["token"] = json!(secret.as_str());
            format!("{}   (shown only here)", secret.as_str())
        }
        Some(path) => {
            let line = Zeroizing::new(format!("{}\n", secret.as_str()));
            home::write_private(path, &line)?;
            format!("in {}", path.display())
        }
    };
    let words = fields(&[
        ("id", token.id.to_string()),
        ("operator", token.operator.to_string()),
        ("expires", or_dash(token.expires_at)),
        ("token", shown),
    ]);
    form.tell(&answer, &words)
}

impl Row for TokenView {
    const COLUMNS: &'static [&'static str] = &["ID", "OPERATOR", "EXPIRES", "LABEL"];

    fn cells(&self) -> Vec<String> {
        let label = Some(&self.label).filter(|label| !label.is_empty());
        vec![
            self.id.to_string(),
            self.operator.to_string(),
            or_dash(self.expires_at),
            or_dash(label),
        ]
    }
}
