//! What those who are in are given: credentials, an identity, licences, and what
//! they send and are sent.

pub(super) mod activate;
pub(super) mod answer;
pub(super) mod datastreams;
pub(super) mod issue;
pub(super) mod licensing;
pub(super) mod post;
pub(super) mod request;
pub(super) mod values;
