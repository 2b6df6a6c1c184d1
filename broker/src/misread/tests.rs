use super::*;
use crate::control::wish::{BlockWish, OperatorWish};
use crate::control::{
    BanWish, DevicesWish, ImportWish, LabelWish, ProductPatch, ProductWish, SecretWish, TokenWish,
    ValueWish,
};

fn told<T: DeserializeOwned>(body: &str) -> String {
    match json::<T>(body.as_bytes()) {
        Ok(_) => "taken".to_owned(),
        Err(misread) => misread.to_string(),
    }
}

fn check<T: DeserializeOwned>(body: &str, expected: &str) {
    assert_eq!(told::<T>(body), expected, "{body}");
}

#[test]
fn fields() {
    check::<DevicesWish>(r#"{"serials":[]}"#, r#""product_id" is missing"#);
    check::<DevicesWish>(
        r#"{"product_id":"aaaaaaaaaaaaaaaaaaaa"}"#,
        r#""serials" is missing"#,
    );
    check::<LabelWish>(
        r#"{"labl":"x"}"#,
        r#""labl" is an unknown key here: known is "label""#,
    );
    check::<ImportWish>(
        r#"{"product_id":"aaaaaaaaaaaaaaaaaaaa","new":1,"known":2,"rejected":3,"x":4}"#,
        r#""x" is an unknown key here: known is one of "product_id", "new", "known", "rejected""#,
    );
    check::<BanWish>(
        r#"{"network":"10.0.0.1","network":"10.0.0.2"}"#,
        r#""network" is there twice"#,
    );
    check::<DevicesWish>(
        r#"{"product_id":"aaaaaaaaaaaaaaaaaaaa","serials":["S-1",{"label":"x"}]}"#,
        r#""serials[1].serial" is missing"#,
    );
    check::<DevicesWish>(
        r#"{"product_id":"aaaaaaaaaaaaaaaaaaaa","serials":[{"serial":"S-1","mac":"x"}]}"#,
        r#""mac" is an unknown key in "serials[0]": known is one of "serial", "hardware", "label""#,
    );
}

#[test]
fn kinds_and_ranges() {
    check::<ProductWish>(r#"{"name":7}"#, r#""name" is 7: it has to be text"#);
    check::<ProductWish>(
        r#"{"name":"p","seats":"12"}"#,
        r#""seats" is the text "12": it has to be a whole number from 0 to 18446744073709551615"#,
    );
    check::<ProductWish>(
        r#"{"name":"p","new_datastreams":-1}"#,
        r#""new_datastreams" is -1: it has to be a whole number from 0 to 4294967295"#,
    );
    check::<ProductWish>(
        r#"{"name":"p","new_datastreams":1.5}"#,
        r#""new_datastreams" is 1.5: it has to be a whole number from 0 to 4294967295"#,
    );
    check::<BanWish>(
        r#"{"network":"10.0.0.1","force":"yes"}"#,
        r#""force" is the text "yes": it has to be true or false"#,
    );
    check::<BlockWish>(
        r#"{"except":{}}"#,
        r#""except" is an object: it has to be a list"#,
    );
    check::<ProductWish>(
        r#"{"name":"p","datastreams":[7]}"#,
        r#""datastreams[0]" is 7: it has to be an object"#,
    );
    check::<ProductWish>("[]", "the whole is a list: it has to be an object");
    check::<ProductWish>("7", "the whole is 7: it has to be an object");
    check::<ProductWish>("null", "the whole is null: it has to be an object");
}

#[test]
fn names_that_are_accepted() {
    check::<OperatorWish>(
        r#"{"password":"x","role":"root"}"#,
        r#""role" is "root": it has to be one of "viewer", "operator", "admin", "verifier""#,
    );
    // serde_json calls these wrong syntax.
    check::<OperatorWish>(
        r#"{"password":"x","role":7}"#,
        r#""role": it has to be one of "viewer", "operator", "admin", "verifier""#,
    );
    let told = told::<ProductPatch>(r#"{"proof":["x"]}"#);
    assert!(told.starts_with(r#""proof": it has to be "#), "{told}");
}

#[test]
fn no_json() {
    check::<ProductWish>("", "the body is not JSON: it is empty");
    check::<ProductWish>(" \n", "the body is not JSON: it is empty");
    check::<ProductWish>(
        r#"{"name":"#,
        "the body is not JSON: it ends too early, in line 1",
    );
    check::<ProductWish>(
        r#"{"name":"p"}x"#,
        "the body is not JSON: something stands behind its end, in line 1 at column 13",
    );
    check::<ProductWish>(
        r#"{"name":"p",}"#,
        "the body is not JSON: a comma stands before a closing bracket, in line 1 at column 13",
    );
    check::<ProductWish>(
        "name=p",
        "the body is not JSON: this cannot stand here, in line 1 at column 2",
    );
    check::<ProductWish>(
        "{name:1}",
        "the body is not JSON: a name has to stand in double quotes, in line 1 at column 2",
    );
}

#[test]
fn credentials_are_not_repeated() {
    let sent = [
        told::<OperatorWish>(r#"{"role":"viewer","password":8123456}"#),
        told::<SecretWish>(r#"{"secret":8123456}"#),
        told::<ProductWish>(r#"{"name":"p","secret":8123456}"#),
        query(
            "code: invalid digit found in string",
            &pairs("code", "8123456"),
        ),
    ];
    for told in sent {
        assert!(!told.contains("8123456"), "{told}");
        assert!(
            told.contains("it has to be") || told.contains("has to be"),
            "{told}"
        );
    }
}

#[test]
fn what_was_sent_is_cut_and_harmless() {
    let long = "x".repeat(10_000);
    for body in [
        format!(r#"{{"{long}":1}}"#),
        format!(r#"{{"network":"10.0.0.1","seconds":"{long}"}}"#),
        format!(r#"{{"network":"{long}"}}"#),
        r#"{"\u001b[2J\u202e":1}"#.to_owned(),
        r#"{"network":"10.0.0.1","force":"\u001b[2J\u009b\u202e"}"#.to_owned(),
        r#"{"network":"\u001b[2J\u202e"}"#.to_owned(),
    ] {
        let told = told::<BanWish>(&body);
        assert!(told.len() < 500, "{} bytes", told.len());
        let is_harmless = |char: char| !char.is_control() && char != '\u{202e}';
        assert!(told.chars().all(is_harmless), "{told:?}");
    }
}

#[test]
fn no_word_of_rust_reaches_anybody() {
    fn every<T: DeserializeOwned>(fields: &[&str]) {
        let wrong = [
            "null",
            "7",
            "-1",
            "1e400",
            "true",
            r#""""#,
            r#""x""#,
            "[7]",
            "{\"x\":7}",
        ];
        for field in fields.iter().chain(&["nonsense"]) {
            for wrong in wrong {
                let told = told::<T>(&format!(r#"{{"{field}":{wrong}}}"#));
                for word in [
                    "expected",
                    "variant",
                    "invalid type",
                    "u32",
                    "u64",
                    "struct",
                    "enum",
                    "sequence",
                    " map",
                    "`",
                    "column 0",
                    "identifier",
                    "line 0",
                ] {
                    assert!(!told.contains(word), "{field}: {wrong}: {told}");
                }
            }
        }
    }
    every::<ProductWish>(&[
        "name",
        "secret",
        "stage",
        "datastreams",
        "feed_defaults",
        "reactivation",
        "proof",
        "codes_until",
        "hardware",
        "may_change",
        "on_clone",
        "seats",
        "lease_seconds",
    ]);
    every::<ProductPatch>(&[
        "name",
        "stage",
        "codes_until",
        "may_change",
        "hardware",
        "seats",
    ]);
    every::<DevicesWish>(&["product_id", "serials", "dry_run"]);
    every::<ImportWish>(&["product_id", "new"]);
    every::<LabelWish>(&["label"]);
    every::<OperatorWish>(&["password", "role", "publish", "subscribe"]);
    every::<TokenWish>(&["operator", "label", "seconds"]);
    every::<BanWish>(&["network", "seconds", "reason", "force"]);
    every::<BlockWish>(&["except"]);
    every::<SecretWish>(&["secret", "grace_seconds"]);
    every::<ValueWish>(&["datastream", "value", "at"]);
}

fn pairs(name: &str, value: &str) -> Vec<(String, String)> {
    vec![(name.to_owned(), value.to_owned())]
}

#[test]
fn queries() {
    let check = |text: &str, value: &str, expected: &str| {
        let name = text.split_once(": ").map_or("limit", |(name, _)| name);
        assert_eq!(query(text, &pairs(name, value)), expected, "{text}");
    };
    check(
        "limit: invalid digit found in string",
        "x\u{1b}",
        r#""limit" is "x\u{1b}": it has to be a whole number, not negative"#,
    );
    check(
        "limit: number too large to fit in target type",
        "99999999999999999999",
        r#""limit" is "99999999999999999999": it has to be a smaller number"#,
    );
    check(
        "limit: provided string was not `true` or `false`",
        "maybe",
        r#""limit" is "maybe": it has to be true or false"#,
    );
    check(
        "limt: unknown field `limt`, expected `after` or `limit`",
        "1",
        r#""limt" is an unknown key here: known is "after" or "limit""#,
    );
    check("duplicate field `limit`", "1", r#""limit" is there twice"#);
}
