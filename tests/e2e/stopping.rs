//! How a server ends, and what it has to do with the service manager.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::{
    Connect, Door, Everywhere, HUNG, PASSWORD, Peer, Version, announced, code, dial, firstwake,
    serve,
};

/// A server has five seconds for its sessions, and some for its files.
const SOON: Duration = Duration::from_secs(15);

#[test]
fn peers_at_every_door_are_told() {
    let mut server = Everywhere::start();
    let mut peers = Vec::new();
    for door in Door::ALL {
        for version in [Version::V311, Version::V5] {
            let serial = format!("{}-{version:?}", door.name());
            server.broker.fleet(&[&serial]);
            let connect = Connect::new(&serial, &code(&serial)).bytes(version);
            let mut peer = server.peer(door, version);
            peer.send(&connect);
            assert_eq!(peer.packet().first, 0x20);
            peers.push(peer);
        }
    }
    server.broker.terminate();
    for mut peer in peers {
        peer.expect_farewell(0x8b);
    }
    assert_eq!(server.broker.wait().code(), Some(0));
}

#[test]
fn peers_that_read_nothing_do_not_hold_it_up() {
    let mut server = Everywhere::start();
    server.broker.add_operator("boss", "admin", &[]);
    let mut deaf: Vec<Peer> = Vec::new();
    for door in Door::ALL {
        // Not admitted, and not even through the handshake.
        deaf.push(Peer::open(server.broker.listens(door.name()), Version::V5));
        deaf.push(server.peer(door, Version::V5));
        // Admitted, and sent more than any buffer takes.
        let login = Connect {
            client_id: door.name(),
            ..Connect::new("boss", PASSWORD)
        };
        let mut peer = server.admitted(door, Version::V5, &login);
        peer.subscribe(&[("app/flood", 0)], &[0]);
        deaf.push(peer);
    }
    let login = Connect::new("boss", PASSWORD);
    let mut loud = server.admitted(Door::Mqtt, Version::V5, &login);
    let flood = loud.version.publish("app/flood", 0, 0, &vec![0; 500_000]);
    for _ in 0..40 {
        loud.send(&flood);
    }
    loud.expect_alive();
    let asked = Instant::now();
    server.broker.terminate();
    assert_eq!(server.broker.wait().code(), Some(0));
    assert!(asked.elapsed() < SOON, "{:?}", asked.elapsed());
    let log = server.broker.log();
    assert!(!log.contains("still open"), "none was left: {log}");
    drop(deaf);
}

/// Where a service manager hears what it is told.
struct Manager {
    directory: tempfile::TempDir,
    socket: UnixDatagram,
}

impl Manager {
    fn start() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let socket = UnixDatagram::bind(directory.path().join("notify")).expect("a socket");
        socket.set_read_timeout(Some(HUNG)).expect("not zero");
        Self { directory, socket }
    }

    fn command(&self) -> Command {
        let path = self.directory.path();
        let mut command = serve(&path.join("data"), &path.join("log"));
        command.env("NOTIFY_SOCKET", path.join("notify"));
        command
    }

    /// The next thing that it is told, signs of life aside.
    fn told(&self) -> String {
        loop {
            let told = self.anything();
            if told != "WATCHDOG=1" {
                return told;
            }
        }
    }

    fn anything(&self) -> String {
        let mut buffer = [0; 256];
        let length = self.socket.recv(&mut buffer).expect("a message");
        let text = String::from_utf8_lossy(&buffer[..length]);
        text.trim_end().to_owned()
    }
}

fn signal(child: &Child, name: &str) {
    let kill = format!("kill -{name} {}", child.id());
    let status = Command::new("sh").args(["-c", &kill]).status();
    assert!(status.expect("a shell").success());
}

#[test]
fn the_service_manager_is_told() {
    let manager = Manager::start();
    let mut command = manager.command();
    command.args(["--mqtt", "127.0.0.1:0"]);
    command.env("WATCHDOG_USEC", "20000");
    let (mut child, _) = announced(&mut command, &["mqtt"]);
    assert_eq!(manager.told(), "READY=1");
    for _ in 0..3 {
        assert_eq!(manager.anything(), "WATCHDOG=1");
    }
    signal(&child, "HUP");
    let reloading = manager.told();
    let since = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=");
    assert!(
        since.is_some_and(|since| since.parse::<u64>().is_ok()),
        "{reloading}"
    );
    assert_eq!(manager.told(), "READY=1");
    signal(&child, "TERM");
    assert_eq!(manager.told(), "STOPPING=1");
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
}

