//! The `edge_dims` table and what it says, in memory: filled at opening, by own commits, and from files that other writers add.

use crate::counters::add;
use crate::dims::{DAY_US, Dims, from_batch};
use crate::error::{Result, StoreError};
use crate::table::Table;
use chrono::{DateTime, Utc};
use edgescope_model::dims::EdgeDims;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use tokio::sync::Mutex;

pub(crate) struct DimCache {
    pub table: Arc<Table>,
    dims: RwLock<Dims>,
    loaded: Mutex<Loaded>,
    /// Files that could not be read.
    unreadable: AtomicU64,
}

#[derive(Default)]
struct Loaded {
    version: Option<u64>,
    files: HashSet<String>,
}

impl DimCache {
    pub(crate) async fn open(table: Arc<Table>) -> Result<Self> {
        let cache = Self { table, dims: RwLock::default(), loaded: Mutex::default(), unreadable: AtomicU64::new(0) };
        cache.refresh().await?;
        Ok(cache)
    }

    /// Takes in what other writers added. Facts seen before this call name only edges known after it.
    pub(crate) async fn refresh(&self) -> Result<()> {
        let mut loaded = self.loaded.lock().await;
        let head = self.table.refresh().await?;
        if loaded.version == Some(head.version) {
            return Ok(());
        }
        let files = head.files();
        for file in files.iter().filter(|file| !loaded.files.contains(&file.path)) {
            match self.load(&file.path).await {
                // It will not be better next time. Its edges have no names until they are seen again, everything else goes on.
                Err(error @ (StoreError::File { .. } | StoreError::Io { source: object_store::Error::NotFound { .. }, .. })) => {
                    tracing::error!(%error, "names of edges cannot be read");
                    add(&self.unreadable, 1);
                }
                other => other?,
            }
        }
        loaded.files = files.iter().map(|file| file.path.clone()).collect();
        loaded.version = Some(head.version);
        Ok(())
    }

    async fn load(&self, path: &str) -> Result<()> {
        for batch in self.table.read(path).await? {
            let rows = from_batch(&batch).map_err(|e| StoreError::file(self.table.name(), path, e))?;
            let mut dims = self.dims.write().unwrap_or_else(PoisonError::into_inner);
            rows.iter().for_each(|(key, edge, day)| dims.insert(*key, edge, *day));
        }
        Ok(())
    }

    pub(crate) fn unreadable(&self) -> u64 {
        self.unreadable.load(Ordering::Relaxed)
    }

    /// Forgets edges that were last active before a moment; their files go by themselves.
    pub(crate) fn forget(&self, before: DateTime<Utc>) {
        let day = before.timestamp_micros().div_euclid(DAY_US);
        if self.read().has_before(day) {
            let mut dims = self.dims.write().unwrap_or_else(PoisonError::into_inner);
            *dims = std::mem::take(&mut *dims).without(day);
        }
    }

    /// The edges, with those that are active counted as of this day.
    pub(crate) fn read_as_of(&self, today: i64) -> RwLockReadGuard<'_, Dims> {
        if self.read().today() != today {
            self.dims.write().unwrap_or_else(PoisonError::into_inner).turn_to(today);
        }
        self.read()
    }

    /// Takes in edges that an own commit wrote, and the file in which it did.
    pub(crate) async fn insert(&self, edges: &HashMap<i64, EdgeDims>, day: i64, file: Option<String>) {
        self.loaded.lock().await.files.extend(file);
        let mut dims = self.dims.write().unwrap_or_else(PoisonError::into_inner);
        edges.iter().for_each(|(key, edge)| dims.insert(*key, edge, day));
    }

    pub(crate) fn read(&self) -> RwLockReadGuard<'_, Dims> {
        self.dims.read().unwrap_or_else(PoisonError::into_inner)
    }
}
