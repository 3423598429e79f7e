//! Our own interface: JSON under `/api/v1/`, described by the OpenAPI document that it serves.
//!
//! The types of requests and answers are public: the command line is a client of this API and reads
//! them with the same definitions.

pub mod backup;
pub mod error;
pub mod operation;
pub mod page;
pub mod schedule;
pub mod status;
