//! `clickhouse-backupd`: a daemon that makes ClickHouse back itself up.
//!
//! Modules in the order in which a backup passes through them.

// what we know: pure, no async, no I/O, no clock, no logging
pub mod backup;
pub mod operation;
pub mod retention;
pub mod schedule;

// what we talk to: one outside thing each
pub mod catalog;
pub mod clickhouse;
pub mod clock;
pub mod config;
pub mod destination;
pub mod metrics;
pub mod notify;
pub mod secret;

// what we do
pub mod api;
pub mod daemon;
pub mod worker;
