//! `/status`, `/agents`, `/coverage`: how Edgescope itself is, and what it would say first.

use super::error::{ApiError, ErrorBody, Params};
use super::range::RangeParams;
use crate::live::{Counts, Now, Rounds};
use crate::state::AppState;
use crate::tables::AgentRecord;
use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use edgescope_model::alert::Incident;
use edgescope_model::query::Coverage;
use edgescope_model::verdict::Answer;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

/// A last good round older than this, in seconds, says nothing of now: rounds come every five.
const ROUND_AGE_S_MAX: i64 = 60;

/// What the banner says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum HeadlineState {
    /// An incident is open, and it is the network.
    Network,
    /// An incident is open, and it is not the network.
    NotNetwork,
    /// An incident is open, and more than one explanation fits.
    Ambiguous,
    /// An incident is open and the evidence does not carry a verdict, or too little is seen to say that all is well.
    CannotSay,
    /// An incident is open and its first verdict is on its way.
    Deciding,
    /// Nothing is open, and enough is seen to say so.
    Clear,
    /// No agent has shipped anything yet.
    NoData,
}

/// The first sentence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Headline {
    pub state: HeadlineState,
    pub text: String,
}

/// The whole of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Status {
    pub version: String,
    pub now: DateTime<Utc>,
    pub started_at: DateTime<Utc>,
    pub uptime_s: f64,
    pub headline: Headline,
    /// The open incident that hits most, with its verdict.
    pub incident: Option<Incident>,
    pub counts: Counts,
    /// Of the last five minutes.
    pub coverage: Coverage,
    /// At least one agent's readings are simulated.
    pub simulated: bool,
    /// Open to all beyond loopback, on purpose.
    pub insecure: bool,
    /// Callers need tokens.
    pub tokens: bool,
    pub detection: Rounds,
    /// Why the store does not take data; absent if it does.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub store_error: Option<String>,
}

/// How Edgescope is, and the open incident.
#[utoipa::path(get, path = "/status", tag = "status", responses((status = 200, body = Status)))]
pub async fn status(State(state): State<Arc<AppState>>) -> Json<Status> {
    let now = state.live.now();
    let agents = state.intake.agents.records();
    let store_error = state.tables.writable().await.err().map(|e| e.to_string());
    let headline = headline(&now, store_error.as_deref(), agents.iter().any(|a| a.last_window_end.is_some()), Utc::now());
    let counts = Counts { agents: state.intake.agents.there(), ..now.counts };
    Json(Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        now: Utc::now(),
        started_at: state.started_at,
        uptime_s: state.started.elapsed().as_secs_f64(),
        headline,
        incident: now.main_incident().cloned(),
        counts,
        coverage: now.coverage,
        simulated: agents.iter().any(|a| a.simulated),
        insecure: state.insecure,
        tokens: state.gate.wants_tokens(),
        detection: now.rounds,
        store_error,
    })
}

fn headline(now: &Now, store_error: Option<&str>, any_data: bool, at: DateTime<Utc>) -> Headline {
    let cannot_say = |why: String| Headline { state: HeadlineState::CannotSay, text: format!("cannot say: {why}") };
    if let Some(incident) = now.main_incident() {
        return match &incident.verdict {
            None => Headline { state: HeadlineState::Deciding, text: "an incident is open, the verdict is on its way".to_owned() },
            Some(verdict) => {
                let state = match verdict.verdict {
                    Answer::Network => HeadlineState::Network,
                    Answer::NotNetwork => HeadlineState::NotNetwork,
                    Answer::Ambiguous => HeadlineState::Ambiguous,
                    Answer::InsufficientEvidence => HeadlineState::CannotSay,
                };
                Headline { state, text: verdict.summary.clone() }
            }
        };
    }
    let coverage = &now.coverage;
    if !any_data {
        return Headline { state: HeadlineState::NoData, text: "no agent has shipped anything yet".to_owned() };
    }
    if let Some(error) = store_error.or(now.rounds.error.as_deref()) {
        return cannot_say(error.to_owned());
    }
    // Coverage and counts are those of the last good round.
    let Some(last_at) = now.rounds.last_at else {
        return cannot_say("the detectors have not finished their first round".to_owned());
    };
    let age_s = (at - last_at).num_seconds();
    if age_s > ROUND_AGE_S_MAX {
        return cannot_say(format!("the detectors last finished a round {age_s} s ago"));
    }
    if let Some(blind_spot) = coverage.blind_spot() {
        return cannot_say(blind_spot);
    }
    let left = coverage.who_left().map_or_else(String::new, |who| format!(" · {who}"));
    Headline {
        state: HeadlineState::Clear,
        text: format!("no network problem seen · {} edges, coverage {:.1} %{left}", now.counts.edges, coverage.fraction * 100.0),
    }
}

