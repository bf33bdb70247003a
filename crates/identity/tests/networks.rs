//! What the user supplies about the outside: files of every format, their order, their faults, and what becomes of an end.

#[path = "support/mmdb.rs"]
mod mmdb;

use edgescope_identity::directory::{Directory, End, Limits, Span};
use edgescope_identity::found_by;
use edgescope_identity::networks::files::Files;
use edgescope_identity::networks::{Networks, NetworksConfig, Outside, Source};
use edgescope_identity::rules::{Match, Rule, Rules};
use edgescope_model::dims::EndDims;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use proptest::prelude::*;
use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

const AWS: &str = r#"{"syncToken": "1", "createDate": "2026-01-31-00-00-00",
  "prefixes": [
    {"ip_prefix": "3.5.0.0/16", "region": "us-east-1", "service": "AMAZON", "network_border_group": "us-east-1"},
    {"ip_prefix": "3.5.0.0/19", "region": "us-east-1", "service": "AMAZON", "network_border_group": "us-east-1"},
    {"ip_prefix": "3.5.0.0/19", "region": "us-east-1", "service": "S3", "network_border_group": "us-east-1"},
    {"ip_prefix": "3.5.0.0/19", "region": "us-east-1", "service": "EC2", "network_border_group": "us-east-1"},
    {"ip_prefix": "13.32.0.0/15", "region": "GLOBAL", "service": "CLOUDFRONT", "network_border_group": "GLOBAL"}],
  "ipv6_prefixes": [{"ipv6_prefix": "2600:1f14::/35", "region": "us-west-2", "service": "EC2", "network_border_group": "us-west-2"}]}"#;
const GCP: &str = r#"{"syncToken": "1", "creationTime": "2026-01-31T00:00:00", "prefixes": [
    {"ipv4Prefix": "34.1.208.0/20", "service": "Google Cloud", "scope": "africa-south1"},
    {"ipv6Prefix": "2600:1900:4000::/44", "service": "Google Cloud", "scope": "us-central1"},
    {"ipv4Prefix": "8.8.4.0/24"}]}"#;
const AZURE: &str = r#"{"changeNumber": 1, "cloud": "Public", "values": [
    {"name": "AzureCloud.eastus", "id": "AzureCloud.eastus", "properties": {"changeNumber": 1, "region": "eastus", "regionId": 32, "platform": "Azure",
      "systemService": "", "addressPrefixes": ["20.38.98.0/24", "20.42.0.0/17"]}},
    {"name": "Storage", "id": "Storage", "properties": {"changeNumber": 1, "region": "", "platform": "Azure", "systemService": "AzureStorage",
      "addressPrefixes": ["20.38.98.0/24"]}},
    {"name": "Storage.EastUS", "id": "Storage.EastUS", "properties": {"changeNumber": 1, "region": "eastus", "platform": "Azure",
      "systemService": "AzureStorage", "addressPrefixes": ["20.38.98.0/24"]}}]}"#;
const OFFICES: &str = "cidr,label,region\n# where we sit\n203.0.113.0/24,office vienna,at\n203.0.113.128/25,\"office, guests\"\n10.200.0.0/16,vpn\n2001:db8:7::/48,office v6\n";

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn source(name: &str, bytes: impl AsRef<[u8]>) -> Arc<Source> {
    Arc::new(Source::parse(name, bytes.as_ref().to_vec()).unwrap())
}

fn called(networks: &Networks, address: &str) -> (String, String, String) {
    let Outside { named, region } = networks.find(ip(address));
    let of_database = region.map(|(region, _)| region).unwrap_or_default();
    match named {
        Some(hit) => {
            let region = if hit.region.is_empty() { of_database } else { hit.region.to_string() };
            (hit.name.to_string(), hit.by.to_owned(), region)
        }
        None => (String::new(), String::new(), of_database),
    }
}

fn three(name: &str, by: &str, region: &str) -> (String, String, String) {
    (name.to_owned(), by.to_owned(), region.to_owned())
}

#[test]
fn published_lists_name_service_and_region() {
    let networks = Networks::new(vec![source("aws.json", AWS), source("gcp.json", GCP), source("azure.json", AZURE)]);
    for (address, name, region) in [
        ("3.5.3.4", "aws s3 us-east-1", "us-east-1"),
        ("3.5.200.1", "aws us-east-1", "us-east-1"),
        ("13.33.0.1", "aws cloudfront", ""),
        ("2600:1f14:123::1", "aws ec2 us-west-2", "us-west-2"),
        ("34.1.209.9", "gcp africa-south1", "africa-south1"),
        ("2600:1900:4000::5", "gcp us-central1", "us-central1"),
        ("8.8.4.4", "google", ""),
        ("20.38.98.7", "azure storage eastus", "eastus"),
        ("20.42.100.1", "azure eastus", "eastus"),
    ] {
        let by = match name.split(' ').next() {
            Some("aws") => found_by::AWS,
            Some("azure") => found_by::AZURE,
            _ => found_by::GCP,
        };
        assert_eq!(called(&networks, address), three(name, by, region), "{address}");
    }
    assert_eq!(networks.find(ip("198.51.100.1")), Outside::default());
}

