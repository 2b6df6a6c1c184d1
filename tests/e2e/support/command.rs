//! The `firstwake` command, run once.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// What a command left behind.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Done {
    /// Standard output of a command that did what it was told.
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.status, 0, "{self:?}");
        self.stdout
    }

    /// The one sentence of a command that was refused.
    pub(crate) fn refused(self) -> String {
        self.failed(1)
    }

    /// The one sentence of a command that could not, and ended with this
    /// status.
    pub(crate) fn failed(self, status: i32) -> String {
        let ended = (self.status, self.stdout.as_str());
        assert_eq!(ended, (status, ""), "{self:?}");
        let sentence = self
            .stderr
            .lines()
            .filter(|line| !line.contains("first operator"));
        let lines: Vec<&str> = sentence.collect();
        assert_eq!(lines.len(), 1, "{lines:?}");
        lines[0].to_owned()
    }

    pub(crate) fn json(self) -> serde_json::Value {
        serde_json::from_str(&self.ok()).expect("one JSON object")
    }

    /// A list, an object a line.
    pub(crate) fn json_lines(self) -> Vec<serde_json::Value> {
        let parse = |line| serde_json::from_str(line).expect("a JSON object");
        self.ok().lines().map(parse).collect()
    }
}

/// The command, without a data directory.
pub(crate) fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_firstwake"));
    command
        .env_remove("FIRSTWAKE_DATA_DIR")
        .env_remove("FIRSTWAKE_LOG")
        .env_remove("FIRSTWAKE_URL")
        .env_remove("FIRSTWAKE_TOKEN");
    command
}

/// Runs `firstwake` with these arguments and this on standard input.
pub(crate) fn firstwake(data_dir: &Path, arguments: &[&str], stdin: &str) -> Done {
    let mut command = command();
    command.arg("--data-dir").arg(data_dir).args(arguments);
    carried_out(&mut command, stdin)
}

/// Runs a command with this on standard input.
pub(crate) fn carried_out(command: &mut Command, stdin: &str) -> Done {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command starts");
    let mut input = child.stdin.take().expect("piped");
    // A command that reads nothing may be gone already.
    drop(input.write_all(stdin.as_bytes()));
    drop(input);
    let output = child.wait_with_output().expect("the command ends");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Done {
        status: output.status.code().expect("not killed"),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}
