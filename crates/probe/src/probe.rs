use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::mem::offset_of;
use std::net::IpAddr;
use std::os::fd::AsRawFd;
use std::time::Instant;

use libbpf_rs::{MapHandle, RingBufferBuilder};

use crate::layout::{Plain, RawDrop, RawHistogram, RawKey, RawListener};
use crate::load::{self, Loaded, MARKERS, SWEEP_QUESTIONS};
use crate::maps::{self, Maps};
use crate::reasons::Reasons;
use crate::{
    Counters, Drops, FlowKey, FlowReading, Heard, Hist, HookStatus, Http2Counter, Http2Reader, Http2Record, KeptBound, Losses, MarkReport, Pass,
    ProbeConfig, ProbeError, ProgramCost, Protocol, RemoveReport, Scope, Translator, mark, pins, report, scope,
};

/// The kernel side, loaded and attached. Dropping it detaches everything unless it is pinned; pinned, it counts on.
pub struct Probe {
    loaded: Loaded,
    scope: Scope,
    epoch: u64,
}

impl Probe {
    /// Loads, or adopts what an earlier process with this agent id has pinned. Sockets that are open already count from
    /// [`Probe::mark_existing`] on.
    ///
    /// # Errors
    /// Names the missing capability, BTF or kernel version and the remedy; [`ProbeError::Refused`] if the kernel refuses a hook
    /// without which nothing works.
    pub fn load(config: &ProbeConfig) -> Result<Probe, ProbeError> {
        Self::load_as(config, load::build())
    }

    /// As [`Probe::load`], for tests: the programs call themselves this build.
    #[doc(hidden)]
    pub fn load_as(config: &ProbeConfig, build: u64) -> Result<Probe, ProbeError> {
        report::check()?;
        let loaded = load::load(config, build)?;
        let epoch = loaded.maps.control()?.epoch;
        Ok(Probe { loaded, scope: config.scope.clone(), epoch })
    }

    /// What was chosen, hook by hook.
    pub fn hooks(&self) -> &[HookStatus] {
        &self.loaded.hooks
    }

    /// Bounds of the configuration that do not hold, since the maps of an earlier process are in use.
    pub fn kept_bounds(&self) -> &[KeptBound] {
        &self.loaded.kept_bounds
    }

    /// Drawn when the maps were made: counters with another epoch are no baseline for these.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// What leaves the scope counts no more, not even to its end; its flows stay until [`Probe::forget`]. What comes into it counts from
    /// [`Probe::mark_existing`] on.
    pub fn set_scope(&mut self, scope: &Scope) -> Result<(), ProbeError> {
        let (mode, cgroup, level) = scope::control_of(scope)?;
        scope::write_namespaces(self.maps(), scope)?;
        let mut control = self.maps().control()?;
        (control.scope_mode, control.scope_cgroup, control.scope_level) = (mode, cgroup, level);
        control.scope_version = scope::next_version(control.scope_version);
        self.maps().set_control(&control)?;
        self.scope = scope.clone();
        Ok(())
    }

    /// Remote addresses that stand for several ends: from now on their flows keep the client's port. At most 4096, with those of a [`Translator`],
    /// which stay as they are.
    pub fn set_split(&mut self, addresses: &[IpAddr]) -> Result<(), ProbeError> {
        let count = scope::write_split(self.maps(), addresses)?;
        let mut control = self.maps().control()?;
        control.split_count = count as u32;
        self.maps().set_control(&control)
    }

    /// Whether sockets are looked up among the [`Translator`]'s addresses, and the first ones of an address kept apart: some 50 ns whenever a socket's flow is chosen.
    pub fn set_nat(&mut self, on: bool) -> Result<(), ProbeError> {
        let mut control = self.maps().control()?;
        control.nat = u32::from(on);
        self.maps().set_control(&control)
    }

    /// Tells the kernel side of translated connections, from any thread.
    pub fn translator(&self) -> Result<Translator, ProbeError> {
        Translator::new(self.maps())
    }

