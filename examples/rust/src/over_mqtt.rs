//! MQTT 3.1.1, with `rumqttc`.
//!
//! `rumqttc` would connect again by itself and for ever, so a session here
//! ends with its first error.

use std::time::Duration;

use rumqttc::{
    Client, ConnectReturnCode, Connection, ConnectionError, Event, Incoming, MqttOptions, QoS,
};
use serde::Deserialize;

use crate::code::ActivationCode;
use crate::credentials::Credentials;
use crate::server::{DATASTREAM, No, PATIENCE, Server, VALUE};

/// A server's MQTT port.
pub(crate) struct OverMqtt {
    host: String,
    port: u16,
    serial: String,
}

/// What may come in place of credentials.
#[derive(Deserialize)]
struct Declined {
    error: Reason,
}

#[derive(Deserialize)]
struct Reason {
    code: String,
    message: String,
}

impl OverMqtt {
    /// `HOST:PORT`.
    pub(crate) fn new(address: &str, serial: String) -> Option<Self> {
        let (host, port) = address.rsplit_once(':')?;
        Some(Self {
            host: host.to_owned(),
            port: port.parse().ok()?,
            serial,
        })
    }

    fn log_in(&self, password: &str) -> Result<Session, No> {
        let mut options = MqttOptions::new(&self.serial, &self.host, self.port);
        options.set_credentials(&self.serial, password);
        options.set_keep_alive(Duration::from_secs(60));
        let (client, connection) = Client::new(options, 4);
        let mut session = Session { client, connection };
        session.next_of(|event| matches!(event, Incoming::ConnAck(_)).then_some(()))?;
        Ok(session)
    }
}

impl Server for OverMqtt {
    fn activate(&self, code: &ActivationCode) -> Result<String, No> {
        let mut session = self.log_in(code.expose())?;
        // In a topic, a + would be a wildcard.
        let topic = format!("provision/{}/response", self.serial.replace('+', "%2B"));
        session
            .client
            .subscribe(topic, QoS::AtLeastOnce)
            .map_err(lost)?;
        let answer = session.next_of(|event| match event {
            Incoming::Publish(message) => {
                Some(String::from_utf8_lossy(&message.payload).into_owned())
            }
            _ => None,
        })?;
        session.leave();
        match serde_json::from_str(&answer) {
            Ok(Declined { error }) if ["overloaded", "unavailable"].contains(&&*error.code) => {
                Err(No::Later(error.message))
            }
            Ok(Declined { error }) => Err(No::Stop(error.message)),
            Err(_) => Ok(answer),
        }
    }

    fn send(&self, known: &Credentials) -> Result<(), No> {
        let mut session = self.log_in(&known.apikey)?;
        let topic = format!("feeds/{}/data/{DATASTREAM}", known.feed_id);
        session
            .client
            .publish(topic, QoS::AtLeastOnce, false, VALUE)
            .map_err(lost)?;
        session.next_of(|event| matches!(event, Incoming::PubAck(_)).then_some(()))?;
        session.leave();
        Ok(())
    }
}

/// A session that the server has let in.
struct Session {
    client: Client,
    connection: Connection,
}

impl Session {
    /// The first event that `wanted` makes something of.
    fn next_of<T>(&mut self, wanted: impl Fn(Incoming) -> Option<T>) -> Result<T, No> {
        loop {
            let next = self
                .connection
                .recv_timeout(Duration::from_secs(PATIENCE))
                .map_err(|_| No::Later("the server does not answer".to_owned()))?;
            match next {
                Ok(Event::Incoming(event)) => {
                    if let Some(found) = wanted(event) {
                        return Ok(found);
                    }
                }
                Ok(Event::Outgoing(_)) => {}
                Err(ConnectionError::ConnectionRefused(code)) => return Err(refused(code)),
                Err(error) => return Err(lost(error)),
            }
        }
    }

    /// Says goodbye, and waits until it is said.
    fn leave(mut self) {
        if self.client.disconnect().is_ok() {
            // What is left in the connection, to its end.
            while let Ok(Ok(_)) = self.connection.recv_timeout(Duration::from_secs(1)) {}
        }
    }
}

fn refused(code: ConnectReturnCode) -> No {
    match code {
        ConnectReturnCode::BadUserNamePassword => No::Unknown,
        ConnectReturnCode::NotAuthorized => {
            No::Stop("the code is spent, or the device suspended or revoked".to_owned())
        }
        other => No::Later(format!("the server is busy ({other:?})")),
    }
}

fn lost(error: impl std::fmt::Display) -> No {
    No::Later(format!("the connection broke ({error})"))
}
