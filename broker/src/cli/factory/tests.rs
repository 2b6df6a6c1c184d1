use std::io::Cursor;

use clap::Parser;
use firstwake::hardware::Fact;

use super::*;

fn list(text: impl Into<Vec<u8>>, format: Option<Format>) -> Result<List> {
    list_read(text, format, &[])
}

/// The same with options.
fn list_read(text: impl Into<Vec<u8>>, format: Option<Format>, options: &[&str]) -> Result<List> {
    #[derive(Parser)]
    struct Options {
        #[command(flatten)]
        reading: Reading,
    }
    let options = Options::try_parse_from([&["list"], options].concat())?;
    let source = Box::new(Cursor::new(text.into()));
    List::read(source, None, "list".to_owned(), format, &options.reading)
}

fn refused(text: &str) -> String {
    let read = list(text, Some(Format::Csv)).and_then(whole);
    format!("{:#}", read.err().expect("refused"))
}

/// Each line: its number, and its serial or why it is rejected.
fn told(text: impl Into<Vec<u8>>) -> Vec<(u64, String)> {
    told_with(text, &[])
}

fn told_with(text: impl Into<Vec<u8>>, options: &[&str]) -> Vec<(u64, String)> {
    let mut list = list_read(text, None, options).expect("a list");
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
                A2,,035344534C31364780f8a1b2c3012345,,\n";
    let devices = whole(list(text, None).expect("a list")).expect("devices");
    let told = devices.iter().map(|device| {
        let facts = device.hardware.iter();
        let facts: Vec<_> = facts.map(|it| (it.fact(), it.as_str())).collect();
        let label = device.label.as_ref().map(|label| label.as_str());
        (device.serial.as_str(), label, facts)
    });
    let of_a1 = vec![
        (Fact::Mac, "b8:27:eb:01:02:03"),
        (Fact::Mac, "b8:27:eb:01:02:04"),
        (Fact::Board, "c03111 raspberry pi 4, b"),
    ];
    let of_a2 = vec![(Fact::SdCard, "035344534c31364780f8a1b2c3012345")];
    let expected = [("A1", Some("the \"big\" one"), of_a1), ("A2", None, of_a2)];
    assert!(told.eq(expected));
}

#[test]
fn objects_say_the_same() {
    let (one, other) = ("b8:27:eb:01:02:03", "b8:27:eb:01:02:04");
    let text = format!(
        "{{\"serial\":\"A1\",\"mac\":[\"{one}\",\"{other}\"],\"label\":\"x\"}}\n{{\"serial\":\"A2\"}}\n"
    );
    let objects = whole(list(text, None).expect("a list")).expect("devices");
    let lines = format!("serial,label,mac\nA1,x,{one} {other}\nA2,,\n");
    let lines = whole(list(lines, None).expect("a list"));
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
    assert!(told[4].1.contains("no character of UTF-8"), "{told:?}");
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
    assert!(told[3].1.contains("there is no \"serial\""), "{told:?}");
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
}

#[test]
fn a_line_of_any_length_costs_itself() {
    for head in ["serial\nA1\n", "{\"serial\":\"A1\"}\n"] {
        let next = head
            .split('\n')
            .nth(if head.starts_with('{') { 0 } else { 1 });
        let next = next.expect("a line").replace("A1", "A2");
        for length in [LONGEST + 1, 100_000, 5_000_000] {
            let long = "x".repeat(length);
            let told = told(format!("{head}{long}\n{next}\n{long}"));
            let told: Vec<&str> = told.iter().map(|(_, it)| it.as_str()).collect();
            let too_long = ": this is longer than 65536 bytes";
            assert_eq!(told, ["A1", too_long, "A2", too_long], "{length}");
        }
    }
    // The longest.
    let serial = "A1".to_owned() + &" ".repeat(LONGEST - 3);
    assert_eq!(told(format!("serial\n{serial}\nA2\n")).len(), 2);
    assert_eq!(told(format!("serial\n{serial} \nA2\n"))[0].1, "A1");
}

