//! Bounds that belong to an identity, and not to a connection: reconnecting
//! or asking another way buys nobody more.

use crate::support::http::{HttpPeer, JSON, basic, request};
use crate::support::wire::{Connect, PUBACK, Version};
use crate::support::{Credentials, TestBroker, code, eventually};

/// All that there is to connect to, with limits of its own, each as KEY=N.
fn start(limits: &[&str]) -> TestBroker {
    let directory = tempfile::tempdir().expect("a directory");
    let config = directory.path().join("firstwake.toml");
    let limits = limits.join("\n");
    std::fs::write(&config, format!("[limits]\n{limits}\n")).expect("written");
    let config = config.to_str().expect("UTF-8");
    let doors = ["--mqtt", "--http", "--xively"];
    let doors = doors.iter().flat_map(|door| [*door, "127.0.0.1:0"]);
    let arguments: Vec<&str> = ["--config", config].into_iter().chain(doors).collect();
    TestBroker::launch(directory, "data", &["mqtt", "http", "xively"], &arguments)
}

/// A device that is active, and the header it asks with.
fn active(broker: &TestBroker, serial: &str) -> (Credentials, String) {
    let known = Credentials::read(&broker.activation(&code(serial), &[]).body);
    let header = format!("X-ApiKey: {}", known.key);
    (known, header)
}

/// A connection on which a device was answered.
fn asks(broker: &TestBroker, known: &Credentials, header: &str) -> HttpPeer {
    let mut peer = broker.xively();
    let line = format!("GET /v2/feeds/{}", known.feed);
    peer.ask(&line, &[header], b"").text_of(200);
    peer
}

#[test]
fn one_key_does_not_take_all_connections() {
    let broker = start(&["connections=40", "http_device_connections=3"]);
    broker.fleet(&["S1", "S2", "S3"]);
    broker.add_operator("boss", "admin", &[]);
    let (greedy, header) = active(&broker, "S1");
    let line = format!("GET /v2/feeds/{}", greedy.feed);
    let mut kept = Vec::new();
    for n in 0..60 {
        let mut peer = broker.xively();
        let answer = peer.ask(&line, &[&header], b"");
        assert_eq!(answer.status, 200, "a right key is always answered");
        let closes = answer.header("connection") == Some("close");
        assert_eq!(closes, n >= 3, "{n}");
        match closes {
            true => assert_eq!(peer.rest(), b""),
            false => kept.push(peer),
        }
    }
    let (other, theirs) = active(&broker, "S2");
    asks(&broker, &other, &theirs);
    broker
        .http()
        .ask("GET /api/v1/version", &[&basic("boss")], b"")
        .of(200);
    broker.activating(Version::V5, "S3").expect_alive();
    // One that goes makes room.
    drop(kept.pop());
    eventually("a place is free", || {
        let answer = broker.xively().ask(&line, &[&header], b"");
        (answer.header("connection") != Some("close")).then_some(())
    });
}

#[test]
fn an_operators_act_ends_what_is_open() {
    let broker = start(&[]);
    broker.fleet(&["S1", "S2", "S3"]);
    broker.add_operator("eyes", "viewer", &[]);
    let (one, header) = active(&broker, "S1");
    let (two, theirs) = active(&broker, "S2");
    let mut revoked: Vec<_> = (0..4).map(|_| asks(&broker, &one, &header)).collect();
    let mut activated = broker.xively();
    let line = format!("GET /v2/devices/{}/activate", code("S3"));
    activated.ask(&line, &[], b"").text_of(200);
    let mut other = asks(&broker, &two, &theirs);
    let mut operator = broker.http();
    operator
        .ask("GET /api/v1/version", &[&basic("eyes")], b"")
        .of(200);
    broker.cli(&["device", "revoke", "S1"]).ok();
    broker.cli(&["device", "revoke", "S3"]).ok();
    for peer in revoked.iter_mut().chain([&mut activated]) {
        assert_eq!(peer.rest(), b"");
    }
    broker.cli(&["operator", "remove", "eyes"]).ok();
    assert_eq!(operator.rest(), b"");
    let feed = format!("GET /v2/feeds/{}", two.feed);
    other.ask(&feed, &[&theirs], b"").text_of(200);
    broker.cli(&["ban", "add", "127.0.0.1", "--force"]).ok();
    assert_eq!(other.rest(), b"");
}

