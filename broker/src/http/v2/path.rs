//! What a path under `/v2` names, parsed once.
//!
//! One slash at the end is let pass, as clients put one there; two in a row
//! name nothing. A code, a product, a serial or a feed that is none names
//! nothing either: to whoever asks, it is not found.

use firstwake::feed::Format;
use firstwake::{ActivationCode, DatastreamId, DeviceName, FeedId, ProductId, Serial};
use percent_encoding::percent_decode_str;

use super::verb::Verb;

/// What is asked for.
#[derive(Debug)]
pub(super) enum Resource {
    /// `devices/CODE/activate`
    Activation(ActivationCode),
    /// The same, with what cannot be a code.
    NoCode,
    /// `products`
    Products,
    /// `products/ID`
    Product(ProductId),
    /// `products/ID/devices`
    Devices(ProductId),
    /// `products/ID/devices/SERIAL`
    Device(DeviceName),
    /// `products/ID/devices/SERIAL/activate`
    ActivationOf(DeviceName),
    /// `feeds/ID`
    Feed(FeedId),
    /// `feeds/ID/datastreams`
    Datastreams(FeedId),
    /// `feeds/ID/datastreams/NAME`
    Datastream(FeedId, DatastreamId),
    /// `feeds/ID/datastreams/NAME/datapoints`
    Datapoints(FeedId, DatastreamId),
    /// What Xively had and this server has not.
    Absent(Absent),
}

/// What Xively had and this server has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Absent {
    /// `feeds`
    Feeds,
    /// `feeds/ID/datastreams/NAME/datapoints/TIME`
    History,
    /// `keys`
    Keys,
    /// `triggers`
    Triggers,
    /// `users`
    Users,
}

/// The format that a path asks for at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    None,
    Known(Format),
    /// XML: Xively had it.
    Other,
}

/// Nothing is there, and never was.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NoSuchPath;

impl Resource {
    /// Reads a path behind `/v2`.
    pub(super) fn parse(path: &str) -> Result<(Self, Ending), NoSuchPath> {
        let path = path.strip_prefix('/').unwrap_or(path);
        let path = path.strip_suffix('/').unwrap_or(path);
        let (path, ending) = match path.rsplit_once('.') {
            Some((path, "json")) => (path, Ending::Known(Format::Json)),
            Some((path, "csv")) => (path, Ending::Known(Format::Csv)),
            Some((path, "xml")) => (path, Ending::Other),
            _ => (path, Ending::None),
        };
        let decode = |segment| percent_decode_str(segment).decode_utf8().ok();
        let segments: Option<Vec<_>> = path.split('/').map(decode).collect();
        let segments = segments.ok_or(NoSuchPath)?;
        let segments: Vec<&str> = segments.iter().map(AsRef::as_ref).collect();
        let resource = Self::of(&segments).ok_or(NoSuchPath)?;
        Ok((resource, ending))
    }

    fn of(segments: &[&str]) -> Option<Self> {
        let product = |id| ProductId::parse(id).ok();
        let feed = |id| FeedId::parse(id).ok();
        let datastream = |id| DatastreamId::parse(id).ok();
        let device = |id, serial| {
            Some(DeviceName {
                product: Some(product(id)?),
                serial: Serial::parse(serial).ok()?,
            })
        };
        Some(match *segments {
            ["devices", code, "activate"] => {
                ActivationCode::parse(code).map_or(Self::NoCode, Self::Activation)
            }
            ["products"] => Self::Products,
            ["products", id] => Self::Product(product(id)?),
            ["products", id, "devices"] => Self::Devices(product(id)?),
            ["products", id, "devices", serial] => Self::Device(device(id, serial)?),
            ["products", id, "devices", serial, "activate"] => {
                Self::ActivationOf(device(id, serial)?)
            }
            ["feeds"] => Self::Absent(Absent::Feeds),
            ["feeds", id] => Self::Feed(feed(id)?),
            ["feeds", id, "datastreams"] => Self::Datastreams(feed(id)?),
            ["feeds", id, "datastreams", name] => Self::Datastream(feed(id)?, datastream(name)?),
            ["feeds", id, "datastreams", name, "datapoints"] => {
                Self::Datapoints(feed(id)?, datastream(name)?)
            }
            ["feeds", _, "datastreams", _, "datapoints", _] => Self::Absent(Absent::History),
            ["keys", ..] => Self::Absent(Absent::Keys),
            ["triggers", ..] => Self::Absent(Absent::Triggers),
            ["users", ..] => Self::Absent(Absent::Users),
            _ => return None,
        })
    }

