//! The `firstwake` command.
fn main() {}
