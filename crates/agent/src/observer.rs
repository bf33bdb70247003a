//! One window after the other: read, look around, subtract, name, store. Blocking; time comes as an argument.

use crate::asked::{Asked, Question};
use crate::delta::{Baseline, Delta, deltas};
use crate::heard::Names;
use crate::inventory::Inventory;
use crate::metrics::{Gauge, Metrics, Total};
use crate::naming::Naming;
use crate::nat::Ledger;
use crate::observe::{Owners, Window};
use crate::proxies::{Proxies, Undone};
use crate::source::{Areas, Source};
use crate::spool::{Checkpoint, Spool, SpoolError};
use edgescope_identity::directory::Span;
use edgescope_identity::local::Place;
use edgescope_model::wire::{self, Drops, Endpoint, Owner};
use edgescope_probe::{FlowKey, Losses, Pass, ProbeError};
use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// The list of endpoints is told when it changed, and every so many windows all the same.
const LIST_EVERY: u32 = 6;
/// Most flows forgotten in one window: each takes three to four system calls, about a microsecond each.
const FORGOTTEN_MAX: usize = 10_000;

/// A flow of one connection is forgotten after so many windows without a change: open ones change, and closed ones come never again.
const APART_IDLE_WINDOWS: u32 = 2;

/// Why a window could not be told. Nothing is lost: the next one tells both.
#[derive(Debug, thiserror::Error)]
pub enum WindowError {
    #[error(transparent)]
    Source(#[from] ProbeError),
    #[error(transparent)]
    Spool(#[from] SpoolError),
}

/// The addresses that this agent owns, for its greetings.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    pub owners: Vec<Owner>,
    pub endpoints: Vec<Endpoint>,
}

/// What the agent found when it started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Returned {
    /// End of the last window that an earlier run told, server time; `None` if there was none.
    pub told_until_us: Option<i64>,
    /// The kernel counted on meanwhile, from where the earlier run had stopped: nothing is lost.
    pub counted_on: bool,
    /// The kernel counted on, but where the earlier run had stopped is not known: what it had not told is left out.
    pub baseline_lost: bool,
}

/// Turns a source's readings into batches of the spool.
pub struct Observer<S> {
    source: S,
    spool: Arc<Mutex<Spool>>,
    metrics: Arc<Metrics>,
    naming: Naming,
    inventory: Inventory,
    checkpoint: Checkpoint,
    returned: Returned,
    /// What forgotten flows counted between the last pass and their end.
    rest: Vec<Delta>,
    idle_windows: u32,
    since_list: u32,
    unlisted: bool,
    split: Vec<IpAddr>,
    nat: Ledger,
    names: Names,
    asked: Asked,
    proxies: Proxies,
    /// Damaged files of the spool that a batch has told of.
    corrupt_told: u64,
    /// Cgroups that the look for this window's names left out; 0 where all names were known without one.
    cgroups_left_out: u64,
}

impl<S: Source> Observer<S> {
    /// Goes on from `stored`, if it belongs to the source's counters; takes a first look around. `now` is the running window.
    ///
    /// # Errors
    /// If the source or the spool has failed.
    pub fn start(
        source: S,
        spool: Arc<Mutex<Spool>>,
        stored: Option<Checkpoint>,
        naming: Naming,
        idle_windows: u32,
        metrics: Arc<Metrics>,
        now: Span,
    ) -> Result<Self, WindowError> {
        let told_until_us = stored.as_ref().map(|stored| stored.window_end_us);
        let fitting = stored.filter(|stored| stored.epoch == source.epoch());
        let returned = Returned { told_until_us, counted_on: fitting.is_some() && source.counted_on(), baseline_lost: false };
        let fresh = Checkpoint { epoch: source.epoch(), window_end_us: now.from_us, ..Checkpoint::default() };
        let known = fitting.is_some();
        let mut observer = Self {
            source,
            spool,
            metrics,
            naming,
            inventory: Inventory::default(),
            checkpoint: fitting.unwrap_or(fresh),
            returned,
            rest: Vec::new(),
            idle_windows,
            since_list: 0,
            unlisted: true,
            split: Vec::new(),
            nat: Ledger::default(),
            names: Names::default(),
            asked: Asked::default(),
            proxies: Proxies::default(),
            corrupt_told: 0,
            cgroups_left_out: 0,
        };
        observer.begin(known, now)?;
        Ok(observer)
    }

