//! Reading and writing maps by their file descriptors; batches for the large ones.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use libbpf_rs::{MapCore, MapHandle};
use libbpf_sys as sys;

use crate::ProbeError;
use crate::layout::{Plain, RawControl, RawTally};

/// Entries fetched per system call: 1024 flows are 360 kB, 256 histograms 430 kB.
const BATCH_BYTES: usize = 400 * 1024;

/// The maps of one probe.
#[derive(Debug)]
pub struct Maps {
    pub flows: MapHandle,
    pub datagrams: MapHandle,
    pub others: MapHandle,
    pub rtts: MapHandle,
    pub handshakes: MapHandle,
    pub durations: MapHandle,
    pub questions: MapHandle,
    pub names: MapHandle,
    pub socks: MapHandle,
    pub datagram_socks: MapHandle,
    pub http2_talks: MapHandle,
    /// Pinned with its build, if HTTP/2 is wanted.
    pub http2_records: MapHandle,
    pub http2_counts: MapHandle,
    pub http2_resumptions: MapHandle,
    pub services: MapHandle,
    pub scope: MapHandle,
    pub split: MapHandle,
    pub translations: MapHandle,
    pub newcomers: MapHandle,
    pub drops: MapHandle,
    pub control: MapHandle,
    pub tallies: MapHandle,
    pub losses: MapHandle,
}

/// What outlives the process, by name in the object and in the pin directory.
pub const PINNED: [&str; 20] = [
    "flows",
    "datagrams",
    "others",
    "rtts",
    "handshakes",
    "durations",
    "questions",
    "names",
    "socks",
    "datagram_socks",
    "http2_talks",
    "http2_resumptions",
    "services",
    "scope",
    "split",
    "translations",
    "newcomers",
    "drops",
    "control",
    "losses",
];

impl Maps {
    /// Each of `PINNED` with its map.
    pub fn pinned(&self) -> impl Iterator<Item = (&'static str, &MapHandle)> {
        let maps = [
            &self.flows,
            &self.datagrams,
            &self.others,
            &self.rtts,
            &self.handshakes,
            &self.durations,
            &self.questions,
            &self.names,
            &self.socks,
            &self.datagram_socks,
            &self.http2_talks,
            &self.http2_resumptions,
            &self.services,
            &self.scope,
            &self.split,
            &self.translations,
            &self.newcomers,
            &self.drops,
            &self.control,
            &self.losses,
        ];
        PINNED.into_iter().zip(maps)
    }

    pub fn control(&self) -> Result<RawControl, ProbeError> {
        first(&self.control, "control")
    }

    pub fn set_control(&self, control: &RawControl) -> Result<(), ProbeError> {
        put(&self.control, "control", &0u32.to_ne_bytes(), control.bytes())
    }

    pub fn tally(&self) -> Result<RawTally, ProbeError> {
        first(&self.tallies, "tallies")
    }

    pub fn clear_tally(&self) -> Result<(), ProbeError> {
        put(&self.tallies, "tallies", &0u32.to_ne_bytes(), RawTally::default().bytes())
    }
}

fn error(map: &'static str, what: &'static str) -> ProbeError {
    ProbeError::Map { map, what, source: io::Error::last_os_error() }
}

/// The value at index 0 of an array.
fn first<T: Plain>(map: &MapHandle, name: &'static str) -> Result<T, ProbeError> {
    get(map, name, &0u32.to_ne_bytes()).and_then(|value| value.ok_or_else(|| error(name, "find index 0")))
}

/// `None` if there is no such key.
pub fn get<T: Plain>(map: &MapHandle, name: &'static str, key: &[u8]) -> Result<Option<T>, ProbeError> {
    fetch(map, name, key, "look up", sys::bpf_map_lookup_elem)
}

/// Removes an entry and gives what it held last.
pub fn take<T: Plain>(map: &MapHandle, name: &'static str, key: &[u8]) -> Result<Option<T>, ProbeError> {
    fetch(map, name, key, "take", sys::bpf_map_lookup_and_delete_elem)
}

type Fetch = unsafe extern "C" fn(i32, *const std::ffi::c_void, *mut std::ffi::c_void) -> i32;