    /// What can be asked of it.
    pub(super) fn verbs(&self) -> &'static [Verb] {
        use Verb::{Delete, Get, Head, Post, Put};
        match self {
            // An activation hands out a key: nobody may ask for that by the way.
            Self::Activation(_) | Self::ActivationOf(_) | Self::NoCode => &[Get],
            Self::Products | Self::Devices(_) => &[Get, Head, Post],
            Self::Product(_) | Self::Device(_) => &[Get, Head, Put, Delete],
            Self::Feed(_) | Self::Datastream(..) => &[Get, Head, Put],
            Self::Datastreams(_) | Self::Datapoints(..) => &[Post],
            Self::Absent(_) => &[],
        }
    }

    /// What it is, for the log: nothing of what was asked.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Activation(_) | Self::NoCode => "devices/CODE/activate",
            Self::Products => "products",
            Self::Product(_) => "products/ID",
            Self::Devices(_) => "products/ID/devices",
            Self::Device(_) => "products/ID/devices/SERIAL",
            Self::ActivationOf(_) => "products/ID/devices/SERIAL/activate",
            Self::Feed(_) => "feeds/ID",
            Self::Datastreams(_) => "feeds/ID/datastreams",
            Self::Datastream(..) => "feeds/ID/datastreams/NAME",
            Self::Datapoints(..) => "feeds/ID/datastreams/NAME/datapoints",
            Self::Absent(_) => "absent",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODE: &str = "b8b6aacc855a97a92eaa2d2201b5d04a06f204b7";
    const PRODUCT: &str = "abcdefghij-_ABCDEFGH";

    #[test]
    fn paths() {
        let check = |path: &str, expected: Option<(&str, Ending)>| {
            let parsed = Resource::parse(path);
            let parsed = parsed
                .as_ref()
                .map(|(resource, ending)| (resource.name(), *ending));
            assert_eq!(parsed.ok(), expected, "{path}");
        };
        let none = |name| Some((name, Ending::None));
        let json = |name| Some((name, Ending::Known(Format::Json)));
        let csv = |name| Some((name, Ending::Known(Format::Csv)));
        let activate = "devices/CODE/activate";
        check(&format!("/devices/{CODE}/activate"), none(activate));
        check(
            &format!("/devices/{}/activate/", CODE.to_uppercase()),
            none(activate),
        );
        check(&format!("/devices/{CODE}/activate.csv"), csv(activate));
        check(
            &format!("/devices/{CODE}/activate.xml"),
            Some((activate, Ending::Other)),
        );
        check("/devices/x/activate", none(activate));
        check(&format!("/devices/{CODE}"), None);
        check(&format!("/devices//{CODE}/activate"), None);
        check(&format!("/devices/{CODE}/activate//"), None);
        check("/products", none("products"));
        check("/products.json", json("products"));
        check(&format!("/products/{PRODUCT}"), none("products/ID"));
        check("/products/x", None);
        check(
            &format!("/products/{PRODUCT}/devices.json"),
            json("products/ID/devices"),
        );
        let one = "products/ID/devices/SERIAL";
        check(&format!("/products/{PRODUCT}/devices/a+b"), none(one));
        check(&format!("/products/{PRODUCT}/devices/a%2Bb%2C"), none(one));
        check(&format!("/products/{PRODUCT}/devices/a%2Fb"), None);
        check(
            &format!("/products/{PRODUCT}/devices/S1/activate"),
            none("products/ID/devices/SERIAL/activate"),
        );
        check("/feeds/504", none("feeds/ID"));
        check("/feeds/504.csv", csv("feeds/ID"));
        check("/feeds/0504", None);
        check("/feeds/504.html", None);
        check("/feeds/504/datastreams", none("feeds/ID/datastreams"));
        check(
            "/feeds/504/datastreams/a.b.csv",
            csv("feeds/ID/datastreams/NAME"),
        );
        check(
            "/feeds/504/datastreams/%C3%A9",
            none("feeds/ID/datastreams/NAME"),
        );
        check("/feeds/504/datastreams/%FF", None);
        check(
            "/feeds/504/datastreams/0/datapoints",
            none("feeds/ID/datastreams/NAME/datapoints"),
        );
        for absent in [
            "/feeds",
            "/keys/x",
            "/triggers.json",
            "/users/me",
            "/feeds/1/datastreams/0/datapoints/2026-01-01T00:00:00Z",
        ] {
            let parsed = Resource::parse(absent).map(|(resource, _)| resource.name());
            assert_eq!(parsed, Ok("absent"), "{absent}");
        }
        for nothing in ["", "/", "//", "/feed", "/feeds//", "/v2/feeds/504"] {
            check(nothing, None);
        }
    }
}
