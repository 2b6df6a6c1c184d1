//! The binary: its options, its exit status, and what it says.

use std::process::{Output, Stdio};

use firstwake::ProofPolicy;
use firstwake::signed::RequestDigest;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::fake::{ACCEPTED, BAD_CREDENTIALS};
use crate::fixture::{CODE, Fixture, SERIAL, together};
use crate::server::Server;

async fn device(fixture: &Fixture, command: &str, options: &[&str], input: &str) -> Output {
    let path = fixture.path().into_os_string().into_string().expect("text");
    let own = ["--serial", SERIAL, "--credentials", &path];
    program(&[&[command], &own[..], options].concat(), input).await
}

async fn program(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_firstwake-device"))
        .args(arguments)
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
        "--no-commands",
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

/// This, while the server serves.
async fn served(
    server: &Server,
    fixture: &Fixture,
    device: impl Future<Output = Output>,
) -> Output {
    let either = async {
        tokio::select! {
            output = device => output,
            () = server.serve(&fixture.broker) => unreachable!("it serves for ever"),
        }
    };
    together(either, async {}).await
}

#[tokio::test]
async fn a_signing_device_from_beginning_to_end() {
    let fixture = Fixture::new().await;
    let server = Server::new(ProofPolicy::Signed).await;
    server.has_seats(1).await;
    let broker = ["--broker", &fixture.broker.address()];

    let options = [&broker[..], &["--code-stdin"]].concat();
    let code = server.code().expose_hex();
    let activating = device(&fixture, "activate", &options, &code);
    let output = served(&server, &fixture, activating).await;
    let feed = server.device().await.feed;
    let expected = format!("activated: S+1 has feed {feed}, and signs with its own key\n");
    let (status, stdout, _) = said(&output);
    assert_eq!((status, stdout), (Some(0), &*expected));

    // A request, as the server that it is for would have it verified.
    let body = fixture.directory.path().join("body");
    std::fs::write(&body, "hello").expect("written");
    let body = body.to_str().expect("text");
    let options = [
        "--audience",
        "shop",
        "--method",
        "PUT",
        "--target",
        "/x?a=1",
        "--body-file",
        body,
    ];
    let output = device(&fixture, "sign", &options, "").await;
    let (status, token, _) = said(&output);
    assert_eq!(status, Some(0));
    let digest = RequestDigest::of("PUT", "/x?a=1", b"hello");
    let source = std::net::IpAddr::from([127, 0, 0, 1]);
    let door = &server.door;
    let shop = "shop".parse().expect("a server's name");
    let verified = door.verify_request(token.trim(), &digest, &shop, source, server.now());
    verified.await.expect("verified");
    // Another time, the body from standard input.
    let options = [
        "--audience",
        "shop",
        "--method",
        "PUT",
        "--target",
        "/x?a=1",
        "--body-file",
        "-",
    ];
    let output = device(&fixture, "sign", &options, "hello").await;
    let (_, token, _) = said(&output);
    let verified = door.verify_request(token.trim(), &digest, &shop, source, server.now());
    verified.await.expect("verified");

    // A licence, checked without a network.
    let licence = fixture.directory.path().join("licence");
    let licence = licence.to_str().expect("text");
    let options = [&broker[..], &["--output", licence]].concat();
    let asking = device(&fixture, "licence", &options, "");
    let output = served(&server, &fixture, asking).await;
    assert_eq!(said(&output), (Some(0), "", ""));
    let key = fixture.directory.path().join("key");
    let public = door.licence_key().await.expect("a key");
    std::fs::write(&key, public.to_string()).expect("written");
    let key = key.to_str().expect("text");
    let output = program(&["licence", "verify", licence, "--key", key], "").await;
    let (status, valid, _) = said(&output);
    assert_eq!(status, Some(0), "{output:?}");
    assert!(
        valid.starts_with(&format!("valid: {}/S+1 until ", server.product)),
        "{valid}"
    );
    let other = ["--serial", "S+2", "--credentials", licence];
    let verify = ["licence", "verify", licence, "--key", key];
    let output = program(&[&verify[..], &other].concat(), "").await;
    assert_eq!(said(&output).0, Some(1), "{output:?}");
}

#[tokio::test]
async fn an_identity_is_shown_with_its_hashes() {
    let fixture = Fixture::new().await;
    let pepper = fixture.directory.path().join("pepper");
    std::fs::write(&pepper, "0b".repeat(32)).expect("written");
    let pepper = pepper.to_str().expect("text");
    let output = program(
        &["identity", "--output", "json", "--pepper-file", pepper],
        "",
    )
    .await;
    let (status, stdout, _) = said(&output);
    assert_eq!(status, Some(0));
    let shown: serde_json::Value = serde_json::from_str(stdout).expect("JSON");
    let names = |part: &str| shown[part].as_object().expect("an object").len();
    // Whatever this machine is: each fact is there, or why it is not.
    assert_eq!(names("facts") + names("absent"), 7, "{stdout}");
    assert_eq!(names("hashes"), names("facts"), "{stdout}");

    let output = program(&["identity"], "").await;
    let (_, stdout, _) = said(&output);
    for fact in [
        "cpu_serial",
        "board",
        "mac",
        "sd_card",
        "machine_id",
        "cpuinfo",
    ] {
        assert!(
            stdout.lines().any(|line| line.starts_with(fact)),
            "{stdout}"
        );
    }
}

#[tokio::test]
async fn nothing_is_signed_without_a_key() {
    let fixture = Fixture::new().await;
    fixture.stores('a', true);
    let output = device(&fixture, "sign", &["--login"], "").await;
    let (status, stdout, stderr) = said(&output);
    assert_eq!((status, stdout), (Some(1), ""));
    assert!(stderr.contains("has no key that signs"), "{stderr}");
}
