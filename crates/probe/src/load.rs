//! From the embedded object to attached programs: adopts what an earlier process has pinned, loads the rest, and says of each
//! hook whether the kernel took it.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};

use libbpf_rs::{Link, MapCore, MapHandle, Object, ObjectBuilder, OpenObject, ProgramMut};

use crate::http2::{self, Http2Parts};
use crate::layout::{LAYOUT, PACKETS_HTTP2, Plain, RawControl, packets};
use crate::maps::{Maps, PINNED};
use crate::messages::{self, reason};
use crate::pins::Pins;
use crate::reasons::Reasons;
use crate::scope::{self, cgroup_root};
use crate::{HookState, HookStatus, KeptBound, ProbeConfig, ProbeError};

/// Compiled from `bpf/tcp.bpf.c` by `build.rs`.
pub const OBJECT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/tcp.bpf.o"));

struct Hook {
    program: &'static str,
    /// What it is attached to: its own tracepoint, or the root of the cgroups.
    at: At,
    mandatory: bool,
    wanted: fn(&ProbeConfig) -> bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    Tracepoint,
    Cgroups,
}

/// What is attached for good, and pinned. A missing optional hook costs its own signals only.
const HOOKS: &[Hook] = &[
    Hook { program: "on_state", at: At::Tracepoint, mandatory: true, wanted: |_| true },
    Hook { program: SOCKOPS, at: At::Cgroups, mandatory: false, wanted: |config| config.sk_rtt },
    Hook { program: "on_error_report", at: At::Tracepoint, mandatory: false, wanted: |_| true },
    Hook { program: "on_retransmit_synack", at: At::Tracepoint, mandatory: false, wanted: |_| true },
    Hook { program: "on_receive_reset", at: At::Tracepoint, mandatory: false, wanted: |_| true },
    Hook { program: "on_send_reset", at: At::Tracepoint, mandatory: false, wanted: |_| true },
    Hook { program: DROPS, at: At::Tracepoint, mandatory: false, wanted: |config| config.drops },
    Hook { program: "on_egress", at: At::Cgroups, mandatory: false, wanted: |config| packets(config) > 0 },
    Hook { program: "on_ingress", at: At::Cgroups, mandatory: false, wanted: |config| packets(config) > 0 },
    Hook { program: "on_bind4", at: At::Cgroups, mandatory: false, wanted: |config| packets(config) > 0 },
    Hook { program: "on_bind6", at: At::Cgroups, mandatory: false, wanted: |config| packets(config) > 0 },
    Hook { program: "on_datagram_drop", at: At::Tracepoint, mandatory: false, wanted: |config| config.udp },
];
const SOCKOPS: &str = "on_sockops";
const DROPS: &str = "on_drop";

/// Whether questions wait for answers.
fn asks(config: &ProbeConfig) -> bool {
    config.dns
}

/// The map with the constant that tells the programs their build.
const THIS_BUILD: &str = ".rodata.build";

/// The map with what this kernel's reasons mean.
const CLASSES: &str = ".rodata.classes";
/// Adds to flows what user space has found in HTTP/2.
const COUNT_HTTP2: &str = "count_http2";
/// The ring of HTTP/2, and how the name begins under which it is pinned: it belongs to the programs that write to it.
const RING: &str = "http2_records";
/// Bytes of the ring where nobody wants it: the least that there is.
const NO_RING_BYTES: u32 = 4096;

/// Loaded by every process anew, run when it asks.
const SWEEP: &str = "sweep";
pub const SWEEP_QUESTIONS: &str = "sweep_questions";
pub const MARKERS: [&str; 2] = ["mark_owner", "mark_socket"];

