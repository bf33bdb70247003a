//! What the directory remembers of an agent: when it was heard of, and what it listed.

use super::Span;
use crate::cgroup::PodRef;
use edgescope_model::dims::EndDims;
use std::collections::{HashSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

/// Gaps kept of one agent: each takes a silence of an hour, so these reach back further than late data is taken.
const GAPS_MAX: usize = 64;

#[derive(Debug)]
pub(super) struct Agent {
    pub id: String,
    /// Moment of its newest list: claims confirmed then are open.
    pub listed_us: i64,
    /// End of the newest window or connection heard of.
    pub heard_us: i64,
    /// Its claims were closed since it was silent for too long.
    pub silent: bool,
    /// Spans `[from, to)` in which it was not heard of, and others' words stood for its edges; oldest first.
    gaps: VecDeque<(i64, i64)>,
    pub owners: HashSet<Arc<EndDims>>,
    pub pods: HashSet<Arc<PodRef>>,
    /// Addresses of its newest list.
    pub addresses: HashSet<IpAddr>,
}

impl Agent {
    pub fn new(id: String) -> Self {
        Self {
            id,
            listed_us: i64::MIN,
            heard_us: i64::MIN,
            silent: false,
            gaps: VecDeque::new(),
            owners: HashSet::new(),
            pods: HashSet::new(),
            addresses: HashSet::new(),
        }
    }

    /// Notes that it lives, and since when it had not been heard of. True if its claims had been closed meanwhile, and are open again.
    pub fn hear(&mut self, at_us: i64, silent_us_max: i64) -> bool {
        let first = self.heard_us == i64::MIN;
        let closed_us = if first { i64::MIN } else { self.closed_us(silent_us_max) };
        if at_us > closed_us {
            self.gaps.push_back((closed_us, at_us));
            if self.gaps.len() > GAPS_MAX {
                self.gaps.pop_front();
            }
        }
        self.heard_us = self.heard_us.max(at_us);
        std::mem::take(&mut self.silent)
    }

    /// When its claims end if nothing more is heard of it.
    pub fn closed_us(&self, silent_us_max: i64) -> i64 {
        self.heard_us.saturating_add(silent_us_max)
    }

    /// When it was heard of again, if the window ended in a gap of it; else `i64::MIN`.
    pub fn returned_us(&self, window: Span) -> i64 {
        let gap = self.gaps.iter().find(|(from_us, to_us)| window.from_us >= *from_us && window.to_us < *to_us);
        gap.map_or(i64::MIN, |(_, to_us)| *to_us)
    }
}
