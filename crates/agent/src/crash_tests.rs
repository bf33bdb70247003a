//! The agent is killed before every step that it takes, again and again, while a model kernel counts on and a model server commits by sequence; at the end
//! the server has exactly what the kernel counted.

use crate::config::ScopeConfig;
use crate::counters::{Cumulative, Totals};
use crate::metrics::Metrics;
use crate::naming::Naming;
use crate::observer::Observer;
use crate::source::{Area, Areas, Source};
use crate::spool::{Limits, Spool, Step};
use crate::testing::key;
use edgescope_identity::directory::Span;
use edgescope_identity::host::Listing;
use edgescope_identity::local::Namer;
use edgescope_model::signal::TCP_BYTES;
use edgescope_model::wire::Batch;
use edgescope_probe::{Counters, Drops, FlowKey, FlowReading, Hist, Losses, Pass, ProbeError};
use proptest::prelude::*;
use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A flow's counters in the kernel.
#[derive(Debug, Default, PartialEq)]
struct Counted {
    totals: Totals,
    samples: u64,
    born: u32,
}

/// Counters that outlive the agent, like pinned maps.
#[derive(Debug, Default)]
struct Kernel {
    flows: HashMap<FlowKey, Counted>,
    births: u32,
    adopted: bool,
    read: bool,
    /// Round trips ever sampled.
    samples: u64,
    drops: u64,
    missed_runs: u64,
    /// Namespaces, addresses and cgroups beyond what is looked at.
    beyond: [u64; 3],
    /// Everything ever counted, forgotten flows included.
    truth: HashMap<FlowKey, u64>,
}

impl Kernel {
    fn send(&mut self, n: u8, bytes: u64) {
        let births = &mut self.births;
        let flow = self.flows.entry(key(n)).or_insert_with(|| {
            *births += 1;
            Counted { born: *births, ..Counted::default() }
        });
        flow.totals.0[0] += bytes;
        flow.samples += 1;
        self.samples += 1;
        *self.truth.entry(key(n)).or_default() += bytes;
    }
}

#[derive(Debug, Clone, Default)]
struct ModelSource(Arc<Mutex<Kernel>>);

fn reading((key, flow): (&FlowKey, &Counted)) -> FlowReading {
    let rtt = Hist { buckets: vec![(9, flow.samples)], max_us: Some(9), min_us: Some(9) };
    let counters = Counters { born_ms: flow.born, ..Counters::from(&flow.totals) };
    FlowReading { key: *key, counters, rtt: Some(rtt), handshake: None, duration: None }
}

impl Source for ModelSource {
    fn hooks(&self) -> Vec<String> {
        vec![]
    }

    fn epoch(&self) -> u64 {
        7
    }

    fn adopted(&self) -> bool {
        self.0.lock().unwrap().adopted
    }

    fn look_around(&mut self) -> Result<Areas, ProbeError> {
        let [namespaces_left_out, addresses_left_out, _] = self.0.lock().unwrap().beyond;
        let areas = vec![Area { inode: 1, name: None, addresses: vec![[10, 0, 0, 1].into()], container: None }];
        Ok(Areas { areas, namespaces_left_out, addresses_left_out, ..Areas::default() })
    }

    fn read(&mut self, _: u32) -> Result<Pass, ProbeError> {
        let mut kernel = self.0.lock().unwrap();
        let previous_window = kernel.read.then_some(1);
        kernel.read = true;
        let flows = kernel.flows.iter().map(reading).collect();
        Ok(Pass {
            flows,
            losses: Losses::default(),
            missed_runs: Some(kernel.missed_runs),
            sockets: 0,
            took: Duration::ZERO,
            listeners: vec![],
            rtt_sampled: false,
            previous_window,
            drops: [1, 2].map(|netns| Drops { netns, reason: "netfilter_drop".to_owned(), count: kernel.drops }).to_vec(),
        })
    }

    fn forget(&mut self, keys: &[FlowKey]) -> Result<Vec<FlowReading>, ProbeError> {
        let mut kernel = self.0.lock().unwrap();
        Ok(keys.iter().filter_map(|key| Some(reading((key, &kernel.flows.remove(key)?)))).collect())
    }

    fn split(&mut self, _: &[IpAddr]) -> Result<(), ProbeError> {
        Ok(())
    }

    fn cgroups(&mut self) -> Listing<HashMap<u64, String>> {
        Listing { found: HashMap::new(), left_out: self.0.lock().unwrap().beyond[2] }
    }
}

