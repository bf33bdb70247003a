//! Translation undone on this kernel: services, node ports, masqueraded pods and hairpins as kube-proxy makes them, with one agent that sees all of it, and with
//! two of which each sees an end. Both ends have the names of the real workloads, and each byte counts once, as the programs counted it.

use crate::kernel::{Sums, ask, close, run_while};
use crate::nat_lab::{BACKEND_PORT, Form, NatLab, SERVER_PORT};
use crate::support::{Book, Fake, Life, wait};
use edgescope_identity::address::to_bytes;
use edgescope_identity::directory::{Directory, Limits};
use edgescope_identity::resolve::resolve;
use edgescope_identity::rules::Rules;
use edgescope_model::fact::{FactRow, column_of};
use edgescope_model::signal::{Side, Signal, TCP_BYTES, UDP_BYTES};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

/// The directory that a server would have, and the rows that it would make.
fn rows(fakes: &[&Fake]) -> (Directory, Vec<FactRow>) {
    let mut directory = Directory::new(Limits::default(), Rules::default());
    let books: Vec<_> = fakes.iter().map(|fake| fake.book()).collect();
    let books: Vec<&Book> = books.iter().map(|book| &**book).collect();
    for (book, fake) in books.iter().zip(fakes) {
        // A greeting is older than the first window: what it lists may be over by now.
        let greeted_us = book.batches.first().map_or_else(|| fake.now_us(), |batch| batch.window_start_us);
        book.hellos.iter().for_each(|hello| directory.list(&hello.agent_id, &hello.owners, &hello.endpoints, greeted_us));
    }
    books.iter().flat_map(|book| &book.batches).for_each(|batch| directory.list_of_batch(batch));
    let rows = books.iter().flat_map(|book| &book.batches).flat_map(|batch| resolve(batch, &directory).rows).collect();
    (directory, rows)
}

/// Sums of a column by pair of workloads, of the conversations with `port` alone.
fn sums_of(rows: &[FactRow], signal: &Signal, side: Side, ports: &[u16]) -> Sums {
    let column = column_of(signal, side).unwrap();
    let mut sums = Sums::new();
    for row in rows.iter().filter(|row| ports.contains(&row.dims.port)) {
        let value = row.value(column).unwrap_or(0);
        if value > 0 {
            *sums.entry((row.dims.source.workload.clone(), row.dims.dest.workload.clone())).or_default() += value;
        }
    }
    sums
}

/// Bytes there and back of some connections, by who really served.
#[derive(Debug, Default)]
pub struct Truth(pub Sums);

impl Truth {
    pub fn add(&mut self, client: &str, server: &str, there: usize, back: usize) {
        *self.0.entry((client.to_owned(), server.to_owned())).or_default() += there as u64;
        *self.0.entry((server.to_owned(), client.to_owned())).or_default() += back as u64;
    }
}

/// Length of an answer of each backend: a byte at the wrong one shows.
const ANSWERS: [(&str, usize); 2] = [("one", 1_000), ("two", 1_100)];
const REQUEST: usize = 100;

/// Who gave an answer of so many bytes.
fn backend(length: usize) -> &'static str {
    ANSWERS.into_iter().find(|(_, answer)| *answer == length).map(|(name, _)| name).unwrap()
}

/// A new connection to the service; by the length of the first answer, who serves it.
fn open(lab: &NatLab, host: &str, to: SocketAddr, truth: &mut Truth) -> (TcpStream, &'static str) {
    let mut stream = lab.connect(host, to);
    stream.write_all(&[1; REQUEST]).unwrap();
    let mut answer = vec![0; ANSWERS[0].1];
    stream.read_exact(&mut answer).unwrap();
    let name = ANSWERS[usize::from(answer[0]) - 1].0;
    let length = ANSWERS[usize::from(answer[0]) - 1].1;
    stream.read_exact(&mut vec![0; length - answer.len()]).unwrap();
    truth.add(host, name, REQUEST, length);
    (stream, name)
}

/// Some connections to the service that close at once, and one that stays open and asks again.
fn ask_service(lab: &NatLab, host: &str, to: SocketAddr, truth: &mut Truth) {
    let (mut kept, name) = open(lab, host, to, truth);
    for _ in 0..8 {
        close(open(lab, host, to, truth).0);
    }
    let length = ANSWERS.into_iter().find(|(backend, _)| *backend == name).unwrap().1;
    ask(&mut kept, REQUEST, length);
    truth.add(host, name, REQUEST, length);
    close(kept);
}

