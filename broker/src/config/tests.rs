//! The file and the options, and what becomes of them.

use clap::Parser;

use super::*;

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    options: Options,
}

fn config(file: &str, options: &[&str]) -> Result<Config> {
    let options = [&["serve"], options].concat();
    let options = Command::try_parse_from(options)?.options;
    let file = File::parse(file)?;
    Config::new(PathBuf::new(), options, file, Sockets::default())
}

/// Name and address of each entrance.
fn entrances(file: &str, options: &[&str]) -> Vec<String> {
    let config = config(file, options).expect("a configuration");
    let entrances = config.entrances.iter().map(|entrance| {
        let address = entrance.socket.address().expect("an address");
        format!("{} {address}", entrance.protocol.name())
    });
    entrances.collect()
}

fn refused(file: &str, options: &[&str]) -> String {
    let refused = config(file, options).expect_err("it is wrong");
    format!("{refused:#}")
}

/// The sample with every key as if somebody had taken its `#` away.
fn sample() -> String {
    let sample = include_str!("../../../packaging/firstwake.toml");
    let keys = sample.lines().filter_map(|line| line.strip_prefix('#'));
    let keys = keys.filter(|line| !line.is_empty() && !line.starts_with(' '));
    keys.fold(String::new(), |text, line| text + line + "\n")
}

/// What the sample shows as an example.
const DATABASE: &str = "[registry]\npostgres = \"postgres://firstwake@db.example/firstwake\"\n\
     password_file = \"database.password\"\ncertificate_authority = \"database-ca.pem\"";

#[test]
fn the_sample_shows_the_defaults() {
    let sample = File::parse(&sample()).expect("the sample is right");
    assert_eq!(sample.limits, Limits::default());
    let shown = Config::new(
        PathBuf::new(),
        Options::default(),
        sample.clone(),
        Sockets::default(),
    );
    let files = "certificate='server.pem'\nkey='server.key'\n";
    let bare = format!(
        "[mqtts]\n{files}[websocket]\n[websockets]\n{files}[https]\n{files}[xively]\n{DATABASE}"
    );
    let shown = format!("{:?}", shown.expect("the sample is right"));
    assert_eq!(shown, format!("{:?}", config(&bare, &[]).expect("right")));
    // As it lies there, it says nothing.
    let untouched = include_str!("../../../packaging/firstwake.toml");
    assert_eq!(File::parse(untouched).expect("right"), File::default());
}

#[test]
fn the_sample_and_the_page_show_every_key() {
    let sample: toml::Table = sample().parse().expect("TOML");
    let limits = format!("{:?}", Limits::default());
    let limits = limits.split(['{', ',']).skip(1);
    let limits: Vec<&str> = limits
        .filter_map(|field| Some(field.split_once(':')?.0.trim()))
        .collect();
    let shown: Vec<&String> = sample["limits"]
        .as_table()
        .expect("a table")
        .keys()
        .collect();
    let missing: Vec<_> = limits
        .iter()
        .filter(|key| !shown.iter().any(|shown| shown == *key))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
    let page = include_str!("../../../docs/configuration.md");
    for (section, keys) in &sample {
        assert!(page.contains(&format!("`[{section}]`")), "{section}");
        for (key, default) in keys.as_table().expect("a table") {
            let row = format!("| `{key}` | `{default}` |");
            assert!(page.contains(&row), "no row: {row}");
        }
    }
}

#[test]
fn nothing_said_is_mqtt_and_http_on_loopback() {
    let (mqtt, http) = ("mqtt 127.0.0.1:1883", "http 127.0.0.1:8080");
    assert_eq!(entrances("", &[]), [mqtt, http]);
    assert_eq!(
        entrances("[websocket]\n[xively]", &[]),
        [mqtt, "ws 127.0.0.1:8083", http, "xively 127.0.0.1:8081"]
    );
    assert_eq!(
        entrances("[mqtt]\nlisten='off'\n[websocket]", &["--http", "off"]),
        ["ws 127.0.0.1:8083"]
    );
    assert!(refused("", &["--mqtt", "off", "--http", "off"]).contains("nothing to listen on"));
}

