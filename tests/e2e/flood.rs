//! Many hostile peers at once.

use std::time::Duration;
use std::time::Instant;

use crate::support::{Connect, Door, Everywhere, Peer, Version, code, eventually};

/// What nobody waits longer for, on a machine that does much else.
const SOON: Duration = Duration::from_secs(2);

#[test]
fn thousands_of_silent_connections_delay_nobody_and_leave_nothing() {
    let server = Everywhere::configured("", "first_byte_seconds = 4\nhandshakes = 1000");
    server.broker.fleet(&Door::ALL.map(Door::name));
    let before = server.broker.open_files();
    let mut flood = Vec::new();
    for door in Door::ALL {
        let address = server.broker.listens(door.name());
        let one = (0..700).map(|_| [127, 0, 0, 2]);
        let many = (0..500_u32).map(|n| [127, 9, (n >> 8) as u8, n as u8]);
        let open = |source| Peer::open_from(source, address, Version::V5);
        flood.extend(one.chain(many).map(open));
        let begun = Instant::now();
        let password = code(door.name());
        let connect = Connect::new(door.name(), &password);
        server.admitted(door, Version::V5, &connect).vanish();
        let took = begun.elapsed();
        assert!(took < SOON, "{door:?}: {took:?}");
    }
    eventually("every connection is closed", || {
        (server.broker.open_files() <= before).then_some(())
    });
    drop(flood);
}
