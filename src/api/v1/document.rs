//! The OpenAPI document, generated from the handlers and their types.

use std::collections::BTreeMap;

use utoipa::openapi::path::Operation as PathOperation;
use utoipa::openapi::response::{Response, ResponseBuilder};
use utoipa::openapi::schema::{
    AdditionalProperties, Discriminator, Object, ObjectBuilder, OneOfBuilder, Schema, Type,
};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{Components, ContentBuilder, OpenApi as Document, Ref, RefOr};
use utoipa::{IntoResponses, Modify, OpenApi};

use super::{backups, error, operation, operations, retentions, schedules, status, text};

/// The document as JSON.
#[must_use]
pub fn document() -> String {
    let mut text = Api::openapi().to_pretty_json().unwrap_or_else(|error| {
        // Strings, numbers and maps with string keys, which serde_json always writes.
        tracing::error!("writing the OpenAPI document: {error}");
        String::new()
    });
    text.push('\n');
    text
}

/// `GET /api/v1/openapi.json`: this document.
#[utoipa::path(get, path = "/api/v1/openapi.json", tag = "status",
    responses((status = 200, description = "The document that describes this API.", content_type = "application/json", body = serde_json::Value), Authenticated))]
pub(in crate::api) async fn openapi() -> axum::response::Response {
    use axum::response::IntoResponse as _;
    let headers = [(axum::http::header::CONTENT_TYPE, "application/json")];
    (headers, document()).into_response()
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "clickhouse-backupd",
        description = "The daemon that makes ClickHouse back itself up. Times are RFC 3339 in UTC; every error is an ErrorBody."
    ),
    paths(
        status::status,
        operations::list,
        operations::submit,
        operations::show,
        operations::cancel,
        backups::list,
        backups::show,
        backups::remove,
        backups::pin,
        backups::unpin,
        backups::verify,
        schedules::list,
        schedules::show,
        schedules::run,
        schedules::pause,
        schedules::resume,
        retentions::plan,
        retentions::adopt,
        openapi,
    ),
    components(schemas(
        error::ErrorBody,
        operation::BackupRequest,
        operation::RestoreRequest,
        operation::VerifyRequest,
        operation::DeleteRequest,
        operation::CleanRequest,
        text::BackupName,
        text::DatabasePattern,
        text::ScheduleName,
        text::SlotText,
        text::TablePattern,
    )),
    tags(
        (name = "status", description = "Everything at a glance."),
        (name = "operations", description = "Anything that takes time: backups, restores, proofs and removals, asked for by schedules, clients or the daemon itself."),
        (name = "backups", description = "What exists."),
        (name = "schedules", description = "When things are due."),
        (name = "retention", description = "What may go, and why."),
    ),
    modifiers(&Credentials, &TaggedRequests)
)]
struct Api;

/// Every route but the probes asks for credentials where some are configured.
struct Credentials;

impl Modify for Credentials {
    fn modify(&self, document: &mut Document) {
        let components = document.components.get_or_insert_with(Components::new);
        let scheme = |scheme| SecurityScheme::Http(Http::new(scheme));
        components.add_security_scheme("basic", scheme(HttpAuthScheme::Basic));
        components.add_security_scheme("bearer", scheme(HttpAuthScheme::Bearer));
        let none: [&str; 0] = [];
        document.security = Some(vec![
            SecurityRequirement::new("basic", none),
            SecurityRequirement::new("bearer", none),
            SecurityRequirement::default(),
        ]);
        for path in document.paths.paths.values_mut() {
            let operations = [&mut path.get, &mut path.post, &mut path.delete];
            operations.into_iter().flatten().for_each(name_operation);
        }
    }
}

/// Names such as `operations_list` instead of `list`, which three handlers have.
fn name_operation(operation: &mut PathOperation) {
    let tag = operation.tags.iter().flatten().next();
    if let (Some(tag), Some(id)) = (tag, &operation.operation_id) {
        operation.operation_id = Some(format!("{tag}_{id}"));
    }
}

/// `kind` belongs to the object itself: generated as `allOf` it would be a property that the rest of
/// the object forbids.
struct TaggedRequests;

impl Modify for TaggedRequests {
    fn modify(&self, document: &mut Document) {
        let Some(components) = &mut document.components else {
            return;
        };
        let mut one_of = OneOfBuilder::new();
        let mut discriminator = Discriminator::new("kind");
        let requests = [
            ("BackupRequest", "backup"),
            ("RestoreRequest", "restore"),
            ("VerifyRequest", "verify"),
            ("DeleteRequest", "delete"),
            ("CleanRequest", "clean"),
        ];
        for (name, kind) in requests {
            if let Some(RefOr::T(Schema::Object(object))) = components.schemas.get_mut(name) {
                add_kind(object, kind);
            }
            let reference = Ref::from_schema_name(name);
            discriminator
                .mapping
                .insert(kind.to_owned(), reference.ref_location.clone());
            one_of = one_of.item(reference);
        }
        let schema = one_of
            .description(Some("What is asked for."))
            .discriminator(Some(discriminator))
            .build();
        components
            .schemas
            .insert("OperationRequest".to_owned(), RefOr::T(schema.into()));
    }
}

fn add_kind(object: &mut Object, kind: &str) {
    let tag = ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some([kind]))
        .build();
    object
        .properties
        .insert("kind".to_owned(), RefOr::T(tag.into()));
    object.required.push("kind".to_owned());
    object.additional_properties = Some(Box::new(AdditionalProperties::FreeForm(false)));
}

/// What every route can answer instead.
pub(super) struct Authenticated;
/// What is named is not there.
pub(super) struct NotFound;
/// What is there stands against it.
pub(super) struct Conflict;
/// Something else is at work.
pub(super) struct Busy;

type Responses = BTreeMap<String, RefOr<Response>>;

impl IntoResponses for Authenticated {
    fn responses() -> Responses {
        problems(&[
            ("400", "The request is wrong; the message names what."),
            ("401", "Credentials are missing or wrong."),
            (
                "403",
                "These credentials may only look, or the request came from another origin.",
            ),
            ("413", "The body is longer than 1 MiB."),
            ("415", "The body is not declared as JSON."),
            (
                "500",
                "A defect or a failing disk of the daemon; its log has the details.",
            ),
            (
                "503",
                "Not now: too many requests, or ClickHouse cannot be asked.",
            ),
        ])
    }
}

impl IntoResponses for NotFound {
    fn responses() -> Responses {
        problems(&[("404", "What the path names is not there.")])
    }
}

impl IntoResponses for Conflict {
    fn responses() -> Responses {
        problems(&[("409", "What is there stands against it.")])
    }
}

impl IntoResponses for Busy {
    fn responses() -> Responses {
        problems(&[("423", "Another operation is at work.")])
    }
}

fn problems(descriptions: &[(&str, &str)]) -> Responses {
    let response = |description: &str| {
        let body = ContentBuilder::new()
            .schema(Some(Ref::from_schema_name("ErrorBody")))
            .build();
        ResponseBuilder::new()
            .description(description)
            .content("application/json", body)
            .build()
    };
    descriptions
        .iter()
        .map(|(status, description)| ((*status).to_owned(), RefOr::T(response(description))))
        .collect()
}
