//! Ten-second rows become one-minute rows.
//!
//! A roll-up takes the files that were added to `edges_10s` since the version that it last consumed, adds their rows up by minute and rolled-up edge, and
//! commits them to `edges_1m` together with the version it has now consumed, as an application transaction. So a late row is one more row of its
//! minute, none is missed or doubled, and of two processes that roll up at once one finds itself late.

use crate::error::Result;
use crate::table::{Head, Table};
use deltalake::kernel::Action;
use std::collections::HashSet;
use std::sync::Arc;

/// Application id of the roll-up's transactions in its target table.
pub(crate) const ROLLUP: &str = "edgescope.rollup";

/// The target's newest version, and the version of the source that it has consumed: one belongs to the other. `None` before the first roll-up.
pub(crate) async fn consumed(target: &Table) -> Result<(Arc<Head>, Option<u64>)> {
    let (head, version) = target.refresh_with(ROLLUP).await?;
    Ok((head, version.and_then(|version| u64::try_from(version).ok())))
}

/// Files with new rows that the source's versions after the consumed one and up to `upto` added.
pub(crate) async fn pending(source: &Table, consumed: Option<u64>, upto: u64) -> Result<HashSet<String>> {
    let added = added(source, consumed.map_or(0, |version| version + 1), upto).await?;
    if added.gaps > 0 {
        // The roll-up counts them when it comes to them.
        tracing::warn!(table = source.name(), versions = added.gaps, "log entries went before they were rolled up: their files cannot be told");
    }
    Ok(added.files.into_iter().collect())
}

/// What some versions of a table added.
pub(crate) struct Added {
    /// In the order of versions.
    pub files: Vec<String>,
    /// Versions whose log entries are gone.
    pub gaps: u64,
}

/// Files with new rows that versions `first..=last` added.
pub(crate) async fn added(source: &Table, first: u64, last: u64) -> Result<Added> {
    let mut added = Added { files: Vec::new(), gaps: 0 };
    for version in first..=last {
        match source.entry(version).await? {
            Some(actions) => added.files.extend(actions.into_iter().filter_map(|action| match action {
                Action::Add(add) if add.data_change => Some(add.path),
                _ => None,
            })),
            None => added.gaps += 1,
        }
    }
    Ok(added)
}
