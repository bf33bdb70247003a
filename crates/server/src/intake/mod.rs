//! The intake: what agents say, checked, named, made durable, and only then acknowledged.

pub mod agents;
pub mod bounds;
mod names;
pub mod own;
pub mod questions;
pub mod service;

pub use names::Names;

use crate::auth::Caller;
use crate::config::IntakeConfig;
use crate::metrics::Metrics;
use crate::seldom::Seldom;
use crate::tables::{AgentBatch, AgentRecord, Committed, Tables, TablesError};
use agents::{Agents, NotNow};
use chrono::{DateTime, Utc};
use edgescope_identity::address;
use edgescope_identity::directory::Directory;
use edgescope_identity::resolve::{Counters, Resolved, resolve};
use edgescope_model::fact::FactRow;
use edgescope_model::time::from_micros;
use edgescope_model::wire::{Batch, HelloRequest, LeaveRequest};
use own::OwnAddresses;
use prost::Message;
use questions::Questions;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Semaphore, watch};

/// Windows of stored rows, in seconds: an agent's own are put into them.
const ROW_WINDOW_S: i64 = 10;
/// Intervals that a batch may wait after its window's end for the name of a far end.
const WAIT_INTERVALS: i64 = 2;
/// What a full server asks agents to wait, in milliseconds.
const RETRY_MS: u64 = 2_000;
/// Batches older than this are refused: ten-second rows are kept for two days.
const LATE_US_MAX: i64 = 47 * 3_600_000_000;
/// What an agent's clock may be off beyond what it says, with the time that a batch was on its way.
const CLOCK_OFF_US_MAX: i64 = 1_000_000;

/// All that the intake needs and keeps.
pub struct Intake {
    tables: Arc<dyn Tables>,
    metrics: Arc<Metrics>,
    pub agents: Agents,
    pub names: Arc<Names>,
    pub own: OwnAddresses,
    pub questions: Questions,
    /// Bytes of batches at work.
    pending: Arc<Semaphore>,
    pending_bytes_max: usize,
    batch_bytes_max: usize,
    /// Counts committed batches: the detectors wait for it to change.
    arrivals: watch::Sender<u64>,
    /// Of refused greetings.
    told: Seldom,
}

/// Why a message was not taken.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Sending it again would not help.
    #[error(transparent)]
    Invalid(#[from] bounds::Refused),
    #[error(
        "this token may not speak for agent '{0}': give the agent a token of its own, write its id into the token's line of server.tokens_file \
         (agent=ID,ID:sha256hex), or set agent.id to one that stands there"
    )]
    NotSpokenFor(String),
    #[error("{0} agents are known already: raise intake.agents_max")]
    TooManyAgents(usize),
    #[error("say hello first")]
    Stranger,
    #[error("another agent with this id and another boot id is at work: give each agent its own agent.id")]
    OtherBoot,
    #[error("the last batch is still at work: one at a time")]
    InFlight,
    #[error("{bytes} bytes of batches wait already: come again")]
    Full { bytes: usize },
    #[error(transparent)]
    Tables(#[from] TablesError),
    #[error("naming the ends failed: {0}")]
    Failed(#[from] tokio::task::JoinError),
}

impl Refusal {
    /// Its name among the outcomes of batches.
    pub const fn outcome(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "invalid",
            Self::NotSpokenFor(_) => "not_spoken_for",
            Self::TooManyAgents(_) => "too_many_agents",
            Self::Stranger => "stranger",
            Self::OtherBoot => "other_boot",
            Self::InFlight => "in_flight",
            Self::Full { .. } => "full",
            Self::Tables(TablesError::Busy(_)) => "store_busy",
            Self::Tables(TablesError::Refused(_)) => "store_refused",
            Self::Failed(_) => "failed",
            Self::Tables(_) => "store_failed",
        }
    }
}

impl Intake {
    /// `stored` agents and names come from the tables.
    pub fn new(config: &IntakeConfig, tables: Arc<dyn Tables>, metrics: Arc<Metrics>, stored: Vec<AgentRecord>, names: Arc<Names>) -> Self {
        let pending_bytes_max = config.pending_bytes_max.clamp(1, Semaphore::MAX_PERMITS);
        Self {
            agents: Agents::new(config.agents_max, stored),
            names,
            own: OwnAddresses::default(),
            questions: Questions::default(),
            pending: Arc::new(Semaphore::new(pending_bytes_max)),
            pending_bytes_max,
            batch_bytes_max: config.batch_bytes_max,
            arrivals: watch::Sender::new(0),
            told: Seldom::default(),
            tables,
            metrics,
        }
    }

