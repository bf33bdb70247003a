//! A whole agent on this kernel: real sockets in two namespaces of the test's own, real programs, an intake that resolves what it takes. The totals of the merged
//! columns equal what the sockets' owners wrote, byte by byte, also of what happened while no agent ran.

use crate::support::{Fake, Life, wait};
use edgescope_agent::cloud::CloudConfig;
use edgescope_agent::runtimes::RuntimesConfig;
use edgescope_agent::{AgentConfig, Metrics, ScopeConfig};
use edgescope_identity::directory::{Directory, Limits};
use edgescope_identity::resolve::resolve;
use edgescope_identity::rules::{Match, Rule, Rules};
use edgescope_model::fact::column_of;
use edgescope_model::signal::{Side, Signal, TCP_ACCEPTS, TCP_BYTES, TCP_CONNECTS_ESTABLISHED, TCP_RTT};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

/// Two namespaces with a wire between them, gone when dropped, with whatever the agent left in the kernel.
pub struct Lab {
    pub name: String,
    pub state: tempfile::TempDir,
}

impl Lab {
    pub fn new() -> Self {
        let name = format!("esa{}-{:04x}", std::process::id(), rand::random::<u16>());
        let lab = Self { name, state: tempfile::tempdir().unwrap() };
        let (a, b) = (lab.netns("a"), lab.netns("b"));
        for netns in [&a, &b] {
            ip(&["netns", "add", netns]);
            ip(&["-n", netns, "link", "set", "lo", "up"]);
        }
        ip(&["-n", &a, "link", "add", "wire", "type", "veth", "peer", "name", "wire", "netns", &b]);
        for (netns, n) in [(&a, 1), (&b, 2)] {
            ip(&["-n", netns, "addr", "add", &format!("10.77.0.{n}/24"), "dev", "wire"]);
            ip(&["-n", netns, "addr", "add", &format!("fd77::{n}/64"), "dev", "wire", "nodad"]);
            ip(&["-n", netns, "link", "set", "wire", "up"]);
        }
        lab
    }

    pub fn netns(&self, end: &str) -> String {
        format!("{}-{end}", self.name)
    }

    /// Runs work in a namespace, on a thread that ends with it.
    pub fn within<T: Send + 'static>(&self, end: &str, work: impl FnOnce() -> T + Send + 'static) -> std::thread::JoinHandle<T> {
        let file = File::open(format!("/run/netns/{}", self.netns(end))).unwrap();
        std::thread::spawn(move || {
            move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            work()
        })
    }

    /// A server in namespace b that takes `request` bytes and answers with `response` bytes, again and again on each connection.
    pub fn serve(&self, address: SocketAddr, request: usize, response: usize) {
        let listener = self.within("b", move || TcpListener::bind(address).unwrap()).join().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                std::thread::spawn(move || {
                    let mut buffer = vec![0; request];
                    while stream.read_exact(&mut buffer).is_ok() {
                        if stream.write_all(&vec![7; response]).is_err() {
                            return;
                        }
                    }
                });
            }
        });
    }

    pub fn connect(&self, address: SocketAddr) -> TcpStream {
        self.within("a", move || TcpStream::connect(address).unwrap()).join().unwrap()
    }

    pub fn config(&self, life: &Life, rules: Vec<Rule>) -> AgentConfig {
        AgentConfig {
            server: format!("http://{}", life.address),
            id: self.name.clone(),
            interval: Duration::from_secs(1),
            scope: ScopeConfig::Namespaces(vec![format!("{}-*", self.name)]),
            state_dir: self.state.path().to_owned(),
            node: "n1".into(),
            // The machine that tests run on has its own.
            runtimes: RuntimesConfig::Off,
            cloud: CloudConfig::Off,
            rules,
            ..AgentConfig::default()
        }
    }

    pub fn rule(&self, end: &str, port: Option<u16>, workload: &str) -> Rule {
        Rule { when: Match { netns: Some(self.netns(end)), port, ..Match::default() }, workload: Some(workload.to_owned()), ..Rule::default() }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if let Err(error) = edgescope_agent::remove(&self.name) {
            eprintln!("cannot remove what the agent left in the kernel: {error}");
        }
        for end in ["a", "b"] {
            // The rest must go even if one is gone already.
            drop(Command::new("ip").args(["netns", "del", &self.netns(end)]).status());
        }
    }
}

fn ip(args: &[&str]) {
    let output = Command::new("ip").args(args).output().unwrap();
    assert!(output.status.success(), "ip {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr));
}

/// One exchange on a connection.
pub fn ask(stream: &mut TcpStream, request: usize, response: usize) {
    stream.write_all(&vec![1; request]).unwrap();
    stream.read_exact(&mut vec![0; response]).unwrap();
}

/// Closes and waits for the other end to have closed too.
pub fn close(mut stream: TcpStream) {
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0);
}

pub type Sums = BTreeMap<(String, String), u64>;

