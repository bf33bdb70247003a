//! What agents ship.

use super::{Bench, tokens};
use crate::auth::Role;
use crate::config::IntakeConfig;
use crate::intake::service::RETRY_HEADER;
use crate::serve::{Door, FIRST_TIMEOUT};
use crate::tables::TablesError;
use chrono::Utc;
use edgescope_model::signal::{TCP_BYTES, TCP_RTT};
use edgescope_model::wire::intake_client::IntakeClient;
use edgescope_model::wire::{Batch, Endpoint, HelloRequest, LeaveRequest, Measure, Observation, Owner, Protocol, Role as WireRole};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tonic::codec::CompressionEncoding;
use tonic::transport::Channel;
use tonic::{Code, Request};
use tower::ServiceExt;

/// A bench with an open intake; it closes when dropped.
struct Open {
    bench: Bench,
    address: SocketAddr,
    channel: Channel,
    _stop: watch::Sender<bool>,
}

async fn open_with(bench: Bench) -> Open {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = crate::intake::service::router(Arc::clone(&bench.state.intake), Arc::clone(&bench.state.gate), false);
    let door = Door { name: "intake", listener, tls: None, router, http2_only: true, connections_max: 16, first_timeout: FIRST_TIMEOUT };
    let stop = watch::Sender::new(false);
    tokio::spawn(door.serve(Arc::clone(&bench.state.metrics), stop.subscribe()));
    let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
    Open { bench, address, channel, _stop: stop }
}

async fn open() -> Open {
    open_with(Bench::open()).await
}

impl Open {
    fn client(&self) -> IntakeClient<Channel> {
        IntakeClient::new(self.channel.clone()).send_compressed(CompressionEncoding::Zstd)
    }

    fn outcomes(&self, outcome: &'static str) -> u64 {
        self.bench.state.metrics.batches(outcome)
    }
}

fn owner(workload: &str) -> Owner {
    Owner { workload: workload.into(), pod: format!("{workload}-1"), node: "n1".into(), resolution_type: "rule".into(), ..Owner::default() }
}

fn endpoint(address: [u8; 4]) -> Endpoint {
    Endpoint { address: address.to_vec(), ..Endpoint::default() }
}

fn hello(agent: &str, workload: &str, address: [u8; 4]) -> HelloRequest {
    HelloRequest {
        agent_id: agent.into(),
        boot_id: "boot-1".into(),
        interval_ms: 10_000,
        owners: vec![owner(workload)],
        endpoints: vec![endpoint(address)],
        ..HelloRequest::default()
    }
}

/// The newest closed window of a client at 10.0.0.1 that sent 1,000 bytes to 10.0.0.2:80.
fn batch(sequence: u64) -> Batch {
    let end_us = Utc::now().timestamp() / 10 * 10 * 1_000_000;
    let sent = vec![
        Measure { signal: u32::from(TCP_BYTES.id), value: 1_000, ..Measure::default() },
        Measure { signal: u32::from(TCP_RTT.id), buckets: vec![50], counts: vec![3], ..Measure::default() },
    ];
    let received = vec![Measure { signal: u32::from(TCP_BYTES.id), value: 10, ..Measure::default() }];
    let observation = Observation {
        local_address: vec![10, 0, 0, 1],
        remote_address: vec![10, 0, 0, 2],
        service_port: 80,
        role: WireRole::Client.into(),
        protocol: Protocol::Tcp.into(),
        sent,
        received,
        ..Observation::default()
    };
    Batch {
        agent_id: "a".into(),
        boot_id: "boot-1".into(),
        sequence,
        window_start_us: end_us - 10_000_000,
        window_end_us: end_us,
        owners: vec![owner("frontend")],
        observations: vec![observation],
        losses: HashMap::from([("ring_full".to_owned(), 3)]),
        sockets: 5,
        ..Batch::default()
    }
}

/// Both ends known, so that nothing waits.
async fn greeted() -> Open {
    let open = open().await;
    let mut client = open.client();
    client.hello(hello("a", "frontend", [10, 0, 0, 1])).await.unwrap();
    client.hello(hello("b", "cart", [10, 0, 0, 2])).await.unwrap();
    open
}

