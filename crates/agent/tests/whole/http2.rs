//! HTTP/2 and gRPC between real programs (hyper, tonic) in two namespaces, on this kernel: what the agent's source reads equals what the programs did.

use crate::kernel::Lab;
use crate::support::Fake;
use bytes::Bytes;
use edgescope_agent::source::{KernelSource, Source};
use edgescope_agent::{AgentConfig, ScopeConfig};
use edgescope_model::wire::intake_client::IntakeClient;
use edgescope_model::wire::intake_server::{Intake, IntakeServer};
use edgescope_model::wire::{Ack, Batch, HelloReply, HelloRequest, LeaveReply, LeaveRequest};
use edgescope_probe::{Counters, Losses, Pass, Role};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::SendRequest;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::Status;
use tonic::transport::Endpoint;

const AT: [&str; 2] = ["10.77.0.2:8080", "[fd77::2]:8080"];
const PORT: u16 = 8080;

fn source(lab: &Lab, http2: bool) -> KernelSource {
    let config = AgentConfig {
        id: lab.name.clone(),
        scope: ScopeConfig::Namespaces(vec![format!("{}-*", lab.name)]),
        state_dir: lab.state.path().to_owned(),
        node: "n1".into(),
        udp: false,
        dns: false,
        http2,
        ..AgentConfig::default()
    };
    let (source, report) = KernelSource::load(&config).unwrap();
    assert!(report.failed.is_empty(), "{report:?}");
    assert!(source.hooks().iter().all(|hook| !hook.contains("refused")), "{:?}", source.hooks());
    source
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// A server in namespace b until the test's process ends. A path `/503/40/9000` is answered with this status after so many milliseconds, by so many bytes.
fn serve(lab: &Lab, at: &str) {
    let at: SocketAddr = at.parse().unwrap();
    let listener = lab.within("b", move || std::net::TcpListener::bind(at).unwrap()).join().unwrap();
    listener.set_nonblocking(true).unwrap();
    std::thread::spawn(move || {
        runtime().block_on(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                tokio::spawn(server.serve_connection(TokioIo::new(stream), service_fn(answer)));
            }
        })
    });
}

async fn answer(request: Request<hyper::body::Incoming>) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let path = request.uri().path().to_owned();
    let mut words = path.split('/').skip(1).map(|word| word.parse::<u64>().unwrap());
    let mut next = || words.next().unwrap_or(0);
    let (status, ms, bytes) = (next() as u16, next(), next() as usize);
    request.into_body().collect().await?;
    tokio::time::sleep(Duration::from_millis(ms)).await;
    Ok(Response::builder().status(status).body(Full::new(vec![7; bytes].into())).unwrap())
}

/// A client in namespace a with a connection of its own.
struct Client {
    runtime: Runtime,
    sender: SendRequest<Full<Bytes>>,
}