    /// The first pass tells nothing: it shows the listeners, and is the baseline where none is known and the counters are older than this run.
    fn begin(&mut self, known: bool, now: Span) -> Result<(), WindowError> {
        if !known && !self.source.adopted() {
            // Written before the first reading: should the agent die in it, the next one knows that nothing has been told.
            self.lock_spool().append(&self.checkpoint, Vec::new())?;
        }
        let pass = self.source.read(window_number(now))?;
        if !known && (self.source.adopted() || pass.previous_window.is_some()) {
            // Counters that nobody has read yet have not been told either, however old they are.
            self.returned.baseline_lost = pass.previous_window.is_some();
            if self.returned.baseline_lost {
                self.checkpoint.baseline = Baseline::from_readings(&pass.flows);
                self.checkpoint.losses = losses(&pass);
                self.checkpoint.drops = drops(&pass);
            }
            self.lock_spool().append(&self.checkpoint, Vec::new())?;
        }
        self.tell_return();
        let areas = self.source.look_around()?;
        // The sockets that are there already, so that their containers have names when the first window ends.
        pass.flows.iter().for_each(|flow| self.naming.needs_cgroup(flow.key.cgroup));
        self.name_around(&areas, &pass, &[]);
        let undone = self.undo_proxies(&mut Vec::new(), &pass, &areas);
        undone.losses.iter().for_each(|(reason, count)| self.metrics.lost(reason, *count));
        self.inventory.look(&areas.areas, &pass.listeners, &[], &mut self.naming, now);
        Ok(())
    }

    /// What the time without an agent has cost is shown as coverage, too.
    fn tell_return(&self) {
        let Returned { told_until_us, counted_on, baseline_lost } = self.returned;
        if baseline_lost {
            self.metrics.lost("baseline_lost", 1);
        } else if told_until_us.is_some() && !counted_on {
            self.metrics.lost("kernel_counted_anew", 1);
        }
    }

    pub fn returned(&self) -> &Returned {
        &self.returned
    }

    pub fn hooks(&self) -> Vec<String> {
        self.source.hooks()
    }

    /// The whole list of what this agent owns now.
    pub fn facts(&self) -> Facts {
        let mut owners = Owners::default();
        let endpoints = self.inventory.list(|owner| owners.number(owner).unwrap_or(0));
        Facts { owners: owners.into_list(), endpoints }
    }

    /// Keeps the client's port of connections with these far addresses from the next window on: the server knows who is behind them.
    pub fn split(&mut self, addresses: &[IpAddr]) {
        if self.split == addresses {
            return;
        }
        match self.source.split(addresses) {
            Ok(()) => addresses.clone_into(&mut self.split),
            Err(error) => tracing::warn!(%error, "cannot split addresses by port"),
        }
    }

    /// Says where the node is, from the next window on.
    pub fn set_place(&mut self, place: Place) {
        self.naming.set_place(place);
    }

    /// Takes in what has happened since the window began: names that were heard, before their ring is full, and namespaces that have come, so that their sockets
    /// count from then on. `now` is the running window.
    pub fn refresh(&mut self, now: Span) {
        self.hear(now);
        if self.source.has_moved()
            && let Err(error) = self.source.look_around()
        {
            tracing::warn!(%error, "cannot look around: the end of the window tries again");
        }
    }

