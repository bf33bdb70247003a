//! One Delta table: opening, a fresh view of it, and commits that either are durable and first, or did not happen.

use crate::durable::Durable;
use crate::error::{Result, StoreError};
use crate::files::DataFile;
use crate::spec::{SCHEMA_PROPERTY, SCHEMA_VERSION, TableSpec};
use deltalake::kernel::engine::arrow_conversion::TryIntoKernel as _;
use deltalake::kernel::transaction::{CommitBuilder, CommitProperties, TransactionError};
use deltalake::kernel::{Action, Add, Remove, StructType, Transaction};
use deltalake::logstore::{LogStoreRef, StorageConfig, commit_uri_from_version, logstore_with};
use deltalake::operations::create::CreateBuilder;
use deltalake::protocol::{DeltaOperation, SaveMode};
use deltalake::table::state::DeltaTableState;
use deltalake::{DeltaTable, DeltaTableError};
use object_store::ObjectStoreExt as _;
use std::collections::HashMap;
use std::path::{Path as FsPath, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// Attempts of one change against other writers: at a few milliseconds each, seconds of bad luck.
pub(crate) const ATTEMPTS_MAX: u32 = 100;
/// A view that nobody refreshed for this long is not brought up to date by the next entry's name alone: entries are kept ten minutes at least.
const SEARCH_AFTER: Duration = Duration::from_secs(120);

/// One table, shared by all that use it.
pub(crate) struct Table {
    pub spec: TableSpec,
    pub log: LogStoreRef,
    durable: Durable,
    directory: PathBuf,
    inner: Mutex<Inner>,
}

struct Inner {
    head: Arc<Head>,
    /// Application transactions as far as asked for or seen, as of `head`; `None`: the application has none.
    transactions: HashMap<String, Option<i64>>,
    /// When the newest version was last looked for by more than its successor's name.
    searched: Instant,
}

/// The table as of one version.
pub(crate) struct Head {
    pub version: u64,
    pub state: DeltaTableState,
    files: OnceLock<Arc<Vec<DataFile>>>,
}

/// What one commit does.
#[derive(Debug, Clone, Default)]
pub(crate) struct Change {
    pub adds: Vec<Add>,
    pub removes: Vec<Remove>,
    /// Application id and version.
    pub transactions: Vec<(String, i64)>,
}

/// How a commit ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attempt {
    /// Durable as this version.
    Committed(u64),
    /// Another writer was first: look again and decide anew.
    Conflict,
}

impl Head {
    fn new(state: DeltaTableState) -> Arc<Self> {
        Arc::new(Self { version: state.version(), state, files: OnceLock::new() })
    }

    /// Active data files.
    pub(crate) fn files(&self) -> Arc<Vec<DataFile>> {
        Arc::clone(self.files.get_or_init(|| Arc::new(self.state.log_data().iter().map(|view| DataFile::of(&view)).collect())))
    }
}

impl Table {
    /// Opens the table in a directory of its name below `root`, making it if missing.
    pub(crate) async fn open(durable: &Durable, root: &FsPath, spec: TableSpec) -> Result<Self> {
        let directory = root.join(spec.name);
        let fail = |e| StoreError::delta(spec.name, e);
        let url = deltalake::ensure_table_uri(directory.display().to_string()).map_err(fail)?;
        let log = logstore_with(Arc::new(durable.clone()), &url, StorageConfig::default()).map_err(fail)?;
        let table = if log.is_delta_table_location().await.map_err(fail)? { None } else { create(&spec, &log).await.map_err(fail)? };
        let table = match table {
            Some(table) => table,
            None => load(&log).await.map_err(fail)?,
        };
        let state = table.state.ok_or_else(|| fail(DeltaTableError::NotInitialized))?;
        check_version(&spec, &state)?;
        for directory in [directory.clone(), directory.join("_delta_log")] {
            durable.sweep(directory).await.map_err(|e| StoreError::io(spec.name, e))?;
        }
        let inner = Mutex::new(Inner { head: Head::new(state), transactions: HashMap::new(), searched: Instant::now() });
        let table = Self { spec, log, durable: durable.clone(), directory, inner };
        table.add_missing_columns().await?;
        let unknown = table.unknown_columns(&*table.refresh().await?);
        if !unknown.is_empty() {
            tracing::warn!(table = table.name(), ?unknown, "a newer program added columns: this one leaves the table's files as they are");
        }
        Ok(table)
    }

