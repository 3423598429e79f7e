//! Our own interface: JSON under `/api/v1/`, described by the OpenAPI document that it serves.

pub mod error;
