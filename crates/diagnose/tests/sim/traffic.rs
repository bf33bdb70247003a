//! What every pod pair does in every window.

use super::{Acting, Plan, WINDOW_S};
use edgescope_testbed::Kind;
use edgescope_testbed::component::Component;
use edgescope_testbed::strength::Degree;
use edgescope_testbed::topology::{Flow, Topology};
use rand::Rng;
use rand::rngs::StdRng;
use std::collections::HashMap;

/// Payload of a segment.
const SEGMENT_BYTES: f64 = 1_448.0;
/// Calls to a target that a client has under way at most.
const UNDER_WAY_MAX: f64 = 64.0;
/// Share of calls on new connections.
const NEW_SHARE: f64 = 0.5;

/// Counters of one pod pair in one window, both ways; what is not measured stays `None`.
#[derive(Clone, Debug, Default)]
pub struct Pair {
    pub there: Side,
    pub back: Side,
}

/// One direction's counters, by catalogue name (with side).
#[derive(Clone, Debug, Default)]
pub struct Side {
    pub values: HashMap<&'static str, f64>,
}

impl Side {
    fn add(&mut self, name: &'static str, value: f64) {
        if value > 0.0 {
            *self.values.entry(name).or_default() += value;
        }
    }
}

/// All pairs by window, and who reported.
pub struct Traffic {
    /// By conversation (as in `Topology::conversations`), by window.
    pub pairs: Vec<Vec<Pair>>,
    /// By node, by window.
    reports: Vec<Vec<bool>>,
}

impl Traffic {
    pub fn reports_at(&self, node: usize, window: usize) -> bool {
        self.reports[node].get(window).copied().unwrap_or(false)
    }

    /// Windows reported, and expected.
    pub fn reports(&self, nodes: usize) -> (usize, usize) {
        (self.reports.iter().flatten().filter(|r| **r).count(), nodes * self.reports[0].len())
    }

    pub fn simulate(topology: &Topology, acting: Option<&Acting>, plan: &Plan, rng: &mut StdRng) -> Self {
        let conversations = topology.conversations();
        let mut world = World {
            topology,
            acting,
            pools: vec![1.0; conversations.len()],
            bias: (0..conversations.len()).map(|_| rng.random_range(0.85..1.15)).collect(),
        };
        let mut pairs = vec![vec![Pair::default(); plan.windows]; conversations.len()];
        for window in 0..plan.windows {
            let begins_s = (window as i64 * WINDOW_S) as f64;
            let struck_s = acting.map_or(f64::INFINITY, |a| a.at_s);
            let healthy_s = (struck_s - begins_s).clamp(0.0, WINDOW_S as f64);
            for (length_s, ill, since_s) in [(healthy_s, false, 0.0), (WINDOW_S as f64 - healthy_s, true, begins_s + healthy_s - struck_s)] {
                if length_s > 0.01 {
                    world.pass(length_s, ill, since_s, window, &mut pairs, rng);
                }
            }
        }
        Self { pairs, reports: reports(topology, acting, plan, rng) }
    }
}

/// Which agents' windows have arrived: those cut off by a blackhole of their node or zone have not.
fn reports(topology: &Topology, acting: Option<&Acting>, plan: &Plan, rng: &mut StdRng) -> Vec<Vec<bool>> {
    let missing = plan.missing_agent.then(|| rng.random_range(0..topology.nodes.len()));
    let late = plan.late.then(|| rng.random_range(0..topology.nodes.len()));
    let cut = |node: usize| {
        acting.is_some_and(|a| {
            let strikes = matches!(a.degree, Degree::FlowsPercent(100)) && a.kind == Kind::Blackhole;
            strikes && (a.component == Component::Node(node) || a.component == Component::Zone(topology.nodes[node].zone))
        })
    };
    let arrived = |node: usize, window: usize| {
        let struck = acting.is_some_and(|a| ((window as i64 + 1) * WINDOW_S) as f64 > a.at_s);
        missing != Some(node) && !(cut(node) && struck) && !(late == Some(node) && window + 2 > plan.windows)
    };
    (0..topology.nodes.len()).map(|n| (0..plan.windows).map(|w| arrived(n, w)).collect()).collect()
}