#[tokio::test]
async fn a_batch_becomes_named_rows_and_then_is_acknowledged() {
    let open = greeted().await;
    let before = Utc::now().timestamp_micros();
    let ack = open.client().ship(batch(7)).await.unwrap().into_inner();
    assert_eq!(ack.committed_sequence, 7);
    let clock = ack.clock.unwrap();
    assert!(clock.received_us >= before && clock.replied_us >= clock.received_us);
    let held = open.bench.tables.held();
    let edges: Vec<_> = held.rows.iter().map(|r| (r.dims.source.workload.as_str(), r.dims.dest.workload.as_str(), r.window_start % 10)).collect();
    assert_eq!(edges, [("cart", "frontend", 0), ("frontend", "cart", 0)]);
    assert_eq!(held.claims.len(), 2, "names are stored too");
    drop(held);
    let agent = open.bench.state.intake.agents.records().remove(0);
    assert_eq!((agent.sequence, agent.sockets, agent.losses["ring_full"]), (7, 5, 3));
}

#[tokio::test]
async fn a_batch_that_comes_twice_counts_once() {
    let open = greeted().await;
    for _ in 0..3 {
        assert_eq!(open.client().ship(batch(7)).await.unwrap().into_inner().committed_sequence, 7);
    }
    assert_eq!(open.client().ship(batch(6)).await.unwrap().into_inner().committed_sequence, 7);
    assert_eq!((open.bench.tables.held().batches.len(), open.outcomes("duplicate"), open.outcomes("committed")), (1, 3, 1));
    // A new server process finds it in the tables.
    let reply = open.client().hello(hello("a", "frontend", [10, 0, 0, 1])).await.unwrap().into_inner();
    assert_eq!(reply.committed_sequence, 7);
}

#[tokio::test]
async fn what_the_store_does_not_take_is_not_acknowledged_and_comes_again() {
    let open = greeted().await;
    let mut first = batch(1);
    first.endpoints = vec![endpoint([10, 0, 0, 1]), endpoint([10, 0, 0, 9])];
    open.bench.tables.held().failure = Some(TablesError::Write("no space left on device".into()));
    let status = open.client().ship(first.clone()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().contains("no space left"), "{status}");
    assert!(status.metadata().get(RETRY_HEADER).is_some());
    open.bench.tables.held().failure = Some(TablesError::Busy("queue is full".into()));
    assert_eq!(open.client().ship(first.clone()).await.unwrap_err().code(), Code::ResourceExhausted);
    open.bench.tables.held().failure = None;
    assert_eq!(open.client().ship(first).await.unwrap().into_inner().committed_sequence, 1);
    let held = open.bench.tables.held();
    assert_eq!(held.batches.len(), 1);
    assert!(held.claims.iter().any(|c| c.address.to_string() == "10.0.0.9"), "the name that failed to be stored was kept for the next try");
}

#[tokio::test]
async fn one_batch_of_an_agent_at_a_time_and_a_broken_connection_stops_nothing() {
    let open = greeted().await;
    let gate = open.bench.tables.commit_gate.lock().await;
    let mut client = open.client();
    let first = tokio::spawn(async move { client.ship(batch(1)).await });
    while open.bench.state.metrics.pending_bytes.get() == 0 {
        tokio::task::yield_now().await;
    }
    let status = open.client().ship(batch(2)).await.unwrap_err();
    assert_eq!((status.code(), status.metadata().contains_key(RETRY_HEADER)), (Code::Aborted, true));
    first.abort();
    drop(gate);
    // The first came to its end although its caller hung up.
    while open.outcomes("committed") == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(open.client().ship(batch(1)).await.unwrap().into_inner().committed_sequence, 1);
    assert_eq!((open.bench.tables.held().batches.len(), open.bench.state.metrics.pending_bytes.get()), (1, 0));
}

#[tokio::test]
async fn strangers_and_twins_say_hello_first() {
    let open = greeted().await;
    let stranger = Batch { agent_id: "c".into(), ..batch(1) };
    assert_eq!(open.client().ship(stranger).await.unwrap_err().code(), Code::FailedPrecondition);
    let twin = Batch { boot_id: "boot-2".into(), ..batch(1) };
    let status = open.client().ship(twin).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert!(status.message().contains("agent.id"), "{status}");
    assert_eq!(open.bench.state.metrics.agents_conflicting.get(), 1);
}