#[test]
fn any_delimiter_and_encoding_is_recognised() {
    let expected = [(2, "A1".to_owned()), (3, "A2".to_owned())];
    for delimiter in [',', ';', '\t', '|'] {
        let text = format!(
            "Serial {delimiter}MAC{delimiter}CPU Serial{delimiter}\r\n\
             A1{delimiter}\"DC-A6-32-01-02-03\"{delimiter}7{delimiter}\r\n\
             A2{delimiter}{delimiter}{delimiter}\r\n"
        );
        let marked = format!("\u{feff}{text}");
        let little = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let big = |text: &str| text.encode_utf16().flat_map(u16::to_be_bytes).collect();
        let each: [Vec<u8>; 6] = [
            text.clone().into(),
            marked.clone().into(),
            little(&text),
            little(&marked),
            big(&text),
            big(&marked),
        ];
        for (which, bytes) in each.into_iter().enumerate() {
            assert_eq!(told(bytes), expected, "{delimiter:?} {which}");
        }
    }
    assert_eq!(
        told("sep=;\r\nserial;label\r\nA1;x\r\n"),
        [(3, "A1".to_owned())]
    );
    let odd = told_with("serial:label\nA1:x\n", &["--delimiter", ":"]);
    assert_eq!(odd, [(2, "A1".to_owned())]);
    let tabs = told_with("serial\tlabel\nA1\tx\n", &["--delimiter", "tab"]);
    assert_eq!(tabs, [(2, "A1".to_owned())]);
}

#[test]
fn other_bytes_cost_nothing_where_they_are_not_looked_at() {
    let text = b"serial,Gr\xf6\xdfe,label\nA1,\xff,x\nA2,1,K\xfcche\n";
    let told = told_with(*text, &["--ignore-columns"]);
    assert_eq!(told[0].1, "A1");
    assert!(told[1].1.starts_with("A2: there is a byte"), "{told:?}");
    let options = [
        "--encoding",
        "windows-1252",
        "--column",
        "board=Gr\u{f6}\u{df}e",
    ];
    let list = list_read(*text, None, &options)
        .and_then(whole)
        .expect("devices");
    let label = list[1].label.as_ref().map(|label| label.as_str());
    assert_eq!(label, Some("K\u{fc}che"));
    assert_eq!(list[0].hardware[0].as_str(), "\u{ff}");
}

#[test]
fn columns_go_by_other_names() {
    let text = "No.,Serial Number,Colour\n1,A1,red\n2,A2,blue\n";
    let refused = |options: &[&str]| {
        let error = list_read(text, None, options).err().expect("refused");
        format!("{error:#}")
    };
    let told_of = refused(&[]);
    assert!(
        told_of.contains("\"No.\", \"Serial Number\", \"Colour\""),
        "{told_of}"
    );
    assert!(told_of.contains("--column serial="), "{told_of}");
    let told_of = refused(&["--column", "serial=serial number"]);
    assert!(told_of.contains("\"No.\", \"Colour\""), "{told_of}");
    assert!(told_of.contains("--ignore-columns"), "{told_of}");
    let told_of = refused(&["--column", "serial=Number", "--ignore-columns"]);
    assert!(
        told_of.contains("no column is called \"Number\""),
        "{told_of}"
    );
    for wrong in ["serial", "serial=", "colour=x", "=x"] {
        assert!(
            list_read(text, None, &["--column", wrong]).is_err(),
            "{wrong}"
        );
    }
    let options = [
        "--column",
        "serial=Serial Number",
        "--column",
        "label=colour",
    ];
    let all = [&options[..], &["--ignore-columns"]].concat();
    let devices = list_read(text, None, &all)
        .and_then(whole)
        .expect("devices");
    let label = devices[0].label.as_ref().map(|label| label.as_str());
    assert_eq!((devices[0].serial.as_str(), label), ("A1", Some("red")));
    // The one of the usual name is another then.
    let text = "serial,Serial Number\n1,A1\n";
    let all = ["--column", "serial=Serial Number", "--ignore-columns"];
    assert_eq!(told_with(text, &all), [(2, "A1".to_owned())]);
    // Members of objects as well.
    let text = "{\"Serial Number\":\"A1\",\"Label\":\"x\",\"no\":[1]}\n";
    assert_eq!(told_with(text, &all), [(1, "A1".to_owned())]);
    assert!(
        told(text)[0]
            .1
            .contains("\"Serial Number\" is none of serial")
    );
}

#[test]
fn what_a_spreadsheet_did_is_told() {
    let told = told(
        "serial,cpu_serial\n1.23457E+11,\n\"=\"\"0002\"\"\",\n=\"0002\",\n'0003,\n####,\n02-Mar,\n\
         A1,1.23457E+11\n'-5,\nA2,a\n",
    );
    for (_, reason) in &told[..7] {
        assert!(reason.contains("a spreadsheet"), "{reason}");
    }
    assert!(
        told[6].1.starts_with("A1: cpu_serial: a spreadsheet"),
        "{told:?}"
    );
    // As exported.
    assert_eq!(told[7].1, "-5");
    assert_eq!(told[8].1, "A2");
    assert_eq!(self::told("{\"serial\":\"1E+11\"}\n")[0].1, "1E+11");
}