struct World<'a> {
    topology: &'a Topology,
    acting: Option<&'a Acting>,
    /// Kept connections by conversation.
    pools: Vec<f64>,
    /// A pair's own share of its call's traffic.
    bias: Vec<f64>,
}

/// What a fault does to one pod pair.
#[derive(Clone, Copy, Debug, Default)]
struct Hit {
    /// Probability that a packet is lost, each way.
    lost: [f64; 2],
    /// Share of flows that vanish, each way.
    cut: [f64; 2],
    refused: f64,
    /// Added to the round trip.
    delay_s: f64,
    down: bool,
    think_s: f64,
    /// The reader's rate, at the server (requests) and at the client (responses).
    reads: [Option<f64>; 2],
    demand: f64,
}

impl World<'_> {
    fn hit(&self, client: usize, server: usize, to: &str) -> Hit {
        let mut hit = Hit { demand: 1.0, ..Hit::default() };
        let Some(acting) = self.acting else { return hit };
        let pods = &self.topology.pods;
        let (there, back) = (Flow { from: client, to: server }, Flow { from: server, to: client });
        let carries = [there, back].map(|f| acting.component.carries(self.topology, f));
        let owns = |pod: usize| match &acting.component {
            Component::Pod(p) => pod == *p,
            Component::Workload(w) => pods[pod].workload == *w,
            _ => false,
        };
        let share = |yes: bool, value: f64| if yes { value } else { 0.0 };
        match (acting.kind, acting.degree) {
            // Whoever knows no address asks nobody.
            (Kind::Dns, Degree::Mute | Degree::ServfailPercent(100)) => hit.demand = 0.05,
            (Kind::Loss, Degree::DropPer10k(n)) => hit.lost = carries.map(|c| share(c, f64::from(n) / 1e4)),
            (Kind::Blackhole, Degree::FlowsPercent(p)) => hit.cut = carries.map(|c| share(c, f64::from(p) / 100.0)),
            (Kind::Refused, Degree::FlowsPercent(p)) => hit.refused = share(carries[0], f64::from(p) / 100.0),
            (_, Degree::RttAddedUs(us)) => {
                let apart = pods[client].node != pods[server].node;
                hit.delay_s = share(apart && (carries[0] || carries[1]), f64::from(us) / 1e6);
            }
            (_, Degree::Gone) => hit.down = owns(server),
            (_, Degree::ThinkAddedUs(us)) => hit.think_s = share(owns(server), f64::from(us) / 1e6),
            (_, Degree::ReadBytesPerS(rate)) => hit.reads = [owns(server), owns(client)].map(|o| o.then_some(f64::from(rate))),
            (_, Degree::DemandPercent(p)) => {
                let asks_less = match &acting.component {
                    Component::Edge(a, b) => pods[client].workload == *a && to == b,
                    _ => owns(client),
                };
                hit.demand = if asks_less { f64::from(p) / 100.0 } else { 1.0 };
            }
            _ => {}
        }
        hit
    }

    /// One stretch of time with or without the fault.
    fn pass(&mut self, length_s: f64, ill: bool, since_s: f64, window: usize, pairs: &mut [Vec<Pair>], rng: &mut StdRng) {
        let topology = self.topology;
        let spec = &topology.spec;
        let gone = |pod: usize| {
            ill && self.acting.is_some_and(|a| {
                a.degree == Degree::Gone
                    && match &a.component {
                        Component::Pod(p) => pod == *p,
                        Component::Workload(w) => topology.pods[pod].workload == *w,
                        _ => false,
                    }
            })
        };
        // Requests a second that each pod handles, and how long one takes; callers come before callees in the built-in specs.
        let mut handled = vec![0.0; topology.pods.len()];
        for service in spec.services.iter().filter(|s| s.is_load_generator()) {
            let replicas: Vec<usize> = topology.replicas(&service.name).map(|(p, _)| p).collect();
            replicas.iter().for_each(|&p| handled[p] = spec.rate_per_s / replicas.len() as f64 * rng.random_range(0.95..1.05));
        }
        let conversations = topology.conversations();
        let mut order: Vec<usize> = (0..topology.calls.len()).collect();
        let depth = depths(topology);
        order.sort_by_key(|&c| depth[&topology.calls[c].from]);
        let mut rates = vec![0.0; conversations.len()];
        for call in order {
            let row = &topology.calls[call];
            for (client, _) in topology.replicas(&row.from) {
                let mine: Vec<usize> =
                    (0..conversations.len()).filter(|&i| conversations[i].call == call && conversations[i].client == client).collect();
                if gone(client) {
                    continue;
                }
                let hits: Vec<Hit> = mine
                    .iter()
                    .map(|&i| if ill { self.hit(client, conversations[i].server, &row.to) } else { Hit { demand: 1.0, ..Hit::default() } })
                    .collect();
                let fails: Vec<f64> = hits.iter().map(fail_share).collect();
                let asked = handled[client] * row.probability * hits[0].demand;
                let each = asked / mine.len() as f64;
                for (at, &i) in mine.iter().enumerate() {
                    let previous = (at + mine.len() - 1) % mine.len();
                    let retries = if mine.len() > 1 { each * fails[previous] } else { each * fails[at] };
                    // Calls that hang keep a place among those under way.
                    let hang_s = f64::from(row.connect_timeout_ms) / 1e3;
                    let hanging: f64 = hits.iter().map(|h| h.cut[0].max(h.cut[1])).sum::<f64>() / mine.len() as f64;
                    let ceiling = if hanging > 0.0 { UNDER_WAY_MAX / (hang_s * mine.len() as f64 * hanging) } else { f64::INFINITY };
                    rates[i] = ((each + retries) * self.bias[i]).min(ceiling);
                    handled[conversations[i].server] += rates[i] * (1.0 - fails[at]);
                }
            }
        }
        let times = self.times(ill);
        for (i, talk) in conversations.iter().enumerate() {
            let row = &topology.calls[talk.call];
            let hit = if ill { self.hit(talk.client, talk.server, &row.to) } else { Hit { demand: 1.0, ..Hit::default() } };
            let response_bytes = f64::from(spec.service(&row.to).expect("known").response_bytes);
            let wire = Wire {
                rate: rates[i],
                length_s,
                since_s,
                hit,
                round_trip_s: self.round_trip_s(talk.client, talk.server),
                serve_s: times[talk.server],
                bytes: [f64::from(row.request_bytes), response_bytes],
                give_up_s: f64::from(row.connect_timeout_ms) / 1e3,
                client_gone: gone(talk.client),
                server_gone: gone(talk.server),
            };
            wire.fill(&mut pairs[i][window], &mut self.pools[i], rng);
        }
    }

    fn round_trip_s(&self, client: usize, server: usize) -> f64 {
        let (a, b) = (self.topology.pods[client].node, self.topology.pods[server].node);
        2.0 * f64::from(self.topology.delay_us(a, b)) / 1e6 + 0.000_1
    }

    /// Mean seconds from request to answer, by pod: thinking, and its calls one after the other.
    fn times(&self, ill: bool) -> Vec<f64> {
        let topology = self.topology;
        let mut times = vec![0.0; topology.pods.len()];
        let depth = depths(topology);
        let mut services: Vec<_> = topology.spec.services.iter().collect();
        services.sort_by_key(|s| std::cmp::Reverse(depth[&s.name]));
        for service in services {
            for (pod, _) in topology.replicas(&service.name) {
                let mut total = f64::from(service.think_us) / 1e6;
                for call in topology.calls.iter().filter(|c| c.from == service.name) {
                    let servers: Vec<usize> = topology.replicas(&call.to).map(|(p, _)| p).collect();
                    let one = |&server: &usize| {
                        let hit = if ill { self.hit(pod, server, &call.to) } else { Hit::default() };
                        let loss = 1.0 - (1.0 - hit.lost[0]) * (1.0 - hit.lost[1]);
                        let waits = hit.cut[0].max(hit.cut[1]) * f64::from(call.connect_timeout_ms) / 1e3
                            + loss * 0.4
                            + slow_read_s(&hit, 0, call.request_bytes);
                        1.5 * (self.round_trip_s(pod, server) + hit.delay_s) + times[server] + hit.think_s + waits
                    };
                    total += call.probability * servers.iter().map(one).sum::<f64>() / servers.len() as f64;
                }
                times[pod] = total;
            }
        }
        times
    }
}