/// Sums of a merged column (of a histogram: its counts) by pair of workloads, over all that the intake has taken.
fn sums(fake: &Fake, signal: &Signal) -> Sums {
    let mut directory = Directory::new(Limits::default(), Rules::default());
    let book = fake.book();
    for hello in &book.hellos {
        directory.list(&hello.agent_id, &hello.owners, &hello.endpoints, fake.now_us());
    }
    book.batches.iter().for_each(|batch| directory.list_of_batch(batch));
    let column = column_of(signal, Side::Merged).unwrap();
    let mut sums = Sums::new();
    for row in book.batches.iter().flat_map(|batch| resolve(batch, &directory).rows) {
        let value = row.value(column).or_else(|| row.histogram(column).map(|h| h.count())).unwrap_or(0);
        if value > 0 {
            *sums.entry((row.dims.source.workload.clone(), row.dims.dest.workload.clone())).or_default() += value;
        }
    }
    sums
}

pub fn pairs(list: &[(&str, &str, u64)]) -> Sums {
    list.iter().map(|&(a, b, n)| ((a.to_owned(), b.to_owned()), n)).collect()
}

pub async fn run_while(config: &AgentConfig, work: impl Future<Output = ()>) {
    let metrics = Arc::new(Metrics::default());
    edgescope_agent::run(config.clone(), Arc::clone(&metrics), work).await.unwrap();
}

