//! A simulator in the kernel's place, for machines without BPF: cumulative readings of conversations that never were, through the same path as real ones.
//!
//! A [`World`] holds all conversations; each agent's [`SimSource`] sees the ends in its own namespaces, so that both ends of one tell the same story. What the agent
//! ships says `simulated`, and so does everything that shows it.

use crate::source::{Area, Areas, Source};
use edgescope_identity::host::Listing;
use edgescope_model::histogram::bucket_of;
use edgescope_probe::{Comm, Counters, FlowKey, FlowReading, Hist, Listener, Losses, Pass, ProbeError, Protocol, Role};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What the hook list says in place of the kernel's hooks.
pub const HOOK: &str = "simulated: no kernel was read";
/// Payload bytes of one full segment.
const SEGMENT_BYTES: u64 = 1_448;
/// Longest time made up at once: a world that was not asked for longer than this stood still.
const STEP_MAX: Duration = Duration::from_secs(60);
/// How long a server takes to answer.
const RESPONSE_US: u64 = 5_000;
/// After so long a client gives up connecting.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// One end of a conversation.
#[derive(Debug, Clone)]
pub struct SimEnd {
    pub netns: u32,
    pub address: IpAddr,
    pub process: String,
}

/// A client that asks a server again and again.
#[derive(Debug, Clone)]
pub struct Talk {
    pub client: SimEnd,
    pub server: SimEnd,
    pub port: u16,
    pub requests_per_s: f64,
    pub request_bytes: u64,
    pub response_bytes: u64,
    pub rtt_us: u64,
    /// Connections that are kept open; 0: a new one for each request.
    pub kept_open: u32,
}

/// What the network does to a talk.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Weather {
    /// Share of segments lost, 0..=1; at 1 nothing passes.
    pub loss: f64,
    /// Added to the round trip.
    pub delay_us: u64,
    /// Connections are answered by a reset.
    pub refused: bool,
    /// Share of the usual requests that are not made.
    pub quiet: f64,
}

#[derive(Debug, Default)]
struct Flow {
    counters: Counters,
    rtt: BTreeMap<u16, u64>,
    handshake: BTreeMap<u16, u64>,
    extremes_us: Option<(u32, u32)>,
}

#[derive(Debug)]
struct State {
    talks: Vec<(Talk, Weather)>,
    flows: BTreeMap<FlowKey, Flow>,
    random: StdRng,
    at: Instant,
    /// Parts of requests that are still to come, by talk.
    due: Vec<f64>,
}

/// All conversations; clones are the same world.
#[derive(Debug, Clone)]
pub struct World(Arc<Mutex<State>>);

impl World {
    pub fn new(talks: Vec<Talk>, seed: u64) -> Self {
        let due = vec![0.0; talks.len()];
        let talks = talks.into_iter().map(|talk| (talk, Weather::default())).collect();
        Self(Arc::new(Mutex::new(State { talks, flows: BTreeMap::new(), random: StdRng::seed_from_u64(seed), at: Instant::now(), due })))
    }

    /// Changes the weather of the talks that `which` picks.
    pub fn set_weather(&self, weather: Weather, which: impl Fn(&Talk) -> bool) {
        let mut state = self.lock();
        state.catch_up(Instant::now());
        state.talks.iter_mut().filter(|(talk, _)| which(talk)).for_each(|(_, now)| *now = weather);
    }

    /// Makes up what happens in so much time.
    pub fn pass(&self, time: Duration) {
        self.lock().advance(time);
    }

    /// A source that sees the ends in these namespaces.
    pub fn source(&self, areas: Vec<Area>) -> SimSource {
        SimSource { world: self.clone(), areas, by_the_clock: true }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn catch_up(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.at).min(STEP_MAX);
        self.at = now;
        self.advance(passed);
    }

