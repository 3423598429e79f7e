//! The texts that a request can hold, as the document describes them. What reads them is elsewhere
//! ([`super::input`]); the generated requests of the tests find where the two differ.

use super::input::{DATABASE_MAX_BYTES, LIST_MAX_ITEMS, TABLE_MAX_BYTES};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{
    AnyOfBuilder, KnownFormat, Object, ObjectBuilder, Schema, SchemaFormat, Type,
};
use utoipa::{PartialSchema, ToSchema};

/// The name of a backup: [`crate::backup::BackupName`].
pub(super) struct BackupName;
/// The name of a schedule: [`crate::schedule::ScheduleName`].
pub(super) struct ScheduleName;
/// Tables: [`crate::backup::TablePattern`].
pub(super) struct TablePattern;
/// A database by its name, or several by a pattern.
pub(super) struct DatabasePattern;
/// A time, or a date.
pub(super) struct SlotText;

impl PartialSchema for BackupName {
    fn schema() -> RefOr<Schema> {
        text("The name of a backup.", "2026-11-22")
            .pattern(Some("^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$"))
            .into()
    }
}

impl PartialSchema for ScheduleName {
    fn schema() -> RefOr<Schema> {
        text("The name of a schedule.", "daily")
            .pattern(Some("^[a-z0-9_-]{1,64}$"))
            .into()
    }
}

impl PartialSchema for TablePattern {
    fn schema() -> RefOr<Schema> {
        text(
            "Tables, as `database.table` with `*` and `?`; at most 512 bytes.",
            "shop.*",
        )
        .pattern(Some(r"^[^.]+\.[\s\S]+$"))
        .max_length(Some(TABLE_MAX_BYTES))
        .into()
    }
}

impl PartialSchema for DatabasePattern {
    fn schema() -> RefOr<Schema> {
        text(
            "A database, or several with `*` and `?`; at most 256 bytes.",
            "shop",
        )
        .min_length(Some(1))
        .max_length(Some(DATABASE_MAX_BYTES))
        .into()
    }
}

impl PartialSchema for SlotText {
    fn schema() -> RefOr<Schema> {
        let of = |format| {
            ObjectBuilder::new()
                .schema_type(Type::String)
                .format(Some(SchemaFormat::KnownFormat(format)))
        };
        AnyOfBuilder::new()
            .item(of(KnownFormat::Date))
            .item(of(KnownFormat::DateTime))
            .description(Some("A slot: its time, or its date in the zone of the schedule where that has one slot."))
            .into()
    }
}

impl ToSchema for BackupName {}
impl ToSchema for ScheduleName {}
impl ToSchema for TablePattern {}
impl ToSchema for DatabasePattern {}
impl ToSchema for SlotText {}

/// Databases that get another name.
pub(super) fn database_mapping() -> Object {
    mapping(
        "Databases that get another name: from, to.",
        name(DATABASE_MAX_BYTES),
    )
}

/// Tables that get another name.
pub(super) fn table_mapping() -> Object {
    let mut table = name(TABLE_MAX_BYTES);
    // Neither the part before the first dot nor what follows the last one is empty.
    table.pattern = Some(r"^[^.]([\s\S]*[^.])?$".to_owned());
    mapping(
        "Tables that get another name: from, to; each a table or `database.table`.",
        table,
    )
}

fn mapping(description: &str, name: Object) -> Object {
    ObjectBuilder::new()
        .schema_type(Type::Object)
        .description(Some(description))
        .property_names(Some(Schema::Object(name.clone())))
        .additional_properties(Some(Schema::Object(name)))
        .max_properties(Some(LIST_MAX_ITEMS))
        .build()
}

fn name(max_length: usize) -> Object {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .min_length(Some(1))
        .max_length(Some(max_length))
        .build()
}

fn text(description: &str, example: &str) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some(description))
        .examples([example])
}
