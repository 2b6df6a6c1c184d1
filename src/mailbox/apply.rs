//! The one table of what a change does to a mailbox.

use super::{Capacity, Change, Mail, Mailbox, Moment, Outcome, Resume, Retained, Subscription};
use super::{Timestamp, VecDeque, Waiting};
use crate::qos::Qos;

/// What a change comes to: what a store has to write.
#[derive(Debug)]
pub(crate) struct Applied {
    /// The mailbox from now on.
    pub(crate) mailbox: Option<Mailbox>,
    /// Mail to be added, by number.
    pub(crate) added: Option<(u64, Mail)>,
    /// Numbers of mail to be removed.
    pub(crate) removed: Vec<u64>,
    /// The configuration, if it is another one now.
    pub(crate) configuration: Option<Option<Mail>>,
    /// What whoever asked is told.
    pub(crate) outcome: Outcome,
}

impl Change {
    /// Whether [`apply`] needs to know the configuration.
    pub(crate) fn wants_configuration(&self) -> bool {
        matches!(
            self,
            Self::Subscribe {
                retained: Retained::Wanted,
                ..
            }
        )
    }
}

/// Carries out a change on the mailbox that was found. `configuration` is
/// looked at only if the change [wants it](Change::wants_configuration).
pub(crate) fn apply(
    found: Option<Mailbox>,
    configuration: Option<Mail>,
    change: Change,
) -> Applied {
    let mut draft = Draft::of(found);
    let outcome = match change {
        Change::Open {
            connection,
            client_id,
            resume,
            expiry,
            moment,
        } => {
            draft.end_if(|found| {
                resume == Resume::No || found.client_id != client_id || found.is_over(moment)
            });
            draft.open(connection, client_id, expiry, moment.at)
        }
        Change::Subscribe {
            connection,
            subscription,
            retained,
            capacity,
        } => {
            let outcome = draft.subscribe(connection, subscription, retained, configuration);
            draft.drop_oldest(capacity);
            outcome
        }
        Change::Unsubscribe {
            connection,
            filters,
        } => draft.of_connection(connection, |mailbox| {
            mailbox
                .subscriptions
                .retain(|subscription| !filters.contains(&subscription.filter));
        }),
        Change::Post {
            mail,
            capacity,
            moment,
        } => draft.post(mail, capacity, moment),
        Change::Configure {
            mail,
            capacity,
            moment,
        } => {
            draft.configuration = Some(mail.clone());
            match mail {
                Some(mail) => draft.post(mail, capacity, moment),
                None => Outcome::Done,
            }
        }
        Change::Take {
            connection,
            numbers,
        } => draft.take(connection, &numbers),
        Change::Close {
            connection,
            expiry,
            sent,
            received,
            at,
        } => {
            let outcome = draft.of_connection(connection, |mailbox| {
                mailbox.left_at = Some(at);
                mailbox.expiry = expiry.unwrap_or(mailbox.expiry);
                mailbox.sent = mailbox.sent.max(sent);
                mailbox.received = received;
            });
            draft.end_if(|mailbox| mailbox.left_at.is_some() && mailbox.expiry == 0);
            outcome
        }
        Change::Expire { moment } => {
            draft.end_if(|mailbox| mailbox.is_over(moment));
            Outcome::Done
        }
    };
    draft.applied(outcome)
}

/// A mailbox that is being changed.
#[derive(Default)]
struct Draft {
    mailbox: Option<Mailbox>,
    added: Option<(u64, Mail)>,
    removed: Vec<u64>,
    configuration: Option<Option<Mail>>,
}

impl Draft {
    fn of(mailbox: Option<Mailbox>) -> Self {
        Self {
            mailbox,
            ..Self::default()
        }
    }

    fn applied(self, outcome: Outcome) -> Applied {
        Applied {
            mailbox: self.mailbox,
            added: self.added,
            removed: self.removed,
            configuration: self.configuration,
            outcome,
        }
    }

    /// Changes the mailbox if it still belongs to this connection.
    fn of_connection(&mut self, connection: u64, change: impl FnOnce(&mut Mailbox)) -> Outcome {
        match &mut self.mailbox {
            Some(mailbox) if mailbox.connection == connection => {
                change(mailbox);
                Outcome::Done
            }
            _ => Outcome::Stale,
        }
    }

    fn end_if(&mut self, over: impl FnOnce(&Mailbox) -> bool) {
        if let Some(mailbox) = self.mailbox.take_if(|mailbox| over(mailbox)) {
            self.removed.extend(mailbox.waiting(0));
        }
    }

