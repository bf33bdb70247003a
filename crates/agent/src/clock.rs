//! The server's time, as the agent knows it.
//!
//! Local time is the boot-time clock (which runs on in suspend and is never set) on top of the wall clock's value at the start, so that setting the wall clock
//! moves nothing. Every reply of the server gives one sample of the offset: with T1 sent, T2 received, T3 replied, T4 back, the offset is
//! ((T2 − T1) + (T3 − T4)) / 2, wrong by at most half the delay (T4 − T1) − (T3 − T2). Of the last few samples the one with the least delay counts.

use edgescope_model::wire::ServerClock;
use rustix::time::{ClockId, clock_gettime};
use std::collections::VecDeque;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Samples looked at: with a reply every 10 s, the last 80 s.
const SAMPLES_MAX: usize = 8;
/// A sample older than this says little: two clocks at 50 ppm part by 30 ms in 10 minutes.
const SAMPLE_AGE_US_MAX: i64 = 600_000_000;

/// Local time in microseconds since the epoch, running evenly since the agent's start.
#[derive(Debug, Clone, Copy)]
pub struct LocalClock {
    wall_at_start_us: i64,
    boot_at_start_us: i64,
    skew_us: i64,
}

impl LocalClock {
    /// `skew_us` moves the agent's wall clock, for tests of clocks that are wrong.
    pub fn new(skew_us: i64) -> Self {
        Self { wall_at_start_us: wall_us().saturating_add(skew_us), boot_at_start_us: boot_us(), skew_us }
    }

    /// One whose wall clock was set forward by so much after the start.
    #[cfg(test)]
    pub fn stepped(by_us: i64) -> Self {
        Self { skew_us: by_us, ..Self::new(0) }
    }

    pub fn now_us(&self) -> i64 {
        self.wall_at_start_us + (boot_us() - self.boot_at_start_us)
    }

    /// What the wall clock says now.
    pub fn wall_us(&self) -> i64 {
        wall_us().saturating_add(self.skew_us)
    }
}

fn wall_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

fn boot_us() -> i64 {
    let now = clock_gettime(ClockId::Boottime);
    now.tv_sec * 1_000_000 + now.tv_nsec / 1_000
}

#[derive(Debug, Clone, Copy)]
struct Sample {
    at_us: i64,
    offset_us: i64,
    delay_us: i64,
}

/// The server's clock less the local one. Pure: times are arguments.
#[derive(Debug, Clone, Default)]
pub struct Offset {
    samples: VecDeque<Sample>,
    best_us: Option<i64>,
}

impl Offset {
    /// Takes one exchange: sent at and returned at local times, with the server's two. Impossible ones (an answer before the question) are left out.
    pub fn exchange(&mut self, sent_us: i64, server: &ServerClock, returned_us: i64) {
        // Beyond the year 100000 nothing is a time: no sum of four below can overflow.
        let sound = |us: i64| (0..1 << 61).contains(&us);
        if ![sent_us, server.received_us, server.replied_us, returned_us].into_iter().all(sound)
            || returned_us < sent_us
            || server.replied_us < server.received_us
        {
            return;
        }
        let delay_us = (returned_us - sent_us) - (server.replied_us - server.received_us);
        if delay_us < 0 {
            return;
        }
        let offset_us = ((server.received_us - sent_us) + (server.replied_us - returned_us)) / 2;
        if self.samples.len() >= SAMPLES_MAX {
            self.samples.pop_front();
        }
        self.samples.push_back(Sample { at_us: returned_us, offset_us, delay_us });
        self.samples.retain(|sample| returned_us - sample.at_us <= SAMPLE_AGE_US_MAX);
        // A server whose clock was set is far from all older samples: those are of another time.
        let newest = Sample { at_us: returned_us, offset_us, delay_us };
        self.samples.retain(|sample| (sample.offset_us - newest.offset_us).abs() <= (sample.delay_us + newest.delay_us) / 2 + SLACK_US);
        self.best_us = self.samples.iter().min_by_key(|sample| (sample.delay_us, -sample.at_us)).map(|sample| sample.offset_us);
    }

