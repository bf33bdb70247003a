//! Agents that were cut off, or that come late: every byte is counted once all the same.

use edgescope_identity::address::to_bytes;
use edgescope_identity::directory::{Directory, Limits};
use edgescope_identity::resolve::resolve;
use edgescope_identity::rules::Rules;
use edgescope_model::fact::column_of;
use edgescope_model::signal::{Side, TCP_BYTES};
use edgescope_model::wire::{Batch, Endpoint, Measure, Observation, Owner, Role};
use std::collections::BTreeMap;
use std::net::IpAddr;

const WINDOW_US: i64 = 10_000_000;
/// Windows that a silent agent is waited for.
const SILENT_WINDOWS: i64 = 10;
const SENT: u64 = 7;
const RECEIVED: u64 = 3;

/// A client "a" and a server "b", each with an agent of its own, and what is stored of their talk.
struct Pair {
    directory: Directory,
    /// Merged bytes by source and window.
    bytes: BTreeMap<(String, i64), u64>,
}

fn ip(agent: &str) -> IpAddr {
    [10, 0, 0, agent.as_bytes()[0]].into()
}

impl Pair {
    fn new() -> Self {
        let limits = Limits { silent_us_max: SILENT_WINDOWS * WINDOW_US, ..Limits::default() };
        Self { directory: Directory::new(limits, Rules::default()), bytes: BTreeMap::new() }
    }

    /// The agent connects in the middle of a window.
    fn hello(&mut self, agent: &str, window: i64) {
        let endpoint = Endpoint { address: to_bytes(ip(agent)), ..Endpoint::default() };
        let owner = Owner { workload: agent.to_owned(), ..Owner::default() };
        self.directory.list(agent, &[owner], &[endpoint], window * WINDOW_US + WINDOW_US / 2);
    }

    /// The agent's batch of a window, whenever it comes.
    fn ship(&mut self, agent: &str, window: i64) {
        let (other, role, sent, received) = if agent == "a" { ("b", Role::Client, SENT, RECEIVED) } else { ("a", Role::Server, RECEIVED, SENT) };
        let bytes = |value| vec![Measure { signal: TCP_BYTES.id.into(), value, ..Measure::default() }];
        let observation = Observation {
            local_address: to_bytes(ip(agent)),
            remote_address: to_bytes(ip(other)),
            service_port: 80,
            role: role.into(),
            sent: bytes(sent),
            received: bytes(received),
            ..Observation::default()
        };
        let batch = Batch {
            agent_id: agent.to_owned(),
            window_start_us: window * WINDOW_US,
            window_end_us: (window + 1) * WINDOW_US,
            owners: vec![Owner { workload: agent.to_owned(), ..Owner::default() }],
            observations: vec![observation],
            ..Batch::default()
        };
        self.directory.list_of_batch(&batch);
        for row in resolve(&batch, &self.directory).rows {
            // What has no name is known by its address; here it is the same end.
            let source = if row.dims.source.workload == ip("a").to_string() { "a".to_owned() } else { row.dims.source.workload.clone() };
            let source = if source == ip("b").to_string() { "b".to_owned() } else { source };
            if let Some(value) = row.value(column_of(&TCP_BYTES, Side::Merged).expect("bytes have a merged column")) {
                *self.bytes.entry((source, window)).or_default() += value;
            }
        }
    }

    fn check(&self, windows: std::ops::Range<i64>) {
        for window in windows {
            let of = |source: &str| self.bytes.get(&(source.to_owned(), window)).copied();
            assert_eq!((of("a"), of("b")), (Some(SENT), Some(RECEIVED)), "window {window}");
        }
    }
}

#[test]
fn an_agent_that_was_cut_off_for_long_doubles_nothing() {
    for away in ["a", "b"] {
        let there = if away == "a" { "b" } else { "a" };
        let mut pair = Pair::new();
        pair.hello("a", 0);
        pair.hello("b", 0);
        for window in 0..60 {
            if !(5..40).contains(&window) {
                if window == 40 {
                    pair.hello(away, 40);
                    (5..40).for_each(|w| pair.ship(away, w));
                }
                pair.ship(away, window);
            }
            pair.ship(there, window);
        }
        pair.check(0..60);
    }
}

#[test]
fn both_cut_off_are_counted_once_whoever_returns_first() {
    for (first, second) in [("a", "b"), ("b", "a")] {
        let mut pair = Pair::new();
        ["a", "b"].into_iter().for_each(|agent| pair.hello(agent, 0));
        (0..5).for_each(|w| ["a", "b"].into_iter().for_each(|agent| pair.ship(agent, w)));
        pair.directory.expire(39 * WINDOW_US);
        pair.hello(first, 40);
        // Half of what it kept is resolved before the other is heard of again.
        (5..20).for_each(|w| pair.ship(first, w));
        pair.hello(second, 45);
        (20..46).for_each(|w| pair.ship(first, w));
        (5..46).for_each(|w| pair.ship(second, w));
        pair.check(0..46);
    }
}

#[test]
fn an_agent_whose_first_contact_is_late_doubles_nothing() {
    for late in ["a", "b"] {
        let there = if late == "a" { "b" } else { "a" };
        let mut pair = Pair::new();
        pair.hello(there, 0);
        (0..20).for_each(|w| pair.ship(there, w));
        pair.hello(late, 20);
        (0..30).for_each(|w| pair.ship(late, w));
        (20..30).for_each(|w| pair.ship(there, w));
        pair.check(0..30);
    }
}