impl Client {
    fn new(lab: &Lab, at: &str) -> Self {
        let at: SocketAddr = at.parse().unwrap();
        let stream = lab.within("a", move || std::net::TcpStream::connect(at).unwrap()).join().unwrap();
        stream.set_nonblocking(true).unwrap();
        let runtime = runtime();
        let sender = runtime.block_on(async move {
            let stream = TcpStream::from_std(stream).unwrap();
            stream.set_nodelay(true).unwrap();
            let (sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
            tokio::spawn(connection);
            sender
        });
        Self { runtime, sender }
    }

    /// All at once on one connection; the time from asking to the heads of all answers.
    fn ask(&self, paths: &[&str], header: &str, body: usize) -> Duration {
        self.runtime.block_on(async {
            let began = Instant::now();
            let mut waits = Vec::new();
            for path in paths {
                let body = Full::new(Bytes::from(vec![b'b'; body]));
                let request = Request::post(format!("http://a.test{path}")).header("x-long", header).body(body).unwrap();
                let mut sender = self.sender.clone();
                waits.push(tokio::spawn(async move {
                    sender.ready().await.unwrap();
                    sender.send_request(request).await.unwrap()
                }));
            }
            let mut answers = Vec::new();
            for wait in waits {
                answers.push(wait.await.unwrap());
            }
            let took = began.elapsed();
            for answer in answers {
                answer.into_body().collect().await.unwrap();
            }
            took
        })
    }
}

/// What is counted of the port at one end: counters, how many times were taken, and the longest of the last window.
fn told(pass: &Pass, role: Role) -> (Counters, u64, Duration) {
    let flows = pass.flows.iter().filter(|flow| flow.key.service_port == PORT && flow.key.role == role);
    let (mut sum, mut times, mut longest_us) = (Counters::default(), 0, 0);
    for flow in flows {
        let of = flow.counters;
        sum.requests += of.requests;
        sum.answers_0 += of.answers_0;
        sum.answers_1 += of.answers_1;
        sum.answers_2 += of.answers_2;
        sum.answers_3 += of.answers_3;
        sum.answers_4 += of.answers_4;
        sum.unanswered += of.unanswered;
        sum.grpc_requests += of.grpc_requests;
        sum.grpc_ok += of.grpc_ok;
        sum.grpc_unavailable += of.grpc_unavailable;
        sum.grpc_deadline += of.grpc_deadline;
        sum.grpc_other += of.grpc_other;
        sum.grpc_unsaid += of.grpc_unsaid;
        if let Some(hist) = &flow.duration {
            times += hist.buckets.iter().map(|(_, count)| count).sum::<u64>();
            longest_us = longest_us.max(hist.max_us.unwrap_or(0));
        }
    }
    (sum, times, Duration::from_micros(longest_us.into()))
}

const ENDS: [Role; 2] = [Role::Client, Role::Server];

fn answers(of: &Counters) -> [u64; 5] {
    [of.answers_0, of.answers_1, of.answers_2, of.answers_3, of.answers_4]
}

fn given_up(losses: &Losses) -> [u64; 4] {
    [losses.http2_midway, losses.http2_gapped, losses.http2_ring_full, losses.http2_unreadable]
}

#[test]
fn requests_and_answers_are_those_of_the_programs() {
    let lab = Lab::new();
    let mut source = source(&lab, true);
    for at in AT {
        serve(&lab, at);
        let client = Client::new(&lab, at);
        client.ask(&["/200"], "", 0);
        client.ask(&["/200", "/204", "/302", "/404", "/404", "/500", "/503", "/429"], "same", 10);
        // Many streams on one connection, one after the other and together.
        for _ in 0..200 {
            client.ask(&["/200/0/100"], "same", 10);
        }
        client.ask(&["/503"; 90], "other", 10);
    }
    let pass = source.read(1).unwrap();
    for end in ENDS {
        let (of, times, _) = told(&pass, end);
        assert_eq!((of.requests, answers(&of), of.unanswered), (2 * 299, [2 * 203, 2, 6, 2 * 92, 0], 0), "{end:?}");
        assert_eq!((times, of.grpc_requests), (2 * 299, 0), "{end:?}");
    }
    assert_eq!(given_up(&pass.losses), [0; 4]);
}

#[test]
fn times_are_the_clients_and_the_servers_own() {
    const THINKS: Duration = Duration::from_millis(80);
    let lab = Lab::new();
    let mut source = source(&lab, true);
    serve(&lab, AT[0]);
    let client = Client::new(&lab, AT[0]);
    client.ask(&["/200"], "", 0);
    source.read(1).unwrap();
    let waited = client.ask(&["/200/80"], "", 0);
    let pass = source.read(2).unwrap();
    let [at_client, at_server] = ENDS.map(|end| told(&pass, end).2);
    println!("client {at_client:?}, server {at_server:?}, the program waited {waited:?}");
    assert!(at_client <= waited && at_server >= THINKS && at_server < at_client, "{at_server:?} < {at_client:?} <= {waited:?}");
    assert!(waited - at_client < THINKS / 10 && at_server - THINKS < THINKS / 10, "{at_server:?}, {at_client:?} of {waited:?}");
}

/// Heads beyond a segment and beyond a frame (CONTINUATION), bodies of a megabyte, and frames cut anywhere.
#[test]
fn large_heads_and_bodies_are_walked_through() {
    let lab = Lab::new();
    let mut source = source(&lab, true);
    serve(&lab, AT[1]);
    let client = Client::new(&lab, AT[1]);
    let long = "k9".repeat(5_000);
    for round in 0..10 {
        client.ask(&["/200/0/1000000", "/404/0/70000"], &long, 300_000);
        client.ask(&["/500/0/1"], &format!("{round}"), 1);
    }
    let pass = source.read(1).unwrap();
    for end in ENDS {
        let (of, times, _) = told(&pass, end);
        assert_eq!((of.requests, answers(&of), times), (30, [10, 0, 10, 10, 0], 30), "{end:?}, {:?}", pass.losses);
    }
    assert_eq!(given_up(&pass.losses), [0; 4]);
}

/// Of what began before the agent, or before this start of it, nothing is counted but that; what was counted stays.
#[test]
fn a_connection_older_than_the_agent_is_not_read() {
    let lab = Lab::new();
    serve(&lab, AT[0]);
    let older = Client::new(&lab, AT[0]);
    older.ask(&["/200"], "", 0);
    let mut first = source(&lab, true);
    older.ask(&["/200", "/503"], "", 10);
    let known = Client::new(&lab, AT[0]);
    known.ask(&["/200", "/503"], "", 10);
    let pass = first.read(1).unwrap();
    for end in ENDS {
        assert_eq!((told(&pass, end).0.requests, given_up(&pass.losses)), (2, [2, 0, 0, 0]), "{end:?}");
    }
    known.ask(&["/404"], "", 10);
    // The end of an agent takes in what was said until then.
    drop(first);
    let while_away = Client::new(&lab, AT[0]);
    while_away.ask(&["/500"], "", 10);
    let mut second = source(&lab, true);
    known.ask(&["/500"], "", 10);
    while_away.ask(&["/500"], "", 10);
    Client::new(&lab, AT[0]).ask(&["/302"], "", 10);
    let pass = second.read(2).unwrap();
    for end in ENDS {
        let (of, ..) = told(&pass, end);
        assert_eq!((of.requests, answers(&of)), (4, [1, 1, 1, 1, 0]), "{end:?}");
    }
    assert_eq!(given_up(&pass.losses), [6, 0, 0, 0], "both ends of three connections");
}

#[test]
fn off_is_off_and_switching_loses_no_counts() {
    let lab = Lab::new();
    serve(&lab, AT[0]);
    let mut on = source(&lab, true);
    Client::new(&lab, AT[0]).ask(&["/200"], "", 0);
    drop((on.read(1).unwrap(), on));
    let mut off = source(&lab, false);
    Client::new(&lab, AT[0]).ask(&["/200"], "", 0);
    let pass = off.read(2).unwrap();
    for end in ENDS {
        assert_eq!(told(&pass, end).0.requests, 1, "{end:?}");
    }
    assert_eq!(given_up(&pass.losses), [0; 4]);
    drop(off);
    let mut again = source(&lab, true);
    Client::new(&lab, AT[0]).ask(&["/200"], "", 0);
    assert!(ENDS.iter().all(|end| told(&again.read(3).unwrap(), *end).0.requests == 2));
}

/// Drops the first segment beyond so many bytes that arrives, from or to the port, in a namespace.
fn lose_one(lab: &Lab, end: &str, side: &str, bytes: usize) {
    for rule in [
        "add table inet faults".to_owned(),
        "add chain inet faults input { type filter hook input priority 0; }".to_owned(),
        format!("add rule inet faults input tcp {side} {PORT} meta length > {bytes} limit rate 1/hour burst 1 packets drop"),
    ] {
        let done = Command::new("ip").args(["netns", "exec", &lab.netns(end), "nft", &rule]).status().unwrap();
        assert!(done.success(), "nft {rule}");
    }
}

/// What is sent again fills the hole where it was: nothing is missed, and nothing counts twice.
#[test]
fn a_lost_segment_counts_once() {
    let lab = Lab::new();
    let mut source = source(&lab, true);
    serve(&lab, AT[0]);
    let client = Client::new(&lab, AT[0]);
    client.ask(&["/200"], "", 0);
    lose_one(&lab, "b", "dport", 60);
    client.ask(&["/404"], "", 0);
    client.ask(&["/404"], "", 0);
    let pass = source.read(1).unwrap();
    assert!(pass.flows.iter().any(|flow| flow.counters.retrans_segs > 0), "nothing was lost");
    for end in ENDS {
        let (of, times, _) = told(&pass, end);
        assert_eq!((of.requests, answers(&of), of.unanswered, times), (3, [1, 0, 2, 0, 0], 0, 3), "{end:?}");
    }
    assert_eq!(given_up(&pass.losses), [0; 4]);
}

/// With others under way behind it: they are waited for, and read when the hole is filled.
#[test]
fn a_hole_is_filled_and_the_connection_read_on() {
    let lab = Lab::new();
    let mut source = source(&lab, true);
    serve(&lab, AT[1]);
    let client = Client::new(&lab, AT[1]);
    client.ask(&["/200"], "", 0);
    for (end, side) in [("b", "dport"), ("a", "sport")] {
        for device in ["tso", "gso", "gro"] {
            // So that a segment is a packet.
            let done = Command::new("ip").args(["netns", "exec", &lab.netns(end), "ethtool", "-K", "wire", device, "off"]).status().unwrap();
            assert!(done.success());
        }
        lose_one(&lab, end, side, 1_000);
    }
    for _ in 0..5 {
        client.ask(&["/200/0/40000", "/404/0/40000", "/503/0/40000", "/200/0/40000"], "", 40_000);
        // A moment in which the agent finds out where a frame begins.
        source.read(1).unwrap();
        client.ask(&["/404"], "", 0);
    }
    let pass = source.read(2).unwrap();
    let holes: u64 = pass.flows.iter().map(|flow| flow.counters.out_of_order).sum();
    assert!(holes > 0, "nothing came out of order");
    for end in ENDS {
        let (of, times, _) = told(&pass, end);
        assert_eq!((of.requests, answers(&of), of.unanswered, times), (26, [11, 0, 10, 5, 0], 0, 26), "{end:?}");
    }
    assert_eq!(given_up(&pass.losses), [0; 4]);
}

/// Answers a call by what its name asks for.
struct Moody;

#[tonic::async_trait]
impl Intake for Moody {
    async fn hello(&self, request: tonic::Request<HelloRequest>) -> Result<tonic::Response<HelloReply>, Status> {
        match request.into_inner().agent_id.as_str() {
            "unavailable" => Err(Status::unavailable("go away")),
            "deadline" => Err(Status::deadline_exceeded("too late")),
            "internal" => Err(Status::internal("oops")),
            "slow" => {
                tokio::time::sleep(Duration::from_secs(60)).await;
                Err(Status::internal("nobody waits for this"))
            }
            _ => Ok(tonic::Response::new(HelloReply::default())),
        }
    }

