//! Bytes of every edge against what the services wrote, on real packets, whoever of the two ends has an agent.

use chrono::{DateTime, Utc};
use edgescope_tests::agent::wait_until_at_work;
use edgescope_tests::lab::{Neighbour, Pair, at, lab, netns_name};
use edgescope_tests::traffic::{Exchange, Role, Totals};
use edgescope_tests::{Actor, Agent, AgentSpec, Cgroup, Edges, Place, Question, Scene, Server, ServerSpec, holds_for, is_long, until};
use std::net::SocketAddr;
use std::time::Duration;

const TRAFFIC: &str = env!("CARGO_BIN_EXE_edgescope-traffic");
/// Within this after the traffic its last window is stored: a window, its reading and commit, and the two intervals for which
/// the server waits for a name, on a busy machine.
const STORED: Duration = Duration::from_secs(75);
/// More than a window: whatever would still be added has been added.
const ONE_MORE_WINDOW: Duration = Duration::from_secs(12);
const BYTES: [&str; 3] = ["tcp.bytes", "tcp.bytes.sent", "tcp.bytes.received"];

/// What one workload asked of another, by its own counters.
struct Conversation {
    client: String,
    server: String,
    port: u16,
    asked: Totals,
}

impl Conversation {
    fn new(client: &str, server: &str, port: u16, actor: &Actor) -> Conversation {
        Conversation { client: client.to_owned(), server: server.to_owned(), port, asked: actor.quiet().of(port, Role::Client) }
    }

    /// `(source, destination, role of the source, bytes written by the source)` of both directions.
    fn directions(&self) -> [(&str, &str, &str, u64); 2] {
        [(&self.client, &self.server, "client", self.asked.written), (&self.server, &self.client, "server", self.asked.read)]
    }
}

/// Every direction of every conversation has the bytes that were written, in the columns asked for, and no edge has others.
fn as_written(edges: &Edges, conversations: &[Conversation], columns: &[&str]) -> Result<(), String> {
    for conversation in conversations {
        for (source, dest, role, written) in conversation.directions() {
            let port = conversation.port.to_string();
            let mut rows = edges.between(source, dest).filter(|e| e.dim("port") == port && e.dim("role") == role);
            let row = rows.next().ok_or_else(|| format!("no edge {source} > {dest} ({role}) on port {port} among {edges:#?}"))?;
            for column in columns {
                let said = row.measures.get(*column).copied();
                if said != Some(written as f64) {
                    return Err(format!("{column} of {source} > {dest} ({role}) on port {port} is {said:?}, the services wrote {written}"));
                }
            }
        }
    }
    let written: u64 = conversations.iter().flat_map(|c| c.directions()).map(|d| d.3).sum();
    let said = edges.sum("tcp.bytes");
    if said == written { Ok(()) } else { Err(format!("all edges together have {said} bytes, {written} were written: {edges:#?}")) }
}

fn wait_for_bytes(server: &Server, from: DateTime<Utc>, conversations: &[Conversation], columns: &[&str]) {
    let look = || as_written(&server.api().edges(&Question::since(from, &BYTES))?, conversations, columns);
    until("the bytes that were written", STORED, look);
    holds_for("the bytes that were written", ONE_MORE_WINDOW, look);
}

/// Long and short conversations, large and small, at once and one after the other.
fn talk(client: &Actor, to: SocketAddr) {
    client.exchange(&Exchange { connections: 4, requests: 25, request_bytes: 3_000, response_bytes: 20_000, pause_ms: 5, ..Exchange::new(to) });
    client.exchange(&Exchange { connections: 2, requests: 15, request_bytes: 1, response_bytes: 0, new_each: true, ..Exchange::new(to) });
    let megabytes = if is_long() { 200 } else { 10 };
    client.exchange(&Exchange { request_bytes: megabytes << 20, response_bytes: 17, ..Exchange::new(to) });
}

/// `web` asks `db` over both families; what it counted, with the names that the two are expected to have.
fn talk_twice(pair: &Pair, web: &str, db: &str) -> Vec<Conversation> {
    for (port, is_ipv6) in [(7_001, false), (7_002, true)] {
        let to = at(&pair.lab, "right", is_ipv6, port);
        pair.db.listen(to);
        talk(&pair.web, to);
    }
    [7_001, 7_002].map(|port| Conversation::new(web, db, port, &pair.web)).into()
}

#[test]
fn bytes_are_what_was_written_with_an_agent_at_both_ends() {
    let pair = Pair::new(TRAFFIC, "both", None, &[("left", 0), ("right", 0)], &[]);
    let from = Utc::now();
    let conversations = talk_twice(&pair, "web", "db");
    wait_for_bytes(&pair.server, from, &conversations, &BYTES);
}

