//! What operators do, and what they are told.

pub(super) mod bans;
pub(super) mod blocks;
pub(super) mod devices;
pub(super) mod explain;
pub(super) mod lists;
pub(super) mod once;
pub(super) mod operators;
pub(super) mod products;
pub(super) mod reading;
pub(super) mod removal;
pub(super) mod reseal;
pub(super) mod secrets;
pub(super) mod tokens;
