//! The shipper by itself, against an intake that keeps a book.

#[allow(dead_code, reason = "shared with the tests of the whole agent")]
#[path = "../tests/whole/support.rs"]
mod support;

use super::*;
use crate::clock::LocalClock;
use crate::metrics::Metrics;
use crate::spool::{Checkpoint, Limits, Spool};
use std::sync::Mutex;
use support::{Fake, Life, wait};

const HOUR_US: i64 = 3_600_000_000;
/// A slow machine's time between sending and looking; the server's own bound is a second.
const UNDER_WAY_US: i64 = 40_000_000;

/// What the server checks: a batch left when its clock and its word on that clock say.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wall_clock_set_after_the_start_is_no_reason_for_suspicion() {
    let fake = Fake { ahead_us: 7_000_000, ..Fake::default() };
    let life = Life::begin(&fake, None, None).await;
    let state = tempfile::tempdir().unwrap();
    let (spool, _) = Spool::open(state.path(), Limits::default()).unwrap();
    let shared = Arc::new(Shared::new(LocalClock::stepped(HOUR_US), Arc::new(Mutex::new(spool)), Arc::new(Metrics::default())));
    let append = |clock_offset_us| {
        let window_end_us = shared.server_now_us();
        let batch = Batch { window_start_us: window_end_us - 10_000_000, window_end_us, clock_offset_us, ..Batch::default() };
        shared.spool().append(&Checkpoint::default(), vec![batch]).unwrap();
        shared.ready.notify_one();
    };
    append(crate::rebase::UNKNOWN_OFFSET_US);
    let config = AgentConfig { server: format!("http://{}", life.address), ..AgentConfig::default() }.completed("n1").unwrap();
    let shipping = tokio::spawn(Shipper::new(config, Identity::default(), Arc::clone(&shared)).run());
    wait(|| fake.book().batches.len() == 1).await;
    assert!((shared.clock_offset_us() - (7_000_000 - HOUR_US)).abs() < 1_000_000, "{}", shared.clock_offset_us());
    append(shared.clock_offset_us());
    wait(|| fake.book().batches.len() == 2).await;
    shipping.abort();
    for batch in &fake.book().batches {
        let off_us = fake.now_us() - (batch.sent_us + batch.clock_offset_us);
        assert!((-1_000_000..UNDER_WAY_US).contains(&off_us), "batch {}: off by {off_us} us", batch.sequence);
    }
    let hello = &fake.book().hellos[0];
    assert!((hello.sent_us - fake.now_us() + 7_000_000 - HOUR_US).abs() < UNDER_WAY_US, "the wall clock's word: {hello:?}");
}

#[test]
fn what_became_of_a_call_is_told_with_what_to_do() {
    let said = |code, message: &str| SessionError::from(Status::new(code, message)).to_string();
    assert_eq!(said(Code::Unauthenticated, "no token"), "the server says: no token (check agent.token_file)");
    assert_eq!(said(Code::Internal, "disk full"), "the server says: disk full");
    for (code, message) in [(Code::Unimplemented, "404"), (Code::Internal, "invalid compression flag: 123")] {
        assert!(said(code, message).starts_with(&format!("no intake answers there: {message} (its port is 8101")), "{}", said(code, message));
    }
    let broken = Status::from_error(Box::new(io::Error::other("reset by peer")));
    let broken = SessionError::from(broken).to_string();
    assert!(broken.starts_with("the connection broke: reset by peer") && broken.contains("https://"), "{broken}");
}
