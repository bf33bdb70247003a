//! The commit of agents' batches: exactly once, durable before it returns.
//!
//! The names of edges and addresses and the receipts are committed first, so that whoever sees a fact can name it; then the facts, in one commit that
//! carries `(agent, sequence)` of each batch as Delta application transactions. Every attempt is decided on a fresh view: what is in already is dropped
//! from it, whoever put it there.

use crate::batch::{AgentBatch, Committed};
use crate::counters::{add, set};
use crate::dims::{self, Admission, DAY_US};
use crate::error::{Result, StoreError};
use crate::files::Effort;
use crate::merge::Merge;
use crate::store::Store;
use crate::table::{ATTEMPTS_MAX, Attempt, Change, Table};
use crate::{endpoints, receipts};
use chrono::{DateTime, Utc};
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::error::ArrowError;
use deltalake::kernel::Add;
use std::collections::HashMap;
use std::time::Instant;

impl Store {
    /// Stores batches, all in one commit; returns how each came to be stored, in their order. After an error nothing may be acknowledged: send
    /// them again, those that got in all the same are found to be there.
    pub async fn commit(&self, batches: &[AgentBatch]) -> Result<Vec<Committed>> {
        let started = Instant::now();
        let done = self.commit_in_turn(batches).await;
        match &done {
            Ok(outcome) => {
                let now = outcome.iter().filter(|&&committed| committed == Committed::Now).count() as u64;
                add(&self.counting.commits, u64::from(now > 0));
                add(&self.counting.batches, now);
                add(&self.counting.duplicates, outcome.len() as u64 - now);
                set(&self.counting.commit_us_last, u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX));
            }
            Err(_) => add(&self.counting.commit_failures, 1),
        }
        done
    }

    async fn commit_in_turn(&self, batches: &[AgentBatch]) -> Result<Vec<Committed>> {
        batches.iter().try_for_each(check)?;
        let _turn = self.commit_turn.lock().await;
        let mut prepared: Option<(Vec<bool>, Option<Add>)> = None;
        for _ in 0..ATTEMPTS_MAX {
            let head = self.facts_10s.refresh().await?;
            let fresh = self.fresh(batches).await?;
            // What was written for an attempt that lost holds for the next one if the same batches are still to be stored.
            let (chosen, file) = match prepared.take() {
                Some(same) if same.0 == fresh => same,
                before => {
                    if let Some((_, Some(file))) = before {
                        self.facts_10s.discard(&file.path).await;
                    }
                    let file = self.prepare(&chosen(batches, &fresh), self.now()).await?;
                    (fresh, file)
                }
            };
            let storing = self::chosen(batches, &chosen);
            if storing.is_empty() {
                // Seen is not safe: whoever wrote it may not have come to the end of its own commit.
                self.facts_10s.sync_log().await?;
                return Ok(vec![Committed::Before; batches.len()]);
            }
            let mut sequences = HashMap::<&str, i64>::new();
            for batch in &storing {
                let highest = sequences.entry(&batch.agent_id).or_default();
                *highest = (*highest).max(batch.sequence as i64);
            }
            let transactions = sequences.into_iter().map(|(agent, sequence)| (agent.to_owned(), sequence)).collect();
            let change = Change { adds: file.clone().into_iter().collect(), removes: Vec::new(), transactions };
            match self.facts_10s.attempt(&head, &change).await? {
                Attempt::Committed(_) => {
                    add(&self.counting.rows, storing.iter().map(|batch| batch.rows.len() as u64).sum());
                    return Ok(outcome(batches, &chosen));
                }
                Attempt::Conflict => {
                    add(&self.counting.conflicts, 1);
                    prepared = Some((chosen, file));
                }
            }
        }
        Err(StoreError::Contention { table: self.facts_10s.name().to_owned(), attempts: ATTEMPTS_MAX })
    }

    /// Which of the batches are not stored yet; of two with one sequence the first.
    async fn fresh(&self, batches: &[AgentBatch]) -> Result<Vec<bool>> {
        let mut stored = HashMap::new();
        let mut fresh = Vec::with_capacity(batches.len());
        for (at, batch) in batches.iter().enumerate() {
            let highest = match stored.get(batch.agent_id.as_str()) {
                Some(highest) => *highest,
                None => {
                    let highest = self.facts_10s.transaction(&batch.agent_id).await?.unwrap_or(0);
                    stored.insert(batch.agent_id.as_str(), highest);
                    highest
                }
            };
            let again = batches[..at].iter().any(|before| before.agent_id == batch.agent_id && before.sequence == batch.sequence);
            fresh.push(batch.sequence as i64 > highest && !again);
        }
        Ok(fresh)
    }

    /// Commits names and receipts, and writes the facts' file.
    async fn prepare(&self, batches: &[&AgentBatch], now: DateTime<Utc>) -> Result<Option<Add>> {
        if batches.is_empty() {
            return Ok(None);
        }
        let (facts, admission) = self.add_up(batches, now).await?;
        let batch = facts.into_batch(&self.facts_10s.spec.schema).map_err(|e| StoreError::file(self.facts_10s.name(), "(new)", e))?;
        let addresses: Vec<_> = batches.iter().flat_map(|batch| batch.endpoints.iter().cloned()).collect();
        let named = async {
            let now_us = now.timestamp_micros();
            let file = append(&self.dims.table, !admission.fresh.is_empty(), || dims::to_batch(&admission.fresh, now_us)).await?;
            if file.is_none() {
                // Here too seen is not safe: the names that these facts lean on may be another's, or a commit's of our own that failed at its end.
                self.dims.table.sync_log().await?;
            }
            self.dims.insert(&admission.fresh, now_us.div_euclid(DAY_US), file).await;
            Ok(())
        };
        let addressed = append(&self.endpoints, !addresses.is_empty(), || endpoints::to_batch(&addresses, now));
        let received = append(&self.receipts.table, true, || receipts::to_batch(batches));
        let written = self.facts_10s.write(vec![batch], Effort::Fresh, true);
        let ((), _, _, file) = futures::try_join!(named, addressed, received, written)?;
        add(&self.counting.collisions, admission.collisions);
        add(&self.counting.series_capped, admission.capped);
        add(&self.counting.series_folded, admission.folded);
        Ok(file)
    }

    /// One row for each window and edge of the batches.
    async fn add_up(&self, batches: &[&AgentBatch], now: DateTime<Utc>) -> Result<(Merge, Admission)> {
        self.dims.refresh().await?;
        let today = now.timestamp_micros().div_euclid(DAY_US);
        let known = self.dims.read_as_of(today);
        let (mut facts, mut admission) = (Merge::all(), Admission::default());
        for row in batches.iter().flat_map(|batch| &batch.rows).filter(|row| !row.is_empty()) {
            facts.add_row(known.admit(&mut admission, &row.dims, self.config.series_max), row);
        }
        Ok((facts, admission))
    }

    /// The highest sequence of an agent that is stored; 0 if none.
    pub async fn committed_sequence(&self, agent_id: &str) -> Result<u64> {
        self.facts_10s.refresh().await?;
        let sequence = self.facts_10s.transaction(agent_id).await?;
        if sequence.is_some() {
            self.facts_10s.sync_log().await?;
        }
        Ok(sequence.and_then(|sequence| u64::try_from(sequence).ok()).unwrap_or(0))
    }
}

