//! Carrying out what a command asks. The same code for a running server and
//! for a command that opened the registry itself.

mod note;

use std::time::Duration;

use anyhow::Result;
use firstwake::registry::Registration;
use firstwake::{
    Device, DeviceError, DeviceName, Lifecycle, NewOperator, NewProduct, ProductChange,
    ProductError, ProductSecret, Profile, Timestamp, Transition, TransitionError,
};

use super::request::{Act, OperatorView, Outcome, Reply, Request};
use crate::downlink::Dispatch;

/// Devices that are changed together: many enough to share a sync, few enough
/// that an activation waits behind them for a moment only.
const CHUNK: usize = 256;

/// Carries out one request. A refusal is a reply, in one sentence.
pub(crate) async fn carry_out(request: Request, dispatch: &Dispatch<'_>) -> Reply {
    match attempt(request, dispatch).await {
        Ok(reply) => reply,
        Err(error) => Reply::Refused(error.to_string()),
    }
}

async fn attempt(request: Request, dispatch: &Dispatch<'_>) -> Result<Reply> {
    let (provisioner, now) = (dispatch.provisioner, dispatch.moment.at);
    let registry = provisioner.registry();
    Ok(match request {
        Request::CreateProduct {
            name,
            secret,
            datastreams,
            reactivation,
            new_datastreams,
        } => {
            let secret = secret.map(|hex| ProductSecret::parse(&hex)).transpose()?;
            let new = NewProduct {
                name,
                secret,
                datastreams: datastreams.into_iter().map(Into::into).collect(),
                reactivation,
                new_datastreams,
                profile: Profile::default(),
            };
            let (product, secret) = provisioner.create_product(new, now).await?;
            Reply::ProductCreated {
                product: product.into(),
                secret: secret.expose_hex().to_string(),
            }
        }
        Request::ChangeProduct {
            product,
            name,
            datastreams,
            reactivation,
            new_datastreams,
        } => {
            let change = ProductChange {
                name,
                datastreams: datastreams.map(|ids| ids.into_iter().map(Into::into).collect()),
                reactivation,
                new_datastreams,
                profile: None,
            };
            let changed = provisioner.change_product(&product, change, now).await?;
            Reply::Product(changed.into())
        }
        Request::Product { product } => match registry.product(&product).await? {
            Some(found) => Reply::Product(found.into()),
            None => return Err(ProductError::Unknown(product).into()),
        },
        Request::ReserveBlock { product } => {
            Reply::Block(provisioner.reserve_block(&product, now).await?)
        }
        Request::Except {
            product,
            block,
            names,
        } => {
            let mut outcome = Outcome::default();
            for chunk in names.chunks(CHUNK) {
                let each = provisioner.except(&product, block, chunk).await;
                let each = each.into_iter().map(|one| one.map(|()| Became::Changed));
                outcome.add(chunk, each);
            }
            Reply::Changed(outcome)
        }
        Request::BlockProduct {
            product,
            block,
            excepted,
        } => {
            let blocked = provisioner.block_product(&product, block, excepted, now);
            Reply::Product(blocked.await?.into())
        }
        Request::UnblockProduct { product } => {
            Reply::Product(provisioner.unblock_product(&product, now).await?.into())
        }
        Request::Products => {
            let products = registry.products().await?;
            Reply::Products(products.into_iter().map(Into::into).collect())
        }
        Request::Register { product, serials } => {
            let outcome = provisioner.register(&product, serials, now).await?;
            let new = outcome
                .iter()
                .filter(|one| matches!(one, Registration::New(_)))
                .count();
            Reply::Registered {
                new,
                known: outcome.len() - new,
            }
        }
        Request::Device { name } => Reply::Device(provisioner.find_device(&name).await?.into()),
        Request::Devices {
            product,
            after,
            limit,
        } => {
            if registry.product(&product).await?.is_none() {
                return Err(ProductError::Unknown(product).into());
            }
            let devices = registry.devices(&product, after.as_ref(), limit).await?;
            Reply::Devices(devices.into_iter().map(Into::into).collect())
        }
        Request::Change { name, act } => {
            let transition = transition(act, now);
            let changed = provisioner.change_device(&name, transition, now).await;
            Reply::Device(match changed {
                // What was asked for is so: as good as done.
                Err(DeviceError::Transition(TransitionError::Already(_))) => {
                    provisioner.find_device(&name).await?.into()
                }
                changed => changed?.into(),
            })
        }
        Request::ChangeMany { names, act } => {
            let transition = transition(act, now);
            let mut outcome = Outcome::default();
            for chunk in names.chunks(CHUNK) {
                let each = provisioner.change_devices(chunk, transition, now).await;
                outcome.add(chunk, each.into_iter().map(became));
            }
            Reply::Changed(outcome)
        }
        Request::Ban {
            network,
            seconds,
            reason,
        } => {
            let span = seconds.map(Duration::from_secs);
            Reply::Ban(provisioner.ban(network, span, reason, now).await?)
        }
        Request::Unban { network } => {
            provisioner.unban(network, now).await?;
            Reply::Done
        }
        Request::Bans => Reply::Bans(provisioner.standing_bans(now).await?),
        Request::Explain { name } => {
            Reply::Explanation(Box::new(provisioner.explain(&name, now).await?))
        }
        Request::Send { feed, note } => Reply::Sent(note::send(feed, note, dispatch).await?),
        Request::AddOperator {
            name,
            password,
            role,
            publish,
            subscribe,
        } => {
            let new = NewOperator {
                name,
                password: password.into(),
                role,
                publish,
                subscribe,
            };
            provisioner.add_operator(new, now).await?;
            Reply::Done
        }
        Request::RemoveOperator { name } => {
            provisioner.remove_operator(&name, now).await?;
            Reply::Done
        }
        Request::Operators => {
            let operators = registry.operators().await?;
            let view = |operator: firstwake::Operator| OperatorView {
                name: operator.name,
                role: operator.role,
                publish: operator.publish,
                subscribe: operator.subscribe,
            };
            Reply::Operators(operators.into_iter().map(view).collect())
        }
        Request::Events { after, limit } => {
            let events = registry.events(after, limit).await?;
            Reply::Events(events.iter().map(firstwake::Event::to_json).collect())
        }
    })
}

