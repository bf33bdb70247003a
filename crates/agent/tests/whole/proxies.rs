//! Userland proxies on this kernel: a real process for each published port, one agent that sees the node, the container and the clients. The container stands where its
//! proxy stood, and each byte counts once, as the programs counted it.

use crate::kernel::{ask, close, run_while};
use crate::nat::{Truth, wait_told};
use crate::nat_lab::{Form, NatLab};
use crate::support::{Fake, Life, wait};
use edgescope_model::signal::{TCP_BYTES, UDP_BYTES};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::Duration;

const PORT: u16 = 8_080;
const PUBLISHED: u16 = 18_080;
const REQUEST: usize = 100;
const ANSWER: usize = 1_000;

/// The program beside the tests: see `tests/proxy`.
fn program() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    own.ancestors().nth(2).unwrap().join("examples/docker-proxy")
}

/// A proxy, killed when dropped.
struct Proxy(Child);

impl Proxy {
    /// At the node, once it accepts.
    fn publish(lab: &NatLab, protocol: &'static str, host: SocketAddr, container: SocketAddr) -> Self {
        let mut command = Command::new(program());
        command.args(["-proto", protocol, "-host-ip", &host.ip().to_string(), "-host-port", &host.port().to_string()]);
        command.args(["-container-ip", &container.ip().to_string(), "-container-port", &container.port().to_string()]);
        let proxy = Self(lab.within("node", move || command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"))));
        let table = format!("/proc/{}/net/{protocol}{}", proxy.0.id(), if host.is_ipv6() { "6" } else { "" });
        let bound = format!(":{:04X} ", host.port());
        for _ in 0..500 {
            if std::fs::read_to_string(&table).unwrap().contains(&bound) {
                return proxy;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("no proxy accepts at {host}");
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// The node's address on the side of `client`.
fn node(is_ipv6: bool) -> IpAddr {
    if is_ipv6 { "fd00:31::1" } else { "10.31.0.1" }.parse().unwrap()
}

fn exchange(lab: &NatLab, (host, name): (&str, &str), to: SocketAddr, container: &str, truth: &mut Truth) {
    for turn in 0..4 {
        let mut stream = lab.connect(host, to);
        for _ in 0..=turn % 2 {
            ask(&mut stream, REQUEST, ANSWER);
            truth.add(name, container, REQUEST, ANSWER);
        }
        close(stream);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_stands_where_its_proxy_stood() {
    let lab = NatLab::new(Form::Nftables);
    let fake = Fake::default();
    let life = Life::begin(&fake, None, None).await;
    let config = lab.config("inside", life.address, &["node", "pod", "one", "two", "client", "server"]);
    ["one", "two"].into_iter().for_each(|host| lab.serve(host, PORT, REQUEST, ANSWER));
    let own_name = std::fs::read_to_string("/proc/self/comm").unwrap().trim_end().to_owned();
    let at = |is_ipv6, port| SocketAddr::new(node(is_ipv6), port);
    let mut proxies = vec![
        Proxy::publish(&lab, "tcp", ([0, 0, 0, 0], PUBLISHED).into(), lab.at("one", false, PORT)),
        Proxy::publish(&lab, "tcp", at(true, PUBLISHED), lab.at("one", true, PORT)),
        // By IPv6 outside, by IPv4 inside.
        Proxy::publish(&lab, "tcp", at(true, PUBLISHED + 1), lab.at("one", false, PORT)),
    ];
    let (mut truth, mut datagrams) = (Truth::default(), Truth::default());
    run_while(&config, async {
        wait(|| !fake.book().hellos.is_empty()).await;
        for to in [at(false, PUBLISHED), at(true, PUBLISHED), at(true, PUBLISHED + 1)] {
            exchange(&lab, ("client", "client"), to, "one", &mut truth);
        }
        // One that comes while the agent runs.
        for is_ipv6 in [false, true] {
            proxies.push(Proxy::publish(&lab, "udp", at(is_ipv6, PUBLISHED), lab.at("one", is_ipv6, PORT)));
            for _ in 0..5 {
                assert_eq!(lab.ask_by_datagram("client", at(is_ipv6, PUBLISHED), REQUEST), ANSWER);
                datagrams.add("client", "one", REQUEST, ANSWER);
            }
        }
        wait_told(&[&fake], &TCP_BYTES, &truth).await;
        wait_told(&[&fake], &UDP_BYTES, &datagrams).await;
        // The port goes to another container, a window later: in one that saw it with both, it is nobody's for those who ask.
        drop(proxies.remove(0));
        let windows = fake.book().windows.len();
        wait(|| fake.book().windows.len() >= windows + 2).await;
        proxies.push(Proxy::publish(&lab, "tcp", ([0, 0, 0, 0], PUBLISHED).into(), lab.at("two", false, PORT)));
        exchange(&lab, ("client", "client"), at(false, PUBLISHED), "two", &mut truth);
        wait_told(&[&fake], &TCP_BYTES, &truth).await;
        // A client on the node itself, by the loopback too; and one that goes to the container without a proxy, from the same address as that.
        let local = ("node", own_name.as_str());
        exchange(&lab, local, ([127, 0, 0, 1], PUBLISHED).into(), "two", &mut truth);
        exchange(&lab, local, at(true, PUBLISHED), "one", &mut truth);
        exchange(&lab, local, lab.at("two", false, PORT), "two", &mut truth);
        crate::nat::wait_merged(&[&fake], &TCP_BYTES, &truth).await;
    })
    .await;
    let book = fake.book();
    let told = book.batches.iter().flat_map(|batch| batch.observations.iter().map(|told| batch.owners[told.owner as usize].workload.as_str()));
    assert!(told.into_iter().all(|workload| workload != "docker-proxy"), "a proxy is told as an end");
}