fn slow_read_s(hit: &Hit, way: usize, bytes: u32) -> f64 {
    hit.reads[way].map_or(0.0, |rate| f64::from(bytes) / rate)
}

fn fail_share(hit: &Hit) -> f64 {
    if hit.down { 1.0 } else { hit.refused.max(hit.cut[0]).max(hit.cut[1]) }
}

/// Length of the longest chain of callers above a service.
fn depths(topology: &Topology) -> HashMap<String, usize> {
    let mut depth: HashMap<String, usize> = topology.spec.services.iter().map(|s| (s.name.clone(), 0)).collect();
    for _ in 0..topology.spec.services.len() {
        for call in &topology.calls {
            let below = depth[&call.from] + 1;
            let d = depth.get_mut(&call.to).expect("known");
            *d = (*d).max(below);
        }
    }
    depth
}

/// One pod pair in one stretch of time.
struct Wire {
    rate: f64,
    length_s: f64,
    since_s: f64,
    hit: Hit,
    round_trip_s: f64,
    serve_s: f64,
    bytes: [f64; 2],
    give_up_s: f64,
    client_gone: bool,
    server_gone: bool,
}

impl Wire {
    fn fill(&self, pair: &mut Pair, pool: &mut f64, rng: &mut StdRng) {
        if self.client_gone {
            *pool = 0.0;
            return;
        }
        let requests = poisson(self.rate * self.length_s, rng);
        let new = binomial(requests, NEW_SHARE, rng);
        let kept = requests - new;
        let established = self.connect(pair, new, rng);
        if self.server_gone {
            *pool = 0.0;
            return;
        }
        let cut = self.hit.cut[0].max(self.hit.cut[1]);
        let kept = kept * (1.0 - cut) * (1.0 - self.hit.refused);
        let served = established + kept;
        self.data(pair, served, rng);
        self.stall(pair, *pool, rng);
        self.open(pair, established, kept, pool, rng);
        self.trips(pair, established, served, rng);
    }

