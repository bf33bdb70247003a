//! The harness itself: an actor counts what it does, a guard ends what it guards.

use edgescope_tests::traffic::{Exchange, Order, Role};
use edgescope_tests::{Actor, Scene, scene};
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
