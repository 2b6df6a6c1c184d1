//! MQTT's quality of service: how hard it is tried to deliver a message.

use serde::{Deserialize, Serialize};

/// Quality of service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Qos {
    /// Sent once, perhaps lost.
    #[default]
    AtMostOnce,
    /// Sent until acknowledged.
    AtLeastOnce,
    /// Delivered exactly once.
    ExactlyOnce,
}