    fn hear(&mut self, now: Span) {
        match self.source.heard() {
            Ok(heard) => self.names.learn(&heard, now.to_us, &mut self.asked),
            Err(error) => tracing::warn!(%error, "cannot hear names: the next second tries again"),
        }
    }

    /// Tells the window that ends now. `clock_offset_us` is the server's clock less the wall clock.
    ///
    /// # Errors
    /// If the source or the spool has failed; then the next window tells both.
    pub fn window(&mut self, now: Span, clock_offset_us: i64) -> Result<(), WindowError> {
        let pass = self.source.read(window_number(now))?;
        let areas = self.source.look_around()?;
        let mut told = deltas(&self.checkpoint.baseline, &pass.flows);
        // A copy: should the spool refuse it, the rest is told with the next window.
        told.flows.extend(self.rest.iter().cloned());
        self.name_around(&areas, &pass, &told.flows);
        let undone = self.undo_proxies(&mut told.flows, &pass, &areas);
        // What has not been told reaches back to the last window that was.
        let reach = Span { from_us: self.checkpoint.window_end_us.min(now.from_us), ..now };
        // After the reading: of every connection that it holds the beginning has been heard.
        let nat_losses = self.nat.take(self.source.translations(), now);
        self.hear(now);
        let split = self.split.iter().copied().collect();
        let window = Window::of(&told.flows, &mut self.naming, &self.nat.view(reach), &split, &mut self.names, now);
        self.names.expire(now.to_us);
        let changed = self.inventory.look(&areas.areas, &pass.listeners, &window.observed, &mut self.naming, now);
        self.unlisted |= changed;
        let corrupt = self.lock_spool().corrupt();
        let mut lost = self.lost(&pass, &areas, told.restarted, window.unnamed);
        count(&mut lost, "spool_files_damaged", corrupt - self.corrupt_told);
        nat_losses.into_iter().chain(undone.losses).for_each(|(reason, more)| count(&mut lost, reason, more));
        self.names.lost().into_iter().for_each(|(reason, more)| count(&mut lost, reason, more));
        count(&mut lost, "nat_ambiguous", window.ambiguous);
        let (questions, questions_left_out) = self.asked.take(&mut self.naming);
        count(&mut lost, "questions_left_out", questions_left_out);
        let local: HashSet<IpAddr> = areas.areas.iter().flat_map(|area| &area.addresses).copied().collect();
        let (translations, translations_cut) = self.nat.for_others(reach, &local);
        count(&mut lost, "nat_translations_cut", translations_cut);
        let (observations, unlisted) = (window.len() as u64, self.unlisted || self.since_list + 1 >= LIST_EVERY);
        let (batches, owners_cut) = window.into_batches(&self.naming.fallback());
        count(&mut lost, "owners_cut", owners_cut);
        let dropped = self.dropped(&pass);
        let mut tells = self.metrics.untold();
        lost.iter().for_each(|(reason, more)| count(&mut tells, reason, *more));
        let caught_up_us = (now.from_us - self.checkpoint.window_end_us).max(0);
        let mut ready = Vec::with_capacity(batches.len());
        for (at, (mut batch, mut owners)) in batches.into_iter().enumerate() {
            if at == 0 {
                if unlisted {
                    batch.endpoints = self.inventory.list(|owner| owners.number(owner).unwrap_or(0));
                }
                batch.losses = tells.clone().into_iter().collect();
                batch.translations.clone_from(&translations);
                batch.questions = questions.iter().map(|asked| question(asked, &mut owners)).collect();
                batch.drops = dropped.iter().map(|(reason, count)| Drops { reason: reason.clone(), count: *count }).collect();
            }
            batch.owners = owners.into_list();
            (batch.window_start_us, batch.window_end_us) = (now.from_us, now.to_us);
            (batch.clock_offset_us, batch.caught_up_us, batch.sockets) = (clock_offset_us, caught_up_us, pass.sockets);
            batch.rtt_sampled = pass.rtt_sampled;
            ready.push(batch);
        }
        let next = Checkpoint {
            epoch: self.checkpoint.epoch,
            baseline: told.next,
            window_end_us: now.to_us,
            clock_offset_us,
            losses: losses(&pass),
            drops: drops(&pass),
        };
        self.lock_spool().append(&next, ready)?;
        self.checkpoint = next;
        self.nat.expire(now.from_us);
        self.rest.clear();
        lost.iter().for_each(|(reason, count)| self.metrics.lost(reason, *count));
        self.metrics.told(&tells);
        self.corrupt_told = corrupt;
        dropped.iter().for_each(|(reason, count)| self.metrics.dropped(reason, *count));
        self.unlisted = false;
        self.since_list = if unlisted { 0 } else { self.since_list + 1 };
        self.metrics.add(Total::Windows, 1);
        self.metrics.add(Total::Observations, observations);
        self.metrics.set(Gauge::Flows, pass.flows.len() as u64);
        self.metrics.set(Gauge::Sockets, pass.sockets);
        self.metrics.set(Gauge::Translations, self.nat.known() as u64);
        self.metrics.set(Gauge::Names, self.names.len() as u64);
        self.metrics.set(Gauge::Proxies, self.proxies.len() as u64);
        self.metrics.add(Total::FlowsProxied, undone.inner);
        self.metrics.set(Gauge::Endpoints, self.inventory.len() as u64);
        self.metrics.set(Gauge::ReadMicroseconds, u64::try_from(pass.took.as_micros()).unwrap_or(u64::MAX));
        self.forget_idle()
    }

