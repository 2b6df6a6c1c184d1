//! Two servers on one PostgreSQL database.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use super::TestBroker;

/// A database of its own for one story.
pub(crate) struct Database {
    server: &'static str,
    name: String,
}

/// Two servers on one database. The second comes to a registry that is there.
pub(crate) struct Nodes {
    pub(crate) database: Database,
    pub(crate) one: TestBroker,
    pub(crate) two: TestBroker,
}

impl Database {
    /// An empty one; `None`, and said so, where there is no PostgreSQL.
    pub(crate) fn empty() -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let Some(server) = server() else {
            println!("not run: there is no PostgreSQL on this machine");
            return None;
        };
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("story_{}_{count}", std::process::id());
        ask(server, &format!("CREATE DATABASE {name}"));
        Some(Self { server, name })
    }

    /// As `--postgres` takes it.
    pub(crate) fn url(&self) -> String {
        let server = self.server.strip_suffix("/postgres");
        format!("{}/{}", server.expect("its first database"), self.name)
    }

    /// Has the server do something to this database.
    pub(crate) fn ask(&self, sql: &str) -> String {
        ask(&self.url(), sql)
    }

    /// A role that may connect to this database, as every role of a cluster may
    /// at first, and has no rights on anything in it.
    pub(crate) fn stranger(&self) -> Stranger {
        let role = format!("stranger_of_{}", self.name);
        ask(self.server, &format!("CREATE ROLE {role} LOGIN"));
        let url = self.url();
        let (_, place) = url.split_once('@').expect("a user and a place");
        Stranger::connect(&format!("postgres://{role}@{place}"))
    }

    /// Lets nobody in any more, and ends who is.
    pub(crate) fn close(&self) {
        let name = &self.name;
        ask(
            self.server,
            &format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false"),
        );
        self.end_connections();
    }

    /// Lets everybody in again.
    pub(crate) fn reopen(&self) {
        let name = &self.name;
        let sql = format!("ALTER DATABASE {name} ALLOW_CONNECTIONS true");
        ask(self.server, &sql);
    }

    /// Ends every connection, as a failing server does.
    pub(crate) fn end_connections(&self) {
        let name = &self.name;
        let sql = format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE datname = '{name}' AND pid <> pg_backend_pid()"
        );
        ask(self.server, &sql);
    }
}

/// A connection of a role without rights, which stays.
pub(crate) struct Stranger {
    psql: Child,
    lines: BufReader<ChildStdout>,
    marks: usize,
}

impl Stranger {
    fn connect(url: &str) -> Self {
        let mut psql = Command::new("psql")
            .args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", url])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("psql");
        let lines = BufReader::new(psql.stdout.take().expect("piped"));
        Self {
            psql,
            lines,
            marks: 0,
        }
    }

    /// Does something, whether it is allowed or not, and says what came of it,
    /// with every notification until now.
    pub(crate) fn ask(&mut self, sql: &str) -> Vec<String> {
        self.marks += 1;
        let mark = format!("mark {}", self.marks);
        let mut stdin = self.psql.stdin.as_ref().expect("piped");
        writeln!(stdin, "{sql};\nSELECT '{mark}';\n\\echo {mark} behind").expect("psql");
        let mut said = Vec::new();
        loop {
            let mut line = String::new();
            let read = self.lines.read_line(&mut line).expect("text");
            assert!(read > 0, "psql has ended");
            match line.trim_end() {
                line if line == mark => {}
                line if line == format!("{mark} behind") => return said,
                line => said.push(line.to_owned()),
            }
        }
    }

    /// The contents of the notifications until now.
    pub(crate) fn notifications(&mut self) -> Vec<String> {
        let payload = |line: &String| {
            let (_, behind) = line.split_once("with payload \"")?;
            Some(behind.split_once('"')?.0.to_owned())
        };
        self.ask("SELECT 1").iter().filter_map(payload).collect()
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        drop(self.psql.kill());
        drop(self.psql.wait());
    }
}

impl Nodes {
    /// Starts both; `None` where there is no PostgreSQL.
    pub(crate) fn start() -> Option<Self> {
        let database = Database::empty()?;
        let one = serve(&database, None);
        let two = serve(&database, Some(one.data_dir()));
        Some(Self { database, one, two })
    }
}

/// A server on the database, with the sealing key that another one has.
fn serve(database: &Database, like: Option<&Path>) -> TestBroker {
    let directory = tempfile::tempdir().expect("a directory");
    if let Some(other) = like {
        let data = directory.path().join("data");
        fs::create_dir(&data).expect("made");
        fs::copy(other.join("sealing.key"), data.join("sealing.key")).expect("copied");
        // Nobody else reads it, nor what is beside it.
        let closed = Command::new("chmod").arg("0700").arg(&data).status();
        assert!(closed.expect("chmod").success());
    }
    let url = database.url();
    let arguments = ["--mqtt", "127.0.0.1:0", "--postgres", &url];
    TestBroker::launch(directory, "data", &["mqtt"], &arguments)
}

/// The private server of this run: it ends when its input does, and that is
/// when this process ends.
fn server() -> Option<&'static str> {
    static SERVER: OnceLock<Option<(String, Child)>> = OnceLock::new();
    let begin = || {
        if let Ok(url) = std::env::var("FIRSTWAKE_TEST_POSTGRES") {
            let nothing = Command::new("true").spawn().expect("a process");
            return Some((url, nothing));
        }
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/with-postgres");
        let mut child = Command::new(script)
            .args(["--installed", "sh", "-c"])
            .arg("echo \"$FIRSTWAKE_TEST_POSTGRES\"; exec cat")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("bash");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("piped");
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        match line.trim_end() {
            "" => None,
            url => Some((url.to_owned(), child)),
        }
    };
    let server = SERVER.get_or_init(begin).as_ref();
    server.map(|(url, _)| url.as_str())
}

fn ask(url: &str, sql: &str) -> String {
    let done = Command::new("psql")
        .args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align"])
        .args(["--command", sql, url])
        .output()
        .expect("psql");
    let told = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{sql}: {told}");
    String::from_utf8(done.stdout)
        .expect("UTF-8")
        .trim()
        .to_owned()
}
