//! A whole agent on a simulated node, against an intake that loses acknowledgements, asks for patience, refuses and goes away.

use crate::support::{Fake, Life, Mood, wait};
use edgescope_agent::cloud::CloudConfig;
use edgescope_agent::runtimes::RuntimesConfig;
use edgescope_agent::sim::{SimEnd, Talk, World};
use edgescope_agent::source::Area;
use edgescope_agent::{AgentConfig, Metrics, run_source};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tonic::transport::Identity;

fn world() -> (World, Vec<Area>) {
    let end = |n: u8, process: &str| SimEnd { netns: u32::from(n), address: [10, 0, 0, n].into(), process: process.to_owned() };
    let talk = Talk {
        client: end(1, "shop"),
        server: end(2, "cart"),
        port: 7070,
        requests_per_s: 200.0,
        request_bytes: 300,
        response_bytes: 2_000,
        rtt_us: 800,
        kept_open: 4,
    };
    let areas = [1u8, 2].map(|n| Area { inode: u32::from(n), name: Some(format!("ns-{n}")), addresses: vec![[10, 0, 0, n].into()], container: None });
    (World::new(vec![talk], 7), areas.to_vec())
}

struct Node {
    world: World,
    areas: Vec<Area>,
    config: AgentConfig,
    metrics: Arc<Metrics>,
    _state: tempfile::TempDir,
}

impl Node {
    fn new(address: SocketAddr) -> Self {
        let state = tempfile::tempdir().unwrap();
        let (world, areas) = world();
        let config = AgentConfig {
            server: format!("http://{address}"),
            id: "sim-1".into(),
            interval: Duration::from_secs(1),
            state_dir: state.path().to_owned(),
            runtimes: RuntimesConfig::Off,
            cloud: CloudConfig::Off,
            ..AgentConfig::default()
        };
        Self { world, areas, config, metrics: Arc::new(Metrics::default()), _state: state }
    }