/// Commits what comes with a higher sequence than the last, as a server does.
#[derive(Debug, Default)]
struct Server {
    committed: u64,
    bytes: HashMap<IpAddr, u64>,
    samples: u64,
    dropped: u64,
    duplicates: u64,
}

impl Server {
    fn ship(&mut self, batch: &Batch) -> u64 {
        if batch.sequence <= self.committed {
            self.duplicates += 1;
            return self.committed;
        }
        self.committed = batch.sequence;
        self.dropped += batch.losses.get("spool_dropped_batches").copied().unwrap_or(0);
        for observation in &batch.observations {
            let remote = edgescope_identity::address::from_bytes(&observation.remote_address).unwrap();
            for measure in &observation.sent {
                if measure.signal == u32::from(TCP_BYTES.id) {
                    *self.bytes.entry(remote).or_default() += measure.value;
                }
                self.samples += measure.counts.iter().sum::<u64>();
            }
        }
        self.committed
    }
}

/// Steps until the agent is killed.
type Fuse = Arc<Mutex<Option<u64>>>;

fn burn(fuse: &Fuse) -> io::Result<()> {
    let mut left = fuse.lock().unwrap();
    match left.as_mut() {
        Some(0) => Err(io::Error::other("killed")),
        Some(left) => {
            *left -= 1;
            Ok(())
        }
        None => Ok(()),
    }
}

struct Node {
    kernel: ModelSource,
    directory: tempfile::TempDir,
    window: i64,
    limits: Limits,
}

impl Node {
    fn new() -> Self {
        Self { kernel: ModelSource::default(), directory: tempfile::tempdir().unwrap(), window: 100, limits: Limits::default() }
    }

    fn span(&self) -> Span {
        Span { from_us: self.window * 10_000_000, to_us: (self.window + 1) * 10_000_000 }
    }

    /// One life of the agent: up to so many windows, with a shipment after each; ends early when the fuse burns down. `lost_acks` are not heard.
    fn live(&mut self, server: &mut Server, windows: u32, fuse: &Fuse, lost_acks: u64, mut traffic: impl FnMut(&mut Kernel)) -> Result<(), String> {
        let step: Fuse = Arc::clone(fuse);
        let (spool, stored) =
            Spool::open_with(self.directory.path(), self.limits, Box::new(move |_: Step| burn(&step))).map_err(|e| e.to_string())?;
        let spool = Arc::new(Mutex::new(spool));
        let naming = Naming::new(Namer::default(), ScopeConfig::All.is_part());
        let started = Observer::start(self.kernel.clone(), Arc::clone(&spool), stored, naming, 3, Arc::new(Metrics::default()), self.span());
        self.kernel.0.lock().unwrap().adopted = true;
        let mut observer = started.map_err(|e| e.to_string())?;
        // Killed twice in its very start, before anything was counted, it cannot know that nothing was told: then there is nothing to lose.
        assert!(!observer.returned().baseline_lost || self.kernel.0.lock().unwrap().truth.is_empty());
        spool.lock().unwrap().contact(server.committed).map_err(|e| e.to_string())?;
        for _ in 0..windows {
            traffic(&mut self.kernel.0.lock().unwrap());
            let now = self.span();
            self.window += 1;
            burn(fuse).map_err(|e| e.to_string())?;
            observer.window(now, 0).map_err(|e| e.to_string())?;
            let mut spool = spool.lock().unwrap();
            while let Some(batch) = spool.oldest().map_err(|e| e.to_string())? {
                burn(fuse).map_err(|e| e.to_string())?;
                let committed = server.ship(&batch);
                burn(fuse).map_err(|e| e.to_string())?;
                if batch.sequence % 5 < lost_acks {
                    break;
                }
                spool.acknowledge(committed);
            }
        }
        Ok(())
    }

    fn check(&self, server: &Server) {
        let truth = &self.kernel.0.lock().unwrap().truth;
        let told: HashMap<IpAddr, u64> = server.bytes.iter().filter(|(_, bytes)| **bytes > 0).map(|(ip, bytes)| (*ip, *bytes)).collect();
        let counted: HashMap<IpAddr, u64> = truth.iter().map(|(key, bytes)| (key.remote, *bytes)).filter(|(_, bytes)| *bytes > 0).collect();
        assert_eq!(told, counted);
    }
}

fn never() -> Fuse {
    Arc::new(Mutex::new(None))
}

