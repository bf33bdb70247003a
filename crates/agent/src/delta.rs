//! From cumulative readings to what happened since the last ones.
//!
//! The kernel's counters only grow. [`Baseline`] is what has been told already; the delta of a pass is the reading less the baseline. Pure: who stores a
//! baseline together with the batch that was made from it (see [`crate::spool`]) loses and doubles nothing, whenever the agent dies.

use crate::counters::Cumulative;
use edgescope_probe::{FlowKey, FlowReading};
use std::collections::HashMap;

/// What has been told of every flow.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Baseline {
    pub flows: HashMap<FlowKey, Told>,
}

/// What has been told of one flow.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    pub cumulative: Cumulative,
    /// When the kernel made the flow; 0 if unknown. Another one of the same key is another flow, whatever its counters say.
    pub born_ms: u32,
    /// Passes without a change.
    pub quiet: u32,
}

/// What happened in a flow since the last pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delta {
    pub key: FlowKey,
    pub counted: Cumulative,
    /// Longest and shortest round trip of the window, in microseconds.
    pub rtt_us_max: Option<u32>,
    pub rtt_us_min: Option<u32>,
}

/// What a pass amounts to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Deltas {
    /// Flows in which something happened.
    pub flows: Vec<Delta>,
    /// The baseline to store with them.
    pub next: Baseline,
    /// Flows that are others than those of the baseline, though their keys are the same: all of their readings counts.
    pub restarted: u64,
}

/// Reads a pass against the baseline.
pub fn deltas(baseline: &Baseline, readings: &[FlowReading]) -> Deltas {
    let mut result = Deltas { next: Baseline { flows: HashMap::with_capacity(readings.len()) }, ..Deltas::default() };
    for reading in readings {
        let cumulative = Cumulative::from(reading);
        let told = baseline.flows.get(&reading.key);
        let counted = match told {
            None => cumulative.clone(),
            Some(told) => {
                let (counted, restarted) = told.until(&cumulative, reading);
                result.restarted += u64::from(restarted);
                counted
            }
        };
        let changed = !counted.is_zero();
        let quiet = if changed { 0 } else { told.map_or(0, |told| told.quiet).saturating_add(1) };
        if changed {
            let extreme = |pick: fn(&edgescope_probe::Hist) -> Option<u32>| reading.rtt.as_ref().and_then(pick);
            let (rtt_us_max, rtt_us_min) = (extreme(|hist| hist.max_us), extreme(|hist| hist.min_us));
            result.flows.push(Delta { key: reading.key, counted, rtt_us_max, rtt_us_min });
        }
        // Read in the moment of its making it has no time yet: then the last one known still holds.
        let born_ms = if reading.counters.born_ms == 0 { told.map_or(0, |told| told.born_ms) } else { reading.counters.born_ms };
        result.next.flows.insert(reading.key, Told { cumulative, born_ms, quiet });
    }
    result
}

impl Told {
    /// What was counted from here to a reading, and whether that begins anew: another flow of the same key, or counters that fell.
    fn until(&self, now: &Cumulative, reading: &FlowReading) -> (Cumulative, bool) {
        let born_ms = reading.counters.born_ms;
        let other = self.born_ms != 0 && born_ms != 0 && self.born_ms != born_ms;
        if other { (now.clone(), true) } else { now.since(&self.cumulative) }
    }
}

impl Baseline {
    /// Takes a pass as told, without telling it.
    pub fn from_readings(readings: &[FlowReading]) -> Self {
        deltas(&Self::default(), readings).next
    }

    /// Flows that have been quiet for at least `passes` passes, and those of single connections that have been for `apart_passes`.
    pub fn quiet(&self, passes: u32, apart_passes: u32) -> Vec<FlowKey> {
        let enough = |key: &FlowKey| if key.client_port == 0 { passes } else { apart_passes.min(passes) };
        self.flows.iter().filter(|(key, told)| told.quiet >= enough(key)).map(|(key, _)| *key).collect()
    }

