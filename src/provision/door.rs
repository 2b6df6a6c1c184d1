//! Who gets in.
//!
//! What a peer showed is held against what is known, and judged by [`decide`],
//! which is pure; what comes out is an [`admission`].

pub(super) mod admission;
pub(super) mod admit;
pub(super) mod attempts;
pub(super) mod decide;
pub(super) mod inquiry;
pub(super) mod operator_login;
pub(super) mod passwords;
pub(super) mod problems;
pub(super) mod signature;
pub(super) mod suspicion;
pub(super) mod tally;
pub(super) mod writes;
