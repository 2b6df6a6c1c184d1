//! The command's contract: what scripts may rely on.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::{Connect, Done, PASSWORD, SECRET, TestBroker, Version, Way, code, firstwake};

/// Tells the same story on every way to a registry.
fn every_way(story: impl Fn(&Way)) {
    Way::all().iter().for_each(story);
}

fn run(data_dir: &Path, arguments: &[&str]) -> Done {
    firstwake(data_dir, arguments, "")
}

fn create(way: &Way, arguments: &[&str], stdin: &str) -> Value {
    let create = [&["product", "create"], arguments, &["--output", "json"]].concat();
    way.run_with(&create, stdin).json()
}

fn keys(object: &Value) -> Vec<&str> {
    let object = object.as_object().expect("an object");
    object.keys().map(String::as_str).collect()
}

#[test]
fn products() {
    every_way(|way| {
        let drawn = create(way, &["lamp"], "");
        assert_eq!(keys(&drawn), ["product_id", "name", "secret"]);
        assert_eq!(drawn["name"], "lamp");
        assert_eq!(drawn["product_id"].as_str().expect("an id").len(), 20);
        let secret = drawn["secret"].as_str().expect("a secret");
        assert!(secret.len() == 40 && secret.bytes().all(|b| b.is_ascii_hexdigit()));

        let given = create(
            way,
            &["lamp", "--secret", SECRET, "--datastreams", "a,b"],
            "",
        );
        assert_eq!(given["secret"], SECRET);
        let other = "00112233445566778899aabbccddeeff00112233";
        let read = create(way, &["lamp", "--secret-stdin"], &format!("{other}\n"));
        assert_eq!(read["secret"], other);
        let taken = way
            .run(&["product", "create", "x", "--secret", SECRET])
            .refused();
        assert!(taken.contains("this very secret"), "{taken}");
        assert!(!taken.contains(SECRET), "{taken}");
        assert_ne!(read["product_id"], given["product_id"]);

        for wrong in ["", "zz", &SECRET[1..]] {
            let refused = way
                .run(&["product", "create", "x", "--secret", wrong])
                .refused();
            assert!(wrong.is_empty() || !refused.contains(wrong), "{refused}");
        }
        let both = [
            "product",
            "create",
            "x",
            "--secret",
            SECRET,
            "--secret-stdin",
        ];
        assert_eq!(way.run(&both).status, 2);

        // Shown only then.
        for arguments in [
            ["product", "list"].as_slice(),
            &["product", "list", "--output", "json"],
        ] {
            let listed = way.run(arguments).ok();
            assert!(listed.contains("lamp") && !listed.contains(SECRET));
        }
    });
}

