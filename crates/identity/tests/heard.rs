//! Names that clients heard, for ends of which nobody else speaks.

use edgescope_identity::address::to_bytes;
use edgescope_identity::directory::{Directory, End, Limits};
use edgescope_identity::resolve::resolve;
use edgescope_identity::rules::Rules;
use edgescope_model::signal::TCP_BYTES;
use edgescope_model::wire::{Batch, Endpoint, Heard, Measure, Observation, Owner, Role};
use std::net::IpAddr;

const SECOND_US: i64 = 1_000_000;
const HOUR_S: i64 = 3_600;

fn ip(last: u8) -> IpAddr {
    [10, 0, 0, last].into()
}

/// An agent speaks for 10.0.0.5.
fn with_cart() -> Directory {
    let mut directory = Directory::new(Limits::default(), Rules::default());
    let owners = [Owner { workload: "cart".into(), ..Owner::default() }];
    directory.list("n1", &owners, &[Endpoint { address: to_bytes(ip(5)), ..Endpoint::default() }], 10 * SECOND_US);
    directory
}

/// A batch of one client that calls its far end so.
fn talk(agent: &str, remote: IpAddr, port: u32, name: &str, heard: Heard, from_s: i64) -> Batch {
    let observation = Observation {
        local_address: to_bytes(ip(1)),
        remote_address: to_bytes(remote),
        service_port: port,
        role: Role::Client.into(),
        far_name: name.to_owned(),
        far_name_heard: heard.into(),
        sent: vec![Measure { signal: TCP_BYTES.id.into(), value: 7, ..Measure::default() }],
        ..Observation::default()
    };
    let owners = vec![Owner { workload: "web".into(), ..Owner::default() }];
    let (window_start_us, window_end_us) = (from_s * SECOND_US, (from_s + 10) * SECOND_US);
    Batch { agent_id: agent.into(), window_start_us, window_end_us, owners, observations: vec![observation], ..Batch::default() }
}

/// Name and way of finding it of the far end, in the row of what was sent.
fn far(directory: &Directory, batch: &Batch) -> (String, String) {
    let rows = resolve(batch, directory).rows;
    let dims = &rows.iter().find(|row| row.dims.source.workload == "web").expect("a row").dims.dest;
    (dims.workload.clone(), dims.resolution_type.clone())
}

#[test]
fn what_was_heard_names_those_of_whom_nobody_speaks() {
    let directory = with_cart();
    let public: IpAddr = [192, 0, 2, 7].into();
    let of = |remote, name, heard| far(&directory, &talk("n2", remote, 443, name, heard, 0));
    assert_eq!(of(ip(9), "db.example.com", Heard::Dns), ("db.example.com".into(), "dns".into()));
    assert_eq!(of(public, "api.example.com", Heard::TlsSni), ("api.example.com".into(), "tls_sni".into()));
    // An agent's own word, and a name that came by no known way.
    assert_eq!(of(ip(5), "other.example.com", Heard::Dns).0, "cart");
    assert_eq!(of(ip(9), "db.example.com", Heard::Unspecified), ("10.0.0.9".into(), "ip".into()));
    assert_eq!(of(ip(9), "", Heard::Dns).1, "ip");
    assert_eq!(of([127, 0, 0, 1].into(), "me.example.com", Heard::Dns).0, "loopback");
    // The address stays beside the name, and such an end is no unnamed one.
    let resolved = resolve(&talk("n2", public, 443, "api.example.com", Heard::Dns, 0), &directory);
    assert_eq!(resolved.rows[0].dims.dest.ip, "192.0.2.7");
    assert_eq!((resolved.counters.unnamed_public, resolved.counters.unnamed_private), (0, 0));
    assert_eq!(resolve(&talk("n2", public, 443, "", Heard::Dns, 0), &directory).counters.unnamed_public, 1);
}

#[test]
fn names_that_were_heard_are_explained_for_their_time() {
    let mut directory = Directory::new(Limits::default(), Rules::default());
    let public: IpAddr = [192, 0, 2, 7].into();
    directory.list_of_batch(&talk("n2", public, 443, "api.example.com", Heard::TlsSni, 0));
    directory.list_of_batch(&talk("n2", public, 443, "next.example.com", Heard::Dns, 3_600));
    let why = |port, at_s: i64| {
        let (found, reason, _) = directory.explain(End { address: public, port }, at_s * SECOND_US);
        (found.dims.workload.clone(), reason)
    };
    let (name, reason) = why(Some(443), 5);
    assert!(name == "api.example.com" && reason.contains("agent n2 hears") && reason.contains("in TLS"), "{name}: {reason}");
    let (name, reason) = why(None, 3_605);
    assert!(name == "next.example.com" && reason.contains("asked DNS"), "{name}: {reason}");
    assert_eq!(why(Some(80), 5).0, "192.0.2.0/24", "another port greets another server");
    assert_eq!(why(Some(443), 3_000).0, "192.0.2.0/24", "nobody called it anything then");
    assert_eq!(directory.names_heard(), (2, 0));
    directory.expire(26 * HOUR_S * SECOND_US);
    assert_eq!(directory.names_heard(), (0, 0));
}
