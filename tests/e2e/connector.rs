//! The device program's library against the real server: keys of its own,
//! commands, licences, and what a person did to its identity.

use std::future::{Future, pending};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use firstwake::licence::LicenceToken;
use firstwake::{DeviceKey, ProductId, ProductSecret, Serial};
use firstwake_connector::{
    ActivateError, Activated, Backoff, Broker, BurntIn, CodeSource, CredentialsFile, Device,
    Machine, OnCommand, Origin, Pace, Secret, Signing, activate, licence, parse_key, parse_line,
    run,
};
use tokio::sync::{mpsc, oneshot};

use crate::support::signing::now;
use crate::support::{SECRET, TestBroker, Version, code, eventually};

/// No step takes longer, unless it hangs.
const HUNG: Duration = Duration::from_secs(60);

fn serial() -> Serial {
    Serial::parse("S1").expect("valid")
}

fn device(broker: &TestBroker, directory: &Path, signing: Signing) -> Device {
    Device {
        broker: Broker::loopback(&broker.address().to_string()).expect("loopback"),
        serial: serial(),
        credentials: CredentialsFile::at(directory.join("device.json")),
        machine: board(directory),
        signing,
        pace: Pace {
            backoff: Backoff {
                base: Duration::from_millis(1),
                cap: Duration::from_millis(4),
            },
            ..Pace::default()
        },
    }
}

/// A board with a processor that has a serial, and no more.
fn board(directory: &Path) -> Machine {
    let root = directory.join("root");
    std::fs::create_dir_all(root.join("proc")).expect("directories");
    let cpuinfo = "Revision\t: c03112\nSerial\t\t: 10000000a3f9c1d7\n";
    std::fs::write(root.join("proc/cpuinfo"), cpuinfo).expect("written");
    Machine::under(root)
}

fn wait_for<T>(story: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.expect("a runtime");
    let story = async { tokio::time::timeout(HUNG, story).await };
    runtime.block_on(story).expect("hangs")
}

fn activated(device: &Device) -> Result<Activated, ActivateError> {
    let origin = Origin::Environment(code("S1").into());
    let code = CodeSource::Code(origin)
        .read(&device.serial)
        .expect("a code");
    wait_for(activate(device, Some(&code), HUNG))
}

