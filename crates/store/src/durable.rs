//! A local directory as an object store whose writes are on the disk when they return.
//!
//! The library's `LocalFileSystem` leaves written data in the page cache. Here every put writes a hidden file beside its target, syncs it, gives it its
//! name by `link` (create) or `rename` (overwrite), and syncs the directory: what a returned put named survives a loss of power, and nobody ever sees
//! a name before its bytes are safe. Reads, lists and deletions go to `LocalFileSystem` unchanged.

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode, PutMultipartOptions, PutOptions,
    PutPayload, PutResult, RenameOptions, Result, UploadPart,
};
use std::collections::HashSet;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::ops::Range;
use std::path::{Path as FsPath, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Age at which a hidden file has nobody who writes it.
const LEFT_BEHIND: Duration = Duration::from_secs(600);

/// One thing done to the disk; a test can make any of them fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Create,
    Write,
    SyncFile,
    Name,
    SyncDirectory,
}

/// Asked before each [`Step`]; an error stands for the disk's.
pub(crate) type Faults = Arc<dyn Fn(Step, &FsPath) -> io::Result<()> + Send + Sync>;

/// See the module's words.
#[derive(Clone)]
pub(crate) struct Durable {
    inner: Arc<LocalFileSystem>,
    faults: Option<Faults>,
    /// Directories whose names are safe in their parents. That one is there does not say so: who made it may have failed to sync.
    named: Arc<Mutex<HashSet<PathBuf>>>,
}

impl Durable {
    pub(crate) fn new(faults: Option<Faults>) -> Self {
        Self { inner: Arc::new(LocalFileSystem::new()), faults, named: Arc::default() }
    }

    /// Makes a directory, absolute, with those above it that are missing.
    pub(crate) async fn make(&self, directory: PathBuf) -> io::Result<()> {
        let this = self.clone();
        tokio::task::spawn_blocking(move || this.make_directory(&directory)).await.map_err(io::Error::other)?
    }

    /// Bytes of all files in a directory and in those right below it.
    pub(crate) async fn bytes_below(&self, directory: PathBuf) -> Result<u64> {
        blocking(move || bytes_below_now(&directory, 1).map_err(|e| failed(&directory, e))).await
    }

    /// Syncs a directory: names that any process gave in it before are safe when this returns.
    pub(crate) async fn sync_directory(&self, directory: PathBuf) -> Result<()> {
        let this = self.clone();
        blocking(move || this.sync_directory_now(&directory).map_err(|e| failed(&directory, e))).await
    }

    /// Removes hidden files in a directory that writers left when they died.
    pub(crate) async fn sweep(&self, directory: PathBuf) -> Result<()> {
        blocking(move || sweep_now(&directory).map_err(|e| failed(&directory, e))).await
    }

    fn step(&self, step: Step, path: &FsPath) -> io::Result<()> {
        self.faults.as_ref().map_or(Ok(()), |faults| faults(step, path))
    }

    fn sync_directory_now(&self, directory: &FsPath) -> io::Result<()> {
        self.step(Step::SyncDirectory, directory)?;
        File::open(directory)?.sync_all()
    }

    /// Makes a directory and those above it, each safely named in its parent.
    fn make_directory(&self, directory: &FsPath) -> io::Result<()> {
        if self.is_named(directory) {
            return Ok(());
        }
        let Some(parent) = directory.parent() else { return Ok(()) };
        let there = directory.is_dir();
        if !there {
            self.make_directory(parent)?;
            match fs::create_dir(directory) {
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists && directory.is_dir() => {}
                other => other?,
            }
        }
        match self.sync_directory_now(parent) {
            // Where we may not look we have made nothing.
            Err(e) if there && e.kind() == io::ErrorKind::PermissionDenied => {}
            other => other?,
        }
        self.named.lock().unwrap_or_else(PoisonError::into_inner).insert(directory.to_owned());
        Ok(())
    }

    fn is_named(&self, directory: &FsPath) -> bool {
        self.named.lock().unwrap_or_else(PoisonError::into_inner).contains(directory)
    }

