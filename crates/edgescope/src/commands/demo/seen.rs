//! What a person would see who watches the API: alerts, and the verdicts of incidents.

use super::story::{Stage, Teller, watch};
use crate::client::Asking;
use anyhow::Context;
use chrono::{DateTime, Utc};
use edgescope_model::alert::{Alert, AlertState, Incident};
use edgescope_model::verdict::{Answer, Class, Culprit, Verdict};
use edgescope_server::api::alerts::{AlertsAnswer, IncidentsAnswer};
use serde::Serialize;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// How often the API is asked what has happened.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A fault that has raised no alert by then raises none: nine windows.
const ALERT_PATIENCE: Duration = Duration::from_secs(90);
/// A verdict is taken when it has stood for three windows and more, so that it rests on more than the first bad one.
const VERDICT_STANDS: Duration = Duration::from_secs(40);
/// And at the latest so long after the alert.
const VERDICT_PATIENCE: Duration = Duration::from_secs(60);

/// A verdict as it was seen.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Said {
    pub verdict: Answer,
    pub class: Class,
    pub culprit: Culprit,
    /// Seconds from the start.
    pub at_s: f64,
}

/// What was seen of a fault, or of a quiet run.
#[derive(Default)]
pub struct Seen {
    pub alerts: Vec<Alert>,
    /// When the API first had an alert of the fault.
    pub alerted_at: Option<DateTime<Utc>>,
    pub said: Vec<Said>,
    pub was_asked_for: bool,
    pub verdict: Option<Verdict>,
    /// When the verdict that stands was first seen, in seconds from the start.
    pub told_s: f64,
}

impl Seen {
    /// Takes note of an incident's verdict; whether it says something new.
    fn note(&mut self, verdict: &Verdict, at_s: f64) -> bool {
        let said = Said { verdict: verdict.verdict, class: verdict.class, culprit: verdict.culprit.clone(), at_s };
        let known = |s: &Said| (s.verdict, s.class, &s.culprit) == (said.verdict, said.class, &said.culprit);
        if self.said.iter().any(known) {
            return false;
        }
        self.said.push(said);
        true
    }
}

/// Whether two verdicts say the same, with more or less evidence.
fn is_same(one: &Verdict, other: &Verdict) -> bool {
    (one.verdict, one.class, &one.culprit) == (other.verdict, other.class, &other.culprit)
}

/// After a fault: the alert, then the verdict of its incident until it stands.
pub async fn fault(
    api: &Api,
    stage: &mut impl Stage,
    teller: &Teller,
    started: DateTime<Utc>,
    injected_at: DateTime<Utc>,
) -> anyhow::Result<(Seen, Verdict)> {
    let began = Instant::now();
    let mut alerted: Option<Instant> = None;
    let mut standing: Option<(Verdict, Instant)> = None;
    let mut seen = Seen::default();
    loop {
        watch(stage, LOOK_EVERY).await?;
        seen.alerts = api.alerts(injected_at)?;
        if alerted.is_none()
            && let Some(first) = seen.alerts.first()
        {
            (alerted, seen.alerted_at) = (Some(Instant::now()), Some(Utc::now()));
            teller.say(&format!("ALERT {} · {}", first.detector, first.summary))?;
        }
        if let Some(verdict) = look_at_incidents(api, injected_at, teller, &mut seen)? {
            let same = standing.as_ref().is_some_and(|(before, _)| is_same(before, &verdict));
            if !same {
                seen.told_s = teller.elapsed_s();
            }
            let since = standing.as_ref().filter(|_| same).map_or_else(Instant::now, |(_, since)| *since);
            standing = Some((verdict, since));
        }
        let stands = standing.as_ref().is_some_and(|(_, since)| since.elapsed() >= VERDICT_STANDS);
        let late = alerted.map_or(began.elapsed() >= ALERT_PATIENCE, |at| at.elapsed() >= VERDICT_PATIENCE);
        if stands || late {
            break;
        }
    }
    let verdict = match standing {
        Some((verdict, _)) => verdict,
        None => ask(api, started, teller, &mut seen)?,
    };
    seen.verdict = Some(verdict.clone());
    Ok((seen, verdict))
}

/// Without a fault: whatever any incident says for so long, then the answer to the question.
pub async fn nothing(api: &Api, stage: &mut impl Stage, teller: &Teller, started: DateTime<Utc>, time: Duration) -> anyhow::Result<(Seen, Verdict)> {
    let end = Instant::now() + time;
    let mut seen = Seen::default();
    while Instant::now() < end {
        watch(stage, LOOK_EVERY).await?;
        look_at_incidents(api, started, teller, &mut seen)?;
    }
    let verdict = ask(api, started, teller, &mut seen)?;
    seen.verdict = Some(verdict.clone());
    Ok((seen, verdict))
}

/// Takes note of all incidents' verdicts; that of the newest incident which has one.
fn look_at_incidents(api: &Api, since: DateTime<Utc>, teller: &Teller, seen: &mut Seen) -> anyhow::Result<Option<Verdict>> {
    let mut newest = None;
    for verdict in api.incidents(since)?.into_iter().filter_map(|incident| incident.verdict) {
        if seen.note(&verdict, teller.elapsed_s()) {
            teller.say(&format!("VERDICT {} · {}", verdict.verdict, verdict.summary))?;
        }
        newest = newest.or(Some(verdict));
    }
    Ok(newest)
}

/// What a person would be told who asks, though nothing fired.
fn ask(api: &Api, started: DateTime<Utc>, teller: &Teller, seen: &mut Seen) -> anyhow::Result<Verdict> {
    let verdict = api.diagnose(started)?;
    teller.say(&format!("asked for a verdict: {} · {}", verdict.verdict, verdict.summary))?;
    (seen.was_asked_for, seen.told_s) = (true, teller.elapsed_s());
    Ok(verdict)
}

/// The few questions that the demo asks, as any user would.
pub struct Api(Asking);

impl Api {
    pub fn new(http: SocketAddr) -> Self {
        Self(Asking { server: format!("http://{http}"), token_file: None, ca_file: None, json: true })
    }

    /// Alerts that fired since, earliest first.
    pub fn alerts(&self, since: DateTime<Utc>) -> anyhow::Result<Vec<Alert>> {
        let mut alerts = self.get::<AlertsAnswer>("/alerts", &[])?.alerts;
        alerts.retain(|a| a.state != AlertState::Pending && a.fired_at.is_some_and(|at| at >= since));
        alerts.sort_by_key(|a| a.fired_at);
        Ok(alerts)
    }

    /// Incidents opened since, newest first.
    fn incidents(&self, since: DateTime<Utc>) -> anyhow::Result<Vec<Incident>> {
        let mut incidents = self.get::<IncidentsAnswer>("/incidents", &[])?.incidents;
        incidents.retain(|i| i.opened_at >= since);
        incidents.sort_by_key(|i| std::cmp::Reverse(i.opened_at));
        Ok(incidents)
    }

    fn diagnose(&self, from: DateTime<Utc>) -> anyhow::Result<Verdict> {
        self.get("/diagnose", &[("from", from.to_rfc3339()), ("to", "now".to_owned())])
    }

    fn get<T: serde::de::DeserializeOwned>(&self, path: &str, parameters: &[(&str, String)]) -> anyhow::Result<T> {
        tokio::task::block_in_place(|| self.0.get(path, parameters)).with_context(|| format!("asking {path}"))
    }
}
