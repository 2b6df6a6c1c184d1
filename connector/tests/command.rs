//! The binary: its options, its exit status, and what it says.

use std::process::{Output, Stdio};

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::fake::{ACCEPTED, BAD_CREDENTIALS};
use crate::fixture::{CODE, Fixture, SERIAL, together};

async fn device(fixture: &Fixture, command: &str, options: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_firstwake-device"))
        .arg(command)
        .args(["--serial", SERIAL, "--credentials"])
        .arg(fixture.path())
        .args(options)
        .env_remove("FIRSTWAKE_CODE")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("started");
    let mut stdin = child.stdin.take().expect("piped");
    // A program that refuses its options reads nothing.
    let _ = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    child.wait_with_output().await.expect("ended")
}

fn said(output: &Output) -> (Option<i32>, &str, &str) {
    let text = |bytes| std::str::from_utf8(bytes).expect("text");
    (
        output.status.code(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

#[tokio::test]
async fn activating_says_what_it_got() {
    let fixture = Fixture::new().await;
    let address = fixture.broker.address();
    let options = ["--broker", &address, "--code-stdin"];
    let output = together(device(&fixture, "activate", &options, CODE), async {
        fixture.issues('a').await;
        fixture.takes_key('a', ACCEPTED).await;
    })
    .await;
    let (status, stdout, _) = said(&output);
    assert_eq!(
        (status, stdout),
        (Some(0), "activated: S+1 has feed 123456\n")
    );

    let output = device(&fixture, "activate", &options, CODE).await;
    let (status, stdout, _) = said(&output);
    assert_eq!(status, Some(0));
    assert!(stdout.starts_with("already activated"), "{stdout}");
}

#[tokio::test]
async fn a_refusal_is_one_sentence() {
    let fixture = Fixture::new().await;
    let address = fixture.broker.address();
    let options = ["--broker", &address, "--code-stdin"];
    let output = together(device(&fixture, "activate", &options, CODE), async {
        fixture.broker.connack(BAD_CREDENTIALS).await;
    })
    .await;
    let (status, stdout, stderr) = said(&output);
    assert_eq!((status, stdout), (Some(1), ""));
    assert_eq!(
        stderr,
        "firstwake-device: the server does not know this serial, or the activation code is wrong\n"
    );
}

#[tokio::test]
async fn the_code_and_the_values_may_share_standard_input() {
    let fixture = Fixture::new().await;
    let address = fixture.broker.address();
    let options = [
        "--broker",
        &address,
        "--code-stdin",
        "--datastream",
        "level",
    ];
    let input = format!("{CODE}\n97%\nno/name 1\nlevel=98%\n");
    let output = together(device(&fixture, "run", &options, &input), async {
        fixture.issues('a').await;
        let (mut peer, _) = fixture.broker.connack(ACCEPTED).await;
        for expected in ["97%", "98%"] {
            let published = peer.published().await;
            assert_eq!(published.topic, "feeds/123456/data/level");
            assert_eq!(published.payload, expected);
            peer.puback(published.id).await;
        }
        peer.disconnect().await;
    })
    .await;
    let (status, stdout, stderr) = said(&output);
    assert_eq!((status, stdout), (Some(0), ""));
    assert!(
        stderr.contains("line 2 ignored: a datastream id is"),
        "{stderr}"
    );
}

#[tokio::test]
async fn wrong_usage() {
    let fixture = Fixture::new().await;
    let check = async |options: &[&str], expected: &str| {
        let output = device(&fixture, "activate", options, "").await;
        let (status, _, stderr) = said(&output);
        assert_eq!(status, Some(2), "{stderr}");
        assert!(stderr.contains(expected), "{stderr}");
    };
    check(&["--code-stdin"], "--broker").await;
    check(&["--broker", "localhost", "--code-stdin"], "HOST:PORT").await;
    check(&["--broker", "localhost:1"], "FIRSTWAKE_CODE").await;
    check(
        &["--broker", "localhost:1", "--code-stdin", "--secret-stdin"],
        "cannot be used with",
    )
    .await;
    check(
        &["--broker", "192.0.2.1:1883", "--code-stdin"],
        "--dangerous-plaintext",
    )
    .await;
}
