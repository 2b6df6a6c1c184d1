//! How the page of the API writes what the core has types of its own for.

use firstwake::{Lifecycle, Reactivation, Refusal, Role};
use utoipa::openapi::schema::{ArrayBuilder, Object, ObjectBuilder, SchemaType, Type};
use utoipa::openapi::{KnownFormat, SchemaFormat};

/// One of these words.
fn one_of(words: impl IntoIterator<Item = &'static str>) -> Object {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(words))
        .build()
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

/// Refused attempts.
pub(crate) fn attempts() -> utoipa::openapi::schema::Array {
    let refusals = Refusal::ALL.iter().map(|refusal| refusal.as_str());
    let attempt = ObjectBuilder::new()
        .property("at", time())
        .property("source", ObjectBuilder::new().schema_type(Type::String))
        .property("refusal", one_of(refusals))
        .property("count", ObjectBuilder::new().schema_type(Type::Integer))
        .required("at")
        .required("source")
        .required("refusal")
        .required("count");
    ArrayBuilder::new().items(attempt).build()
}