    /// Takes back flows that the kernel has forgotten; what they counted between the last pass and their end is returned.
    pub fn forget(&mut self, finals: &[FlowReading]) -> Vec<Delta> {
        let mut rest = Vec::new();
        for reading in finals {
            let told = self.flows.remove(&reading.key).unwrap_or_default();
            let cumulative = Cumulative::from(reading);
            let (counted, _) = told.until(&cumulative, reading);
            if !counted.is_zero() {
                rest.push(Delta { key: reading.key, counted, rtt_us_max: None, rtt_us_min: None });
            }
        }
        rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counters::{COUNT, Totals};
    use crate::testing::key;
    use edgescope_probe::{Counters, Hist};
    use proptest::prelude::*;

    fn reading(n: u8, totals: Totals, rtt: &[(u16, u64)]) -> FlowReading {
        let rtt = (!rtt.is_empty()).then(|| Hist { buckets: rtt.to_vec(), max_us: Some(9), min_us: Some(1) });
        FlowReading { key: key(n), counters: Counters::from(&totals), rtt, handshake: None, duration: None }
    }

    #[test]
    fn quiet_flows_are_not_told_and_then_forgotten() {
        let mut totals = Totals::default();
        totals.0[0] = 10;
        let first = deltas(&Baseline::default(), &[reading(1, totals, &[(5, 2)])]);
        assert_eq!((first.flows.len(), first.flows[0].rtt_us_max, first.next.quiet(1, 1).len()), (1, Some(9), 0));
        let second = deltas(&first.next, &[reading(1, totals, &[(5, 2)])]);
        assert!(second.flows.is_empty());
        assert_eq!(second.next.quiet(1, 1), [key(1)]);
        assert!(second.next.quiet(2, 1).is_empty());
        let apart = FlowReading { key: FlowKey { client_port: 9, ..key(1) }, ..reading(1, totals, &[]) };
        let apart = std::slice::from_ref(&apart);
        let first = deltas(&Baseline::default(), apart);
        assert_eq!(deltas(&first.next, apart).next.quiet(2, 1), [apart[0].key]);
        let mut baseline = second.next;
        totals.0[0] = 13;
        let rest = baseline.forget(&[reading(1, totals, &[(5, 2)])]);
        assert_eq!((rest.len(), rest[0].counted.totals.0[0], baseline.flows.len()), (1, 3, 0));
    }

    #[test]
    fn a_flow_that_began_anew_counts_whole() {
        let of = |bytes, born_ms| {
            let mut totals = Totals::default();
            totals.0[0] = bytes;
            let mut reading = reading(1, totals, &[]);
            reading.counters.born_ms = born_ms;
            reading
        };
        let told = |before, now| {
            let pass = deltas(&Baseline::from_readings(&[before]), &[now]);
            (pass.flows.iter().map(|delta| delta.counted.totals.0[0]).sum::<u64>(), pass.restarted)
        };
        assert_eq!(told(of(10, 1), of(4, 1)), (4, 1), "fallen");
        assert_eq!(told(of(10, 1), of(10, 2)), (10, 1), "another one that counted as much");
        assert_eq!(told(of(10, 1), of(12, 2)), (12, 1), "another one that counted more");
        assert_eq!(told(of(10, 0), of(12, 2)), (2, 0), "read while it was made");
        assert_eq!(told(of(10, 2), of(12, 2)), (2, 0));
    }

    proptest! {
        /// Whatever the steps, and wherever the agent dies and begins again from a stored baseline, the deltas add up to the last reading.
        #[test]
        fn deltas_add_up(steps in prop::collection::vec((0..4u8, 0..COUNT, 0..1_000u64, any::<bool>()), 1..60)) {
            let mut now: HashMap<u8, (Totals, u64)> = HashMap::new();
            let mut baseline = Baseline::default();
            let mut sum: HashMap<FlowKey, Cumulative> = HashMap::new();
            for (flow, counter, more, dies) in steps {
                let (totals, samples) = now.entry(flow).or_default();
                totals.0[counter] += more;
                *samples += more % 3;
                let readings: Vec<FlowReading> = now.iter().map(|(&n, (totals, samples))| {
                    reading(n, *totals, &[(7, *samples)].into_iter().filter(|&(_, c)| c > 0).collect::<Vec<_>>())
                }).collect();
                let pass = deltas(&baseline, &readings);
                prop_assert_eq!(pass.restarted, 0);
                if dies {
                    // The pass was never stored: the next one starts from the same baseline.
                    continue;
                }
                pass.flows.iter().for_each(|delta| sum.entry(delta.key).or_default().add(&delta.counted));
                baseline = pass.next;
            }
            for (key, told) in &baseline.flows {
                prop_assert_eq!(&sum.get(key).cloned().unwrap_or_default(), &told.cumulative);
            }
        }
    }
}
