//! From the embedded object to attached programs: adopts what an earlier process has pinned, loads the rest, and says of each
//! hook whether the kernel took it.

use std::cell::RefCell;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;

use libbpf_rs::{Link, MapCore, MapHandle, Object, ObjectBuilder, OpenObject, PrintLevel, ProgramMut};

use crate::layout::{LAYOUT, RawControl};
use crate::maps::{Maps, PINNED};
use crate::pins::Pins;
use crate::scope::{self, cgroup_root};
use crate::{HookState, HookStatus, ProbeConfig, ProbeError};

/// Compiled from `bpf/tcp.bpf.c` by `build.rs`.
pub const OBJECT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/tcp.bpf.o"));

struct Hook {
    program: &'static str,
    mandatory: bool,
    wanted: fn(&ProbeConfig) -> bool,
}

/// What is attached for good, and pinned. A missing optional hook costs its own signals only.
const HOOKS: &[Hook] = &[
    Hook { program: "on_state", mandatory: true, wanted: |_| true },
    Hook { program: SOCKOPS, mandatory: false, wanted: |config| config.sk_rtt },
    Hook { program: "on_error_report", mandatory: false, wanted: |_| true },
    Hook { program: "on_retransmit_synack", mandatory: false, wanted: |_| true },
    Hook { program: "on_receive_reset", mandatory: false, wanted: |_| true },
    Hook { program: "on_send_reset", mandatory: false, wanted: |_| true },
    Hook { program: "on_drop", mandatory: false, wanted: |config| config.drops },
];
const SOCKOPS: &str = "on_sockops";

/// Loaded by every process anew, run when it asks.
const SWEEP: &str = "sweep";
pub const MARKERS: [&str; 2] = ["mark_owner", "mark_socket"];

pub struct Loaded {
    pub maps: Maps,
    pub links: Vec<(&'static str, Link)>,
    pub sweep: Link,
    /// Of `MARKERS`; `None` where the kernel refused.
    pub markers: [Option<Link>; 2],
    pub hooks: Vec<HookStatus>,
    /// Held for its lock: no second process takes this agent id meanwhile.
    _pins: Option<Pins>,
}

/// What earlier processes left under this agent id.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Found {
    Nothing,
    /// Maps of this layout, attached programs of another build.
    Maps,
    /// Maps and programs exactly like ours.
    All,
}

pub fn load(config: &ProbeConfig) -> Result<Loaded, ProbeError> {
    capture_messages();
    let scope = scope::control_of(&config.scope)?;
    let pins = config.pin.then(|| Pins::open(&config.agent_id)).transpose()?;
    let found = pins.as_ref().map_or(Ok(Found::Nothing), find)?;
    let mut hooks = Vec::new();
    let (mut object, refused) = load_what_works(config, pins.as_ref(), found)?;
    let maps = take_maps(&object)?;
    let mut control = if found == Found::Nothing { new_control()? } else { maps.control()? };
    (control.scope_mode, control.scope_cgroup, control.scope_level) = scope;
    control.programs = build();
    control.ephemeral_from = ephemeral_from();
    scope::write_namespaces(&maps, &config.scope)?;
    maps.set_control(&control)?;
    if let Some(pins) = pins.as_ref().filter(|_| found == Found::Nothing) {
        pin_maps(&maps, pins)?;
    }
    let mut links = Vec::new();
    for hook in HOOKS {
        let (state, link) = attach(hook, config, &mut object, pins.as_ref(), found, &refused)?;
        links.extend(link.map(|link| (hook.program, link)));
        hooks.push(HookStatus { name: hook.program, state });
    }
    control.rtt_callback = u32::from(links.iter().any(|(name, _)| *name == SOCKOPS));
    maps.set_control(&control)?;
    let sweep = program(&mut object, SWEEP)
        .and_then(|program| program.attach_iter(maps.socks.as_fd()).map_err(|error| error.to_string()))
        .map_err(|reason| ProbeError::Refused { hook: SWEEP, reason })?;
    hooks.push(HookStatus { name: SWEEP, state: HookState::Attached });
    let markers = attach_markers(&mut object, &refused, &mut hooks);
    Ok(Loaded { maps, links, sweep, markers, hooks, _pins: pins })
}