/// The agents that are known.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AgentsAnswer {
    pub agents: Vec<AgentRecord>,
}

/// Agents, with what they see, lag and lost.
#[utoipa::path(get, path = "/agents", tag = "status", responses((status = 200, body = AgentsAnswer)))]
pub async fn agents(State(state): State<Arc<AppState>>) -> Json<AgentsAnswer> {
    Json(AgentsAnswer { agents: state.intake.agents.records() })
}

/// How much of what should have been seen in a range was seen.
#[utoipa::path(get, path = "/coverage", tag = "status", params(RangeParams), responses((status = 200, body = Coverage), (status = 400, body = ErrorBody)))]
pub async fn coverage(State(state): State<Arc<AppState>>, Params(params): Params<RangeParams>) -> Result<Json<Coverage>, ApiError> {
    let (from, to) = params.read("-15m")?;
    Ok(Json(state.tables.coverage(from, to).await?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use edgescope_model::time::from_seconds;

    fn seen(fraction: f64) -> Now {
        let coverage = Coverage { fraction, agents_expected: 3, agents_reporting: 3, ..Coverage::default() };
        let rounds = Rounds { last_at: Some(from_seconds(1)), ..Rounds::default() };
        Now { coverage, rounds, counts: Counts { edges: 338, ..Counts::default() }, ..Now::default() }
    }

    #[test]
    fn low_coverage_never_reads_as_all_well() {
        let headline = |now: &Now, any_data| headline(now, None, any_data, from_seconds(1));
        assert_eq!(
            headline(&seen(0.998), true),
            Headline { state: HeadlineState::Clear, text: "no network problem seen · 338 edges, coverage 99.8 %".into() }
        );
        assert_eq!(headline(&seen(0.5), true).state, HeadlineState::CannotSay);
        let mut silent = seen(1.0);
        silent.coverage.silent.insert("node-1".into(), from_seconds(1));
        assert_eq!(headline(&silent, true).text, "cannot say: 1 of 3 agents silent");
        assert_eq!(headline(&Now::default(), true).state, HeadlineState::CannotSay, "no round yet");
        assert_eq!(headline(&seen(1.0), false).state, HeadlineState::NoData);
    }

    #[test]
    fn detectors_that_stand_still_never_read_as_all_well() {
        let at = |s| headline(&seen(1.0), None, true, from_seconds(1 + s));
        assert_eq!(at(ROUND_AGE_S_MAX).state, HeadlineState::Clear);
        let late = at(ROUND_AGE_S_MAX + 1);
        assert_eq!((late.state, late.text.as_str()), (HeadlineState::CannotSay, "cannot say: the detectors last finished a round 61 s ago"));
        assert_eq!(headline(&seen(1.0), Some("disk full"), true, from_seconds(1)).text, "cannot say: disk full");
        let mut failed = seen(1.0);
        failed.rounds.error = Some("broken off".into());
        assert_eq!(headline(&failed, None, true, from_seconds(1)).text, "cannot say: broken off");
    }
}