/// A pod asks a server outside, masqueraded.
fn ask_server(lab: &NatLab, is_ipv6: bool, truth: &mut Truth) {
    for _ in 0..4 {
        let mut stream = lab.connect("pod", lab.at("server", is_ipv6, SERVER_PORT));
        for _ in 0..2 {
            ask(&mut stream, 50, 2_000);
            truth.add("pod", "server", 50, 2_000);
        }
        close(stream);
    }
}

fn serve(lab: &NatLab) {
    ANSWERS.into_iter().for_each(|(host, answer)| lab.serve(host, BACKEND_PORT, REQUEST, answer));
    lab.serve("server", SERVER_PORT, 50, 2_000);
}

/// The merged sums, and each end's own, are the programs'; nothing is left on another edge, and nothing is lost.
fn told_as(fakes: &[&Fake], signal: &Signal, truth: &Sums, sides: &[Side]) -> bool {
    let (_, rows) = rows(fakes);
    let all: Vec<u16> = rows.iter().map(|row| row.dims.port).filter(|port| *port != 0 && *port != INTAKE).collect();
    sides.iter().all(|side| sums_of(&rows, signal, *side, &all) == *truth)
}

/// No namespace of these labs has the intake's traffic.
const INTAKE: u16 = 0;

fn seen_as(fakes: &[&Fake], signal: &Signal) -> String {
    let (_, rows) = rows(fakes);
    let ports: Vec<u16> = rows.iter().map(|row| row.dims.port).collect();
    let sides = [Side::Merged, Side::Sent, Side::Received].map(|side| (side, sums_of(&rows, signal, side, &ports)));
    let lost: BTreeMap<String, u64> =
        fakes.iter().flat_map(|fake| fake.book().batches.iter().flat_map(|b| b.losses.clone()).collect::<Vec<_>>()).collect();
    format!("{sides:#?}\nlost {lost:?}")
}

/// Waits until it is told as it was; else says what was told.
pub async fn wait_told(fakes: &[&Fake], signal: &Signal, truth: &Truth) {
    wait_for(fakes, signal, truth, &[Side::Merged, Side::Sent, Side::Received]).await;
}

/// The same of the merged sums alone.
pub async fn wait_merged(fakes: &[&Fake], signal: &Signal, truth: &Truth) {
    wait_for(fakes, signal, truth, &[Side::Merged]).await;
}