/// A place for lines that can be read from outside.
#[derive(Clone, Default)]
struct Paper(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("lock").extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_key_pair_values_and_commands() {
    let broker = TestBroker::start();
    broker.fleet(&["S1"]);
    let directory = tempfile::tempdir().expect("directory");
    let device = device(&broker, directory.path(), Signing::WhereAllowed);
    activated(&device).expect("activated");
    let stored = device
        .credentials
        .load(&serial())
        .expect("readable")
        .expect("stored");
    assert!(matches!(stored.credentials().secret(), Secret::KeyPair(_)));
    assert_eq!(broker.count("public_key_enrolled"), 1);
    assert_eq!(broker.lifecycle("S1"), "active");
    let feed = stored.credentials().feed_id().expect("known");

    let mut operator = broker.admin(Version::V5);
    operator.subscribe(&[(&format!("feeds/{feed}/data/#"), 1)], &[1]);
    let paper = Paper::default();
    let printed = paper.clone();
    let (values, taken) = mpsc::channel(2);
    let (stop, stopped) = oneshot::channel::<()>();
    // The operator answers the first value with a command, and stops the device
    // when its last value is there.
    let person = std::thread::spawn(move || {
        let value = |line: &str| parse_line(line, None).expect("valid").expect("not blank");
        values
            .blocking_send(value("temperature 21.5"))
            .expect("running");
        assert_eq!(operator.message().payload, b"21.5");
        operator.deliver(&format!("feeds/{feed}/commands/reboot"), 1, b"now\nplease");
        eventually("the command's line", || {
            let is_there = !paper.0.lock().expect("lock").is_empty();
            is_there.then_some(())
        });
        values
            .blocking_send(value("temperature 22"))
            .expect("running");
        assert_eq!(operator.message().payload, b"22");
        stop.send(()).expect("running");
    });
    let stopped = async {
        stopped.await.expect("told");
    };
    let print = OnCommand::Print(Box::new(printed.clone()));
    wait_for(run(&device, None, taken, print, stopped)).expect("all delivered");
    person.join().expect("a happy person");
    assert_eq!(*printed.0.lock().expect("lock"), b"reboot now\\nplease\n");
}

#[test]
fn a_device_key_needs_no_code() {
    let broker = TestBroker::start();
    let product = broker.fleet(&["S1"]);
    let product = ProductId::parse(&product).expect("an id");
    let secret = ProductSecret::parse(SECRET).expect("valid");
    let directory = tempfile::tempdir().expect("directory");
    let burnt_in = BurntIn {
        key: DeviceKey::derive(&secret, &serial()),
        product,
        pepper: None,
    };
    let device = device(&broker, directory.path(), Signing::BurntIn(burnt_in));
    wait_for(activate(&device, None, HUNG)).expect("activated");
    let stored = device
        .credentials
        .load(&serial())
        .expect("readable")
        .expect("stored");
    assert!(stored.credentials().feed_id().is_some());
    assert!(stored.credentials().pepper().is_some());
    assert_eq!(broker.lifecycle("S1"), "active");
}

#[test]
fn a_licence_for_this_board() {
    let broker = TestBroker::start();
    let product = broker.fleet(&["S1"]);
    broker
        .cli(&["product", "set", &product, "--seats", "1"])
        .ok();
    let directory = tempfile::tempdir().expect("directory");
    let device = device(&broker, directory.path(), Signing::WhereAllowed);
    activated(&device).expect("activated");

    let token = wait_for(licence(&device, HUNG)).expect("a licence");
    let key = broker.cli(&["licence", "key"]).ok();
    let key = parse_key(&key).expect("PEM");
    let licence = LicenceToken::verify(&token, &key, now()).expect("valid");
    assert_eq!(licence.serial, serial());
    assert!(!licence.hardware.is_empty(), "bound to the board");
}

#[test]
fn why_it_is_refused_is_told() {
    let broker = TestBroker::start();
    broker.fleet(&["S1"]);
    let directory = tempfile::tempdir().expect("directory");
    let device = device(&broker, directory.path(), Signing::WhereAllowed);
    activated(&device).expect("activated");
    broker.cli(&["device", "suspend", "S1"]).ok();
    let refused = wait_for(licence(&device, HUNG))
        .expect_err("refused")
        .to_string();
    assert!(refused.contains("suspended"), "{refused}");

    // Somebody else's code for the same device is no way around it.
    let elsewhere = tempfile::tempdir().expect("directory");
    let thief = self::device(&broker, elsewhere.path(), Signing::WhereAllowed);
    let refused = activated(&thief).expect_err("refused").to_string();
    assert!(refused.contains("suspended"), "{refused}");
}

#[test]
fn a_reset_device_enrols_the_key_that_it_has() {
    let broker = TestBroker::start();
    broker.fleet(&["S1"]);
    let directory = tempfile::tempdir().expect("directory");
    let device = device(&broker, directory.path(), Signing::WhereAllowed);
    activated(&device).expect("activated");
    let key = || {
        let stored = device.credentials.load(&serial()).expect("readable");
        match stored.expect("stored").credentials().secret() {
            Secret::KeyPair(pair) => pair.public(),
            other => panic!("{other:?}"),
        }
    };
    let before = key();
    broker.cli(&["device", "reset", "S1"]).ok();

    let origin = Origin::Environment(code("S1").into());
    let code = CodeSource::Code(origin).read(&serial()).expect("a code");
    let (values, taken) = mpsc::channel(1);
    let value = parse_line("temperature 1", None).expect("valid");
    values.try_send(value.expect("not blank")).expect("room");
    drop(values);
    wait_for(run(
        &device,
        Some(&code),
        taken,
        OnCommand::Ignore,
        pending(),
    ))
    .expect("delivered");
    assert_eq!(key(), before);
    assert_eq!(broker.lifecycle("S1"), "active");
}