#[test]
fn plain_lists_are_csv_or_yaml_and_may_hold_private_blocks() {
    let yaml = "# the same\n- { cidr: 203.0.113.0/24, label: office vienna, region: at }\n- cidr: 203.0.113.128/25\n  label: office, guests\n\
        - { cidr: 10.200.0.0/16, label: vpn }\n- { cidr: '2001:db8:7::/48', label: office v6 }\n";
    for text in [OFFICES, yaml, &format!("\u{feff}{OFFICES}")] {
        let networks = Networks::new(vec![source("offices", text)]);
        assert_eq!(called(&networks, "203.0.113.5"), three("office vienna", found_by::NETWORK, "at"));
        assert_eq!(called(&networks, "203.0.113.200"), three("office, guests", found_by::NETWORK, ""));
        assert_eq!(called(&networks, "10.200.3.4"), three("vpn", found_by::NETWORK, ""));
        assert_eq!(called(&networks, "2001:db8:7:1::1"), three("office v6", found_by::NETWORK, ""));
        assert_eq!(networks.ranges(), 4, "of the /24 what the /25 left, the others whole");
    }
}

#[test]
fn the_longest_prefix_of_all_lists_wins_then_the_first_file_then_a_database() {
    let (mine, theirs) = (source("mine.csv", "3.5.0.0/19,mine\n3.5.0.0/24,mine too"), source("aws.json", AWS));
    let whose = source(
        "asn.mmdb",
        mmdb::database("GeoLite2-ASN", &[(net("3.5.0.0/16"), mmdb::asn(16509, "AMAZON-02")), (net("8.8.8.0/24"), mmdb::asn(15169, "GOOGLE"))]),
    );
    let first = Networks::new(vec![Arc::clone(&whose), Arc::clone(&mine), Arc::clone(&theirs)]);
    let last = Networks::new(vec![theirs, mine, whose]);
    assert_eq!(called(&first, "3.5.9.9").0, "mine");
    assert_eq!(called(&last, "3.5.9.9").0, "aws s3 us-east-1");
    for networks in [first, last] {
        assert_eq!(called(&networks, "3.5.0.9").0, "mine too");
        assert_eq!(called(&networks, "3.5.200.1").0, "aws us-east-1");
        assert_eq!(called(&networks, "8.8.8.8"), three("AS15169 google", found_by::ASN, ""));
        assert_eq!(networks.find(ip("8.8.8.8")).named.unwrap().block, net("8.8.8.0/24"));
    }
}