#[test]
fn killed_before_every_step_nothing_is_lost_or_doubled() {
    let mut died = 0;
    for steps in 0..120 {
        let (mut node, mut server) = (Node::new(), Server::default());
        let mut n = 0;
        let mut traffic = |kernel: &mut Kernel| {
            n += 1;
            kernel.send(n % 3, 100 + u64::from(n));
        };
        // One life that is cut off after so many steps, one that is cut off a few steps in, and one that is not.
        for cut in [steps, steps % 7] {
            died += u32::from(node.live(&mut server, 6, &Arc::new(Mutex::new(Some(cut))), 2, &mut traffic).is_err());
        }
        node.live(&mut server, 2, &never(), 0, &mut traffic).unwrap();
        node.check(&server);
        assert_eq!(server.samples, node.kernel.0.lock().unwrap().samples, "round trips, killed after {steps} steps");
    }
    assert!(died > 150, "only {died} lives were cut off");
}

#[test]
fn idle_flows_are_forgotten_and_come_back_without_loss() {
    let (mut node, mut server) = (Node::new(), Server::default());
    let mut window = 0;
    node.live(&mut server, 40, &never(), 0, |kernel| {
        window += 1;
        // Flow 1 always, flow 2 now and then with long pauses.
        kernel.send(1, 10);
        if window % 12 == 0 {
            kernel.send(2, 1_000);
        }
    })
    .unwrap();
    node.check(&server);
    let kernel = node.kernel.0.lock().unwrap();
    assert_eq!(kernel.flows.get(&key(2)), None, "idle for longer than three windows");
    assert_eq!(server.bytes[&key(2).remote], 3_000);
}

#[test]
fn a_lost_state_begins_above_what_the_server_has_and_tells_nothing_twice() {
    let (mut node, mut server) = (Node::new(), Server::default());
    node.live(&mut server, 5, &never(), 0, |kernel| kernel.send(1, 10)).unwrap();
    let committed = server.committed;
    node.directory = tempfile::tempdir().unwrap();
    let (spool, stored) = Spool::open(node.directory.path(), node.limits).unwrap();
    assert!(stored.is_none());
    let spool = Arc::new(Mutex::new(spool));
    node.kernel.0.lock().unwrap().send(1, 5);
    let naming = Naming::new(Namer::default(), false);
    let mut observer =
        Observer::start(node.kernel.clone(), Arc::clone(&spool), stored, naming, 3, Arc::new(Metrics::default()), node.span()).unwrap();
    assert!(observer.returned().baseline_lost, "five bytes between the two lives are left out, and it says so");
    node.kernel.0.lock().unwrap().send(1, 7);
    observer.window(node.span(), 0).unwrap();
    let mut spool = spool.lock().unwrap();
    assert!(spool.oldest().unwrap().is_none(), "not before the first contact");
    spool.contact(committed).unwrap();
    let batch = spool.oldest().unwrap().unwrap();
    assert_eq!(batch.sequence, committed + 1);
    server.ship(&batch);
    assert_eq!(server.bytes[&key(1).remote], 57);
}

#[test]
fn a_full_spool_drops_the_oldest_and_says_so() {
    let (mut node, mut server) = (Node::new(), Server::default());
    node.limits = Limits { files_max: 4, ..Limits::default() };
    let (spool, stored) = Spool::open(node.directory.path(), node.limits).unwrap();
    let spool = Arc::new(Mutex::new(spool));
    let naming = Naming::new(Namer::default(), false);
    let mut observer =
        Observer::start(node.kernel.clone(), Arc::clone(&spool), stored, naming, 3, Arc::new(Metrics::default()), node.span()).unwrap();
    for _ in 0..10 {
        node.kernel.0.lock().unwrap().send(1, 10);
        let now = node.span();
        node.window += 1;
        observer.window(now, 0).unwrap();
    }
    let mut spool = spool.lock().unwrap();
    spool.contact(0).unwrap();
    while let Some(batch) = spool.oldest().unwrap() {
        let committed = server.ship(&batch);
        spool.acknowledge(committed);
    }
    assert_eq!((server.bytes[&key(1).remote], server.dropped), (40, 6));
    assert_eq!(
        std::fs::read_dir(node.directory.path()).unwrap().filter(|e| e.as_ref().unwrap().path().extension().is_some_and(|e| e == "spool")).count(),
        1
    );
}