    /// A reader of what connections of HTTP/2 say, and who counts what it finds; the last one that was made goes on. `each` gets every record, and `None` for
    /// a connection that has ended without anybody having read it to its end. `None` if that is not wanted, or the kernel refuses it.
    ///
    /// # Errors
    /// If the kernel refuses to share what it has loaded.
    pub fn http2(&self, each: impl FnMut(Option<Http2Record<'_>>) + Send + 'static) -> Result<Option<(Http2Reader, Http2Counter)>, ProbeError> {
        let Some(parts) = &self.loaded.http2 else { return Ok(None) };
        Ok(Some((Http2Reader::new(parts, each)?, Http2Counter::new(parts)?)))
    }

    /// Finds the sockets in scope that no event has told of: those older than the probe, or than their namespace's coming into
    /// scope. They count from now on. What is known already is left alone.
    pub fn mark_existing(&mut self) -> Result<MarkReport, ProbeError> {
        let [owners, sockets] = &self.loaded.markers;
        let namespaces = mark::namespaces(&self.scope)?;
        self.maps().clear_tally()?;
        if let Some(owners) = owners {
            mark::run(owners, MARKERS[0])?;
        }
        let mut failed = match sockets {
            Some(sockets) => mark::in_each(sockets, MARKERS[1], &namespaces),
            None => namespaces.keys().map(|inode| (*inode, "the kernel refused the iterator".to_owned())).collect(),
        };
        let entered = namespaces.len() - failed.len();
        failed.extend(mark::unreachable(&self.scope, &namespaces));
        let tally = self.maps().tally()?;
        Ok(MarkReport {
            namespaces: entered,
            listeners: tally.marked_listeners,
            sockets: tally.marked_sockets,
            without_rtt: tally.marked_without_rtt,
            failed,
        })
    }

    /// Ends the running window: takes a look at every marked socket, then reads all flows. `window` is the caller's name for the
    /// window that ends, handed to the next pass as [`Pass::previous_window`], also across restarts.
    pub fn read(&mut self, window: u32) -> Result<Pass, ProbeError> {
        let started = Instant::now();
        let mut control = self.maps().control()?;
        let ended = control.window;
        let previous_window = (ended > 1).then_some(control.window_label);
        // 0 stays free, so that a fresh histogram's zeros belong to no window.
        control.window = ended.checked_add(1).unwrap_or(2);
        control.window_label = window;
        control.pass_us = monotonic_us();
        self.maps().set_control(&control)?;
        self.maps().clear_tally()?;
        let listeners = mark::run(&self.loaded.sweep, "sweep")?;
        if let Some(sweep) = &self.loaded.sweep_questions {
            mark::run(sweep, SWEEP_QUESTIONS)?;
        }
        Ok(Pass {
            flows: self.read_flows(ended)?,
            losses: self.read_losses()?,
            missed_runs: self.missed_runs()?,
            sockets: self.maps().tally()?.swept,
            listeners: listeners.chunks_exact(size_of::<RawListener>()).filter_map(RawListener::from_bytes).map(|raw| (&raw).into()).collect(),
            rtt_sampled: control.rtt_callback == 0,
            previous_window,
            drops: self.read_drops()?,
            took: started.elapsed(),
        })
    }

    /// Removes flows and gives their final counters; keys that are not there are left out. For flows that have been idle: one that
    /// counts again starts anew from zero.
    pub fn forget(&mut self, keys: &[FlowKey]) -> Result<Vec<FlowReading>, ProbeError> {
        let window = self.maps().control()?.window;
        let mut forgotten = Vec::new();
        for key in keys {
            let raw = RawKey::from(key);
            let (map, name) = match key.protocol {
                Protocol::Tcp => (&self.maps().flows, "flows"),
                Protocol::Udp => (&self.maps().datagrams, "datagrams"),
            };
            let flow = match maps::take::<Counters>(map, name, raw.bytes())? {
                Some(flow) => Some(flow),
                None => maps::take(&self.maps().others, "others", raw.bytes())?,
            };
            let take = |map, name| maps::take::<RawHistogram>(map, name, raw.bytes()).map(|hist| hist.map(|hist| hist.reading(window)));
            let rtt = take(&self.maps().rtts, "rtts")?;
            let handshake = take(&self.maps().handshakes, "handshakes")?;
            let duration = take(&self.maps().durations, "durations")?;
            if flow.is_some() || rtt.is_some() || handshake.is_some() || duration.is_some() {
                forgotten.push(FlowReading { key: *key, counters: flow.unwrap_or_default(), rtt, handshake, duration });
            }
        }
        Ok(forgotten)
    }

    /// What clients in scope have heard and said of names since the last call, or since the ring was full ([`Losses::names_full`]); empty unless
    /// [`ProbeConfig::names`] is set.
    pub fn heard(&mut self) -> Result<Vec<Heard>, ProbeError> {
        let failed = |what| move |error: libbpf_rs::Error| ProbeError::Map { map: "names", what, source: std::io::Error::other(error.to_string()) };
        let all = RefCell::new(Vec::new());
        let mut ring = RingBufferBuilder::new();
        let take = |record: &[u8]| {
            all.borrow_mut().extend(Heard::from_record(record));
            0
        };
        ring.add(&self.maps().names, take).map_err(failed("map"))?;
        ring.build().and_then(|ring| ring.consume()).map_err(failed("read"))?;
        Ok(all.into_inner())
    }

    /// Detaches all that is pinned under `agent_id` and frees its maps.
    pub fn remove(agent_id: &str) -> Result<RemoveReport, ProbeError> {
        pins::remove(agent_id)
    }

    /// Ids of all agents that have something pinned here, running or not.
    pub fn pinned() -> Result<Vec<String>, ProbeError> {
        pins::pinned()
    }

    /// Runs and run time of each program of this probe, while `kernel.bpf_stats_enabled` is 1.
    pub fn run_stats(&self) -> Result<Vec<ProgramCost>, ProbeError> {
        let iterators = MARKERS.iter().zip(&self.loaded.markers).filter_map(|(name, link)| Some((*name, link.as_ref()?)));
        let links = self.loaded.links.iter().map(|(name, link)| (*name, link));
        links
            .chain([("sweep", &self.loaded.sweep)])
            .chain(self.loaded.sweep_questions.as_ref().map(|link| (SWEEP_QUESTIONS, link)))
            .chain(iterators)
            .map(|(name, link)| {
                let of = program_info(name, link)?;
                Ok(ProgramCost { name: name.into(), run_cnt: of.run_cnt, run_time_ns: of.run_time_ns })
            })
            .collect()
    }

    /// Of the attached hooks; absent without the right to look programs up (CAP_SYS_ADMIN), which a pass does not need otherwise.
    fn missed_runs(&self) -> Result<Option<u64>, ProbeError> {
        let all: Result<u64, ProbeError> = self.loaded.links.iter().map(|(name, link)| program_info(name, link).map(|of| of.recursion_misses)).sum();
        match all {
            Err(ProbeError::Iterator { source, .. }) if source.kind() == std::io::ErrorKind::PermissionDenied => Ok(None),
            other => other.map(Some),
        }
    }

    fn maps(&self) -> &Maps {
        &self.loaded.maps
    }

    fn read_flows(&self, window: u32) -> Result<Vec<FlowReading>, ProbeError> {
        let maps = self.maps();
        // Round trips, handshakes, times to an answer.
        let mut times = [(&maps.rtts, "rtts"), (&maps.handshakes, "handshakes"), (&maps.durations, "durations")]
            .into_iter()
            .map(|(map, name)| histograms(map, name, window))
            .collect::<Result<Vec<_>, _>>()?;
        let mut flows = Vec::new();
        for (map, name) in [(&self.maps().flows, "flows"), (&self.maps().datagrams, "datagrams"), (&self.maps().others, "others")] {
            maps::for_each(map, name, |key, value| {
                let (Some(raw), Some(counters)) = (RawKey::from_bytes(key), Counters::from_bytes(value)) else {
                    return;
                };
                let [rtt, handshake, duration] = [0, 1, 2].map(|which| times[which].remove(&raw));
                flows.push(FlowReading { key: (&raw).into(), counters, rtt, handshake, duration });
            })?;
        }
        // Flows whose counters had no room still have their own times.
        let left: HashSet<RawKey> = times.iter().flat_map(|times| times.keys().copied()).collect();
        flows.extend(left.into_iter().map(|raw| {
            let [rtt, handshake, duration] = [0, 1, 2].map(|which| times[which].remove(&raw));
            FlowReading { key: (&raw).into(), counters: Counters::default(), rtt, handshake, duration }
        }));
        Ok(flows)
    }

    fn read_drops(&self) -> Result<Vec<Drops>, ProbeError> {
        let reasons = Reasons::of_this_kernel()?;
        let mut drops = Vec::new();
        maps::for_each(&self.maps().drops, "drops", |key, value| {
            if let (Some(key), Some(count)) = (RawDrop::from_bytes(key), Count::from_bytes(value)) {
                drops.push(Drops { netns: key.netns, reason: reasons.name(key.reason), count: count.0 });
            }
        })?;
        Ok(drops)
    }

    fn read_losses(&self) -> Result<Losses, ProbeError> {
        let mut bytes = vec![0u8; size_of::<Losses>()];
        for at in 0..bytes.len() / size_of::<u64>() {
            let count: Option<Count> = maps::get(&self.maps().losses, "losses", &(at as u32).to_ne_bytes())?;
            bytes[at * 8..][..8].copy_from_slice(&count.map_or(0, |count| count.0).to_ne_bytes());
        }
        Ok(Losses::from_bytes(&bytes).unwrap_or_default())
    }
}

/// The clock that the kernel side stamps with.
fn monotonic_us() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a valid clock and a timespec to write to.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) } != 0;
    assert!(!failed, "CLOCK_MONOTONIC always exists");
    now.tv_sec as u64 * 1_000_000 + now.tv_nsec as u64 / 1000
}