#[tokio::test]
async fn a_sequence_that_no_agent_gives_does_not_stop_those_that_follow() {
    let open = greeted().await;
    open.client().ship(batch(1)).await.unwrap();
    let refused = open.client().ship(batch(i64::MAX as u64)).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("sequence is 9223372036854775807"), "{refused}");
    assert_eq!(open.client().ship(batch(2)).await.unwrap().into_inner().committed_sequence, 2);
    assert_eq!((open.outcomes("committed"), open.outcomes("duplicate")), (2, 0));
    let reply = open.client().hello(hello("a", "frontend", [10, 0, 0, 1])).await.unwrap().into_inner();
    assert_eq!(reply.committed_sequence, 2, "the agent can go on from it");
}

#[tokio::test]
async fn nonsense_is_refused_for_good() {
    let open = greeted().await;
    let far = batch(1).window_end_us + 120_000_000;
    for (what, wrong) in [
        ("sequence", Batch { sequence: 0, ..batch(1) }),
        ("a sequence that the tables cannot keep", Batch { sequence: u64::MAX, ..batch(1) }),
        ("future", Batch { window_start_us: far - 10, window_end_us: far, ..batch(1) }),
        ("late", Batch { window_start_us: 0, window_end_us: 10, ..batch(1) }),
        ("agent", Batch { agent_id: "../x".into(), ..batch(1) }),
    ] {
        assert_eq!(open.client().ship(wrong).await.unwrap_err().code(), Code::InvalidArgument, "{what}");
    }
    assert_eq!(open.outcomes("invalid"), 5);
    assert_eq!(
        open.client().hello(HelloRequest { interval_ms: 1, ..hello("a", "x", [1, 1, 1, 1]) }).await.unwrap_err().code(),
        Code::InvalidArgument
    );
}

#[tokio::test]
async fn a_clock_that_is_not_what_it_says_is_shown() {
    let open = greeted().await;
    let suspect = || open.bench.state.intake.agents.records()[0].clock_suspect;
    let now_us = || Utc::now().timestamp_micros();
    let ahead = |sequence, off_us| Batch { sent_us: now_us() + 15_000_000, clock_offset_us: -15_000_000 + off_us, ..batch(sequence) };
    open.client().ship(ahead(1, 0)).await.unwrap();
    assert!(!suspect(), "far off, and it knows");
    open.client().ship(ahead(2, 2_000_000)).await.unwrap();
    assert!(suspect());
    assert_eq!(open.bench.tables.held().batches[1].losses["server.clock_suspect"], 1);
    open.client().ship(ahead(3, i64::MAX / 2)).await.unwrap();
    open.client().ship(ahead(4, 0)).await.unwrap();
    assert!(!suspect());
}

#[tokio::test]
async fn what_the_tables_refuse_is_not_sent_again() {
    let open = greeted().await;
    open.bench.tables.held().failure = Some(TablesError::Refused("makes no sense".into()));
    let status = open.client().ship(batch(1)).await.unwrap_err();
    assert_eq!((status.code(), status.metadata().contains_key(RETRY_HEADER)), (Code::InvalidArgument, false));
}

#[tokio::test]
async fn absurd_values_are_left_out_and_shown_as_lost() {
    let open = greeted().await;
    let mut absurd = batch(1);
    absurd.observations[0].sent[1] = Measure { signal: u32::from(TCP_RTT.id), buckets: vec![1, 2], counts: vec![u64::MAX; 2], ..Measure::default() };
    absurd.observations[0].received.push(Measure { signal: 60_000, value: 1, ..Measure::default() });
    // What fails before its commit counts nothing; the next try counts once.
    open.bench.tables.held().failure = Some(TablesError::Busy("queue is full".into()));
    open.client().ship(absurd.clone()).await.unwrap_err();
    open.bench.tables.held().failure = None;
    open.client().ship(absurd).await.unwrap();
    let held = open.bench.tables.held();
    assert!(held.rows.iter().all(|row| row.histograms.is_empty()));
    let losses = &held.batches[0].losses;
    assert_eq!((losses.get("server.values_cut"), losses.get("server.measures_invalid"), losses.get("ring_full")), (Some(&1), Some(&1), Some(&3)));
    drop(held);
    let text = open.bench.state.metrics.encode().unwrap();
    assert!(text.contains("edgescope_server_values_cut_total{reason=\"batch_value\"} 1"), "{text}");
    assert!(text.contains("edgescope_server_values_cut_total{reason=\"measures_invalid\"} 1"), "{text}");
}