#[test]
fn who_is_refused_is_a_stranger_again() {
    let broker = start(&["connect_seconds=1"]);
    broker.fleet(&["S1"]);
    let (known, header) = active(&broker, "S1");
    let mut refused = asks(&broker, &known, &header);
    let line = format!("GET /v2/feeds/{}", known.feed);
    let again = format!("X-ApiKey: {}", "x".repeat(48));
    for _ in 0..2 {
        assert!(refused.ask(&line, &[&again], b"").status >= 400);
        refused.ask(&line, &[&header], b"").text_of(200);
    }
    // From its last request on, whatever it asks that takes no key.
    let wrong = request(&line, &[&again], b"");
    while refused.offer(&wrong).is_ok() {
        std::thread::yield_now();
    }
}

#[test]
fn an_operator_reads_so_many_streams_and_no_more() {
    let broker = start(&["event_streams=2"]);
    broker.add_operator("eyes", "viewer", &[]);
    broker.add_operator("boss", "admin", &[]);
    let watch = |who: &str| {
        let mut peer = broker.http();
        let accept = "Accept: text/event-stream";
        peer.send(&request("GET /api/v1/events?after=0", &[accept, who], b""));
        let head = String::from_utf8(peer.until(b"\r\n")).expect("text");
        (peer, head)
    };
    let eyes = basic("eyes");
    let mut open: Vec<_> = (0..2).map(|_| watch(&eyes)).collect();
    assert!(open.iter().all(|(_, head)| head == "HTTP/1.1 200 OK"));
    assert_eq!(watch(&eyes).1, "HTTP/1.1 429 Too Many Requests");
    assert_eq!(watch(&basic("boss")).1, "HTTP/1.1 200 OK");
    drop(open.pop());
    eventually("a place is free", || {
        (watch(&eyes).1 == "HTTP/1.1 200 OK").then_some(())
    });
}

#[test]
fn unfinished_bodies_are_bounded_in_all() {
    let broker = start(&["http_body_bytes=65536"]);
    broker.fleet(&["S1"]);
    broker.add_operator("boss", "admin", &[]);
    let boss = basic("boss");
    let mut slow = broker.http();
    let head = format!(
        "POST /api/v1/tokens HTTP/1.1\r\nHost: x\r\n{boss}\r\n{JSON}\r\nContent-Length: 60000\r\n\r\n"
    );
    slow.send(head.as_bytes());
    slow.send(&[b' '; 40_000]);
    let mut peer = broker.http();
    let body = vec![b' '; 40_000];
    let told = eventually("it is read", || {
        let told = peer.ask("POST /api/v1/tokens", &[&boss, JSON], &body);
        (told.status == 503).then_some(told)
    });
    told.problem(503, "unavailable");
    assert_eq!(told.header("retry-after"), Some("5"));
    drop(slow);
    eventually("there is room again", || {
        let mut peer = broker.http();
        let told = peer.ask("POST /api/v1/tokens", &[&boss, JSON], &body);
        (told.status != 503).then_some(())
    });
}