    /// Runs the agent until `enough` says so.
    async fn run_until(&self, enough: impl Fn() -> bool) {
        let shutdown = async {
            let deadline = tokio::time::Instant::now() + Duration::from_secs(40);
            while !enough() {
                assert!(tokio::time::Instant::now() < deadline, "took too long: {}", self.metrics.text());
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        run_source(self.config.clone(), self.world.source(self.areas.clone()), Arc::clone(&self.metrics), shutdown).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_replies_patience_and_failures_are_all_counted_once() {
    let fake = Fake::default();
    let life = Life::begin(&fake, None, None).await;
    let node = Node::new(life.address);
    use Mood::{AskForPatience, CommitButAskForPatience, CommitButLoseTheReply, Fail};
    fake.moods.lock().unwrap().extend([CommitButAskForPatience, Fail, AskForPatience, CommitButLoseTheReply]);
    let full = || fake.book().windows.len() >= 4;
    node.run_until(full).await;
    let book = fake.book();
    assert!(fake.moods.lock().unwrap().is_empty());
    // Sent again within the session it is a duplicate; in a new one the greeting has told that it is there.
    assert_eq!(book.duplicates, 1);
    let mut windows = book.windows.clone();
    windows.dedup();
    assert_eq!(windows.len(), book.windows.len(), "no window twice: {:?}", book.windows);
    assert!(windows.windows(2).all(|pair| pair[1].0 == pair[0].1), "no gaps: {windows:?}");
    assert!(book.hellos.len() >= 3, "a broken session begins with a greeting");
    let hello = &book.hellos[0];
    assert_eq!((hello.agent_id.as_str(), hello.interval_ms, hello.hooks[0].contains("simulated")), ("sim-1", 1_000, true));
    // Two addresses as a whole, held by the node, and the port that is listened on.
    let ports: Vec<(u32, bool)> = hello.endpoints.iter().map(|e| (e.port, e.shared)).collect();
    assert_eq!(ports, [(0, true), (0, true), (7070, false)]);
    assert_eq!(hello.owners[hello.endpoints[2].owner as usize].workload, "cart");
    // It ended in order, and said so once, after all else.
    let left: Vec<_> = book.left.iter().map(|(leave, committed)| (leave.agent_id.as_str(), leave.boot_id == hello.boot_id, *committed)).collect();
    assert_eq!(left, [("sim-1", true, book.committed)]);
}

/// What waits when an agent ends in order is shipped before its farewell.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_window_is_shipped_before_the_farewell() {
    let fake = Fake::default();
    let life = Life::begin(&fake, None, None).await;
    let node = Node::new(life.address);
    fake.moods.lock().unwrap().push(Mood::AskForPatience);
    // The agent is to end while the only window waits for another try.
    node.run_until(|| fake.book().calls >= 1).await;
    let book = fake.book();
    assert!(book.committed >= 1, "{:?}", book.windows);
    assert_eq!(book.left.iter().map(|(_, committed)| *committed).collect::<Vec<_>>(), [book.committed]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_goes_away_gets_everything_when_it_is_back() {
    let fake = Fake { ahead_us: 15_000_000, ..Fake::default() };
    let life = Life::begin(&fake, None, None).await;
    let node = Node::new(life.address);
    let (agent_metrics, first) = (Arc::clone(&node.metrics), fake.clone());
    let scene = async {
        let windows = || first.book().windows.len();
        wait(|| windows() >= 2).await;
        let address = life.end().await;
        // The agent reads on by itself: two more windows wait in the spool.
        wait(|| agent_metrics.gauge(edgescope_agent::metrics::Gauge::SpoolBatches) >= 2).await;
        let before = windows();
        let life = Life::begin(&first, Some(address), None).await;
        wait(|| windows() >= before + 3).await;
        life.end().await;
    };
    run_source(node.config.clone(), node.world.source(node.areas.clone()), Arc::clone(&node.metrics), scene).await.unwrap();
    let book = fake.book();
    assert!(book.windows.windows(2).all(|pair| pair[1].0 == pair[0].1), "no gaps: {:?}", book.windows);
    // The agent's clock is 15 s behind: its windows are in the server's time all the same.
    let late_us = fake.now_us() - book.windows.last().unwrap().1;
    assert!((0..8_000_000).contains(&late_us), "{late_us}");
    assert!(book.bytes > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_returns_goes_on_with_its_sequence_and_its_baseline() {
    let fake = Fake::default();
    let life = Life::begin(&fake, None, None).await;
    let node = Node::new(life.address);
    node.run_until(|| fake.book().committed >= 2).await;
    let first = fake.book().committed;
    node.run_until(|| fake.book().committed >= first + 2).await;
    let book = fake.book();
    assert_eq!(book.windows.len() as u64, book.committed, "sequences without gaps or repetition");
    // All that the two ends sent up to the last window, once: the world's clock never stopped.
    let seconds = (book.windows.last().unwrap().1 - book.windows[0].0) as f64 / 1e6;
    let expected = 200.0 * 2_300.0 * seconds;
    assert!((0.6..1.4).contains(&(book.bytes as f64 / expected)), "{} of {expected}", book.bytes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_refused_for_good_does_not_block_the_next() {
    let fake = Fake::default();
    let life = Life::begin(&fake, None, None).await;
    let node = Node::new(life.address);
    fake.moods.lock().unwrap().push(Mood::RefuseForGood);
    node.run_until(|| fake.book().windows.len() >= 2).await;
    assert_eq!(node.metrics.total(edgescope_agent::metrics::Total::BatchesRefused), 1);
    assert!(node.metrics.text().contains("edgescope_agent_lost_total{reason=\"batches_refused\"} 1"));
    assert_eq!(fake.book().hellos.len(), 2, "the session went on: the other greeting is that of the farewell");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_and_token() {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (cert, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let fake = Fake::default();
    let life = Life::begin(&fake, None, Some(Identity::from_pem(&cert, &key))).await;
    let mut node = Node::new(life.address);
    let files = tempfile::tempdir().unwrap();
    let (ca_file, token_file) = (files.path().join("ca.pem"), files.path().join("token"));
    std::fs::write(&ca_file, &cert).unwrap();
    std::fs::write(&token_file, "secret-token\n").unwrap();
    node.config.server = format!("https://localhost:{}", life.address.port());
    (node.config.ca_file, node.config.token_file) = (Some(ca_file.clone()), Some(token_file));
    node.run_until(|| !fake.book().windows.is_empty()).await;
    assert_eq!(fake.book().tokens[0], "Bearer secret-token");
    // Another authority does not vouch for this server: no word is sent to it.
    let other = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    std::fs::write(&ca_file, other.cert.pem()).unwrap();
    let before = fake.book().hellos.len();
    node.metrics = Arc::new(Metrics::default());
    node.run_until(|| node.metrics.total(edgescope_agent::metrics::Total::ConnectionsFailed) >= 2).await;
    assert_eq!(fake.book().hellos.len(), before);
}

#[tokio::test]
async fn a_wrong_configuration_is_told_at_once() {
    let (world, areas) = world();
    let state = tempfile::tempdir().unwrap();
    let wrong = AgentConfig { server: "localhost".into(), state_dir: state.path().to_owned(), ..AgentConfig::default() };
    let never = std::future::pending::<()>();
    let error = run_source(wrong, world.source(areas.clone()), Arc::default(), never).await.unwrap_err();
    assert!(error.to_string().contains("agent.server 'localhost'"), "{error}");
    let file = state.path().join("file");
    std::fs::write(&file, "").unwrap();
    let wrong = AgentConfig { id: "x".into(), state_dir: file, ..AgentConfig::default() };
    let error = run_source(wrong, world.source(areas), Arc::default(), std::future::pending::<()>()).await.unwrap_err();
    assert!(error.to_string().contains("agent.state_dir"), "{error}");
}
