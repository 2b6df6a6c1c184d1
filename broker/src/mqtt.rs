//! MQTT on the wire: 3.1, 3.1.1 and 5 on one port.
//!
//! [`opening`] reads the first packet, before anybody is trusted; [`machine`]
//! carries everything after the CONNACK, bytes in and packets out. Both are
//! pure: they own no socket and know no clock. Nothing here decides who gets
//! in or which topic is whose.

pub(crate) mod connack;
pub(crate) mod machine;
pub(crate) mod opening;
pub(crate) mod packet;
mod qos;