pub struct Loaded {
    pub maps: Maps,
    pub links: Vec<(&'static str, Link)>,
    pub sweep: Link,
    /// `None` if there are no questions to look for, or the kernel refused.
    pub sweep_questions: Option<Link>,
    /// Of `MARKERS`; `None` where the kernel refused.
    pub markers: [Option<Link>; 2],
    pub hooks: Vec<HookStatus>,
    /// `None` if it is not wanted, or the kernel refused.
    pub http2: Option<Http2Parts>,
    /// Where the maps of an earlier process have another size than was asked for.
    pub kept_bounds: Vec<KeptBound>,
    /// Held for its lock: no second process takes this agent id meanwhile.
    _pins: Option<Pins>,
}

/// What earlier processes left under this agent id.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Found {
    Nothing,
    /// Maps of this layout, and which build of the programs counts into them.
    Counting {
        build: u64,
    },
}

/// Loads everything, then hands over: one write to `control` puts this `build` in charge, until which another build that is attached counts on.
/// So every event has exactly one of them, and a process that dies anywhere on the way, or whose programs the kernel refuses, leaves one
/// that counts.
pub fn load(config: &ProbeConfig, build: u64) -> Result<Loaded, ProbeError> {
    messages::capture();
    // With a ring they are other programs than without.
    let build = build ^ u64::from(config.http2);
    let scope = scope::control_of(&config.scope)?;
    let pins = config.pin.then(|| Pins::open(&config.agent_id)).transpose()?;
    let found = pins.as_ref().map_or(Ok(Found::Nothing), find)?;
    let mut hooks = Vec::new();
    let place = Place { pins: pins.as_ref(), found, build };
    let (mut object, refused) = load_what_works(config, &place)?;
    let maps = take_maps(&object)?;
    let mut control = if found == Found::Nothing { new_control()? } else { maps.control()? };
    maps.set_control(&control)?;
    if let Some(pins) = pins.as_ref().filter(|_| found == Found::Nothing) {
        pin_maps(&maps, pins)?;
    }
    if let Some(pins) = pins.as_ref().filter(|_| config.http2 && place.ring().is_none()) {
        // Before the links: programs that are attached have a ring.
        pin(&maps.http2_records, pins, &ring_name(build))?;
    }
    let mut links = Vec::new();
    for hook in HOOKS {
        let (state, link) = attach(hook, config, &mut object, &place, &refused)?;
        links.extend(link.map(|link| (hook.program, link)));
        hooks.push(HookStatus { name: hook.program, state });
    }
    (control.scope_mode, control.scope_cgroup, control.scope_level) = scope;
    control.scope_version = scope::next_version(control.scope_version);
    control.ephemeral_from = ephemeral_from();
    control.rtt_callback = u32::from(links.iter().any(|(name, _)| *name == SOCKOPS));
    control.packets = packets(config);
    control.drops = u32::from(links.iter().any(|(name, _)| *name == DROPS));
    control.http2_reader = control.http2_reader.wrapping_add(1).max(1);
    control.programs = build;
    scope::write_namespaces(&maps, &config.scope)?;
    maps.set_control(&control)?;
    place.unpin_all_but(&links)?;
    let sweep = attach_sweep(&mut object, SWEEP, &maps.socks).map_err(|reason| ProbeError::Refused { hook: SWEEP, reason })?;
    hooks.push(HookStatus { name: SWEEP, state: HookState::Attached });
    let [owners, sockets] = MARKERS.map(|name| iterator(name, &refused, &mut hooks, || attach_marker(&mut object, name)));
    let sweep_questions = match asks(config) {
        true => iterator(SWEEP_QUESTIONS, &refused, &mut hooks, || attach_sweep(&mut object, SWEEP_QUESTIONS, &maps.questions)),
        false => None,
    };
    let http2 = http2_parts(config, &mut object, &maps, control.http2_reader, &refused, &mut hooks)?;
    Ok(Loaded { kept_bounds: kept_bounds(config, &maps), maps, links, sweep, sweep_questions, markers: [owners, sockets], hooks, http2, _pins: pins })
}