/// What became of one device of many.
enum Became {
    Changed,
    Already,
}

/// Of many devices, some are so already: nothing that anybody has to look at.
fn became(changed: Result<Device, DeviceError>) -> Result<Became, DeviceError> {
    use Lifecycle::{Active, Issued, Registered};
    match changed {
        Ok(_) => Ok(Became::Changed),
        Err(DeviceError::Transition(
            TransitionError::Already(_)
            | TransitionError::NotIn {
                found: Registered | Issued | Active,
                ..
            },
        )) => Ok(Became::Already),
        Err(error) => Err(error),
    }
}

impl Outcome {
    fn add(
        &mut self,
        names: &[DeviceName],
        each: impl IntoIterator<Item = Result<Became, DeviceError>>,
    ) {
        for (name, one) in names.iter().zip(each) {
            match one {
                Ok(Became::Changed) => self.changed += 1,
                Ok(Became::Already) => self.already += 1,
                Err(error) => self.failed.push((name.clone(), error.to_string())),
            }
        }
    }
}

fn transition(act: Act, now: Timestamp) -> Transition {
    match act {
        Act::Suspend => Transition::Suspend,
        Act::Resume => Transition::Resume,
        Act::Quarantine => Transition::Quarantine,
        Act::Release => Transition::Release,
        Act::Revoke => Transition::Revoke,
        Act::Reset => Transition::Reset,
        Act::ResetFromRevoked => Transition::ResetFromRevoked,
        Act::Reopen { seconds } => Transition::Reopen {
            until: now.plus(Duration::from_secs(seconds)),
        },
    }
}
