//! Where the node is, from its cloud's metadata: `agent.cloud`. Asked once, beside everything else, at the link-local address that each cloud documents; what
//! the configuration says goes before it. With `auto` only the cloud that the machine's firmware names is asked, so that nothing is sent elsewhere.
//!
//! | cloud | asked | zone, region |
//! |---|---|---|
//! | AWS | `PUT /latest/api/token`, `GET /latest/dynamic/instance-identity/document`; without the token where that is refused | `eu-west-1a`, `eu-west-1` |
//! | GCP | `GET /computeMetadata/v1/instance/zone`, `…/name` | `europe-west1-b`, `europe-west1` |
//! | Azure | `GET /metadata/instance/compute` | `westeurope-1`, `westeurope`: zones have numbers, which Kubernetes writes so too |

use crate::http::{self, Answer, HttpError, Question};
use crate::metrics::{Metrics, Total};
use edgescope_identity::local::Place;
use hyper::Method;
use serde::{Deserialize, Deserializer, Serialize};
use std::fs;
use std::io::Read;
use std::net::SocketAddr;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;
use tokio::net::TcpStream;

/// Where every one of these clouds answers its machines.
const ADDRESS: &str = "169.254.169.254:80";
/// Longest time for one call: the answer comes from the same machine, or the next.
const CALL_TIMEOUT: Duration = Duration::from_secs(1);
/// Largest answer taken, in bytes: Azure's has some 10 KiB.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// Longest name of a zone, region or machine.
const NAME_BYTES_MAX: usize = 64;
/// The pause between two tries, from the first to the longest: metadata may come up later than the machine.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));
/// Most of a firmware's text read, in bytes.
const FIRMWARE_BYTES_MAX: u64 = 256;
/// What Azure's firmware says of the chassis, on every machine.
const AZURE_CHASSIS: &str = "7783-7084-3265-9085-8269-3286-77";
/// What hosts are called that nobody gave a name.
const NAMELESS: [&str; 4] = ["", "localhost", "localhost.localdomain", "(none)"];

/// `agent.cloud`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CloudConfig {
    /// The one that the firmware names, if any.
    #[default]
    Auto,
    Off,
    Aws,
    Gcp,
    Azure,
}

/// A word that names no cloud.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("agent.cloud '{0}': write auto, off, aws, gcp or azure")]
pub struct UnknownCloud(pub String);

impl FromStr for CloudConfig {
    type Err = UnknownCloud;

    fn from_str(text: &str) -> Result<Self, UnknownCloud> {
        match text {
            "auto" => Ok(Self::Auto),
            "off" => Ok(Self::Off),
            "aws" => Ok(Self::Aws),
            "gcp" => Ok(Self::Gcp),
            "azure" => Ok(Self::Azure),
            _ => Err(UnknownCloud(text.to_owned())),
        }
    }
}

impl<'de> Deserialize<'de> for CloudConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::word::read(deserializer)
    }
}

/// A cloud that can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cloud {
    Aws,
    Gcp,
    Azure,
}

impl Cloud {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Aws => "aws",
            Self::Gcp => "gcp",
            Self::Azure => "azure",
        }
    }
}

impl CloudConfig {
    /// The cloud to ask; `root` is where `/sys` is.
    pub fn chosen(self, root: &Path) -> Option<Cloud> {
        match self {
            Self::Auto => by_firmware(root),
            Self::Off => None,
            Self::Aws => Some(Cloud::Aws),
            Self::Gcp => Some(Cloud::Gcp),
            Self::Azure => Some(Cloud::Azure),
        }
    }
}

/// What a cloud says of the machine; what it does not say is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    pub name: String,
    pub zone: String,
    pub region: String,
}

