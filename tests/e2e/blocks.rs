//! Blocking a whole product, but for exceptions.

use crate::support::{Connect, TestBroker, Version, code};

const WORDS: &str = "an operator blocked the whole product";

fn refused(broker: &TestBroker, version: Version, serial: &str, password: &str) {
    let told = broker.told(version, &Connect::new(serial, password));
    let code = if version.is_5() { 0x87 } else { 5 };
    assert_eq!(told, Some(version.connack_because(code, WORDS)), "{serial}");
}

#[test]
fn a_block_spares_its_exceptions_over_a_restart() {
    for version in Version::ALL {
        let mut broker = TestBroker::start();
        let product = broker.fleet(&["S1", "S2", "S3"]);
        let (mut out, key) = broker.device(version, "S1");
        let (mut spared, spared_key) = broker.device(version, "S2");
        let block = ["product", "block", &product, "--except", "-"];
        let said = broker.cli_with(&block, "S2\n").ok();
        assert_eq!(said, format!("{product} is blocked, but for 1 devices\n"));
        out.expect_farewell_because(0x98, WORDS);
        spared.expect_alive();
        broker.kill_and_restart();
        refused(&broker, version, "S1", &key.key);
        refused(&broker, version, "S3", &code("S3"));
        assert!(broker.works("S2", &spared_key.key));
        let explained = broker.json(&["device", "explain", "S1"]);
        assert_eq!(explained["product_blocked"], true);
        let explained = broker.json(&["device", "explain", "S2"]);
        assert_eq!(explained["product_blocked"], false);
        let shown = broker.json(&["product", "show", &product]);
        assert_eq!(shown["blocked"], true);

        // Another block replaces the list.
        let mut spared = broker.login(version, "S2", &spared_key.key);
        broker.cli_with(&block, &format!("{product}/S1\n")).ok();
        spared.expect_farewell_because(0x98, WORDS);
        assert!(broker.works("S1", &key.key));
        refused(&broker, version, "S2", &spared_key.key);

        broker.cli(&["product", "unblock", &product]).ok();
        assert!(broker.works("S2", &spared_key.key));
        broker.activate(version, "S3");
        // Without exceptions, the old ones no longer count.
        broker.cli(&["product", "block", &product]).ok();
        refused(&broker, version, "S1", &key.key);
        let events = broker.events();
        let blocks: Vec<_> = events
            .iter()
            .filter(|event| event["product_id"] == product.as_str())
            .filter_map(|event| {
                let name = event["event"]
                    .as_str()
                    .filter(|name| name.contains("block"));
                name.map(|name| (name, event["excepted"].as_u64()))
            })
            .collect();
        assert_eq!(
            blocks,
            [
                ("product_blocked", Some(1)),
                ("product_blocked", Some(1)),
                ("product_unblocked", None),
                ("product_blocked", Some(0))
            ]
        );
    }
}

#[test]
fn an_exception_that_is_not_there_blocks_nothing() {
    let broker = TestBroker::start();
    let product = broker.fleet(&["S1"]);
    let (mut live, _) = broker.device(Version::V5, "S1");
    let block = ["product", "block", &product, "--except", "-"];
    let done = broker.cli_with(&block, "S1\nunknown\n");
    assert_eq!(done.status, 1);
    assert!(done.stderr.contains("nothing is blocked"), "{done:?}");
    live.expect_alive();
    let unknown = ["product", "block", "abcdefghijklmnopqrst"];
    broker.cli(&unknown).failed(4);
}

#[test]
fn what_is_changed_of_a_product_and_nothing_else() {
    let broker = TestBroker::start();
    let product = broker.fleet(&["S1"]);
    let change = ["product", "set", &product, "--name", "bulb"];
    broker.cli(&change).ok();
    let more = ["--reactivation", "always", "--new-datastreams", "3"];
    broker
        .cli(&[&["product", "set", &product], more.as_slice()].concat())
        .ok();
    let shown = broker.json(&["product", "show", &product]);
    assert_eq!(shown["name"], "bulb");
    assert_eq!(shown["reactivation"], "always");
    assert_eq!(shown["new_datastreams"], 3);
    assert_eq!(shown["datastreams"].as_array().map(Vec::len), Some(2));
    broker
        .cli(&["product", "set", &product, "--name", ""])
        .refused();
    // The policy is followed at once.
    broker.device(Version::V5, "S1");
    broker.activate(Version::V5, "S1");
    let changes = broker
        .events()
        .iter()
        .filter(|e| e["event"] == "product_changed")
        .count();
    assert_eq!(changes, 2);
}
