//! The table of everything else: each row can be read, and what is counted in
//! it is what there is. Last, because by then everything has been counted.

use super::super::ProductCensus;
use super::super::rows::{self, COUNTERS_KEY, Counters, Name, Table};
use super::{Check, RegistryError};
use crate::ban::Ban;
use crate::once::Occasion;
use crate::operator::Operator;
use crate::product::Product;
use crate::sealing::SealedSecret;
use crate::token::Token;

impl Check<'_> {
    pub(super) async fn read_meta(&mut self) -> Result<(), RegistryError> {
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = self.page(Table::Meta, after.as_deref()).await?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            for (key, row) in &page {
                self.read_meta_row(key, row);
            }
            self.settle().await?;
        }
        self.count_products().await?;
        self.settle().await
    }

    fn read_meta_row(&mut self, key: &[u8], row: &[u8]) {
        let unreadable = match Name::read(Table::Meta, key) {
            Name::Format => rows::decode::<u32>(row).err(),
            Name::Counters => self.read_counters(row),
            Name::LicenceKey | Name::SealingProof => rows::decode::<SealedSecret>(row).err(),
            Name::Product(_) => rows::decode::<Product>(row).err(),
            Name::Operator(_) => rows::decode::<Operator>(row).err(),
            Name::Ban(_) => rows::decode::<Ban>(row).err(),
            Name::Token(_) => rows::decode::<Token>(row).err(),
            Name::Occasion(_) => rows::decode::<Occasion>(row).err(),
            Name::ProductCensus(id) => {
                if !self.products.contains_key(&id) {
                    self.mendable(Table::Meta, key, "its product is gone");
                    self.mend(Table::Meta, key, None);
                }
                None
            }
            _ => {
                self.lasting(Table::Meta, key, "it is of no known kind");
                None
            }
        };
        if let Some(error) = unreadable {
            self.lasting(Table::Meta, key, error.to_string());
        }
    }

    fn read_counters(&mut self, row: &[u8]) -> Option<RegistryError> {
        let key = COUNTERS_KEY;
        let found: Counters = match rows::decode(row) {
            Ok(found) => found,
            Err(error) => return Some(error),
        };
        let mut right = found;
        if found.newest_feed < self.newest_feed {
            right.newest_feed = self.newest_feed;
            let fault = format!(
                "the newest feed is {}, and there is feed {}",
                found.newest_feed, self.newest_feed
            );
            self.mendable(Table::Meta, key, fault);
        }
        let newest = self.verdict.newest_event;
        if found.newest_event < newest {
            right.newest_event = newest;
            let fault = format!(
                "the newest event is {}, and there is event {newest}",
                found.newest_event
            );
            self.mendable(Table::Meta, key, fault);
        }
        if found.newest_event > newest {
            let fault = format!(
                "events {} to {} are missing",
                newest + 1,
                found.newest_event
            );
            self.lasting(Table::Meta, key, fault);
        }
        if found.census != self.census {
            let fault = format!(
                "it counts {} devices, and there are {}, or they are in other states",
                found.census.total(),
                self.census.total()
            );
            match self.lost_devices {
                0 => {
                    right.census = self.census;
                    self.mendable(Table::Meta, key, fault);
                }
                unread => {
                    let fault = format!("{fault}; {unread} devices cannot be read or are missing");
                    self.lasting(Table::Meta, key, fault);
                }
            }
        }
        if right != found {
            self.mend(Table::Meta, key, Some(rows::encode(&right)));
        }
        None
    }

    /// Each product's count against its devices.
    async fn count_products(&mut self) -> Result<(), RegistryError> {
        let counted: Vec<(Vec<u8>, ProductCensus)> = self
            .products
            .iter()
            .map(|(id, known)| (rows::product_census_key(id), known.census.clone()))
            .collect();
        let keys: Vec<Vec<u8>> = counted.iter().map(|(key, _)| key.clone()).collect();
        let found = self.shelves.rows(Table::Meta, &keys).await?;
        for ((key, counted), row) in counted.iter().zip(found) {
            let read = row.map(|row| rows::decode::<ProductCensus>(&row));
            let fault = match &read {
                Some(Ok(found)) if sorted(found) == sorted(counted) => continue,
                None if counted.lifecycles.total() == 0 => continue,
                Some(Ok(found)) => format!(
                    "it counts {} devices, and there are {}, or they are in other states",
                    found.lifecycles.total(),
                    counted.lifecycles.total()
                ),
                Some(Err(error)) => error.to_string(),
                None => format!("missing, for {} devices", counted.lifecycles.total()),
            };
            if self.lost_devices == 0 {
                self.mendable(Table::Meta, key, fault);
                self.mend(Table::Meta, key, Some(rows::encode(counted)));
            } else {
                let unread = self.lost_devices;
                let fault = format!("{fault}; {unread} devices cannot be read or are missing");
                self.lasting(Table::Meta, key, fault);
            }
        }
        Ok(())
    }
}

/// With its generations in an order.
fn sorted(census: &ProductCensus) -> ProductCensus {
    let mut census = census.clone();
    census.generations.sort_unstable();
    census.signing.sort_unstable();
    census
}