#[test]
fn a_full_disk_delays_and_loses_nothing() {
    let (mut node, mut server) = (Node::new(), Server::default());
    let full = Arc::new(Mutex::new(false));
    let disk = Arc::clone(&full);
    let failpoint = Box::new(move |_: Step| if *disk.lock().unwrap() { Err(io::Error::from(io::ErrorKind::StorageFull)) } else { Ok(()) });
    let (spool, stored) = Spool::open_with(node.directory.path(), node.limits, failpoint).unwrap();
    let spool = Arc::new(Mutex::new(spool));
    let naming = Naming::new(Namer::default(), false);
    let mut observer =
        Observer::start(node.kernel.clone(), Arc::clone(&spool), stored, naming, 3, Arc::new(Metrics::default()), node.span()).unwrap();
    spool.lock().unwrap().contact(0).unwrap();
    for window in 0..6 {
        *full.lock().unwrap() = (2..4).contains(&window);
        node.kernel.0.lock().unwrap().send(1, 10);
        let now = node.span();
        node.window += 1;
        assert_eq!(observer.window(now, 0).is_err(), (2..4).contains(&window));
    }
    let mut caught_up_us = 0;
    let mut spool = spool.lock().unwrap();
    while let Some(batch) = spool.oldest().unwrap() {
        caught_up_us = caught_up_us.max(batch.caught_up_us);
        let committed = server.ship(&batch);
        spool.acknowledge(committed);
    }
    node.check(&server);
    assert_eq!(caught_up_us, 20_000_000, "the window after the full disk says how far it reaches back");
}

#[test]
fn a_damaged_file_is_set_aside_and_nothing_is_told_twice() {
    let (mut node, mut server) = (Node::new(), Server::default());
    node.live(&mut server, 3, &never(), 0, |kernel| kernel.send(1, 10)).unwrap();
    let newest = std::fs::read_dir(node.directory.path())
        .unwrap()
        .flatten()
        .map(|e| e.path())
        .filter(|p| p.extension().is_some_and(|e| e == "spool"))
        .max()
        .unwrap();
    let mut content = std::fs::read(&newest).unwrap();
    let middle = content.len() / 2;
    content[middle] ^= 1;
    std::fs::write(&newest, content).unwrap();
    let (spool, stored) = Spool::open(node.directory.path(), node.limits).unwrap();
    assert!(stored.is_none() && spool.corrupt() == 1);
    assert!(newest.with_extension("damaged").exists());
}

#[test]
fn drops_and_losses_from_elsewhere_are_told_once() {
    let node = Node::new();
    let (spool, stored) = Spool::open(node.directory.path(), node.limits).unwrap();
    let (spool, metrics) = (Arc::new(Mutex::new(spool)), Arc::new(Metrics::default()));
    let naming = Naming::new(Namer::default(), false);
    let mut observer = Observer::start(node.kernel.clone(), Arc::clone(&spool), stored, naming, 3, Arc::clone(&metrics), node.span()).unwrap();
    spool.lock().unwrap().contact(0).unwrap();
    let mut told = Vec::new();
    for (drops, missed_runs, refused) in [(4, 1, 0), (4, 1, 2), (9, 1, 0)] {
        {
            let mut kernel = node.kernel.0.lock().unwrap();
            (kernel.drops, kernel.missed_runs) = (drops, missed_runs);
        }
        metrics.lost("batches_refused", refused);
        observer.window(node.span(), 0).unwrap();
        let mut spool = spool.lock().unwrap();
        let batch = spool.oldest().unwrap().unwrap();
        spool.acknowledge(batch.sequence);
        let losses = ["kernel_missed_runs", "batches_refused"].map(|reason| batch.losses.get(reason).copied().unwrap_or(0));
        told.push((batch.drops.iter().map(|of| of.count).sum::<u64>(), losses));
    }
    assert_eq!(told, [(8, [1, 0]), (0, [0, 2]), (10, [0, 0])]);
    assert!(metrics.text().contains("edgescope_agent_kernel_drops_total{reason=\"netfilter_drop\"} 18"));
}

#[test]
fn what_is_beyond_the_bounds_of_a_look_around_is_told() {
    let node = Node::new();
    let (spool, stored) = Spool::open(node.directory.path(), node.limits).unwrap();
    let (spool, metrics) = (Arc::new(Mutex::new(spool)), Arc::new(Metrics::default()));
    let naming = Naming::new(Namer::default(), false);
    let mut observer = Observer::start(node.kernel.clone(), Arc::clone(&spool), stored, naming, 3, metrics, node.span()).unwrap();
    spool.lock().unwrap().contact(0).unwrap();
    // Only where a cgroup's name is missed is it looked for.
    for (bytes, cgroups) in [(10, 7), (0, 0)] {
        node.kernel.0.lock().unwrap().beyond = [3, 5, 7];
        if bytes > 0 {
            node.kernel.0.lock().unwrap().send(1, bytes);
        }
        observer.window(node.span(), 0).unwrap();
        let mut spool = spool.lock().unwrap();
        let batch = spool.oldest().unwrap().unwrap();
        spool.acknowledge(batch.sequence);
        let told = ["namespaces_left_out", "addresses_left_out", "cgroups_left_out"].map(|reason| batch.losses.get(reason).copied().unwrap_or(0));
        assert_eq!(told, [3, 5, cgroups]);
    }
}