    /// Returns how many connections came to be.
    fn connect(&self, pair: &mut Pair, new: f64, rng: &mut StdRng) -> f64 {
        let hit = &self.hit;
        // Calls on kept connections that broke go on as new ones.
        let new = new + if hit.refused > 0.0 || self.server_gone { poisson(self.rate * self.length_s * 0.4, rng) } else { 0.0 };
        pair.there.add("tcp.connects", new);
        if hit.down || self.server_gone {
            pair.there.add("tcp.connects_refused", new);
            pair.back.add("tcp.resets.sent", new);
            pair.back.add("tcp.resets.received", new);
            return 0.0;
        }
        let refused = binomial(new, hit.refused, rng);
        pair.there.add("tcp.connects_refused", refused);
        pair.back.add("tcp.resets.received", refused);
        let cut = binomial(new - refused, hit.cut[0].max(hit.cut[1]), rng);
        let gave_up = if self.give_up_s < 1.05 { ("tcp.connects_cancelled", 0.0) } else { ("tcp.connect_timeouts", (self.give_up_s - 0.05).floor()) };
        pair.there.add(gave_up.0, cut);
        pair.there.add("tcp.retrans_syn", cut * gave_up.1);
        pair.there.add("tcp.retrans", cut * gave_up.1);
        if hit.cut[0] < hit.cut[1] {
            // SYNs arrive, answers do not.
            pair.back.add("tcp.retrans_synack", cut * 2.0);
            pair.back.add("tcp.retrans", cut * 2.0);
        }
        let whole = new - refused - cut;
        let lost = binomial(whole, 1.0 - (1.0 - hit.lost[0]) * (1.0 - hit.lost[1]), rng);
        let hopeless = if self.give_up_s < 1.05 { lost } else { binomial(lost, 1.0 - (1.0 - hit.lost[0]) * (1.0 - hit.lost[1]), rng) };
        pair.there.add(gave_up.0, hopeless);
        pair.there.add("tcp.retrans_syn", lost - if self.give_up_s < 1.05 { hopeless } else { 0.0 });
        pair.there.add("tcp.retrans", lost - if self.give_up_s < 1.05 { hopeless } else { 0.0 });
        let synacks = binomial(whole, hit.lost[1], rng);
        pair.back.add("tcp.retrans_synack", synacks);
        pair.back.add("tcp.retrans", synacks);
        let established = whole - hopeless;
        pair.there.add("tcp.connects_established", established);
        pair.there.add("tcp.accepts", established);
        established
    }

