//! How the page of the API writes what the core has types of its own for.

use firstwake::hardware::{Fact, HardwareMode};
use firstwake::{Cause, Lifecycle, OnClone, ProofPolicy, Reactivation, Refusal, Role};
use utoipa::openapi::schema::{
    Array, ArrayBuilder, Object, ObjectBuilder, OneOfBuilder, SchemaType, Type,
};
use utoipa::openapi::{KnownFormat, SchemaFormat};

/// One of these words.
fn one_of(words: impl IntoIterator<Item = &'static str>) -> Object {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(words))
        .build()
}

/// The exact mistake behind a failure.
fn cause() -> Object {
    one_of(Cause::ALL.iter().map(|cause| cause.as_str()))
}

/// RFC 3339, UTC.
pub(crate) fn time() -> Object {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
        .build()
}

/// The same, or nothing.
pub(crate) fn time_or_null() -> Object {
    ObjectBuilder::new()
        .schema_type(SchemaType::from_iter([Type::String, Type::Null]))
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
        .build()
}

pub(crate) fn role() -> Object {
    one_of(Role::ALL.map(Role::as_str))
}

pub(crate) fn lifecycle() -> Object {
    one_of(Lifecycle::ALL.map(Lifecycle::as_str))
}

pub(crate) fn reactivation() -> Object {
    one_of(Reactivation::ALL.map(Reactivation::as_str))
}

pub(crate) fn stage() -> Object {
    one_of(["develop", "deploy"])
}

pub(crate) fn visibility() -> Object {
    one_of(["public", "private"])
}

pub(crate) fn proof() -> Object {
    one_of(ProofPolicy::ALL.map(ProofPolicy::as_str))
}

pub(crate) fn hardware() -> Object {
    one_of(HardwareMode::ALL.map(HardwareMode::as_str))
}

pub(crate) fn on_clone() -> Object {
    one_of(OnClone::ALL.map(OnClone::as_str))
}

/// Names of facts.
pub(crate) fn facts() -> Array {
    ArrayBuilder::new()
        .items(one_of(Fact::ALL.map(Fact::as_str)))
        .build()
}

/// What a device proves itself with, or nothing before its first activation.
pub(crate) fn proved_with() -> Object {
    ObjectBuilder::new()
        .schema_type(SchemaType::from_iter([Type::String, Type::Null]))
        .enum_values(Some(["key", "HS256", "EdDSA"]))
        .build()
}

pub(crate) fn count_or_null() -> Object {
    ObjectBuilder::new()
        .schema_type(SchemaType::from_iter([Type::Integer, Type::Null]))
        .minimum(Some(0))
        .build()
}

pub(crate) fn seconds_or_null() -> Object {
    ObjectBuilder::new()
        .schema_type(SchemaType::from_iter([Type::Integer, Type::Null]))
        .minimum(Some(1))
        .build()
}

/// Devices to be registered.
pub(crate) fn devices() -> Array {
    let text = || ObjectBuilder::new().schema_type(Type::String);
    let facts = Fact::ALL.iter().fold(ObjectBuilder::new(), |object, fact| {
        let several = ArrayBuilder::new().items(text());
        let values = OneOfBuilder::new().item(text()).item(several);
        object.property(fact.as_str(), values)
    });
    let described = ObjectBuilder::new()
        .property("serial", text())
        .property("hardware", facts)
        .property("label", text())
        .required("serial");
    let device = OneOfBuilder::new().item(text()).item(described);
    ArrayBuilder::new()
        .items(device)
        .examples([serde_json::json!([
            "LAMP-000001",
            { "serial": "LAMP-000002", "label": "kitchen", "hardware": { "mac": "b8:27:eb:01:02:03" } }
        ])])
        .build()
}

/// Refused attempts.
pub(crate) fn attempts() -> Array {
    let refusals = Refusal::ALL.iter().map(|refusal| refusal.as_str());
    let attempt = ObjectBuilder::new()
        .property("at", time())
        .property("source", ObjectBuilder::new().schema_type(Type::String))
        .property("refusal", one_of(refusals))
        .property("count", ObjectBuilder::new().schema_type(Type::Integer))
        .property("cause", cause())
        .property("detail", ObjectBuilder::new().schema_type(Type::String))
        .required("at")
        .required("source")
        .required("refusal")
        .required("count");
    ArrayBuilder::new().items(attempt).build()
}

/// What went wrong in sessions.
pub(crate) fn problems() -> Array {
    let problem = ObjectBuilder::new()
        .property("at", time())
        .property("source", ObjectBuilder::new().schema_type(Type::String))
        .property("cause", cause())
        .property("detail", ObjectBuilder::new().schema_type(Type::String))
        .property("count", ObjectBuilder::new().schema_type(Type::Integer))
        .required("at")
        .required("source")
        .required("cause")
        .required("count");
    ArrayBuilder::new().items(problem).build()
}