/// Without the program that counts nothing of HTTP/2 is looked at.
fn http2_parts(
    config: &ProbeConfig,
    object: &mut Object,
    maps: &Maps,
    reader: u32,
    refused: &Refused,
    hooks: &mut Vec<HookStatus>,
) -> Result<Option<Http2Parts>, ProbeError> {
    if !config.http2 {
        return Ok(None);
    }
    let count = match refused.iter().find(|(name, _)| *name == COUNT_HTTP2) {
        Some((_, reason)) => Err(reason.clone()),
        None => program(object, COUNT_HTTP2).and_then(|program| http2::kept(&program)),
    };
    let count = match count {
        Ok(count) => count,
        Err(reason) => {
            tracing::warn!(hook = COUNT_HTTP2, reason, "the kernel refused a program; HTTP/2 is not counted");
            hooks.push(HookStatus { name: COUNT_HTTP2, state: HookState::Refused(reason) });
            let control = maps.control()?;
            maps.set_control(&RawControl { packets: control.packets & !PACKETS_HTTP2, ..control })?;
            return Ok(None);
        }
    };
    hooks.push(HookStatus { name: COUNT_HTTP2, state: HookState::Attached });
    let shared = |map: &MapHandle| MapHandle::try_from(map).map_err(|error| ProbeError::Load(reason(&error)));
    Ok(Some(Http2Parts {
        ring: shared(&maps.http2_records)?,
        counts: shared(&maps.http2_counts)?,
        resumptions: shared(&maps.http2_resumptions)?,
        count,
        reader,
    }))
}

/// Bounds that do not hold. The maps cannot grow in place, and new ones would begin from zero: which of the two matters more is not decided here.
fn kept_bounds(config: &ProbeConfig, maps: &Maps) -> Vec<KeptBound> {
    // `handshakes` and `durations` are made with `rtts`, in one size.
    let bounds = [
        ("flows_max", config.flows_max, &maps.flows),
        ("datagrams_max", config.datagrams_max, &maps.datagrams),
        ("rtts_max", config.rtts_max, &maps.rtts),
    ];
    let all = bounds.map(|(field, wanted, map)| KeptBound { field, wanted: wanted.max(1), kept: map.max_entries() });
    all.into_iter().filter(|bound| bound.wanted != bound.kept).collect()
}

/// Decides what can be adopted; takes away what cannot. What cannot be told is an error: to begin anew would lose what was counted.
fn find(pins: &Pins) -> Result<Found, ProbeError> {
    let control = pinned_control(pins)?;
    let complete = PINNED.iter().all(|map| pins.has(map));
    if let Some(RawControl { layout: LAYOUT, programs, .. }) = control.filter(|_| complete) {
        return Ok(Found::Counting { build: programs });
    }
    let cleared = pins.clear()?;
    if !cleared.is_empty() {
        tracing::warn!(?cleared, layout = LAYOUT, "pinned maps of another layout or incomplete: replaced, their counters are lost");
    }
    Ok(Found::Nothing)
}

/// `None` if there is none, or one of another layout.
fn pinned_control(pins: &Pins) -> Result<Option<RawControl>, ProbeError> {
    let path = pins.at("control");
    if !pins.has("control") {
        return Ok(None);
    }
    let failed = |error: libbpf_rs::Error| ProbeError::Bpffs { path: path.clone(), source: std::io::Error::other(error.to_string()) };
    let map = MapHandle::from_pinned_path(&path).map_err(failed)?;
    let value = map.lookup(&0u32.to_ne_bytes(), libbpf_rs::MapFlags::ANY).map_err(failed)?;
    Ok(value.and_then(|value| Plain::from_bytes(&value)))
}

/// Where a build's links are, and what else is there.
struct Place<'a> {
    pins: Option<&'a Pins>,
    found: Found,
    build: u64,
}

