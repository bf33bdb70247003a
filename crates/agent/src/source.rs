//! Where readings come from: the kernel, or a simulator that stands in for it.

use crate::config::{AgentConfig, ScopeConfig};
use crate::http2;
use crate::nat::{Changes, Watch};
use crate::netns::{Found, addresses_in};
use edgescope_identity::container::Contained;
use edgescope_identity::host::{self, Listing, Namespace};
use edgescope_identity::nat::Proxy;
use edgescope_probe::{FlowKey, FlowReading, Heard, HookState, HookStatus, KeptBound, MarkReport, Pass, Probe, ProbeConfig, ProbeError, Scope};
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

/// A network namespace in scope, with its addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Area {
    pub inode: u32,
    pub name: Option<String>,
    pub addresses: Vec<IpAddr>,
    /// The container or pod whose network it is.
    pub container: Option<Contained>,
}

/// What the node looks like now.
#[derive(Debug, Clone, Default)]
pub struct Areas {
    pub areas: Vec<Area>,
    /// Namespaces that could not be looked into, with the reason.
    pub failed: Vec<(String, String)>,
    /// The cgroup in scope is not there: nothing can be seen until it comes back.
    pub scope_missing: bool,
    /// Namespaces in scope beyond what is looked at.
    pub namespaces_left_out: u64,
    /// Addresses beyond what is kept of a namespace.
    pub addresses_left_out: u64,
}

/// Gives cumulative readings of flows, and the facts needed to name them.
pub trait Source: Send + 'static {
    /// `hook: attached`, `hook: refused, reason`, …, for the server and the log.
    fn hooks(&self) -> Vec<String>;
    /// Changes when counters begin anew.
    fn epoch(&self) -> u64;
    /// Counters that ran on while no agent was there.
    fn adopted(&self) -> bool;
    /// Every event since the counters began has been seen, also those between two agents.
    fn counted_on(&self) -> bool {
        self.adopted()
    }
    /// Takes namespaces that came or went into account, and says what there is.
    ///
    /// # Errors
    /// If the source has failed.
    fn look_around(&mut self) -> Result<Areas, ProbeError>;
    /// One reading of everything. `window` names the window that ends.
    ///
    /// # Errors
    /// If the source has failed; nothing is lost then.
    fn read(&mut self, window: u32) -> Result<Pass, ProbeError>;
    /// Drops flows, and gives their last readings.
    ///
    /// # Errors
    /// If the source has failed.
    fn forget(&mut self, keys: &[FlowKey]) -> Result<Vec<FlowReading>, ProbeError>;
    /// Keeps the remote port in the keys of flows with these remote addresses.
    ///
    /// # Errors
    /// If there are too many.
    fn split(&mut self, addresses: &[IpAddr]) -> Result<(), ProbeError>;
    /// Whether namespaces may have come or gone since the last look around; asked every second, so it must be cheap.
    fn has_moved(&mut self) -> bool {
        false
    }
    /// What the node's translation of addresses has done since the last time, up to now.
    fn translations(&mut self) -> Changes {
        Changes::default()
    }
    /// What clients have heard and said of names since the last time; asked every second.
    ///
    /// # Errors
    /// If the source has failed; nothing but names is lost then.
    fn heard(&mut self) -> Result<Vec<Heard>, ProbeError> {
        Ok(Vec::new())
    }
    /// The arguments of a process that is a userland proxy by its name, as `/proc` has them; `None` if they are not to be undone.
    fn proxy_arguments(&mut self, _tgid: u32) -> Option<io::Result<Vec<u8>>> {
        None
    }
    /// Paths of cgroups by id, as they are now.
    fn cgroups(&mut self) -> Listing<HashMap<u64, String>>;
}

/// The kernel.
pub struct KernelSource {
    probe: Probe,
    scope: ScopeConfig,
    /// Namespaces in scope, by inode, as last seen.
    known: BTreeMap<u32, Namespace>,
    /// When a name under `/run/netns` last came or went, as of the last look around.
    named_at: Option<SystemTime>,
    /// Inode of the cgroup in scope, as the kernel side knows it; a unit that starts again has another.
    cgroup: Option<u64>,
    nat: Option<Watch>,
    http2: Option<http2::Watch>,
}

