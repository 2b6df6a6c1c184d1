//! What operators do to devices: registering them, finding them, and the
//! steps of their lives.

use crate::clock::Timestamp;
use crate::code::ActivationCode;
use crate::device::{Device, Transition, TransitionError};
use crate::event::EventKind;
use crate::hardware::{FactValue, Facts};
use crate::identity::{DeviceName, ProductId, Serial};
use crate::label::Label;
use crate::provision::{ProductError, Provisioner};
use crate::registry::{Batch, Commit, Registrant, Registration, RegistryError, Write};

/// A device to be registered, with what its factory read off its board.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewSerial {
    /// Its serial.
    pub serial: Serial,
    /// Facts in the clear: they are hashed before anything is kept.
    pub hardware: Vec<FactValue>,
    /// What people call it.
    pub label: Option<Label>,
}

impl From<Serial> for NewSerial {
    fn from(serial: Serial) -> Self {
        Self {
            serial,
            hardware: Vec::new(),
            label: None,
        }
    }
}

/// Why something cannot be done with a device.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// No such device.
    #[error("no device is called {name}{}", hint(.similar))]
    Unknown {
        /// What was asked for.
        name: DeviceName,
        /// The same letters in another case, if such a device exists.
        similar: Option<Serial>,
    },
    /// No such device, but something tried to get in as it, or a device is called nearly so.
    #[error("no device is called {name}; {tried}")]
    Tried {
        /// The name that was asked for.
        name: DeviceName,
        /// One clause: when and from where, and which registered serial is near.
        tried: String,
    },
    /// Several products have a device of this serial.
    #[error("serial {serial} is in {} products; name one: {}", .products.len(), choices(.serial, .products))]
    Ambiguous {
        /// What was asked for.
        serial: Serial,
        /// Where it is.
        products: Vec<ProductId>,
    },
    /// Its product has a device of that name.
    #[error("{0} is there already")]
    Taken(DeviceName),
    /// It is not of the product that the command is about.
    #[error("{0} is a device of another product")]
    OtherProduct(DeviceName),
    /// Not from where the device is in its life.
    #[error(transparent)]
    Transition(#[from] TransitionError),
    /// The registry is in trouble.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

fn hint(similar: &Option<Serial>) -> String {
    match similar {
        Some(serial) => format!("; case matters: did you mean {serial}?"),
        None => String::new(),
    }
}

fn choices(serial: &Serial, products: &[ProductId]) -> String {
    let names: Vec<String> = products.iter().map(|id| format!("{id}/{serial}")).collect();
    names.join(", ")
}

impl Provisioner {
    /// Devices registered in one write, which happens whole or not at all: many
    /// enough to be fast, few enough that an activation waits behind it for a
    /// moment only.
    pub const REGISTERED_AT_ONCE: usize = 2000;

    /// Registers devices with a product, and says of each whether it is new.
    /// [`REGISTERED_AT_ONCE`](Self::REGISTERED_AT_ONCE) of them are written whole
    /// or not at all. One that is known already stays as it is.
    pub async fn register(
        &self,
        product: &ProductId,
        devices: Vec<NewSerial>,
        now: Timestamp,
    ) -> Result<Vec<Registration>, ProductError> {
        if self.registry.product(product).await?.is_none() {
            return Err(ProductError::Unknown(product.clone()));
        }
        let open = self.catalogue.find(product, &*self.registry).await?;
        let pepper = match devices.iter().all(|device| device.hardware.is_empty()) {
            true => None,
            false => Some(self.pepper(product, now).await?),
        };
        let mut outcome = Vec::with_capacity(devices.len());
        for chunk in devices.chunks(Self::REGISTERED_AT_ONCE) {
            let registrant = |device: &NewSerial| {
                let codes = open
                    .live(now)
                    .map(|(_, secret)| ActivationCode::compute(secret, &device.serial).digest());
                let facts = device.hardware.iter();
                let facts = facts.map(|value| (value.fact(), value.as_str()));
                Registrant {
                    serial: device.serial.clone(),
                    label: device.label.clone(),
                    codes: codes.collect(),
                    hardware: pepper
                        .as_ref()
                        .map_or_else(Facts::default, |pepper| Facts::of(pepper, facts)),
                }
            };
            let batch = Batch {
                product: product.clone(),
                generation: open.record.newest_secret(),
                devices: chunk.iter().map(registrant).collect(),
                at: now,
            };
            outcome.extend(self.registry.register(batch).await?);
        }
        Ok(outcome)
    }

    /// The one device that a name means.
    pub async fn find_device(&self, name: &DeviceName) -> Result<Device, DeviceError> {
        let mut found = self.registry.by_serial(&name.serial).await?;
        if let Some(product) = &name.product {
            found.retain(|device| device.product == *product);
        }
        match (found.pop(), found.is_empty()) {
            (Some(device), true) => Ok(device),
            (None, _) => Err(DeviceError::Unknown {
                name: name.clone(),
                similar: self.similar(&name.serial).await?,
            }),
            (Some(last), false) => Err(DeviceError::Ambiguous {
                serial: name.serial.clone(),
                products: found
                    .into_iter()
                    .chain([last])
                    .map(|device| device.product)
                    .collect(),
            }),
        }
    }

    /// Carries out an operator's act on a device.
    pub async fn change_device(
        &self,
        name: &DeviceName,
        transition: Transition,
        now: Timestamp,
    ) -> Result<Device, DeviceError> {
        loop {
            let device = self.find_device(name).await?;
            let changed = device.apply(transition, now)?;
            let write = Write::Device(changed.device.clone());
            if self.registry.commit(write, changed.events).await? == Commit::Done {
                return Ok(changed.device);
            }
        }
    }

    /// Has people call a device something else, or nothing. A label that it has
    /// already changes nothing.
    pub async fn label_device(
        &self,
        name: &DeviceName,
        label: Option<Label>,
        now: Timestamp,
    ) -> Result<Device, DeviceError> {
        loop {
            let mut device = self.find_device(name).await?;
            if device.label == label {
                return Ok(device);
            }
            device.label.clone_from(&label);
            let kind = EventKind::DeviceLabelled {
                label: label.clone(),
            };
            let events = vec![device.event(kind, now)];
            let write = Write::Device(device.clone());
            if self.registry.commit(write, events).await? == Commit::Done {
                return Ok(device);
            }
        }
    }

    /// Carries out an operator's act on many devices, and says of each what
    /// became of it, in their order. Writes that wait together share a sync.
    pub async fn change_devices(
        &self,
        names: &[DeviceName],
        transition: Transition,
        now: Timestamp,
    ) -> Vec<Result<Device, DeviceError>> {
        let changes = names.iter().map(|name| async move {
            let device = self.find_device(name).await?;
            let changed = device.apply(transition, now)?;
            Ok((
                Write::Device(changed.device.clone()),
                changed.events,
                changed.device,
            ))
        });
        let mut outcome = Vec::with_capacity(names.len());
        let mut commits = Vec::with_capacity(names.len());
        for change in changes {
            match change.await {
                Ok((write, events, device)) => {
                    let registry = std::sync::Arc::clone(&self.registry);
                    let commit = async move { registry.commit(write, events).await };
                    commits.push((outcome.len(), tokio::spawn(commit)));
                    outcome.push(Ok(device));
                }
                Err(error) => outcome.push(Err(error)),
            }
        }
        for (index, commit) in commits {
            match commit.await {
                Ok(Ok(Commit::Done)) => {}
                // Somebody was faster: from the start again.
                Ok(Ok(Commit::Lost)) => {
                    outcome[index] = self.change_device(&names[index], transition, now).await;
                }
                Ok(Err(error)) => outcome[index] = Err(error.into()),
                Err(_) => {
                    let stopping = "the server is stopping".to_owned();
                    outcome[index] = Err(RegistryError::Unavailable(stopping).into());
                }
            }
        }
        outcome
    }

    /// The same letters all in upper or all in lower case: what people type
    /// when they read a label.
    async fn similar(&self, serial: &Serial) -> Result<Option<Serial>, RegistryError> {
        let text = serial.as_str();
        for variant in [text.to_ascii_uppercase(), text.to_ascii_lowercase()] {
            let Ok(variant) = Serial::parse(&variant) else {
                continue;
            };
            if variant != *serial && !self.registry.by_serial(&variant).await?.is_empty() {
                return Ok(Some(variant));
            }
        }
        Ok(None)
    }
}
