//! Reads tables that another program has pinned: hash maps of known layout, opened for reading alone.

use std::io;
use std::path::Path;

use libbpf_rs::{ErrorKind, MapCore, MapFlags, MapHandle, MapType};

use crate::{ProbeError, maps};

/// A pinned map of another program.
#[derive(Debug)]
pub struct ForeignMap {
    map: MapHandle,
}

impl ForeignMap {
    /// Opens what is pinned at the path; `None` if there is nothing.
    ///
    /// # Errors
    /// If it may not be read, or is no hash map.
    pub fn open(path: &Path) -> Result<Option<ForeignMap>, ProbeError> {
        let failed = |why: String| ProbeError::Read { path: path.into(), source: io::Error::other(why) };
        let map = match MapHandle::from_pinned_path_with_file_flags(path, libbpf_sys::BPF_F_RDONLY) {
            Ok(map) => map,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error.to_string())),
        };
        match map.map_type() {
            MapType::Hash | MapType::LruHash => Ok(Some(ForeignMap { map })),
            other => Err(failed(format!("it is of type {other:?}, and no hash map"))),
        }
    }

    /// Makes such a map with these entries and pins it, for tests: its first key and value tell the sizes.
    ///
    /// # Errors
    /// If the kernel refuses, or entries differ in size.
    #[doc(hidden)]
    pub fn make(path: &Path, is_lru: bool, entries: &[(Vec<u8>, Vec<u8>)]) -> Result<(), ProbeError> {
        let failed = |error: libbpf_rs::Error| ProbeError::Read { path: path.into(), source: io::Error::other(error.to_string()) };
        let options =
            libbpf_sys::bpf_map_create_opts { sz: size_of::<libbpf_sys::bpf_map_create_opts>() as libbpf_sys::size_t, ..Default::default() };
        let kind = if is_lru { MapType::LruHash } else { MapType::Hash };
        let (key, value) = entries.first().map_or((4, 4), |(key, value)| (key.len() as u32, value.len() as u32));
        let mut map = MapHandle::create(kind, Some("es_foreign"), key, value, 1_024, &options).map_err(failed)?;
        map.pin(path).map_err(failed)?;
        entries.iter().try_for_each(|(key, value)| map.update(key, value, MapFlags::ANY)).map_err(failed)
    }

    /// Bytes of a key and of a value.
    pub fn sizes(&self) -> (usize, usize) {
        (self.map.key_size() as usize, self.map.value_size() as usize)
    }

    /// Calls `each` with key and value of at most `max` entries, in batches; whether these were all.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn read(&self, max: usize, each: impl FnMut(&[u8], &[u8])) -> Result<bool, ProbeError> {
        maps::for_each_up_to(&self.map, "of another program", max, each)
    }
}
