//! The real server, as a process of its own.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use tempfile::TempDir;

use super::command::{Done, command, firstwake};
use super::{Connect, Peer, Version, eventually};

/// A server and its data directory. Dropping it kills the process.
pub(crate) struct TestBroker {
    child: Child,
    /// What is spoken where, as the server has printed it.
    listeners: Vec<(String, SocketAddr)>,
    arguments: Vec<String>,
    data_dir: PathBuf,
    directory: TempDir,
}

impl TestBroker {
    /// Starts on an empty directory and a free port.
    pub(crate) fn start() -> Self {
        Self::start_in("data")
    }

    /// Starts with its data in this place under a directory of its own.
    pub(crate) fn start_in(place: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        Self::launch(directory, place, &["mqtt"], &["--mqtt", "127.0.0.1:0"])
    }

    /// Starts with limits of its own, each as KEY=N.
    pub(crate) fn start_with(limits: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let config = directory.path().join("firstwake.toml");
        let limits = limits.join("\n");
        fs::write(&config, format!("[limits]\n{limits}\n")).expect("written");
        let config = config.to_str().expect("UTF-8");
        let arguments = ["--config", config, "--mqtt", "127.0.0.1:0"];
        Self::launch(directory, "data", &["mqtt"], &arguments)
    }

    /// Starts with these arguments; these listeners have to be announced, in
    /// this order.
    pub(crate) fn launch(
        directory: TempDir,
        place: &str,
        listeners: &[&str],
        arguments: &[&str],
    ) -> Self {
        Self::launch_in(directory, place, &[], listeners, arguments)
    }

    /// The same with these variables in its environment.
    pub(crate) fn launch_in(
        directory: TempDir,
        place: &str,
        environment: &[(&str, &str)],
        listeners: &[&str],
        arguments: &[&str],
    ) -> Self {
        let data_dir = directory.path().join(place);
        let arguments: Vec<String> = arguments.iter().map(|&text| text.into()).collect();
        let mut command = serve(&data_dir, &log(&directory));
        command.envs(environment.iter().copied());
        let (child, listeners) = announced(command.args(&arguments), listeners);
        Self {
            child,
            listeners,
            arguments,
            data_dir,
            directory,
        }
    }

    /// Where MQTT is spoken.
    pub(crate) fn address(&self) -> SocketAddr {
        self.listens("mqtt")
    }

    /// Where this listener is.
    pub(crate) fn listens(&self, name: &str) -> SocketAddr {
        let found = self.listeners.iter().find(|(found, _)| found == name);
        found.expect("such a listener").1
    }

    /// What the server has logged so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(log(&self.directory)).expect("a log")
    }

    pub(crate) fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Runs a command on this server's data directory.
    pub(crate) fn cli(&self, arguments: &[&str]) -> Done {
        self.cli_with(arguments, "")
    }

    /// What a command answers, as JSON.
    pub(crate) fn json(&self, arguments: &[&str]) -> serde_json::Value {
        self.cli(&[arguments, &["--output", "json"]].concat())
            .json()
    }

    /// What a command lists, as JSON.
    pub(crate) fn json_lines(&self, arguments: &[&str]) -> Vec<serde_json::Value> {
        self.cli(&[arguments, &["--output", "json"]].concat())
            .json_lines()
    }

    pub(crate) fn cli_with(&self, arguments: &[&str], stdin: &str) -> Done {
        firstwake(&self.data_dir, arguments, stdin)
    }

    /// A TCP connection.
    pub(crate) fn peer(&self, version: Version) -> Peer {
        Peer::open(self.address(), version)
    }

    /// A peer that is let in.
    pub(crate) fn admitted(&self, version: Version, connect: &Connect<'_>) -> Peer {
        Peer::admitted(self.address(), version, connect)
    }

    /// Kills the process where it stands, and starts another.
    pub(crate) fn kill_and_restart(&mut self) {
        self.kill();
        self.restart();
    }

    /// Starts another process in place of one that has ended.
    pub(crate) fn restart(&mut self) {
        let names: Vec<&str> = self.listeners.iter().map(|(name, _)| &**name).collect();
        let mut command = serve(&self.data_dir, &log(&self.directory));
        (self.child, self.listeners) = announced(command.args(&self.arguments), &names);
    }

    /// kill -9.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }

    /// Asks the server to stop.
    pub(crate) fn terminate(&self) {
        self.signal("TERM");
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.pid());
        let status = Command::new("sh").args(["-c", &kill]).status();
        assert!(status.expect("a shell").success());
    }

    /// Waits for the process to end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        eventually("the server's end", || {
            self.child.try_wait().expect("it was started here")
        })
    }

    /// Files that the server has open.
    pub(crate) fn open_files(&self) -> usize {
        let path = format!("/proc/{}/fd", self.pid());
        fs::read_dir(path).expect("it runs").count()
    }

    /// Those that are sockets: the registry opens and closes files of its own.
    pub(crate) fn open_sockets(&self) -> usize {
        let path = format!("/proc/{}/fd", self.pid());
        let files = fs::read_dir(path).expect("it runs");
        let links = files.filter_map(|file| fs::read_link(file.ok()?.path()).ok());
        links
            .filter(|link| link.to_string_lossy().starts_with("socket:"))
            .count()
    }

    /// Resident memory, in KiB, without what is mapped from files.
    pub(crate) fn memory(&self) -> u64 {
        let path = format!("/proc/{}/status", self.pid());
        let status = fs::read_to_string(path).expect("it runs");
        let line = status.lines().find_map(|l| l.strip_prefix("RssAnon:"));
        let number = line.and_then(|line| line.split_whitespace().next());
        number.and_then(|n| n.parse().ok()).expect("a number of kB")
    }

    /// The audit log.
    pub(crate) fn events(&self) -> Vec<serde_json::Value> {
        self.json_lines(&["events"])
    }
}

impl Drop for TestBroker {
    fn drop(&mut self) {
        // It may have ended as the test wanted.
        drop(self.child.kill());
        drop(self.child.wait());
        if std::thread::panicking() {
            let log = fs::read_to_string(log(&self.directory)).unwrap_or_default();
            println!("the server's log:\n{log}");
        }
    }
}

fn log(directory: &TempDir) -> PathBuf {
    directory.path().join("log")
}

/// The command that serves.
pub(crate) fn serve(data_dir: &Path, log: &Path) -> Command {
    let log = File::options().create(true).append(true).open(log);
    let mut command = command();
    command
        .args(["serve", "--data-dir"])
        .arg(data_dir)
        .stdin(Stdio::null())
        .stderr(log.expect("a log"));
    command
}

/// Starts a server and waits until it says where it listens.
pub(crate) fn announced(
    command: &mut Command,
    listeners: &[&str],
) -> (Child, Vec<(String, SocketAddr)>) {
    // No port is fixed, and HTTP is there unless somebody says otherwise.
    if !listeners.contains(&"http") {
        command.args(["--http", "off"]);
    }
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .expect("the server starts");
    let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
    let read = |name: &&str| {
        let mut line = String::new();
        stdout.read_line(&mut line).expect("a line");
        let address = line
            .trim_end()
            .strip_prefix(&format!("{name} listening on "))
            .and_then(|address| address.parse().ok())
            .unwrap_or_else(|| panic!("ready is said otherwise: {line:?}"));
        ((*name).to_owned(), address)
    };
    let listeners = listeners.iter().map(read).collect();
    (child, listeners)
}
