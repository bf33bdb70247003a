//! What is acknowledged stays, once, whatever happens to server, agent or disk.

use chrono::{DateTime, Utc};
use edgescope_model::wire::Batch;
use edgescope_tests::agent::{interval_s, wait_until_at_work};
use edgescope_tests::disk::Disk;
use edgescope_tests::lab::{Pair, at};
use edgescope_tests::shipper::{DEST, SOURCE, Shipper};
use edgescope_tests::trace::{Call, Trace};
use edgescope_tests::traffic::{Exchange, Order, Role};
use edgescope_tests::{Question, Scene, Server, ServerSpec, holds_for, is_long, until};
use std::time::{Duration, SystemTime};

const TRAFFIC: &str = env!("CARGO_BIN_EXE_edgescope-traffic");
const STORED: Duration = Duration::from_secs(75);
/// A killed server serves again within this.
const AGAIN: Duration = Duration::from_secs(2);

/// Kills in the short and in the long form.
fn kills() -> u32 {
    if is_long() { 20 } else { 3 }
}

/// From shortly after a window's end on.
fn spread_ms(kill: u32) -> u64 {
    20 + u64::from(kill) * 1_400 / u64::from(kills())
}

/// Waits until so many milliseconds after a window's end: kills are spread over what happens then, reading, shipping, commit, ack.
fn wait_until_after_window(ms: u64) {
    let now_ms = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_millis() as u64;
    let window_ms = interval_s() * 1_000;
    let wait_ms = (window_ms + ms - now_ms % window_ms) % window_ms;
    // The moment itself is what is waited for.
    std::thread::sleep(Duration::from_millis(wait_ms));
}

/// A pair under load, and what was counted when the load has ended.
struct Load {
    pair: Pair,
    from: DateTime<Utc>,
}

impl Load {
    fn start(name: &str) -> Load {
        let pair = Pair::new(TRAFFIC, name, None, &[("left", 0), ("right", 0)], &[]);
        let from = Utc::now();
        for (port, is_ipv6, new_each) in [(7_001, false, false), (7_002, true, true)] {
            let to = at(&pair.lab, "right", is_ipv6, port);
            pair.db.listen(to);
            let exchange = Exchange { connections: 4, requests: 50, request_bytes: 2_000, response_bytes: 9_000, new_each, pause_ms: 10, to };
            pair.web.order(&Order::Load(exchange));
        }
        Load { pair, from }
    }

    /// Ends the load; all that was written must come to be stored, and no more.
    fn finish(self) {
        self.pair.web.order(&Order::Stop);
        let (web, db) = (self.pair.web.quiet(), self.pair.db.quiet());
        let asked = [7_001, 7_002].map(|port| web.of(port, Role::Client));
        let served = [7_001, 7_002].map(|port| db.of(port, Role::Server));
        assert_eq!(asked.iter().map(|t| t.broken).sum::<u64>(), 0, "a connection of the load broke: the test proves nothing");
        let (written, answered): (u64, u64) = (asked.iter().map(|t| t.written).sum(), served.iter().map(|t| t.written).sum());
        let server = &self.pair.server;
        let look = || {
            let edges = server.api().edges(&Question::since(self.from, &["tcp.bytes", "tcp.bytes.sent", "tcp.bytes.received", "tcp.connects"]))?;
            for (source, dest, bytes) in [("web", "db", written), ("db", "web", answered)] {
                for column in ["tcp.bytes", "tcp.bytes.sent", "tcp.bytes.received"] {
                    let said = edges.total(source, dest, column).unwrap_or_default();
                    if said != bytes {
                        return Err(format!("{column} of {source} > {dest} is {said}, {bytes} were written: {:+}", said as i64 - bytes as i64));
                    }
                }
            }
            let attempts: u64 = asked.iter().map(|t| t.attempts).sum();
            let said = edges.total("web", "db", "tcp.connects").unwrap_or_default();
            if said == attempts { Ok(()) } else { Err(format!("{said} connects, {attempts} were made")) }
        };
        until("all that was written, once", STORED, look);
        holds_for("all that was written, once", Duration::from_secs(12), look);
        println!("{written} bytes asked and {answered} answered: stored once");
    }
}

#[test]
fn a_server_killed_again_and_again_loses_nothing_and_doubles_nothing() {
    let mut load = Load::start("kill-server");
    for kill in 0..kills() {
        wait_until_after_window(spread_ms(kill));
        load.pair.server.kill();
        load.pair.server.start_again();
        let again = load.pair.server.wait_until_ready(Duration::from_secs(20));
        println!("kill {kill}: serving again after {again:?}");
        assert!(again <= AGAIN, "kill {kill}: serving again after {again:?} only");
    }
    load.finish();
}