impl Place<'_> {
    /// The pinned link of a hook, if its program counts now and is of this build.
    fn adoptable(&self, hook: &str) -> Option<PathBuf> {
        let pins = self.pins.filter(|_| self.found == Found::Counting { build: self.build })?;
        let name = link_name(hook, self.build);
        pins.has(&name).then(|| pins.at(&name))
    }

    /// The ring that programs of this build write to, which count now.
    fn ring(&self) -> Option<PathBuf> {
        let pins = self.pins.filter(|_| self.found == Found::Counting { build: self.build })?;
        pins.has(&ring_name(self.build)).then(|| pins.at(&ring_name(self.build)))
    }

    /// Whether another build counts this hook's events now.
    fn replaces(&self, hook: &str) -> bool {
        let Found::Counting { build } = self.found else { return false };
        build != self.build && self.pins.is_some_and(|pins| pins.has(&link_name(hook, build)))
    }

    /// Takes away links of other builds, and of hooks that are not wanted any more.
    fn unpin_all_but(&self, links: &[(&'static str, Link)]) -> Result<(), ProbeError> {
        let Some(pins) = self.pins else { return Ok(()) };
        let kept: Vec<String> = links.iter().map(|(hook, _)| link_name(hook, self.build)).chain([ring_name(self.build)]).collect();
        let old = pins.names()?.into_iter().filter(|name| [LINK, RING].iter().any(|of| name.starts_with(of)) && !kept.contains(name));
        old.into_iter().try_for_each(|name| pins.unpin(&name))
    }
}

type Refused = Vec<(&'static str, String)>;

/// Loads all programs; if the kernel refuses, finds out which, and loads the others.
fn load_what_works(config: &ProbeConfig, place: &Place<'_>) -> Result<(Object, Refused), ProbeError> {
    let hooks = HOOKS.iter().filter(|hook| (hook.wanted)(config) && place.adoptable(hook.program).is_none()).map(|hook| hook.program);
    let mut programs: Vec<&'static str> = hooks.chain(MARKERS).chain([SWEEP]).chain(asks(config).then_some(SWEEP_QUESTIONS)).collect();
    programs.extend(config.http2.then_some(COUNT_HTTP2));
    let open = |programs: &[&str], reused: Option<&Pins>| open(config, programs, reused, place);
    let reused = place.pins.filter(|_| place.found != Found::Nothing);
    if let Ok(object) = open(&programs, reused)?.load() {
        return Ok((object, Refused::new()));
    }
    let mut refused = Refused::new();
    for name in std::mem::take(&mut programs) {
        match open(&[name], None)?.load() {
            Ok(_) => programs.push(name),
            Err(error) => refused.push((name, reason(&error))),
        }
    }
    let mandatory = |name: &str| name == SWEEP || HOOKS.iter().any(|hook| hook.program == name && hook.mandatory);
    if let Some((hook, reason)) = refused.iter().find(|(name, _)| mandatory(name)) {
        return Err(ProbeError::Refused { hook, reason: reason.clone() });
    }
    let object = open(&programs, reused)?.load().map_err(|error| ProbeError::Load(reason(&error)))?;
    Ok((object, refused))
}

/// Opens the object with one program alone, in maps of its own, ready to be loaded.
pub fn open_alone(program: &str) -> Result<OpenObject, ProbeError> {
    open(&ProbeConfig::default(), &[program], None, &Place { pins: None, found: Found::Nothing, build: build() })
}

/// Opens the object with these programs alone, ready to be loaded.
fn open(config: &ProbeConfig, programs: &[&str], reused: Option<&Pins>, place: &Place<'_>) -> Result<OpenObject, ProbeError> {
    let failed = |error: libbpf_rs::Error| ProbeError::Load(reason(&error));
    let classes = Reasons::of_this_kernel()?.classes();
    messages::forget();
    let mut object = ObjectBuilder::default().open_memory(OBJECT).map_err(failed)?;
    for mut program in object.progs_mut() {
        let wanted = programs.iter().any(|name| program.name() == *name);
        program.set_autoload(wanted);
    }
    for mut map in object.maps_mut() {
        let name = map.name().to_string_lossy().into_owned();
        if let Some(pins) = reused.filter(|_| PINNED.contains(&name.as_str())) {
            map.reuse_pinned_map(pins.at(&name)).map_err(failed)?;
            continue;
        }
        match name.as_str() {
            RING => match place.ring().filter(|_| reused.is_some() && config.http2) {
                Some(ring) => map.reuse_pinned_map(ring).map_err(failed)?,
                None if !config.http2 => map.set_max_entries(NO_RING_BYTES).map_err(failed)?,
                None => {}
            },
            "flows" => map.set_max_entries(config.flows_max.max(1)).map_err(failed)?,
            "datagrams" => map.set_max_entries(config.datagrams_max.max(1)).map_err(failed)?,
            "rtts" | "handshakes" | "durations" => map.set_max_entries(config.rtts_max.max(1)).map_err(failed)?,
            CLASSES => map.set_initial_value(classes.bytes()).map_err(failed)?,
            THIS_BUILD => map.set_initial_value(&place.build.to_ne_bytes()).map_err(failed)?,
            _ => {}
        }
    }
    Ok(object)
}

fn take_maps(object: &Object) -> Result<Maps, ProbeError> {
    let take = |name: &str| {
        let map = object.maps().find(|map| map.name() == name);
        let map = map.ok_or_else(|| ProbeError::Load(format!("the object has no map {name}")))?;
        MapHandle::try_from(&map).map_err(|error| ProbeError::Load(reason(&error)))
    };
    Ok(Maps {
        flows: take("flows")?,
        datagrams: take("datagrams")?,
        others: take("others")?,
        rtts: take("rtts")?,
        handshakes: take("handshakes")?,
        durations: take("durations")?,
        questions: take("questions")?,
        names: take("names")?,
        socks: take("socks")?,
        datagram_socks: take("datagram_socks")?,
        http2_talks: take("http2_talks")?,
        http2_records: take(RING)?,
        http2_counts: take("http2_counts")?,
        http2_resumptions: take("http2_resumptions")?,
        services: take("services")?,
        scope: take("scope")?,
        split: take("split")?,
        translations: take("translations")?,
        newcomers: take("newcomers")?,
        drops: take("drops")?,
        control: take("control")?,
        losses: take("losses")?,
        tallies: take("tallies")?,
    })
}

fn pin_maps(maps: &Maps, pins: &Pins) -> Result<(), ProbeError> {
    maps.pinned().try_for_each(|(name, map)| pin(map, pins, name))
}

fn pin(map: &MapHandle, pins: &Pins, name: &str) -> Result<(), ProbeError> {
    // Of a process that died before it handed over.
    pins.unpin(name)?;
    let path = pins.at(name);
    let pinned = MapHandle::try_from(map).and_then(|mut map| map.pin(&path));
    pinned.map_err(|error| ProbeError::Bpffs { path, source: std::io::Error::other(error.to_string()) })
}

/// One hook: adopted, attached (and pinned), refused or off.
fn attach(
    hook: &Hook,
    config: &ProbeConfig,
    object: &mut Object,
    place: &Place<'_>,
    refused: &Refused,
) -> Result<(HookState, Option<Link>), ProbeError> {
    if !(hook.wanted)(config) {
        return Ok((HookState::Off, None));
    }
    if let Some(pinned) = place.adoptable(hook.program) {
        let link = Link::open(pinned).map_err(|error| ProbeError::Load(reason(&error)))?;
        return Ok((HookState::Adopted, Some(link)));
    }
    let attached = match refused.iter().find(|(name, _)| *name == hook.program) {
        Some((_, reason)) => Err(reason.clone()),
        None => program(object, hook.program).and_then(|mut program| attach_program(&mut program, hook.at)),
    };
    match attached {
        Ok(mut link) => {
            if let Some(pins) = place.pins {
                let name = link_name(hook.program, place.build);
                // Of a process that died before it handed over.
                pins.unpin(&name)?;
                link.pin(pins.at(&name))
                    .map_err(|error| ProbeError::Bpffs { path: pins.at(&name), source: std::io::Error::other(error.to_string()) })?;
            }
            let state = if place.replaces(hook.program) { HookState::Replaced } else { HookState::Attached };
            Ok((state, Some(link)))
        }
        Err(reason) if hook.mandatory => Err(ProbeError::Refused { hook: hook.program, reason }),
        Err(reason) => {
            tracing::warn!(hook = hook.program, reason, "the kernel refused a hook; its signals are absent");
            Ok((HookState::Refused(reason), None))
        }
    }
}

fn attach_program(program: &mut ProgramMut<'_>, at: At) -> Result<Link, String> {
    messages::forget();
    if at == At::Tracepoint {
        return program.attach().map_err(|error| reason(&error));
    }
    let root = cgroup_root().ok_or("no cgroup v2 hierarchy is mounted")?;
    let directory = File::open(&root).map_err(|error| format!("{}: {error}", root.display()))?;
    program.attach_cgroup(directory.as_raw_fd()).map_err(|error| reason(&error))
}

/// Over all entries of a map.
fn attach_sweep(object: &mut Object, name: &str, map: &MapHandle) -> Result<Link, String> {
    program(object, name).and_then(|program| program.attach_iter(map.as_fd()).map_err(|error| error.to_string()))
}

fn attach_marker(object: &mut Object, name: &str) -> Result<Link, String> {
    program(object, name).and_then(|program| program.attach().map_err(|error| reason(&error)))
}

/// An iterator that one can do without.
fn iterator(name: &'static str, refused: &Refused, hooks: &mut Vec<HookStatus>, attach: impl FnOnce() -> Result<Link, String>) -> Option<Link> {
    let attached = match refused.iter().find(|(refused, _)| *refused == name) {
        Some((_, reason)) => Err(reason.clone()),
        None => attach(),
    };
    let (state, link) = match attached {
        Ok(link) => (HookState::Attached, Some(link)),
        Err(reason) => {
            tracing::warn!(hook = name, reason, "the kernel refused an iterator; what it looks through is not fully seen");
            (HookState::Refused(reason), None)
        }
    };
    hooks.push(HookStatus { name, state });
    link
}

fn program<'o>(object: &'o mut Object, name: &str) -> Result<ProgramMut<'o>, String> {
    object.progs_mut().find(|program| program.name() == name).ok_or_else(|| format!("the object has no program {name}"))
}

