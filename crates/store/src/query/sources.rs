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

const MINUTE_US: i64 = Resolution::Minute.seconds() * 1_000_000;

/// Files of one table, as of one version.
pub(crate) struct Source {
    pub table: Arc<Table>,
    pub head: Arc<Head>,
    pub paths: Vec<String>,
}

/// Files that together hold every fact of a range once.
pub(crate) struct Sources {
    pub parts: Vec<Source>,
    /// The range that they answer: the one asked for, or the end of it of which pods and addresses are still kept; empty if of none.
    pub range: Range,
    pub resolution: Resolution,
}

impl Store {
    /// Chooses the resolution for a range and its files. Long ranges, and those that began before the kept ten-second rows, are answered by one-minute
    /// rows and those ten-second rows that are not rolled up yet.
    pub(crate) async fn sources(&self, plan: &Plan, range: Range) -> Result<Sources> {
        // In this order, and the minutes with what they have consumed at one time: every ten-second file that its version names is in one of the two.
        let fine = self.facts_10s.refresh().await?;
        let (coarse, consumed) = consumed(&self.facts_1m).await?;
        // The first minute begins up to a minute before its first ten seconds.
        let older = first_us(&coarse).saturating_add(MINUTE_US) <= first_us(&fine);
        // As far as windows can reach out of the range.
        let reach = range.aligned(Resolution::Minute.seconds(), DateTime::<Utc>::MAX_UTC);
        // A late row can be older than all that is kept around it.
        let kept_us = before(self.now(), self.config.retention_10s_s).timestamp_micros().max(first_us(&fine));
        let expired = older && range.from_s * 1_000_000 < kept_us;
        if plan.ten_seconds_only || !expired && (plan.ten_seconds_rather || !range.is_long()) {
            let range = if plan.ten_seconds_only { self.kept(range, &fine, &coarse) } else { range };
            let parts = vec![source(&self.facts_10s, fine, reach, |_| true)];
            return Ok(Sources { parts, range, resolution: Resolution::TenSeconds });
        }
        let pending = pending(&self.facts_10s, consumed, fine.version).await?;
        let parts = vec![source(&self.facts_1m, coarse, reach, |_| true), source(&self.facts_10s, fine, reach, |path| pending.contains(path))];
        Ok(Sources { parts, range, resolution: Resolution::Minute })
    }

    /// The part of a range of which nothing but minutes is left cut off: a sum over what is there, divided by the time of all, would be no rate.
    fn kept(&self, range: Range, fine: &Head, coarse: &Head) -> Range {
        let now = self.now();
        let retained_us = before(now, self.config.retention_10s_s).timestamp_micros();
        let first_us = first_us(fine).min(now.timestamp_micros());
        // Ten-second rows that should be there and of which the minutes are: they were dropped for `max_bytes`.
        let evicted = has(coarse, retained_us, first_us - MINUTE_US);
        let kept_us = if evicted { first_us } else { retained_us };
        // Where there were none at any time, nothing is missing.
        if !has(coarse, range.from_s * 1_000_000, kept_us) {
            return range;
        }
        let window_us = Resolution::TenSeconds.seconds() * 1_000_000;
        Range { from_s: -(-kept_us).div_euclid(window_us) * Resolution::TenSeconds.seconds(), ..range }
    }
}

/// Start of the first row; far in the future without rows.
fn first_us(head: &Head) -> i64 {
    head.files().iter().filter_map(|file| file.span_us).map(|(least, _)| least).min().unwrap_or(i64::MAX)
}

/// Whether a table has rows between two moments.
fn has(head: &Head, from_us: i64, to_us: i64) -> bool {
    from_us < to_us && head.files().iter().any(|file| file.overlaps(from_us, to_us))
}

fn source(table: &Arc<Table>, head: Arc<Head>, range: Range, wanted: impl Fn(&str) -> bool) -> Source {
    let (from_us, to_us) = (range.from_s * 1_000_000, range.to_s * 1_000_000);
    let paths = head.files().iter().filter(|file| file.overlaps(from_us, to_us) && wanted(&file.path)).map(|file| file.path.clone()).collect();
    Source { table: Arc::clone(table), head, paths }
}