    /// Addresses behind which other nodes translate: an agent keeps their connections apart.
    fn split_addresses(&self, agent_id: &str) -> Vec<Vec<u8>> {
        self.names.read(|directory| directory.apart(agent_id)).into_iter().map(address::to_bytes).collect()
    }

    /// Changes with every committed batch.
    pub fn arrivals(&self) -> watch::Receiver<u64> {
        self.arrivals.subscribe()
    }

    /// Takes a greeting; returns the agent's highest durable sequence. `caller` is whose token came with it, `None` where none is asked for; `now` is the
    /// moment of its receipt.
    ///
    /// # Errors
    /// If it makes no sense, the caller may not speak for the agent, there are too many agents, or the store does not take it.
    pub async fn hello(&self, hello: HelloRequest, caller: Option<&Caller>, now: DateTime<Utc>) -> Result<u64, Refusal> {
        let result = self.greet(hello, caller, now).await;
        self.metrics.hello(result.as_ref().map_or_else(Refusal::outcome, |_| "taken"));
        // The agent's log says so as well, but whoever misses an agent looks here. Quoted: it may hold an agent's text.
        if let Some(refusal) = result.as_ref().err().filter(|_| self.told.may_speak(Instant::now())) {
            tracing::warn!(refusal = ?refusal.to_string(), "an agent is refused (more in edgescope_server_hellos)");
        }
        result
    }

    async fn greet(&self, mut hello: HelloRequest, caller: Option<&Caller>, now: DateTime<Utc>) -> Result<u64, Refusal> {
        let cut = bounds::hello(&mut hello)?;
        speaks_for(caller, &hello.agent_id)?;
        self.metrics.cut("hello_text", cut);
        let sequence = self.tables.committed_sequence(&hello.agent_id).await?;
        let (record, known) = self.agents.greet(record_of(&hello, sequence, now)).ok_or(Refusal::TooManyAgents(self.agents.len()))?;
        self.metrics.agents.set(self.agents.len() as i64);
        // Whoever is refused leaves no names.
        self.names.list(&hello, now.timestamp_micros());
        let claims = self.names.take_unsaved();
        // After a restart of the server all agents come at once: what is stored already costs no commit.
        if !known || !claims.is_empty() {
            if let Err(error) = self.tables.put_agent(&record, &claims).await {
                self.names.put_back(claims);
                return Err(error.into());
            }
            self.agents.stored(&record.agent_id);
        }
        tracing::info!(agent = record.agent_id, node = record.node, kernel = record.kernel, sequence, "agent said hello");
        Ok(sequence)
    }

    /// Takes an agent's farewell: it is not expected until it greets again.
    ///
    /// # Errors
    /// If the caller may not speak for the agent, it never greeted or was started since, or the store does not take it.
    pub async fn leave(&self, leave: &LeaveRequest, caller: Option<&Caller>, now: DateTime<Utc>) -> Result<(), Refusal> {
        let result = self.see_off(leave, caller, now).await;
        self.metrics.leave(result.as_ref().map_or_else(Refusal::outcome, |()| "taken"));
        result
    }

    async fn see_off(&self, leave: &LeaveRequest, caller: Option<&Caller>, now: DateTime<Utc>) -> Result<(), Refusal> {
        bounds::leave(leave)?;
        speaks_for(caller, &leave.agent_id)?;
        let (record, known) = self.agents.leave(&leave.agent_id, &leave.boot_id, now).map_err(|not_now| self.refuse(not_now))?;
        if !known {
            self.tables.put_agent(&record, &[]).await?;
            self.agents.stored(&record.agent_id);
            tracing::info!(agent = record.agent_id, node = record.node, "agent left");
        }
        Ok(())
    }

    /// Takes a batch; returns the agent's highest durable sequence once the batch is durable.
    ///
    /// # Errors
    /// Then the batch is not durable here, or was refused for good.
    pub async fn ship(&self, batch: Batch, caller: Option<&Caller>, now: DateTime<Utc>) -> Result<u64, Refusal> {
        let started = Instant::now();
        let result = self.take(batch, caller, now).await;
        match &result {
            Ok(_) => self.metrics.ship_seconds.observe(started.elapsed().as_secs_f64()),
            Err(refusal) => self.metrics.batch(refusal.outcome()),
        }
        result
    }

