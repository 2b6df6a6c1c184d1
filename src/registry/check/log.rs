//! Events: each can be read, and their numbers have no gap.

use super::super::rows::{self, Name, Table};
use super::{Check, RegistryError};
use crate::event::NewEvent;

impl Check<'_> {
    pub(super) async fn read_events(&mut self) -> Result<(), RegistryError> {
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = self.page(Table::Events, after.as_deref()).await?;
            let Some((last, _)) = page.last() else {
                return Ok(());
            };
            after = Some(last.clone());
            for (key, row) in &page {
                let Name::Event(number) = Name::read(Table::Events, key) else {
                    self.lasting(Table::Events, key, "it is of no known kind");
                    continue;
                };
                let expected = self.verdict.newest_event + 1;
                if number > expected {
                    let fault = match number - expected {
                        1 => format!("event {expected} is missing before it"),
                        _ => format!("events {expected} to {} are missing before it", number - 1),
                    };
                    self.lasting(Table::Events, key, fault);
                }
                self.verdict.newest_event = number;
                if let Err(error) = rows::decode::<NewEvent>(row) {
                    self.lasting(Table::Events, key, error.to_string());
                }
            }
        }
    }
}