    /// Drops flows that have been quiet for long. Their counters are stored as told, so that the kernel's are needed no more.
    fn forget_idle(&mut self) -> Result<(), WindowError> {
        let mut idle: Vec<FlowKey> = self.checkpoint.baseline.quiet(self.idle_windows, APART_IDLE_WINDOWS);
        idle.truncate(FORGOTTEN_MAX);
        if idle.is_empty() {
            return Ok(());
        }
        let finals = self.source.forget(&idle)?;
        self.rest.extend(self.checkpoint.baseline.forget(&finals));
        // Those that the kernel did not have any more are not in its answer.
        idle.iter().for_each(|key| drop(self.checkpoint.baseline.flows.remove(key)));
        self.metrics.add(Total::FlowsForgotten, idle.len() as u64);
        Ok(())
    }

    fn name_around(&mut self, areas: &Areas, pass: &Pass, flows: &[Delta]) {
        self.naming.look(&areas.areas);
        flows.iter().for_each(|delta| self.naming.needs_cgroup(delta.key.cgroup));
        pass.listeners.iter().for_each(|listener| self.naming.needs_cgroup(listener.cgroup));
        self.cgroups_left_out = 0;
        if self.naming.misses_cgroups() {
            let cgroups = self.source.cgroups();
            self.cgroups_left_out = cgroups.left_out;
            self.naming.set_cgroups(cgroups.found);
        }
        self.metrics.lost("containers_not_asked", self.naming.ask_runtimes());
        self.metrics.set(Gauge::Containers, self.naming.containers() as u64);
    }

    fn undo_proxies(&mut self, flows: &mut Vec<Delta>, pass: &Pass, areas: &Areas) -> Undone {
        let source = &mut self.source;
        let read = |tgid| source.proxy_arguments(tgid);
        self.proxies.undo(flows, (&pass.listeners, &pass.flows), &areas.areas, &mut self.naming, read)
    }

