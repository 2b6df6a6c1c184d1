//! Devices: their rows, what finds them, and how many there are.

use super::super::super::{Batch, Census, Commit, Registration, RegistryError};
use super::super::rows::{self, Table};
use super::Staging;
use crate::device::{Device, Lifecycle};
use crate::event::EventKind;
use crate::identity::{FeedId, ProductId, Serial};
use crate::mailbox::Mailbox;
use crate::secret::{CodeDigest, KeyDigest};
use crate::window::Window;

impl Staging<'_> {
    pub(super) fn stage_registrations(
        &mut self,
        batch: &Batch,
    ) -> Result<Vec<Registration>, RegistryError> {
        let mut outcome = Vec::with_capacity(batch.devices.len());
        for registrant in &batch.devices {
            let serial = &registrant.serial;
            let member = rows::member_key(&batch.product, serial.as_str());
            if let Some(feed) = self.read(Table::Index, &member)? {
                outcome.push(Registration::Known(feed));
                continue;
            }
            let feed = FeedId::new(self.counters.newest_feed + 1)
                .map_err(|_| RegistryError::FeedsExhausted)?;
            self.counters.newest_feed = feed.as_u32();
            let device = Device {
                hardware: registrant.hardware.clone(),
                ..Device::registered(batch.product.clone(), serial.clone(), feed, batch.at)
            };
            self.count(&device.product, None, Some(device.lifecycle()))?;
            self.put(Table::Devices, rows::device_key(feed).to_vec(), &device);
            self.link(&device, &registrant.codes)?;
            self.append(&device.event(EventKind::DeviceRegistered, batch.at));
            outcome.push(Registration::New(feed));
        }
        Ok(outcome)
    }

    pub(super) fn replace_device(&mut self, mut next: Device) -> Result<Commit, RegistryError> {
        let key = rows::device_key(next.feed).to_vec();
        let found = match self.read::<Device>(Table::Devices, &key)? {
            Some(found) if found.version == next.version => found,
            _ => return Ok(Commit::Lost),
        };
        let before: Vec<KeyDigest> = found.key_digests().collect();
        let after: Vec<KeyDigest> = next.key_digests().collect();
        for digest in before.iter().filter(|digest| !after.contains(digest)) {
            self.drop_row(Table::Index, rows::api_key_key(digest));
        }
        for digest in after.iter().filter(|digest| !before.contains(digest)) {
            self.put(Table::Index, rows::api_key_key(digest), &vec![next.feed]);
        }
        let (before, after) = (found.lifecycle(), next.lifecycle());
        self.count(&next.product, Some(before), Some(after))?;
        if found.keeps_mailbox() && !next.keeps_mailbox() {
            self.remove_mailbox(next.feed)?;
        }
        next.version += 1;
        self.put(Table::Devices, key, &next);
        Ok(Commit::Done)
    }

    /// Replaces a device, unless it would take a seat and none is left.
    pub(super) fn seat_device(
        &mut self,
        next: Device,
        seats: u64,
    ) -> Result<Commit, RegistryError> {
        let key = rows::device_key(next.feed);
        let found: Option<Device> = self.read(Table::Devices, &key)?;
        let seated = found.is_some_and(|found| found.lifecycle() != Lifecycle::Registered);
        if !seated && self.product_census(&next.product)?.seats_taken() >= seats {
            return Ok(Commit::Lost);
        }
        self.replace_device(next)
    }

    /// Marks a counter of a device's requests as used.
    pub(super) fn count_request(
        &mut self,
        feed: FeedId,
        counter: u64,
    ) -> Result<Commit, RegistryError> {
        let key = rows::window_key(feed);
        let window: Window = self.read(Table::Index, &key)?.unwrap_or_default();
        Ok(match window.take(counter) {
            Some(next) => {
                self.put(Table::Index, key, &next);
                Commit::Done
            }
            None => Commit::Lost,
        })
    }

    /// Removes a device and all that was its own. Its feed is not given out
    /// again: numbers only go up.
    pub(super) fn remove_device(
        &mut self,
        device: &Device,
        codes: &[CodeDigest],
    ) -> Result<Commit, RegistryError> {
        let feed = device.feed;
        let key = rows::device_key(feed).to_vec();
        let found = match self.read::<Device>(Table::Devices, &key)? {
            Some(found) if found.version == device.version => found,
            _ => return Ok(Commit::Lost),
        };
        self.drop_row(Table::Devices, key);
        self.unlink(&found, codes)?;
        for digest in found.key_digests() {
            self.drop_row(Table::Index, rows::api_key_key(&digest));
        }
        self.drop_row(Table::Index, rows::datastreams_key(feed));
        self.drop_row(Table::Index, rows::window_key(feed));
        self.remove_mailbox(feed)?;
        self.drop_row(Table::Mail, rows::configuration_key(feed));
        for key in self
            .under(Table::Mail, &rows::values_key(feed))?
            .into_keys()
        {
            self.drop_row(Table::Mail, key);
        }
        self.count(&found.product, Some(found.lifecycle()), None)?;
        Ok(Commit::Done)
    }

    /// Gives a device another serial, unless its product has one of that.
    pub(super) fn rename_device(
        &mut self,
        device: &Device,
        serial: Serial,
        ended: &[CodeDigest],
        codes: &[CodeDigest],
    ) -> Result<Commit, RegistryError> {
        let key = rows::device_key(device.feed).to_vec();
        let mut found = match self.read::<Device>(Table::Devices, &key)? {
            Some(found) if found.version == device.version => found,
            _ => return Ok(Commit::Lost),
        };
        let member = rows::member_key(&found.product, serial.as_str());
        if self.read::<FeedId>(Table::Index, &member)?.is_some() {
            return Ok(Commit::Lost);
        }
        self.unlink(&found, ended)?;
        found.serial = serial;
        found.version += 1;
        self.link(&found, codes)?;
        self.put(Table::Devices, key, &found);
        Ok(Commit::Done)
    }

    /// Lets a device be found by its serial and codes.
    fn link(&mut self, device: &Device, codes: &[CodeDigest]) -> Result<(), RegistryError> {
        let member = rows::member_key(&device.product, device.serial.as_str());
        self.put(Table::Index, member, &device.feed);
        self.add_feed(rows::serial_key(&device.serial), device.feed)?;
        for code in codes {
            self.add_feed(rows::code_key(code), device.feed)?;
        }
        Ok(())
    }

    /// Lets it be found by them no more.
    fn unlink(&mut self, device: &Device, codes: &[CodeDigest]) -> Result<(), RegistryError> {
        let member = rows::member_key(&device.product, device.serial.as_str());
        self.drop_row(Table::Index, member);
        self.remove_feed(rows::serial_key(&device.serial), device.feed)?;
        for code in codes {
            self.remove_feed(rows::code_key(code), device.feed)?;
        }
        Ok(())
    }

    /// Counts a device that came, changed or went.
    fn count(
        &mut self,
        product: &ProductId,
        before: Option<Lifecycle>,
        after: Option<Lifecycle>,
    ) -> Result<(), RegistryError> {
        if before == after {
            return Ok(());
        }
        let mut of_product = self.product_census(product)?;
        for census in [&mut self.counters.census, &mut of_product] {
            before.inspect(|lifecycle| census.remove(*lifecycle));
            after.inspect(|lifecycle| census.add(*lifecycle));
        }
        match self.censuses.get_mut(product) {
            Some(known) => *known = of_product,
            None => drop(self.censuses.insert(product.clone(), of_product)),
        }
        Ok(())
    }

    pub(super) fn product_census(&self, product: &ProductId) -> Result<Census, RegistryError> {
        if let Some(census) = self.censuses.get(product) {
            return Ok(*census);
        }
        let census = self.read(Table::Meta, &rows::product_census_key(product))?;
        Ok(census.unwrap_or_default())
    }

    /// Takes away a device's session and what waits in it.
    fn remove_mailbox(&mut self, feed: FeedId) -> Result<(), RegistryError> {
        let key = rows::mailbox_key(feed);
        if let Some(mailbox) = self.read::<Mailbox>(Table::Mail, &key)? {
            for number in mailbox.waiting(0) {
                self.drop_row(Table::Mail, rows::mail_key(feed, number));
            }
            self.drop_row(Table::Mail, key);
        }
        Ok(())
    }

    fn add_feed(&mut self, key: Vec<u8>, feed: FeedId) -> Result<(), RegistryError> {
        let mut feeds: Vec<FeedId> = self.read(Table::Index, &key)?.unwrap_or_default();
        feeds.push(feed);
        self.put(Table::Index, key, &feeds);
        Ok(())
    }

    fn remove_feed(&mut self, key: Vec<u8>, feed: FeedId) -> Result<(), RegistryError> {
        let mut feeds: Vec<FeedId> = self.read(Table::Index, &key)?.unwrap_or_default();
        feeds.retain(|other| *other != feed);
        match feeds.is_empty() {
            true => self.drop_row(Table::Index, key),
            false => self.put(Table::Index, key, &feeds),
        }
        Ok(())
    }
}
