//! All tests that need more than one module, in one binary: one link, one shared engine.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends where it is wrong"
)]

mod support;

mod adoption;
mod bad_input;
mod cli;
mod cli_strange;
mod compatibility;
mod control;
mod dashboards;
mod deploy;
mod destination;
mod doubled;
mod faults;
mod keys;
mod killed;
mod metrics;
mod mission;
mod moved;
mod notify;
mod openapi;
mod process;
mod races;
mod reload;
mod retention;
mod scripts;
mod tidy;
mod v1;
mod wire;