    pub(crate) fn name(&self) -> &'static str {
        self.spec.name
    }

    /// The newest version there is.
    pub(crate) async fn refresh(&self) -> Result<Arc<Head>> {
        let mut inner = self.inner.lock().await;
        self.refresh_locked(&mut inner).await?;
        Ok(Arc::clone(&inner.head))
    }

    /// The newest version there is, and the latest committed version of an application's transactions as of it.
    pub(crate) async fn refresh_with(&self, application: &str) -> Result<(Arc<Head>, Option<i64>)> {
        let mut inner = self.inner.lock().await;
        self.refresh_locked(&mut inner).await?;
        let transaction = self.transaction_locked(&mut inner, application).await?;
        Ok((Arc::clone(&inner.head), transaction))
    }

    /// Reads the newest version from the newest checkpoint on: what this process knows then leans on no log entry before it.
    pub(crate) async fn reload(&self) -> Result<()> {
        let mut inner = self.inner.lock().await;
        self.reload_locked(&mut inner).await
    }

    async fn reload_locked(&self, inner: &mut Inner) -> Result<()> {
        let state = DeltaTableState::try_new(&self.log, None).await.map_err(|e| StoreError::delta(self.name(), e))?;
        inner.head = Head::new(state);
        inner.transactions.clear();
        Ok(())
    }

    async fn refresh_locked(&self, inner: &mut Inner) -> Result<()> {
        let fail = |e| StoreError::delta(self.name(), e);
        if inner.searched.elapsed() > SEARCH_AFTER && self.checkpointed().await? > inner.head.version {
            // Who slept may have missed entries that a checkpoint replaced.
            self.reload_locked(inner).await?;
        }
        inner.searched = Instant::now();
        let next = commit_uri_from_version(Some(inner.head.version + 1));
        match self.log.object_store(None).head(&next).await {
            Err(object_store::Error::NotFound { .. }) => return Ok(()),
            other => other.map_err(|e| StoreError::io(self.name(), e))?,
        };
        let mut state = inner.head.state.clone();
        state.update(&self.log, None).await.map_err(fail)?;
        for version in inner.head.version + 1..=state.version() {
            match self.entry(version).await? {
                Some(actions) => inner.transactions.extend(actions.into_iter().filter_map(|action| match action {
                    Action::Txn(txn) => Some((txn.app_id, Some(txn.version))),
                    _ => None,
                })),
                // Cleaned already: ask the snapshot again for each.
                None => inner.transactions.clear(),
            }
        }
        inner.head = Head::new(state);
        Ok(())
    }

    /// Actions of one log entry; `None` if it does not exist (any more).
    pub(crate) async fn entry(&self, version: u64) -> Result<Option<Vec<Action>>> {
        let bytes = self.log.read_commit_entry(version).await.map_err(|e| StoreError::delta(self.name(), e))?;
        let Some(bytes) = bytes else { return Ok(None) };
        let actions = bytes.split(|b| *b == b'\n').filter(|line| !line.is_empty()).map(serde_json::from_slice).collect::<Result<_, _>>();
        actions.map(Some).map_err(|e| StoreError::file(self.name(), &format!("_delta_log/{version:020}.json"), e))
    }

    /// The latest committed version of an application's transactions; never older than any [`Head`] handed out before.
    pub(crate) async fn transaction(&self, application: &str) -> Result<Option<i64>> {
        let mut inner = self.inner.lock().await;
        self.transaction_locked(&mut inner, application).await
    }

    async fn transaction_locked(&self, inner: &mut Inner, application: &str) -> Result<Option<i64>> {
        if let Some(known) = inner.transactions.get(application) {
            return Ok(*known);
        }
        let found = inner.head.state.transaction_version(&self.log, application).await.map_err(|e| StoreError::delta(self.name(), e))?;
        inner.transactions.insert(application.to_owned(), found);
        Ok(found)
    }

    /// Commits a change that was decided on `head`. Data files must be written before. On an error it is unknown whether the change happened;
    /// on `Conflict` it did not.
    pub(crate) async fn attempt(&self, head: &Head, change: &Change) -> Result<Attempt> {
        let mut inner = self.inner.lock().await;
        if inner.head.version != head.version {
            return Ok(Attempt::Conflict);
        }
        let actions = change.adds.iter().cloned().map(Action::Add).chain(change.removes.iter().cloned().map(Action::Remove)).collect();
        let transactions = change.transactions.iter().map(|(id, version)| Transaction::new(id, *version)).collect();
        // Never retried by the library: whether the change still holds is decided here, on a fresh view.
        let properties = CommitProperties::default().with_max_retries(0).with_create_checkpoint(false).with_cleanup_expired_logs(Some(false));
        let done = CommitBuilder::from(properties.with_application_transactions(transactions))
            .with_actions(actions)
            .build(Some(&head.state), Arc::clone(&self.log), operation(change))
            .await;
        match done {
            Ok(done) => {
                inner.transactions.extend(change.transactions.iter().map(|(id, version)| (id.clone(), Some(*version))));
                inner.head = Head::new(done.snapshot);
                Ok(Attempt::Committed(done.version))
            }
            Err(DeltaTableError::Transaction { source: TransactionError::MaxCommitAttempts(_) | TransactionError::VersionAlreadyExists(_) })
            | Err(DeltaTableError::VersionAlreadyExists(_)) => {
                self.refresh_locked(&mut inner).await?;
                Ok(Attempt::Conflict)
            }
            Err(e) => Err(StoreError::delta(self.name(), e)),
        }
    }

    /// Appends files, whoever else is writing.
    pub(crate) async fn append(&self, adds: Vec<Add>) -> Result<u64> {
        let change = Change { adds, ..Change::default() };
        for _ in 0..ATTEMPTS_MAX {
            let head = self.refresh().await?;
            if let Attempt::Committed(version) = self.attempt(&head, &change).await? {
                return Ok(version);
            }
        }
        Err(StoreError::Contention { table: self.name().to_owned(), attempts: ATTEMPTS_MAX })
    }

    /// Makes sure that every log entry that can be seen now is safe, whoever wrote it: an entry is synced before it gets its name, so its name is
    /// all that may be missing.
    pub(crate) async fn sync_log(&self) -> Result<()> {
        self.durable.sync_directory(self.directory.join("_delta_log")).await.map_err(|e| StoreError::io(self.name(), e))
    }

    /// Version of the newest checkpoint; 0 if there is none.
    pub(crate) async fn checkpointed(&self) -> Result<u64> {
        #[derive(serde::Deserialize)]
        struct Hint {
            version: u64,
        }
        let hint = object_store::path::Path::from("_delta_log/_last_checkpoint");
        match self.log.object_store(None).get(&hint).await {
            Ok(got) => {
                let bytes = got.bytes().await.map_err(|e| StoreError::io(self.name(), e))?;
                Ok(serde_json::from_slice::<Hint>(&bytes).map_or(0, |hint| hint.version))
            }
            Err(object_store::Error::NotFound { .. }) => Ok(0),
            Err(e) => Err(StoreError::io(self.name(), e)),
        }
    }

    /// A handle for the library's own operations on the table as of `head`.
    pub(crate) fn delta(&self, head: &Head) -> DeltaTable {
        let mut table = DeltaTable::new(Arc::clone(&self.log));
        table.state = Some(head.state.clone());
        table
    }

    /// Columns that a newer program added: whatever this one rewrites loses them.
    pub(crate) fn unknown_columns(&self, head: &Head) -> Vec<String> {
        let present = head.state.snapshot().arrow_schema();
        present.fields().iter().filter(|f| self.spec.schema.field_with_name(f.name()).is_err()).map(|f| f.name().clone()).collect()
    }

    /// What the table takes on the disk, files that nothing names any more and the log included.
    pub(crate) async fn disk_bytes(&self) -> Result<u64> {
        self.durable.bytes_below(self.directory.clone()).await.map_err(|e| StoreError::io(self.name(), e))
    }

    /// Adds columns of the catalogue that an older program did not know.
    async fn add_missing_columns(&self) -> Result<()> {
        for _ in 0..ATTEMPTS_MAX {
            let head = self.refresh().await?;
            let present = head.state.snapshot().arrow_schema();
            let missing: Vec<_> = self.spec.schema.fields().iter().filter(|f| present.field_with_name(f.name()).is_err()).cloned().collect();
            if missing.is_empty() {
                return Ok(());
            }
            let schema = datafusion::arrow::datatypes::Schema::new(missing);
            let fields: StructType = (&schema).try_into_kernel().map_err(|e| StoreError::Invalid(format!("table '{}': {e}", self.name())))?;
            match self.delta(&head).add_columns().with_fields(fields.fields().cloned().collect::<Vec<_>>()).await {
                // Another writer was first, perhaps with the same columns: look again.
                Ok(_) | Err(DeltaTableError::VersionAlreadyExists(_)) => {}
                Err(DeltaTableError::Transaction { source: TransactionError::MaxCommitAttempts(_) | TransactionError::CommitConflict(_) }) => {}
                Err(e) => return Err(StoreError::delta(self.name(), e)),
            }
        }
        Err(StoreError::Contention { table: self.name().to_owned(), attempts: ATTEMPTS_MAX })
    }
}