#[test]
fn devices() {
    every_way(|way| {
        let product = create(way, &["lamp", "--secret", SECRET], "");
        let id = product["product_id"].as_str().expect("an id");
        let register = |more: &[&str], stdin: &str| {
            let arguments = [&["device", "register", id], more].concat();
            way.run_with(&arguments, stdin).ok()
        };
        assert_eq!(
            register(&["--", "S1", "-x", "a+b"], ""),
            "registered 3, known before 0\n"
        );
        assert_eq!(
            register(&["S1", "S2"], ""),
            "registered 1, known before 1\n"
        );
        assert_eq!(
            register(&["--from", "-"], "F1\r\n\n  F2 \nS1\n"),
            "registered 2, known before 1\n"
        );
        assert_eq!(
            register(&["--generate", "g-:1500"], ""),
            "registered 1500, known before 0\n"
        );
        let file = way.place().join("serials.txt");
        fs::write(&file, "F3\n").expect("written");
        let from = ["--from", file.to_str().expect("UTF-8")];
        assert_eq!(register(&from, ""), "registered 1, known before 0\n");

        let shown = way
            .run(&["device", "show", "S1", "--output", "json"])
            .json();
        assert_eq!(
            keys(&shown),
            [
                "serial",
                "product_id",
                "label",
                "lifecycle",
                "feed_id",
                "registered_at",
                "issued_at",
                "confirmed_at",
                "reactivation_until",
                "proof",
                "hardware",
                "signed_at",
                "lease_until",
                "secret_generation"
            ]
        );
        assert_eq!(shown["serial"], "S1");
        assert_eq!(shown["product_id"], id);
        assert_eq!(shown["lifecycle"], "registered");
        assert!(shown["feed_id"].is_u64());
        assert_eq!(
            way.run(&["device", "show", "g-001499", "--output", "json"])
                .status,
            0
        );
        assert_eq!(way.run(&["device", "show", &format!("{id}/-x")]).status, 0);
        let listed = way.run(&["device", "list", id, "--output", "json"]).ok();
        assert_eq!(listed.lines().count(), 1507);

        let lifecycle = |act: &str, more: &[&str], expected: &str| {
            let arguments = [&["device", act, "S1"], more].concat();
            assert_eq!(way.run(&arguments).ok(), format!("S1 is {expected}\n"));
            let shown = way
                .run(&["device", "show", "S1", "--output", "json"])
                .json();
            assert_eq!(shown["lifecycle"], expected, "{act}");
        };
        lifecycle("suspend", &[], "suspended");
        // What is so already is as good as done.
        lifecycle("suspend", &[], "suspended");
        lifecycle("resume", &[], "registered");
        way.run(&["device", "resume", "S1"]).refused();
        lifecycle("quarantine", &[], "quarantined");
        way.run(&["device", "suspend", "S1"]).refused();
        lifecycle("release", &[], "registered");
        lifecycle("revoke", &[], "revoked");
        way.run(&["device", "reset", "S1"]).refused();
        lifecycle("reset", &["--from-revoked"], "registered");
        let reopened = way.run(&["device", "reopen", "S1", "--for", "15m"]).ok();
        assert!(
            reopened.starts_with("S1 is registered, and its code works until 2"),
            "{reopened}"
        );

        // Nothing half done, and nothing that is not there.
        way.run(&["device", "show", "unknown"]).failed(4);
        way.run(&["device", "register", &"x".repeat(20), "S1"])
            .failed(4);
        way.run_with(&["device", "register", id, "--from", "-"], "T1\nno good\n")
            .refused();
        way.run(&["device", "show", "T1"]).failed(4);
        assert_eq!(way.run(&["device", "register", id, "no good"]).status, 2);
        way.run(&["device", "register", id]).refused();
    });
}

#[test]
fn a_serial_of_two_products_has_to_be_named_in_full() {
    every_way(|way| {
        let ids = ["lamp", "door"].map(|name| {
            let product = create(way, &[name], "");
            let id = product["product_id"].as_str().expect("an id").to_owned();
            way.run(&["device", "register", &id, "S1"]).ok();
            id
        });
        for act in ["show", "explain", "suspend", "revoke", "reset"] {
            let refused = way.run(&["device", act, "S1"]).refused();
            for id in &ids {
                assert!(refused.contains(&format!("{id}/S1")), "{refused}");
            }
        }
        way.run(&["device", "suspend", &format!("{}/S1", ids[0])])
            .ok();
        let of = |id: &str| {
            let shown = way.run(&["device", "show", &format!("{id}/S1"), "--output", "json"]);
            shown.json()["lifecycle"].clone()
        };
        assert_eq!(
            (of(&ids[0]), of(&ids[1])),
            (json!("suspended"), json!("registered"))
        );
    });
}

