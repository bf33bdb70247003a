//! Why the store could not do what it was asked.

use std::error::Error;
use std::io;

/// A failure of the store. Nothing that failed is acknowledged; everything acknowledged before stays.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("store.path '{path}': {reason}")]
    Path { path: String, reason: String },
    #[error("table '{table}' has schema version {found}, this program knows up to {known}: start a newer edgescope on it")]
    Newer { table: String, found: String, known: u32 },
    #[error("no space left for table '{table}': free space on the disk of store.path, or lower store.max_bytes")]
    Full { table: String },
    #[error("table '{table}': {source}")]
    Delta { table: String, source: Box<deltalake::DeltaTableError> },
    #[error("table '{table}': {source}")]
    Io { table: String, source: object_store::Error },
    #[error("table '{table}', data file {path}: {reason}")]
    File { table: String, path: String, reason: String },
    #[error("table '{table}': gave up after {attempts} attempts, each time another writer was first")]
    Contention { table: String, attempts: u32 },
    #[error("{0}")]
    Invalid(String),
    #[error("too many batches wait to be stored: send again later")]
    Busy,
    #[error("store is shutting down")]
    Closed,
}

impl StoreError {
    pub(crate) fn delta(table: &str, source: deltalake::DeltaTableError) -> Self {
        if is_full(&source) {
            return Self::Full { table: table.to_owned() };
        }
        Self::Delta { table: table.to_owned(), source: Box::new(source) }
    }

    pub(crate) fn io(table: &str, source: object_store::Error) -> Self {
        if is_full(&source) {
            return Self::Full { table: table.to_owned() };
        }
        Self::Io { table: table.to_owned(), source }
    }

    pub(crate) fn file(table: &str, path: &str, reason: impl ToString) -> Self {
        Self::File { table: table.to_owned(), path: path.to_owned(), reason: reason.to_string() }
    }

    /// Whether the disk (or quota) is full: the sender should wait and try again.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Full { .. })
    }
}

/// Whether an `io::Error` about missing space is anywhere among the causes.
fn is_full(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            // An io::Error hides the error that it wraps from `source`.
            if matches!(io.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) || io.get_ref().is_some_and(|inner| is_full(inner)) {
                return true;
            }
        }
        cause = error.source();
    }
    false
}

/// What the crate's functions return.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;