#[tokio::test]
async fn whoever_is_refused_leaves_no_names() {
    let config = IntakeConfig { agents_max: 1, ..IntakeConfig::default() };
    let open = open_with(Bench::new(None, HashMap::new(), config)).await;
    open.client().hello(hello("a", "frontend", [10, 0, 0, 1])).await.unwrap();
    assert_eq!(open.client().hello(hello("b", "cart", [10, 0, 0, 2])).await.unwrap_err().code(), Code::ResourceExhausted);
    assert_eq!(open.bench.state.intake.names.read(|directory| (directory.len(), directory.agents())), (1, 1));
    assert!(open.bench.state.metrics.encode().unwrap().contains("edgescope_server_hellos_total{reason=\"too_many_agents\"} 1"));
}

#[tokio::test]
async fn names_come_into_the_tables_although_the_agent_hangs_up() {
    let open = open().await;
    let gate = open.bench.tables.commit_gate.lock().await;
    let mut client = open.client();
    let first = tokio::spawn(async move { client.hello(hello("a", "frontend", [10, 0, 0, 1])).await });
    while open.bench.state.intake.names.read(|directory| directory.is_empty()) {
        tokio::task::yield_now().await;
    }
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    drop(gate);
    while open.bench.tables.held().claims.is_empty() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn names_of_a_batch_that_was_there_before_are_kept_for_the_next_commit() {
    let open = greeted().await;
    // Another server, or this one before it died, has it already.
    open.bench.tables.held().sequences.insert("a".into(), 1);
    let mut known = batch(1);
    known.endpoints = vec![endpoint([10, 0, 0, 1]), endpoint([10, 0, 0, 9])];
    open.client().ship(known).await.unwrap();
    let stored = |open: &Open| open.bench.tables.held().claims.iter().any(|c| c.address.to_string() == "10.0.0.9");
    assert!(!stored(&open));
    open.client().ship(batch(2)).await.unwrap();
    assert!(stored(&open));
}

#[tokio::test]
async fn web_pages_do_not_reach_the_intake() {
    let open = open().await;
    let mut plain = TcpStream::connect(open.address).await.unwrap();
    plain.write_all(b"POST /edgescope.v1.Intake/Hello HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    plain.read_to_end(&mut answer).await.ok();
    assert!(!String::from_utf8_lossy(&answer).contains("HTTP/1"), "{answer:?}");
    while open.bench.state.metrics.connections_failed("http") == 0 {
        tokio::task::yield_now().await;
    }
    let router = crate::intake::service::router(Arc::clone(&open.bench.state.intake), Arc::clone(&open.bench.state.gate), false);
    for (content_type, let_in) in
        [("text/plain", false), ("application/grpc-web", false), ("application/grpc", true), ("application/grpc+proto", true)]
    {
        let request = axum::http::Request::post("/edgescope.v1.Intake/Hello").header("content-type", content_type).body(axum::body::Body::empty());
        let status = router.clone().oneshot(request.unwrap()).await.unwrap().status();
        assert_eq!(status == axum::http::StatusCode::UNSUPPORTED_MEDIA_TYPE, !let_in, "{content_type}");
    }
}

#[tokio::test]
async fn messages_that_grow_beyond_the_limit_are_stopped() {
    let config = IntakeConfig { batch_bytes_max: 100_000, ..IntakeConfig::default() };
    let open = open_with(Bench::new(None, HashMap::new(), config)).await;
    open.client().hello(hello("a", "frontend", [10, 0, 0, 1])).await.unwrap();
    // 10 MB of zeros in a text: a few hundred bytes on the wire.
    let bomb = Batch { boot_id: "\0".repeat(10_000_000), ..batch(1) };
    assert_eq!(open.client().ship(bomb.clone()).await.unwrap_err().code(), Code::ResourceExhausted);
    let plain = IntakeClient::new(open.channel.clone()).ship(bomb).await.unwrap_err();
    assert_eq!(plain.code(), Code::OutOfRange);
    assert!(open.bench.tables.held().batches.is_empty());
}

#[tokio::test]
async fn waiting_batches_are_bounded_in_bytes() {
    let config = IntakeConfig { pending_bytes_max: 150, ..IntakeConfig::default() };
    let open = open_with(Bench::new(None, HashMap::new(), config)).await;
    for (agent, address) in [("a", [10, 0, 0, 1]), ("b", [10, 0, 0, 2])] {
        open.client().hello(hello(agent, agent, address)).await.unwrap();
    }
    let gate = open.bench.tables.commit_gate.lock().await;
    let mut client = open.client();
    let first = tokio::spawn(async move { client.ship(batch(1)).await });
    while open.bench.state.metrics.pending_bytes.get() == 0 {
        tokio::task::yield_now().await;
    }
    let status = open.client().ship(Batch { agent_id: "b".into(), ..batch(1) }).await.unwrap_err();
    assert_eq!((status.code(), open.outcomes("full")), (Code::ResourceExhausted, 1));
    drop(gate);
    assert!(first.await.unwrap().is_ok());
    assert!(open.client().ship(Batch { agent_id: "b".into(), ..batch(1) }).await.is_ok(), "the room is given back");
}

#[tokio::test]
async fn rows_wait_for_the_name_of_their_far_end() {
    let open = open().await;
    let mut client = open.client();
    client.hello(hello("a", "frontend", [10, 0, 0, 1])).await.unwrap();
    let mut shipping = open.client();
    let first = tokio::spawn(async move { shipping.ship(batch(1)).await });
    while open.bench.state.metrics.names_awaited.get() == 0 {
        tokio::task::yield_now().await;
    }
    assert!(open.bench.tables.held().batches.is_empty());
    client.hello(hello("b", "cart", [10, 0, 0, 2])).await.unwrap();
    assert!(first.await.unwrap().is_ok());
    assert_eq!(open.bench.tables.held().rows[1].dims.dest.workload, "cart");
}

#[tokio::test]
async fn an_address_without_a_name_is_waited_for_once() {
    let open = open().await;
    let mut client = open.client();
    client.hello(HelloRequest { interval_ms: 1_000, ..hello("a", "frontend", [10, 0, 0, 1]) }).await.unwrap();
    let now_us = Utc::now().timestamp_micros();
    let fresh = |sequence| Batch { window_start_us: now_us - 1_500_000, window_end_us: now_us - 500_000, ..batch(sequence) };
    client.ship(fresh(1)).await.unwrap();
    assert_eq!((open.bench.state.metrics.names_awaited.get(), open.bench.state.metrics.names_missing.get()), (1, 1));
    client.ship(fresh(2)).await.unwrap();
    assert_eq!(open.bench.state.metrics.names_awaited.get(), 1);
    assert_eq!(open.bench.tables.held().rows.iter().filter(|r| r.dims.dest.ip == "10.0.0.2").count(), 2, "stored under its address");
}

#[tokio::test]
async fn late_batches_do_not_wait() {
    let open = open().await;
    open.client().hello(hello("a", "frontend", [10, 0, 0, 1])).await.unwrap();
    let late = Batch { window_start_us: batch(1).window_start_us - 60_000_000, window_end_us: batch(1).window_end_us - 60_000_000, ..batch(1) };
    tokio::time::timeout(Duration::from_secs(5), open.client().ship(late)).await.unwrap().unwrap();
}

#[tokio::test]
async fn own_traffic_is_marked() {
    let open = greeted().await;
    open.bench.state.intake.own.saw("10.0.0.2:80".parse().unwrap());
    open.client().ship(batch(1)).await.unwrap();
    let held = open.bench.tables.held();
    assert!(held.rows.iter().all(|r| r.dims.source.resolution_type == "own" && r.dims.dest.resolution_type == "own"));
    assert_eq!(held.rows[0].dims.source.workload, "cart", "the names stay");
}

#[tokio::test]
async fn only_tokens_of_agents_come_in() {
    let (tokens, secrets) = tokens();
    let open = open_with(Bench::new(Some(tokens), secrets, IntakeConfig::default())).await;
    for role in Role::ALL {
        let mut request = Request::new(hello("a", "frontend", [10, 0, 0, 1]));
        request.metadata_mut().insert("authorization", format!("Bearer {}", open.bench.secrets[&role]).parse().unwrap());
        let code = open.client().hello(request).await.map_or_else(|s| s.code(), |_| Code::Ok);
        assert_eq!(code, if role == Role::Agent { Code::Ok } else { Code::Unauthenticated }, "{role}");
    }
    let none = open.client().hello(hello("a", "frontend", [10, 0, 0, 1])).await.unwrap_err();
    assert_eq!(none.code(), Code::Unauthenticated);
    assert!(none.message().contains("agent.token_file"), "{none}");
}

#[tokio::test]
async fn a_token_speaks_for_the_agents_of_its_line_only() {
    let [bound, free] = [(); 2].map(|()| crate::auth::new_token(Role::Agent, &[], None).unwrap());
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tokens");
    std::fs::write(&path, format!("{}\n{}\n", bound.line.replacen("agent:", "agent=a,c:", 1), free.line)).unwrap();
    let open = open_with(Bench::new(Some(crate::auth::Tokens::read(&path).unwrap()), HashMap::new(), IntakeConfig::default())).await;
    let mut client = open.client();
    let with = |secret: &str| format!("Bearer {secret}").parse::<tonic::metadata::MetadataValue<_>>().unwrap();
    for (secret, agent, expected) in
        [(&bound, "a", Code::Ok), (&bound, "b", Code::PermissionDenied), (&bound, "c", Code::Ok), (&free, "a", Code::Ok), (&free, "b", Code::Ok)]
    {
        let mut greeting = Request::new(hello(agent, "frontend", [10, 0, 0, 1]));
        greeting.metadata_mut().insert("authorization", with(&secret.secret));
        let mut shipped = Request::new(Batch { agent_id: agent.into(), observations: Vec::new(), ..batch(1) });
        shipped.metadata_mut().insert("authorization", with(&secret.secret));
        let mut farewell = Request::new(LeaveRequest { agent_id: agent.into(), boot_id: "boot-1".into() });
        farewell.metadata_mut().insert("authorization", with(&secret.secret));
        let answers = [client.hello(greeting).await.map(|_| ()), client.ship(shipped).await.map(|_| ()), client.leave(farewell).await.map(|_| ())];
        for status in answers.map(|answer| answer.err().unwrap_or_else(|| tonic::Status::ok(""))) {
            assert_eq!(status.code(), expected, "{agent}: {status}");
            let told = ["agent 'b'", "server.tokens_file", "agent.id"].iter().all(|part| status.message().contains(part));
            assert_eq!(told, expected != Code::Ok, "{status}");
        }
    }
    assert_eq!((open.outcomes("not_spoken_for"), open.bench.state.metrics.batches("committed")), (1, 3));
}

#[tokio::test]
async fn who_leaves_is_remembered_as_gone_until_it_greets_again() {
    let open = greeted().await;
    let left_at = || open.bench.tables.held().agents["a"].left_at;
    let leave = |boot: &str| LeaveRequest { agent_id: "a".into(), boot_id: boot.into() };
    use Code::{FailedPrecondition, InvalidArgument};
    for (agent, boot, code) in [("a", "boot-0", FailedPrecondition), ("stranger", "boot-1", FailedPrecondition), ("no id", "boot-1", InvalidArgument)]
    {
        assert_eq!(open.client().leave(LeaveRequest { agent_id: agent.into(), ..leave(boot) }).await.unwrap_err().code(), code, "{agent} {boot}");
    }
    assert_eq!(left_at(), None);
    open.client().leave(leave("boot-1")).await.unwrap();
    assert!(left_at().is_some());
    open.client().hello(hello("a", "frontend", [10, 0, 0, 1])).await.unwrap();
    assert_eq!(left_at(), None);
    // A farewell that comes after its successor's greeting: who goes on shipping is there.
    open.client().leave(leave("boot-1")).await.unwrap();
    let there = || open.bench.state.intake.agents.there();
    open.client().ship(Batch { observations: Vec::new(), ..batch(1) }).await.unwrap();
    assert_eq!(there(), 1, "the other one: that window ended before");
    let now_us = Utc::now().timestamp_micros();
    let later = Batch { observations: Vec::new(), window_start_us: now_us, window_end_us: now_us + 10_000_000, ..batch(2) };
    open.client().ship(later).await.unwrap();
    assert_eq!(there(), 2);
}

#[tokio::test]
async fn a_known_agent_that_comes_back_costs_no_commit() {
    let open = greeted().await;
    open.bench.tables.held().failure = Some(TablesError::Write("must not be asked".into()));
    open.client().hello(hello("a", "frontend", [10, 0, 0, 1])).await.unwrap();
    let moved = HelloRequest { kernel: "6.19".into(), ..hello("a", "frontend", [10, 0, 0, 1]) };
    assert_eq!(open.client().hello(moved.clone()).await.unwrap_err().code(), Code::Unavailable);
    open.bench.tables.held().failure = None;
    open.client().hello(moved).await.unwrap();
    assert_eq!(open.bench.tables.held().agents["a"].kernel, "6.19");
}