#[test]
fn operators() {
    every_way(|way| {
        let add = |name: &str, more: &[&str], password: &str| {
            let add = ["operator", "add", name, "--password-stdin"];
            way.run_with(&[&add, more].concat(), password)
        };
        let filters = [
            "--role",
            "viewer",
            "--publish",
            "app/#",
            "--subscribe",
            "app/+",
        ];
        add("ops", &filters, &format!("{PASSWORD}\n")).ok();
        let listed = way
            .run(&["operator", "list", "--output", "json"])
            .json_lines();
        let ops = json!({
            "name": "ops", "role": "viewer", "publish": ["app/#"], "subscribe": ["app/+"],
        });
        assert!(listed.contains(&ops), "{listed:?}");
        add("ops", &["--role", "admin"], PASSWORD).ok();
        add("short", &["--role", "viewer"], "too short").refused();
        add("code", &["--role", "viewer"], &"a".repeat(40)).refused();
        for (name, more) in [
            ("9ops", ["--role", "viewer"].as_slice()),
            ("ops", &["--role", "king"]),
            ("ops", &[]),
            ("ops", &["--role", "viewer", "--publish", "a/#/b"]),
        ] {
            assert_eq!(add(name, more, PASSWORD).status, 2, "{name} {more:?}");
        }
        let without = ["operator", "add", "ops", "--role", "viewer"];
        assert_eq!(way.run(&without).status, 2);
        way.run(&["operator", "remove", "ops"]).ok();
        way.run(&["operator", "remove", "ops"]).failed(4);
    });
}

#[test]
fn wrong_usage_and_a_code() {
    let directory = tempfile::tempdir().expect("a directory");
    let dir = directory.path();
    for arguments in [
        [].as_slice(),
        &["nonsense"],
        &["serve", "--mqtt", "nowhere"],
        &["device", "show"],
        &["code", "--secret", SECRET],
        &["code", "--secret", SECRET, "--serial", "no good"],
    ] {
        let done = run(dir, arguments);
        assert_eq!(
            (done.status, done.stdout.as_str()),
            (2, ""),
            "{arguments:?}"
        );
    }
    let cut = ["code", "--secret", &SECRET[1..], "--serial", "S1"];
    run(dir, &cut).refused();
    let code = run(dir, &["code", "--secret", SECRET, "--serial", "-x"]).ok();
    assert_eq!(code.len(), 41);
    assert_eq!(
        fs::read_dir(dir).expect("readable").count(),
        0,
        "no data is made for it"
    );
}

#[test]
fn explain_says_what_happened_and_what_to_do() {
    let broker = TestBroker::start();
    broker.fleet(&["S1"]);
    let fresh = broker.cli(&["device", "explain", "S1"]).ok();
    assert!(fresh.contains("Nothing was seen of it since"), "{fresh}");
    // The near miss: the secret's text as the key.
    let near = "22efed57875ea782faa9089ea7308b9f2527f7f7";
    let wrong = Connect::new("S1", near);
    for _ in 0..3 {
        broker.told(Version::V5, &wrong);
    }
    let explained = broker.cli(&["device", "explain", "S1"]).ok();
    assert!(explained.contains("code_from_text_secret"), "{explained}");
    assert!(explained.contains("3 times in a row"), "{explained}");
    assert!(explained.contains("decode the hex"), "{explained}");
    let json = broker.json(&["device", "explain", "S1"]);
    assert_eq!(json["refusals"][0]["refusal"], "code_from_text_secret");
    assert_eq!(json["refusals"][0]["count"], 3);
    assert_eq!(json["device"]["lifecycle"], "registered");

    let (_, credentials) = broker.device(Version::V5, "S1");
    broker.told(Version::V5, &Connect::new("S1", &code("S1")));
    let explained = broker.cli(&["device", "explain", "S1"]).ok();
    assert!(explained.contains("code_spent"), "{explained}");
    assert!(explained.contains("device reset"), "{explained}");
    assert!(!explained.contains(&credentials.key));
}

#[test]
fn no_command_shows_a_secret() {
    let broker = TestBroker::start();
    let product = broker.fleet(&["S1"]);
    broker.add_operator("ops", "admin", &[]);
    let (_device, credentials) = broker.device(Version::V5, "S1");
    let code = code("S1");
    for arguments in [
        ["product", "list", "--output", "json"].as_slice(),
        &["device", "list", &product, "--output", "json"],
        &["device", "show", "S1", "--output", "json"],
        &["device", "explain", "S1", "--output", "json"],
        &["operator", "list"],
        &["events"],
    ] {
        let shown = broker.cli(arguments).ok();
        for secret in [SECRET, &credentials.key, &code, PASSWORD] {
            assert!(!shown.contains(secret), "{arguments:?}");
        }
    }
    // Nor do the files, but the product's secret's key is in one.
    for secret in [SECRET, &credentials.key, &code, PASSWORD] {
        assert!(!holds(broker.data_dir(), secret.as_bytes()), "{secret}");
    }
}

