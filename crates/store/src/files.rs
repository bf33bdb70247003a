//! Data files of a table: writing one with its statistics, reading one whole.

use crate::error::{Result, StoreError};
use crate::spec::EDGE;
use crate::table::Table;
use bytes::Bytes;
use chrono::{DateTime, TimeZone, Utc};
use datafusion::arrow::array::{Array, ArrayRef, AsArray, RecordBatch, new_null_array};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{SchemaRef, TimestampMicrosecondType};
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use datafusion::parquet::basic::{Compression, ZstdLevel};
use datafusion::parquet::file::properties::{EnabledStatistics, WriterProperties};
use deltalake::kernel::{Add, LogicalFileView, Remove};
use object_store::path::Path;
use object_store::{ObjectStoreExt as _, PutPayload};
use serde_json::json;
use std::collections::HashMap;
use std::sync::Arc;

/// An active data file.
#[derive(Debug, Clone)]
pub(crate) struct DataFile {
    /// Relative to the table.
    pub path: String,
    pub bytes: u64,
    /// 0 if the file does not say.
    pub rows: u64,
    /// Least and greatest moment of the table's time column, microseconds; `None` if the file does not say.
    pub span_us: Option<(i64, i64)>,
}

impl DataFile {
    pub(crate) fn of(view: &LogicalFileView) -> Self {
        let stats: serde_json::Value = view.stats().and_then(|stats| serde_json::from_str(&stats).ok()).unwrap_or_default();
        Self {
            path: view.path().into_owned(),
            bytes: u64::try_from(view.size()).unwrap_or(0),
            rows: stats["numRecords"].as_u64().unwrap_or(0),
            span_us: only_moment(&stats["minValues"]).zip(only_moment(&stats["maxValues"])),
        }
    }

    /// Whether the file may hold a moment of `from..to`, microseconds.
    pub(crate) fn overlaps(&self, from_us: i64, to_us: i64) -> bool {
        self.span_us.is_none_or(|(least, greatest)| least < to_us && greatest >= from_us)
    }

    /// The removal of the file; `data_change` if its rows are gone with it.
    pub(crate) fn removal(&self, data_change: bool, now: DateTime<Utc>) -> Remove {
        Remove {
            path: self.path.clone(),
            data_change,
            deletion_timestamp: Some(now.timestamp_millis()),
            extended_file_metadata: Some(true),
            partition_values: Some(HashMap::new()),
            size: i64::try_from(self.bytes).ok(),
            tags: None,
            deletion_vector: None,
            base_row_id: None,
            default_row_commit_version: None,
        }
    }
}

/// The one moment in `minValues` or `maxValues`: only the time column has statistics.
fn only_moment(values: &serde_json::Value) -> Option<i64> {
    let text = values.as_object()?.values().find_map(|value| value.as_str())?;
    DateTime::parse_from_rfc3339(text).ok().map(|moment| moment.timestamp_micros())
}

/// How much work a file's compression is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effort {
    /// A commit waits for it, and it lives for seconds.
    Fresh,
    /// It stays.
    Compacted,
}

