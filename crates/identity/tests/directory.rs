//! The directory over time: reuse of addresses, lists that come late or twice, silence, restarts.

use edgescope_identity::address::to_bytes;
use edgescope_identity::directory::{Directory, End, Limits, Span};
use edgescope_identity::resolve::{Awaited, awaited};
use edgescope_identity::rules::{Match, Rule, Rules};
use edgescope_model::wire::{Batch, Endpoint, Observation, Owner, Role};
use proptest::prelude::*;
use std::net::IpAddr;

const SECOND_US: i64 = 1_000_000;

fn ip(last: u8) -> IpAddr {
    [10, 0, 0, last].into()
}

fn window(start_s: i64) -> Span {
    Span { from_us: start_s * SECOND_US, to_us: (start_s + 10) * SECOND_US }
}

/// `(address, port, owner, from_s, to_s, shared)`
type Held = (IpAddr, u32, &'static str, i64, i64, bool);

fn list(directory: &mut Directory, agent: &str, at_s: i64, held: &[Held]) {
    let owners: Vec<Owner> = held.iter().map(|h| Owner { workload: h.2.to_owned(), ..Owner::default() }).collect();
    let endpoints: Vec<Endpoint> = held
        .iter()
        .enumerate()
        .map(|(at, h)| Endpoint {
            address: to_bytes(h.0),
            port: h.1,
            owner: at as u32,
            from_us: h.3 * SECOND_US,
            to_us: h.4 * SECOND_US,
            shared: h.5,
        })
        .collect();
    directory.list(agent, &owners, &endpoints, at_s * SECOND_US);
}

fn directory() -> Directory {
    Directory::new(Limits::default(), Rules::default())
}

fn name(directory: &Directory, address: IpAddr, port: Option<u16>, start_s: i64) -> (String, bool) {
    let found = directory.find("asker", End { address, port }, window(start_s));
    (found.dims.workload.clone(), found.owned)
}

#[test]
fn a_reused_address_never_inherits_the_old_name() {
    let mut directory = directory();
    list(&mut directory, "n1", 10, &[(ip(5), 0, "cart", 0, 0, false)]);
    list(&mut directory, "n1", 20, &[(ip(9), 0, "other", 0, 0, false)]);
    list(&mut directory, "n2", 50, &[(ip(5), 0, "ads", 40, 0, false)]);
    assert_eq!(name(&directory, ip(5), None, 0), ("cart".into(), true));
    assert_eq!(name(&directory, ip(5), None, 20), ("10.0.0.5".into(), false), "between the two nobody has it");
    assert_eq!(name(&directory, ip(5), None, 40), ("ads".into(), true));
    assert_eq!(name(&directory, ip(5), None, 9_000), ("10.0.0.5".into(), false), "n2 has been silent for over an hour");
}

#[test]
fn an_address_that_moves_within_a_window_goes_to_the_newcomer() {
    let mut directory = directory();
    list(&mut directory, "n1", 10, &[(ip(5), 0, "cart", 0, 0, false)]);
    list(&mut directory, "n1", 20, &[(ip(5), 0, "cart", 0, 14, false)]);
    list(&mut directory, "n2", 20, &[(ip(5), 0, "ads", 15, 0, false)]);
    assert_eq!(name(&directory, ip(5), None, 10).0, "ads");
    assert_eq!(directory.find("n1", End { address: ip(5), port: None }, window(10)).dims.workload, "ads", "also for the agent that gave it up");
}

#[test]
fn a_shared_address_is_named_by_its_port_only() {
    let mut directory = directory();
    list(&mut directory, "n1", 10, &[(ip(5), 0, "node-1", 0, 0, true), (ip(5), 80, "web", 0, 0, false), (ip(5), 5432, "db", 0, 0, false)]);
    assert_eq!(name(&directory, ip(5), Some(80), 0), ("web".into(), true));
    assert_eq!(name(&directory, ip(5), Some(5432), 0), ("db".into(), true));
    let client = directory.find("asker", End { address: ip(5), port: None }, window(0));
    assert!(client.owned && !client.named && client.dims.workload == "node-1");
    // Only ports are claimed: the agent sees a part of the node, and does not speak for the rest.
    list(&mut directory, "n2", 10, &[(ip(6), 80, "web", 0, 0, false)]);
    assert_eq!(name(&directory, ip(6), None, 0), ("10.0.0.6".into(), false));
    assert_eq!(name(&directory, ip(6), Some(80), 0), ("web".into(), true));
}

#[test]
fn an_address_that_every_node_has_is_the_askers_own() {
    let mut directory = directory();
    let bridge: IpAddr = [172, 17, 0, 1].into();
    let loopback: IpAddr = [127, 0, 0, 1].into();
    list(&mut directory, "asker", 10, &[(bridge, 0, "mine", 0, 0, false), (loopback, 80, "my-web", 0, 0, false)]);
    list(&mut directory, "n2", 10, &[(bridge, 0, "theirs", 5, 0, false), (loopback, 81, "their-web", 5, 0, false)]);
    assert_eq!(name(&directory, bridge, None, 0).0, "mine");
    assert_eq!(name(&directory, loopback, Some(80), 0).0, "my-web");
    assert_eq!(name(&directory, loopback, Some(81), 0), ("loopback".into(), false));
}

#[test]
fn an_unchanged_agent_need_not_repeat_its_list() {
    let mut directory = directory();
    list(&mut directory, "n1", 10, &[(ip(5), 0, "cart", 0, 0, false)]);
    directory.list_of_batch(&Batch { agent_id: "n1".into(), window_end_us: 100_000 * SECOND_US, ..Batch::default() });
    assert_eq!(name(&directory, ip(5), None, 100_000).0, "cart");
}

#[test]
fn static_rules_name_far_ends_that_no_agent_owns() {
    let rule = Rule {
        when: Match { cidr: Some("10.9.0.0/16".parse().unwrap()), port: Some(5432), ..Match::default() },
        workload: Some("postgres".into()),
        zone: Some("a".into()),
        ..Rule::default()
    };
    let directory = Directory::new(Limits::default(), Rules::new(vec![rule]).unwrap());
    let end = End { address: [10, 9, 0, 1].into(), port: Some(5432) };
    let found = directory.find("asker", end, window(0));
    assert_eq!(
        (found.dims.workload.as_str(), found.dims.zone.as_str(), found.dims.resolution_type.as_str(), found.owned),
        ("postgres", "a", "rule", false)
    );
    assert!(directory.knows("asker", end, window(0)));
}

#[test]
fn closed_claims_linger_then_go_and_bounds_are_counted() {
    let limits = Limits { claims_max: 3, claims_per_address_max: 2, linger_us: 100 * SECOND_US, ..Limits::default() };
    let mut directory = Directory::new(limits, Rules::default());
    list(&mut directory, "n1", 10, &[(ip(5), 0, "a", 0, 0, false), (ip(5), 1, "b", 0, 0, false), (ip(5), 2, "c", 0, 0, false)]);
    assert_eq!((directory.len(), directory.counters().claims_dropped), (2, 1));
    list(&mut directory, "n1", 20, &[(ip(6), 0, "d", 0, 0, false), (ip(7), 0, "e", 0, 0, false)]);
    assert_eq!((directory.len(), directory.counters().claims_dropped), (3, 2));
    directory.expire(109 * SECOND_US);
    assert_eq!(name(&directory, ip(5), None, 0).0, "a");
    directory.expire(111 * SECOND_US);
    assert_eq!((directory.len(), directory.counters().claims_expired), (1, 2));
}

#[test]
fn what_was_stored_comes_back_with_its_times() {
    let mut first = directory();
    list(&mut first, "n1", 10, &[(ip(5), 0, "cart", 0, 0, false), (ip(6), 0, "web", 0, 0, false)]);
    let mut stored = first.take_changed();
    assert_eq!((stored.len(), first.take_changed().len()), (2, 0));
    list(&mut first, "n1", 20, &[(ip(6), 0, "web", 0, 0, false)]);
    let closed = first.take_changed();
    assert_eq!(closed.iter().map(|c| (c.address, c.open)).collect::<Vec<_>>(), [(ip(5), false)]);
    stored.retain(|c| c.address != ip(5));
    stored.extend(closed);
    let mut second = directory();
    second.restore(stored, 90_000 * SECOND_US);
    for start_s in [0, 30] {
        assert_eq!(name(&second, ip(5), None, start_s), name(&first, ip(5), None, start_s), "{start_s}");
        assert_eq!(name(&second, ip(6), None, start_s), name(&first, ip(6), None, start_s));
    }
    assert_eq!(name(&second, ip(6), None, 90_000).0, "web");
}

#[test]
fn an_address_that_comes_back_was_nobodys_meanwhile() {
    let mut directory = directory();
    list(&mut directory, "n1", 10, &[(ip(5), 0, "cart", 0, 0, false)]);
    list(&mut directory, "n1", 20, &[(ip(9), 0, "other", 0, 0, false)]);
    list(&mut directory, "n1", 100, &[(ip(5), 0, "cart", 90, 0, false)]);
    assert_eq!(name(&directory, ip(5), None, 0), ("cart".into(), true));
    assert_eq!(name(&directory, ip(5), None, 50), ("10.0.0.5".into(), false));
    assert_eq!(name(&directory, ip(5), None, 90), ("cart".into(), true));
    // An agent that was started anew held its addresses all along.
    list(&mut directory, "n1", 200, &[(ip(5), 0, "cart", 195, 0, false)]);
    assert_eq!((directory.len(), name(&directory, ip(5), None, 150)), (3, ("cart".into(), true)));
    // What comes and goes all the time does not fill the directory.
    for n in 0..100 {
        list(&mut directory, "n1", 300 + 20 * n, &[(ip(9), 0, "other", 0, 0, false)]);
        list(&mut directory, "n1", 310 + 20 * n, &[(ip(5), 0, "cart", 305 + 20 * n, 0, false)]);
    }
    assert_eq!((directory.len(), name(&directory, ip(5), None, 2_290)), (17, ("cart".into(), true)));
}

#[test]
fn the_claims_of_a_dead_agent_are_closed_and_the_agent_forgotten() {
    const HOUR_S: i64 = 3_600;
    let mut first = Directory::new(Limits { agents_max: 1, ..Limits::default() }, Rules::default());
    list(&mut first, "n1", 10, &[(ip(5), 0, "cart", 0, 0, false)]);
    first.take_changed();
    first.expire((HOUR_S + 9) * SECOND_US);
    assert!(first.take_changed().is_empty(), "it may still speak");
    first.expire((HOUR_S + 10) * SECOND_US);
    let closed = first.take_changed();
    assert_eq!(closed.iter().map(|c| (c.open, c.until_us)).collect::<Vec<_>>(), [(false, (HOUR_S + 10) * SECOND_US)]);
    // Whoever starts from the table does not revive it, and closes nothing anew.
    let mut second = directory();
    second.restore(closed, 2 * HOUR_S * SECOND_US);
    assert_eq!(name(&second, ip(5), None, 2 * HOUR_S), ("10.0.0.5".into(), false));
    assert_eq!(name(&second, ip(5), None, HOUR_S), ("cart".into(), true));
    // It may come back, and is open again in the table too.
    list(&mut second, "n1", 3 * HOUR_S, &[(ip(5), 0, "cart", 0, 0, false)]);
    assert_eq!(second.take_changed().iter().map(|c| (c.open, c.from_us)).collect::<Vec<_>>(), [(true, 0)]);
    // With its last claim it makes room for others.
    list(&mut first, "n2", 10, &[(ip(6), 0, "web", 0, 0, false)]);
    assert_eq!((first.agents(), first.counters().claims_dropped), (1, 1));
    first.expire((26 * HOUR_S) * SECOND_US);
    assert_eq!((first.agents(), first.len()), (0, 0));
    list(&mut first, "n2", 26 * HOUR_S, &[(ip(6), 0, "web", 0, 0, false)]);
    assert_eq!(name(&first, ip(6), None, 26 * HOUR_S).0, "web");
}

#[test]
fn private_strangers_may_be_waited_for_public_ones_not() {
    let mut directory = directory();
    list(&mut directory, "n1", 10, &[(ip(5), 0, "cart", 0, 0, false)]);
    let talk = |remote: IpAddr| Observation {
        local_address: to_bytes(ip(1)),
        remote_address: to_bytes(remote),
        service_port: 80,
        role: Role::Client.into(),
        ..Observation::default()
    };
    let observations = [ip(5), ip(7), ip(7), [8, 8, 8, 8].into(), [127, 0, 0, 1].into()].map(talk).to_vec();
    let batch = Batch { agent_id: "n2".into(), window_start_us: 0, window_end_us: 10 * SECOND_US, observations, ..Batch::default() };
    assert_eq!(awaited(&batch, &directory), [Awaited::Far { observation: 1, address: ip(7) }]);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// The same lists in any order, some twice, make the same directory.
    #[test]
    fn order_and_repetition_do_not_matter(order in Just((0..12usize).collect::<Vec<_>>()).prop_shuffle(), again in prop::collection::vec(0..12usize, 0..6)) {
        let lists: Vec<(&str, i64, Vec<Held>)> = (0..12i64).map(|n| {
            let agent = if n % 2 == 0 { "n1" } else { "n2" };
            let address = ip((n / 3) as u8);
            let owner = ["a", "b", "c"][(n % 3) as usize];
            (agent, 10 * (n + 1), vec![(address, 0, owner, 10 * n, 0, false), (ip(100 + (n % 2) as u8), 0, agent, 0, 0, n % 4 == 0)])
        }).collect();
        let build = |order: &[usize]| {
            let mut directory = directory();
            for &at in order {
                list(&mut directory, lists[at].0, lists[at].1, &lists[at].2);
            }
            directory
        };
        let straight = build(&(0..12).collect::<Vec<_>>());
        let shuffled = build(&order.iter().chain(&again).copied().collect::<Vec<_>>());
        for address in (0..4).chain([100, 101]).map(ip) {
            for start_s in (0..130).step_by(5) {
                prop_assert_eq!(name(&straight, address, None, start_s), name(&shuffled, address, None, start_s), "{} at {}", address, start_s);
            }
        }
    }
}

#[test]
fn a_name_and_the_lack_of_one_are_explained() {
    let mut directory = directory();
    list(&mut directory, "n1", 10, &[(ip(5), 0, "cart", 0, 0, false), (ip(7), 0, "n1", 0, 0, true), (ip(7), 53, "dns", 0, 0, false)]);
    list(&mut directory, "n1", 100, &[(ip(5), 0, "cart", 0, 60, false), (ip(7), 0, "n1", 0, 0, true), (ip(7), 53, "dns", 0, 0, false)]);
    list(&mut directory, "n2", 120, &[(ip(5), 0, "ads", 110, 0, false)]);
    let why = |address: &str, port, at_s: i64| {
        let (found, reason, claims) = directory.explain(End { address: address.parse().unwrap(), port }, at_s * SECOND_US);
        (found.dims.workload.clone(), reason, claims.iter().map(|claim| (claim.owner.workload.clone(), claim.open)).collect::<Vec<_>>())
    };
    let both = vec![("ads".to_owned(), true), ("cart".to_owned(), false)];
    let (name, reason, claims) = why("10.0.0.5", None, 20);
    assert_eq!((name.as_str(), &claims), ("cart", &both), "{reason}");
    assert!(reason.starts_with("agent n1 holds the address"), "{reason}");
    let (name, reason, claims) = why("10.0.0.5", None, 130);
    assert_eq!((name.as_str(), &claims), ("ads", &both), "{reason}");
    assert!(reason.starts_with("agent n2 "), "{reason}");
    // The port tells who shares an address; without it the remedy is told.
    assert_eq!(why("10.0.0.7", Some(53), 130).0, "dns");
    let (_, reason, _) = why("10.0.0.7", None, 130);
    assert!(reason.contains("ask for 10.0.0.7:PORT"), "{reason}");
    for (address, words) in [
        ("10.0.0.9", "has ever held it and no rule names it"),
        ("198.51.100.7", "grouped by their prefix"),
        ("127.0.0.1", "loopback"),
        ("fe80::1", "link-local"),
        ("::", "unspecified"),
    ] {
        let (_, reason, claims) = why(address, None, 130);
        assert!(reason.contains(words) && claims.is_empty(), "{address}: {reason}");
    }
    let (name, reason, _) = why("10.0.0.5", None, 105);
    assert_eq!(name, "10.0.0.5");
    assert!(reason.contains("no agent held it"), "{reason}");
}