/// Decides what can be adopted; takes away what cannot.
fn find(pins: &Pins) -> Result<Found, ProbeError> {
    let control = MapHandle::from_pinned_path(pins.at("control")).ok().and_then(|map| {
        let value = map.lookup(&0u32.to_ne_bytes(), libbpf_rs::MapFlags::ANY).ok()??;
        crate::layout::Plain::from_bytes(&value)
    });
    let complete = PINNED.iter().all(|map| pins.has(map));
    match control {
        Some(RawControl { layout: LAYOUT, programs, .. }) if complete && programs == build() => Ok(Found::All),
        Some(RawControl { layout: LAYOUT, .. }) if complete => {
            tracing::info!("adopting counters of another build; its programs are replaced");
            for hook in HOOKS {
                pins.unpin(&link_name(hook.program))?;
            }
            Ok(Found::Maps)
        }
        _ => {
            let cleared = pins.clear()?;
            if !cleared.is_empty() {
                tracing::warn!(?cleared, layout = LAYOUT, "pinned maps of another layout or incomplete: replaced, their counters are lost");
            }
            Ok(Found::Nothing)
        }
    }
}

type Refused = Vec<(&'static str, String)>;

/// Loads all programs; if the kernel refuses, finds out which, and loads the others.
fn load_what_works(config: &ProbeConfig, pins: Option<&Pins>, found: Found) -> Result<(Object, Refused), ProbeError> {
    let adopted = |name: &str| found == Found::All && pins.is_some_and(|pins| pins.has(&link_name(name)));
    let hooks = HOOKS.iter().filter(|hook| (hook.wanted)(config) && !adopted(hook.program)).map(|hook| hook.program);
    let mut programs: Vec<&'static str> = hooks.chain(MARKERS).chain([SWEEP]).collect();
    let reused = pins.filter(|_| found != Found::Nothing);
    if let Ok(object) = open(config, &programs, reused)?.load() {
        return Ok((object, Refused::new()));
    }
    let mut refused = Refused::new();
    for name in std::mem::take(&mut programs) {
        match open(config, &[name], None)?.load() {
            Ok(_) => programs.push(name),
            Err(error) => refused.push((name, reason(&error))),
        }
    }
    let mandatory = |name: &str| name == SWEEP || HOOKS.iter().any(|hook| hook.program == name && hook.mandatory);
    if let Some((hook, reason)) = refused.iter().find(|(name, _)| mandatory(name)) {
        return Err(ProbeError::Refused { hook, reason: reason.clone() });
    }
    let object = open(config, &programs, reused)?.load().map_err(|error| ProbeError::Load(reason(&error)))?;
    Ok((object, refused))
}

fn open(config: &ProbeConfig, programs: &[&str], reused: Option<&Pins>) -> Result<OpenObject, ProbeError> {
    let failed = |error: libbpf_rs::Error| ProbeError::Load(reason(&error));
    MESSAGES.with_borrow_mut(String::clear);
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
            "flows" => map.set_max_entries(config.flows_max.max(1)).map_err(failed)?,
            "rtts" | "handshakes" => map.set_max_entries(config.rtts_max.max(1)).map_err(failed)?,
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
        others: take("others")?,
        rtts: take("rtts")?,
        handshakes: take("handshakes")?,
        socks: take("socks")?,
        services: take("services")?,
        scope: take("scope")?,
        split: take("split")?,
        drops: take("drops")?,
        control: take("control")?,
        losses: take("losses")?,
        tallies: take("tallies")?,
    })
}

fn pin_maps(maps: &Maps, pins: &Pins) -> Result<(), ProbeError> {
    for (name, map) in maps.pinned() {
        let path = pins.at(name);
        let pinned = MapHandle::try_from(map).and_then(|mut map| map.pin(&path));
        pinned.map_err(|error| ProbeError::Bpffs { path, source: std::io::Error::other(error.to_string()) })?;
    }
    Ok(())
}

