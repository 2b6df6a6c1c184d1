//! The ways that a command has to the registry: it must not matter which.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::{Done, TestBroker, carried_out, command};

/// One way, and what it takes.
pub(crate) struct Way {
    /// What every command is given before its own arguments.
    options: Vec<String>,
    /// A server that is asked, if one is.
    broker: Option<TestBroker>,
    /// Where a story may put files.
    place: TempDir,
}

impl Way {
    /// All of them, each to a registry of its own.
    pub(crate) fn all() -> [Self; 3] {
        [Self::own(), Self::through_the_socket(), Self::over_http()]
    }

    /// The command opens the registry itself.
    fn own() -> Self {
        let place = tempfile::tempdir().expect("a directory");
        let new = place.path().join("new");
        Self {
            options: vec!["--data-dir".to_owned(), text(&new)],
            broker: None,
            place,
        }
    }

    fn through_the_socket() -> Self {
        let broker = TestBroker::start();
        Self {
            options: vec!["--data-dir".to_owned(), text(broker.data_dir())],
            broker: Some(broker),
            place: tempfile::tempdir().expect("a directory"),
        }
    }

    /// A server elsewhere, asked with the token of an admin.
    pub(crate) fn over_http() -> Self {
        let broker = TestBroker::with_http();
        let place = tempfile::tempdir().expect("a directory");
        let file = place.path().join("token");
        let made = ["token", "create", "admin", "--to", &text(&file)];
        let said = broker.cli(&made).ok();
        assert!(!said.contains("fwo_"), "{said}");
        // One that is there is not lost.
        broker.cli(&made).refused();
        Self {
            options: broker.elsewhere(&file),
            broker: Some(broker),
            place,
        }
    }

    /// The command, ready for its own arguments.
    pub(crate) fn command(&self) -> Command {
        let mut command = command();
        command.args(&self.options);
        command
    }

    /// Where a story may put files.
    pub(crate) fn place(&self) -> &Path {
        self.place.path()
    }

    /// Kills the server that is asked.
    pub(crate) fn kill(&mut self) {
        self.broker.as_mut().expect("a server").kill();
    }

    /// The server that is asked.
    pub(crate) fn broker(&self) -> &TestBroker {
        self.broker.as_ref().expect("a server")
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Done {
        self.run_with(arguments, "")
    }

    pub(crate) fn run_with(&self, arguments: &[&str], stdin: &str) -> Done {
        carried_out(self.command().args(arguments), stdin)
    }

    pub(crate) fn json(&self, arguments: &[&str]) -> serde_json::Value {
        self.run(&[arguments, &["--output", "json"]].concat())
            .json()
    }
}

impl TestBroker {
    /// Makes a token for an operator.
    pub(crate) fn token(&self, operator: &str) -> String {
        let made = self.json(&["token", "create", operator]);
        made["token"].as_str().expect("a token").to_owned()
    }

    /// What a command is given to ask this server over HTTP.
    pub(crate) fn elsewhere(&self, token_file: &Path) -> Vec<String> {
        let url = format!("http://{}", self.listens("http"));
        let options = ["--url", &url, "--token-file", &text(token_file)];
        options.map(str::to_owned).into()
    }
}

/// Puts a token where nobody else reads it.
pub(crate) fn keep_token(file: &Path, token: &str) {
    fs::write(file, format!("{token}\n")).expect("written");
    fs::set_permissions(file, fs::Permissions::from_mode(0o600)).expect("closed");
}

fn text(path: &Path) -> String {
    PathBuf::from(path)
        .into_os_string()
        .into_string()
        .expect("UTF-8")
}
