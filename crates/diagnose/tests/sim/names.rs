//! Questions of DNS: what every client pod asks every resolver in every window, and what comes of it.

use super::traffic::{Side, binomial, poisson};
use super::{Acting, Plan, WINDOW_S};
use edgescope_testbed::Kind;
use edgescope_testbed::strength::Degree;
use edgescope_testbed::topology::{Flow, Topology};
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::collections::BTreeSet;

/// A process asks for each of its targets every two seconds, one resolver or the other.
const QUESTIONS_PER_S: f64 = 0.5;

/// One client pod and one resolver, by window.
pub struct Asking {
    pub client: usize,
    pub resolver: usize,
    pub windows: Vec<Side>,
}

pub fn simulate(topology: &Topology, acting: Option<&Acting>, plan: &Plan) -> Vec<Asking> {
    // Dice of its own, so that the traffic is the same with and without.
    let mut rng = StdRng::seed_from_u64(plan.seed ^ 0x0d05);
    let resolvers: Vec<usize> = topology.resolvers().map(|(pod, _)| pod).collect();
    let clients: BTreeSet<usize> = topology.conversations().iter().map(|talk| talk.client).collect();
    let pairs = clients.into_iter().flat_map(|client| resolvers.iter().map(move |&resolver| (client, resolver)));
    pairs
        .map(|(client, resolver)| {
            let targets = topology.calls.iter().filter(|call| call.from == topology.pods[client].workload).count() as f64;
            let rate = QUESTIONS_PER_S * targets / resolvers.len() as f64;
            let windows = (0..plan.windows).map(|window| asked(topology, acting, (client, resolver), rate, window, &mut rng)).collect();
            Asking { client, resolver, windows }
        })
        .collect()
}

fn asked(topology: &Topology, acting: Option<&Acting>, (client, resolver): (usize, usize), rate: f64, window: usize, rng: &mut StdRng) -> Side {
    let begins_s = (window as i64 * WINDOW_S) as f64;
    let ill_share = acting.map_or(0.0, |a| (begins_s + WINDOW_S as f64 - a.at_s).clamp(0.0, WINDOW_S as f64) / WINDOW_S as f64);
    let mut side = Side::default();
    for (share, ill) in [(1.0 - ill_share, None), (ill_share, acting)] {
        let (lost, failed) = ill.map_or((0.0, 0.0), |a| fate(topology, a, client, resolver));
        let questions = poisson(rate * share * WINDOW_S as f64, rng);
        let unanswered = binomial(questions, lost, rng);
        let servfail = binomial(questions - unanswered, failed, rng);
        for (name, value) in [("dns.requests", questions), ("dns.timeouts", unanswered), ("dns.servfail", servfail)] {
            *side.values.entry(name).or_default() += value;
        }
    }
    side
}

/// Probabilities that a question gets no answer, and an error if it gets one.
fn fate(topology: &Topology, acting: &Acting, client: usize, resolver: usize) -> (f64, f64) {
    let passes = [Flow { from: client, to: resolver }, Flow { from: resolver, to: client }].map(|f| acting.component.carries(topology, f));
    let ways = passes.iter().filter(|passes| **passes).count() as i32;
    match (acting.kind, acting.degree) {
        (Kind::Dns, Degree::Mute) => (1.0, 0.0),
        (Kind::Dns, Degree::ServfailPercent(p)) => (0.0, f64::from(p) / 100.0),
        (Kind::Loss, Degree::DropPer10k(n)) => (1.0 - (1.0 - f64::from(n) / 1e4).powi(ways), 0.0),
        (Kind::Blackhole, Degree::FlowsPercent(p)) if ways > 0 => (f64::from(p) / 100.0, 0.0),
        _ => (0.0, 0.0),
    }
}