/// One hook: adopted, attached (and pinned), refused or off.
fn attach(
    hook: &Hook,
    config: &ProbeConfig,
    object: &mut Object,
    pins: Option<&Pins>,
    found: Found,
    refused: &Refused,
) -> Result<(HookState, Option<Link>), ProbeError> {
    let pinned = link_name(hook.program);
    if !(hook.wanted)(config) {
        pins.map_or(Ok(()), |pins| pins.unpin(&pinned))?;
        return Ok((HookState::Off, None));
    }
    if let Some(pins) = pins.filter(|pins| found == Found::All && pins.has(&pinned)) {
        let link = Link::open(pins.at(&pinned)).map_err(|error| ProbeError::Load(reason(&error)))?;
        return Ok((HookState::Adopted, Some(link)));
    }
    let attached = match refused.iter().find(|(name, _)| *name == hook.program) {
        Some((_, reason)) => Err(reason.clone()),
        None => program(object, hook.program).and_then(|mut program| attach_program(&mut program, hook.program)),
    };
    match attached {
        Ok(mut link) => {
            if let Some(pins) = pins {
                let path = pins.at(&pinned);
                link.pin(&path).map_err(|error| ProbeError::Bpffs { path, source: std::io::Error::other(error.to_string()) })?;
            }
            Ok((HookState::Attached, Some(link)))
        }
        Err(reason) if hook.mandatory => Err(ProbeError::Refused { hook: hook.program, reason }),
        Err(reason) => {
            tracing::warn!(hook = hook.program, reason, "the kernel refused a hook; its signals are absent");
            Ok((HookState::Refused(reason), None))
        }
    }
}

fn attach_program(program: &mut ProgramMut<'_>, name: &str) -> Result<Link, String> {
    MESSAGES.with_borrow_mut(String::clear);
    if name != SOCKOPS {
        return program.attach().map_err(|error| reason(&error));
    }
    let root = cgroup_root().ok_or("no cgroup v2 hierarchy is mounted")?;
    let directory = File::open(&root).map_err(|error| format!("{}: {error}", root.display()))?;
    program.attach_cgroup(directory.as_raw_fd()).map_err(|error| reason(&error))
}

fn attach_markers(object: &mut Object, refused: &Refused, hooks: &mut Vec<HookStatus>) -> [Option<Link>; 2] {
    MARKERS.map(|name| {
        let attached = match refused.iter().find(|(refused, _)| *refused == name) {
            Some((_, reason)) => Err(reason.clone()),
            None => program(object, name).and_then(|program| program.attach().map_err(|error| reason(&error))),
        };
        let (state, link) = match attached {
            Ok(link) => (HookState::Attached, Some(link)),
            Err(reason) => {
                tracing::warn!(hook = name, reason, "the kernel refused an iterator; sockets older than the probe are not fully seen");
                (HookState::Refused(reason), None)
            }
        };
        hooks.push(HookStatus { name, state });
        link
    })
}

fn program<'o>(object: &'o mut Object, name: &str) -> Result<ProgramMut<'o>, String> {
    object.progs_mut().find(|program| program.name() == name).ok_or_else(|| format!("the object has no program {name}"))
}

fn link_name(program: &str) -> String {
    format!("link_{program}")
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
fn build() -> u64 {
    OBJECT.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

thread_local! {
    /// What libbpf has said on this thread since the last object was opened: the reasons for refusals.
    static MESSAGES: RefCell<String> = const { RefCell::new(String::new()) };
}

/// A verifier's log can be megabytes; its end says why.
const MESSAGES_MAX: usize = 256 * 1024;

fn capture_messages() {
    libbpf_rs::set_print(Some((PrintLevel::Info, |_, message| {
        tracing::debug!(target: "libbpf", "{}", message.trim_end());
        MESSAGES.with_borrow_mut(|messages| {
            if messages.len() < MESSAGES_MAX {
                messages.push_str(&message);
            }
        });
    })));
}

/// The error and the last thing the verifier complained of.
fn reason(error: &libbpf_rs::Error) -> String {
    let complaint = MESSAGES.with_borrow(|messages| {
        let log = messages.split("-- END PROG LOAD LOG --").next().unwrap_or_default();
        let mut lines = log.lines().rev().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("processed "));
        lines.next().unwrap_or_default().to_owned()
    });
    if complaint.is_empty() { error.to_string() } else { format!("{error}: {complaint}") }
}