/// Begins the name of every pinned link.
const LINK: &str = "link_";

fn link_name(program: &str, build: u64) -> String {
    format!("{LINK}{program}_{build:016x}")
}

fn ring_name(build: u64) -> String {
    format!("{RING}_{build:016x}")
}

fn new_control() -> Result<RawControl, ProbeError> {
    let mut epoch = [0u8; 8];
    // SAFETY: a buffer of the given length.
    let got = unsafe { libc::getrandom(epoch.as_mut_ptr().cast(), epoch.len(), 0) };
    if got != epoch.len() as isize {
        return Err(ProbeError::Load(format!("no random numbers: {}", std::io::Error::last_os_error())));
    }
    Ok(RawControl { epoch: u64::from_ne_bytes(epoch), layout: LAYOUT, window: 1, tick_us: tick_us(), ..RawControl::default() })
}

/// Length of a jiffy: what the coarse clocks advance by.
fn tick_us() -> u32 {
    let mut resolution = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a valid clock and a timespec to write to.
    let failed = unsafe { libc::clock_getres(libc::CLOCK_MONOTONIC_COARSE, &raw mut resolution) } != 0;
    assert!(!failed, "CLOCK_MONOTONIC_COARSE exists since Linux 2.6.32");
    (resolution.tv_nsec / 1000) as u32
}

/// Linux' default where the setting cannot be read.
fn ephemeral_from() -> u32 {
    const DEFAULT: u32 = 32_768;
    let range = std::fs::read_to_string(Path::new("/proc/sys/net/ipv4/ip_local_port_range"));
    range.ok().and_then(|range| range.split_whitespace().next()?.parse().ok()).unwrap_or(DEFAULT)
}

/// Names this build of the programs: FNV-1a of the object.
pub fn build() -> u64 {
    OBJECT.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}