async fn wait_for(fakes: &[&Fake], signal: &Signal, truth: &Truth, sides: &[Side]) {
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(20);
    while !told_as(fakes, signal, &truth.0, sides) {
        assert!(tokio::time::Instant::now() < deadline, "expected {:#?}, told {}", truth.0, seen_as(fakes, signal));
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

/// The first connections to each address, over before anybody has heard what it stands for: they go to both backends.
fn ask_first(lab: &NatLab, truth: &mut Truth) {
    for is_ipv6 in [false, true] {
        for host in ["pod", "one", "two"] {
            (0..4).for_each(|_| close(open(lab, host, lab.service(is_ipv6), truth).0));
        }
        (0..4).for_each(|_| close(open(lab, "client", lab.node_port(is_ipv6), truth).0));
    }
}

async fn one_agent_sees_all(form: Form) {
    let lab = NatLab::new(form);
    let fake = Fake::default();
    let life = Life::begin(&fake, None, None).await;
    let config = lab.config("inside", life.address, &["node", "pod", "one", "two", "client", "server"]);
    serve(&lab);
    let mut truth = Truth::default();
    let mut datagrams = Truth::default();
    run_while(&config, async {
        wait(|| !fake.book().hellos.is_empty()).await;
        ask_first(&lab, &mut truth);
        for is_ipv6 in [false, true] {
            ask_service(&lab, "pod", lab.service(is_ipv6), &mut truth);
            // From each backend: in turn, so that some reach themselves.
            ask_service(&lab, "one", lab.service(is_ipv6), &mut truth);
            ask_service(&lab, "two", lab.service(is_ipv6), &mut truth);
            ask_service(&lab, "client", lab.node_port(is_ipv6), &mut truth);
            ask_server(&lab, is_ipv6, &mut truth);
            for (host, to) in [("pod", lab.service(is_ipv6)), ("one", lab.service(is_ipv6)), ("client", lab.node_port(is_ipv6))] {
                for _ in 0..4 {
                    let length = lab.ask_by_datagram(host, to, REQUEST);
                    datagrams.add(host, backend(length), REQUEST, length);
                }
            }
        }
        wait_told(&[&fake], &TCP_BYTES, &truth).await;
        wait_told(&[&fake], &UDP_BYTES, &datagrams).await;
        // And it stays so.
        let windows = fake.book().windows.len();
        wait(|| fake.book().windows.len() >= windows + 2).await;
        wait_told(&[&fake], &TCP_BYTES, &truth).await;
    })
    .await;
    let hairpins = truth.0.keys().filter(|(client, server)| client == server).count();
    assert!(hairpins > 0, "no backend reached itself: {truth:?}");
    assert_eq!(truth.0.keys().filter(|(client, _)| client == "pod").count(), 3, "both backends and the server: {truth:?}");
}

/// What a server does with what it heard: tells each agent what to keep apart.
fn tell_apart(fakes: &[&Fake]) {
    let (directory, _) = rows(fakes);
    for fake in fakes {
        let agent = fake.book().hellos.first().map(|hello| hello.agent_id.clone()).unwrap_or_default();
        *fake.apart.lock().unwrap() = directory.apart(&agent).into_iter().map(to_bytes).collect();
    }
}

/// Each of two agents sees one end: what the node translates is told by the one and used for the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_nodes_translation_is_undone_at_the_far_end() {
    let lab = NatLab::new(Form::Nftables);
    let (inside, outside) = (Fake::default(), Fake::default());
    let fakes = [&inside, &outside];
    let lives = (Life::begin(&inside, None, None).await, Life::begin(&outside, None, None).await);
    let within = lab.config("inside", lives.0.address, &["node", "pod", "one", "two"]);
    let beyond = lab.config("outside", lives.1.address, &["client", "server"]);
    serve(&lab);
    let mut truth = Truth::default();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let work = async {
        wait(|| fakes.iter().all(|fake| !fake.book().hellos.is_empty())).await;
        // The first of each kind only shows who translates: the outer agent learns of it by the reply to a later window.
        for is_ipv6 in [false, true] {
            ask_server(&lab, is_ipv6, &mut Truth::default());
            ask_service(&lab, "client", lab.node_port(is_ipv6), &mut Truth::default());
        }
        wait(|| {
            tell_apart(&fakes);
            outside.apart.lock().unwrap().len() == 4
        })
        .await;
        // Told with a batch, used from the next window on, which begins with the one after it.
        let windows = outside.book().windows.len();
        wait(|| outside.book().windows.len() >= windows + 3).await;
        let mark = (inside.book().batches.len(), outside.book().batches.len());
        for is_ipv6 in [false, true] {
            ask_server(&lab, is_ipv6, &mut truth);
            ask_service(&lab, "client", lab.node_port(is_ipv6), &mut truth);
        }
        forget_before(&inside, mark.0);
        forget_before(&outside, mark.1);
        wait_told(&fakes, &TCP_BYTES, &truth).await;
        stop.send(()).unwrap();
    };
    tokio::join!(
        run_while(&within, async {
            work.await;
        }),
        run_while(&beyond, async {
            drop(stopped.await);
        })
    );
}

/// Takes the observations of the first batches out of a book; what they say of names stays.
fn forget_before(fake: &Fake, count: usize) {
    fake.book().batches.iter_mut().take(count).for_each(|batch| batch.observations.clear());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nftables_rules_of_a_service_are_undone() {
    one_agent_sees_all(Form::Nftables).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn iptables_rules_of_a_service_are_undone() {
    one_agent_sees_all(Form::Iptables).await;
}

/// Connections that are older than the agent are in the kernel's list, whether it sends news or not.
async fn older_connections(has_news: bool) {
    let lab = NatLab::new(Form::Nftables);
    if !has_news {
        lab.within("node", || std::fs::write("/proc/sys/net/netfilter/nf_conntrack_events", "0").unwrap());
    }
    let fake = Fake::default();
    let life = Life::begin(&fake, None, None).await;
    let config = lab.config("inside", life.address, &["node", "pod", "one", "two", "client", "server"]);
    serve(&lab);
    let mut open_before = Vec::new();
    for is_ipv6 in [false, true] {
        for to in [lab.service(is_ipv6), lab.service(is_ipv6)] {
            open_before.push(open(&lab, "pod", to, &mut Truth::default()));
        }
        let mut stream = lab.connect("pod", lab.at("server", is_ipv6, SERVER_PORT));
        ask(&mut stream, 50, 2_000);
        open_before.push((stream, "server"));
    }
    let mut truth = Truth::default();
    run_while(&config, async {
        wait(|| !fake.book().hellos.is_empty()).await;
        for (stream, name) in &mut open_before {
            let (request, answer) = ANSWERS.into_iter().find(|(backend, _)| backend == name).map_or((50, 2_000), |(_, answer)| (REQUEST, answer));
            ask(stream, request, answer);
            truth.add("pod", name, request, answer);
        }
        wait_told(&[&fake], &TCP_BYTES, &truth).await;
        for (stream, _) in open_before.drain(..) {
            close(stream);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_older_than_the_agent_are_undone() {
    older_connections(true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kernel_that_sends_no_news_is_listed() {
    older_connections(false).await;
}