/// Why a cloud said nothing.
#[derive(Debug, thiserror::Error)]
pub enum CloudError {
    #[error("cannot reach {ADDRESS}: {0}")]
    Unreachable(String),
    #[error(transparent)]
    Http(#[from] HttpError),
    #[error("HTTP status {status} for {path}")]
    Status { status: u16, path: &'static str },
    #[error("its answer makes no sense: {0}")]
    Nonsense(String),
}

/// The place of the node, with what the configuration leaves open filled in. The node's own name stays, unless the host has none.
pub fn place(configured: &Place, told: &Told) -> Place {
    let or = |own: &str, other: &str| if own.is_empty() { other.to_owned() } else { own.to_owned() };
    let node = if NAMELESS.contains(&configured.node.as_str()) && !told.name.is_empty() { told.name.clone() } else { configured.node.clone() };
    Place { node, zone: or(&configured.zone, &told.zone), region: or(&configured.region, &told.region), environment: configured.environment.clone() }
}

/// Asks until there is an answer, with growing pauses.
pub async fn find(cloud: Cloud, metrics: &Metrics) -> Told {
    let address = ADDRESS.parse().expect("a constant address");
    let mut pause = PAUSES.0;
    let mut said = None;
    loop {
        match ask(cloud, address).await {
            Ok(told) => {
                tracing::info!(
                    cloud = cloud.as_str(),
                    zone = told.zone,
                    region = told.region,
                    machine = told.name,
                    "the cloud says where this node is"
                );
                return told;
            }
            Err(error) => {
                metrics.add(Total::CloudFailures, 1);
                let text = error.to_string();
                if said.as_ref() != Some(&text) {
                    tracing::warn!(
                        cloud = cloud.as_str(),
                        error = text,
                        "the cloud does not say where this node is: give agent.zone and agent.region, or agent.cloud: off"
                    );
                    said = Some(text);
                }
            }
        }
        tokio::time::sleep(pause).await;
        pause = (2 * pause).min(PAUSES.1);
    }
}

/// Asks once, where the clouds answer.
///
/// # Errors
/// Says why nothing came back.
pub async fn ask_once(cloud: Cloud) -> Result<Told, CloudError> {
    ask(cloud, ADDRESS.parse().expect("a constant address")).await
}

/// Asks once.
///
/// # Errors
/// Says why nothing came back.
pub(crate) async fn ask(cloud: Cloud, address: SocketAddr) -> Result<Told, CloudError> {
    let told = match cloud {
        Cloud::Aws => aws(address).await?,
        Cloud::Gcp => gcp(address).await?,
        Cloud::Azure => azure(address).await?,
    };
    for name in [&told.name, &told.zone, &told.region] {
        let is_name = name.len() <= NAME_BYTES_MAX && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
        if !is_name {
            return Err(CloudError::Nonsense(format!("{:?} is no name", name.chars().take(NAME_BYTES_MAX).collect::<String>())));
        }
    }
    if told.zone.is_empty() && told.region.is_empty() {
        return Err(CloudError::Nonsense("neither zone nor region".to_owned()));
    }
    Ok(told)
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct AwsDocument {
    instance_id: String,
    availability_zone: String,
    region: String,
}

async fn aws(address: SocketAddr) -> Result<Told, CloudError> {
    const TOKEN: &str = "/latest/api/token";
    const DOCUMENT: &str = "/latest/dynamic/instance-identity/document";
    let token = call(address, Method::PUT, TOKEN, "169.254.169.254", &[("x-aws-ec2-metadata-token-ttl-seconds", "60")]).await;
    let token = match token {
        Ok(Answer { status: 200, body }) => text(body).map(Some)?,
        // Version 1 alone, or a network that lets the answer to a token die on its way: then version 1 may do.
        Ok(_) | Err(CloudError::Http(_)) => None,
        Err(error) => return Err(error),
    };
    let headers: Vec<(&'static str, &str)> = token.as_deref().map(|token| ("x-aws-ec2-metadata-token", token)).into_iter().collect();
    let document: AwsDocument = json(&get(address, DOCUMENT, "169.254.169.254", &headers).await?)?;
    Ok(Told { name: document.instance_id, zone: document.availability_zone, region: document.region })
}

async fn gcp(address: SocketAddr) -> Result<Told, CloudError> {
    const HOST: &str = "metadata.google.internal";
    const HEADERS: &[(&str, &str)] = &[("metadata-flavor", "Google")];
    // `projects/123/zones/europe-west1-b`. Not all of the instance at once: that holds scripts and keys.
    let zone = text(get(address, "/computeMetadata/v1/instance/zone", HOST, HEADERS).await?)?;
    let name = text(get(address, "/computeMetadata/v1/instance/name", HOST, HEADERS).await?)?;
    let zone = zone.rsplit('/').next().unwrap_or_default().to_owned();
    let region = zone.rsplit_once('-').map_or("", |(region, _)| region).to_owned();
    Ok(Told { name, zone, region })
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct AzureCompute {
    name: String,
    location: String,
    zone: String,
}

async fn azure(address: SocketAddr) -> Result<Told, CloudError> {
    const COMPUTE: &str = "/metadata/instance/compute?api-version=2021-02-01&format=json";
    let compute: AzureCompute = json(&get(address, COMPUTE, "169.254.169.254", &[("metadata", "true")]).await?)?;
    let zone = if compute.zone.is_empty() { String::new() } else { format!("{}-{}", compute.location, compute.zone) };
    Ok(Told { name: compute.name, zone, region: compute.location })
}

async fn get(address: SocketAddr, path: &'static str, host: &str, headers: &[(&'static str, &str)]) -> Result<Vec<u8>, CloudError> {
    let answer = call(address, Method::GET, path, host, headers).await?;
    if answer.status == 200 { Ok(answer.body) } else { Err(CloudError::Status { status: answer.status, path }) }
}

async fn call(address: SocketAddr, method: Method, path: &str, host: &str, headers: &[(&'static str, &str)]) -> Result<Answer, CloudError> {
    let stream = match tokio::time::timeout(CALL_TIMEOUT, TcpStream::connect(address)).await {
        Ok(connected) => connected.map_err(|error| CloudError::Unreachable(error.to_string()))?,
        Err(_) => return Err(CloudError::Unreachable(format!("nobody answers within {CALL_TIMEOUT:?}"))),
    };
    let question = Question { method, host, path, headers, bytes_max: ANSWER_BYTES_MAX, timeout: CALL_TIMEOUT };
    Ok(http::ask(stream, &question).await?)
}

fn text(body: Vec<u8>) -> Result<String, CloudError> {
    let text = String::from_utf8(body).map_err(|_| CloudError::Nonsense("not UTF-8".to_owned()))?;
    Ok(text.trim().to_owned())
}

fn json<T: for<'de> Deserialize<'de>>(body: &[u8]) -> Result<T, CloudError> {
    serde_json::from_slice(body).map_err(|error| CloudError::Nonsense(error.to_string()))
}

/// The cloud that the firmware names. It may be read by everyone, so that nobody has to be asked over the network to find out.
fn by_firmware(root: &Path) -> Option<Cloud> {
    let read = |path: &str| {
        let mut text = String::new();
        // A machine without firmware tables, or one whose text is odd, is of no cloud.
        let read = fs::File::open(root.join(path)).and_then(|file| file.take(FIRMWARE_BYTES_MAX).read_to_string(&mut text));
        read.map(|_| text.trim().to_owned()).unwrap_or_default()
    };
    let of = |field: &str| read(&format!("sys/class/dmi/id/{field}"));
    // Machines of the older kind (Xen) say it in their version and in the hypervisor's number.
    if of("sys_vendor") == "Amazon EC2" || of("bios_version").ends_with(".amazon") || read("sys/hypervisor/uuid").starts_with("ec2") {
        Some(Cloud::Aws)
    } else if of("product_name") == "Google Compute Engine" {
        Some(Cloud::Gcp)
    } else if of("chassis_asset_tag") == AZURE_CHASSIS {
        Some(Cloud::Azure)
    } else {
        None
    }
}

#[cfg(test)]
#[path = "cloud_tests.rs"]
mod tests;
