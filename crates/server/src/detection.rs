//! The detection loop: as windows arrive it runs the detectors, stores what they say, and asks for a verdict while an incident is open.

use crate::diagnosis::{self, DiagnosisError};
use crate::intake::Intake;
use crate::intake::agents::LATE_S;
use crate::intake::own::without_own;
use crate::live::{Counts, Live, Rounds};
use crate::metrics::Metrics;
use crate::tables::{Tables, TablesError};
use chrono::{DateTime, Duration as Span, Utc};
use edgescope_detect::{Counters, DetectorsConfig, Engine, Transition};
use edgescope_model::alert::{Alert, AlertState, Incident};
use edgescope_model::query::{EdgeQuery, EdgeSource, EdgeTable, QueryError};
use edgescope_model::time::Time;
use futures::FutureExt as _;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// A round comes at least this often, so that late rows count and what has no data resolves.
const ROUND_EVERY: Duration = Duration::from_secs(5);
/// An open incident gets a new verdict this often.
const VERDICT_EVERY_S: i64 = 10;
/// Trouble that lasts longer is judged by its first so many seconds, unless its alerts change.
const VERDICT_RANGE_S: i64 = 600;
/// Verdicts of one round: each costs a query. Incidents that wait come first in the next.
const VERDICTS_A_ROUND: usize = 4;
/// Range of the counts and of the coverage that `/status` shows.
const STATUS_RANGE_S: i64 = 300;
/// States of alerts and incidents that wait for the store to take them.
const UNSAVED_MAX: usize = 10_000;
/// How far back open alerts are taken up again at a start.
const RESUME_DAYS: i64 = 30;
/// Pairs of workloads counted.
const PAIRS_MAX: usize = 100_000;