    /// Everything lost since the last window, by reason.
    fn lost(&self, pass: &Pass, areas: &Areas, restarted: u64, unnamed: u64) -> BTreeMap<String, u64> {
        let mut lost = BTreeMap::new();
        for (reason, total) in losses(pass) {
            count(&mut lost, &reason, since(&self.checkpoint.losses, &reason, total));
        }
        count(&mut lost, "flows_restarted", restarted);
        count(&mut lost, "owners_unnamed", unnamed);
        count(&mut lost, "endpoints_left_out", self.inventory.left_out());
        count(&mut lost, "namespaces_unreached", areas.failed.len() as u64);
        count(&mut lost, "namespaces_left_out", areas.namespaces_left_out);
        count(&mut lost, "addresses_left_out", areas.addresses_left_out);
        count(&mut lost, "cgroups_left_out", self.cgroups_left_out);
        count(&mut lost, "scope_missing", u64::from(areas.scope_missing));
        for (what, reason) in &areas.failed {
            tracing::debug!(what, reason, "cannot look into a namespace");
        }
        lost
    }

    /// Packets dropped since the last window, by reason.
    fn dropped(&self, pass: &Pass) -> BTreeMap<String, u64> {
        let mut dropped = BTreeMap::new();
        for (reason, total) in drops(pass) {
            count(&mut dropped, &reason, since(&self.checkpoint.drops, &reason, total));
        }
        dropped
    }

    fn lock_spool(&self) -> std::sync::MutexGuard<'_, Spool> {
        self.spool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn question(asked: &Question, owners: &mut Owners) -> wire::Question {
    let Question { owner, name, answers } = asked;
    let owner = owners.number(owner).unwrap_or(0);
    wire::Question { owner, name: name.to_string(), answers: answers.all, nxdomain: answers.nxdomain, failures: answers.failed }
}

fn count(lost: &mut BTreeMap<String, u64>, reason: &str, count: u64) {
    if count > 0 {
        *lost.entry(reason.to_owned()).or_default() += count;
    }
}

/// Of a count that began anew all counts.
fn since(before: &BTreeMap<String, u64>, reason: &str, total: u64) -> u64 {
    total.checked_sub(before.get(reason).copied().unwrap_or(0)).unwrap_or(total)
}

/// The kernel's cumulative counts of packets that it dropped, by reason.
fn drops(pass: &Pass) -> BTreeMap<String, u64> {
    let mut drops = BTreeMap::new();
    pass.drops.iter().for_each(|of| count(&mut drops, &of.reason, of.count));
    drops
}

/// The kernel's cumulative counts of what it lost, by reason.
fn losses(pass: &Pass) -> BTreeMap<String, u64> {
    let Losses {
        storage,
        flows_full,
        others_full,
        rtts_full,
        handshakes_full,
        extreme_contended,
        owner_unknown,
        drops_full,
        datagrams_full,
        questions_full,
        durations_full,
        names_full,
        http2_midway,
        http2_gapped,
        http2_ring_full,
        http2_unreadable,
    } = pass.losses;
    let named = [
        ("kernel_storage", storage),
        ("kernel_flows_full", flows_full),
        ("kernel_others_full", others_full),
        ("kernel_rtts_full", rtts_full),
        ("kernel_handshakes_full", handshakes_full),
        ("kernel_extreme_contended", extreme_contended),
        ("kernel_owner_unknown", owner_unknown),
        ("kernel_drops_full", drops_full),
        ("kernel_datagrams_full", datagrams_full),
        ("kernel_questions_full", questions_full),
        ("kernel_durations_full", durations_full),
        ("kernel_names_full", names_full),
        ("http2_midway", http2_midway),
        ("http2_gapped", http2_gapped),
        ("http2_ring_full", http2_ring_full),
        ("http2_unreadable", http2_unreadable),
        ("kernel_missed_runs", pass.missed_runs.unwrap_or(0)),
    ];
    named.into_iter().filter(|(_, count)| *count > 0).map(|(reason, count)| (reason.to_owned(), count)).collect()
}

/// The window's name for the probe: seconds of its end, which fit 32 bits until 2106.
fn window_number(now: Span) -> u32 {
    (now.to_us / 1_000_000) as u32
}
