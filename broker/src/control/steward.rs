//! Carrying out what an operator asks: a command over the socket, a request
//! over HTTP, or a command that opened the registry itself. Whoever calls has
//! made sure that the operator may have it done.

mod devices;
mod known;
mod lists;
mod note;
mod products;

use std::time::Duration;

use firstwake::feed::CurrentValue;
use firstwake::{FeedId, NewOperator, NotKept, Timestamp};

use super::declined::{Because, Declined};
use super::request::{Reply, Request};
use super::view::{Connected, FeedView, FleetView, LicenceKeyView, VersionView};
use super::wish::{BanWish, TokenWish, ValueWish};
use crate::downlink::Dispatch;

/// Devices that are changed together: many enough to share a sync, few enough
/// that an activation waits behind them for a moment only.
const CHUNK: usize = 256;

/// So far ahead a value's clock may be: it would keep later ones out.
const AHEAD: Duration = Duration::from_secs(24 * 60 * 60);

/// Carries out one request.
pub(crate) async fn carry_out(
    request: Request,
    dispatch: &Dispatch<'_>,
) -> Result<Reply, Declined> {
    let (provisioner, now) = (dispatch.provisioner, dispatch.moment.at);
    let registry = provisioner.registry();
    Ok(match request {
        Request::CreateProduct(wish) => products::create(wish, dispatch).await?,
        Request::ChangeProduct { product, change } => {
            products::change(&product, change, dispatch).await?
        }
        Request::RemoveProduct { product } => Reply::ProductRemoved {
            devices: provisioner.remove_product(&product, now).await?,
        },
        Request::Secret { product } => {
            let secret = provisioner.secret_of(&product, now).await?;
            Reply::Shown(secret.expose_hex().to_string())
        }
        Request::RotateSecret { product, wish } => {
            products::rotate_secret(&product, wish, dispatch).await?
        }
        Request::EndSecret {
            product,
            generation,
        } => {
            let product = provisioner.end_secret(&product, generation, now).await?;
            Reply::Product(products::view(product, dispatch).await?)
        }
        Request::Pepper { product } => {
            let pepper = provisioner.pepper(&product, now).await?;
            Reply::Shown(pepper.expose_hex().to_string())
        }
        Request::Census { product } => {
            known::product(&product, dispatch).await?;
            Reply::Census(registry.product_census(&product).await?.lifecycles.into())
        }
        Request::Product { product } => {
            let product = known::product(&product, dispatch).await?;
            Reply::Product(products::view(product, dispatch).await?)
        }
        Request::BlockProduct { product, except } => {
            products::block(&product, &except, dispatch).await?
        }
        Request::UnblockProduct { product } => {
            let product = provisioner.unblock_product(&product, now).await?;
            Reply::Product(products::view(product, dispatch).await?)
        }
        Request::Products => {
            let mut views = Vec::new();
            for product in registry.products().await? {
                views.push(products::view(product, dispatch).await?);
            }
            Reply::Products(views)
        }
        Request::Register(wish) => Reply::Registered(lists::register(wish, dispatch).await?),
        Request::FinishImport(wish) => {
            lists::finish_import(&wish, dispatch).await?;
            Reply::Done
        }
        Request::Codes {
            product,
            after,
            limit,
        } => Reply::Codes(lists::codes(&product, after.as_ref(), limit, dispatch).await?),
        Request::Device { name } => Reply::Device(provisioner.find_device(&name).await?.into()),
        Request::Devices {
            product,
            after,
            serial,
            activated,
            limit,
        } => {
            let filter = firstwake::DeviceFilter { serial, activated };
            Reply::Devices(devices::page(product, after, &filter, limit, dispatch).await?)
        }
        Request::Rename { name, serial } => {
            Reply::Device(provisioner.rename_device(&name, serial, now).await?.into())
        }
        Request::Label { name, label } => {
            Reply::Device(provisioner.label_device(&name, label, now).await?.into())
        }
        Request::RemoveDevice { name } => {
            Reply::Device(provisioner.remove_device(&name, now).await?.into())
        }
        Request::Code { name } => {
            let device = provisioner.find_device(&name).await?;
            let code = provisioner.code_of(&device, now).await?;
            Reply::Shown(code.expose_hex().to_string())
        }
        Request::DeviceKey { name } => {
            let device = provisioner.find_device(&name).await?;
            let key = provisioner.device_key_of(&device, now).await?;
            Reply::Shown(key.expose_hex().to_string())
        }
        Request::Change { name, act } => {
            Reply::Device(devices::change(&name, act, dispatch).await?.into())
        }
        Request::ChangeMany { names, act } => {
            Reply::Changed(devices::change_many(&names, act, dispatch).await)
        }
        Request::Ban(wish) => ban(wish, dispatch).await?,
        Request::Unban { network } => {
            provisioner.unban(network, now).await?;
            Reply::Done
        }
        Request::Bans => Reply::Bans(provisioner.standing_bans(now).await?),
        Request::Explain { name } => {
            let explanation = provisioner.explain(&name, now).await?;
            Reply::Explanation(Box::new(explanation.into()))
        }
        Request::Feed { feed } => Reply::Feed(read(feed, dispatch).await?),
        Request::PutValues { feed, values } => {
            let values = values.into_iter().map(|wish| measured(wish, now));
            let values = values.collect::<Result<_, _>>()?;
            provisioner.keep_values(feed, values, now).await?;
            dispatch.tell_of_values(feed);
            Reply::Done
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
            Reply::Operators(operators.into_iter().map(Into::into).collect())
        }
        Request::CreateToken(wish) => create_token(wish, dispatch).await?,
        Request::RemoveToken { token } => {
            provisioner.remove_token(&token, now).await?;
            Reply::Done
        }
        Request::Tokens => {
            let tokens = provisioner.tokens(now).await?;
            Reply::Tokens(tokens.into_iter().map(Into::into).collect())
        }
        Request::LicenceKey => {
            let key = provisioner.licence_key().await?;
            Reply::LicenceKey(LicenceKeyView::from(&key))
        }
        Request::Fleet => Reply::Fleet(FleetView {
            devices: registry.census().await?.into(),
            activations_per_second: dispatch.rates.issued,
            confirmations_per_second: dispatch.rates.confirmed,
            refusals_per_second: dispatch.rates.refused,
            connected: dispatch
                .sessions
                .map_or_else(Connected::default, |sessions| sessions.connected()),
        }),
        Request::BackUp { into } => Reply::BackedUp(registry.back_up(&into, now).await?),
        Request::Version => Reply::Version(VersionView {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            clock: dispatch.jump.map(|jump| jump.to_string()),
        }),
        Request::Events { after, limit } => {
            let events = registry.events(after, limit).await?;
            Reply::Events(events.iter().map(firstwake::Event::to_json).collect())
        }
    })
}