    async fn take(&self, mut batch: Batch, caller: Option<&Caller>, now: DateTime<Utc>) -> Result<u64, Refusal> {
        let cut = bounds::batch(&mut batch, now.timestamp_micros(), LATE_US_MAX)?;
        speaks_for(caller, &batch.agent_id)?;
        let (_flight, agent) = self.agents.take_off(&batch.agent_id, &batch.boot_id).map_err(|not_now| self.refuse(not_now))?;
        if batch.sequence <= agent.sequence {
            self.metrics.batch("duplicate");
            return Ok(agent.sequence);
        }
        let bytes = batch.encoded_len().max(1);
        let permits = u32::try_from(bytes.min(self.pending_bytes_max)).unwrap_or(u32::MAX);
        let full = |_| Refusal::Full { bytes: self.pending_bytes_max - self.pending.available_permits() };
        let _room = Arc::clone(&self.pending).try_acquire_many_owned(permits).map_err(full)?;
        let _pending = Pending::new(&self.metrics, bytes);
        self.metrics.batch_bytes.inc_by(bytes as u64);
        self.names.list_of_batch(&batch);
        let clock_suspect = is_clock_suspect(&batch, now);
        let names_missing = self.wait_for_names(&batch, agent.interval_s).await;
        self.commit(batch, Told { cut, names_missing, clock_suspect }, now).await
    }

    fn refuse(&self, not_now: NotNow) -> Refusal {
        match not_now {
            NotNow::Stranger => Refusal::Stranger,
            NotNow::OtherBoot => {
                self.metrics.agents_conflicting.inc();
                Refusal::OtherBoot
            }
            NotNow::InFlight => Refusal::InFlight,
        }
    }

    /// Waits while a private far end is unknown, at most two intervals after the window's end: its agent's list may be on its way.
    /// Returns how many stayed unknown.
    async fn wait_for_names(&self, batch: &Batch, interval_s: u32) -> usize {
        let end = from_micros(batch.window_end_us) + chrono::Duration::seconds(WAIT_INTERVALS * i64::from(interval_s));
        let Ok(left) = (end - Utc::now()).to_std() else { return 0 };
        let longest = Duration::from_secs(WAIT_INTERVALS.unsigned_abs() * u64::from(interval_s));
        let waits = || {
            self.metrics.names_awaited.inc();
        };
        self.names.wait(batch, left.min(longest), waits).await
    }

    async fn commit(&self, mut batch: Batch, told: Told, now: DateTime<Utc>) -> Result<u64, Refusal> {
        let observations = batch.observations.len() as u64;
        let mut losses = bounds::losses(std::mem::take(&mut batch.losses));
        let drops = bounds::losses(std::mem::take(&mut batch.drops).into_iter().map(|of| (of.reason, of.count)));
        let rtt_sampled = batch.rtt_sampled;
        let apart = self.own.take_apart(&mut batch);
        let names = Arc::clone(&self.names);
        // Up to hundreds of thousands of observations: not on a thread that serves connections.
        let named = move || {
            names.read(|directory| {
                let asked = questions::of_batch(&batch, directory);
                (resolved(batch, &apart, directory), asked)
            })
        };
        let ((batch, rows, counters), asked) = tokio::task::spawn_blocking(named).await?;
        for (reason, count) in lost(&counters, &told) {
            let sum = losses.entry(reason).or_default();
            *sum = sum.saturating_add(count);
        }
        let ready = AgentBatch {
            agent_id: batch.agent_id,
            sequence: batch.sequence,
            window_start_us: batch.window_start_us,
            window_end_us: batch.window_end_us,
            rows,
            claims: self.names.take_unsaved(),
            losses: losses.clone(),
            sockets: batch.sockets,
            clock_offset_us: batch.clock_offset_us,
            caught_up_us: batch.caught_up_us,
        };
        let (agent_id, sequence, window_end_us, sockets) = (ready.agent_id.clone(), ready.sequence, ready.window_end_us, ready.sockets);
        let (rows, claims, clock_offset_us, window_start_us) =
            (ready.rows.len() as u64, ready.claims.clone(), ready.clock_offset_us, ready.window_start_us);
        let started = Instant::now();
        let committed = self.tables.commit(ready).await.inspect_err(|_| self.names.put_back(claims.clone()))?;
        self.metrics.commit_seconds.observe(started.elapsed().as_secs_f64());
        self.agents.update(&agent_id, |agent| {
            agent.sequence = agent.sequence.max(sequence);
            agent.last_seen = Some(now);
            agent.last_window_end = agent.last_window_end.max(Some(from_micros(window_end_us)));
            // A farewell that was long on its way, of the process before this one; the tables judge by the windows, too.
            agent.left_at = agent.left_at.filter(|left_at| from_micros(window_end_us) <= *left_at);
            agent.sockets = sockets;
            agent.clock_offset_s = clock_offset_us as f64 / 1e6;
            agent.clock_suspect = told.clock_suspect;
            agent.rtt_sampled = rtt_sampled;
            if committed == Committed::Now {
                bounds::add_up(&mut agent.kernel_drops, &drops);
                bounds::add_up(&mut agent.losses, &losses);
            }
        });
        if committed == Committed::Before {
            // Nothing of this try was written, names included.
            self.names.put_back(claims);
            self.metrics.batch("duplicate");
            return Ok(sequence);
        }
        self.questions.take(asked, window_start_us, now);
        self.metrics.batch("committed");
        self.metrics.rows.inc_by(rows);
        self.metrics.observations.inc_by(observations);
        self.metrics.cut("batch_value", told.cut);
        self.metrics.names_missing.inc_by(told.names_missing as u64);
        counters.fields().into_iter().for_each(|(what, count)| self.metrics.cut(what, count));
        losses.iter().for_each(|(reason, count)| self.metrics.loss(reason, *count));
        drops.iter().for_each(|(reason, count)| self.metrics.kernel_drop(reason, *count));
        self.arrivals.send_modify(|n| *n += 1);
        Ok(sequence)
    }
}

