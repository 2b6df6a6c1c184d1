//! Operators and services.

use super::{Connect, Peer, TestBroker, Version};

/// The password of every operator here.
pub(crate) const PASSWORD: &str = "correct horse battery";

impl TestBroker {
    /// Adds an operator of a role, with filters of its own.
    pub(crate) fn add_operator(&self, name: &str, role: &str, filters: &[&str]) {
        let add = ["operator", "add", name, "--role", role, "--password-stdin"];
        self.cli_with(&[&add, filters].concat(), PASSWORD).ok();
    }

    /// An admin that is logged in.
    pub(crate) fn admin(&self, version: Version) -> Peer {
        self.add_operator("boss", "admin", &[]);
        self.operator(version, "boss")
    }

    /// An operator that was added before.
    pub(crate) fn operator(&self, version: Version, name: &str) -> Peer {
        self.admitted(version, &Connect::new(name, PASSWORD))
    }
}
