//! One MQTT connection: the only file that names `rumqttc`.
//!
//! `rumqttc` reconnects by itself, with the password it was given once, and
//! forgets unacknowledged values when it does. So every connection here is a
//! new one: what was not acknowledged is kept by the [outbox](crate::outbox),
//! and each login is signed anew. The event loop is polled on a task of its
//! own, and nothing here awaits room in its request channel: that pair would
//! wait for each other for ever.

use std::collections::VecDeque;
use std::time::Duration;

use firstwake::{ActivationCode, Serial};
use rumqttc::{
    AsyncClient, ConnectReturnCode, ConnectionError, EventLoop, Incoming, MqttOptions, Outgoing,
    Publish, QoS, SubscribeReasonCode,
};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::broker::Broker;
use crate::credentials::Stored;
use crate::decide::Setback;
use crate::error::{Refusal, Trouble};

/// How many values may be unacknowledged at once.
pub(crate) const WINDOW: u16 = 64;

/// A server has no more than this under way to us; what is more than that is
/// not kept, and comes again on the next connection.
pub(crate) const INCOMING: usize = 64;

/// Room for a full window each way, some questions and a DISCONNECT: never full.
const REQUESTS: usize = WINDOW as usize + INCOMING + 8;

const KEEP_ALIVE: Duration = Duration::from_secs(30);
const CONNECT_SECONDS: u64 = 10;
const CLOSE_WITHIN: Duration = Duration::from_secs(1);

/// An answer of this size still fits a credentials file.
const MAX_PACKET: usize = 32 * 1024;

/// As whom, and with which proof.
#[derive(Debug)]
pub(crate) enum Login<'a> {
    /// To be given a key, or to enrol one.
    Code(&'a Serial, &'a ActivationCode),
    /// To work, with the key or a signature by it. Only what is safely stored
    /// can be used.
    Key(&'a Stored, &'a str),
}

/// What the server did, or what left for it.
#[derive(Debug)]
pub(crate) enum Event {
    /// The last SUBSCRIBE was granted.
    Subscribed,
    /// The last SUBSCRIBE was refused.
    SubscriptionRefused,
    /// A message arrived. Until it is acknowledged, it comes again on each
    /// connection.
    Message(Message),
    /// The oldest value not yet on the wire went out under this packet id.
    Sent(u16),
    /// The server took the value with this packet id.
    Acknowledged(u16),
}

/// A message from the server.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) topic: String,
    pub(crate) payload: Vec<u8>,
    receipt: Receipt,
}

/// What acknowledges a message.
#[derive(Debug)]
pub(crate) struct Receipt(Publish);

impl Message {
    /// The message without what acknowledges it, and that.
    pub(crate) fn into_parts(self) -> (String, Vec<u8>, Receipt) {
        (self.topic, self.payload, self.receipt)
    }
}

/// An open connection. Dropping it closes the socket without DISCONNECT.
#[derive(Debug)]
pub(crate) struct Connection {
    requests: AsyncClient,
    events: mpsc::Receiver<Result<Event, Trouble>>,
    /// What was read already by somebody who had no use for it.
    put_back: VecDeque<Event>,
    poller: JoinHandle<()>,
}

impl Connection {
    /// Connects and waits for the CONNACK.
    pub(crate) async fn open(broker: &Broker, login: Login<'_>) -> Result<Self, Setback> {
        let (requests, mut event_loop) = AsyncClient::new(options(broker, &login), REQUESTS);
        event_loop.network_options.set_tcp_nodelay(true);
        event_loop
            .network_options
            .set_connection_timeout(CONNECT_SECONDS);
        match event_loop.poll().await {
            Ok(_connack) => {}
            Err(ConnectionError::ConnectionRefused(code)) => return Err(login.setback(code)),
            Err(error) => return Err(Setback::Trouble(network(&error))),
        }
        let (sender, events) = mpsc::channel(REQUESTS);
        Ok(Self {
            requests,
            events,
            put_back: VecDeque::new(),
            poller: tokio::spawn(poll(event_loop, sender)),
        })
    }

    /// Asks for a topic at QoS 1.
    pub(crate) fn subscribe(&self, topic: String) -> Result<(), Trouble> {
        self.requests
            .try_subscribe(topic, QoS::AtLeastOnce)
            .map_err(|_| closed())
    }

    /// Hands over one value at QoS 1; an [`Event::Sent`] follows. The caller
    /// keeps to the [`WINDOW`].
    pub(crate) fn publish(&self, topic: String, payload: &str) -> Result<(), Trouble> {
        self.requests
            .try_publish(topic, QoS::AtLeastOnce, false, payload)
            .map_err(|_| closed())
    }

    /// Has a message not come again.
    pub(crate) fn acknowledge(&self, message: &Message) -> Result<(), Trouble> {
        self.take_off(&message.receipt)
    }

    /// The same, for whoever has only the receipt left.
    pub(crate) fn take_off(&self, receipt: &Receipt) -> Result<(), Trouble> {
        self.requests.try_ack(&receipt.0).map_err(|_| closed())
    }

    /// Leaves these events for the next reader, before all others.
    pub(crate) fn put_back(&mut self, events: Vec<Event>) {
        self.put_back.extend(events);
    }