/// Waits for the programs of this run to be there: traffic before them is nobody's.
pub async fn greeted(fake: &Fake, times: usize) {
    wait(|| fake.book().hellos.len() >= times).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn totals_are_exact_over_restarts_with_old_and_new_sockets() {
    let lab = Lab::new();
    let fake = Fake::default();
    let life = Life::begin(&fake, None, None).await;
    let config = lab.config(&life, vec![lab.rule("a", None, "web"), lab.rule("b", None, "db")]);
    let (v4, v6): (SocketAddr, SocketAddr) = ("10.77.0.2:7001".parse().unwrap(), "[fd77::2]:7002".parse().unwrap());
    lab.serve(v4, 100, 3_000);
    lab.serve(v6, 10, 50_000);
    // Open before the agent, with bytes that no agent saw.
    let mut old = lab.connect(v4);
    ask(&mut old, 100, 3_000);
    let mut asked = (0, 0);
    run_while(&config, async {
        greeted(&fake, 1).await;
        for _ in 0..20 {
            let mut new = lab.connect(v6);
            ask(&mut new, 10, 50_000);
            close(new);
            ask(&mut old, 100, 3_000);
        }
        asked = (20 * 10 + 20 * 100, 20 * 50_000 + 20 * 3_000);
        let expected = pairs(&[("web", "db", asked.0), ("db", "web", asked.1)]);
        wait(|| sums(&fake, &TCP_BYTES) == expected).await;
    })
    .await;
    // No agent: the kernel counts on, for a socket that lives through it and for one that does not.
    ask(&mut old, 100, 3_000);
    let mut short = lab.connect(v4);
    ask(&mut short, 100, 3_000);
    close(short);
    run_while(&config, async {
        greeted(&fake, 2).await;
        ask(&mut old, 100, 3_000);
        close(old);
        let expected = pairs(&[("web", "db", asked.0 + 300), ("db", "web", asked.1 + 9_000)]);
        wait(|| sums(&fake, &TCP_BYTES) == expected).await;
        // And it stays so.
        let windows = fake.book().windows.len();
        wait(|| fake.book().windows.len() >= windows + 2).await;
        assert_eq!(sums(&fake, &TCP_BYTES), expected);
    })
    .await;
    let connects = sums(&fake, &TCP_CONNECTS_ESTABLISHED);
    assert_eq!(connects, pairs(&[("web", "db", 21)]));
    assert_eq!(sums(&fake, &TCP_ACCEPTS), connects);
    assert!(sums(&fake, &TCP_RTT).values().all(|&samples| samples > 20), "{:?}", sums(&fake, &TCP_RTT));
    let committed = fake.book().committed;
    assert_eq!(committed as usize, fake.book().batches.len(), "one sequence over both runs");
}

/// On a thread of its own, with a runtime of its own: what it gives up is gone for it and for all that it starts.
#[test]
fn an_agent_that_gave_up_what_it_does_not_need_sees_as_much() {
    let lab = Lab::new();
    let serving = tokio::runtime::Runtime::new().unwrap();
    let fake = Fake::default();
    let life = serving.block_on(Life::begin(&fake, None, None));
    let config = lab.config(&life, vec![lab.rule("a", None, "web"), lab.rule("b", None, "db")]);
    let server: SocketAddr = "10.77.0.2:7001".parse().unwrap();
    lab.serve(server, 100, 3_000);
    let mut old = lab.connect(server);
    ask(&mut old, 100, 3_000);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let agent = std::thread::spawn(move || {
        edgescope_agent::privileges::drop_to_needed().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(run_while(&config, async {
            // Told to stop, or the test has failed: both end it.
            drop(stopped.await);
        }));
    });
    serving.block_on(greeted(&fake, 1));
    let mut new = lab.connect(server);
    ask(&mut new, 100, 3_000);
    close(new);
    ask(&mut old, 100, 3_000);
    let expected = pairs(&[("web", "db", 200), ("db", "web", 6_000)]);
    serving.block_on(wait(|| sums(&fake, &TCP_BYTES) == expected));
    drop(stop);
    agent.join().unwrap();
    let hooks = fake.book().hellos[0].hooks.clone();
    assert!(hooks.iter().all(|hook| !hook.contains("refused, ")), "{hooks:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_workloads_on_one_address_and_a_namespace_that_comes_later() {
    let lab = Lab::new();
    let fake = Fake::default();
    let life = Life::begin(&fake, None, None).await;
    // Namespace a has no rule: its process names its sockets.
    let config = lab.config(&life, vec![lab.rule("b", Some(7001), "db"), lab.rule("b", Some(7002), "cache")]);
    let (db, cache): (SocketAddr, SocketAddr) = ("10.77.0.2:7001".parse().unwrap(), "10.77.0.2:7002".parse().unwrap());
    lab.serve(db, 100, 1_000);
    lab.serve(cache, 10, 20);
    let me = std::fs::read_to_string("/proc/self/comm").unwrap().trim().to_owned();
    let later = format!("{}-c", lab.name);
    run_while(&config, async {
        greeted(&fake, 1).await;
        for (server, request, response) in [(db, 100, 1_000), (cache, 10, 20), (cache, 10, 20)] {
            let mut stream = lab.connect(server);
            ask(&mut stream, request, response);
            close(stream);
        }
        let expected = pairs(&[(&me, "db", 100), ("db", &me, 1_000), (&me, "cache", 20), ("cache", &me, 40)]);
        wait(|| sums(&fake, &TCP_BYTES) == expected).await;
        ip(&["netns", "add", &later]);
        ip(&["-n", &later, "link", "set", "lo", "up"]);
        ip(&["-n", &later, "addr", "add", "10.78.0.1/32", "dev", "lo"]);
        let has = |address: IpAddr| {
            let bytes = edgescope_identity::address::to_bytes(address);
            fake.book().batches.iter().any(|batch| batch.endpoints.iter().any(|endpoint| endpoint.address == bytes))
        };
        wait(|| has([10, 78, 0, 1].into())).await;
        ip(&["netns", "del", &later]);
    })
    .await;
}

/// A cgroup that this test's process can be in; it goes back to where it was.
struct Cgroup {
    path: PathBuf,
    before: PathBuf,
}

impl Cgroup {
    fn new(name: &str) -> Self {
        let root = edgescope_identity::host::cgroup_root().unwrap();
        let own = std::fs::read_to_string("/proc/self/cgroup").unwrap();
        let own = own.lines().find_map(|line| line.strip_prefix("0::/")).unwrap().to_owned();
        Self { path: root.join(name), before: root.join(own) }
    }

    fn enter(&self) {
        std::fs::create_dir(&self.path).unwrap();
        std::fs::write(self.path.join("cgroup.procs"), std::process::id().to_string()).unwrap();
    }

    /// As a unit that stops.
    fn leave(&self) {
        std::fs::write(self.before.join("cgroup.procs"), std::process::id().to_string()).unwrap();
        std::fs::remove_dir(&self.path).unwrap();
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        if self.path.exists() {
            self.leave();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unit_in_scope_that_starts_again_is_seen_again() {
    let lab = Lab::new();
    let fake = Fake::default();
    let life = Life::begin(&fake, None, None).await;
    let unit = Cgroup::new(&lab.name);
    let config = AgentConfig { scope: ScopeConfig::Cgroup(format!("/{}", lab.name)), ..lab.config(&life, vec![]) };
    // The agent itself is in the unit too.
    let bytes = |port: u32| -> u64 {
        let book = fake.book();
        let sent = book.batches.iter().flat_map(|batch| &batch.observations).filter(|o| o.service_port == port).flat_map(|o| &o.sent);
        sent.filter(|measure| measure.signal == u32::from(TCP_BYTES.id)).map(|measure| measure.value).sum()
    };
    let lost = |reason: &str| fake.book().batches.iter().filter_map(|batch| batch.losses.get(reason)).sum::<u64>();
    unit.enter();
    lab.serve("10.77.0.2:7001".parse().unwrap(), 100, 3_000);
    run_while(&config, async {
        greeted(&fake, 1).await;
        let mut stream = lab.connect("10.77.0.2:7001".parse().unwrap());
        ask(&mut stream, 100, 3_000);
        close(stream);
        wait(|| bytes(7001) == 3_100).await;
        unit.leave();
        wait(|| lost("scope_missing") > 0).await;
        unit.enter();
        lab.serve("10.77.0.2:7002".parse().unwrap(), 10, 20);
        // Seen a second later at the latest; what was open by then counts from then on.
        let mut stream = lab.connect("10.77.0.2:7002".parse().unwrap());
        tokio::time::sleep(Duration::from_millis(2_500)).await;
        ask(&mut stream, 10, 20);
        wait(|| bytes(7002) == 30).await;
    })
    .await;
}
