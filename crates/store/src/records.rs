//! Records with a life cycle (alerts, incidents, agents): every version is appended, the latest of an id counts.

use crate::error::{Result, StoreError};
use crate::files::Effort;
use crate::spec::{TableSpec, UPDATED};
use crate::table::Table;
use chrono::{DateTime, Utc};
use datafusion::arrow::array::{AsArray, RecordBatch, StringArray, TimestampMicrosecondArray};
use datafusion::arrow::datatypes::TimestampMicrosecondType;
use datafusion::arrow::error::ArrowError;
use edgescope_model::time::from_micros;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use tokio::sync::Mutex;

/// A table of records and its latest versions in memory.
pub(crate) struct Records {
    pub table: Arc<Table>,
    cache: Mutex<Cache>,
}

#[derive(Default)]
struct Cache {
    version: Option<u64>,
    files: HashSet<String>,
    latest: HashMap<String, Version>,
}

/// One version of a record.
#[derive(Debug, Clone)]
pub(crate) struct Version {
    pub updated_us: i64,
    pub id: String,
    pub state: String,
    pub since: DateTime<Utc>,
    payload: String,
}

impl Version {
    pub(crate) fn of<T: Serialize>(id: &str, state: &str, since: DateTime<Utc>, record: &T) -> Result<Self> {
        let payload = serde_json::to_string(record).map_err(|e| StoreError::Invalid(format!("record '{id}': {e}")))?;
        Ok(Self { updated_us: 0, id: id.to_owned(), state: state.to_owned(), since, payload })
    }

    pub(crate) fn record<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_str(&self.payload).map_err(|e| StoreError::Invalid(format!("record '{}': {e}", self.id)))
    }
}

impl Records {
    pub(crate) fn new(table: Arc<Table>) -> Self {
        Self { table, cache: Mutex::default() }
    }

    /// Appends versions; they are durable and the latest when this returns.
    pub(crate) async fn put(&self, mut versions: Vec<Version>, now: DateTime<Utc>) -> Result<()> {
        if versions.is_empty() {
            return Ok(());
        }
        let mut cache = self.cache.lock().await;
        self.refresh(&mut cache).await?;
        for version in &mut versions {
            // A clock that stands still or goes back must not make an older version the latest.
            let before = cache.latest.get(&version.id).map_or(i64::MIN, |latest| latest.updated_us);
            version.updated_us = now.timestamp_micros().max(before.saturating_add(1));
        }
        let batch = to_batch(&self.table.spec, &versions).map_err(|e| StoreError::file(self.table.name(), "(new)", e))?;
        if let Some(add) = self.table.write(vec![batch], Effort::Fresh, true).await? {
            let path = add.path.clone();
            self.table.append(vec![add]).await?;
            cache.files.insert(path);
        }
        versions.into_iter().for_each(|version| take(&mut cache.latest, version));
        Ok(())
    }

    /// The latest version of every record.
    pub(crate) async fn latest(&self) -> Result<Vec<Version>> {
        let mut cache = self.cache.lock().await;
        self.refresh(&mut cache).await?;
        Ok(cache.latest.values().cloned().collect())
    }

    /// Forgets what was last written before a moment; the files go by themselves.
    pub(crate) async fn forget(&self, before: DateTime<Utc>) {
        self.cache.lock().await.latest.retain(|_, version| version.updated_us >= before.timestamp_micros());
    }

    async fn refresh(&self, cache: &mut Cache) -> Result<()> {
        let head = self.table.refresh().await?;
        if cache.version == Some(head.version) {
            return Ok(());
        }
        for file in head.files().iter() {
            if cache.files.contains(&file.path) {
                continue;
            }
            for batch in self.table.read(&file.path).await? {
                let versions = from_batch(&batch).map_err(|e| StoreError::file(self.table.name(), &file.path, e))?;
                versions.into_iter().for_each(|version| take(&mut cache.latest, version));
            }
        }
        cache.files = head.files().iter().map(|file| file.path.clone()).collect();
        cache.version = Some(head.version);
        Ok(())
    }
}

fn take(latest: &mut HashMap<String, Version>, version: Version) {
    if latest.get(&version.id).is_none_or(|known| known.updated_us <= version.updated_us) {
        latest.insert(version.id.clone(), version);
    }
}

fn to_batch(spec: &TableSpec, versions: &[Version]) -> Result<RecordBatch, ArrowError> {
    let moments = |us: fn(&Version) -> i64| Arc::new(TimestampMicrosecondArray::from_iter_values(versions.iter().map(us)).with_timezone("UTC"));
    let texts = |text: fn(&Version) -> &String| Arc::new(StringArray::from_iter_values(versions.iter().map(text)));
    let columns: Vec<datafusion::arrow::array::ArrayRef> =
        vec![moments(|v| v.updated_us), texts(|v| &v.id), texts(|v| &v.state), moments(|v| v.since.timestamp_micros()), texts(|v| &v.payload)];
    RecordBatch::try_new(Arc::clone(&spec.schema), columns)
}

fn from_batch(batch: &RecordBatch) -> Result<Vec<Version>, ArrowError> {
    let column = |name: &str| batch.column_by_name(name).ok_or_else(|| ArrowError::SchemaError(format!("no column {name}")));
    let (updated, since) = (column(UPDATED)?.as_primitive::<TimestampMicrosecondType>(), column("since")?.as_primitive::<TimestampMicrosecondType>());
    let (ids, states, payloads) = (column("id")?.as_string::<i32>(), column("state")?.as_string::<i32>(), column("payload")?.as_string::<i32>());
    let version = |row| Version {
        updated_us: updated.value(row),
        id: ids.value(row).to_owned(),
        state: states.value(row).to_owned(),
        since: from_micros(since.value(row)),
        payload: payloads.value(row).to_owned(),
    };
    Ok((0..batch.num_rows()).map(version).collect())
}
