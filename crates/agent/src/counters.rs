//! Counters of one flow as a list, so that they can be subtracted, stored and mapped to signals by position.

use edgescope_model::histogram::Histogram;
use edgescope_probe::{Counters, FlowReading, Hist};

macro_rules! totals {
    ($($name:ident),* $(,)?) => {
        /// Position of a counter in [`Totals`].
        #[allow(non_camel_case_types)]
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Counter { $($name),* }

        /// Names of the counters, by position. A stored baseline carries them, so that another version reads it right or not at all.
        pub const NAMES: &[&str] = &[$(stringify!($name)),*];

        /// Number of counters.
        pub const COUNT: usize = NAMES.len();

        impl From<&Counters> for Totals {
            fn from(counters: &Counters) -> Self {
                Self([$(counters.$name),*])
            }
        }

        impl From<&Totals> for Counters {
            fn from(totals: &Totals) -> Self {
                Self { $($name: totals.get(Counter::$name),)* ..Self::default() }
            }
        }
    };
}

/// Everything that only grows of one flow, by [`Counter`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Totals(pub [u64; COUNT]);

totals!(
    bytes_sent,
    bytes_received,
    retrans_bytes,
    segs_sent,
    segs_received,
    retrans_segs,
    retrans_syn,
    retrans_synack,
    rto,
    spurious,
    out_of_order,
    busy_us,
    blocked_rwnd_us,
    blocked_sndbuf_us,
    active_ms,
    stalled_ms,
    srtt_us_sum,
    srtt_samples,
    response_us,
    responses,
    connect_attempts,
    connect_established,
    connect_timeout,
    connect_cancelled,
    connect_refused,
    connect_unreachable,
    connect_reset,
    accepts,
    closes,
    resets_sent,
    resets_received,
    resets_explained,
    resets_no_listener,
    resets_aborted,
    accept_overflow,
    receive_drops,
    sent_drops_other,
    sent_drops_policy,
    sent_drops_queue,
    sent_drops_invalid,
    received_drops_other,
    received_drops_policy,
    received_drops_queue,
    received_drops_invalid,
    requests,
    answers_0,
    answers_1,
    answers_2,
    answers_3,
    answers_4,
    unanswered,
    grpc_requests,
    grpc_ok,
    grpc_unavailable,
    grpc_deadline,
    grpc_other,
    grpc_unsaid,
);

impl Default for Totals {
    fn default() -> Self {
        Self([0; COUNT])
    }
}

impl Totals {
    pub fn get(&self, counter: Counter) -> u64 {
        self.0[counter as usize]
    }

    pub fn is_zero(&self) -> bool {
        self.0.iter().all(|&value| value == 0)
    }

    /// What was counted since `earlier`; `None` if any counter fell, so that it is not a former state of these.
    pub fn since(&self, earlier: &Self) -> Option<Self> {
        let mut delta = Self::default();
        for (at, (now, before)) in self.0.iter().zip(earlier.0).enumerate() {
            delta.0[at] = now.checked_sub(before)?;
        }
        Some(delta)
    }

    pub fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine = mine.saturating_add(theirs);
        }
    }
}

/// All that only grows of one flow: counters and histograms.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cumulative {
    pub totals: Totals,
    pub rtt: Histogram,
    pub handshake: Histogram,
    pub duration: Histogram,
}

impl Cumulative {
    pub fn is_zero(&self) -> bool {
        self.totals.is_zero() && self.rtt.is_empty() && self.handshake.is_empty() && self.duration.is_empty()
    }

    /// What was counted since `earlier`, and whether some part of it is not a former state: that part began anew and counts whole.
    pub fn since(&self, earlier: &Self) -> (Self, bool) {
        let totals = self.totals.since(&earlier.totals);
        let rtt = self.rtt.since(&earlier.rtt);
        let handshake = self.handshake.since(&earlier.handshake);
        let duration = self.duration.since(&earlier.duration);
        let restarted = totals.is_none() || rtt.is_none() || handshake.is_none() || duration.is_none();
        let counted = Self {
            totals: totals.unwrap_or(self.totals),
            rtt: rtt.unwrap_or_else(|| self.rtt.clone()),
            handshake: handshake.unwrap_or_else(|| self.handshake.clone()),
            duration: duration.unwrap_or_else(|| self.duration.clone()),
        };
        (counted, restarted)
    }

    pub fn add(&mut self, other: &Self) {
        self.totals.add(&other.totals);
        self.rtt.merge(&other.rtt);
        self.handshake.merge(&other.handshake);
        self.duration.merge(&other.duration);
    }
}

impl From<&FlowReading> for Cumulative {
    fn from(reading: &FlowReading) -> Self {
        let histogram =
            |hist: &Option<Hist>| hist.as_ref().map_or_else(Histogram::default, |hist| Histogram::from_pairs(hist.buckets.iter().copied()));
        Self {
            totals: Totals::from(&reading.counters),
            rtt: histogram(&reading.rtt),
            handshake: histogram(&reading.handshake),
            duration: histogram(&reading.duration),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_that_grows_is_in_the_list() {
        // All fields of the probe's counters are u64 but the last two halves: change time and last process are no counters.
        assert_eq!(COUNT, size_of::<Counters>() / 8 - 2);
        let counters = Counters { bytes_sent: 1, receive_drops: 2, ..Counters::default() };
        let totals = Totals::from(&counters);
        assert_eq!((totals.get(Counter::bytes_sent), totals.get(Counter::receive_drops)), (1, 2));
        assert_eq!(Counters::from(&totals), counters);
    }

    #[test]
    fn a_fallen_counter_is_no_former_state() {
        let mut more = Totals::default();
        more.0[3] = 5;
        assert_eq!(more.since(&Totals::default()), Some(more));
        assert_eq!(Totals::default().since(&more), None);
    }
}
