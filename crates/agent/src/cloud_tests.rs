//! Clouds of the tests' own, which answer in the published formats. No real cloud was ever asked.

use super::*;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const DOCUMENT: &str =
    r#"{"accountId": "1", "instanceId": "i-0abc", "region": "eu-west-1", "availabilityZone": "eu-west-1a", "privateIp": "10.0.0.1"}"#;

/// Answers each request by its head, and writes the heads down.
async fn metadata(answer: impl Fn(&str) -> (u16, String) + Send + 'static) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let heads = Arc::new(Mutex::new(Vec::new()));
    let book = Arc::clone(&heads);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut bytes = vec![0; 4_096];
            let length = stream.read(&mut bytes).await.unwrap_or(0);
            let head = String::from_utf8_lossy(&bytes[..length]).into_owned();
            let (status, body) = answer(&head);
            book.lock().unwrap().push(head);
            let text = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            // Whoever hangs up has heard enough.
            drop(stream.write_all(text.as_bytes()).await);
        }
    });
    (address, heads)
}

fn told(name: &str, zone: &str, region: &str) -> Told {
    Told { name: name.into(), zone: zone.into(), region: region.into() }
}

#[tokio::test]
async fn aws_is_asked_with_a_token_and_without_where_there_is_none() {
    let (address, heads) = metadata(|head| match head {
        _ if head.starts_with("PUT /latest/api/token ") => (200, "SECRET".into()),
        _ if head.contains("x-aws-ec2-metadata-token: SECRET\r\n") => (200, DOCUMENT.into()),
        _ => (401, String::new()),
    })
    .await;
    assert_eq!(ask(Cloud::Aws, address).await.unwrap(), told("i-0abc", "eu-west-1a", "eu-west-1"));
    assert!(heads.lock().unwrap()[0].contains("x-aws-ec2-metadata-token-ttl-seconds: 60\r\n"));
    let (version_1, _) = metadata(|head| if head.starts_with("PUT") { (405, String::new()) } else { (200, DOCUMENT.into()) }).await;
    assert_eq!(ask(Cloud::Aws, version_1).await.unwrap().zone, "eu-west-1a");
    let (off, _) = metadata(|_| (403, String::new())).await;
    assert!(matches!(ask(Cloud::Aws, off).await, Err(CloudError::Status { status: 403, .. })));
}

#[tokio::test]
async fn gcp_and_azure_are_asked_in_their_own_ways() {
    let (address, heads) = metadata(|head| match head {
        _ if !head.contains("metadata-flavor: Google\r\n") => (403, String::new()),
        _ if head.starts_with("GET /computeMetadata/v1/instance/zone ") => (200, "projects/123/zones/europe-west1-b\n".into()),
        _ => (200, "vm-1".into()),
    })
    .await;
    assert_eq!(ask(Cloud::Gcp, address).await.unwrap(), told("vm-1", "europe-west1-b", "europe-west1"));
    assert!(heads.lock().unwrap().iter().all(|head| head.contains("host: metadata.google.internal\r\n")));
    for (zone, wanted) in [("2", "westeurope-2"), ("", "")] {
        let (address, _) = metadata(move |head| {
            let compute = format!(r#"{{"location": "westeurope", "name": "vm-2", "zone": "{zone}", "tagsList": []}}"#);
            if head.contains("metadata: true\r\n") && head.contains("api-version=2021-02-01") { (200, compute) } else { (400, String::new()) }
        })
        .await;
        assert_eq!(ask(Cloud::Azure, address).await.unwrap(), told("vm-2", wanted, "westeurope"));
    }
}

#[tokio::test]
async fn what_is_no_place_is_not_taken() {
    for body in ["", "{}", "[]", r#"{"region": "<script>"}"#, r#"{"availabilityZone": "a\u001b[2J"}"#, r#"{"region": 3}"#] {
        let (address, _) = metadata(move |_| (200, body.into())).await;
        assert!(matches!(ask(Cloud::Aws, address).await, Err(CloudError::Nonsense(_))), "{body}");
    }
    let long = format!(r#"{{"region": "{}"}}"#, "x".repeat(NAME_BYTES_MAX + 1));
    let (address, _) = metadata(move |_| (200, long.clone())).await;
    assert!(matches!(ask(Cloud::Aws, address).await, Err(CloudError::Nonsense(_))));
    let (large, _) = metadata(|_| (200, " ".repeat(2 * ANSWER_BYTES_MAX))).await;
    assert!(matches!(ask(Cloud::Azure, large).await, Err(CloudError::Http(HttpError::TooLarge(_)))));
}

#[tokio::test]
async fn a_silent_cloud_costs_a_second_or_two() {
    // Takes connections, and says nothing.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let asked = std::time::Instant::now();
    let failed = ask(Cloud::Gcp, listener.local_addr().unwrap()).await.unwrap_err();
    assert!(matches!(failed, CloudError::Http(HttpError::Timeout(_))) && asked.elapsed() < 3 * CALL_TIMEOUT, "{failed}");
    let address = listener.local_addr().unwrap();
    drop(listener);
    assert!(matches!(ask(Cloud::Gcp, address).await, Err(CloudError::Unreachable(_))));
}

#[test]
fn firmware_says_whose_machine_it_is() {
    for (field, text, wanted) in [
        ("sys/class/dmi/id/sys_vendor", "Amazon EC2\n", Some(Cloud::Aws)),
        ("sys/class/dmi/id/bios_version", "4.11.amazon\n", Some(Cloud::Aws)),
        ("sys/hypervisor/uuid", "ec2e1916-9099-7caf\n", Some(Cloud::Aws)),
        ("sys/class/dmi/id/product_name", "Google Compute Engine\n", Some(Cloud::Gcp)),
        ("sys/class/dmi/id/chassis_asset_tag", "7783-7084-3265-9085-8269-3286-77\n", Some(Cloud::Azure)),
        ("sys/class/dmi/id/sys_vendor", "Microsoft Corporation\n", None),
        ("sys/class/dmi/id/sys_vendor", "QEMU\n", None),
    ] {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join(field);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        assert_eq!(CloudConfig::Auto.chosen(root.path()), wanted, "{field} {text}");
        assert_eq!(CloudConfig::Off.chosen(root.path()), None);
        assert_eq!(CloudConfig::Gcp.chosen(root.path()), Some(Cloud::Gcp));
    }
}

#[test]
fn what_is_configured_goes_first() {
    let configured = |node: &str, zone: &str| Place { node: node.into(), zone: zone.into(), environment: "prod".into(), ..Place::default() };
    let cloud = told("vm-1", "z", "r");
    let open = place(&configured("n1", ""), &cloud);
    assert_eq!((open.node.as_str(), open.zone.as_str(), open.region.as_str(), open.environment.as_str()), ("n1", "z", "r", "prod"));
    assert_eq!(place(&configured("n1", "mine"), &cloud).zone, "mine");
    assert_eq!(place(&configured("localhost", ""), &cloud).node, "vm-1", "a host that nobody gave a name");
    assert_eq!(place(&configured("localhost", ""), &told("", "z", "r")).node, "localhost");
}
