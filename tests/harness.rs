//! The harness itself: an actor counts what it does, a guard ends what it guards.

use edgescope_testbed::Lab;
use edgescope_tests::capture::{self, Capture};
use edgescope_tests::traffic::{Exchange, Order, Role};
use edgescope_tests::witness::retransmitted_segments;
use edgescope_tests::{Actor, Cgroup, Scene, lab, scene};
use std::net::SocketAddr;

const TRAFFIC: &str = env!("CARGO_BIN_EXE_edgescope-traffic");

#[test]
fn both_ends_of_an_exchange_count_the_same_bytes() {
    let scene = Scene::new("actor");
    let (server, client) = (Actor::start(&scene, TRAFFIC, "server", None), Actor::start(&scene, TRAFFIC, "client", None));
    let to = SocketAddr::from(([127, 0, 0, 1], scene::free_port()));
    server.listen(to);
    client.exchange(&Exchange { connections: 3, requests: 4, request_bytes: 5_000, response_bytes: 70_000, ..Exchange::new(to) });
    client.exchange(&Exchange { requests: 2, request_bytes: 0, response_bytes: 1, new_each: true, ..Exchange::new(to) });
    let (asked, served) = (client.quiet().of(to.port(), Role::Client), server.quiet().of(to.port(), Role::Server));
    assert_eq!((asked.written, asked.read), (12 * 5_016 + 2 * 16, 12 * 70_000 + 2));
    assert_eq!((served.read, served.written), (asked.written, asked.read));
    assert_eq!((asked.attempts, asked.established, served.established), (5, 5, 5));
}

#[test]
fn a_load_runs_until_it_is_stopped_and_outcomes_are_told_apart() {
    let scene = Scene::new("load");
    let (server, client) = (Actor::start(&scene, TRAFFIC, "server", None), Actor::start(&scene, TRAFFIC, "client", None));
    let to = SocketAddr::from(([127, 0, 0, 1], scene::free_port()));
    let nobody = SocketAddr::from(([127, 0, 0, 1], scene::free_port()));
    server.listen(to);
    client.order(&Order::Load(Exchange { connections: 2, requests: 10, pause_ms: 1, ..Exchange::new(to) }));
    edgescope_tests::until("some load", std::time::Duration::from_secs(10), || {
        let read = client.report().of(to.port(), Role::Client).read;
        if read > 100_000 { Ok(()) } else { Err(format!("{read} bytes read")) }
    });
    client.order(&Order::Stop);
    let asked = client.quiet().of(to.port(), Role::Client);
    assert_eq!(server.quiet().of(to.port(), Role::Server).read, asked.written);
    client.order(&Order::Connect { to: nobody, times: 3, timeout_ms: 500 });
    assert_eq!(client.report().of(nobody.port(), Role::Client).refused, 3);
}

#[test]
fn a_capture_shows_the_relay_s_delay() {
    let scene = Scene::new("capture");
    let lab = lab::lab(TRAFFIC, &["left", "right"], Some(5_000));
    let actor = |host: &str, name: &str| Actor::start(&scene, TRAFFIC, name, Some(&lab.netns(host).expect("the lab has the host")));
    let (web, db) = (actor("left", "web"), actor("right", "db"));
    let to = lab::at(&lab, "right", false, 7_001);
    db.listen(to);
    let capture = Capture::start(&lab.netns("left").expect("the lab has the host"), "eth0", scene.dir(), "left.pcap", "tcp");
    web.exchange(&Exchange { connections: 2, requests: 50, ..Exchange::new(to) });
    web.quiet();
    let times = capture::round_trips_s(&capture.stop(), &lab::at(&lab, "left", false, 0).ip().to_string());
    assert!(times.len() >= 100, "{} round trips", times.len());
    let median = capture::quantile(&times, 0.5);
    assert!((0.010..0.012).contains(&median), "the median round trip is {median} s");
}

#[test]
fn the_kernel_counts_what_a_lab_loses() {
    let scene = Scene::new("loss");
    let mut lab = lab::lab(TRAFFIC, &["left", "right"], None);
    let actor = |lab: &Lab, host: &str, name: &str| Actor::start(&scene, TRAFFIC, name, Some(&lab.netns(host).expect("the lab has the host")));
    let (web, db) = (actor(&lab, "left", "web"), actor(&lab, "right", "db"));
    let to = lab::at(&lab, "right", true, 7_001);
    db.listen(to);
    let filter = lab.drop_between("left", "right", 200).expect("the router drops");
    web.exchange(&Exchange { connections: 4, request_bytes: 1 << 20, ..Exchange::new(to) });
    let (dropped, sent_again) = (lab.hits(&filter).expect("counted"), retransmitted_segments(&lab::netns_name(&lab, "left")));
    assert!(dropped > 20 && sent_again * 10 > dropped * 8, "{dropped} dropped, {sent_again} sent again");
}

#[test]
fn a_neighbour_can_be_talked_to_and_a_cgroup_takes_a_process() {
    let scene = Scene::new("host");
    let (neighbour, cgroup) = (lab::Neighbour::new(scene.id()), Cgroup::new(scene.id()));
    let web = Actor::start(&scene, TRAFFIC, "web", None);
    let db = Actor::start(&scene, TRAFFIC, "db", Some(&neighbour.netns()));
    cgroup.add(web.id());
    let to = SocketAddr::new(neighbour.there, 7_001);
    db.listen(to);
    web.exchange(&Exchange::new(to));
    assert_eq!(db.quiet().of(7_001, Role::Server).read, 1_016);
}