#[test]
fn databases_tell_network_and_region_of_both_families() {
    let whose =
        mmdb::database("GeoLite2-ASN", &[(net("8.8.8.0/24"), mmdb::asn(15169, "GOOGLE")), (net("2001:4860::/32"), mmdb::asn(15169, "GOOGLE"))]);
    let where_is =
        mmdb::database("GeoLite2-City", &[(net("8.8.8.0/24"), mmdb::place("US", Some("CA"))), (net("2001:4860::/32"), mmdb::place("US", None))]);
    let networks = Networks::new(vec![source("asn.mmdb", whose), source("city.mmdb", where_is)]);
    assert_eq!(called(&networks, "8.8.8.8"), three("AS15169 google", found_by::ASN, "US-CA"));
    assert_eq!(called(&networks, "2001:4860:4860::8888"), three("AS15169 google", found_by::ASN, "US"));
    assert_eq!(called(&networks, "192.168.1.1"), three("", "", ""));
    assert_eq!((networks.ranges(), networks.lookup_failures()), (0, 0));
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    let wrong = |bytes: &[u8]| Source::parse("f", bytes.to_vec()).unwrap_err().to_string();
    let long = format!("10.0.0.0/8,{}", "x".repeat(300));
    for (text, said) in [
        ("", "has nothing"),
        ("# only this\n", "has nothing"),
        ("203.0.113.0/24,a\nnonsense,b\n", "line 2: 'nonsense' is no block"),
        ("203.0.113.0/33,a", "line 1: '203.0.113.0/33' is no block"),
        ("203.0.113.0/24", "line 1: no label"),
        ("203.0.113.0/24,a,b,c", "line 1: 4 fields"),
        ("\n203.0.113.0/24,\"a", "line 2: a quote is not closed"),
        (&long, "line 1: the label has 300 bytes"),
        ("- { cidr: 10.0.0.0/8 }", "missing field `label`"),
        ("- { cidr: 10.0.0.0/8, label: a, zone: b }", "unknown field"),
        ("- { cidr: 10.0.0.0/8, label: a }\n- { cidr: ten, label: a }", "[1]: 'ten' is no block"),
        ("{}", "none of the published formats"),
        (r#"{"prefixes": [{"ip_prefix": "1.2.3.0/24", "service": "S3"}, {"ip_prefix": "1.2.3.0/99"}]}"#, "prefixes[1].ip_prefix: '1.2.3.0/99'"),
        (r#"{"prefixes": [{"service": "S3"}]}"#, "prefixes[0]: neither ip_prefix"),
        (r#"{"values": [{"properties": {"systemService": "A", "addressPrefixes": ["x"]}}]}"#, "values[0].properties.addressPrefixes[0]: 'x'"),
        ("{\"prefixes\": [\n  {\"ip_prefix\": 7}]}", "line 2 column"),
    ] {
        let message = wrong(text.as_bytes());
        assert!(message.contains(said), "{text}: {message}");
    }
    assert!(wrong(b"10.0.0.0/8,a\n\xff\xfe\n").contains("line 2: not UTF-8"));
    let mut cut = mmdb::database("GeoLite2-ASN", &[(net("8.8.8.0/24"), mmdb::asn(1, "a"))]);
    cut.drain(..300);
    assert!(wrong(&cut).contains("no database in MaxMind's format"), "{}", wrong(&cut));
}

fn write(path: &Path, bytes: impl AsRef<[u8]>, seconds: u64) {
    fs::write(path, bytes).unwrap();
    let at = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
    fs::File::options().write(true).open(path).unwrap().set_modified(at).unwrap();
}

#[test]
fn changed_files_are_read_again_and_broken_ones_keep_what_they_had() {
    let dir = tempfile::tempdir().unwrap();
    let (offices, aws) = (dir.path().join("offices.csv"), dir.path().join("aws.json"));
    write(&offices, "203.0.113.0/24,office", 1000);
    write(&aws, AWS, 1000);
    let config = NetworksConfig { files: vec![offices.clone(), aws.clone()] };
    let mut files = Files::read(&config).unwrap();
    let start = files.networks();
    assert!(files.read_changed().read.is_empty(), "nothing changed");
    write(&offices, "203.0.113.0/24,bureau", 2000);
    write(&aws, "{", 2000);
    let changes = files.read_changed();
    assert_eq!(changes.read, [offices.display().to_string()]);
    let said = changes.broken[0].to_string();
    assert!(said.starts_with("identity.networks.files: ") && said.contains("aws.json: ") && said.contains("line 1"), "{said}");
    let now = files.networks();
    assert_eq!((called(&start, "203.0.113.1").0.as_str(), called(&now, "203.0.113.1").0.as_str()), ("office", "bureau"));
    assert_eq!(called(&now, "3.5.3.4").0, "aws s3 us-east-1", "as before it was broken");
    // Tried once: it is no better the next time.
    assert!(files.read_changed().broken.is_empty());
    fs::remove_file(&offices).unwrap();
    assert!(files.read_changed().broken[0].to_string().contains("cannot be read"));
    assert_eq!(files.networks().files_broken(), 2);
    assert_eq!(called(&files.networks(), "203.0.113.1").0, "bureau");
    assert!(Files::read(&config).is_err(), "at start a missing file is refused");
}

const AT: Span = Span { from_us: 0, to_us: 1 };

fn directory(rules: Vec<Rule>, sources: Vec<Arc<Source>>) -> Directory {
    let mut directory = Directory::new(Limits::default(), Rules::new(rules).unwrap());
    directory.set_networks(Arc::new(Networks::new(sources)));
    directory
}

fn dims_of(directory: &Directory, address: &str) -> EndDims {
    (*directory.find("", End { address: ip(address), port: None }, AT).dims).clone()
}

fn reason(directory: &Directory, address: &str) -> String {
    directory.explain(End { address: ip(address), port: None }, 0).1
}

#[test]
fn ends_are_named_after_rules_and_before_their_prefix_and_why_tells_by_what() {
    let rule = Rule { when: Match { cidr: Some(net("203.0.113.7/32")), ..Match::default() }, workload: Some("bastion".into()), ..Rule::default() };
    let whose = mmdb::database("GeoLite2-ASN", &[(net("8.8.8.0/24"), mmdb::asn(15169, "GOOGLE"))]);
    let city =
        mmdb::database("GeoLite2-City", &[(net("8.8.8.0/24"), mmdb::place("US", Some("CA"))), (net("198.51.100.0/24"), mmdb::place("AT", None))]);
    let directory =
        directory(vec![rule], vec![source("offices.csv", OFFICES), source("aws.json", AWS), source("asn.mmdb", whose), source("city.mmdb", city)]);
    for (address, workload, by, region, keeps_address, said) in [
        ("203.0.113.7", "bastion", found_by::RULE, "at", false, "a static rule of the server names it"),
        ("203.0.113.8", "office vienna", found_by::NETWORK, "at", false, "a list of the configuration does, 203.0.113.0/24 of offices.csv"),
        ("10.200.0.1", "vpn", found_by::NETWORK, "", false, "a list of the configuration does, 10.200.0.0/16 of offices.csv"),
        ("3.5.0.1", "aws s3 us-east-1", found_by::AWS, "us-east-1", true, "its provider's published list does, 3.5.0.0/19 of aws.json"),
        (
            "8.8.8.8",
            "AS15169 google",
            found_by::ASN,
            "US-CA",
            true,
            "a database of networks does, 8.8.8.0/24 of asn.mmdb; its region US-CA is by city.mmdb",
        ),
        ("198.51.100.9", "198.51.100.0/24", found_by::PREFIX, "AT", true, "grouped by their prefix; its region AT is by city.mmdb"),
        ("192.0.2.1", "192.0.2.0/24", found_by::PREFIX, "", true, "public addresses are grouped by their prefix"),
        ("127.0.0.1", "loopback", found_by::LOOPBACK, "", true, "a loopback address"),
    ] {
        let dims = dims_of(&directory, address);
        assert_eq!((dims.workload.as_str(), dims.resolution_type.as_str(), dims.region.as_str()), (workload, by, region), "{address}");
        assert_eq!(dims.ip, if keeps_address { address } else { "" }, "{address}");
        assert!(reason(&directory, address).contains(said), "{address}: {}", reason(&directory, address));
    }
    // A private address of a list is waited for no longer than any that is named.
    assert!(directory.knows("", End { address: ip("10.200.0.1"), port: None }, AT));
    assert!(!directory.knows("", End { address: ip("10.201.0.1"), port: None }, AT));
}

fn block() -> impl Strategy<Value = IpNet> {
    // Few bits that differ, so that blocks lie in each other; and the ends of all addresses.
    let v4 = (any::<[bool; 6]>(), 0u8..=32).prop_map(|(bits, length)| {
        let address = bits.iter().enumerate().fold(0u32, |all, (at, &bit)| all | u32::from(bit) << [31, 30, 8, 7, 1, 0][at]);
        let address = if bits == [true; 6] { u32::MAX } else { address };
        IpNet::V4(Ipv4Net::new(address.into(), length).unwrap().trunc())
    });
    let v6 = (any::<[bool; 6]>(), 0u8..=128).prop_map(|(bits, length)| {
        let address = bits.iter().enumerate().fold(0u128, |all, (at, &bit)| all | u128::from(bit) << [127, 126, 64, 63, 1, 0][at]);
        let address = if bits == [true; 6] { u128::MAX } else { address };
        IpNet::V6(Ipv6Net::new(address.into(), length).unwrap().trunc())
    });
    prop_oneof![v4, v6]
}

/// Every entry of every file is looked at; the longest wins, then the first.
fn naive(files: &[Vec<IpNet>], address: IpAddr) -> Option<(usize, IpNet)> {
    let all = files.iter().enumerate().flat_map(|(file, nets)| nets.iter().map(move |net| (file, *net)));
    all.filter(|(_, net)| net.contains(&address)).reduce(|best, next| if next.1.prefix_len() > best.1.prefix_len() { next } else { best })
}

proptest! {
    #[test]
    fn look_ups_agree_with_a_walk_over_all_entries(files in prop::collection::vec(prop::collection::vec(block(), 1..40), 1..4)) {
        let sources = files.iter().enumerate().map(|(file, nets)| {
            let lines: Vec<String> = nets.iter().map(|net| format!("{net},{file} {net}")).collect();
            source(&file.to_string(), lines.join("\n"))
        });
        let networks = Networks::new(sources.collect());
        // At the borders of every block, and a step beyond.
        let borders = files.iter().flatten().flat_map(|net| match net {
            IpNet::V4(net) => {
                let (first, last) = (net.network().to_bits(), net.broadcast().to_bits());
                [first, last, first.wrapping_sub(1), last.wrapping_add(1)].map(|bits| IpAddr::V4(bits.into()))
            }
            IpNet::V6(net) => {
                let (first, last) = (net.network().to_bits(), net.broadcast().to_bits());
                [first, last, first.wrapping_sub(1), last.wrapping_add(1)].map(|bits| IpAddr::V6(bits.into()))
            }
        });
        for address in borders.filter(|address| !edgescope_identity::address::is_node_local(*address)) {
            let found = networks.find(address).named.map(|hit| (hit.name.to_string(), hit.block));
            let expected = naive(&files, address).map(|(file, net)| (format!("{file} {net}"), net));
            prop_assert_eq!(found, expected, "{}", address);
        }
    }
}
