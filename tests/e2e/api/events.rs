//! The audit log over HTTP: pages, and a stream.

use serde_json::Value;

use crate::support::http::{HttpPeer, JSON, basic};
use crate::support::{TestBroker, Version};

/// An event of a stream.
#[derive(Debug, PartialEq)]
struct Told {
    id: u64,
    kind: String,
    data: Value,
}

/// Opens a stream as HTTP/1.0 has it: what comes is the events and nothing else.
fn watch(broker: &TestBroker, who: &str, more: &str) -> HttpPeer {
    let mut peer = broker.http();
    let request =
        format!("GET /api/v1/events{more} HTTP/1.0\r\nAccept: text/event-stream\r\n{who}\r\n\r\n");
    peer.send(request.as_bytes());
    let head = String::from_utf8(peer.until(b"\r\n\r\n")).expect("text");
    assert!(head.starts_with("HTTP/1.0 200 "), "{head}");
    assert!(head.contains("Content-Type: text/event-stream"), "{head}");
    peer
}

fn next(peer: &mut HttpPeer) -> Told {
    let text = String::from_utf8(peer.until(b"\n\n")).expect("text");
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("no {name}: {text}")).trim()
    };
    Told {
        id: field("id:").parse().expect("a number"),
        kind: field("event:").to_owned(),
        data: serde_json::from_str(field("data:")).expect("JSON"),
    }
}

#[test]
fn pages_follow_one_another() {
    let broker = TestBroker::with_http();
    broker.fleet(&["S1", "S2", "S3"]);
    broker.add_operator("eyes", "viewer", &[]);
    let mut peer = broker.http();
    let mut read = Vec::new();
    let mut after = 0;
    loop {
        let line = format!("GET /api/v1/events?after={after}&limit=2");
        let page = peer.ask(&line, &[&basic("eyes")], b"").of(200);
        let events = page["events"].as_array().expect("a list").clone();
        assert!(events.len() <= 2);
        if events.is_empty() {
            assert_eq!(page["next"], after);
            break;
        }
        after = page["next"].as_u64().expect("a number");
        read.extend(events);
    }
    assert_eq!(read, broker.events());
    for wrong in ["?limit=0", "?limit=1001", "?after=-1", "?afer=1"] {
        let line = format!("GET /api/v1/events{wrong}");
        peer.ask(&line, &[&basic("eyes")], b"")
            .problem(400, "invalid");
    }
}

#[test]
fn a_stream_is_taken_up_where_it_was_cut_off() {
    let mut broker = TestBroker::with_http();
    broker.fleet(&["S1", "S2"]);
    broker.add_operator("eyes", "viewer", &[]);
    let who = basic("eyes");
    let all = broker.events();
    let mut stream = watch(&broker, &who, "?after=0");
    let mut told: Vec<Told> = all.iter().map(|_| next(&mut stream)).collect();
    // What happens now comes too.
    broker.activate(Version::V5, "S1");
    told.push(next(&mut stream));
    let last = told.last().expect("some");
    assert_eq!(last.kind, "activation_issued");
    broker.kill_and_restart();
    broker.cli(&["device", "suspend", "S2"]).ok();
    let resume = format!("{who}\r\nLast-Event-ID: {}", told[1].id);
    // The header says more than the address: browsers keep the address.
    let mut stream = watch(&broker, &resume, "?after=0");
    told.truncate(2);
    let all = broker.events();
    told.extend(all[2..].iter().map(|_| next(&mut stream)));
    for (told, event) in told.iter().zip(&all) {
        assert_eq!(&told.data, event);
        assert_eq!(
            (told.id, &*told.kind),
            (
                event["seq"].as_u64().expect("a number"),
                event["event"].as_str().expect("text"),
            )
        );
    }
    assert_eq!(told.len(), all.len());
    // Without either it begins with what happens next.
    let mut fresh = watch(&broker, &who, "");
    broker.cli(&["device", "resume", "S2"]).ok();
    assert_eq!(next(&mut fresh).kind, "device_resumed");
}

#[test]
fn a_stream_ends_with_what_opened_it() {
    let mut broker = TestBroker::with_http();
    broker.add_operator("eyes", "viewer", &[]);
    broker.add_operator("other", "viewer", &[]);
    let mut peer = broker.http();
    let made = peer
        .ask("POST /api/v1/tokens", &[&basic("eyes"), JSON], b"{}")
        .of(201);
    let secret = made["secret"].as_str().expect("text");
    let token = format!("Authorization: Bearer {secret}");
    let mut by_token = watch(&broker, &token, "");
    let mut by_password = watch(&broker, &basic("eyes"), "");
    let mut by_other = watch(&broker, &basic("other"), "");
    let id = made["token"]["id"].as_str().expect("text");
    let remove = format!("DELETE /api/v1/tokens/{id}");
    peer.ask(&remove, &[&basic("eyes")], b"").of(204);
    assert_eq!(by_token.rest(), b"", "the end, and nothing before");
    assert_eq!(next(&mut by_password).kind, "token_removed");
    broker.cli(&["operator", "remove", "eyes"]).ok();
    assert_eq!(by_password.rest(), b"");
    assert_eq!(next(&mut by_other).kind, "token_removed");
    assert_eq!(next(&mut by_other).kind, "operator_removed");
    broker.terminate();
    assert_eq!(by_other.rest(), b"");
    assert_eq!(broker.wait().code(), Some(0));
}

#[test]
fn a_stream_ends_with_a_ban_of_its_source() {
    let broker = TestBroker::with_http();
    broker.add_operator("boss", "admin", &[]);
    let mut stream = watch(&broker, &basic("boss"), "");
    broker.cli(&["ban", "add", "127.0.0.1", "--force"]).ok();
    let rest = String::from_utf8(stream.rest()).expect("text");
    assert!(!rest.contains("source_banned"), "{rest}");
}

#[test]
fn a_stream_that_nobody_reads_holds_up_nobody() {
    let broker = TestBroker::with_http();
    broker.add_operator("eyes", "viewer", &[]);
    let serials: Vec<String> = (0..20_000).map(|n| format!("S{n:06}")).collect();
    let serials: Vec<&str> = serials.iter().map(String::as_str).collect();
    let lazy = watch(&broker, &basic("eyes"), "?after=0");
    let mut keen = watch(&broker, &basic("eyes"), "?after=0");
    broker.fleet(&serials);
    let last = broker.events().len();
    while next(&mut keen).id < last as u64 {}
    broker.activate(Version::V311, "S000007");
    drop(lazy);
}
