//! Cilium's own tables, where they are pinned: read once a window, in batches. What connection tracking of the kernel does not know is in them. Not tested with a running
//! Cilium.

use edgescope_identity::nat::Translation;
use edgescope_identity::nat::cilium::{Kind, Layout, Services, TABLES, translation};
use edgescope_probe::{ForeignMap, ProbeError};
use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

/// Where Cilium pins them.
pub(super) const DIRECTORY: &str = "/sys/fs/bpf/tc/globals";
/// Most entries read of a table in a window: 100 bytes each, some 20 ms for all.
const ENTRIES_MAX: usize = 131_072;

/// What one pass over the tables found.
#[derive(Debug, Default)]
pub(super) struct Listed {
    pub translations: Vec<Translation>,
    /// Every table that is there was read to its end, or to the bound.
    pub is_whole: bool,
    pub losses: BTreeMap<&'static str, u64>,
}

/// The tables in one directory.
#[derive(Debug)]
pub(super) struct Cilium {
    directory: PathBuf,
    entries_max: usize,
    /// Tables of which the log has said why they cannot be read.
    told: HashSet<&'static str>,
}

impl Cilium {
    pub fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), entries_max: ENTRIES_MAX, told: HashSet::new() }
    }

    /// Whether there is anything to read.
    pub fn is_there(directory: &Path) -> bool {
        TABLES.iter().any(|layout| directory.join(layout.name).exists())
    }

    /// All that is translated now.
    pub fn list(&mut self) -> Listed {
        let mut listed = Listed { is_whole: true, ..Listed::default() };
        if !Self::is_there(&self.directory) {
            return listed;
        }
        let mut services = Services::default();
        for layout in TABLES {
            match self.read(&layout, &mut services, &mut listed.translations) {
                Ok(Read::All) => {}
                Ok(Read::Some) => *listed.losses.entry("cilium_tables_cut").or_default() += 1,
                Ok(Read::Unknown(sizes)) => {
                    *listed.losses.entry("cilium_layouts_unknown").or_default() += 1;
                    if self.told.insert(layout.name) {
                        let known = layout.sizes();
                        tracing::warn!(table = layout.name, ?sizes, ?known, "a table of Cilium has another layout than is known: it is not read");
                    }
                }
                Err(error) => {
                    listed.is_whole = false;
                    *listed.losses.entry("cilium_tables_unread").or_default() += 1;
                    if self.told.insert(layout.name) {
                        tracing::warn!(table = layout.name, %error, "a table of Cilium cannot be read");
                    }
                }
            }
        }
        listed
    }

    fn read(&self, layout: &Layout, services: &mut Services, translations: &mut Vec<Translation>) -> Result<Read, ProbeError> {
        let Some(map) = ForeignMap::open(&self.directory.join(layout.name))? else { return Ok(Read::All) };
        if map.sizes() != layout.sizes() {
            return Ok(Read::Unknown(map.sizes()));
        }
        let is_all = map.read(self.entries_max, |key, value| {
            if layout.kind == Kind::Services {
                services.take(layout, key, value);
            } else {
                translations.extend(translation(layout, key, value, services));
            }
        })?;
        Ok(if is_all { Read::All } else { Read::Some })
    }
}

enum Read {
    All,
    Some,
    /// Bytes of its keys and values.
    Unknown((usize, usize)),
}

#[cfg(test)]
mod tests {
    use super::*;
    use edgescope_identity::nat::{Connection, Door};
    use std::net::IpAddr;

    /// A directory of pinned maps, gone when dropped.
    struct Pinned(PathBuf);

    impl Pinned {
        fn new() -> Self {
            let root = Path::new("/sys/fs/bpf");
            assert!(root.is_dir(), "tests need a BPF file system at {}", root.display());
            let directory = root.join(format!("es-test-{}-{:08x}", std::process::id(), rand::random::<u32>()));
            std::fs::create_dir(&directory).unwrap();
            Self(directory)
        }

        /// A table of this name with these entries.
        fn table(&self, name: &str, entries: Vec<(Vec<u8>, Vec<u8>)>) {
            ForeignMap::make(&self.0.join(name), !name.contains("reverse"), &entries).unwrap();
        }
    }

    impl Drop for Pinned {
        fn drop(&mut self) {
            for entry in std::fs::read_dir(&self.0).unwrap().flatten() {
                drop(std::fs::remove_file(entry.path()).or_else(|_| std::fs::remove_dir(entry.path())));
            }
            std::fs::remove_dir(&self.0).unwrap();
        }
    }

