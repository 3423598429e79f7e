//! Our own interface: JSON under `/api/v1/`, described by the OpenAPI document that it serves.
//!
//! The types of requests and answers are public: the command line is a client of this API and reads
//! them with the same definitions.

pub mod backup;
pub(super) mod backups;
mod document;
pub mod error;
mod input;
pub mod operation;
pub(super) mod operations;
pub mod page;
mod request;
pub mod retention;
pub(super) mod retentions;
pub mod schedule;
pub(super) mod schedules;
pub mod status;
mod text;

pub use document::document;
pub(super) use document::openapi;

#[cfg(test)]
mod tests;
