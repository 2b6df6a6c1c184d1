//! A service on the broker: logs in with name and password, and subscribes.
//!
//! What the responder and the observer have in common. There are few of them,
//! and they hear a whole fleet, so they read by the tens of kilobytes.

use std::time::Duration;

use mqtt_protocol_core::mqtt::connection::RawPacket;
use mqtt_protocol_core::mqtt::packet::v3_1_1::{Connect, Subscribe};
use mqtt_protocol_core::mqtt::packet::{Qos, SubEntry, SubOpts};
use mqtt_protocol_core::mqtt::result_code::MqttError;
use zeroize::Zeroizing;

use crate::device::{SUBSCRIBE_ID, accepted, granted, write};
use crate::outcome::{Mishap, Refusal};
use crate::route::Route;
use crate::stream::Stream;
use crate::wire::{self, Buffers};

/// What a service logs in with.
#[derive(Clone)]
pub struct ServiceLogin {
    /// User name and client id.
    pub username: String,
    /// The password.
    pub password: Zeroizing<String>,
}

/// A service that is subscribed.
pub(crate) struct Service {
    pub(crate) stream: Stream,
    pub(crate) buffers: Buffers,
}

/// Seconds. Whoever says nothing for so long has to ping.
const KEEP_ALIVE: u16 = 60;

/// What keeps a quiet service's session: well within [`KEEP_ALIVE`].
pub(crate) const PING_EVERY: Duration = Duration::from_secs(20);

/// Bytes heard at once: messages by the hundred.
const HEARD: usize = 64 * 1024;

impl Service {
    /// Logs in and subscribes; messages are heard from when this returns.
    pub(crate) async fn subscribe(
        route: &Route,
        login: &ServiceLogin,
        filter: &str,
        qos: Qos,
    ) -> Result<Self, Mishap> {
        let mut this = Self {
            stream: route.open_as_service().await?.stream,
            buffers: Buffers::hearing(HEARD),
        };
        write(&mut this.buffers.out, connect(login))?;
        accepted(&this.exchange().await?, Refusal::Connack)?;
        write(&mut this.buffers.out, subscribe(filter, qos))?;
        granted(&this.exchange().await?)?;
        Ok(this)
    }

    async fn exchange(&mut self) -> Result<RawPacket, Mishap> {
        wire::send(&mut self.stream, &mut self.buffers).await?;
        wire::next_packet(&mut self.stream, &mut self.buffers).await
    }
}

fn connect(login: &ServiceLogin) -> Result<Connect, MqttError> {
    Connect::builder()
        .client_id(login.username.as_str())?
        .clean_session(true)
        .keep_alive(KEEP_ALIVE)
        .user_name(login.username.as_str())?
        .password(login.password.as_str())?
        .build()
}

fn subscribe(filter: &str, qos: Qos) -> Result<Subscribe, MqttError> {
    let options = SubOpts::new().set_qos(qos);
    Subscribe::builder()
        .packet_id(SUBSCRIBE_ID)
        .entries(vec![SubEntry::new(filter, options)?])
        .build()
}
