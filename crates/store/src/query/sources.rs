//! Which files of which table answer a range.

use super::plan::{Plan, Range};
use crate::error::Result;
use crate::maintain::before;
use crate::rollup::{consumed, pending};
use crate::store::Store;
use crate::table::{Head, Table};
use chrono::{DateTime, Utc};
use edgescope_model::time::Resolution;
use std::sync::Arc;

/// Files of one table, as of one version.
pub(crate) struct Source {
    pub table: Arc<Table>,
    pub head: Arc<Head>,
    pub paths: Vec<String>,
}

/// Files that together hold every fact of a range once.
pub(crate) struct Sources {
    pub parts: Vec<Source>,
    pub resolution: Resolution,
}

impl Store {
    /// Chooses the resolution for a range and its files. Long ranges, and those that began before the kept ten-second rows, are answered by one-minute
    /// rows and those ten-second rows that are not rolled up yet.
    pub(crate) async fn sources(&self, plan: &Plan, range: Range) -> Result<Sources> {
        // In this order, and the minutes with what they have consumed at one time: every ten-second file that its version names is in one of the two.
        let fine = self.facts_10s.refresh().await?;
        let (coarse, consumed) = consumed(&self.facts_1m).await?;
        let first_us = |head: &Head| head.files().iter().filter_map(|file| file.span_us).map(|(least, _)| least).min().unwrap_or(i64::MAX);
        // The first minute begins up to a minute before its first ten seconds.
        let older = first_us(&coarse).saturating_add(Resolution::Minute.seconds() * 1_000_000) <= first_us(&fine);
        // As far as windows can reach out of the range.
        let reach = range.aligned(Resolution::Minute.seconds(), DateTime::<Utc>::MAX_UTC);
        // A late row can be older than all that is kept around it.
        let kept_us = before(self.now(), self.config.retention_10s_s).timestamp_micros().max(first_us(&fine));
        let expired = older && range.from_s * 1_000_000 < kept_us;
        if plan.ten_seconds_only || !expired && (plan.ten_seconds_rather || !range.is_long()) {
            let parts = vec![source(&self.facts_10s, fine, reach, |_| true)];
            return Ok(Sources { parts, resolution: Resolution::TenSeconds });
        }
        let pending = pending(&self.facts_10s, consumed, fine.version).await?;
        let parts = vec![source(&self.facts_1m, coarse, reach, |_| true), source(&self.facts_10s, fine, reach, |path| pending.contains(path))];
        Ok(Sources { parts, resolution: Resolution::Minute })
    }
}

fn source(table: &Arc<Table>, head: Arc<Head>, range: Range, wanted: impl Fn(&str) -> bool) -> Source {
    let (from_us, to_us) = (range.from_s * 1_000_000, range.to_s * 1_000_000);
    let paths = head.files().iter().filter(|file| file.overlaps(from_us, to_us) && wanted(&file.path)).map(|file| file.path.clone()).collect();
    Source { table: Arc::clone(table), head, paths }
}