    /// The next event; after trouble, the connection is gone. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Result<Event, Trouble> {
        if let Some(event) = self.put_back.pop_front() {
            return Ok(event);
        }
        self.events.recv().await.unwrap_or_else(|| Err(closed()))
    }

    /// Says DISCONNECT, so that the server does not take it for an accident.
    pub(crate) async fn close(mut self) {
        if self.requests.try_disconnect().is_ok() {
            let gone = async { while self.next().await.is_ok() {} };
            // A peer that takes longer loses nothing but the politeness.
            let _ = tokio::time::timeout(CLOSE_WITHIN, gone).await;
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.poller.abort();
    }
}

impl Login<'_> {
    fn serial(&self) -> &Serial {
        match self {
            Self::Code(serial, _) => serial,
            Self::Key(stored, _) => stored.credentials().serial(),
        }
    }

    fn password(&self) -> String {
        match self {
            Self::Code(_, code) => code.expose_hex(),
            Self::Key(_, password) => (*password).to_owned(),
        }
    }

    /// A session of a device outlives its connections, so that commands wait
    /// for it; one that is given a key does not.
    fn session_ends(&self) -> bool {
        matches!(self, Self::Code(..))
    }

    /// What a CONNACK other than 0 means to this login.
    fn setback(&self, code: ConnectReturnCode) -> Setback {
        use ConnectReturnCode as Code;
        Setback::Refused(match (code, self) {
            (Code::ServiceUnavailable, _) => return Setback::Trouble(Trouble::Busy),
            (Code::BadUserNamePassword, Self::Code(..)) => Refusal::WrongCode,
            (Code::BadUserNamePassword, Self::Key(..)) => Refusal::WrongKey,
            (Code::NotAuthorized, Self::Code(..)) => Refusal::CodeNotAllowed,
            (Code::NotAuthorized, Self::Key(..)) => Refusal::KeyNotAllowed,
            (Code::RefusedProtocolVersion | Code::BadClientId | Code::Success, _) => {
                Refusal::Protocol
            }
        })
    }
}

/// `rumqttc` keeps copies of the password that nothing wipes; they end with
/// the connection.
fn options(broker: &Broker, login: &Login<'_>) -> MqttOptions {
    let serial = login.serial().as_str();
    let mut options = MqttOptions::new(serial, broker.host(), broker.port());
    options
        .set_credentials(serial, login.password())
        .set_clean_session(login.session_ends())
        .set_manual_acks(true)
        .set_keep_alive(KEEP_ALIVE)
        .set_inflight(WINDOW)
        .set_max_packet_size(MAX_PACKET, MAX_PACKET);
    options
}

/// Polls until the connection ends, one way or the other.
async fn poll(mut event_loop: EventLoop, events: mpsc::Sender<Result<Event, Trouble>>) {
    loop {
        let polled = event_loop.poll().await;
        let ended = match polled {
            Ok(rumqttc::Event::Outgoing(Outgoing::Disconnect)) => return,
            Ok(event) => {
                forward(event, &events).await;
                continue;
            }
            Err(error) => network(&error),
        };
        // What arrived in one read with the end of the stream still counts: a
        // server may answer and close at once.
        for event in std::mem::take(&mut event_loop.state.events) {
            forward(event, &events).await;
        }
        let _ = events.send(Err(ended)).await;
        return;
    }
}

/// Passes on what matters to us. A receiver that is gone has ended this task.
async fn forward(event: rumqttc::Event, events: &mpsc::Sender<Result<Event, Trouble>>) {
    let event = match event {
        rumqttc::Event::Incoming(Incoming::SubAck(ack)) => {
            let granted = |code: &SubscribeReasonCode| *code != SubscribeReasonCode::Failure;
            if ack.return_codes.iter().all(granted) {
                Event::Subscribed
            } else {
                Event::SubscriptionRefused
            }
        }
        rumqttc::Event::Incoming(Incoming::Publish(message)) => Event::Message(Message {
            topic: message.topic.clone(),
            payload: message.payload.to_vec(),
            receipt: Receipt(message),
        }),
        rumqttc::Event::Incoming(Incoming::PubAck(ack)) => Event::Acknowledged(ack.pkid),
        rumqttc::Event::Outgoing(Outgoing::Publish(id)) => Event::Sent(id),
        _ => return,
    };
    let _ = events.send(Ok(event)).await;
}

fn network(error: &ConnectionError) -> Trouble {
    Trouble::Network(match error {
        ConnectionError::Io(error) => error.to_string(),
        ConnectionError::MqttState(error) => error.to_string(),
        error => error.to_string(),
    })
}

fn closed() -> Trouble {
    Trouble::Network("closed".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connack_means_another_thing_to_a_code_than_to_a_key() {
        let serial = Serial::parse("S").expect("serial");
        let code = ActivationCode::parse(&"a".repeat(40)).expect("code");
        let stored = Stored::for_test("S", 'k');
        let check = |connack, to_code: &str, to_key: &str| {
            let name = |login: Login<'_>| format!("{:?}", login.setback(connack));
            assert_eq!(name(Login::Code(&serial, &code)), to_code);
            assert_eq!(name(Login::Key(&stored, "")), to_key);
        };
        use ConnectReturnCode as Code;
        check(Code::ServiceUnavailable, "Trouble(Busy)", "Trouble(Busy)");
        check(
            Code::BadUserNamePassword,
            "Refused(WrongCode)",
            "Refused(WrongKey)",
        );
        check(
            Code::NotAuthorized,
            "Refused(CodeNotAllowed)",
            "Refused(KeyNotAllowed)",
        );
        check(Code::BadClientId, "Refused(Protocol)", "Refused(Protocol)");
    }
}
