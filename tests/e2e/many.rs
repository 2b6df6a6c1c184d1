//! One act on many devices.

use crate::support::{TestBroker, Version};

#[test]
fn a_list_is_carried_out_and_its_sessions_end() {
    for version in Version::ALL {
        let broker = TestBroker::start();
        let product = broker.fleet(&["S1", "S2", "S3", "S4"]);
        let mut live: Vec<_> = ["S1", "S2", "S4"]
            .map(|serial| broker.device(version, serial).0)
            .into();
        broker.cli(&["device", "revoke", "S3"]).ok();
        let list = format!("S1\n{product}/S2\n\nS3\nunknown\n");
        let done = broker.cli_with(&["device", "revoke", "--from", "-"], &list);
        assert_eq!(done.status, 1);
        assert_eq!(done.stdout, "changed 2, already so 1, failed 1\n");
        let lines: Vec<&str> = done.stderr.lines().collect();
        assert_eq!(
            lines,
            [
                "unknown: no device is called unknown",
                "firstwake: 1 device was left as it is"
            ]
        );
        let mut spared = live.pop().expect("three");
        for peer in &mut live {
            peer.expect_farewell_because(0x98, "an operator revoked this device");
        }
        spared.expect_alive();
        let lifecycles = ["S1", "S2", "S3", "S4"].map(|serial| broker.lifecycle(serial));
        assert_eq!(lifecycles, ["revoked", "revoked", "revoked", "active"]);
    }
}

#[test]
fn a_line_that_names_no_device_costs_itself() {
    let broker = TestBroker::start();
    let product = broker.fleet(&["S1", "S2", "S3"]);
    let list = format!("\u{feff}S1\r\n\"{product}/S2\";\r\nno good\r\n;\r\n1.5E+11\r\nS9\r\n");
    for (act, lifecycle) in [
        ("suspend", "suspended"),
        ("resume", "registered"),
        ("quarantine", "quarantined"),
        ("release", "registered"),
        ("forget-hardware", "registered"),
        ("renew", "registered"),
        ("revoke", "revoked"),
    ] {
        let done = broker.cli_with(&["device", act, "--from", "-"], &list);
        assert_eq!(done.status, 1, "{act}");
        assert!(done.stdout.ends_with("failed 1, rejected 2\n"), "{done:?}");
        let lines: Vec<&str> = done.stderr.lines().collect();
        assert!(lines[0].starts_with("line 3: \"no good\": "), "{lines:?}");
        assert!(
            lines[1].starts_with("line 5: \"1.5E+11\": a spreadsheet"),
            "{lines:?}"
        );
        let sentence = "firstwake: 1 device was left as it is, and 2 lines name no device";
        assert_eq!(lines.last(), Some(&sentence));
        for serial in ["S1", "S2"] {
            assert_eq!(broker.lifecycle(serial), lifecycle, "{act}");
        }
        assert_eq!(broker.lifecycle("S3"), "registered");
    }
    let reset = [
        "device",
        "reset",
        "--from-revoked",
        "--from",
        "-",
        "--output",
        "json",
    ];
    let done = broker.cli_with(&reset, &list);
    let told: serde_json::Value = serde_json::from_str(&done.stdout).expect("JSON");
    assert_eq!(told["changed"], 2);
    assert_eq!(told["rejected"], 2);

    // A list of exceptions is whole, or nothing is blocked.
    let except = ["product", "block", &product, "--except", "-"];
    let refused = broker.cli_with(&except, "S1\nno good\n").refused();
    assert!(refused.contains("line 2"), "{refused}");
}

#[test]
fn a_whole_product_is_changed_if_that_is_meant() {
    let broker = TestBroker::start();
    let product = broker.fleet(&["S1", "S2"]);
    let other = broker.json(&["product", "create", "door"]);
    let other = other["product_id"].as_str().expect("an id").to_owned();
    broker.cli(&["device", "register", &other, "D1"]).ok();
    let generate = ["device", "register", &product, "--generate", "g-:2500"];
    broker.cli(&generate).ok();
    let (mut live, _) = broker.device(Version::V5, "S1");
    let act = |act: &str, more: &[&str]| {
        broker.cli(&[&["device", act, "--product", &product], more].concat())
    };
    assert_eq!(act("suspend", &[]).status, 2, "--yes is asked for");
    live.expect_alive();
    let said = act("suspend", &["--yes"]).ok();
    assert_eq!(said, "changed 2502, already so 0, failed 0\n");
    live.expect_farewell_because(0x98, "an operator suspended this device");
    let said = act("suspend", &["--yes"]).ok();
    assert_eq!(said, "changed 0, already so 2502, failed 0\n");
    assert_eq!(broker.lifecycle("g-002499"), "suspended");
    assert_eq!(broker.lifecycle("D1"), "registered");
    broker.cli(&["device", "resume", "g-000000"]).ok();
    let said = act("resume", &["--yes"]).ok();
    assert_eq!(said, "changed 2501, already so 1, failed 0\n");
    assert_eq!(broker.lifecycle("S1"), "active");
    let both = ["device", "revoke", "S1", "--from", "-"];
    assert_eq!(broker.cli(&both).status, 2);
    assert_eq!(broker.cli(&["device", "revoke"]).status, 2);
}