    async fn ship(&self, request: tonic::Request<Batch>) -> Result<tonic::Response<Ack>, Status> {
        Fake::default().ship(request).await
    }

    async fn leave(&self, request: tonic::Request<LeaveRequest>) -> Result<tonic::Response<LeaveReply>, Status> {
        Fake::default().leave(request).await
    }
}

#[test]
fn calls_of_grpc_are_counted_by_how_they_ended() {
    let lab = Lab::new();
    let mut source = source(&lab, true);
    for at in AT {
        let bound: SocketAddr = at.parse().unwrap();
        let listener = lab.within("b", move || std::net::TcpListener::bind(bound).unwrap()).join().unwrap();
        listener.set_nonblocking(true).unwrap();
        std::thread::spawn(move || {
            runtime().block_on(async move {
                let incoming = TcpListenerStream::new(TcpListener::from_std(listener).unwrap());
                tonic::transport::Server::builder().add_service(IntakeServer::new(Moody)).serve_with_incoming(incoming).await.unwrap();
            })
        });
        let call = move || {
            runtime().block_on(async move {
                let mut client = IntakeClient::new(Endpoint::from_shared(format!("http://{at}")).unwrap().connect().await.unwrap());
                for name in ["ok", "ok", "unavailable", "ok", "deadline", "internal", "unavailable", "internal", "ok", "internal"] {
                    drop(client.hello(HelloRequest { agent_id: name.into(), ..HelloRequest::default() }).await);
                }
                let slow = client.hello(HelloRequest { agent_id: "slow".into(), ..HelloRequest::default() });
                tokio::time::timeout(Duration::from_millis(200), slow).await.unwrap_err();
                // Its reset goes before this one.
                client.hello(HelloRequest::default()).await.unwrap();
            })
        };
        lab.within("a", call).join().unwrap();
    }
    let pass = source.read(1).unwrap();
    for end in ENDS {
        let (of, times, _) = told(&pass, end);
        assert_eq!((of.requests, answers(&of), of.unanswered, times), (24, [22, 0, 0, 0, 0], 2, 22), "{end:?}");
        let calls = [of.grpc_requests, of.grpc_ok, of.grpc_unavailable, of.grpc_deadline, of.grpc_other, of.grpc_unsaid];
        assert_eq!(calls, [24, 10, 4, 2, 6, 2], "{end:?}");
    }
    assert_eq!(given_up(&pass.losses), [0; 4]);
}