    fn data(&self, pair: &mut Pair, served: f64, rng: &mut StdRng) {
        let sides = [&mut pair.there, &mut pair.back];
        for (way, side) in sides.into_iter().enumerate() {
            let segments = (served * (self.bytes[way] / SEGMENT_BYTES).ceil()).round();
            let (out, back) = (self.hit.lost[way], self.hit.lost[1 - way]);
            let lost = binomial(segments, out, rng);
            // Probes for lost acknowledgements: mostly reported as duplicates.
            let probes = binomial(segments, back * 0.2 + 0.000_3, rng);
            let burst = if rng.random_bool(0.004) { rng.random_range(1..5) as f64 } else { 0.0 };
            // A closed window's edge drops a little.
            let edge = if self.hit.reads[way].is_some() && self.bytes[way] >= 2_500.0 { binomial(segments, 0.02, rng) } else { 0.0 };
            let again = lost + binomial(lost, 0.15, rng) + probes + burst + edge;
            side.add("tcp.segments.sent", segments + again);
            side.add("tcp.segments.received", segments + probes);
            side.add("tcp.retrans", again);
            side.add("tcp.retrans_spurious", binomial(probes, 0.8, rng) + binomial(burst, 0.5, rng));
            side.add("tcp.bytes.sent", served * self.bytes[way]);
            side.add("tcp.bytes.received", served * self.bytes[way]);
            side.add("tcp.bytes", served * self.bytes[way]);
            let busy = served * (self.round_trip_s + self.hit.delay_s + if self.hit.lost[way] > 0.0 { 0.01 } else { 0.0 });
            let blocked =
                self.hit.reads[way].filter(|_| self.bytes[way] >= 2_500.0).map_or(0.0, |rate| served * (self.bytes[way] - 2_300.0).max(0.0) / rate);
            side.add("tcp.busy", busy + blocked);
            side.add("tcp.blocked_rwnd", blocked);
        }
    }

    /// Kept connections that are cut wait for acknowledgements until the call's time-out, 5 s.
    fn stall(&self, pair: &mut Pair, pool: f64, rng: &mut StdRng) {
        let cut = self.hit.cut[0].max(self.hit.cut[1]);
        if cut <= 0.0 || self.since_s > 6.0 {
            return;
        }
        let hung = binomial(pool.ceil(), cut, rng);
        let side = if self.hit.cut[0] > 0.0 { &mut pair.there } else { &mut pair.back };
        side.add("tcp.stalled", hung * 4.0);
        side.add("tcp.segments.sent", hung * 5.0);
        side.add("tcp.retrans", hung * 4.0);
    }

    fn open(&self, pair: &mut Pair, established: f64, kept: f64, pool: &mut f64, rng: &mut StdRng) {
        let lasts_s = self.serve_s
            + self.hit.think_s
            + 2.0 * (self.round_trip_s + self.hit.delay_s)
            + slow_read_s(&self.hit, 0, self.bytes[0] as u32)
            + slow_read_s(&self.hit, 1, self.bytes[1] as u32);
        let under_way = kept / self.length_s * lasts_s;
        let wanted = (1.0 + under_way + 1.5 * under_way.sqrt()).min(8.0 + under_way);
        // Pools grow fast and shrink as idle connections time out.
        *pool = if wanted > *pool { wanted } else { *pool + (wanted - *pool) * (self.length_s / 30.0).min(1.0) };
        let open = *pool * self.length_s * rng.random_range(0.9..1.1) + established * lasts_s;
        pair.there.add("tcp.active", open);
        pair.back.add("tcp.active", open);
        // The last answer of each connection that ended and of each kept one that was used.
        let answers = established + kept.min(pool.ceil());
        let answer_s = (self.serve_s + self.hit.think_s + slow_read_s(&self.hit, 1, self.bytes[1] as u32))
            * (1.0 + 0.6 / answers.max(1.0).sqrt() * rng.random_range(-1.0..1.0));
        pair.back.add("tcp.responses", answers);
        pair.back.add("tcp.response_time", answers * answer_s);
    }