#[test]
fn lines_of_empty_cells_are_blank() {
    let text = "serial;mac;label\n;;\n ; ;\n\"\";\"\";\"\"\n\t\n;;;;\nA1;;\nA2;;;;\nA3;;;;x\n";
    let told = told(text);
    assert_eq!(told[0], (7, "A1".to_owned()));
    assert_eq!(told[1], (8, "A2".to_owned()));
    assert!(told[2].1.starts_with("A3: 5 cells"), "{told:?}");
    assert_eq!(
        self::told("serial,label\n,\n,,\nA1,\n"),
        [(4, "A1".to_owned())]
    );
    // A cell without a serial is no blank line.
    assert_eq!(self::told("serial,label\n,x\n").len(), 1);
    let nameless = self::told("serial,\nA1,\nA2,x\n");
    assert_eq!(nameless[0].1, "A1");
    assert!(
        nameless[1].1.contains("whose column has no name"),
        "{nameless:?}"
    );
}

#[test]
fn a_value_that_its_kind_cannot_have_is_told_with_its_line() {
    let told = told(
        "serial,mac,sd_card\nA1,dc:a6:32:zz:00:01,\nA2,dc:a6:32:01:02:03,07\n\
         A3,dc:a6:32:01:02:03;dca632010204,\n",
    );
    assert!(told[0].1.starts_with("A1: this is no mac"), "{told:?}");
    assert!(told[1].1.starts_with("A2: this is no sd_card"), "{told:?}");
    assert_eq!(told[2].1, "A3");
    let told = self::told("{\"serial\":\"A1\",\"mac\":\"dc:a6:32:zz:00:01\"}\n");
    assert!(told[0].1.starts_with("A1: this is no mac"), "{told:?}");
}

#[test]
fn names_alone_come_from_any_program() {
    let read = |bytes: &[u8]| {
        let source = Box::new(Cursor::new(bytes.to_vec()));
        let each = names::read(source, firstwake::Serial::parse).expect("readable");
        let told = each.into_iter().map(|Named { line, name }| match name {
            Ok(name) => (line, name.to_string()),
            Err(rejected) => (line, format!("{}: {}", rejected.serial, rejected.reason)),
        });
        told.collect::<Vec<_>>()
    };
    let text = "\u{feff}A1\r\n\r\n\"A2\"\r\nA3;;\r\n,\r\n;\r\nA4,\r\n";
    let expected = [(1, "A1"), (3, "A2"), (4, "A3"), (7, "A4,")];
    let expected = expected.map(|(line, name)| (line, name.to_owned()));
    assert_eq!(read(text.as_bytes()), expected);
    let wide: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert_eq!(read(&wide), expected);
    let told = read(b"A 1\n1.5E+11\n\xff\nA2\n");
    assert!(told[0].1.starts_with("A 1: a serial is"), "{told:?}");
    assert!(told[1].1.contains("a spreadsheet"), "{told:?}");
    assert!(told[2].1.contains("no character of UTF-8"), "{told:?}");
    assert_eq!(told[3].1, "A2");
}

#[test]
fn other_files_are_told() {
    let refused = |bytes: &[u8]| {
        let error = list(bytes, None).err().expect("refused");
        format!("{error:#}")
    };
    assert!(refused(b"PK\x03\x04\x14\0").contains("workbook"));
    assert!(refused(b"[{\"serial\":\"A1\"}]").contains("one object a line"));
    assert!(refused(b"serial\rA1\r").contains("carriage return"));
}

#[test]
fn what_is_wrong_is_told_with_its_line() {
    let told = refused("serial,imei\nA1,1\n");
    assert!(
        told.contains("imei") && told.contains("cpu_serial"),
        "{told}"
    );
    assert!(refused("serial/mac\nA1/1\n").contains("--delimiter"));
    assert!(refused("mac\n1\n").contains("serial"));
    assert!(refused("serial,serial\na,b\n").contains("twice"));
    assert!(refused("serial\n").contains("no device"));
    let told = refused("serial,cpu_serial\nA1,1\nA 2,1\n");
    assert!(told.contains("line 3"), "{told}");
    let told = refused("serial,mac\nA1\n");
    assert!(told.contains("line 2"), "{told}");
}