#[test]
fn an_agent_killed_again_and_again_loses_nothing_and_doubles_nothing() {
    let mut load = Load::start("kill-agent");
    for kill in 0..kills() {
        wait_until_after_window(spread_ms(kill));
        let agents = &mut load.pair.agents;
        let agent = kill as usize % agents.len();
        agents[agent].kill();
        // Away across a window's end every third time: the kernel counts on.
        if kill % 3 == 2 {
            wait_until_after_window(spread_ms(kill) + 500);
        }
        agents[agent].start_again();
    }
    wait_until_at_work(&load.pair.server, &mut load.pair.agents);
    load.finish();
}

fn bytes_of(server: &Server, from: DateTime<Utc>) -> Result<u64, String> {
    let edges = server.api().edges(&Question::since(from, &["tcp.bytes"]))?;
    Ok(edges.total(SOURCE, DEST, "tcp.bytes").unwrap_or_default())
}

fn wait_for(server: &Server, from: DateTime<Utc>, bytes: u64) {
    until(&format!("{bytes} bytes"), Duration::from_secs(20), || match bytes_of(server, from)? {
        said if said == bytes => Ok(()),
        said => Err(format!("{said} bytes")),
    });
}

#[test]
fn everything_is_synced_before_the_acknowledgement() {
    let scene = Scene::new("fsync");
    let mut server = Server::start(&scene, ServerSpec::new(&scene, "server"));
    let intake = format!(":{}", server.spec().intake_port);
    let mut shipper = Shipper::connect(&server.intake(), "tracer", 1).expect("the server takes a hello");
    let warm_up = shipper.batch(1, 1);
    shipper.ship(&warm_up).expect("a first batch makes the tables");
    let calls = "fsync,fdatasync,sync_file_range,rename,renameat,renameat2,link,linkat,write,writev,sendto,sendmsg";
    let trace = Trace::attach(server.process().id(), calls, None, scene.dir(), "commit");
    let sent_s = seconds();
    let batch = shipper.batch(2, 5_000);
    shipper.ship(&batch).expect("the server acknowledges");
    let acknowledged_s = seconds();
    let is_between = |c: &Call| c.began_s >= sent_s && c.began_s <= acknowledged_s;
    let is_socket =
        |c: &Call| matches!(c.name.as_str(), "write" | "writev" | "sendto" | "sendmsg") && c.text.contains("TCP") && c.text.contains(&intake);
    let is_log = |c: &Call| c.name.contains("sync") && path_in(&c.text).contains("edges_10s/_delta_log/");
    trace.wait_for("the log entry synced, then the acknowledgement written to the intake's socket", |seen| {
        let logged = seen.iter().find(|c| is_between(c) && is_log(c));
        logged.is_some_and(|log| seen.iter().any(|c| is_socket(c) && c.began_s >= log.ended_s))
    });
    let calls: Vec<Call> = trace.stop().into_iter().filter(is_between).collect();
    let ack = calls.iter().rfind(|c| is_socket(c)).expect("it was there");
    let synced = |what: &str, fits: &dyn Fn(&str) -> bool| {
        let sync = calls.iter().find(|c| matches!(c.name.as_str(), "fsync" | "fdatasync") && c.text.ends_with("= 0") && fits(path_in(&c.text)));
        let sync = sync.unwrap_or_else(|| panic!("no fsync of {what} between batch and acknowledgement: {calls:#?}"));
        assert!(sync.ended_s <= ack.began_s, "{what} was synced after the acknowledgement: {sync:?}, {ack:?}");
        println!("{:.6} s before the acknowledgement: {}", ack.began_s - sync.ended_s, sync.text);
    };
    let facts = |path: &str| path.contains("edges_10s");
    synced("the data file", &|p| facts(p) && !p.contains("_delta_log") && p.contains(".parquet"));
    synced("the log entry", &|p| facts(p) && p.contains("_delta_log/"));
    synced("the log's directory", &|p| facts(p) && p.ends_with("_delta_log"));
    synced("the data's directory", &|p| facts(p) && !p.contains("_delta_log") && !p.contains(".parquet"));
    let late: Vec<_> = calls.iter().filter(|c| c.name.contains("sync") && c.ended_s > ack.began_s).collect();
    assert!(late.is_empty(), "synced after the acknowledgement: {late:#?}");
}

fn seconds() -> f64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs_f64()
}

/// The path behind the first file descriptor: `fsync(12</x/y>) = 0`.
fn path_in(text: &str) -> &str {
    text.split_once('<').and_then(|(_, rest)| rest.split_once('>')).map_or("", |(path, _)| path)
}