impl KernelSource {
    /// Loads the programs, or finds those of an earlier agent with this id, and marks the sockets that are open already.
    ///
    /// # Errors
    /// Says what the kernel lacks, and what to do about it.
    pub fn load(config: &AgentConfig) -> Result<(Self, MarkReport), ProbeError> {
        let known = in_scope(&config.scope).found;
        let cgroup = cgroup_in_scope(&config.scope);
        let probe_config = ProbeConfig {
            agent_id: config.id.clone(),
            scope: probe_scope(&config.scope, &known),
            pin: config.pin,
            flows_max: config.limits.flows_max,
            datagrams_max: config.limits.datagrams_max,
            rtts_max: config.limits.histograms_max,
            sk_rtt: config.rtt,
            drops: config.drops,
            udp: config.udp,
            dns: config.dns,
            http: config.http,
            http2: config.http2,
            names: config.names,
        };
        let mut probe = Probe::load(&probe_config)?;
        for bound in probe.kept_bounds() {
            tracing::warn!("{}", kept_text(bound));
        }
        // An adopted probe still has the scope of its last agent.
        probe.set_scope(&probe_config.scope)?;
        let report = probe.mark_existing()?;
        let nat = if config.nat { Some(Watch::start(Some(probe.translator()?))?) } else { None };
        let http2 = http2::Watch::start(&probe)?;
        let mut source = Self { probe, scope: config.scope.clone(), known, named_at: None, cgroup, nat, http2 };
        source.follow_translations()?;
        Ok((source, report))
    }

    /// Listens where there is something to hear of.
    fn follow_translations(&mut self) -> Result<(), ProbeError> {
        if let Some(nat) = &mut self.nat {
            nat.follow(self.known.values());
        }
        self.probe.set_nat(self.nat.as_ref().is_some_and(Watch::is_on))
    }

    /// Follows the cgroup in scope to its next life; says whether it is missing.
    fn follow_cgroup(&mut self, failed: &mut Vec<(String, String)>) -> Result<bool, ProbeError> {
        let ScopeConfig::Cgroup(path) = &self.scope else { return Ok(false) };
        let Some(now) = cgroup_in_scope(&self.scope) else { return Ok(true) };
        if self.cgroup == Some(now) {
            return Ok(false);
        }
        match self.probe.set_scope(&probe_scope(&self.scope, &self.known)) {
            Ok(()) => {}
            // Gone again in this very moment.
            Err(ProbeError::BadCgroup { .. }) => return Ok(true),
            Err(error) => return Err(error),
        }
        tracing::info!(path, "the cgroup in scope is another one now");
        failed.extend(failures(self.probe.mark_existing()?));
        self.cgroup = Some(now);
        Ok(false)
    }
}

impl Source for KernelSource {
    fn hooks(&self) -> Vec<String> {
        self.probe.hooks().iter().map(hook_text).collect()
    }

    fn epoch(&self) -> u64 {
        self.probe.epoch()
    }

    fn adopted(&self) -> bool {
        self.probe.hooks().iter().any(|hook| matches!(hook.state, HookState::Adopted | HookState::Replaced))
    }

    fn counted_on(&self) -> bool {
        self.probe.hooks().iter().any(|hook| hook.name == STATE_HOOK && matches!(hook.state, HookState::Adopted | HookState::Replaced))
    }

    fn has_moved(&mut self) -> bool {
        if matches!(self.scope, ScopeConfig::Cgroup(_)) {
            return cgroup_in_scope(&self.scope) != self.cgroup;
        }
        if !matches!(self.scope, ScopeConfig::Namespaces(_)) {
            return false;
        }
        let named_at = named_at();
        // The name comes a moment before its namespace: one more look a second later finds it.
        let settling = named_at.and_then(|at| at.elapsed().ok()).is_some_and(|age| age < Duration::from_secs(2));
        named_at != self.named_at || settling
    }

    fn look_around(&mut self) -> Result<Areas, ProbeError> {
        self.named_at = named_at();
        let Listing { found: now, left_out: namespaces_left_out } = in_scope(&self.scope);
        let mut failed = Vec::new();
        if now.keys().ne(self.known.keys()) {
            if matches!(self.scope, ScopeConfig::Namespaces(_)) {
                self.probe.set_scope(&probe_scope(&self.scope, &now))?;
            }
            if now.keys().any(|inode| !self.known.contains_key(inode)) {
                failed.extend(failures(self.probe.mark_existing()?));
            }
        }
        // Also where no namespace came or went: a pod's is there before the first process that tells whose it is.
        self.known = now;
        self.follow_translations()?;
        let scope_missing = self.follow_cgroup(&mut failed)?;
        let Found { areas, failed: unreached, addresses_left_out } = addresses_in(self.known.values().cloned().collect());
        failed.extend(unreached);
        Ok(Areas { areas, failed, scope_missing, namespaces_left_out, addresses_left_out })
    }

