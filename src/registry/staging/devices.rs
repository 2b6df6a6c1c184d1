//! Devices: their rows, what finds them, and how many there are.

use super::super::rows::{self, Table};
use super::super::{Batch, Commit, ProductCensus, Registration, RegistryError};
use super::{Ground, Staging};
use crate::clock::Timestamp;
use crate::device::{Device, Lifecycle};
use crate::event::EventKind;
use crate::identity::{FeedId, ProductId, Serial};
use crate::mailbox::Mailbox;
use crate::secret::{CodeDigest, KeyDigest};
use crate::signed::LoginMark;
use crate::window::Window;

/// Rows that a device comes with: its own, what it is found by, its event.
const ROWS: usize = 5;

impl<G: Ground> Staging<'_, G> {
    pub(super) fn stage_registrations(
        &mut self,
        batch: &Batch,
    ) -> Result<Vec<Registration>, RegistryError> {
        self.catch_up_later(batch)?;
        let mut outcome = Vec::with_capacity(batch.devices.len());
        self.changes.reserve(batch.devices.len() * ROWS);
        for registrant in &batch.devices {
            let sharing = self.sharing(&registrant.serial)?;
            if let Some(feed) = self.member_of(&batch.product, &registrant.serial, &sharing)? {
                outcome.push(Registration::Known(feed));
                continue;
            }
            let feed = FeedId::new(self.counters.newest_feed + 1)
                .map_err(|_| RegistryError::FeedsExhausted)?;
            self.counters.newest_feed = feed.as_u32();
            let serial = registrant.serial.clone();
            let device = Device {
                label: registrant.label.clone(),
                hardware: registrant.hardware.clone(),
                last_login: LoginMark::behind(self.counters.signed_until, batch.at),
                ..Device::registered(batch.product.clone(), serial, feed, batch.at)
            };
            self.count(None, Some(&device))?;
            self.put(Table::Devices, rows::device_key(feed).to_vec(), &device);
            self.link(&device, &registrant.codes, sharing)?;
            self.append(&device.event(EventKind::DeviceRegistered, batch.at));
            outcome.push(Registration::New(feed));
        }
        Ok(outcome)
    }

    /// The devices of this serial.
    fn sharing(&self, serial: &Serial) -> Result<Vec<FeedId>, RegistryError> {
        let found = self.read(Table::Index, &rows::serial_key(serial))?;
        Ok(found.unwrap_or_default())
    }

    /// The one of them that is the product's. Most serials that are registered
    /// are new: what nobody has is not asked for again.
    fn member_of(
        &self,
        product: &ProductId,
        serial: &Serial,
        sharing: &[FeedId],
    ) -> Result<Option<FeedId>, RegistryError> {
        match sharing {
            [] => Ok(None),
            _ => self.read(Table::Index, &rows::member_key(product, serial.as_str())),
        }
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
        self.count(Some(&found), Some(&next))?;
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
        if !seated && self.product_census(&next.product)?.lifecycles.seats_taken() >= seats {
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
        signed_until: Option<Timestamp>,
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
        self.count(Some(&found), None)?;
        self.counters.note_signed(signed_until);
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
        let sharing = self.sharing(&serial)?;
        let taken = self.member_of(&found.product, &serial, &sharing)?;
        if taken.is_some() {
            return Ok(Commit::Lost);
        }
        self.unlink(&found, ended)?;
        found.serial = serial;
        // The serial may have been another device's, which has signed for it.
        let floor = self.counters.signed_until.map(LoginMark::after);
        found.last_login = found.last_login.max(floor);
        found.version += 1;
        self.link(&found, codes, sharing)?;
        self.put(Table::Devices, key, &found);
        Ok(Commit::Done)
    }

    /// Lets a device be found by its serial, which these share already, and by
    /// its codes. A code is made of a serial: where nobody shares that, nobody
    /// has the code, and it is not looked for.
    fn link(
        &mut self,
        device: &Device,
        codes: &[CodeDigest],
        mut sharing: Vec<FeedId>,
    ) -> Result<(), RegistryError> {
        let member = rows::member_key(&device.product, device.serial.as_str());
        self.put(Table::Index, member, &device.feed);
        for code in codes {
            let key = rows::code_key(code);
            match sharing.is_empty() {
                true => self.put(Table::Index, key, &vec![device.feed]),
                false => self.add_feed(key, device.feed)?,
            }
        }
        sharing.push(device.feed);
        self.put(Table::Index, rows::serial_key(&device.serial), &sharing);
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
        before: Option<&Device>,
        after: Option<&Device>,
    ) -> Result<(), RegistryError> {
        let place = |device: &Device| {
            let signs: Vec<u32> = device.signs_with().collect();
            (device.lifecycle(), device.comes_with(), signs)
        };
        let Some(device) = before.or(after) else {
            return Ok(());
        };
        if before.map(place) == after.map(place) {
            return Ok(());
        }
        let of_product = self.product_census(&device.product)?;
        before.inspect(|device| of_product.remove(device));
        after.inspect(|device| of_product.add(device));
        let of_all = &mut self.counters.census;
        before.inspect(|device| of_all.remove(device.lifecycle()));
        after.inspect(|device| of_all.add(device.lifecycle()));
        Ok(())
    }

    pub(super) fn product_census(
        &mut self,
        product: &ProductId,
    ) -> Result<&mut ProductCensus, RegistryError> {
        let known = match self.censuses.remove(product) {
            Some(known) => known,
            None => {
                let row = self.read(Table::Meta, &rows::product_census_key(product))?;
                row.unwrap_or_default()
            }
        };
        Ok(self.censuses.entry(product.clone()).or_insert(known))
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

    /// Lets a feed be found by a key, once.
    pub(super) fn add_feed(&mut self, key: Vec<u8>, feed: FeedId) -> Result<(), RegistryError> {
        let mut feeds: Vec<FeedId> = self.read(Table::Index, &key)?.unwrap_or_default();
        if !feeds.contains(&feed) {
            feeds.push(feed);
            self.put(Table::Index, key, &feeds);
        }
        Ok(())
    }

    pub(super) fn remove_feed(&mut self, key: Vec<u8>, feed: FeedId) -> Result<(), RegistryError> {
        let mut feeds: Vec<FeedId> = self.read(Table::Index, &key)?.unwrap_or_default();
        let before = feeds.len();
        feeds.retain(|other| *other != feed);
        if feeds.len() == before {
            return Ok(());
        }
        match feeds.is_empty() {
            true => self.drop_row(Table::Index, key),
            false => self.put(Table::Index, key, &feeds),
        }
        Ok(())
    }
}
