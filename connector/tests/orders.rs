//! Commands that come down while a device runs.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use firstwake::ProofPolicy;
use firstwake_connector::{OnCommand, Signing, run};
use tokio::sync::{mpsc, oneshot};

use crate::signing::World;

/// Runs a device until the server has as many acknowledgements as it sent
/// commands.
async fn run_with(on_command: OnCommand, commands: &[(&'static str, &'static str)]) -> World {
    let world = World::new(ProofPolicy::Signed, Signing::WhereAllowed).await;
    world.activate().await.expect("activated");
    world.server.commands(commands);
    let (_open, values) = mpsc::channel(1);
    let (stop, stopped) = oneshot::channel::<()>();
    let stopped = async {
        stopped.await.expect("told");
    };
    let all_taken = async {
        world.server.acknowledges(commands.len()).await;
        stop.send(()).expect("running");
    };
    let device = run(&world.fixture.device, None, values, on_command, stopped);
    let both = async { tokio::join!(device, all_taken).0 };
    world.serving(both).await.expect("stopped");
    world
}

/// A place for lines that can be read from outside.
#[derive(Clone, Default)]
struct Paper(Arc<Mutex<Vec<u8>>>);

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("lock").extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Paper {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().expect("lock").clone()).expect("text")
    }
}

#[tokio::test]
async fn commands_become_lines_and_are_acknowledged() {
    let paper = Paper::default();
    let print = OnCommand::Print(Box::new(paper.clone()));
    run_with(print, &[("reboot", "now"), ("set", "a\nb")]).await;
    assert_eq!(paper.text(), "reboot now\nset a\\nb\n");
}

/// A program of this text, in a directory of its own.
fn program(text: &str) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("program");
    let mut file = fs::File::create(&path).expect("created");
    write!(file, "#!/bin/sh\ncd {:?}\n{text}\n", directory.path()).expect("written");
    file.set_permissions(fs::Permissions::from_mode(0o700))
        .expect("mode");
    drop(file);
    (directory, path)
}

fn lines_of(directory: &tempfile::TempDir, name: &str) -> String {
    fs::read_to_string(directory.path().join(name)).unwrap_or_default()
}

#[tokio::test]
async fn commands_run_a_program_one_after_the_other() {
    let (directory, program) = program(
        "echo \"$FIRSTWAKE_COMMAND $FIRSTWAKE_SERIAL ${FIRSTWAKE_FEED:+feed} $(cat)\" >> done",
    );
    let run = OnCommand::Run {
        program,
        limit: Duration::from_secs(60),
    };
    // The last one is acknowledged when it has started: all others have ended.
    run_with(run, &[("one", "1; rm -rf x"), ("two", "2"), ("three", "3")]).await;
    let done = lines_of(&directory, "done");
    let expected = "one S+1 feed 1; rm -rf x\ntwo S+1 feed 2\n";
    assert!(done.starts_with(expected), "{done}");
}

#[tokio::test]
async fn a_program_that_does_not_end_is_ended() {
    let (directory, program) = program("echo $$ >> started; exec sleep 3600");
    let run = OnCommand::Run {
        program,
        limit: Duration::from_millis(300),
    };
    run_with(run, &[("one", ""), ("two", "")]).await;
    let started = lines_of(&directory, "started");
    let first = started.lines().next().expect("started");
    assert!(
        !PathBuf::from(format!("/proc/{first}")).exists(),
        "{first} runs on"
    );
}

#[tokio::test]
async fn what_could_not_be_handed_over_is_not_acknowledged() {
    let world = World::new(ProofPolicy::Signed, Signing::WhereAllowed).await;
    world.activate().await.expect("activated");
    let before = world.server.acknowledged();
    world.server.commands(&[("one", "1")]);
    let (values, taken) = mpsc::channel(1);
    let missing = OnCommand::Run {
        program: world.fixture.directory.path().join("no such program"),
        limit: Duration::from_secs(60),
    };
    // The value goes out after the command came in.
    let device = run(
        &world.fixture.device,
        None,
        taken,
        missing,
        std::future::pending(),
    );
    let script = async {
        world.server.has_sent_commands().await;
        let value = firstwake_connector::parse_line("n 1", None).expect("valid");
        values.send(value.expect("not blank")).await.expect("taken");
        drop(values);
    };
    let both = async { tokio::join!(device, script).0 };
    world.serving(both).await.expect("delivered");
    assert_eq!(world.server.acknowledged(), before);
}