/// Where the kernel side had to be made anew, or its programs were gone, "back" says so, and so does the next batch.
#[test]
fn only_who_saw_every_event_has_counted_on() {
    for (adopted, expected) in [(true, 0), (false, 1)] {
        let (mut node, mut server) = (Node::new(), Server::default());
        node.live(&mut server, 1, &never(), 0, |kernel| kernel.send(1, 10)).unwrap();
        node.kernel.0.lock().unwrap().adopted = adopted;
        let (spool, stored) = Spool::open(node.directory.path(), node.limits).unwrap();
        let (spool, metrics) = (Arc::new(Mutex::new(spool)), Arc::new(Metrics::default()));
        let naming = Naming::new(Namer::default(), false);
        let observer = Observer::start(node.kernel.clone(), spool, stored, naming, 3, Arc::clone(&metrics), node.span()).unwrap();
        assert_eq!(observer.returned().counted_on, adopted);
        assert_eq!(metrics.untold().get("kernel_counted_anew").copied().unwrap_or(0), expected);
    }
}

#[test]
fn two_agents_do_not_share_a_state() {
    let directory = tempfile::tempdir().unwrap();
    let _first = Spool::open(directory.path(), Limits::default()).unwrap();
    let second = Spool::open(directory.path(), Limits::default()).unwrap_err().to_string();
    assert!(second.contains("in use by another agent"), "{second}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Random lives: each is cut off after some steps, some acknowledgements are not heard, flows come and go.
    #[test]
    fn whatever_happens_totals_are_exact(lives in prop::collection::vec((0..40u64, 1..6u32, 0..5u64), 1..8), talk in prop::collection::vec((0..4u8, 0..500u64), 1..10)) {
        let (mut node, mut server) = (Node::new(), Server::default());
        let mut turn = 0;
        let mut traffic = |kernel: &mut Kernel| {
            turn += 1;
            let (flow, bytes) = talk[turn % talk.len()];
            kernel.send(flow, bytes);
        };
        for (steps, windows, lost_acks) in lives {
            // Being cut off is what this is about: the error says no more.
            drop(node.live(&mut server, windows, &Arc::new(Mutex::new(Some(steps))), lost_acks, &mut traffic));
        }
        node.live(&mut server, 1, &never(), 0, &mut traffic).unwrap();
        node.check(&server);
    }

    #[test]
    fn a_baseline_is_stored_and_read_back_whole(flows in prop::collection::vec((0..250u8, prop::collection::vec(any::<u64>(), crate::counters::COUNT), prop::collection::vec((0..200u16, 1..1_000u64), 0..9), any::<u32>()), 0..20)) {
        let directory = tempfile::tempdir().unwrap();
        let mut checkpoint = crate::spool::Checkpoint { epoch: u64::MAX, window_end_us: -1, clock_offset_us: 5, ..Default::default() };
        for (n, totals, rtt, quiet) in flows {
            let mut cumulative = Cumulative::default();
            cumulative.totals.0.copy_from_slice(&totals);
            cumulative.rtt = edgescope_model::histogram::Histogram::from_pairs(rtt);
            checkpoint.baseline.flows.insert(key(n), crate::delta::Told { cumulative, born_ms: quiet ^ 5, quiet });
        }
        checkpoint.losses.insert("x".into(), 3);
        let (mut spool, _) = Spool::open(directory.path(), Limits::default()).unwrap();
        spool.append(&checkpoint, vec![Batch { window_start_us: 8, ..Batch::default() }]).unwrap();
        drop(spool);
        let (_, stored) = Spool::open(directory.path(), Limits::default()).unwrap();
        prop_assert_eq!(stored, Some(checkpoint));
    }

    #[test]
    fn arbitrary_files_never_panic(content in prop::collection::vec(any::<u8>(), 0..200)) {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("00000000000000000001.spool"), content).unwrap();
        let (_, stored) = Spool::open(directory.path(), Limits::default()).unwrap();
        prop_assert!(stored.is_none());
    }
}
