//! Databases in MaxMind's format: whose network an address is (ASN), and in which country or part of one (City, Country). Any database that has these fields
//! will do.

use super::Wrong;
use edgescope_model::dims::{VALUE_BYTES_MAX, shortened};
use ipnet::IpNet;
use maxminddb::{MaxMindDbError, PathElement, Reader};
use std::net::IpAddr;

/// What stands before the metadata, which ends the file.
const MARKER: &[u8] = b"\xab\xcd\xefMaxMind.com";
/// The metadata lies in the last bytes of a file, by the format.
const METADATA_BYTES_MAX: usize = 128 << 10;
/// Looked up once a database is read, so that one that is cut short or not of this format is refused at once.
const TRIED: [&str; 4] = ["1.1.1.1", "203.0.113.1", "2001:4860:4860::8888", "2a00::1"];

pub(super) struct Database {
    reader: Reader<Vec<u8>>,
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database").field("kind", &self.reader.metadata().database_type).finish()
    }
}

/// What a database says of an address.
#[derive(Debug)]
pub(super) struct Record {
    pub block: IpNet,
    /// `AS15169 google`
    pub name: Option<String>,
    /// `US-CA`, or the country alone: codes of ISO 3166.
    pub region: Option<String>,
}

impl Database {
    /// Whether a file is a database, rather than a list.
    pub fn is_one(bytes: &[u8]) -> bool {
        let end = &bytes[bytes.len().saturating_sub(METADATA_BYTES_MAX)..];
        end.windows(MARKER.len()).any(|window| window == MARKER)
    }

    pub fn open(bytes: Vec<u8>) -> Result<Self, Wrong> {
        let wrong = |error: MaxMindDbError| Wrong::Database(error.to_string());
        let database = Self { reader: Reader::from_source(bytes).map_err(wrong)? };
        for address in TRIED.iter().filter_map(|text| text.parse().ok()) {
            database.find(address).map_err(wrong)?;
        }
        Ok(database)
    }

    /// What the database has of an address; nothing of IPv6 in a database of IPv4.
    pub fn find(&self, address: IpAddr) -> Result<Record, MaxMindDbError> {
        use PathElement::{Index, Key};
        if address.is_ipv6() && self.reader.metadata().ip_version == 4 {
            return Ok(Record { block: address.into(), name: None, region: None });
        }
        let found = self.reader.lookup(address)?;
        let network = found.network()?;
        let block = IpNet::new(network.ip(), network.prefix()).map_or(address.into(), |net| net.trunc());
        let text = |path: &[PathElement<'_>]| found.decode_path::<&str>(path);
        let number: Option<u32> = found.decode_path(&[Key("autonomous_system_number")])?;
        let name = match number {
            Some(number) => Some(as_name(number, text(&[Key("autonomous_system_organization")])?)),
            None => None,
        };
        let country = match text(&[Key("country"), Key("iso_code")])? {
            Some(country) => Some(country),
            None => text(&[Key("registered_country"), Key("iso_code")])?,
        };
        let part = text(&[Key("subdivisions"), Index(0), Key("iso_code")])?;
        let region = country.map(|country| part.map_or_else(|| country.to_owned(), |part| format!("{country}-{part}")));
        Ok(Record { block, name, region: region.map(cut) })
    }
}

fn as_name(number: u32, organization: Option<&str>) -> String {
    let organization = organization.map(|name| format!(" {}", shortened(name.trim(), VALUE_BYTES_MAX).to_lowercase())).unwrap_or_default();
    cut(format!("AS{number}{organization}"))
}

/// No longer than a dimension may be: whoever made the database is not asked to shorten his names.
fn cut(mut text: String) -> String {
    text.truncate(shortened(&text, VALUE_BYTES_MAX).len());
    text
}