#[repr(transparent)]
#[derive(Clone, Copy)]
struct Count(u64);
// SAFETY: one integer.
unsafe impl Plain for Count {}

fn histograms(map: &MapHandle, name: &'static str, window: u32) -> Result<HashMap<RawKey, Hist>, ProbeError> {
    let mut found = HashMap::new();
    maps::for_each(map, name, |key, value| {
        if let (Some(key), Some(hist)) = (RawKey::from_bytes(key), RawHistogram::from_bytes(value)) {
            found.insert(key, hist.reading(window));
        }
    })?;
    Ok(found)
}

fn program_info(name: &'static str, link: &libbpf_rs::Link) -> Result<libbpf_sys::bpf_prog_info, ProbeError> {
    let failed = |source| ProbeError::Iterator { name, source };
    let refused = |error: libbpf_rs::Error| {
        let kind =
            if error.kind() == libbpf_rs::ErrorKind::PermissionDenied { std::io::ErrorKind::PermissionDenied } else { std::io::ErrorKind::Other };
        failed(std::io::Error::new(kind, error.to_string()))
    };
    let info = link.info().map_err(refused)?;
    let program = libbpf_rs::Program::fd_from_id(info.prog_id).map_err(refused)?;
    // SAFETY: a struct of integers, for which all zeros is a value.
    let mut of: libbpf_sys::bpf_prog_info = unsafe { std::mem::zeroed() };
    let mut size = size_of_val(&of) as u32;
    // SAFETY: a valid program, and a struct as long as said.
    if unsafe { libbpf_sys::bpf_prog_get_info_by_fd(program.as_raw_fd(), &raw mut of, &raw mut size) } != 0 {
        return Err(failed(std::io::Error::last_os_error()));
    }
    debug_assert!(size as usize >= offset_of!(libbpf_sys::bpf_prog_info, recursion_misses) + 8);
    Ok(of)
}
