//! What the store counts of itself, for `/metrics`.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[doc = $doc:literal])* $name:ident),* $(,)?) => {
        /// The store's counters at one moment; all but the gauges (named so) only rise, from the program's start.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
        pub struct Counters {
            $($(#[doc = $doc])* pub $name: u64,)*
        }

        /// The same, counting.
        #[derive(Default)]
        pub(crate) struct Counting {
            $(pub $name: AtomicU64,)*
        }

        impl Counting {
            pub(crate) fn snapshot(&self) -> Counters {
                Counters { $($name: self.$name.load(Ordering::Relaxed),)* }
            }
        }
    };
}

counters! {
    /// Commits of facts that are durable.
    commits,
    /// Commits of facts that failed; nothing of them was acknowledged.
    commit_failures,
    /// Times that another writer was first and the commit was decided anew.
    conflicts,
    /// Batches stored.
    batches,
    /// Batches that were stored already.
    duplicates,
    /// Fact rows of the batches, before they were added up.
    rows,
    /// Rows summed under "other" since their key stands for another edge, and edges whose minutes are summed under another for that reason.
    collisions,
    /// Rows summed under "other" since their environment has `series_max` edges, or there are too many environments.
    series_capped,
    /// Rows summed under the prefix of a far end without a name since their environment has too many edges by address.
    series_folded,
    /// Duration of the last commit of facts, from the first look to the last sync. A gauge.
    commit_us_last,
    /// Batches refused since the queue was full.
    queue_refused,
    /// Background runs that ended well.
    maintenance_runs,
    /// Background runs that failed; the next one tries again.
    maintenance_failures,
    /// One-minute rows written by roll-ups.
    rolled_rows,
    /// Log versions and files that went, or could not be read, before they were rolled up: minutes miss their rows.
    rollup_gaps,
    /// Files that compaction replaced.
    compacted_files,
    /// Files removed since their time was over.
    expired_files,
    /// Files removed since the store was over `max_bytes`.
    evicted_files,
    /// Unreferenced files deleted from the disk.
    vacuumed_files,
    /// Bytes of active data files: what `max_bytes` bounds. A gauge.
    bytes,
    /// Bytes of all files, those that were replaced or dropped and wait for their last readers included. A gauge.
    disk_bytes,
    /// Active data files. A gauge.
    files,
    /// Known edges, rolled-up forms included. A gauge.
    edges,
    /// Queries that ended within their limits, well or with an error.
    queries,
    /// Queries given up for time.
    query_timeouts,
    /// Queries given up for memory.
    query_memory,
    /// Histogram cells that could not be read.
    unreadable_histograms,
    /// Rows of `endpoints` whose address could not be read.
    unreadable_endpoints,
    /// Data files of `edge_dims` that could not be read: their edges are without names until they are seen again.
    unreadable_dims,
}

pub(crate) fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

pub(crate) fn set(gauge: &AtomicU64, value: u64) {
    gauge.store(value, Ordering::Relaxed);
}