/// Whether a text stands in any file under a directory.
fn holds(directory: &Path, text: &[u8]) -> bool {
    fs::read_dir(directory).expect("readable").any(|entry| {
        let entry = entry.expect("readable");
        let kind = entry.file_type().expect("a type");
        if kind.is_dir() {
            return holds(&entry.path(), text);
        }
        kind.is_file()
            && fs::read(entry.path())
                .expect("readable")
                .windows(text.len())
                .any(|window| window == text)
    })
}

#[test]
fn the_first_operator_is_told_in_a_file_of_its_own() {
    let broker = TestBroker::start();
    let mode = |path: &Path| {
        let metadata = fs::metadata(path).expect("it is there");
        metadata.permissions().mode() & 0o7777
    };
    let dir = broker.data_dir();
    assert_eq!(mode(dir), 0o700);
    let file = dir.join("first-operator");
    assert_eq!(mode(&file), 0o600);
    assert_eq!(mode(&dir.join("sealing.key")), 0o600);
    let text = fs::read_to_string(&file).expect("readable");
    let (name, password) = text.trim_end().split_once('\n').expect("two lines");
    let name = name.strip_prefix("username ").expect("a name");
    let password = password.strip_prefix("password ").expect("a password");
    let connect = Connect::new(name, password);
    broker.admitted(Version::V5, &connect).expect_alive();
}

#[test]
fn status_says_by_its_exit_status_whether_a_server_runs() {
    let mut broker = TestBroker::start();
    broker.fleet(&["S1"]);
    assert_eq!(broker.json(&["status"])["running"], true);
    broker.terminate();
    assert!(broker.wait().success());
    let done = broker.cli(&["status", "--output", "json"]);
    assert_eq!(done.status, 3);
    let told: Value = serde_json::from_str(&done.stdout).expect("an answer all the same");
    assert_eq!(
        (&told["running"], &told["devices"]),
        (&json!(false), &json!(1))
    );
    assert!(
        done.stderr.contains("no server is running"),
        "{}",
        done.stderr
    );
}

#[test]
fn a_change_takes_effect_at_once() {
    let broker = TestBroker::start();
    broker.fleet(&["S1"]);
    for _ in 0..5 {
        let key = broker.activate(Version::V311, "S1").key;
        assert!(broker.works("S1", &key));
        broker.cli(&["device", "suspend", "S1"]).ok();
        assert!(!broker.works("S1", &key));
        broker.cli(&["device", "reset", "S1"]).ok();
        assert!(!broker.works("S1", &key));
    }
}

/// A directory that was there before is closed to others, if it is ours.
#[test]
fn a_data_directory_that_is_open_to_others_is_closed_or_refused() {
    let home = tempfile::tempdir().expect("a directory");
    let mode = |path: &Path| {
        let metadata = fs::metadata(path).expect("it is there");
        metadata.permissions().mode() & 0o777
    };
    let open = |name: &str| {
        let path = home.path().join(name);
        fs::create_dir(&path).expect("made");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("opened");
        path
    };
    let empty = open("empty");
    run(&empty, &["product", "create", "lamp"]).ok();
    assert_eq!(mode(&empty), 0o700);

    let foreign = open("foreign");
    fs::write(foreign.join("letter"), "").expect("written");
    let refused = run(&foreign, &["product", "create", "lamp"]).refused();
    assert!(refused.contains("name an empty directory"), "{refused}");
    assert_eq!(mode(&foreign), 0o755);
    assert_eq!(fs::read_dir(&foreign).expect("readable").count(), 1);
}