fn operation(change: &Change) -> DeltaOperation {
    if change.removes.is_empty() {
        DeltaOperation::Write { mode: SaveMode::Append, partition_by: None, predicate: None }
    } else if change.adds.is_empty() {
        DeltaOperation::Delete { predicate: None }
    } else {
        DeltaOperation::Optimize { predicate: None, target_size: 0 }
    }
}

async fn load(log: &LogStoreRef) -> Result<DeltaTable, DeltaTableError> {
    let mut table = DeltaTable::new(Arc::clone(log));
    table.load().await?;
    Ok(table)
}

/// Makes the table; `None` if another process did in the meantime.
async fn create(spec: &TableSpec, log: &LogStoreRef) -> Result<Option<DeltaTable>, DeltaTableError> {
    let columns: StructType = spec.schema.as_ref().try_into_kernel()?;
    let properties = [
        (SCHEMA_PROPERTY, SCHEMA_VERSION.to_string()),
        ("delta.dataSkippingStatsColumns", spec.time.to_owned()),
        // The store itself decides when: a log entry must be rolled up before it goes.
        ("delta.enableExpiredLogCleanup", "false".to_owned()),
    ];
    let made = CreateBuilder::new()
        .with_log_store(Arc::clone(log))
        .with_table_name(spec.name)
        .with_columns(columns.fields().cloned())
        .with_save_mode(SaveMode::ErrorIfExists)
        .with_raise_if_key_not_exists(false)
        .with_configuration(properties.map(|(key, value)| (key, Some(value))))
        .await;
    match made {
        Ok(table) => Ok(Some(table)),
        Err(_) if log.is_delta_table_location().await? => Ok(None),
        Err(e) => Err(e),
    }
}

fn check_version(spec: &TableSpec, state: &DeltaTableState) -> Result<()> {
    let found = state.metadata().configuration().get(SCHEMA_PROPERTY).cloned().unwrap_or_default();
    match found.parse::<u32>() {
        Ok(version) if version <= SCHEMA_VERSION => Ok(()),
        _ => Err(StoreError::Newer { table: spec.name.to_owned(), found, known: SCHEMA_VERSION }),
    }
}
