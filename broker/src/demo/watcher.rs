//! The operator: a real MQTT client over TCP that reads the event log.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, Packet, QoS, SubscribeReasonCode};
use serde::Deserialize;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::child::Login;

/// One event, as far as the demo holds it against the devices.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Seen {
    pub(super) seq: u64,
    pub(super) event: String,
    pub(super) serial: Option<String>,
    pub(super) feed_id: Option<u64>,
}

/// The operator's connection, and what it has read.
pub(super) struct Watcher {
    seen: watch::Receiver<Vec<Seen>>,
    reading: JoinHandle<Result<()>>,
}

impl Watcher {
    /// Logs in, and returns once the subscription is there.
    pub(super) async fn start(server: SocketAddr, login: &Login) -> Result<Self> {
        let mut options = MqttOptions::new("demo-operator", server.ip().to_string(), server.port());
        options
            .set_credentials(login.name.as_str(), login.password.as_str())
            .set_keep_alive(Duration::from_secs(30));
        let (client, mut connection) = AsyncClient::new(options, 10);
        client
            .subscribe("provisioning/events/#", QoS::AtLeastOnce)
            .await?;
        loop {
            let event = connection.poll().await;
            if let Event::Incoming(Packet::SubAck(ack)) =
                event.context("the operator cannot log in")?
            {
                match ack.return_codes.as_slice() {
                    [SubscribeReasonCode::Success(QoS::AtLeastOnce)] => break,
                    codes => bail!("the operator may not watch: {codes:?}"),
                }
            }
        }
        let (known, seen) = watch::channel(Vec::new());
        // The client has to live as long as its connection.
        let reading = tokio::spawn(read(client, connection, known));
        Ok(Self { seen, reading })
    }

    /// Waits until so many events were read, and returns all that were.
    pub(super) async fn until(mut self, count: usize, patience: Duration) -> Result<Vec<Seen>> {
        let enough = self.seen.wait_for(|seen| seen.len() >= count);
        let waited = tokio::time::timeout(patience, async { enough.await.is_ok() }).await;
        if waited != Ok(false) {
            self.reading.abort();
        }
        let seen = self.seen.borrow().clone();
        if seen.len() >= count {
            return Ok(seen);
        }
        let read = seen.len();
        let why = match self.reading.await {
            Ok(Err(error)) => format!("{error:#}"),
            _ => "no more came".to_owned(),
        };
        bail!("the operator read {read} events in place of {count}: {why}")
    }
}

async fn read(
    _client: AsyncClient,
    mut connection: EventLoop,
    known: watch::Sender<Vec<Seen>>,
) -> Result<()> {
    loop {
        let event = connection.poll().await;
        if let Event::Incoming(Packet::Publish(publish)) =
            event.context("the operator lost its connection")?
        {
            let seen: Seen =
                serde_json::from_slice(&publish.payload).context("an event is not JSON")?;
            known.send_modify(|all| all.push(seen));
        }
    }
}
