//! A million hostile inputs for each reader of files that the user supplies about the outside, and for the rules of the configuration.

#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "../support/mmdb.rs"]
mod mmdb;

mod databases;
mod lists;
mod rules;