    fn advance(&mut self, time: Duration) {
        for at in 0..self.talks.len() {
            let (talk, weather) = self.talks[at].clone();
            let jitter = self.random.random_range(0.9..1.1);
            self.due[at] += talk.requests_per_s * time.as_secs_f64() * jitter * (1.0 - weather.quiet);
            let requests = self.due[at].floor();
            self.due[at] -= requests;
            self.talk(&talk, weather, requests as u64, time);
        }
    }

    fn talk(&mut self, talk: &Talk, weather: Weather, requests: u64, time: Duration) {
        let open_ms = u64::from(talk.kept_open) * time.as_millis() as u64;
        let down = weather.loss >= 1.0;
        let passing = if down || (weather.refused && talk.kept_open == 0) { 0 } else { requests };
        let rtt_us = talk.rtt_us + weather.delay_us;
        for (role, out, back) in [(Role::Client, talk.request_bytes, talk.response_bytes), (Role::Server, talk.response_bytes, talk.request_bytes)] {
            let segments = passing * out.div_ceil(SEGMENT_BYTES);
            let lost = self.share(segments, weather.loss);
            let samples: Vec<u64> = (0..passing.min(1_000)).map(|_| (rtt_us as f64 * self.random.random_range(0.95..1.2)) as u64).collect();
            let flow = self.flows.entry(key_of(talk, role)).or_default();
            let counters = &mut flow.counters;
            counters.bytes_sent += passing * out;
            counters.bytes_received += passing * back;
            counters.segs_sent += segments + lost;
            counters.segs_received += passing * back.div_ceil(SEGMENT_BYTES);
            counters.retrans_segs += lost;
            counters.retrans_bytes += lost * out.min(SEGMENT_BYTES);
            counters.rto += lost / 4;
            counters.busy_us += passing * rtt_us;
            counters.active_ms += if talk.kept_open > 0 { open_ms } else { passing * rtt_us / 500 };
            counters.stalled_ms += if down && role == Role::Client { open_ms } else { 0 };
            counters.srtt_us_sum += rtt_us * u64::from(passing > 0);
            counters.srtt_samples += u64::from(passing > 0);
            if role == Role::Server {
                counters.response_us += passing * RESPONSE_US;
                counters.responses += passing;
            }
            flow.sample(&samples);
        }
        if talk.kept_open == 0 {
            self.connect(talk, weather, requests, rtt_us);
        }
    }

    /// The connections of a talk that opens one for each request.
    fn connect(&mut self, talk: &Talk, weather: Weather, requests: u64, rtt_us: u64) {
        let down = weather.loss >= 1.0;
        let syn_lost = if down { requests * (CONNECT_TIMEOUT.as_secs()) } else { self.share(requests, weather.loss) };
        let client = self.flows.entry(key_of(talk, Role::Client)).or_default();
        let counters = &mut client.counters;
        counters.connect_attempts += requests;
        counters.retrans_syn += syn_lost;
        counters.retrans_segs += syn_lost;
        if down {
            counters.connect_timeout += requests;
        } else if weather.refused {
            counters.connect_refused += requests;
            counters.resets_received += requests;
        } else {
            counters.connect_established += requests;
            counters.closes += requests;
            *client.handshake.entry(bucket_of(rtt_us)).or_default() += requests;
            let server = self.flows.entry(key_of(talk, Role::Server)).or_default();
            server.counters.accepts += requests;
            server.counters.closes += requests;
        }
    }

    /// A share of a number, rounded up or down at random so that small ones are right on average.
    fn share(&mut self, of: u64, share: f64) -> u64 {
        let exact = of as f64 * share.clamp(0.0, 0.9);
        exact.floor() as u64 + u64::from(self.random.random_bool(exact.fract()))
    }
}

impl Flow {
    fn sample(&mut self, samples_us: &[u64]) {
        for &us in samples_us {
            *self.rtt.entry(bucket_of(us)).or_default() += 1;
            let us = u32::try_from(us).unwrap_or(u32::MAX);
            self.extremes_us = Some(self.extremes_us.map_or((us, us), |(least, most)| (least.min(us), most.max(us))));
        }
    }