fn fetch<T: Plain>(map: &MapHandle, name: &'static str, key: &[u8], what: &'static str, call: Fetch) -> Result<Option<T>, ProbeError> {
    assert_eq!((map.key_size() as usize, map.value_size() as usize), (key.len(), size_of::<T>()), "map {name}");
    let mut value = vec![0u8; size_of::<T>()];
    // SAFETY: key and value are as long as the map's, asserted above.
    let failed = unsafe { call(map.as_fd().as_raw_fd(), key.as_ptr().cast(), value.as_mut_ptr().cast()) } != 0;
    match failed {
        false => Ok(T::from_bytes(&value)),
        true if io::Error::last_os_error().kind() == io::ErrorKind::NotFound => Ok(None),
        true => Err(error(name, what)),
    }
}

pub fn put(map: &MapHandle, name: &'static str, key: &[u8], value: &[u8]) -> Result<(), ProbeError> {
    assert_eq!((map.key_size() as usize, map.value_size() as usize), (key.len(), value.len()), "map {name}");
    // SAFETY: key and value are as long as the map's, asserted above.
    let failed =
        unsafe { sys::bpf_map_update_elem(map.as_fd().as_raw_fd(), key.as_ptr().cast(), value.as_ptr().cast(), u64::from(sys::BPF_ANY)) } != 0;
    if failed { Err(error(name, "write")) } else { Ok(()) }
}

/// Whether what was put in had room.
pub fn has_room(put: Result<(), ProbeError>) -> Result<bool, ProbeError> {
    match put {
        Ok(()) => Ok(true),
        Err(ProbeError::Map { source, .. }) if source.raw_os_error() == Some(libc::E2BIG) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Removes an entry; that there is none is no error.
pub fn delete(map: &MapHandle, name: &'static str, key: &[u8]) -> Result<(), ProbeError> {
    assert_eq!(map.key_size() as usize, key.len(), "map {name}");
    // SAFETY: the key is as long as the map's, asserted above.
    let failed = unsafe { sys::bpf_map_delete_elem(map.as_fd().as_raw_fd(), key.as_ptr().cast()) } != 0;
    if failed && io::Error::last_os_error().kind() != io::ErrorKind::NotFound {
        return Err(error(name, "delete from"));
    }
    Ok(())
}

/// Calls `each` with the raw key and value of every entry of a hash map. Entries made or removed meanwhile may be missed, none
/// comes twice.
pub fn for_each(map: &MapHandle, name: &'static str, each: impl FnMut(&[u8], &[u8])) -> Result<(), ProbeError> {
    for_each_up_to(map, name, usize::MAX, each).map(|_| ())
}

/// The same with the first `max` entries; whether these were all.
pub fn for_each_up_to(map: &MapHandle, name: &'static str, max: usize, mut each: impl FnMut(&[u8], &[u8])) -> Result<bool, ProbeError> {
    let mut left = max;
    let (key_size, value_size) = (map.key_size() as usize, map.value_size() as usize);
    let mut room = (BATCH_BYTES / (key_size + value_size)).max(64);
    let mut keys = vec![0u8; room * key_size];
    let mut values = vec![0u8; room * value_size];
    let mut position = [0u8; 8];
    let mut started = false;
    loop {
        let mut count = room as u32;
        let from = if started { position.as_mut_ptr() } else { std::ptr::null_mut() };
        let mut next = [0u8; 8];
        // SAFETY: the buffers hold `count` keys and values; a hash map's position is a u32, for which both buffers have room.
        let failed = unsafe {
            sys::bpf_map_lookup_batch(
                map.as_fd().as_raw_fd(),
                from.cast(),
                next.as_mut_ptr().cast(),
                keys.as_mut_ptr().cast(),
                values.as_mut_ptr().cast(),
                &raw mut count,
                std::ptr::null(),
            )
        } != 0;
        let kind = failed.then(io::Error::last_os_error);
        match kind.as_ref().and_then(io::Error::raw_os_error) {
            // One bucket holds more than fits: nothing was moved on; again with more room.
            Some(libc::ENOSPC) => {
                room *= 2;
                keys.resize(room * key_size, 0);
                values.resize(room * value_size, 0);
                continue;
            }
            None | Some(libc::ENOENT) => {}
            Some(_) => return Err(error(name, "read")),
        }
        for at in 0..left.min(count as usize) {
            each(&keys[at * key_size..][..key_size], &values[at * value_size..][..value_size]);
        }
        if left < count as usize {
            return Ok(false);
        }
        left -= count as usize;
        if kind.is_some() {
            return Ok(true);
        }
        position = next;
        started = true;
    }
}
