//! Asks the tables what diagnose wants to know, and diagnose for the verdict.

use crate::intake::own::without_own;
use crate::metrics::Metrics;
use crate::tables::{Tables, TablesError};
use edgescope_diagnose::Inputs;
use edgescope_model::query::{Coverage, EdgeQuery, EdgeSource, QueryError};
use edgescope_model::time::Time;
use edgescope_model::verdict::{Answer, Class, Culprit, Verdict};
use std::sync::Arc;
use std::time::Instant;

/// Why there is no verdict.
#[derive(Debug, thiserror::Error)]
pub enum DiagnosisError {
    #[error(transparent)]
    Query(#[from] QueryError),
    #[error(transparent)]
    Tables(#[from] TablesError),
    #[error("the diagnosis failed: {0}")]
    Failed(#[from] tokio::task::JoinError),
}

/// The verdict on a range, on all edges or on what touches one workload.
///
/// # Errors
/// If the tables do not answer.
pub async fn verdict(tables: &Arc<dyn Tables>, metrics: &Metrics, from: Time, to: Time, scope: Option<String>) -> Result<Verdict, DiagnosisError> {
    let started = Instant::now();
    let asked = edgescope_diagnose::query(from, to);
    let query = EdgeQuery { filter: Some(without_own(asked.filter.as_deref())), ..asked.clone() };
    let coverage = tables.coverage(from, to).await?;
    let mut table = match EdgeSource::edges(&**tables, &query).await {
        // No later try would know more: that is an answer, too.
        Err(error @ QueryError::Gone { .. }) => return Ok(unknowable(&error, from, to, coverage)),
        table => table?,
    };
    let dns = edgescope_diagnose::query_dns(&asked);
    table.join(EdgeSource::edges(&**tables, &EdgeQuery { filter: Some(without_own(dns.filter.as_deref())), ..dns }).await?);
    // Tens of milliseconds of arithmetic: not on a thread that serves connections.
    let judged = move || edgescope_diagnose::diagnose(&Inputs { table: &table, coverage: &coverage, from, to, scope: scope.as_deref() });
    let verdict = tokio::task::spawn_blocking(judged).await?;
    metrics.diagnose_seconds.observe(started.elapsed().as_secs_f64());
    Ok(verdict)
}

/// The verdict on a range of which nothing is kept that a verdict could be made of.
fn unknowable(why: &QueryError, from: Time, to: Time, coverage: Coverage) -> Verdict {
    Verdict {
        verdict: Answer::InsufficientEvidence,
        class: Class::None,
        confidence: 0.0,
        culprit: Culprit::none(),
        since: None,
        summary: format!("Nobody can tell any more: {why}"),
        evidence: Vec::new(),
        affected: Vec::new(),
        controls: Vec::new(),
        hypotheses: Vec::new(),
        coverage,
        from,
        to,
        edges: 0,
    }
}
