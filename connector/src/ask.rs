//! Questions to the server, on the device's own topics.
//!
//! The request goes out before the subscription: a subscription alone would
//! ask for credentials. What arrives in between and is no answer waits on the
//! connection for whoever reads it next.

use std::time::Duration;

use firstwake::Serial;
use firstwake::topic::device::{request, response};
use serde_json::Value;
use tokio::time::timeout;

use crate::answer::Answer;
use crate::client::{Connection, Event};
use crate::decide::Setback;
use crate::error::{Refusal, Trouble};

/// The topics that a device asks and is answered on.
pub(crate) struct Desk {
    request: String,
    response: String,
    /// For each answer.
    patience: Duration,
}

impl Desk {
    /// Asks the first question and gives back its answer.
    pub(crate) async fn open(
        connection: &mut Connection,
        serial: &Serial,
        first: &Value,
        patience: Duration,
    ) -> Result<(Self, Answer), Setback> {
        let desk = Self {
            request: request(serial).as_str().to_owned(),
            response: response(serial).as_str().to_owned(),
            patience,
        };
        desk.send(connection, first)?;
        let subscribed = connection.subscribe(desk.response.clone());
        subscribed.map_err(Setback::Trouble)?;
        let answer = desk.answer(connection).await?;
        Ok((desk, answer))
    }

    /// Asks another one.
    pub(crate) async fn ask(
        &self,
        connection: &mut Connection,
        question: &Value,
    ) -> Result<Answer, Setback> {
        self.send(connection, question)?;
        self.answer(connection).await
    }

    fn send(&self, connection: &Connection, question: &Value) -> Result<(), Setback> {
        let sent = connection.publish(self.request.clone(), &question.to_string());
        sent.map_err(Setback::Trouble)
    }

    async fn answer(&self, connection: &mut Connection) -> Result<Answer, Setback> {
        let mut others = Vec::new();
        let answered = timeout(self.patience, self.next(connection, &mut others)).await;
        connection.put_back(others);
        answered.unwrap_or(Err(Setback::Trouble(Trouble::NoAnswer)))
    }

    async fn next(
        &self,
        connection: &mut Connection,
        others: &mut Vec<Event>,
    ) -> Result<Answer, Setback> {
        loop {
            match connection.next().await.map_err(Setback::Trouble)? {
                Event::Message(message) if message.topic == self.response => {
                    // A server may answer and close at once: the answer counts.
                    let _ = connection.acknowledge(&message);
                    return Answer::parse(&message.payload)
                        .map_err(|_| Setback::Trouble(Trouble::UnreadableAnswer));
                }
                Event::SubscriptionRefused => return Err(Setback::Refused(Refusal::Subscription)),
                message @ Event::Message(_) => others.push(message),
                _ => {}
            }
        }
    }
}