#[test]
fn options_override_the_file() {
    let file = "[mqtt]\nlisten='127.0.0.1:1'\n[mqtts]\nlisten='127.0.0.1:2'\ncertificate='c'\nkey='k'\n\
                [websocket]\nlisten='127.0.0.1:3'\n[websockets]\nlisten='127.0.0.1:4'\n\
                [http]\nlisten='127.0.0.1:5'\n[https]\nlisten='127.0.0.1:6'\n\
                [xively]\nlisten='127.0.0.1:7'";
    let all = [
        "mqtt 127.0.0.1:1",
        "mqtts 127.0.0.1:2",
        "ws 127.0.0.1:3",
        "wss 127.0.0.1:4",
        "http 127.0.0.1:5",
        "https 127.0.0.1:6",
        "xively 127.0.0.1:7",
    ];
    assert_eq!(entrances(file, &[]), all);
    let options = [
        "--mqtt", "off", "--mqtts", "[::]:5", "--ws", "off", "--wss", "[::1]:6", "--http", "off",
        "--https", "[::]:8", "--xively", "[::1]:9",
    ];
    let left = [
        "mqtts [::]:5",
        "wss [::1]:6",
        "https [::]:8",
        "xively [::1]:9",
    ];
    assert_eq!(entrances(file, &options), left);
    // Those of [mqtts] serve all; an option stands before either.
    let files = |options: &[&str]| {
        let config = config(file, options).expect("right");
        let files = config
            .entrances
            .into_iter()
            .filter_map(|it| match it.protocol {
                Protocol::Mqtts(files)
                | Protocol::WebSockets(files, _)
                | Protocol::Https(files) => Some(files.key),
                _ => None,
            });
        files.collect::<Vec<_>>()
    };
    assert_eq!(files(&[]), [PathBuf::from("k"), "k".into(), "k".into()]);
    assert_eq!(
        files(&["--cert", "x", "--key", "y"]),
        [PathBuf::from("y"), "y".into(), "y".into()]
    );
}

#[test]
fn tls_needs_a_certificate() {
    for options in [
        ["--mqtts", "[::]:1"],
        ["--wss", "[::]:1"],
        ["--https", "[::]:1"],
    ] {
        assert!(refused("", &options).contains("cert dev"));
    }
    assert!(refused("[mqtts]", &[]).contains("under [mqtts]"));
    assert!(
        refused("[mqtts]\ncertificate='c'", &[])
            .contains("[mqtts]: certificate and key go together")
    );
    assert!(refused("", &["--cert", "x"]).contains("--key"));
}

#[test]
fn what_is_wrong_is_named_with_its_line() {
    let check = |file: &str, parts: &[&str]| {
        let refused = refused(file, &[]);
        for part in parts {
            assert!(refused.contains(part), "{part}: {refused}");
        }
        assert!(!refused.contains('\n'), "{refused}");
    };
    check("\n[limit]\n", &["line 2", "\"limit\" is an unknown key"]);
    check(
        "[limits]\nconnexions = 3",
        &[
            "line 2",
            "\"connexions\" is an unknown key",
            "\"connections\"",
        ],
    );
    check(
        "[mqtt]\n\ncertificate = 'x'",
        &["line 3", "\"certificate\" is an unknown key"],
    );
    check(
        "[mqtt]\nlisten = 'localhost'",
        &["line 2", "\"localhost\" is no address", "127.0.0.1:1883"],
    );
    check(
        "[websocket]\norigins = ['a.example']",
        &["line 2", "\"a.example\" is no origin"],
    );
    check("[limits]\nhandshakes = -1", &["line 2"]);
    check(
        "[limits]\nhandshakes = 0",
        &["[limits] handshakes is too low"],
    );
    check("[mqtt", &["line 1"]);
}