impl Table {
    /// Writes batches as one data file that the next commit can add. `None` if there are no rows.
    pub(crate) async fn write(&self, batches: Vec<RecordBatch>, effort: Effort, data_change: bool) -> Result<Option<Add>> {
        let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
        if rows == 0 {
            return Ok(None);
        }
        let path = format!("part-{}.parquet", uuid::Uuid::new_v4());
        let (schema, time, table) = (Arc::clone(&self.spec.schema), self.spec.time, self.name());
        let encode = move || {
            let span = batches.iter().filter_map(|batch| span_us(batch, time)).reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)));
            encode(&schema, time, &batches, effort).map(|bytes| (bytes, span))
        };
        let (bytes, span) = blocking(encode).await?.map_err(|e| StoreError::file(table, &path, e))?;
        let size = bytes.len();
        self.log.object_store(None).put(&Path::from(path.as_str()), PutPayload::from(bytes)).await.map_err(|e| StoreError::io(table, e))?;
        Ok(Some(Add {
            path,
            partition_values: HashMap::new(),
            size: i64::try_from(size).unwrap_or(i64::MAX),
            modification_time: Utc::now().timestamp_millis(),
            data_change,
            stats: Some(stats(rows, time, span)),
            tags: None,
            deletion_vector: None,
            base_row_id: None,
            default_row_commit_version: None,
            clustering_provider: None,
        }))
    }

    /// Reads a data file whole, with exactly the table's columns.
    pub(crate) async fn read(&self, path: &str) -> Result<Vec<RecordBatch>> {
        let got = self.log.object_store(None).get(&Path::from(path)).await.map_err(|e| StoreError::io(self.name(), e))?;
        let bytes = got.bytes().await.map_err(|e| StoreError::io(self.name(), e))?;
        let schema = Arc::clone(&self.spec.schema);
        blocking(move || decode(bytes, &schema)).await?.map_err(|e| StoreError::file(self.name(), path, e))
    }

    /// Removes a data file that no commit has named. Failing is harmless: a vacuum finds it later.
    pub(crate) async fn discard(&self, path: &str) {
        if let Err(error) = self.log.object_store(None).delete(&Path::from(path)).await {
            tracing::debug!(table = self.name(), path, %error, "left an unnamed data file for the vacuum");
        }
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|_| StoreError::Closed)
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn encode(schema: &SchemaRef, time: &str, batches: &[RecordBatch], effort: Effort) -> Result<Bytes, Failure> {
    let level = if effort == Effort::Fresh { 1 } else { 3 };
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(level)?))
        .set_statistics_enabled(EnabledStatistics::None)
        .set_column_statistics_enabled(time.into(), EnabledStatistics::Page)
        .set_column_statistics_enabled(EDGE.into(), EnabledStatistics::Chunk)
        .build();
    let mut writer = ArrowWriter::try_new(Vec::new(), Arc::clone(schema), Some(properties))?;
    for batch in batches {
        writer.write(batch)?;
    }
    Ok(Bytes::from(writer.into_inner()?))
}

fn decode(bytes: Bytes, schema: &SchemaRef) -> Result<Vec<RecordBatch>, Failure> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes)?.with_batch_size(8192).build()?;
    reader.map(|batch| conform(&batch?, schema)).collect()
}

/// The batch with exactly the schema's columns: those that it lacks are null.
fn conform(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, Failure> {
    let column = |field: &datafusion::arrow::datatypes::FieldRef| -> Result<ArrayRef, Failure> {
        match batch.column_by_name(field.name()) {
            Some(column) if column.data_type() == field.data_type() => Ok(Arc::clone(column)),
            Some(column) => Ok(cast(column, field.data_type())?),
            None => Ok(new_null_array(field.data_type(), batch.num_rows())),
        }
    };
    let columns = schema.fields().iter().map(column).collect::<Result<Vec<_>, _>>()?;
    Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
}

fn span_us(batch: &RecordBatch, time: &str) -> Option<(i64, i64)> {
    let moments = batch.column_by_name(time)?.as_primitive_opt::<TimestampMicrosecondType>()?;
    moments.values().iter().fold(None, |span: Option<(i64, i64)>, &us| Some(span.map_or((us, us), |(a, b)| (a.min(us), b.max(us)))))
}

/// Statistics of a file in Delta's form; moments are cut to milliseconds outwards, as the protocol allows.
fn stats(rows: usize, time: &str, span: Option<(i64, i64)>) -> String {
    let text = |ms: i64| Utc.timestamp_millis_opt(ms).single().map(|t| t.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string());
    let (least, greatest) = span
        .map_or((None, None), |(least, greatest)| (text(least.div_euclid(1000)), text(greatest.div_euclid(1000) + i64::from(greatest % 1000 != 0))));
    json!({ "numRecords": rows, "minValues": { time: least }, "maxValues": { time: greatest }, "nullCount": { time: 0 } }).to_string()
}