/// Why a round failed.
#[derive(Debug, thiserror::Error)]
pub enum RoundError {
    #[error(transparent)]
    Query(#[from] QueryError),
    #[error(transparent)]
    Tables(#[from] TablesError),
    #[error(transparent)]
    Diagnosis(#[from] DiagnosisError),
    #[error("the detectors failed and are started anew: {0}")]
    Engine(tokio::task::JoinError),
}

/// The detectors and what they need.
pub struct Detection {
    tables: Arc<dyn Tables>,
    metrics: Arc<Metrics>,
    intake: Arc<Intake>,
    live: Arc<Live>,
    config: DetectorsConfig,
    /// Absent while a round works on it.
    engine: Option<Engine>,
    /// Watermark of the last round.
    judged_until: Option<Time>,
    unsaved_alerts: BTreeMap<String, Alert>,
    unsaved_incidents: BTreeMap<String, Incident>,
    /// Incidents whose alerts changed since their verdict.
    changed: BTreeSet<String>,
    /// Incidents whose last diagnosis failed: they come after all others.
    failing: BTreeSet<String>,
    /// What the newest round did not look at, by reason: shown as coverage.
    not_judged: BTreeMap<String, u64>,
}

impl Detection {
    /// Takes up what was open when the server last ran.
    ///
    /// # Errors
    /// If the tables cannot be read.
    pub async fn new(
        config: DetectorsConfig,
        tables: Arc<dyn Tables>,
        metrics: Arc<Metrics>,
        intake: Arc<Intake>,
        live: Arc<Live>,
    ) -> Result<Self, TablesError> {
        let now = Utc::now();
        let from = now - Span::days(RESUME_DAYS);
        let mut alerts = tables.alerts(from, now).await?;
        alerts.retain(|a| a.state == AlertState::Firing);
        let mut incidents = tables.incidents(from, now).await?;
        incidents.retain(|i| i.closed_at.is_none());
        live.update(|state| {
            state.alerts = alerts.into_iter().map(|a| (a.id.clone(), a)).collect();
            state.incidents = incidents.into_iter().map(|i| (i.id.clone(), i)).collect();
        });
        let engine = resumed(&config, &live, now);
        Ok(Self {
            tables,
            metrics,
            intake,
            live,
            config,
            engine: Some(engine),
            judged_until: None,
            unsaved_alerts: BTreeMap::new(),
            unsaved_incidents: BTreeMap::new(),
            changed: BTreeSet::new(),
            failing: BTreeSet::new(),
            not_judged: BTreeMap::new(),
        })
    }

    /// Loses the detectors, as when they panic.
    #[cfg(test)]
    pub(crate) fn lose_engine(&mut self) {
        self.engine = None;
    }

    /// Runs until `stop` turns true.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut arrivals = self.intake.arrivals();
        let mut tick = tokio::time::interval(ROUND_EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let due = tokio::select! {
                _ = stop.wait_for(|&s| s) => return,
                _ = tick.tick() => true,
                // The intake lives as long as this loop. A batch that completes a window is judged at once; others wait for the tick.
                _ = arrivals.changed() => self.watermark(Utc::now()) > self.judged_until,
            };
            if due {
                self.guarded_round(Utc::now()).await;
            }
        }
    }

    /// A round that fails in a way that nobody thought of must not be the last.
    pub async fn guarded_round(&mut self, now: Time) {
        if AssertUnwindSafe(self.round_at(now)).catch_unwind().await.is_err() {
            self.tell(None, Some("a round of the detectors was broken off; the server's log says more".to_owned()));
        }
    }

    /// One round, with its success or failure made known.
    pub async fn round_at(&mut self, now: Time) {
        let started = Instant::now();
        let result = self.round(now).await;
        let took_s = started.elapsed().as_secs_f64();
        self.metrics.round_seconds.observe(took_s);
        self.tell(Some(took_s), result.err().map(|e| e.to_string()));
    }

    /// Makes known how a round ended.
    fn tell(&self, took_s: Option<f64>, error: Option<String>) {
        self.metrics.rounds.inc();
        if let Some(error) = &error {
            self.metrics.round_failures.inc();
            tracing::warn!(error, "a round of the detectors failed");
        }
        self.live.update(|state| {
            let last_at = if error.is_none() { Some(Utc::now()) } else { state.rounds.last_at };
            state.rounds = Rounds { last_at, last_took_s: took_s, error };
        });
    }

    /// End of the last window that every live agent has shipped; one that is late is waited for a little.
    fn watermark(&self, now: Time) -> Option<Time> {
        self.intake.agents.watermark(now)
    }

    async fn round(&mut self, now: Time) -> Result<(), RoundError> {
        let Some(until) = self.watermark(now) else { return Ok(()) };
        // Time never goes back: a new agent's first window is not the newest of all.
        let until = self.judged_until.map_or(until, |judged| judged.max(until));
        let transitions = self.judge(until, now).await?;
        self.judged_until = Some(until);
        self.take(transitions);
        // An alert is not to wait for the verdicts, nor they for a store that takes nothing.
        let saved = self.save().await;
        let judged = self.judge_incidents(until, now).await;
        saved?;
        self.save().await?;
        self.count(until).await?;
        judged
    }

    /// Runs the detectors.
    async fn judge(&mut self, until: Time, now: Time) -> Result<Vec<Transition>, RoundError> {
        let mut engine = self.engine.take().unwrap_or_else(|| resumed(&self.config, &self.live, now));
        let query = engine.query(until);
        let query = EdgeQuery { filter: Some(without_own(query.filter.as_deref())), ..query };
        let table = match self.table(&query).await {
            Ok(table) => table,
            Err(error) => {
                self.engine = Some(engine);
                return Err(error.into());
            }
        };
        // Arithmetic over thousands of series: not on a thread that serves connections.
        let round = move || {
            let transitions = engine.round(&table, now);
            (engine, transitions)
        };
        let (engine, transitions) = tokio::task::spawn_blocking(round).await.map_err(RoundError::Engine)?;
        let counters = engine.counters();
        self.metrics.detection_slices.set(counters.slices as i64);
        let turned_away = counters.slices_turned_away + counters.pairs_turned_away + counters.alerts_turned_away;
        self.metrics.detection_turned_away.set(turned_away as i64);
        self.tell_not_judged(not_judged(&counters));
        self.engine = Some(engine);
        Ok(transitions)
    }

    /// What a round looks at; where that is cut, with the pairs that would be cut first although something is wrong with them.
    async fn table(&self, query: &EdgeQuery) -> Result<EdgeTable, QueryError> {
        let mut table = EdgeSource::edges(&*self.tables, query).await?;
        if let Some(query) = edgescope_detect::query_failing(query, &table) {
            edgescope_detect::add_failing(&mut table, EdgeSource::edges(&*self.tables, &query).await?);
        }
        let dns = edgescope_detect::query_dns(query);
        let dns = EdgeQuery { filter: Some(without_own(dns.filter.as_deref())), ..dns };
        table.join(EdgeSource::edges(&*self.tables, &dns).await?);
        Ok(table)
    }

    /// Keeps what a round did not look at, with a word in the log when a bound begins to bite.
    fn tell_not_judged(&mut self, now: BTreeMap<String, u64>) {
        for (reason, count) in now.iter().filter(|(reason, _)| !self.not_judged.contains_key(*reason)) {
            tracing::warn!(reason, count, "the detectors do not look at everything");
        }
        self.not_judged = now;
    }

    /// Puts transitions into the live state, and aside for the store.
    fn take(&mut self, transitions: Vec<Transition>) {
        let (unsaved_alerts, unsaved_incidents, changed) = (&mut self.unsaved_alerts, &mut self.unsaved_incidents, &mut self.changed);
        let metrics = &self.metrics;
        self.live.update(|state| {
            for transition in transitions {
                match transition {
                    Transition::Alert(alert) => {
                        changed.extend(alert.incident.clone());
                        // One that never fired leaves no trace.
                        if alert.state != AlertState::Pending {
                            keep(unsaved_alerts, alert.id.clone(), *alert, metrics);
                        }
                    }
                    Transition::Incident(incident) => {
                        let mut incident = *incident;
                        changed.insert(incident.id.clone());
                        // The engine knows of verdicts what was stored when the server began; the newest is here.
                        if let Some(known) = state.incidents.get(&incident.id) {
                            incident.verdict = known.verdict.clone().or(incident.verdict);
                            incident.diagnosed_at = known.diagnosed_at.or(incident.diagnosed_at);
                        }
                        keep(unsaved_incidents, incident.id.clone(), incident.clone(), metrics);
                        if incident.closed_at.is_some() {
                            state.incidents.remove(&incident.id);
                            changed.remove(&incident.id);
                        } else {
                            state.incidents.insert(incident.id.clone(), incident);
                        }
                    }
                }
            }
            // The engine tells only what is worth storing; shown is its newest word. Pending alerts that came to nothing end without one.
            if let Some(engine) = &self.engine {
                state.alerts = engine.alerts().map(|a| (a.id.clone(), a.clone())).collect();
            }
        });
    }

    /// Gives each open incident that is due a new verdict, the one that waits longest first.
    async fn judge_incidents(&mut self, until: Time, now: Time) -> Result<(), RoundError> {
        let mut due: Vec<Incident> = self.live.now().incidents.into_values().filter(|i| self.is_due(i, now)).collect();
        due.sort_by_key(|i| (self.failing.contains(&i.id), i.diagnosed_at));
        self.failing.retain(|id| due.iter().any(|i| i.id == *id));
        let mut failed: Option<DiagnosisError> = None;
        for mut incident in due.into_iter().take(VERDICTS_A_ROUND) {
            let (from, to) = range(&incident, until, self.changed.contains(&incident.id));
            let verdict = match diagnosis::verdict(&self.tables, &self.metrics, from, to, None).await {
                Ok(verdict) => verdict,
                // The others are not to wait for one that fails; it comes again in the next round.
                Err(error) => {
                    tracing::warn!(incident = incident.id, %error, "no verdict");
                    self.failing.insert(incident.id);
                    failed = failed.or(Some(error));
                    continue;
                }
            };
            self.changed.remove(&incident.id);
            self.failing.remove(&incident.id);
            let first = incident.verdict.is_none();
            if first || incident.verdict.as_ref().is_some_and(|old| (old.verdict, &old.culprit) != (verdict.verdict, &verdict.culprit)) {
                tracing::info!(incident = incident.id, verdict = %verdict.verdict, class = %verdict.class, summary = verdict.summary, "verdict");
            }
            incident.verdict = Some(verdict);
            incident.diagnosed_at = Some(now);
            self.live.update(|state| drop(state.incidents.insert(incident.id.clone(), incident.clone())));
            keep(&mut self.unsaved_incidents, incident.id.clone(), incident, &self.metrics);
        }
        failed.map_or(Ok(()), |error| Err(error.into()))
    }

    fn is_due(&self, incident: &Incident, now: Time) -> bool {
        let Some(diagnosed) = incident.diagnosed_at.filter(|_| incident.verdict.is_some()) else { return true };
        let rested = now - diagnosed >= Span::seconds(VERDICT_EVERY_S);
        // Rows of the range may come late; after that, only a change of its alerts is news.
        let settled = diagnosed - incident.since > Span::seconds(VERDICT_RANGE_S + LATE_S);
        rested && (!settled || self.changed.contains(&incident.id))
    }

    /// Stores what changed; what the store does not take waits for the next round.
    async fn save(&mut self) -> Result<(), TablesError> {
        if !self.unsaved_alerts.is_empty() {
            self.tables.put_alerts(&self.unsaved_alerts.values().cloned().collect::<Vec<_>>()).await?;
            self.unsaved_alerts.clear();
        }
        if !self.unsaved_incidents.is_empty() {
            self.tables.put_incidents(&self.unsaved_incidents.values().cloned().collect::<Vec<_>>()).await?;
            self.unsaved_incidents.clear();
        }
        Ok(())
    }

    /// What runs now, for `/status`.
    async fn count(&self, until: Time) -> Result<(), RoundError> {
        let from = until - Span::seconds(STATUS_RANGE_S);
        let pairs = EdgeQuery::totals(from, until, &["source.workload", "dest.workload"], &["tcp.bytes"]);
        let pairs = EdgeQuery { filter: Some(without_own(None)), limit: Some(PAIRS_MAX), ..pairs };
        let pairs = EdgeSource::edges(&*self.tables, &pairs).await?;
        let mut coverage = self.tables.coverage(from, until).await?;
        coverage.losses.extend(self.not_judged.clone());
        let workloads: BTreeSet<&String> = pairs.rows.iter().flat_map(|row| &row.key).collect();
        self.live.update(|state| {
            let of = |wanted| state.alerts.values().filter(|a| a.state == wanted).count();
            state.counts = Counts {
                edges: pairs.groups_total,
                workloads: workloads.len(),
                agents: self.intake.agents.there(),
                alerts_firing: of(AlertState::Firing),
                alerts_pending: of(AlertState::Pending),
                incidents_open: state.incidents.len(),
            };
            self.metrics.coverage.set(coverage.fraction);
            state.coverage = coverage;
            self.metrics.alerts_firing.set(state.counts.alerts_firing as i64);
            self.metrics.incidents_open.set(state.counts.incidents_open as i64);
        });
        Ok(())
    }
}

/// What the last round had no room for, as coverage names losses.
fn not_judged(counters: &Counters) -> BTreeMap<String, u64> {
    let all = [("server.slices_not_judged", counters.slices_not_judged), ("server.pairs_not_judged", counters.pairs_not_judged)];
    all.into_iter().filter(|(_, count)| *count > 0).map(|(reason, count)| (reason.to_owned(), count as u64)).collect()
}

/// An engine that takes up what is open now.
fn resumed(config: &DetectorsConfig, live: &Live, now: Time) -> Engine {
    let open = live.now();
    let mut engine = Engine::new(config.clone());
    engine.resume(open.alerts.into_values().collect(), open.incidents.into_values().collect(), now);
    engine
}

/// Keeps the newest state of each id; a full map loses its first, counted and with a word in the log.
fn keep<T>(unsaved: &mut BTreeMap<String, T>, id: String, state: T, metrics: &Metrics) {
    unsaved.insert(id, state);
    if unsaved.len() > UNSAVED_MAX
        && let Some((lost, _)) = unsaved.pop_first()
    {
        metrics.alerts_forgotten.inc();
        tracing::error!(id = lost, "the store has not taken alerts for so long that one was forgotten");
    }
}

/// From the start of the trouble until now, or for its first minutes if it lasts and nothing new came.
fn range(incident: &Incident, until: Time, changed: bool) -> (DateTime<Utc>, DateTime<Utc>) {
    let from = incident.since.min(until - Span::seconds(10));
    let full = incident.since + Span::seconds(VERDICT_RANGE_S);
    (from, if changed { until } else { until.min(full).max(from + Span::seconds(10)) })
}