#[test]
fn a_publishing_rate_outlives_its_connection() {
    let limits = ["device_publish_rate=1", "device_publish_burst=9"];
    for version in Version::ALL {
        let broker = start(&limits);
        broker.fleet(&["S1"]);
        broker.add_operator("boss", "admin", &[]);
        let (_, known) = broker.device(version, "S1");
        let mut everything = broker.admin(version);
        let topic = format!("feeds/{}/data/x", known.feed);
        everything.subscribe(&[(&topic, 0)], &[0]);
        let begun = std::time::Instant::now();
        for _ in 0..10 {
            let mut device = broker.admitted(version, &Connect::new("S1", &known.key));
            for id in 1..=10 {
                device.send(&version.publish(&topic, 0, id, b"1"));
            }
            device.vanish();
        }
        let mut seen = 0;
        while everything.says_something_within(std::time::Duration::from_millis(500)) {
            everything.packet();
            seen += 1;
        }
        // What comes over HTTP counts too.
        let line = format!("PUT /v2/feeds/{}.csv", known.feed);
        let header = format!("X-ApiKey: {}", known.key);
        let mut http = broker.xively();
        for _ in 0..12 {
            let status = http.ask(&line, &[&header], b"x,1").status;
            seen += u64::from(status == 200);
        }
        let most = 10 + begun.elapsed().as_secs() + 1;
        assert!(seen <= most, "{seen} of 112, {most} at most");
    }
}

#[test]
fn offences_outlive_their_connection() {
    for version in Version::ALL {
        let broker = TestBroker::start();
        broker.fleet(&["S1"]);
        let (_, known) = broker.device(version, "S1");
        let reason = if version.is_5() { 0x87 } else { 0 };
        let offend = |peer: &mut crate::support::Peer, id| {
            peer.send(&version.publish("feeds/1/data/x/y/z", 1, id, b"1"));
            peer.expect(&version.acknowledgement(PUBACK, id, reason));
        };
        for _ in 0..3 {
            let mut device = broker.admitted(version, &Connect::new("S1", &known.key));
            (1..=3).for_each(|id| offend(&mut device, id));
            device.expect_alive();
            device.vanish();
        }
        for _ in 0..3 {
            let mut device = broker.admitted(version, &Connect::new("S1", &known.key));
            offend(&mut device, 1);
            device.expect_farewell(0x87);
        }
    }
}

#[test]
fn one_code_is_answered_at_a_pace() {
    let broker = start(&[]);
    broker.fleet(&["S1", "S2"]);
    let begun = std::time::Instant::now();
    let answered = (0..100)
        .map(|_| broker.activation(&code("S1"), &[]).status)
        .filter(|status| {
            assert!([200, 403].contains(status), "{status}");
            *status == 200
        })
        .count();
    let most = 10 + begun.elapsed().as_secs() as usize + 1;
    assert!((10..=most).contains(&answered), "{answered}");
    let issued = |event: &serde_json::Value| event["event"] == "activation_issued";
    let written = broker.events().iter().filter(|event| issued(event)).count();
    assert_eq!(written, answered, "what is refused is not written");
    // Over MQTT it is the same device, and it is let in: only the answer waits.
    active(&broker, "S2");
    eventually("it is answered within seconds", || {
        (broker.activation(&code("S1"), &[]).status == 200).then_some(())
    });
}

#[test]
fn an_operator_makes_tokens_at_a_pace() {
    let broker = start(&[]);
    broker.add_operator("eyes", "viewer", &[]);
    let mut peer = broker.http();
    let eyes = basic("eyes");
    let made = peer
        .ask("POST /api/v1/tokens", &[&eyes, JSON], b"{}")
        .of(201);
    let bearer = format!(
        "Authorization: Bearer {}",
        made["secret"].as_str().expect("text")
    );
    let mut count = 1;
    let told = loop {
        let made = peer.ask("POST /api/v1/tokens", &[&bearer, JSON], b"{}");
        if made.status != 201 {
            break made;
        }
        count += 1;
        let id = made.json()["token"]["id"]
            .as_str()
            .expect("text")
            .to_owned();
        let gone = peer.ask(&format!("DELETE /api/v1/tokens/{id}"), &[&bearer], b"");
        assert_eq!(gone.status, 204);
    };
    told.problem(429, "too-many");
    assert!((200..230).contains(&count), "{count}");
}
