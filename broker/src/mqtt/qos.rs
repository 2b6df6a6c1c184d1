//! Quality of service, between the core's word for it and the codec's.

use firstwake::Qos;
use mqtt_protocol_core::mqtt::packet as wire;

pub(super) fn read(qos: wire::Qos) -> Qos {
    match qos {
        wire::Qos::AtMostOnce => Qos::AtMostOnce,
        wire::Qos::AtLeastOnce => Qos::AtLeastOnce,
        wire::Qos::ExactlyOnce => Qos::ExactlyOnce,
    }
}

pub(super) fn write(qos: Qos) -> wire::Qos {
    match qos {
        Qos::AtMostOnce => wire::Qos::AtMostOnce,
        Qos::AtLeastOnce => wire::Qos::AtLeastOnce,
        Qos::ExactlyOnce => wire::Qos::ExactlyOnce,
    }
}