/// Starts a server that is handed these two sockets under these names: the way
/// of systemd, with what any shell can do.
fn handed(data_dir: &Path, names: &str, sockets: [&TcpListener; 2], options: &[&str]) -> Command {
    let [first, second] = sockets.map(|socket| {
        let socket = socket.try_clone().expect("a descriptor");
        Stdio::from(OwnedFd::from(socket))
    });
    let log = data_dir.with_extension("log");
    let plain = serve(data_dir, &log);
    let hand = "LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=$1 LOG=$2; export LISTEN_PID LISTEN_FDS LISTEN_FDNAMES; \
                shift 2; exec \"$@\" 3<&0 4>&2 0</dev/null 2>>\"$LOG\"";
    let mut command = Command::new("sh");
    command
        .args(["-c", hand, "sh", names])
        .arg(log)
        .arg(plain.get_program())
        .args(plain.get_args())
        .args(options)
        .stdin(first)
        .stderr(second);
    command
}

#[test]
fn sockets_are_handed_over_and_outlive_the_server() {
    let directory = tempfile::tempdir().expect("a directory");
    let data_dir = directory.path().join("data");
    let sockets = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("a port"));
    let [mqtt, ws] = &sockets;
    let addresses: Vec<SocketAddr> = sockets
        .iter()
        .map(|socket| socket.local_addr().expect("an address"))
        .collect();
    let start = || {
        let mut command = handed(&data_dir, "mqtt:ws", [mqtt, ws], &["--mqtt", "127.0.0.1:1"]);
        let (child, listeners) = announced(&mut command, &["mqtt", "ws"]);
        let found: Vec<SocketAddr> = listeners.into_iter().map(|(_, address)| address).collect();
        assert_eq!(found, addresses);
        child
    };
    // Before there is a server.
    let early = refused_connect(addresses[0]);
    let mut child = start();
    expect_no(early);
    child.kill().expect("it runs");
    child.wait().expect("it ends");
    // While there is none.
    let between = refused_connect(addresses[0]);
    let mut child = start();
    expect_no(between);
    expect_no(refused_connect(addresses[0]));
    signal(&child, "TERM");
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
}

/// A CONNECT of somebody whom nobody knows.
fn refused_connect(address: SocketAddr) -> TcpStream {
    let mut stream = dial(address);
    let connect = Connect::new("nobody", "nothing").bytes(Version::V311);
    stream.write_all(&connect).expect("open");
    stream
}

fn expect_no(mut stream: TcpStream) {
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("the end");
    assert_eq!(answer, Version::V311.connack(4));
}

#[test]
fn sockets_that_nobody_takes_are_complained_about() {
    let directory = tempfile::tempdir().expect("a directory");
    let data_dir = directory.path().join("data");
    let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
    for (names, word) in [("mqtt:mtqq", "\"mtqq\""), ("mqtt:mqtts", "cert dev")] {
        let mut command = handed(&data_dir, names, [&socket, &socket], &["--http", "off"]);
        let status = command.stdout(Stdio::null()).status().expect("it starts");
        assert_eq!(status.code(), Some(1));
        let log = fs::read_to_string(data_dir.with_extension("log")).expect("a log");
        assert!(
            log.lines().last().is_some_and(|line| line.contains(word)),
            "{log}"
        );
    }
    // Without the names it is as if nothing was handed over.
    let refused = firstwake(&data_dir, &["serve", "--mqtt", "off", "--http", "off"], "").refused();
    assert!(refused.contains("nothing to listen on"), "{refused}");
}

#[test]
fn a_log_that_cannot_be_written_is_lost_and_nothing_else() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut command = serve(&directory.path().join("data"), Path::new("/dev/full"));
    command.env("FIRSTWAKE_LOG", "debug");
    let (mut child, listeners) = announced(command.args(["--mqtt", "127.0.0.1:0"]), &["mqtt"]);
    let mut peer = Peer::open(listeners[0].1, Version::V5);
    peer.send(&Connect::new("nobody", "nothing").bytes(Version::V5));
    assert_eq!(peer.packet().first, 0x20);
    signal(&child, "TERM");
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
}

#[test]
fn a_second_signal_ends_it_wherever_it_is() {
    let server = Everywhere::start();
    let mut server = server.broker;
    server.add_operator("boss", "admin", &[]);
    // A peer that takes nothing: a clean stop takes its time.
    let mut deaf = server.operator(Version::V5, "boss");
    deaf.subscribe(&[("app/flood", 0)], &[0]);
    let login = Connect {
        client_id: "flood",
        ..Connect::new("boss", PASSWORD)
    };
    let mut flood = server.admitted(Version::V5, &login);
    let payload = vec![b'x'; 512 * 1024];
    for _ in 0..40 {
        flood.deliver("app/flood", 1, &payload);
    }
    server.terminate();
    // The first was taken: nobody is let in any more.
    crate::support::eventually("it stops", || {
        TcpStream::connect(server.address()).is_err().then_some(())
    });
    server.terminate();
    let status = server.wait();
    assert!(matches!(status.code(), Some(0 | 1)), "{status:?}");
}