#[test]
fn bytes_are_what_was_written_with_an_agent_at_the_client_only() {
    let pair = Pair::new(TRAFFIC, "client", None, &[("left", 0)], &[("right", "database")]);
    let from = Utc::now();
    let conversations = talk_twice(&pair, "web", "database");
    wait_for_bytes(&pair.server, from, &conversations, &["tcp.bytes"]);
}

#[test]
fn bytes_are_what_was_written_with_an_agent_at_the_server_only() {
    let pair = Pair::new(TRAFFIC, "srv", None, &[("right", 0)], &[]);
    let from = Utc::now();
    let mut conversations = talk_twice(&pair, "", "db");
    // Nobody names the client: it keeps its address.
    conversations[0].client = at(&pair.lab, "left", false, 0).ip().to_string();
    conversations[1].client = at(&pair.lab, "left", true, 0).ip().to_string();
    wait_for_bytes(&pair.server, from, &conversations, &["tcp.bytes"]);
}

#[test]
fn clocks_that_are_wrong_change_no_total() {
    let pair = Pair::new(TRAFFIC, "skew", None, &[("left", 15), ("right", -15)], &[]);
    let from = Utc::now();
    let conversations = talk_twice(&pair, "web", "db");
    wait_for_bytes(&pair.server, from, &conversations, &BYTES);
    // Nor the time: nothing lies outside of when it was.
    let mut question = Question::since(from, &BYTES);
    question.from = from - chrono::TimeDelta::seconds(11);
    question.to = Utc::now();
    let edges = pair.server.api().edges(&question).expect("an answer");
    as_written(&edges, &conversations, &BYTES).expect("all of it in the windows in which it was");
}

#[test]
fn two_workloads_on_one_address_are_told_apart() {
    let scene = Scene::new("shared");
    let lab = lab(TRAFFIC, &["left", "right"], None);
    let server = Server::start(&scene, ServerSpec::new(&scene, "server"));
    let (left, right) = (netns_name(&lab, "left"), netns_name(&lab, "right"));
    let actor = |host: &str, name: &str| Actor::start(&scene, TRAFFIC, name, Some(&lab.netns(host).expect("the lab has the host")));
    // Cart and ads share an address, each serves and asks; so do web and its batch job.
    let (web, batch, cart, ads) = (actor("left", "web"), actor("left", "batch"), actor("right", "cart"), actor("right", "ads"));
    let on = |node: &str, netns: &str| AgentSpec::new(&scene, &server, node, Place::Namespaces(vec![netns.to_owned()]));
    let specs = [
        on("node-left", &left).name_process(&left, "web", "web").name_process(&left, "batch", "batch"),
        on("node-right", &right).name_process(&right, "cart", "cart").name_process(&right, "ads", "ads"),
    ];
    // All listen from the start: a port that was not listed yet has no owner in the first window.
    for (actor, host, port) in [(&cart, "right", 7_001), (&ads, "right", 7_002), (&web, "left", 7_003)] {
        actor.listen(at(&lab, host, false, port));
    }
    let mut agents: Vec<Agent> = specs.iter().map(|spec| Agent::start(&scene, spec)).collect();
    wait_until_at_work(&server, &mut agents);
    let from = Utc::now();
    talk(&web, at(&lab, "right", false, 7_001));
    talk(&batch, at(&lab, "right", false, 7_001));
    talk(&web, at(&lab, "right", false, 7_002));
    talk(&ads, at(&lab, "left", false, 7_003));
    let conversations = [
        Conversation::new("web", "cart", 7_001, &web),
        Conversation::new("batch", "cart", 7_001, &batch),
        Conversation::new("web", "ads", 7_002, &web),
        Conversation::new("ads", "web", 7_003, &ads),
    ];
    wait_for_bytes(&server, from, &conversations, &["tcp.bytes"]);
}

#[test]
fn bytes_are_what_was_written_on_a_plain_host() {
    let scene = Scene::new("host");
    let neighbour = Neighbour::new(scene.id());
    let cgroup = Cgroup::new(scene.id());
    let server = Server::start(&scene, ServerSpec::new(&scene, "server"));
    let web = Actor::start(&scene, TRAFFIC, "web", None);
    cgroup.add(web.id());
    let db = Actor::start(&scene, TRAFFIC, "db", Some(&neighbour.netns()));
    // No rules: a plain host's workloads are what it runs.
    let spec = AgentSpec::new(&scene, &server, "this-host", Place::Cgroup(cgroup.name()));
    let mut agents = [Agent::start(&scene, &spec)];
    wait_until_at_work(&server, &mut agents);
    let from = Utc::now();
    let to = SocketAddr::new(neighbour.there, 7_001);
    db.listen(to);
    talk(&web, to);
    let back = SocketAddr::new(neighbour.here, 7_002);
    web.listen(back);
    talk(&db, back);
    let there = neighbour.there.to_string();
    let conversations = [Conversation::new("web", &there, 7_001, &web), Conversation::new(&there, "web", 7_002, &db)];
    wait_for_bytes(&server, from, &conversations, &["tcp.bytes"]);
}
