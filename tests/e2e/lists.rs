//! Long lists of devices: taken in, and given back.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::{Done, SECRET, TestBroker, Way, code, command, eventually};

fn every_way(story: impl Fn(&Way)) {
    Way::all().iter().for_each(story);
}

fn product(way: &Way) -> String {
    let made = way.json(&["product", "create", "lamp", "--secret", SECRET]);
    made["product_id"].as_str().expect("an id").to_owned()
}

fn import(way: &Way, more: &[&str], list: &str) -> Done {
    let import = [&["device", "import", "-", "--output", "json"], more].concat();
    way.run_with(&import, list)
}

/// The summary of an import that went well.
fn counted(way: &Way, more: &[&str], list: &str) -> [u64; 4] {
    counts(&import(way, more, list).json())
}

/// New, known before, repeated in the list, rejected.
fn counts(summary: &Value) -> [u64; 4] {
    ["new", "known", "repeated", "rejected"].map(|name| summary[name].as_u64().expect("a count"))
}

fn events(way: &Way, kind: &str) -> Vec<Value> {
    let all = way.run(&["events", "--output", "json"]).ok();
    let each = all
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"));
    each.filter(|event: &Value| event["event"] == kind)
        .collect()
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

#[test]
fn a_list_is_taken_in_once() {
    every_way(|way| {
        let product = product(way);
        let list: String = (0..4500).map(|n| format!("L{n:05},lamp {n}\n")).collect();
        let list = format!("serial,label\n{list}L00007,again\n");
        assert_eq!(counted(way, &["--dry-run"], &list), [4500, 0, 1, 0]);
        assert!(events(way, "device_registered").is_empty(), "only said");
        assert!(events(way, "import_finished").is_empty(), "only said");

        assert_eq!(
            counted(way, &["--product", &product], &list),
            [4500, 0, 1, 0]
        );
        assert_eq!(
            counted(way, &[], &list),
            [0, 4500, 1, 0],
            "it is there already"
        );
        assert_eq!(counted(way, &["--dry-run"], &list), [0, 4500, 1, 0]);
        let shown = way.json(&["device", "show", "L00008"]);
        assert_eq!(shown["label"], "lamp 8");

        let finished = events(way, "import_finished");
        let told: Vec<[u64; 3]> = finished
            .iter()
            .map(|it| {
                ["registered", "known", "rejected"].map(|name| it[name].as_u64().expect("a count"))
            })
            .collect();
        assert_eq!(told, [[4500, 0, 0], [0, 4500, 0]]);
        assert_eq!(finished[0]["product_id"], json!(product));
        assert_eq!(events(way, "device_registered").len(), 4500);
        // And the codes are what finds them.
        let found = way.run(&["device", "code", "L04499"]).ok();
        assert_eq!(found.trim(), code("L04499"));
    });
}

#[test]
fn bad_lines_are_told_and_cost_nothing_else() {
    every_way(|way| {
        product(way);
        let report = way.place().join("rejected.csv");
        let list = "{\"serial\":\"A1\",\"mac\":\"b8:27:eb:01:02:03\"}\n{\"serial\":\"A 2\"}\nno\n";
        let done = import(way, &["--report", text(&report)], list);
        assert_eq!(done.status, 1, "{done:?}");
        let summary: Value = serde_json::from_str(&done.stdout).expect("a summary");
        assert_eq!(counts(&summary), [1, 0, 0, 2]);
        assert!(done.stderr.contains("2 lines were rejected"), "{done:?}");
        let written = fs::read_to_string(&report).expect("a report");
        let lines: Vec<&str> = written.lines().collect();
        assert_eq!(lines.len(), 3, "{written}");
        assert_eq!(lines[0], "line,serial,reason");
        assert!(lines[1].starts_with("2,A 2,"), "{written}");
        assert!(lines[2].starts_with("3,,"), "{written}");

        // Without a file the first of them are told, and how many more there are.
        let many = format!("serial\n{}", "a b\n".repeat(50));
        let done = import(way, &[], &many);
        assert_eq!(done.status, 1, "{done:?}");
        assert_eq!(done.stderr.matches("line ").count(), 20, "{done:?}");
        assert!(done.stderr.contains("30 more lines"), "{done:?}");
    });
}

#[test]
fn lists_come_as_factories_send_them() {
    every_way(|way| {
        product(way);
        let file = way.place().join("list.csv");
        let import = |more: &[&str], list: &[u8]| {
            fs::write(&file, list).expect("written");
            let import = ["device", "import", text(&file), "--output", "json"];
            way.run(&[&import[..], more].concat())
        };
        // A spreadsheet's text of Unicode: UTF-16, tabs, its own names, an empty
        // row below.
        let sheet = "\u{feff}Serial Number\tMAC\tLabel\tColour\r\n\
                     B1\tDC-A6-32-01-02-03\tK\u{fc}che\tred\r\n\t\t\t\r\n";
        let sheet: Vec<u8> = sheet.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let refused = import(&[], &sheet).refused();
        assert!(refused.contains("--column serial="), "{refused}");
        let serial = ["--column", "serial=Serial Number"];
        let refused = import(&serial, &sheet).refused();
        assert!(refused.contains("\"Colour\"") && refused.contains("--ignore-columns"));
        let options = [&serial[..], &["--ignore-columns"]].concat();
        let done = import(&options, &sheet).json();
        assert_eq!(counts(&done), [1, 0, 0, 0]);
        let shown = way.json(&["device", "show", "B1"]);
        assert_eq!(shown["label"], "K\u{fc}che");
        assert_eq!(shown["hardware"], json!(["mac"]));

        // What is wrong costs its line.
        let mut list =
            b"serial;mac\nB2;\nB3;dc:a6:32:zz:00:01\n=\"0002\";\n1,23457E+11;\n".to_vec();
        list.extend(vec![b'x'; 5_000_000]);
        list.extend(b"\nB4;\nB2;\n;\n");
        let report = way.place().join("rejected.csv");
        let done = import(&["--report", text(&report)], &list);
        assert_eq!(done.status, 1, "{done:?}");
        let summary: Value = serde_json::from_str(&done.stdout).expect("a summary");
        assert_eq!(counts(&summary), [2, 0, 1, 4]);
        let written = fs::read_to_string(&report).expect("a report");
        let lines: Vec<&str> = written.lines().collect();
        assert!(lines[1].starts_with("3,B3,\"this is no mac"), "{written}");
        assert!(lines[2].contains("a spreadsheet"), "{written}");
        assert!(lines[3].contains("a spreadsheet"), "{written}");
        assert!(lines[4].starts_with("6,,this is longer than"), "{written}");
    });
}

#[test]
fn a_report_is_no_way_into_another_file() {
    let way = Way::over_http();
    product(&way);
    let (victim, link) = (way.place().join("victim"), way.place().join("link"));
    fs::write(&victim, "precious").expect("written");
    symlink(&victim, &link).expect("a link");
    let done = import(&way, &["--report", text(&link)], "serial\nA 1\n");
    assert_eq!(done.status, 1, "{done:?}");
    assert_eq!(fs::read_to_string(&victim).expect("readable"), "precious");
    let written = fs::read_to_string(&link).expect("a report");
    assert!(
        written.starts_with("line,serial,reason\n2,A 1,"),
        "{written}"
    );
    for other in [Path::new("/dev/null"), way.place()] {
        let done = import(&way, &["--report", text(other)], "serial\nA1\n");
        assert!(done.refused().contains("is not a file"));
    }
}

#[test]
fn what_is_no_list_changes_nothing() {
    every_way(|way| {
        let product = product(way);
        let refused = |list: &str| import(way, &[], list).refused();
        assert!(refused("serial,imei\nA1,1\n").contains("imei"));
        assert!(refused("").contains("empty"));
        assert!(import(way, &["--product", "aaaaaaaaaaaaaaaaaaaa"], "serial\nA1\n").status > 0);
        assert!(events(way, "device_registered").is_empty());
        way.run(&["product", "create", "second"]).ok();
        assert!(refused("serial\nA1\n").contains("--product"));
        assert_eq!(
            counted(way, &["--product", &product], "serial\nA1\n"),
            [1, 0, 0, 0]
        );
    });
}

#[test]
fn what_is_exported_is_what_was_taken_in() {
    every_way(|way| {
        let product = product(way);
        let list = "serial,label\n\"A,1\",\"the \"\"big\"\" one, é\"\nA2,\nA3,=x\n";
        assert_eq!(counted(way, &[], list), [3, 0, 0, 0]);
        let csv = way.run(&["device", "export"]).ok();
        let ndjson = way.run(&["device", "export", "--format", "ndjson"]).ok();
        assert_eq!(csv, list.replace("=x", "'=x"), "harmless in a spreadsheet");
        assert!(ndjson.contains(r#"{"serial":"A2"}"#), "{ndjson}");
        assert!(events(way, "codes_exported").is_empty());

        for exported in [csv, ndjson] {
            let other = Way::over_http();
            self::product(&other);
            assert_eq!(counted(&other, &[], &exported), [3, 0, 0, 0]);
            let facts = |way: &Way, serial: &str| {
                let device = way.json(&["device", "show", serial]);
                let code = way.run(&["device", "code", serial]).ok();
                (device["label"].clone(), code)
            };
            for serial in ["A,1", "A2", "A3"] {
                assert_eq!(facts(way, serial), facts(&other, serial));
            }
        }

        let file = way.place().join("codes.csv");
        fs::write(&file, "what was there\n").expect("written");
        let export = ["device", "export", "--codes", "--to", text(&file)];
        assert!(way.run(&export).ok().contains("exported 3"));
        let written = fs::read_to_string(&file).expect("a list");
        let lines: Vec<&str> = written.lines().collect();
        assert_eq!(lines[0], "serial,label,activation_code");
        assert_eq!(lines[2], format!("A2,,{}", code("A2")));
        let mode = fs::metadata(&file).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let told = events(way, "codes_exported");
        assert_eq!(told.len(), 1);
        assert_eq!(
            (&told[0]["count"], &told[0]["product_id"]),
            (&json!(3), &json!(product))
        );
        assert!(!format!("{told:?}").contains(&code("A2")), "only how many");

        // One that cannot be made whole leaves what was there.
        let wrong = [
            "device",
            "export",
            "--product",
            "aaaaaaaaaaaaaaaaaaaa",
            "--to",
            text(&file),
        ];
        way.run(&wrong).failed(4);
        assert_eq!(fs::read_to_string(&file).expect("a list"), written);
        assert_eq!(
            fs::read_dir(way.place()).expect("a directory").count(),
            files_of(way)
        );
    });
}

/// What a way itself keeps in its place, and the file of this story.
fn files_of(way: &Way) -> usize {
    let kept = ["new", "token", "codes.csv"];
    kept.iter()
        .filter(|name| way.place().join(name).exists())
        .count()
}

#[test]
fn people_call_devices_something() {
    every_way(|way| {
        let product = product(way);
        way.run(&["device", "register", &product, "A1"]).ok();
        let set = |more: &[&str]| way.json(&[&["device", "set", "A1"], more].concat());
        assert_eq!(set(&["--label", "kitchen lamp"])["label"], "kitchen lamp");
        assert_eq!(set(&["--label", "kitchen lamp"])["label"], "kitchen lamp");
        assert!(way.run(&["device", "list"]).ok().contains("kitchen lamp"));
        assert_eq!(set(&["--no-label"])["label"], Value::Null);
        assert_eq!(way.run(&["device", "set", "A1"]).status, 2);
        let refused = way.run(&["device", "set", "A1", "--label", " x"]);
        assert_eq!(refused.status, 2, "{refused:?}");
        let told: Vec<Value> = events(way, "device_labelled")
            .iter()
            .map(|event| event["label"].clone())
            .collect();
        assert_eq!(
            told,
            [json!("kitchen lamp"), Value::Null],
            "a label that is there is none"
        );
    });
}

#[test]
fn a_server_that_goes_is_told_with_the_lines() {
    let mut way = Way::over_http();
    product(&way);
    // The reader waits for standard input, and so does the server's end.
    way.kill();
    let done = import(
        &way,
        &["--product", "aaaaaaaaaaaaaaaaaaaa"],
        "serial\nA1\nA2\n",
    );
    assert_eq!(done.status, 3, "{done:?}");
    let summary: Value = serde_json::from_str(&done.stdout).expect("a summary");
    assert_eq!(summary["failed"], json!([[2, 3]]), "{done:?}");
    assert!(
        done.stderr.contains("lines 2 to 3 are not known to be in"),
        "{done:?}"
    );
}

#[test]
fn an_import_that_is_interrupted_says_how_much_is_in() {
    let broker = TestBroker::start();
    broker
        .cli(&["product", "create", "lamp", "--secret", SECRET])
        .ok();
    let mut import = command();
    import
        .arg("--data-dir")
        .arg(broker.data_dir())
        .args(["device", "import", "-"]);
    let (input, errors) = (Stdio::piped(), Stdio::piped());
    let child = import
        .stdin(input)
        .stdout(Stdio::null())
        .stderr(errors)
        .spawn();
    let mut child = child.expect("it starts");
    let serials: String = (0..2000).map(|number| format!("S{number:05}\n")).collect();
    let mut input = child.stdin.take().expect("a pipe");
    input
        .write_all(format!("serial\n{serials}").as_bytes())
        .expect("written");
    eventually("the first part is in", || {
        let shown = broker.cli(&["device", "show", "S00000"]);
        (shown.status == 0).then_some(())
    });
    let interrupt = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(interrupt.expect("kill").success());
    // Its list is still open.
    let output = child.wait_with_output().expect("it ends");
    drop(input);
    assert_eq!(output.status.code(), Some(130));
    let errors = String::from_utf8(output.stderr).expect("UTF-8");
    assert!(
        errors.contains("new 2000") && errors.contains("import the same file again"),
        "{errors}"
    );
}