    fn trips(&self, pair: &mut Pair, established: f64, served: f64, rng: &mut StdRng) {
        let path_s = self.round_trip_s + self.hit.delay_s;
        let noisy = |samples: f64, spread_s: f64, rng: &mut StdRng| {
            let jitter = spread_s * (0.3 + rng.random::<f64>() + 2.0 / samples.max(1.0).sqrt() * rng.random::<f64>());
            jitter.max(0.0)
        };
        if established >= 1.0 {
            put(&mut pair.there, "tcp.handshake", path_s + noisy(established, 0.000_15, rng), path_s, established);
        }
        if served >= 1.0 {
            // On kept connections the answer carries the acknowledgement, after at most 40 ms.
            let answer_s = (self.serve_s + self.hit.think_s).min(0.040);
            let low_s = path_s + noisy(served, 0.000_1, rng) + if self.hit.think_s > 0.0 && rng.random_bool(0.3) { 0.01 } else { 0.0 };
            put(&mut pair.there, "tcp.rtt", low_s, path_s + answer_s, served * 1.5);
            put(&mut pair.back, "tcp.rtt", path_s + noisy(served, 0.000_1, rng), path_s + 0.001, served);
        }
    }
}

/// A low and a high value of a histogram and its count; a window that is part ill holds the mix.
fn put(side: &mut Side, name: &'static str, low_s: f64, high_s: f64, count: f64) {
    let keys: [&'static str; 3] = if name == "tcp.rtt" {
        ["tcp.rtt.p20", "tcp.rtt.p90", "tcp.rtt.count"]
    } else {
        ["tcp.handshake.p50", "tcp.handshake.p90", "tcp.handshake.count"]
    };
    let before = side.values.get(keys[2]).copied().unwrap_or(0.0);
    let share = count / (before + count);
    for (key, value) in [(keys[0], low_s), (keys[1], high_s.max(low_s))] {
        let mixed = side.values.get(key).map_or(value, |old| if share > 0.5 { value } else { *old });
        side.values.insert(key, mixed);
    }
    if name == "tcp.rtt" {
        let middle = (side.values[keys[0]] + side.values[keys[1]]) / 2.0;
        side.values.insert("tcp.rtt.p50", middle);
    }
    side.values.insert(keys[2], before + count);
}

/// Poisson by its normal twin above 30, by products below.
pub fn poisson(mean: f64, rng: &mut StdRng) -> f64 {
    if mean <= 0.0 {
        return 0.0;
    }
    if mean > 30.0 {
        return (mean + mean.sqrt() * normal(rng)).round().max(0.0);
    }
    let (limit, mut product, mut count) = ((-mean).exp(), rng.random::<f64>(), 0.0);
    while product > limit {
        product *= rng.random::<f64>();
        count += 1.0;
    }
    count
}

pub fn binomial(n: f64, p: f64, rng: &mut StdRng) -> f64 {
    let (n, p) = (n.max(0.0).round(), p.clamp(0.0, 1.0));
    if n > 60.0 && p * n > 10.0 && (1.0 - p) * n > 10.0 {
        return (n * p + (n * p * (1.0 - p)).sqrt() * normal(rng)).round().clamp(0.0, n);
    }
    // Rare events among many: Poisson's.
    match n > 60.0 {
        true if p < 0.1 => poisson(n * p, rng).min(n),
        true if p > 0.9 => n - poisson(n * (1.0 - p), rng).min(n),
        _ => (0..n as usize).filter(|_| rng.random::<f64>() < p).count() as f64,
    }
}

fn normal(rng: &mut StdRng) -> f64 {
    (0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0
}