    fn open(&mut self, connection: u64, client_id: String, expiry: u32, at: Timestamp) -> Outcome {
        if let Some(mailbox) = &mut self.mailbox {
            if mailbox.left_at.take().is_none() {
                // Nobody noted what was sent: perhaps all of it.
                mailbox.sent = mailbox.newest;
            }
            mailbox.connection = connection;
            mailbox.expiry = expiry;
            mailbox.opened_at = at;
            return Outcome::Resumed(mailbox.clone());
        }
        let mailbox = Mailbox {
            client_id,
            connection,
            expiry,
            subscriptions: Vec::new(),
            received: Vec::new(),
            sent: 0,
            opened_at: at,
            left_at: None,
            newest: 0,
            waiting: VecDeque::new(),
        };
        self.mailbox = Some(mailbox.clone());
        Outcome::New(mailbox)
    }

    fn subscribe(
        &mut self,
        connection: u64,
        subscription: Subscription,
        retained: Retained,
        configuration: Option<Mail>,
    ) -> Outcome {
        let wanted = retained == Retained::Wanted && subscription.qos > Qos::AtMostOnce;
        let filter = subscription.filter.clone();
        let outcome = self.of_connection(connection, |mailbox| {
            mailbox.subscriptions.retain(|found| found.filter != filter);
            mailbox.subscriptions.push(subscription);
        });
        if let Some(mail) = configuration
            && outcome == Outcome::Done
            && wanted
            && filter.matches(&mail.topic)
        {
            // One that waits already would be told twice.
            self.drop_retained();
            self.add(Mail {
                retained: true,
                ..mail
            });
        }
        outcome
    }

    fn post(&mut self, mail: Mail, capacity: Capacity, moment: Moment) -> Outcome {
        self.end_if(|mailbox| mailbox.is_over(moment));
        let matching = self
            .mailbox
            .iter()
            .flat_map(|found| found.matching(&mail.topic));
        match matching.map(|subscription| subscription.qos).max() {
            None => return Outcome::NobodyThere,
            Some(Qos::AtMostOnce) => return Outcome::Fleeting,
            Some(_) => {}
        }
        self.drop_expired(moment.at);
        self.add(mail);
        Outcome::Posted {
            dropped: self.drop_oldest(capacity),
        }
    }

    fn add(&mut self, mail: Mail) {
        if let Some(mailbox) = &mut self.mailbox {
            mailbox.newest += 1;
            mailbox.waiting.push_back(Waiting {
                number: mailbox.newest,
                bytes: mail.bytes(),
                expires_at: mail.expires_at,
                retained: mail.retained,
            });
            self.added = Some((mailbox.newest, mail));
        }
    }

    fn drop_expired(&mut self, at: Timestamp) {
        if let Some(mailbox) = &mut self.mailbox {
            mailbox.waiting.retain(|waiting| {
                let kept = waiting.expires_at.is_none_or(|end| at < end);
                self.removed.extend((!kept).then_some(waiting.number));
                kept
            });
        }
    }

    fn drop_retained(&mut self) {
        if let Some(mailbox) = &mut self.mailbox {
            mailbox.waiting.retain(|waiting| {
                self.removed
                    .extend(waiting.retained.then_some(waiting.number));
                !waiting.retained
            });
        }
    }

    /// Makes room, and says for how many there was none. The newest stays.
    fn drop_oldest(&mut self, capacity: Capacity) -> usize {
        let Some(mailbox) = &mut self.mailbox else {
            return 0;
        };
        let waiting = &mut mailbox.waiting;
        let mut bytes: usize = waiting.iter().map(|waiting| waiting.bytes).sum();
        let mut dropped = 0;
        while waiting.len() > 1 && (waiting.len() > capacity.messages || bytes > capacity.bytes) {
            let Some(oldest) = waiting.pop_front() else {
                break;
            };
            bytes -= oldest.bytes;
            dropped += 1;
            self.removed.push(oldest.number);
        }
        dropped
    }

    fn take(&mut self, connection: u64, numbers: &[u64]) -> Outcome {
        let removed = &mut self.removed;
        match &mut self.mailbox {
            Some(mailbox) if mailbox.connection == connection => {
                mailbox.waiting.retain(|waiting| {
                    let taken = numbers.contains(&waiting.number);
                    removed.extend(taken.then_some(waiting.number));
                    !taken
                });
                Outcome::Done
            }
            _ => Outcome::Stale,
        }
    }
}
