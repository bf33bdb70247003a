//! A simulator of the testbed's company as its agents would report it: the same topologies, faults and truths, no packets.
//!
//! It knows how faults show in the kernel's counters (binomial losses, SYN time-outs, callers' callers that slow down or fall silent, agents that are cut off)
//! and none of the thresholds that it tests. Everything follows from a seed.
#![allow(dead_code)]

mod names;
mod table;
mod traffic;

use chrono::{DateTime, Duration, TimeZone, Utc};
use edgescope_model::query::{Coverage, EdgeQuery, EdgeTable};
use edgescope_testbed::component::Component;
use edgescope_testbed::strength::{Degree, degree};
use edgescope_testbed::topology::Topology;
use edgescope_testbed::truth::Truth;
use edgescope_testbed::{Fault, Kind, Spec};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use traffic::Traffic;

pub const WINDOW_S: i64 = 10;

/// What to simulate.
#[derive(Clone, Debug)]
pub struct Plan {
    pub topology: &'static str,
    pub fault: Option<Fault>,
    pub seed: u64,
    /// Healthy windows before the one in which the fault strikes.
    pub healthy: usize,
    /// Windows in all.
    pub windows: usize,
    /// A node whose agent never reports.
    pub missing_agent: bool,
    /// The newest windows of one node have not arrived.
    pub late: bool,
}

impl Plan {
    pub fn new(topology: &'static str, fault: Option<Fault>, seed: u64) -> Self {
        Self { topology, fault, seed, healthy: 8, windows: 14, missing_agent: false, late: false }
    }
}

/// A run: its traffic, and the truth where there is a fault.
pub struct Run {
    pub topology: Topology,
    pub truth: Option<Truth>,
    pub plan: Plan,
    traffic: Traffic,
    names: Vec<names::Asking>,
}

/// What acts on a pod pair, as shares and sizes.
pub struct Acting {
    pub kind: Kind,
    pub degree: Degree,
    pub component: Component,
    /// Seconds after the start.
    pub at_s: f64,
}

pub fn start() -> DateTime<Utc> {
    Utc.timestamp_opt(1_800_000_000, 0).single().expect("a moment")
}

impl Run {
    pub fn new(plan: Plan) -> Self {
        let topology = Topology::new(Spec::built_in(plan.topology).expect("built in")).expect("sound");
        let mut rng = StdRng::seed_from_u64(plan.seed.wrapping_mul(0x9e37_79b9).wrapping_add(17));
        let acting = plan.fault.as_ref().map(|fault| {
            let component = fault.resolve(&topology, plan.seed).expect("applies");
            let at_s = (plan.healthy as i64 * WINDOW_S) as f64 + rng.random_range(0.0..WINDOW_S as f64);
            Acting { kind: fault.kind, degree: degree(fault.kind, fault.strength), component, at_s }
        });
        let truth = plan.fault.as_ref().zip(acting.as_ref()).map(|(fault, acting)| {
            let at = start() + Duration::milliseconds((acting.at_s * 1000.0) as i64);
            Truth::new(&topology, fault, &acting.component, at)
        });
        let traffic = Traffic::simulate(&topology, acting.as_ref(), &plan, &mut rng);
        let names = names::simulate(&topology, acting.as_ref(), &plan);
        Self { topology, truth, plan, traffic, names }
    }

    /// End of the last window.
    pub fn end(&self) -> DateTime<Utc> {
        start() + Duration::seconds(self.plan.windows as i64 * WINDOW_S)
    }

    /// The answer to a query at the moment `now`: only what has arrived by then.
    pub fn answer(&self, query: &EdgeQuery) -> EdgeTable {
        table::answer(&self.topology, &self.traffic, &self.names, query)
    }

    /// With what is asked for beside it.
    pub fn answer_both(&self, query: &EdgeQuery, dns: &EdgeQuery) -> EdgeTable {
        let mut table = self.answer(query);
        table.join(self.answer(dns));
        table
    }

    pub fn coverage(&self) -> Coverage {
        let (reported, expected) = self.traffic.reports(self.topology.nodes.len());
        let silent = (0..self.topology.nodes.len()).filter_map(|n| {
            let last = (0..self.plan.windows).rev().find(|&w| self.traffic.reports_at(n, w));
            let at = start() + Duration::seconds(last.map_or(0, |w| w as i64 + 1) * WINDOW_S);
            (at + Duration::seconds(Coverage::SILENT_INTERVALS * WINDOW_S) < self.end()).then(|| (self.topology.nodes[n].name.clone(), at))
        });
        Coverage {
            fraction: reported as f64 / expected as f64,
            agents_reporting: self.topology.nodes.len(),
            agents_expected: self.topology.nodes.len(),
            silent: silent.collect(),
            left: Default::default(),
            losses: Default::default(),
        }
    }
}
