use std::io::Cursor;

use super::*;

fn list(text: impl Into<Vec<u8>>, format: Option<Format>) -> Result<List> {
    let source = Box::new(Cursor::new(text.into()));
    List::read(source, None, "list".to_owned(), format)
}

fn refused(text: &str) -> String {
    let read = list(text, Some(Format::Csv)).and_then(whole);
    format!("{:#}", read.err().expect("refused"))
}

/// Each line: its number, and its serial or why it is rejected.
fn told(text: impl Into<Vec<u8>>) -> Vec<(u64, String)> {
    let mut list = list(text, None).expect("a list");
    let mut told = Vec::new();
    while let Some(Row { line, device }) = list.next().expect("readable") {
        let device = device.map(|device| device.serial.to_string());
        told.push((
            line,
            device.unwrap_or_else(|it| it.serial + ": " + &it.reason),
        ));
    }
    told
}

#[test]
fn each_line_is_a_device() {
    let text = "\u{feff}serial, mac ,sd_card,board,label\r\n\
                A1,b8:27:eb:01:02:03;b8:27:eb:01:02:04,,\"c03111 Raspberry Pi 4, B\",\"the \"\"big\"\" one\"\r\n\
                \n\
                A2,,0353445355313647,,\n";
    let devices = whole(list(text, None).expect("a list")).expect("devices");
    let told = devices.iter().map(|device| {
        let facts = device.hardware.iter();
        let facts: Vec<_> = facts.map(|(fact, value)| (*fact, value.as_str())).collect();
        let label = device.label.as_ref().map(|label| label.as_str());
        (device.serial.as_str(), label, facts)
    });
    let of_a1 = vec![
        (Fact::Mac, "b8:27:eb:01:02:03"),
        (Fact::Mac, "b8:27:eb:01:02:04"),
        (Fact::Board, "c03111 Raspberry Pi 4, B"),
    ];
    let of_a2 = vec![(Fact::SdCard, "0353445355313647")];
    let expected = [("A1", Some("the \"big\" one"), of_a1), ("A2", None, of_a2)];
    assert!(told.eq(expected));
}

#[test]
fn objects_say_the_same() {
    let text = "{\"serial\":\"A1\",\"mac\":[\"a\",\"b\"],\"label\":\"x\"}\n{\"serial\":\"A2\"}\n";
    let objects = whole(list(text, None).expect("a list")).expect("devices");
    let lines = whole(list("serial,label,mac\nA1,x,a b\nA2,,\n", None).expect("a list"));
    assert!(objects == lines.expect("devices"));
}

#[test]
fn a_bad_line_costs_itself() {
    let mut text = b"serial,label\nA 1,\nA2,\"open\nA3\nA4,x\n".to_vec();
    text.extend(b"A5,\xff\nA6,\xc3\xa9\n");
    let told = told(text);
    let lines: Vec<u64> = told.iter().map(|(line, _)| *line).collect();
    assert_eq!(lines, [2, 3, 4, 5, 6, 7]);
    assert!(told[0].1.starts_with("A 1: a serial"), "{told:?}");
    assert!(told[1].1.contains("a quote is not closed"), "{told:?}");
    assert!(told[2].1.starts_with("A3: 1 cells, where"), "{told:?}");
    assert_eq!(told[3].1, "A4");
    assert!(told[4].1.contains("not UTF-8"), "{told:?}");
    assert_eq!(told[5].1, "A6");
}

#[test]
fn a_bad_object_costs_itself() {
    let told = told(
        "{\"serial\":\"A1\"}\n7\n{\"serial\":\"A2\",\"imei\":\"1\"}\n{\"label\":\"x\"}\n{\"serial\":\"A3\",\"label\":7}\nnot JSON\n",
    );
    assert_eq!(told[0].1, "A1");
    assert!(told[1].1.contains("not a JSON object"), "{told:?}");
    assert!(
        told[2].1.starts_with("A2: \"imei\" is none of serial"),
        "{told:?}"
    );
    assert!(told[3].1.contains("missing field `serial`"), "{told:?}");
    assert!(told[4].1.starts_with("A3: "), "{told:?}");
    assert!(told[5].1.contains("not a JSON object"), "{told:?}");
}

#[test]
fn a_file_that_is_no_list_is_told() {
    let binary = [0x7f, b'E', b'L', b'F', 0xff, 0xfe, b'\n'];
    let error = list(binary, None).err().expect("refused");
    assert!(format!("{error:#}").contains("line 1: this is not UTF-8"));
    let error = list("", None).err().expect("refused");
    assert!(format!("{error:#}").contains("empty"));
    // One that has no end of line is not read to its end.
    let mut long = list("serial\nA1\n".to_owned() + &"x".repeat(100_000), None).expect("a list");
    assert!(long.next().expect("readable").is_some());
    let error = long.next().err().expect("refused");
    let told = format!("{error:#}");
    assert!(told.contains("line 3: this is longer than"), "{told}");
}

#[test]
fn what_is_wrong_is_told_with_its_line() {
    let told = refused("serial,imei\nA1,1\n");
    assert!(
        told.contains("imei") && told.contains("cpu_serial"),
        "{told}"
    );
    assert!(refused("serial;mac\nA1;1\n").contains("with commas"));
    assert!(refused("mac\n1\n").contains("serial"));
    assert!(refused("serial,serial\na,b\n").contains("twice"));
    assert!(refused("serial\n").contains("no device"));
    let told = refused("serial,mac\nA1,1\nA 2,1\n");
    assert!(told.contains("line 3"), "{told}");
    let told = refused("serial,mac\nA1\n");
    assert!(told.contains("line 2"), "{told}");
}
