//! The lists of addresses that cloud providers publish, as they publish them: AWS's `ip-ranges.json`, Google's `cloud.json` and `goog.json`, Azure's
//! `ServiceTags_Public.json`. Fields that are not used may come and go.

use super::table::{Builder, Table};
use super::text::Bounded;
use super::{Place, Wrong};
use crate::found_by;
use serde::Deserialize;

/// All of a file of any of them: AWS and Google have prefixes, Azure has values.
#[derive(Debug, Deserialize)]
struct Document {
    #[serde(default)]
    prefixes: Bounded<Prefix>,
    #[serde(default)]
    ipv6_prefixes: Bounded<Prefix>,
    #[serde(default)]
    values: Bounded<Tag>,
}

/// A block of AWS (`ip_prefix`, `ipv6_prefix`, `region`) or of Google (`ipv4Prefix`, `ipv6Prefix`, `scope`).
#[derive(Debug, Deserialize)]
struct Prefix {
    ip_prefix: Option<String>,
    ipv6_prefix: Option<String>,
    #[serde(rename = "ipv4Prefix")]
    ipv4: Option<String>,
    #[serde(rename = "ipv6Prefix")]
    ipv6: Option<String>,
    service: Option<String>,
    region: Option<String>,
    scope: Option<String>,
}

/// A service tag of Azure.
#[derive(Debug, Deserialize)]
struct Tag {
    #[serde(default)]
    properties: Properties,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Properties {
    region: String,
    system_service: String,
    address_prefixes: Bounded<String>,
}

/// Reads any of them. The second value says whose it is, as `resolution_type`.
pub(super) fn read(text: &str) -> Result<(Table, &'static str), Wrong> {
    let document: Document = serde_json::from_str(text)?;
    let mut list = Builder::default();
    for (field, prefixes) in [("prefixes", &document.prefixes), ("ipv6_prefixes", &document.ipv6_prefixes)] {
        for (at, prefix) in prefixes.0.iter().enumerate() {
            add_prefix(&mut list, prefix, &format!("{field}[{at}]"))?;
        }
    }
    for (at, tag) in document.values.0.iter().enumerate() {
        add_tag(&mut list, &tag.properties, at)?;
    }
    let is_google = document.prefixes.0.iter().any(|prefix| prefix.ipv4.is_some() || prefix.ipv6.is_some());
    let by = match (document.values.0.is_empty(), is_google) {
        (false, _) => found_by::AZURE,
        (true, true) => found_by::GCP,
        (true, false) => found_by::AWS,
    };
    let table = list.build();
    if table.len() == 0 { Err(Wrong::UnknownJson) } else { Ok((table, by)) }
}

fn add_prefix(list: &mut Builder, prefix: &Prefix, at: &str) -> Result<(), Wrong> {
    let service = prefix.service.as_deref().unwrap_or_default();
    let amazon = [("ip_prefix", &prefix.ip_prefix), ("ipv6_prefix", &prefix.ipv6_prefix)];
    let google = [("ipv4Prefix", &prefix.ipv4), ("ipv6Prefix", &prefix.ipv6)];
    let (mut any, aws, gcp) = (false, aws(service, prefix.region.as_deref()), gcp(service, prefix.scope.as_deref()));
    for (field, value, named) in
        amazon.iter().map(|(field, value)| (field, value, &aws)).chain(google.iter().map(|(field, value)| (field, value, &gcp)))
    {
        let Some(cidr) = value else { continue };
        any = true;
        list.add(cidr, &named.name, &named.region, named.rank, || Place::Field(format!("{at}.{field}")))?;
    }
    if any { Ok(()) } else { Err(Wrong::NoPrefix { at: Place::Field(at.to_owned()) }) }
}

struct Named {
    name: String,
    region: String,
    rank: u8,
}

/// `aws s3 us-east-1`. The same block is listed for the whole of Amazon, often for EC2, and for the service that it is of: that tells most.
fn aws(service: &str, region: Option<&str>) -> Named {
    let region = region.filter(|region| !region.eq_ignore_ascii_case("global")).unwrap_or_default();
    let (service, rank) = match service {
        "AMAZON" | "" => (String::new(), 0),
        "EC2" => ("ec2".to_owned(), 1),
        other => (other.to_lowercase(), 2),
    };
    Named { name: joined(["aws", &service, region]), region: region.to_owned(), rank }
}

/// `gcp us-central1`; what Google lists without scope is its own, not its customers': `google`.
fn gcp(service: &str, scope: Option<&str>) -> Named {
    let Some(scope) = scope else { return Named { name: "google".to_owned(), region: String::new(), rank: 0 } };
    let region = if scope.eq_ignore_ascii_case("global") { "" } else { scope };
    let service = if service.eq_ignore_ascii_case("google cloud") { String::new() } else { service.to_lowercase() };
    Named { name: joined(["gcp", &service, region]), region: region.to_owned(), rank: 0 }
}

/// `azure storage eastus`. The same block is listed for the whole cloud, its region, the service and the service in its region.
fn add_tag(list: &mut Builder, tag: &Properties, at: usize) -> Result<(), Wrong> {
    let service = tag.system_service.to_lowercase();
    let name = joined(["azure", service.strip_prefix("azure").unwrap_or(&service), &tag.region]);
    let rank = u8::from(!service.is_empty()) * 2 + u8::from(!tag.region.is_empty());
    for (nth, cidr) in tag.address_prefixes.0.iter().enumerate() {
        list.add(cidr, &name, &tag.region, rank, || Place::Field(format!("values[{at}].properties.addressPrefixes[{nth}]")))?;
    }
    Ok(())
}

fn joined(parts: [&str; 3]) -> String {
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}
