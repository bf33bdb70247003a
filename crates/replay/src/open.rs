//! Opens a capture: plain, gzip or zstd, told apart by the first bytes.

use crate::ReplayError;
use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;
use std::rc::Rc;

const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Largest window that a zstd stream may ask for, as a power of two: 128 MiB, the default of its own tools.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;
/// Read from the disk at once.
const READ_BYTES: usize = 256 << 10;

/// How far reading has come; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Position {
    read: Rc<Cell<u64>>,
    /// Size of the file, as it lies on the disk; zero if it is none (a pipe).
    pub total: u64,
}

impl Position {
    /// Bytes of the file read so far, as they lie on the disk.
    pub fn read(&self) -> u64 {
        self.read.get()
    }
}

/// The capture's bytes, decompressed.
pub struct Bytes {
    inner: Box<dyn Read>,
    failed: Rc<RefCell<Option<io::Error>>>,
}

/// What the reader of packets does not pass on: why reading failed.
#[derive(Debug, Clone, Default)]
pub struct Failure(Rc<RefCell<Option<io::Error>>>);

impl Failure {
    pub fn take(&self) -> Option<io::Error> {
        self.0.borrow_mut().take()
    }
}

/// Opens a file, or standard input for `-`.
///
/// # Errors
/// If it cannot be opened or its first bytes cannot be read.
pub fn open(path: &Path) -> Result<(Bytes, Position), ReplayError> {
    let failed = |source| ReplayError::Open { path: path.to_owned(), source };
    if path.as_os_str() == "-" {
        return from_reader(io::stdin(), 0).map_err(failed);
    }
    let file = File::open(path).map_err(failed)?;
    let meta = file.metadata().map_err(failed)?;
    if meta.is_dir() {
        return Err(failed(io::Error::new(io::ErrorKind::IsADirectory, "it is a directory")));
    }
    from_reader(file, meta.len()).map_err(failed)
}

/// The same of any reader; `total` is its size, if that is known.
///
/// # Errors
/// If its first bytes cannot be read.
pub fn from_reader(reader: impl Read + 'static, total: u64) -> io::Result<(Bytes, Position)> {
    let position = Position { read: Rc::default(), total };
    let mut counted = BufReader::with_capacity(READ_BYTES, Counted { inner: reader, read: Rc::clone(&position.read) });
    let mut magic = Vec::with_capacity(ZSTD.len());
    counted.by_ref().take(ZSTD.len() as u64).read_to_end(&mut magic)?;
    let whole = io::Cursor::new(magic.clone()).chain(counted);
    let inner: Box<dyn Read> = if magic.starts_with(&GZIP) {
        Box::new(flate2::read::MultiGzDecoder::new(whole))
    } else if magic == ZSTD {
        let mut decoder = zstd::Decoder::new(whole)?;
        decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
        Box::new(decoder)
    } else {
        Box::new(whole)
    };
    Ok((Bytes { inner, failed: Rc::default() }, position))
}

impl Bytes {
    /// Where an error of reading will be found.
    pub fn failure(&self) -> Failure {
        Failure(Rc::clone(&self.failed))
    }
}

impl Read for Bytes {
    /// Fills the buffer unless the capture ends: the parser looks at the whole file header at once. What was read before an error is
    /// given first; the error comes back as the end of the data and is kept for [`Failure::take`].
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() && self.failed.borrow().is_none() {
            match self.inner.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => *self.failed.borrow_mut() = Some(error),
            }
        }
        Ok(filled)
    }
}

struct Counted<R> {
    inner: R,
    read: Rc<Cell<u64>>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.read.set(self.read.get() + read as u64);
        Ok(read)
    }
}
