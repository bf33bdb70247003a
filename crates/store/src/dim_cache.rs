//! The `edge_dims` table and what it says, in memory: filled at opening, by own commits, and from files that other writers add.

use crate::dims::{Dims, from_batch};
use crate::error::{Result, StoreError};
use crate::table::Table;
use edgescope_model::dims::EdgeDims;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use tokio::sync::Mutex;

pub(crate) struct DimCache {
    pub table: Arc<Table>,
    dims: RwLock<Dims>,
    loaded: Mutex<Loaded>,
}

#[derive(Default)]
struct Loaded {
    version: Option<u64>,
    files: HashSet<String>,
}

impl DimCache {
    pub(crate) async fn open(table: Arc<Table>) -> Result<Self> {
        let cache = Self { table, dims: RwLock::default(), loaded: Mutex::default() };
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
            for batch in self.table.read(&file.path).await? {
                let rows = from_batch(&batch).map_err(|e| StoreError::file(self.table.name(), &file.path, e))?;
                let mut dims = self.dims.write().unwrap_or_else(PoisonError::into_inner);
                rows.iter().for_each(|(key, edge, day)| dims.insert(*key, edge, *day));
            }
        }
        loaded.files = files.iter().map(|file| file.path.clone()).collect();
        loaded.version = Some(head.version);
        Ok(())
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
