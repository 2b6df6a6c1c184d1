//! Feeds as their readers see them: what the registry and the uplink know,
//! laid out in Xively's words for HTTP and for the bridge.

use std::collections::BTreeSet;

use firstwake::feed::{CurrentValue, DatastreamPage, FeedPage, Format};
use firstwake::topic::device::Page;
use firstwake::{Datastream, DatastreamId, Device, FeedId, Product, RegistryError, Timestamp};

use crate::broker::Broker;

/// One feed as it is now.
#[derive(Debug)]
pub(crate) struct Feed {
    device: Device,
    product: Product,
    /// Where it is found.
    path: String,
    /// By name.
    values: Vec<CurrentValue>,
    /// In the order in which they are told: first those of the product.
    datastreams: Vec<Datastream>,
}

impl Feed {
    /// Reads a feed; `None` if no device has it.
    pub(crate) async fn load(id: FeedId, broker: &Broker) -> Result<Option<Self>, RegistryError> {
        let registry = broker.provisioner.registry();
        let Some(device) = registry.device(id).await? else {
            return Ok(None);
        };
        let Some(product) = registry.product(&device.product).await? else {
            return Ok(None);
        };
        let values = broker.values.of(id, &broker.provisioner).await?;
        let own: BTreeSet<DatastreamId> = registry
            .datastreams(id)
            .await?
            .into_iter()
            .chain(values.iter().map(|value| value.datastream.clone()))
            .filter(|name| !product.names(name))
            .collect();
        let mut datastreams = product.datastreams.clone();
        datastreams.extend(own.into_iter().map(Datastream::from));
        Ok(Some(Self {
            path: format!("/v2/feeds/{id}.json"),
            device,
            product,
            values,
            datastreams,
        }))
    }

    /// Leaves out all datastreams but these.
    pub(crate) fn keep_only(&mut self, wanted: &[DatastreamId]) {
        self.datastreams.retain(|one| wanted.contains(&one.id));
    }

    /// The whole feed.
    pub(crate) fn page(&self) -> FeedPage<'_> {
        let defaults = &self.product.profile.feed_defaults;
        FeedPage {
            id: self.device.feed,
            title: defaults.title.as_deref().unwrap_or(&self.product.name),
            visibility: defaults.visibility,
            tags: &defaults.tags,
            path: &self.path,
            created: self.device.registered_at,
            product: &self.device.product,
            serial: &self.device.serial,
            datastreams: self
                .datastreams
                .iter()
                .map(|one| self.describe(one))
                .collect(),
        }
    }

    /// One of its datastreams.
    pub(crate) fn datastream(&self, id: &DatastreamId) -> Option<DatastreamPage<'_>> {
        let found = self.datastreams.iter().find(|one| one.id == *id)?;
        Some(self.describe(found))
    }

    fn describe<'a>(&'a self, datastream: &'a Datastream) -> DatastreamPage<'a> {
        let current = self
            .values
            .iter()
            .find(|value| value.datastream == datastream.id);
        DatastreamPage {
            id: &datastream.id,
            tags: &datastream.tags,
            unit: datastream.unit.as_ref(),
            current,
        }
    }

    /// What the bridge reads to a device; `None` while there is nothing.
    pub(crate) fn read_out(&self, page: &Page, now: Timestamp) -> Option<Vec<u8>> {
        let text = match page {
            Page::Feed(Format::Json) => self.page().to_json(now),
            Page::Feed(Format::Csv) => self.page().to_csv(),
            Page::Datastream(id, Format::Json) => self.datastream(id)?.to_json(),
            Page::Datastream(id, Format::Csv) => self.datastream(id)?.to_csv(),
        };
        (!text.is_empty()).then_some(text)
    }
}