    fn bytes(ip: &str) -> Vec<u8> {
        match ip.parse().unwrap() {
            IpAddr::V4(v4) => v4.octets().to_vec(),
            IpAddr::V6(v6) => v6.octets().to_vec(),
        }
    }

    fn key(addresses: [&str; 2], ports: [u16; 2], protocol: u8) -> Vec<u8> {
        [bytes(addresses[0]), bytes(addresses[1]), ports.map(u16::to_be_bytes).concat(), vec![protocol, 0]].concat()
    }

    fn tracked(number: u16) -> Vec<u8> {
        [vec![1; 38], number.to_be_bytes().to_vec(), vec![1; 16]].concat()
    }

    fn connection((client, client_port): (&str, u16), (server, server_port): (&str, u16), is_udp: bool) -> Connection {
        let door = |ip: &str, port| Door::new(ip.parse().unwrap(), port);
        Connection { client: door(client, client_port), server: door(server, server_port), is_udp }
    }

    #[test]
    fn tables_of_both_families_tell_services_and_masks() {
        let pinned = Pinned::new();
        for (v, service, client, backend, outside, node) in [
            (4, "10.96.0.1", "10.0.1.5", "10.0.2.7", "198.51.100.7", "192.0.2.1"),
            (6, "fd00:96::1", "fd00:1::5", "fd00:2::7", "2001:db8::7", "2001:db8::1"),
        ] {
            let table = |name: &str, entries| pinned.table(&name.replace('N', &v.to_string()), entries);
            table("cilium_lbN_reverse_nat", vec![(3u16.to_be_bytes().to_vec(), [bytes(service), vec![0, 80]].concat())]);
            let (to_backend, to_outside) = (key([client, backend], [8_080, 40_000], 6), key([client, outside], [443, 40_001], 6));
            table("cilium_ctN_global", vec![(to_backend, tracked(3)), (to_outside, tracked(0))]);
            table("cilium_ct_anyN_global", vec![(key([client, backend], [5_353, 40_002], 17), tracked(3))]);
            let mask = [vec![1; 32], bytes(node), 61_000u16.to_be_bytes().to_vec(), vec![0; if v == 4 { 2 } else { 6 }]].concat();
            table("cilium_snat_vN_external", vec![(key([outside, client], [443, 40_001], 6), mask)]);
            let listed = Cilium::new(&pinned.0).list();
            assert!(listed.is_whole && listed.losses.is_empty(), "{listed:?}");
            let of_service = |port, backend_port, is_udp| Translation {
                original: connection((client, port), (service, 80), is_udp),
                translated: connection((client, port), (backend, backend_port), is_udp),
            };
            let masked = Translation {
                original: connection((client, 40_001), (outside, 443), false),
                translated: connection((node, 61_000), (outside, 443), false),
            };
            let expected = [of_service(40_000, 8_080, false), of_service(40_002, 5_353, true), masked];
            expected.iter().for_each(|one| assert!(listed.translations.contains(one), "{one:?} is not in {listed:#?}"));
            assert_eq!(listed.translations.len(), if v == 4 { 3 } else { 6 }, "{listed:#?}");
        }
    }

    #[test]
    fn what_is_of_another_layout_or_too_large_is_counted() {
        let pinned = Pinned::new();
        assert!(!Cilium::is_there(&pinned.0));
        let nothing = Cilium::new(&pinned.0).list();
        assert!(nothing.is_whole && nothing.losses.is_empty() && nothing.translations.is_empty());
        pinned.table("cilium_ct4_global", vec![(vec![1; 14], vec![1; 64])]);
        // What may not be opened as a map at all.
        std::fs::create_dir(pinned.0.join("cilium_ct6_global")).unwrap();
        let mask = |port: u8| [vec![1; 32], bytes("192.0.2.1"), vec![99, port, 0, 0]].concat();
        let masks = (1..=20).map(|port| (key(["198.51.100.7", "10.0.1.5"], [443, port.into()], 6), mask(port)));
        pinned.table("cilium_snat_v4_external", masks.collect());
        let mut cilium = Cilium { entries_max: 15, ..Cilium::new(&pinned.0) };
        let listed = cilium.list();
        assert!(Cilium::is_there(&pinned.0) && !listed.is_whole);
        assert_eq!(listed.losses, BTreeMap::from([("cilium_layouts_unknown", 1), ("cilium_tables_cut", 1), ("cilium_tables_unread", 1)]));
        assert_eq!((listed.translations.len(), cilium.told.len()), (15, 2));
    }
}
