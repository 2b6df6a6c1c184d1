//! Every index row against the devices that it names.

use std::collections::HashMap;

use super::super::rows::{self, Name, Row, Table};
use super::{Check, Found, RegistryError};
use crate::device::Device;
use crate::identity::FeedId;
use crate::product::DatastreamId;
use crate::window::Window;

/// Devices by their feeds, as the page in hand names them.
type Devices = HashMap<FeedId, Found<Device>>;

impl Check<'_> {
    pub(super) async fn read_index(&mut self) -> Result<(), RegistryError> {
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = self.page(Table::Index, after.as_deref()).await?;
            let Some((last, _)) = page.last() else {
                return Ok(());
            };
            after = Some(last.clone());
            let named = page.iter().flat_map(|(key, row)| feeds_in(key, row));
            let devices = self.devices_of(named.collect()).await?;
            for (key, row) in &page {
                self.read_index_row(key, row, &devices);
            }
            self.settle().await?;
        }
    }

    fn read_index_row(&mut self, key: &[u8], row: &[u8], devices: &Devices) {
        match Name::read(Table::Index, key) {
            Name::Serial(_) | Name::ApiKey(_) | Name::Code(_) => {
                self.read_feeds(key, row, devices);
            }
            Name::Member(..) => self.read_member(key, row, devices),
            Name::Datastreams(feed) => self.read_own::<Vec<DatastreamId>>(key, row, feed, devices),
            Name::Window(feed) => self.read_own::<Window>(key, row, feed, devices),
            _ => self.lasting(Table::Index, key, "it is of no known kind"),
        }
    }

    fn read_feeds(&mut self, key: &[u8], row: &[u8], devices: &Devices) {
        let Ok(feeds) = rows::decode::<Vec<FeedId>>(row) else {
            // A device that needs it has been given another by now.
            self.mendable(Table::Index, key, "it cannot be read");
            self.mend(Table::Index, key, None);
            return;
        };
        let mut kept: Vec<FeedId> = Vec::with_capacity(feeds.len());
        for feed in feeds {
            let fault = match devices.get(&feed) {
                _ if kept.contains(&feed) => "it names feed {} twice",
                Some(Found::Unreadable) => {
                    kept.push(feed);
                    continue;
                }
                Some(Found::Row(device)) if self.leads_to(key, device) => {
                    kept.push(feed);
                    continue;
                }
                Some(Found::Row(_)) if key.first() == Some(&rows::CODES) => {
                    "no secret explains it for feed {}"
                }
                Some(Found::Row(_)) => "the device of feed {} is not found by it",
                Some(Found::Nothing) | None if self.was_given_out(feed) => {
                    kept.push(feed);
                    let fault = format!("the device of feed {feed} is missing");
                    self.lasting(Table::Index, key, fault);
                    continue;
                }
                Some(Found::Nothing) | None => "there is no device of feed {}",
            };
            self.mendable(Table::Index, key, fault.replace("{}", &feed.to_string()));
            let row = (!kept.is_empty()).then(|| rows::encode(&kept));
            self.mend(Table::Index, key, row);
        }
        // Kept ones behind the last fault belong into the row, too.
        if self.pending.contains_key(&(Table::Index, key.to_vec())) && !kept.is_empty() {
            self.mend(Table::Index, key, Some(rows::encode(&kept)));
        }
    }

    fn read_member(&mut self, key: &[u8], row: &[u8], devices: &Devices) {
        let fault = match rows::decode::<FeedId>(row) {
            Err(_) => "it cannot be read".to_owned(),
            Ok(feed) => match devices.get(&feed) {
                Some(Found::Unreadable) => return,
                Some(Found::Row(device)) if self.leads_to(key, device) => return,
                Some(Found::Row(_)) => format!("the device of feed {feed} is not found by it"),
                Some(Found::Nothing) | None if self.was_given_out(feed) => {
                    self.lost_devices += 1;
                    let fault = format!("the device of feed {feed} is missing");
                    return self.lasting(Table::Index, key, fault);
                }
                Some(Found::Nothing) | None => format!("there is no device of feed {feed}"),
            },
        };
        self.mendable(Table::Index, key, fault);
        self.mend(Table::Index, key, None);
    }

    /// What is a device's own, and said nowhere twice.
    fn read_own<T: Row>(&mut self, key: &[u8], row: &[u8], feed: FeedId, devices: &Devices) {
        if matches!(devices.get(&feed), Some(Found::Nothing) | None) {
            self.left_over(Table::Index, key, "its device is gone");
        } else if let Err(error) = rows::decode::<T>(row) {
            self.lasting(Table::Index, key, error.to_string());
        }
    }

    /// Whether a feed ever had a device. One that is removed goes with all its
    /// index rows: where one is left, the device's own row was lost.
    fn was_given_out(&self, feed: FeedId) -> bool {
        feed.as_u32() <= self.given_out
    }

    /// Whether a device is to be found by this key.
    fn leads_to(&self, key: &[u8], device: &Device) -> bool {
        match Name::read(Table::Index, key) {
            Name::Serial(serial) => device.serial == serial,
            Name::Member(product, serial) => device.product == product && device.serial == serial,
            Name::ApiKey(_) => device
                .key_digests()
                .any(|digest| rows::api_key_key(&digest) == key),
            Name::Code(_) => {
                let known = self.products.get(&device.product);
                known.is_none_or(|known| known.codes.explain(&key[1..], &device.serial))
            }
            _ => false,
        }
    }
}

/// The feeds that a row names, by key or content.
fn feeds_in(key: &[u8], row: &[u8]) -> Vec<FeedId> {
    match Name::read(Table::Index, key) {
        Name::Datastreams(feed) | Name::Window(feed) => vec![feed],
        Name::Member(..) => rows::decode(row).map_or_else(|_| Vec::new(), |feed| vec![feed]),
        Name::Serial(_) | Name::ApiKey(_) | Name::Code(_) => rows::decode(row).unwrap_or_default(),
        _ => Vec::new(),
    }
}