    fn put(&self, target: &FsPath, payload: &[Bytes], create: bool) -> Result<()> {
        let directory = target.parent().ok_or_else(|| failed(target, io::Error::other("no directory")))?;
        self.make_directory(directory).map_err(|e| failed(target, e))?;
        // `#` and digits at the end: `LocalFileSystem` takes it for an upload that has not ended and hides it.
        let mut hidden = target.as_os_str().to_owned();
        hidden.push(format!("#{}", uuid::Uuid::new_v4().as_u128()));
        let hidden = PathBuf::from(hidden);
        let named = self.write_synced(&hidden, payload).and_then(|()| {
            self.step(Step::Name, target)?;
            if create { fs::hard_link(&hidden, target) } else { fs::rename(&hidden, target) }
        });
        if create || named.is_err() {
            // Left behind after a crash or a second failure, it is swept when the store opens next.
            let _ = fs::remove_file(&hidden);
        }
        match named {
            Err(e) if create && e.kind() == io::ErrorKind::AlreadyExists => {
                Err(Error::AlreadyExists { path: target.display().to_string(), source: e.into() })
            }
            other => other.and_then(|()| self.sync_directory_now(directory)).map_err(|e| failed(target, e)),
        }
    }

    fn write_synced(&self, path: &FsPath, payload: &[Bytes]) -> io::Result<()> {
        self.step(Step::Create, path)?;
        let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
        for part in payload {
            self.step(Step::Write, path)?;
            file.write_all(part)?;
        }
        self.step(Step::SyncFile, path)?;
        file.sync_all()
    }
}

fn sweep_now(directory: &FsPath) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let hidden = name
            .to_str()
            .and_then(|name| name.rsplit_once('#'))
            .is_some_and(|(_, tail)| !tail.is_empty() && tail.bytes().all(|b| b.is_ascii_digit()));
        // A put takes milliseconds; a younger one may be somebody's who is alive.
        if hidden && entry.metadata()?.modified()?.elapsed().is_ok_and(|age| age > LEFT_BEHIND) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Files may come and go meanwhile: what is gone counts nothing.
fn bytes_below_now(directory: &FsPath, depth: usize) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        match entry.metadata() {
            Ok(found) if found.is_dir() && depth > 0 => bytes += bytes_below_now(&entry.path(), depth - 1)?,
            Ok(found) => bytes += found.len(),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
    }
    Ok(bytes)
}

fn failed(path: &FsPath, source: io::Error) -> Error {
    Error::Generic { store: "directory", source: Box::new(io::Error::new(source.kind(), format!("{}: {source}", path.display()))) }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|source| Error::JoinError { source })?
}

impl fmt::Debug for Durable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Durable")
    }
}

impl fmt::Display for Durable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Durable")
    }
}

#[async_trait]
impl ObjectStore for Durable {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let create = match opts.mode {
            PutMode::Create => true,
            PutMode::Overwrite => false,
            PutMode::Update(_) => {
                return Err(Error::NotImplemented { operation: "put with PutMode::Update".to_owned(), implementer: self.to_string() });
            }
        };
        let (this, target) = (self.clone(), self.inner.path_to_filesystem(location)?);
        blocking(move || this.put(&target, payload.as_ref(), create)).await?;
        Ok(PutResult { e_tag: None, version: None })
    }

    async fn put_multipart_opts(&self, location: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        Ok(Box::new(Upload { store: self.clone(), location: location.clone(), parts: Vec::new() }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await?;
        self.sync_parent(to).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.inner.rename_opts(from, to, options).await?;
        self.sync_parent(to).await
    }
}

impl Durable {
    async fn sync_parent(&self, location: &Path) -> Result<()> {
        let target = self.inner.path_to_filesystem(location)?;
        match target.parent() {
            Some(directory) => self.sync_directory(directory.to_owned()).await,
            None => Ok(()),
        }
    }
}

/// A put in parts: kept in memory, written in one go at the end. Only checkpoints come this way, and they are small.
#[derive(Debug)]
struct Upload {
    store: Durable,
    location: Path,
    parts: Vec<Bytes>,
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.parts.extend(data.iter().cloned());
        Box::pin(std::future::ready(Ok(())))
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let payload: PutPayload = std::mem::take(&mut self.parts).into_iter().collect();
        self.store.put_opts(&self.location, payload, PutOptions::default()).await
    }

    async fn abort(&mut self) -> Result<()> {
        self.parts.clear();
        Ok(())
    }
}