async fn ban(wish: BanWish, dispatch: &Dispatch<'_>) -> Result<Reply, Declined> {
    let BanWish {
        network,
        seconds,
        reason,
        force,
    } = wish;
    if network.is_perilous() && !force {
        return Err(Because::Conflict.told(format!(
            "banning {network} may lock out this machine or nearly everybody: \
             say that it is meant (force)"
        )));
    }
    let span = span(seconds, "a ban lasts a second at least")?;
    let now = dispatch.moment.at;
    let ban = dispatch.provisioner.ban(network, span, reason, now);
    Ok(Reply::Ban(ban.await?))
}

async fn create_token(wish: TokenWish, dispatch: &Dispatch<'_>) -> Result<Reply, Declined> {
    let TokenWish {
        operator,
        label,
        seconds,
    } = wish;
    let operator = operator.ok_or_else(|| Because::Invalid.told("say whose token it is to be"))?;
    let span = span(seconds, "a token works for a second at least")?;
    let now = dispatch.moment.at;
    let created = dispatch
        .provisioner
        .create_token(&operator, &label, span, now);
    let (token, shown) = created.await?;
    Ok(Reply::TokenCreated {
        token: token.into(),
        secret: shown.expose().to_owned(),
    })
}

/// A span that is not nothing.
fn span(seconds: Option<u64>, sentence: &str) -> Result<Option<Duration>, Declined> {
    match seconds {
        Some(0) => Err(Because::Invalid.told(sentence)),
        seconds => Ok(seconds.map(Duration::from_secs)),
    }
}

async fn read(feed: FeedId, dispatch: &Dispatch<'_>) -> Result<FeedView, Declined> {
    let registry = dispatch.provisioner.registry();
    let device = registry.device(feed).await?;
    let device = device.ok_or(NotKept::Unknown(feed))?;
    let values = match dispatch.values {
        Some(values) => values.of(feed, dispatch.provisioner).await?,
        None => registry.values(feed).await?,
    };
    Ok(FeedView {
        feed_id: feed,
        serial: device.serial,
        product_id: device.product,
        values: values.into_iter().map(Into::into).collect(),
    })
}

fn measured(wish: ValueWish, now: Timestamp) -> Result<CurrentValue, Declined> {
    let at = wish.at.unwrap_or(now);
    if at > now.plus(AHEAD) {
        return Err(Because::Invalid.told(
            "a value's time lies more than a day ahead of the server's clock: set the clock, or \
             leave the time out (at)",
        ));
    }
    Ok(CurrentValue {
        datastream: wish.datastream,
        value: wish.value,
        at,
    })
}
