//! Sessions, what waits in them, configurations and current values: each has a
//! device, and each message that a session waits for is there.

use super::super::rows::{self, Name, Table};
use super::{Check, Found, RegistryError};
use crate::feed::CurrentValue;
use crate::identity::FeedId;
use crate::mailbox::{Mail, Mailbox};

impl Check<'_> {
    pub(super) async fn read_mail(&mut self) -> Result<(), RegistryError> {
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = self.page(Table::Mail, after.as_deref()).await?;
            let Some((last, _)) = page.last() else {
                return Ok(());
            };
            after = Some(last.clone());
            let names: Vec<Name> = page
                .iter()
                .map(|(key, _)| Name::read(Table::Mail, key))
                .collect();
            let devices = self.devices_of(names.iter().filter_map(feed_of).collect());
            let devices = devices.await?;
            let mailboxes = self.mailboxes_of(&names).await?;
            for ((key, row), name) in page.iter().zip(&names) {
                let Some(feed) = feed_of(name) else {
                    self.lasting(Table::Mail, key, "it is of no known kind");
                    continue;
                };
                if matches!(devices.get(&feed), Some(Found::Nothing) | None) {
                    self.left_over(Table::Mail, key, "its device is gone");
                    continue;
                }
                let unreadable = match name {
                    Name::Mailbox(_) => rows::decode::<Mailbox>(row).err(),
                    Name::Value(..) => rows::decode::<CurrentValue>(row).err(),
                    _ => rows::decode::<Mail>(row).err(),
                };
                if let Some(error) = unreadable {
                    self.lasting(Table::Mail, key, error.to_string());
                } else if let Name::Mail(_, number) = name
                    && !mailboxes
                        .get(&feed)
                        .is_some_and(|waiting| waiting.contains(number))
                {
                    self.left_over(Table::Mail, key, "no session waits for it");
                }
            }
            self.find_waiting(&page, &names).await?;
        }
    }

    /// What the sessions wait for whose messages are among these.
    async fn mailboxes_of(
        &self,
        names: &[Name],
    ) -> Result<std::collections::HashMap<FeedId, Vec<u64>>, RegistryError> {
        let of = |name: &Name| match name {
            Name::Mail(feed, _) => Some(*feed),
            _ => None,
        };
        let mut feeds: Vec<FeedId> = names.iter().filter_map(of).collect();
        feeds.dedup();
        let keys: Vec<Vec<u8>> = feeds.iter().map(|feed| rows::mailbox_key(*feed)).collect();
        let found = self.shelves.rows(Table::Mail, &keys).await?;
        let waiting = |row: Option<Vec<u8>>| {
            let mailbox = row.and_then(|row| rows::decode::<Mailbox>(&row).ok());
            mailbox.map_or_else(Vec::new, |mailbox| mailbox.waiting(0).collect())
        };
        Ok(feeds
            .into_iter()
            .zip(found.into_iter().map(waiting))
            .collect())
    }

    /// Whether what these sessions wait for is there.
    async fn find_waiting(
        &mut self,
        page: &[(Vec<u8>, Vec<u8>)],
        names: &[Name],
    ) -> Result<(), RegistryError> {
        for ((key, row), name) in page.iter().zip(names) {
            let Name::Mailbox(feed) = name else { continue };
            let Ok(mailbox) = rows::decode::<Mailbox>(row) else {
                continue;
            };
            let numbers: Vec<u64> = mailbox.waiting(0).collect();
            let keys: Vec<Vec<u8>> = numbers
                .iter()
                .map(|number| rows::mail_key(*feed, *number))
                .collect();
            let found = self.shelves.rows(Table::Mail, &keys).await?;
            for (number, found) in numbers.iter().zip(found) {
                if found.is_none() {
                    let fault = format!("message {number}, which waits in it, is missing");
                    self.lasting(Table::Mail, key, fault);
                }
            }
        }
        Ok(())
    }
}

fn feed_of(name: &Name) -> Option<FeedId> {
    match name {
        Name::Mailbox(feed)
        | Name::Configuration(feed)
        | Name::Mail(feed, _)
        | Name::Value(feed, _) => Some(*feed),
        _ => None,
    }
}
