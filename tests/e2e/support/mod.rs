//! What the stories share: a server, a peer over raw bytes, a small fleet.

mod broker;
pub(crate) mod carriers;
mod command;
mod everywhere;
mod fleet;
pub(crate) mod http;
pub(crate) mod nodes;
mod operator;
mod peer;
pub(crate) mod signing;
pub(crate) mod way;
pub(crate) mod wire;
mod xively;

use std::time::{Duration, Instant};

pub(crate) use broker::{TestBroker, announced, serve};
pub(crate) use carriers::{Secure, Socket};
pub(crate) use command::{Done, carried_out, command, firstwake};
pub(crate) use everywhere::{Door, Everywhere};
pub(crate) use fleet::{Credentials, SECRET, code};
pub(crate) use http::HttpPeer;
pub(crate) use operator::PASSWORD;
pub(crate) use peer::{Peer, Sources, dial, dial_from};
pub(crate) use way::Way;
pub(crate) use wire::{Connect, Version};

/// No step of a test takes longer, unless it hangs.
pub(crate) const HUNG: Duration = Duration::from_secs(30);

/// Asks again and again until the answer is there. For what a server does on
/// its own time and tells nobody.
pub(crate) fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(begun.elapsed() < HUNG, "never: {what}");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}