    fn read(&mut self, window: u32) -> Result<Pass, ProbeError> {
        if let Some(http2) = &self.http2 {
            http2.look()?;
        }
        self.probe.read(window)
    }

    fn forget(&mut self, keys: &[FlowKey]) -> Result<Vec<FlowReading>, ProbeError> {
        self.probe.forget(keys)
    }

    fn split(&mut self, addresses: &[IpAddr]) -> Result<(), ProbeError> {
        self.probe.set_split(addresses)
    }

    fn translations(&mut self) -> Changes {
        self.nat.as_mut().map(Watch::changes).unwrap_or_default()
    }

    fn heard(&mut self) -> Result<Vec<Heard>, ProbeError> {
        self.probe.heard()
    }

    fn proxy_arguments(&mut self, tgid: u32) -> Option<io::Result<Vec<u8>>> {
        self.nat.as_ref().map(|_| host::arguments(tgid, Proxy::PROCESS))
    }

    fn cgroups(&mut self) -> Listing<HashMap<u64, String>> {
        host::cgroup_root().map(|root| host::cgroups(&root)).unwrap_or_default()
    }
}

fn named_at() -> Option<SystemTime> {
    std::fs::metadata("/run/netns").and_then(|meta| meta.modified()).ok()
}

fn in_scope(scope: &ScopeConfig) -> Listing<BTreeMap<u32, Namespace>> {
    let Listing { found, left_out } = host::namespaces(|name| scope.has_namespace(name));
    Listing { found: found.into_iter().map(|namespace| (namespace.inode, namespace)).collect(), left_out }
}

/// Without its events nothing else is right.
const STATE_HOOK: &str = "on_state";

fn failures(report: MarkReport) -> impl Iterator<Item = (String, String)> {
    report.failed.into_iter().map(|(inode, reason)| (format!("namespace {inode}"), reason))
}

fn cgroup_in_scope(scope: &ScopeConfig) -> Option<u64> {
    let ScopeConfig::Cgroup(path) = scope else { return None };
    std::fs::metadata(cgroup_path(path)).ok().map(|found| found.ino())
}

fn cgroup_path(path: &str) -> PathBuf {
    let root = host::cgroup_root().unwrap_or_else(|| PathBuf::from("/sys/fs/cgroup"));
    root.join(path.trim_start_matches('/'))
}

fn probe_scope(scope: &ScopeConfig, namespaces: &BTreeMap<u32, Namespace>) -> Scope {
    match scope {
        ScopeConfig::All => Scope::All,
        ScopeConfig::Namespaces(_) => Scope::Namespaces(namespaces.keys().copied().collect()),
        ScopeConfig::Cgroup(path) => Scope::Cgroup(cgroup_path(path)),
    }
}

fn kept_text(bound: &KeptBound) -> String {
    let KeptBound { field, wanted, kept } = bound;
    let limit = if *field == "rtts_max" { "histograms_max" } else { field };
    format!(
        "agent.limits.{limit} is {wanted}, but the kernel's counters are still those of an earlier start, with room for {kept}: to have the new number run \
         `edgescope agent --remove` with this agent's configuration, then start it; what was counted and not told is lost then"
    )
}

fn hook_text(hook: &HookStatus) -> String {
    match &hook.state {
        HookState::Attached => format!("{}: attached", hook.name),
        HookState::Adopted => format!("{}: adopted", hook.name),
        HookState::Replaced => format!("{}: attached, in place of another build's", hook.name),
        HookState::Off => format!("{}: off", hook.name),
        HookState::Refused(reason) => format!("{}: refused, {reason}", hook.name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_that_does_not_hold_is_told_with_both_numbers_and_the_remedy() {
        let text = kept_text(&KeptBound { field: "rtts_max", wanted: 9, kept: 4 });
        assert!(text.starts_with("agent.limits.histograms_max is 9") && text.contains("room for 4: ") && text.contains("agent --remove"), "{text}");
        assert!(kept_text(&KeptBound { field: "flows_max", wanted: 9, kept: 4 }).starts_with("agent.limits.flows_max is 9"));
    }
}