/// Asked after the bounds: an id that comes into an error is one.
fn speaks_for(caller: Option<&Caller>, agent_id: &str) -> Result<(), Refusal> {
    if caller.is_none_or(|caller| caller.speaks_for(agent_id)) { Ok(()) } else { Err(Refusal::NotSpokenFor(agent_id.to_owned())) }
}

/// What the intake did to a batch before its commit, counted once that is done.
struct Told {
    cut: u64,
    names_missing: usize,
    clock_suspect: bool,
}

/// Whether the batch left at another time than the agent's clock and its own word on that clock say: its windows may stand in the wrong place.
fn is_clock_suspect(batch: &Batch, now: DateTime<Utc>) -> bool {
    let sent_us = batch.sent_us.saturating_add(batch.clock_offset_us);
    batch.sent_us > 0 && now.timestamp_micros().saturating_sub(sent_us).saturating_abs() > CLOCK_OFF_US_MAX
}

/// Names both ends of every observation; those taken apart get their mark.
fn resolved(batch: Batch, apart: &[(&'static str, Batch)], directory: &Directory) -> (Batch, Vec<FactRow>, Counters) {
    let Resolved { mut rows, mut counters } = resolve(&batch, directory);
    for (mark, part) in apart {
        let mut resolved = resolve(part, directory);
        own::mark(&mut resolved.rows, mark);
        rows.append(&mut resolved.rows);
        counters.add(&Counters { texts_cut: 0, ..resolved.counters });
    }
    for row in &mut rows {
        row.window_start = row.window_start.div_euclid(ROW_WINDOW_S) * ROW_WINDOW_S;
    }
    (batch, rows, counters)
}

/// What the server itself left out of a batch, beside what its agent lost: shown as coverage.
fn lost(counters: &Counters, told: &Told) -> impl Iterator<Item = (String, u64)> {
    let all = [
        ("server.observations_invalid", counters.observations_invalid),
        ("server.measures_invalid", counters.measures_invalid),
        ("server.returned_late", counters.returned_late),
        ("server.public_addresses_cut", counters.public_addresses_cut),
        ("server.values_cut", told.cut.saturating_add(counters.texts_cut)),
        ("server.clock_suspect", u64::from(told.clock_suspect)),
    ];
    all.into_iter().filter(|(_, count)| *count > 0).map(|(reason, count)| (reason.to_owned(), count))
}

fn record_of(hello: &HelloRequest, sequence: u64, now: DateTime<Utc>) -> AgentRecord {
    AgentRecord {
        agent_id: hello.agent_id.clone(),
        boot_id: hello.boot_id.clone(),
        version: hello.version.clone(),
        kernel: hello.kernel.clone(),
        node: hello.node.clone(),
        zone: hello.zone.clone(),
        region: hello.region.clone(),
        environment: hello.environment.clone(),
        interval_s: hello.interval_ms.div_ceil(1_000),
        hooks: hello.hooks.clone(),
        scope: hello.scope.clone(),
        clock_offset_s: hello.clock_offset_us as f64 / 1e6,
        simulated: is_simulated(&hello.hooks),
        first_seen: Some(now),
        last_seen: Some(now),
        sequence,
        ..AgentRecord::default()
    }
}

/// Whether an agent says that its readings come from a simulator.
pub(crate) fn is_simulated(hooks: &[String]) -> bool {
    hooks.iter().any(|hook| hook.contains("simulated"))
}

/// Keeps the gauge of pending bytes right, however the work ends.
struct Pending<'a> {
    metrics: &'a Metrics,
    bytes: i64,
}

impl<'a> Pending<'a> {
    fn new(metrics: &'a Metrics, bytes: usize) -> Self {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        metrics.pending_bytes.inc_by(bytes);
        Self { metrics, bytes }
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        self.metrics.pending_bytes.dec_by(self.bytes);
    }
}
