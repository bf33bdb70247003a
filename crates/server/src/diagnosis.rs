//! Asks the tables what diagnose wants to know, and diagnose for the verdict.

use crate::intake::own::without_own;
use crate::metrics::Metrics;
use crate::tables::{Tables, TablesError};
use edgescope_diagnose::Inputs;
use edgescope_model::query::{EdgeQuery, EdgeSource, QueryError};
use edgescope_model::time::Time;
use edgescope_model::verdict::Verdict;
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

/// The verdict on a range, on all edges or on what touches one of some workloads.
///
/// # Errors
/// If the tables do not answer.
pub async fn verdict(
    tables: &Arc<dyn Tables>,
    metrics: &Metrics,
    from: Time,
    to: Time,
    now: Time,
    scope: Vec<String>,
) -> Result<Verdict, DiagnosisError> {
    let started = Instant::now();
    let query = edgescope_diagnose::query(from, to);
    let query = EdgeQuery { filter: Some(without_own(query.filter.as_deref())), ..query };
    let table = EdgeSource::edges(&**tables, &query).await?;
    let coverage = tables.coverage(from, to).await?;
    // Tens of milliseconds of arithmetic: not on a thread that serves connections.
    let judged = move || edgescope_diagnose::diagnose(&Inputs { table: &table, coverage: &coverage, from, to, now, scope: &scope });
    let verdict = tokio::task::spawn_blocking(judged).await?;
    metrics.diagnose_seconds.observe(started.elapsed().as_secs_f64());
    Ok(verdict)
}