    /// What an earlier run measured, until this one has measured for itself.
    pub fn assume(&mut self, offset_us: i64) {
        self.best_us.get_or_insert(offset_us);
    }

    /// Server clock less local clock; `None` if never measured.
    pub fn get_us(&self) -> Option<i64> {
        self.best_us
    }

    /// Whether this run has measured it.
    pub fn measured(&self) -> bool {
        !self.samples.is_empty()
    }
}

/// Two samples may differ by this much more than their delays allow: clocks drift, and are slewed by up to 500 ppm.
const SLACK_US: i64 = SAMPLE_AGE_US_MAX / 2_000;

/// Start of the window of `interval_us` that holds `at_us`.
pub fn window_start_us(at_us: i64, interval_us: i64) -> i64 {
    at_us.div_euclid(interval_us) * interval_us
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn exchange(offset: &mut Offset, at_us: i64, truth_us: i64, out_us: i64, work_us: i64, back_us: i64) {
        let server = ServerClock { received_us: at_us + truth_us + out_us, replied_us: at_us + truth_us + out_us + work_us };
        offset.exchange(at_us, &server, at_us + out_us + work_us + back_us);
    }

    #[test]
    fn the_least_delayed_sample_counts() {
        let mut offset = Offset::default();
        offset.assume(7);
        assert_eq!((offset.get_us(), offset.measured()), (Some(7), false));
        exchange(&mut offset, 0, 15_000_000, 100, 0, 100);
        exchange(&mut offset, 10_000_000, 15_000_000, 90_000, 5_000, 10);
        assert_eq!((offset.get_us(), offset.measured()), (Some(15_000_000), true));
    }

    #[test]
    fn a_server_clock_that_was_set_is_followed_at_once() {
        let mut offset = Offset::default();
        for n in 0..8 {
            exchange(&mut offset, n * 10_000_000, 0, 50, 0, 50);
        }
        exchange(&mut offset, 80_000_000, 3_000_000, 2_000, 0, 2_000);
        assert_eq!(offset.get_us(), Some(3_000_000));
    }

    #[test]
    fn nonsense_is_left_out() {
        let mut offset = Offset::default();
        offset.exchange(10, &ServerClock { received_us: 5, replied_us: 4 }, 20);
        offset.exchange(10, &ServerClock { received_us: 5, replied_us: 6 }, 9);
        offset.exchange(10, &ServerClock { received_us: i64::MIN, replied_us: i64::MAX }, 20);
        assert_eq!(offset.get_us(), None);
    }

    #[test]
    fn windows_begin_below_also_before_the_epoch() {
        assert_eq!(window_start_us(25, 10), 20);
        assert_eq!(window_start_us(-1, 10), -10);
    }

    #[test]
    fn local_time_runs_and_is_skewed() {
        let (right, ahead) = (LocalClock::new(0), LocalClock::new(15_000_000));
        let apart = ahead.now_us() - right.now_us();
        assert!((14_990_000..15_100_000).contains(&apart), "{apart}");
        assert!((ahead.wall_us() - ahead.now_us()).abs() < 1_000_000);
    }

    proptest! {
        #[test]
        fn the_error_is_at_most_half_the_least_delay(truth_us in 0..86_400_000_000i64, delays in prop::collection::vec((0..200_000i64, 0..200_000i64, 0..1_000_000i64), 1..20)) {
            let mut offset = Offset::default();
            for (n, &(out_us, back_us, work_us)) in delays.iter().enumerate() {
                exchange(&mut offset, n as i64 * 10_000_000, truth_us, out_us, work_us, back_us);
            }
            let least = delays.iter().rev().take(SAMPLES_MAX).map(|&(out, back, _)| out + back).min().unwrap_or(0);
            let error = (offset.get_us().unwrap() - truth_us).abs();
            prop_assert!(error <= least / 2 + 2, "{} against {}", error, least / 2);
        }
    }
}
