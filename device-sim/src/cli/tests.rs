//! Which command lines are usage.

use clap::CommandFactory;

use super::*;

#[test]
fn the_commands_are_sound() {
    Cli::command().debug_assert();
}

fn check(line: &str, valid: bool) {
    let parsed = Cli::try_parse_from(line.split(' '));
    assert_eq!(parsed.is_ok(), valid, "{line}");
}

#[test]
fn storms() {
    let storm = "device-sim storm --broker localhost:1883 --secret-file F --serials d-:10";
    check(&format!("{storm} --in-flight 5"), true);
    check(
        &format!("{storm} --in-flight 5 --confirm --hold 0.5 --json R"),
        true,
    );
    check(&format!("{storm} --in-flight 0"), false);
    check(&format!("{storm} --hold 5"), false);
    check(&format!("{storm} --confirm --hold 0"), false);
    check(&format!("{storm} --confirm --hold -1"), false);
    check(&format!("{storm} --tls-ca C --tls-resume"), true);
    check(&format!("{storm} --tls-ca C --tls-version 1.1"), false);
    check(
        "device-sim floor --serials d-:10 --in-flight 5 --confirm --request",
        true,
    );
    check(&format!("{storm} --http --tls-ca C"), true);
    check(&format!("{storm} --http --confirm"), false);
    check(&format!("{storm} --http --request"), false);
    check("device-sim floor --serials d-:10 --http", true);
    check("device-sim floor --serials d-:0 --in-flight 5", false);
    check(
        "device-sim floor --serials d-:10 --in-flight 5 --hold 5",
        false,
    );
    check("device-sim floor --serials d-:10 --cert C --key K", true);
    check("device-sim floor --serials d-:10 --cert C", false);
}

#[test]
fn reconnects_enrolments_and_handshakes() {
    let reconnect = "device-sim reconnect --credentials F";
    check(&format!("{reconnect} --broker localhost:1883"), true);
    check(&format!("{reconnect} --floor --subscribe --hold 5"), true);
    check(reconnect, false);
    check(
        &format!("{reconnect} --floor --broker localhost:1883"),
        false,
    );

    let signed = "device-sim reconnect --floor --secret-file F --serials d-:10 --login";
    let product = "--product abcdefghijklmnopqrst";
    check(&format!("{signed} code"), true);
    for how in ["hs256", "eddsa"] {
        check(&format!("{signed} {how} {product}"), true);
        check(&format!("{signed} {how}"), false);
        check(&format!("{signed} {how} --product short"), false);
        check(&format!("{signed} {how} {product} --subscribe"), false);
        check(&format!("{signed} {how} {product} --credentials F"), false);
        check(&format!("{reconnect} --floor --login {how}"), false);
    }
    let enrol = "device-sim enrol --broker localhost:1883 --secret-file F --serials d-:10";
    check(&format!("{enrol} {product}"), true);
    check(enrol, false);

    let handshakes = "device-sim handshakes --tls-ca C";
    check(
        &format!("{handshakes} --count 9 --floor --cert C --key K --tls-version 1.2"),
        true,
    );
    check(&format!("{handshakes} --count 0 --floor"), false);
    check("device-sim handshakes --count 9 --floor", false);
}

#[test]
fn uplinks() {
    let uplink = "device-sim uplink --broker localhost:1883 --credentials F --operator O";
    let asked = format!("{uplink} --password-file P --messages 10");
    check(&format!("{asked} --qos 1 --window 10"), true);
    check(&format!("{asked} --qos 0 --rate 5000"), true);
    check(&format!("{asked} --qos 2"), false);
    check(&format!("{asked} --qos 1 --rate 5 --window 10"), false);
    check(&format!("{asked} --rate 0"), false);
    check(&format!("{asked} --size 35"), false);
    check(&format!("{uplink} --messages 10 --password-stdin"), true);
    check(&format!("{uplink} --messages 10"), false);
    check(&format!("{asked} --password-stdin"), false);
}
