//! Every device against the index rows that have to find it.

use super::super::rows::{self, Name, Table};
use super::{Check, Found, RegistryError};
use crate::device::Device;
use crate::identity::FeedId;

/// A row that has to name a device.
struct Needed {
    key: Vec<u8>,
    feed: FeedId,
    /// It names this one and no other, or this one among others.
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Sole,
    Among,
}

impl Check<'_> {
    pub(super) async fn read_devices(&mut self) -> Result<(), RegistryError> {
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = self.page(Table::Devices, after.as_deref()).await?;
            let Some((last, _)) = page.last() else {
                return Ok(());
            };
            after = Some(last.clone());
            let mut needed = Vec::new();
            for (key, row) in &page {
                if let Some(device) = self.read_device(key, row) {
                    self.count(key, &device);
                    needed.extend(self.needed_by(&device));
                }
            }
            self.look_up(needed).await?;
            self.settle().await?;
        }
    }

    fn read_device(&mut self, key: &[u8], row: &[u8]) -> Option<Device> {
        let fault = match rows::decode::<Device>(row) {
            Ok(device) if rows::device_key(device.feed) == *key => return Some(device),
            Ok(device) => format!("it holds the device of feed {}", device.feed),
            Err(error) => error.to_string(),
        };
        if let Name::Device(feed) = Name::read(Table::Devices, key) {
            self.newest_feed = self.newest_feed.max(feed.as_u32());
        }
        self.lost_devices += 1;
        self.lasting(Table::Devices, key, fault);
        None
    }

    fn count(&mut self, key: &[u8], device: &Device) {
        self.verdict.devices += 1;
        self.newest_feed = self.newest_feed.max(device.feed.as_u32());
        self.census.add(device.lifecycle());
        if !self.products.contains_key(&device.product) {
            // Said once, not for each of its devices.
            let fault = format!("its product {} is missing", device.product);
            self.lasting(Table::Devices, key, fault);
        }
        let known = self.products.entry(device.product.clone()).or_default();
        known.census.add(device);
    }

    fn needed_by(&self, device: &Device) -> Vec<Needed> {
        let feed = device.feed;
        let among = |key| Needed {
            key,
            feed,
            kind: Kind::Among,
        };
        let serial = &device.serial;
        let mut needed = vec![
            Needed {
                key: rows::member_key(&device.product, serial.as_str()),
                feed,
                kind: Kind::Sole,
            },
            among(rows::serial_key(serial)),
        ];
        let keys = device.key_digests();
        needed.extend(keys.map(|digest| among(rows::api_key_key(&digest))));
        if let Some(known) = self.products.get(&device.product) {
            let codes = known.codes.needed(serial);
            needed.extend(codes.iter().map(|code| among(rows::code_key(code))));
        }
        needed
    }

    async fn look_up(&mut self, mut needed: Vec<Needed>) -> Result<(), RegistryError> {
        // In the order of the keys, which is the store's.
        needed.sort_by(|one, other| one.key.cmp(&other.key));
        let keys: Vec<Vec<u8>> = needed.iter().map(|one| one.key.clone()).collect();
        let found = self.shelves.rows(Table::Index, &keys).await?;
        for (needed, row) in needed.iter().zip(found) {
            match needed.kind {
                Kind::Sole => self.look_at_member(needed, row.as_deref()).await?,
                Kind::Among => self.look_at_feeds(needed, row.as_deref()),
            }
        }
        Ok(())
    }

    fn look_at_feeds(&mut self, needed: &Needed, row: Option<&[u8]>) {
        let feed = needed.feed;
        let (mut feeds, fault) = match self.read::<Vec<FeedId>>(Table::Index, &needed.key, row) {
            Found::Row(feeds) if feeds.contains(&feed) => return,
            Found::Row(feeds) => (feeds, format!("it does not name feed {feed}")),
            Found::Nothing => (Vec::new(), format!("missing, for feed {feed}")),
            Found::Unreadable => (Vec::new(), format!("it cannot be read, for feed {feed}")),
        };
        feeds.push(feed);
        self.mendable(Table::Index, &needed.key, fault);
        self.mend(Table::Index, &needed.key, Some(rows::encode(&feeds)));
    }

    async fn look_at_member(
        &mut self,
        needed: &Needed,
        row: Option<&[u8]>,
    ) -> Result<(), RegistryError> {
        let feed = needed.feed;
        let fault = match self.read::<FeedId>(Table::Index, &needed.key, row) {
            Found::Row(named) if named == feed => return Ok(()),
            Found::Row(named) => {
                if self.is_rightly_named(&needed.key, named).await? {
                    let fault = format!("feeds {named} and {feed} have one serial");
                    self.lasting(Table::Index, &needed.key, fault);
                    return Ok(());
                }
                format!("it names feed {named} in place of {feed}")
            }
            Found::Nothing => format!("missing, for feed {feed}"),
            Found::Unreadable => format!("it cannot be read, for feed {feed}"),
        };
        self.mendable(Table::Index, &needed.key, fault);
        self.mend(Table::Index, &needed.key, Some(rows::encode(&feed)));
        Ok(())
    }

    /// Whether the device that a member row names is one of that name, or may
    /// be.
    async fn is_rightly_named(&self, key: &[u8], named: FeedId) -> Result<bool, RegistryError> {
        let mut found = self.devices_of(vec![named]).await?;
        Ok(match found.remove(&named) {
            Some(Found::Row(device)) => {
                rows::member_key(&device.product, device.serial.as_str()) == key
            }
            Some(Found::Unreadable) => true,
            Some(Found::Nothing) | None => false,
        })
    }
}
