//! The sealing key: another one in its place, and the wrong one.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;

use crate::support::http::{JSON, basic};
use crate::support::{SECRET, TestBroker, Version, command, eventually, firstwake};

const RESEAL: [&str; 2] = ["registry", "reseal"];

/// Every file under a directory, with what is in it.
fn contents(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(directory).expect("readable") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            all.extend(contents(&path));
        } else if path.is_file() && !path.ends_with("lock") {
            let name = path.to_str().expect("UTF-8").to_owned();
            all.insert(name, fs::read(&path).expect("readable"));
        }
    }
    all
}

/// A server that has stopped, with something of everything that is sealed.
fn stopped() -> (TestBroker, String) {
    let mut broker = TestBroker::with_http();
    let product = broker.fleet(&["S1", "S2"]);
    broker.cli(&["product", "rotate-secret", &product]).ok();
    broker.cli(&["product", "pepper", &product]).ok();
    broker.cli(&["licence", "key"]).ok();
    broker.add_operator("boss", "admin", &[]);
    made_once(&broker);
    broker.terminate();
    assert_eq!(broker.wait().code(), Some(0));
    (broker, product)
}

/// A product that is made once, however often that is asked.
fn made_once(broker: &TestBroker) -> serde_json::Value {
    let headers = [&basic("boss"), JSON, "Idempotency-Key: \"one\""];
    let made = broker
        .http()
        .ask("POST /api/v1/products", &headers, br#"{"name":"once"}"#);
    made.of(201)
}

/// What only the right key opens.
fn opened(broker: &TestBroker, product: &str) -> Vec<String> {
    let told = |arguments: &[&str]| broker.cli(arguments).ok();
    vec![
        told(&["product", "secret", product]),
        told(&["product", "pepper", product]),
        told(&["licence", "key"]),
    ]
}

#[test]
fn all_is_sealed_anew_and_nothing_is_lost() {
    let (mut broker, product) = stopped();
    let before = opened(&broker, &product);
    let key = broker.data_dir().join("sealing.key");
    let old = fs::read(&key).expect("readable");
    let done = broker.json(&RESEAL);
    assert_eq!(
        (&done["products"], &done["answers"]),
        (&2.into(), &1.into())
    );
    let new = fs::read(&key).expect("readable");
    assert_ne!(old, new);
    let mode = fs::metadata(&key).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(!broker.data_dir().join("sealing.key.next").exists());
    assert_eq!(opened(&broker, &product), before);
    let words = broker.cli(&RESEAL).ok();
    let new = String::from_utf8(new).expect("text");
    assert!(!words.contains(new.trim()), "{words}");
    assert!(words.contains("backups"), "{words}");

    broker.restart();
    broker.activate(Version::V5, "S1");
    let products = broker.json_lines(&["product", "list"]).len();
    made_once(&broker);
    assert_eq!(broker.json_lines(&["product", "list"]).len(), products);
    let refused = broker.cli(&RESEAL).failed(3);
    let pid = broker.pid().to_string();
    assert!(
        refused.contains(&pid) && refused.contains("stop it first"),
        "{refused}"
    );
    // The old key is of no use any more.
    broker.kill();
    fs::write(&key, old).expect("written");
    let refused = broker.cli(&["product", "list"]).failed(3);
    assert!(refused.contains("sealing.key"), "{refused}");
}

#[test]
fn a_reseal_may_be_cut_off_anywhere() {
    let (mut broker, product) = stopped();
    let before = opened(&broker, &product);
    let key = broker.data_dir().join("sealing.key");
    let next = broker.data_dir().join("sealing.key.next");
    let is_whole = |case: &str| {
        assert_eq!(opened(&broker, &product), before, "{case}");
        assert!(!next.exists(), "{case}: nothing is left over");
    };
    let old = fs::read(&key).expect("readable");
    // The next key half written, or whole, and the registry not touched.
    for begun in [&b""[..], b"0123", "ab".repeat(32).as_bytes()] {
        fs::write(&next, begun).expect("written");
        is_whole("before the registry");
        assert_eq!(fs::read(&key).expect("readable"), old);
    }
    // The registry sealed anew, and the key not yet in its place.
    let old_mark = fs::read(broker.data_dir().join("registry/sealed-by")).expect("readable");
    broker.cli(&RESEAL).ok();
    let new = fs::read(&key).expect("readable");
    let mark = broker.data_dir().join("registry/sealed-by");
    let new_mark = fs::read(&mark).expect("readable");
    for (case, mark_then) in [("before the mark", &old_mark), ("behind it", &new_mark)] {
        fs::write(&next, &new).expect("written");
        fs::write(&key, &old).expect("written");
        fs::write(&mark, mark_then).expect("written");
        is_whole(case);
        assert_eq!(fs::read(&key).expect("readable"), new, "it is finished");
        assert_eq!(fs::read(&mark).expect("readable"), new_mark);
    }
    // Begun twice: the second begins where the first was cut off.
    fs::write(&next, "cd".repeat(32)).expect("written");
    broker.cli(&RESEAL).ok();
    is_whole("a second time");
    // Neither of two is the right one: nothing is guessed, nothing removed.
    let right = fs::read(&key).expect("readable");
    fs::write(&key, &old).expect("written");
    fs::write(&next, &new).expect("written");
    let files = contents(broker.data_dir());
    broker.cli(&["product", "list"]).failed(3);
    assert_eq!(contents(broker.data_dir()), files);
    fs::write(&key, right).expect("put back");
    fs::remove_file(&next).expect("removed");
    broker.restart();
    broker.activate(Version::V311, "S2");
}

#[test]
fn a_kill_in_between_leaves_one_key_that_opens() {
    let (broker, product) = stopped();
    let before = opened(&broker, &product);
    let next = broker.data_dir().join("sealing.key.next");
    for round in 0..8 {
        let mut reseal = command();
        reseal.arg("--data-dir").arg(broker.data_dir()).args(RESEAL);
        let (out, err) = (Stdio::null(), Stdio::null());
        let child = reseal.stdout(out).stderr(err).spawn();
        let mut child = child.expect("it starts");
        eventually("the next key is there, or it has ended", || {
            let ended = child.try_wait().expect("it runs").is_some();
            (ended || next.exists()).then_some(())
        });
        // It may have ended.
        drop(child.kill());
        child.wait().expect("it ends");
        assert_eq!(opened(&broker, &product), before, "round {round}");
    }
}

#[test]
fn the_wrong_key_is_refused_and_changes_nothing() {
    let with_products = stopped().0;
    let empty = tempfile::tempdir().expect("a directory");
    firstwake(
        empty.path(),
        &[
            "operator",
            "add",
            "ops",
            "--role",
            "viewer",
            "--password-stdin",
        ],
        "a long enough one",
    )
    .ok();
    for directory in [with_products.data_dir(), empty.path()] {
        let key = directory.join("sealing.key");
        let right = fs::read(&key).expect("readable");
        fs::write(&key, "ab".repeat(32)).expect("written");
        let files = contents(directory);
        for wrong in [
            &["product", "create", "lamp", "--secret", SECRET][..],
            &["operator", "list"],
        ] {
            let refused = firstwake(directory, wrong, "").failed(3);
            assert!(
                refused.contains("sealing.key") && refused.contains("put the key file back"),
                "{refused}"
            );
            assert!(!refused.contains("abab"), "{refused}");
        }
        let serve = ["serve", "--mqtt", "127.0.0.1:0", "--http", "off"];
        firstwake(directory, &serve, "").refused();
        firstwake(directory, &RESEAL, "").failed(3);
        let after = contents(directory);
        let changed: Vec<&String> = after
            .iter()
            .filter(|(name, bytes)| files.get(*name) != Some(bytes))
            .map(|(name, _)| name)
            .collect();
        assert_eq!((changed, after.len()), (Vec::new(), files.len()));
        // Without the mark it is the registry that does not know the key.
        fs::remove_file(directory.join("registry/sealed-by")).expect("removed");
        firstwake(directory, &["operator", "list"], "").failed(3);
        fs::write(&key, right).expect("put back");
        firstwake(directory, &["operator", "list"], "").ok();
        let marked = directory.join("registry/sealed-by");
        assert!(marked.exists(), "it is marked again");
    }
}