    fn reading(&mut self, key: FlowKey) -> FlowReading {
        let extremes_us = self.extremes_us.take();
        let list = |buckets: &BTreeMap<u16, u64>| (!buckets.is_empty()).then(|| buckets.iter().map(|(&bucket, &count)| (bucket, count)).collect());
        FlowReading {
            key,
            counters: self.counters,
            rtt: list(&self.rtt).map(|buckets| Hist {
                buckets,
                max_us: extremes_us.map(|(_, most)| most),
                min_us: extremes_us.map(|(least, _)| least),
            }),
            handshake: list(&self.handshake).map(|buckets| Hist { buckets, max_us: None, min_us: None }),
            duration: None,
        }
    }
}

fn key_of(talk: &Talk, role: Role) -> FlowKey {
    let (near, far) = if role == Role::Client { (&talk.client, &talk.server) } else { (&talk.server, &talk.client) };
    FlowKey {
        netns: near.netns,
        cgroup: 0,
        comm: Comm::new(&near.process),
        local: near.address,
        remote: far.address,
        service_port: talk.port,
        client_port: 0,
        role,
        role_inferred: false,
        masked: false,
        is_dns: false,
        protocol: Protocol::Tcp,
    }
}

/// What one agent sees of a world.
pub struct SimSource {
    world: World,
    areas: Vec<Area>,
    by_the_clock: bool,
}

impl SimSource {
    /// Time passes only by [`World::pass`].
    pub fn stepped(mut self) -> Self {
        self.by_the_clock = false;
        self
    }

    fn sees(&self, netns: u32) -> bool {
        self.areas.iter().any(|area| area.inode == netns)
    }
}

impl Source for SimSource {
    fn hooks(&self) -> Vec<String> {
        vec![HOOK.to_owned()]
    }

    /// The world begins anew with every process.
    fn epoch(&self) -> u64 {
        Arc::as_ptr(&self.world.0) as usize as u64 ^ u64::from(std::process::id()) << 48
    }

    fn adopted(&self) -> bool {
        false
    }

    fn look_around(&mut self) -> Result<Areas, ProbeError> {
        Ok(Areas { areas: self.areas.clone(), ..Areas::default() })
    }

    fn read(&mut self, _window: u32) -> Result<Pass, ProbeError> {
        let started = Instant::now();
        let mut state = self.world.lock();
        if self.by_the_clock {
            state.catch_up(started);
        }
        let listeners: BTreeSet<(u32, u16, String)> =
            state.talks.iter().map(|(talk, _)| (talk.server.netns, talk.port, talk.server.process.clone())).collect();
        let listener =
            |(netns, port, process): (u32, u16, String)| Listener { netns, addr: None, port, comm: Comm::new(&process), cgroup: 0, tgid: 0 };
        let flows = state.flows.iter_mut().filter(|(key, _)| self.sees(key.netns)).map(|(key, flow)| flow.reading(*key));
        Ok(Pass {
            flows: flows.collect(),
            losses: Losses::default(),
            missed_runs: Some(0),
            sockets: state.talks.iter().filter(|(talk, _)| self.sees(talk.client.netns)).map(|(talk, _)| u64::from(talk.kept_open)).sum(),
            took: started.elapsed(),
            listeners: listeners.into_iter().filter(|(netns, ..)| self.sees(*netns)).map(listener).collect(),
            rtt_sampled: false,
            previous_window: None,
            drops: Vec::new(),
        })
    }

    fn forget(&mut self, keys: &[FlowKey]) -> Result<Vec<FlowReading>, ProbeError> {
        let mut state = self.world.lock();
        Ok(keys.iter().filter_map(|key| state.flows.remove(key).map(|mut flow| flow.reading(*key))).collect())
    }

    fn split(&mut self, _addresses: &[IpAddr]) -> Result<(), ProbeError> {
        Ok(())
    }

    fn cgroups(&mut self) -> Listing<HashMap<u64, String>> {
        Listing::default()
    }
}
