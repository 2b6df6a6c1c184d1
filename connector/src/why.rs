//! Why a login was refused, asked once more in MQTT 5.
//!
//! MQTT 3.1.1 has one number for every reason. Its successor tells who has
//! proved its secret why not, and the server's time where the device's own is
//! the reason. So this connection is made to be refused: it only reads the
//! answer to its CONNECT.

use std::time::Duration;

use bytes::BytesMut;
use firstwake::Timestamp;
use rumqttc::v5::mqttbytes::Error;
use rumqttc::v5::mqttbytes::v5::{
    ConnAck, Connect, ConnectProperties, ConnectReturnCode, Login, Packet,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::broker::Broker;

/// More than a CONNACK with the longest reason has.
const MAX_PACKET: u32 = 4096;
const PATIENCE: Duration = Duration::from_secs(10);
/// Seconds: as long as a server keeps a session of MQTT 3.1.1.
const KEPT: u32 = 24 * 60 * 60;

/// What the server says about a refusal.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// Nothing that is of use.
    Unsaid,
    /// The device's time is not the server's, which is this.
    Time(Timestamp),
    /// In the server's words.
    Reason(String),
    /// Nothing is wrong any more.
    Accepted,
}

/// Who asks, and what it shows.
pub(crate) struct Asking<'a> {
    pub(crate) serial: &'a str,
    pub(crate) password: &'a str,
    /// The board, as a signed login says it too.
    pub(crate) hardware: Option<String>,
}

/// Logs in once more, only to be told. Whatever goes wrong with it says
/// nothing about the device.
pub(crate) async fn ask(broker: &Broker, asking: Asking<'_>) -> Why {
    match timeout(PATIENCE, connack(broker, asking)).await {
        Ok(Some(connack)) => read(connack),
        _ => Why::Unsaid,
    }
}

async fn connack(broker: &Broker, asking: Asking<'_>) -> Option<ConnAck> {
    let mut stream = TcpStream::connect(broker.to_string()).await.ok()?;
    let mut properties = ConnectProperties::new();
    // Should nothing be wrong any more, the device's session stays as it was.
    properties.session_expiry_interval = Some(KEPT);
    let hardware = asking.hardware.into_iter();
    properties.user_properties = hardware
        .map(|facts| ("hardware".to_owned(), facts))
        .collect();
    let connect = Connect {
        keep_alive: 10,
        client_id: asking.serial.to_owned(),
        clean_start: false,
        properties: Some(properties),
    };
    let login = Login::new(asking.serial, asking.password);
    let mut bytes = BytesMut::new();
    connect.write(&None, &Some(login), &mut bytes).ok()?;
    stream.write_all(&bytes).await.ok()?;
    bytes.clear();
    loop {
        match Packet::read(&mut bytes, Some(MAX_PACKET)) {
            Ok(Packet::ConnAck(connack)) => return Some(connack),
            Err(Error::InsufficientBytes(_)) => {}
            _ => return None,
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}

fn read(connack: ConnAck) -> Why {
    if connack.code == ConnectReturnCode::Success {
        return Why::Accepted;
    }
    let Some(properties) = connack.properties else {
        return Why::Unsaid;
    };
    let told = properties.user_properties.iter();
    let mut times = told.filter(|(name, _)| name == "server_time");
    let millis = times.next().and_then(|(_, value)| value.parse().ok());
    let time = millis.map(|millis| Why::Time(Timestamp::from_millis(millis)));
    time.or(properties.reason_string.map(Why::Reason))
        .unwrap_or(Why::Unsaid)
}