#[test]
fn a_sync_or_rename_that_fails_is_never_acknowledged_and_comes_right_later() {
    let scene = Scene::new("inject");
    let mut server = Server::start(&scene, ServerSpec::new(&scene, "server"));
    let from = Utc::now();
    let mut shipper = Shipper::connect(&server.intake(), "unlucky", 2).expect("the server takes a hello");
    let batch = shipper.batch(1, 1_000);
    shipper.ship(&batch).expect("a first batch makes the tables");
    let mut sequence = 1;
    for calls in ["fsync,fdatasync", "rename,renameat,renameat2,link,linkat"] {
        for nth in 1..=if is_long() { 12 } else { 6 } {
            sequence += 1;
            let batch = shipper.batch(sequence, 1_000);
            let name = format!("inject-{sequence}");
            let trace = Trace::attach(server.process().id(), calls, Some(&format!("{calls}:error=EIO:when={nth}")), scene.dir(), &name);
            let answer = shipper.ship(&batch);
            let hit: Vec<Call> = trace.stop().into_iter().filter(|c| c.text.contains("INJECTED")).collect();
            // Calls are counted by thread, and how a commit's are spread over threads is chance: the first of each thread is the one that is there always.
            assert!(nth > 1 || !hit.is_empty(), "no call of {calls} failed: the test proves nothing");
            // A failure in upkeep that has nothing to do with the batch may leave its acknowledgement right; a failed commit never does.
            let durable = bytes_of(&server, from).expect("an answer");
            if answer.is_ok() {
                assert_eq!(durable, sequence * 1_000, "acknowledged, but not stored: {hit:?}");
            } else {
                println!("{hit:?}: {}", answer.expect_err("refused").message());
                ship_until_acknowledged(&mut shipper, &server, &batch);
            }
            wait_for(&server, from, sequence * 1_000);
        }
    }
    server.kill();
    server.start_again();
    server.wait_until_ready(Duration::from_secs(20));
    wait_for(&server, from, sequence * 1_000);
}

/// As an agent does: says hello again and sends the same batch until it is acknowledged.
fn ship_until_acknowledged(shipper: &mut Shipper, server: &Server, batch: &Batch) {
    until("the batch acknowledged in the end", Duration::from_secs(30), || {
        let mut again = Shipper::connect(&server.intake(), &batch.agent_id, 2).map_err(|s| s.to_string())?;
        let done = again.ship(batch).map(drop).map_err(|s| s.to_string());
        *shipper = again;
        done
    });
}

#[test]
fn a_full_disk_is_refused_and_comes_right_later() {
    let scene = Scene::new("full");
    let disk = Disk::mount(&scene.path("disk"), 16);
    let mut spec = ServerSpec::new(&scene, "server");
    spec.store = disk.path().join("data");
    let mut server = Server::start(&scene, spec);
    let from = Utc::now();
    let mut shipper = Shipper::connect(&server.intake(), "filler", 3).expect("the server takes a hello");
    let first = shipper.batch(1, 1_000);
    shipper.ship(&first).expect("there is room");
    disk.fill();
    let second = shipper.batch(2, 500);
    for _ in 0..3 {
        let refused = shipper.ship(&second).expect_err("there is no room");
        println!("refused: {refused}");
    }
    until("not ready", Duration::from_secs(10), || match server.api().get("/readyz", &[]) {
        Ok(_) => Err("ready".to_owned()),
        Err(said) if said.contains("503") => {
            println!("{said}");
            Ok(())
        }
        Err(said) => Err(said),
    });
    assert_eq!(bytes_of(&server, from), Ok(1_000), "what is stored is still served");
    disk.empty();
    until("the batch acknowledged", Duration::from_secs(30), || shipper.ship(&second).map(drop).map_err(|s| s.to_string()));
    wait_for(&server, from, 1_500);
    server.wait_until_ready(Duration::from_secs(20));
    server.kill();
    server.start_again();
    server.wait_until_ready(Duration::from_secs(20));
    wait_for(&server, from, 1_500);
    drop(server);
}

#[test]
fn the_same_batch_to_two_servers_counts_once() {
    let scene = Scene::new("two");
    let first = Server::start(&scene, ServerSpec::new(&scene, "first"));
    let mut spec = ServerSpec::new(&scene, "second");
    spec.store = first.spec().store.clone();
    let second = Server::start(&scene, spec);
    let from = Utc::now();
    let connect = |server: &Server| Shipper::connect(&server.intake(), "twice", 4).expect("the server takes a hello");
    let (mut one, mut other) = (connect(&first), connect(&second));
    let rounds = if is_long() { 50 } else { 8 };
    for sequence in 1..=rounds {
        let batch = one.batch(sequence, 1_000);
        std::thread::scope(|scope| {
            let answers = [scope.spawn(|| one.ship(&batch)), scope.spawn(|| other.ship(&batch))];
            for answer in answers.map(|a| a.join().expect("no panic")) {
                let ack = answer.unwrap_or_else(|refused| panic!("batch {sequence} was refused: {refused}"));
                assert!(ack.committed_sequence >= sequence, "batch {sequence} was acknowledged as {}", ack.committed_sequence);
            }
        });
    }
    for server in [&first, &second] {
        wait_for(server, from, rounds * 1_000);
    }
}