/// Refuses a batch that can never be stored, so that it alone fails, and not those that it would have been committed with.
pub(crate) fn check(batch: &AgentBatch) -> Result<()> {
    match i64::try_from(batch.sequence) {
        Ok(_) => Ok(()),
        Err(_) => Err(StoreError::Invalid(format!("agent '{}': sequence {} is above {}", batch.agent_id, batch.sequence, i64::MAX))),
    }
}

fn chosen<'a>(batches: &'a [AgentBatch], fresh: &[bool]) -> Vec<&'a AgentBatch> {
    batches.iter().zip(fresh).filter(|(_, fresh)| **fresh).map(|(batch, _)| batch).collect()
}

fn outcome(batches: &[AgentBatch], fresh: &[bool]) -> Vec<Committed> {
    debug_assert_eq!(batches.len(), fresh.len());
    fresh.iter().map(|&fresh| if fresh { Committed::Now } else { Committed::Before }).collect()
}

/// Appends one batch to a table if there is need; returns its file's path.
pub(crate) async fn append(table: &Table, needed: bool, batch: impl FnOnce() -> Result<RecordBatch, ArrowError>) -> Result<Option<String>> {
    if !needed {
        return Ok(None);
    }
    let batch = batch().map_err(|e| StoreError::file(table.name(), "(new)", e))?;
    let Some(add) = table.write(vec![batch], Effort::Fresh, true).await? else { return Ok(None) };
    let path = add.path.clone();
    table.append(vec![add]).await?;
    Ok(Some(path))
}
