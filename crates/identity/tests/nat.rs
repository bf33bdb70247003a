//! Translation undone: pairs with times, and both ends' observations on one edge, each byte counted once.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by its panic")]

use edgescope_identity::directory::Span;
use edgescope_identity::nat::{Answer, Connection, Door, Far, Seen, Table, Translation, View};
use std::net::IpAddr;

const WINDOW: Span = Span { from_us: 100, to_us: 200 };

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn connection(client: (&str, u16), server: (&str, u16)) -> Connection {
    Connection { client: Door::new(ip(client.0), client.1), server: Door::new(ip(server.0), server.1), is_udp: false }
}

fn translation(original: Connection, translated: Connection) -> Translation {
    Translation { original, translated }
}

/// A service address `10.96.0.1:80` with the backends `10.2.0.n:8080`.
fn to_backend(client_port: u16, backend: &str) -> Translation {
    let client = ("10.1.0.2", client_port);
    translation(connection(client, ("10.96.0.1", 80)), connection(client, (backend, 8080)))
}

fn seen(local: &str, remote: &str, service_port: u16, client_port: u16, is_server: bool) -> Seen {
    Seen { local: ip(local), remote: ip(remote), service_port, client_port, is_server, is_udp: false, is_masked: false }
}

fn far(table: &Table, seen: Seen) -> Far {
    View::new(table, WINDOW).far(&seen)
}

#[test]
fn a_service_address_is_its_backend_by_connection_and_in_common() {
    let mut table = Table::new(100);
    table.open(to_backend(40_001, "10.2.0.3"), 1, 0, true);
    let of_one = far(&table, seen("10.1.0.2", "10.96.0.1", 80, 40_001, false));
    let real = |remote| Far { remote: ip(remote), service_port: 8080, client_seen_as: None, is_ambiguous: false, is_found: true };
    assert_eq!(of_one, real("10.2.0.3"));
    assert_eq!(far(&table, seen("10.1.0.2", "10.96.0.1", 80, 0, false)), real("10.2.0.3"), "all went to one");
    table.open(to_backend(40_002, "10.2.0.4"), 1, 0, true);
    assert_eq!(far(&table, seen("10.1.0.2", "10.96.0.1", 80, 40_002, false)), real("10.2.0.4"));
    let several = far(&table, seen("10.1.0.2", "10.96.0.1", 80, 0, false));
    assert!(several.is_ambiguous && several.remote == ip("10.96.0.1") && several.service_port == 80, "{several:?}");
    // Another client, another port, another window.
    for other in [seen("10.1.0.9", "10.96.0.1", 80, 40_001, false), seen("10.1.0.2", "10.96.0.1", 81, 0, false)] {
        assert_eq!(far(&table, other).remote, ip("10.96.0.1"));
    }
    table.close(&to_backend(40_002, "10.2.0.4"), 100);
    assert_eq!(far(&table, seen("10.1.0.2", "10.96.0.1", 80, 0, false)), real("10.2.0.3"), "the other one had ended");
}

#[test]
fn a_masked_client_is_known_at_both_ends() {
    let mut table = Table::new(100);
    let original = connection(("10.1.0.2", 40_000), ("10.9.0.1", 5432));
    table.open(translation(original, connection(("192.0.2.1", 61_000), ("10.9.0.1", 5432))), 1, 0, true);
    let client = far(&table, seen("10.1.0.2", "10.9.0.1", 5432, 0, false));
    assert_eq!((client.remote, client.client_seen_as), (ip("10.9.0.1"), Some(ip("192.0.2.1"))));
    let server = far(&table, seen("10.9.0.1", "192.0.2.1", 5432, 61_000, true));
    assert_eq!((server.remote, server.client_seen_as, server.is_found), (ip("10.1.0.2"), Some(ip("192.0.2.1")), true));
    // The node's own connections stay its own; those that are not kept apart may be either's.
    assert_eq!(far(&table, seen("10.9.0.1", "192.0.2.1", 5432, 61_001, true)).remote, ip("192.0.2.1"));
    assert!(far(&table, seen("10.9.0.1", "192.0.2.1", 5432, 0, true)).is_ambiguous);
}

#[test]
fn a_hairpin_is_both_and_a_chain_is_followed() {
    let mut table = Table::new(100);
    // A pod reaches itself by its service.
    let original = connection(("10.1.0.2", 40_000), ("10.96.0.1", 80));
    let translated = connection(("10.1.0.1", 52_000), ("10.1.0.2", 8080));
    table.open(translation(original, translated), 1, 0, true);
    let client = far(&table, seen("10.1.0.2", "10.96.0.1", 80, 40_000, false));
    assert_eq!((client.remote, client.service_port, client.client_seen_as), (ip("10.1.0.2"), 8080, Some(ip("10.1.0.1"))));
    assert_eq!(far(&table, seen("10.1.0.2", "10.1.0.1", 8080, 52_000, true)).remote, ip("10.1.0.2"));
    // The kernel side knew it already: the mask alone is asked for.
    let known = Seen { is_masked: true, ..seen("10.1.0.2", "10.1.0.2", 8080, 0, false) };
    assert_eq!(far(&table, known).client_seen_as, Some(ip("10.1.0.1")));
    assert_eq!(far(&table, Seen { is_server: true, ..known }).client_seen_as, Some(ip("10.1.0.1")));
    // A direct connection of the same two is not masked.
    assert_eq!(far(&table, Seen { is_masked: false, ..known }).client_seen_as, None);
    // Its translated form is translated again, elsewhere.
    let further = connection(("192.0.2.1", 700), ("10.1.0.2", 8080));
    table.open(translation(translated, further), 2, 0, true);
    assert_eq!(table.forward(original, WINDOW), Answer::One(further));
    assert_eq!(table.backward(further, WINDOW), Answer::One(original));
    // In a circle nobody goes round for ever.
    table.open(translation(further, original), 3, 0, true);
    assert!(matches!(table.forward(original, WINDOW), Answer::One(_) | Answer::Same));
}

#[test]
fn a_reused_port_has_the_translation_of_its_time() {
    let mut table = Table::new(100);
    table.open(to_backend(40_000, "10.2.0.3"), 1, 0, true);
    table.close(&to_backend(40_000, "10.2.0.3"), 150);
    table.open(to_backend(40_000, "10.2.0.4"), 1, 200, true);
    let original = to_backend(40_000, "10.2.0.3").original;
    assert_eq!(table.forward(original, WINDOW), Answer::One(to_backend(40_000, "10.2.0.3").translated));
    assert_eq!(table.forward(original, Span { from_us: 200, to_us: 300 }), Answer::One(to_backend(40_000, "10.2.0.4").translated));
    assert_eq!(table.forward(original, Span { from_us: 100, to_us: 300 }), Answer::Several);
    table.expire(201);
    assert_eq!(table.len(), 1);
    assert_eq!(table.forward(original, WINDOW), Answer::Same);
}

#[test]
fn what_a_list_lacks_has_ended_and_what_finds_no_room_is_counted() {
    let mut table = Table::new(16);
    table.open(to_backend(1, "10.2.0.3"), 1, 0, true);
    table.open(to_backend(2, "10.2.0.3"), 1, 0, true);
    table.open(to_backend(3, "10.2.0.3"), 2, 0, true);
    table.begin_list(1);
    table.open(to_backend(2, "10.2.0.3"), 1, 50, true);
    table.end_list(1, 60);
    let live = |table: &Table| table.of_window(WINDOW).map(|held| held.original.client.port).collect::<std::collections::BTreeSet<_>>();
    assert_eq!(live(&table), [2, 3].into());
    table.leave(2, 70);
    assert_eq!(live(&table), [2].into());
    for port in 10..40 {
        table.open(to_backend(port, "10.2.0.3"), 1, i64::from(port), true);
    }
    assert!(table.len() <= 16 && table.evicted() == 33 - table.len() as u64, "{} held, {} evicted", table.len(), table.evicted());
    assert!(live(&table).contains(&39), "the newest are kept");
    assert_eq!(table.forward(to_backend(3, "10.2.0.3").original, Span { from_us: 0, to_us: 200 }), Answer::Same, "what had ended went first");
}

#[test]
fn the_wire_form_goes_both_ways_and_nonsense_is_none() {
    let masked = translation(connection(("fd00::2", 1), ("fd00::9", 2)), connection(("2001:db8::1", 3), ("fd00::9", 2)));
    for whole in [to_backend(40_000, "10.2.0.3"), masked] {
        let told = whole.to_wire();
        assert_eq!(Translation::of_wire(&told), Some(whole));
        assert_eq!(told.seen_client_address.is_empty(), !whole.is_masked());
    }
    let sound = to_backend(40_000, "10.2.0.3").to_wire();
    let broken: [fn(&mut edgescope_model::wire::Translation); 5] = [
        |told| told.protocol = 0,
        |told| told.client_port = 70_000,
        |told| told.server_address = vec![1, 2, 3],
        |told| told.real_server_address.clear(),
        |told| told.real_server_port = u32::MAX,
    ];
    for spoil in broken {
        let mut told = sound.clone();
        spoil(&mut told);
        assert_eq!(Translation::of_wire(&told), None, "{told:?}");
    }
}

mod both_ends {
    //! A pod behind a node that masks it, the node's own process, and a server beyond: whatever the server's agent learns of the translation, each byte counts once.

    use edgescope_identity::address::to_bytes;
    use edgescope_identity::directory::{Directory, Limits};
    use edgescope_identity::nat::{Connection, Door, Translation};
    use edgescope_identity::resolve::{Awaited, awaited, resolve};
    use edgescope_identity::rules::Rules;
    use edgescope_model::fact::column_of;
    use edgescope_model::signal::{Side, TCP_BYTES};
    use edgescope_model::wire::{Batch, Endpoint, Measure, Observation, Owner, Protocol, Role};
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use std::net::IpAddr;

    const POD: &str = "10.1.0.2";
    const NODE: &str = "192.168.0.1";
    const SERVER: &str = "10.2.0.3";
    const PORT: u16 = 5432;
    const MASK_PORT: u16 = 61_000;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn batch(agent: &str) -> Batch {
        Batch { agent_id: agent.into(), sequence: 1, window_start_us: 1_000_000, window_end_us: 11_000_000, ..Batch::default() }
    }

    fn own(batch: &mut Batch, workload: &str, address: &str, shared: bool) -> u32 {
        let number = batch.owners.len() as u32;
        batch.owners.push(Owner { workload: workload.into(), ..Owner::default() });
        if !address.is_empty() {
            batch.endpoints.push(Endpoint { address: to_bytes(ip(address)), owner: number, shared, ..Endpoint::default() });
        }
        number
    }

    fn bytes(value: u64) -> Vec<Measure> {
        vec![Measure { signal: TCP_BYTES.id.into(), value, ..Measure::default() }]
    }

    fn seen(owner: u32, local: &str, remote: &str, role: Role, sent: u64, received: u64) -> Observation {
        Observation {
            owner,
            local_address: to_bytes(ip(local)),
            remote_address: to_bytes(ip(remote)),
            service_port: PORT.into(),
            role: role.into(),
            protocol: Protocol::Tcp.into(),
            sent: bytes(sent),
            received: bytes(received),
            ..Observation::default()
        }
    }

    #[derive(Debug, Clone, Copy)]
    struct World {
        node_is_shared: bool,
        server_has_agent: bool,
        is_told: bool,
        is_apart: bool,
        masked: (u64, u64),
        direct: (u64, u64),
        of_node: (u64, u64),
    }

    fn worlds() -> impl Strategy<Value = World> {
        let talk = || (1..1_000u64, 1..1_000u64);
        (any::<[bool; 4]>(), talk(), talk(), talk()).prop_map(|(flags, masked, direct, of_node)| World {
            node_is_shared: flags[0],
            server_has_agent: flags[1],
            is_told: flags[2],
            is_apart: flags[3],
            masked,
            direct,
            of_node,
        })
    }

    fn translation() -> Translation {
        let server = Door::new(ip(SERVER), PORT);
        let form = |client| Connection { client, server, is_udp: false };
        Translation { original: form(Door::new(ip(POD), 40_000)), translated: form(Door::new(ip(NODE), MASK_PORT)) }
    }

    fn batches(world: &World) -> Vec<Batch> {
        let mut inside = batch("inside");
        let pod = own(&mut inside, "pod", POD, false);
        let node = own(&mut inside, if world.node_is_shared { "host" } else { "proxy" }, NODE, world.node_is_shared);
        let proxy = if world.node_is_shared { own(&mut inside, "proxy", "", false) } else { node };
        let mask = to_bytes(ip(NODE));
        let masked = seen(pod, POD, SERVER, Role::Client, world.masked.0, world.masked.1);
        inside.observations.push(Observation { client_seen_as: mask, ..masked });
        inside.observations.push(seen(pod, POD, SERVER, Role::Client, world.direct.0, world.direct.1));
        inside.observations.push(seen(proxy, NODE, SERVER, Role::Client, world.of_node.0, world.of_node.1));
        if world.is_told {
            inside.translations.push(translation().to_wire());
        }
        let mut outside = batch("outside");
        let server = own(&mut outside, "server", SERVER, false);
        let apart = |port: u16| if world.is_apart { port.into() } else { 0 };
        for (remote, client_port, (there, back)) in
            [(NODE, apart(MASK_PORT), world.masked), (NODE, apart(50_000), world.of_node), (POD, 0, world.direct)]
        {
            outside.observations.push(Observation { client_port, ..seen(server, SERVER, remote, Role::Server, back, there) });
        }
        if world.server_has_agent { vec![inside, outside] } else { vec![inside] }
    }

    fn sums(batches: &[Batch], directory: &Directory, side: Side) -> BTreeMap<(String, String), u64> {
        let column = column_of(&TCP_BYTES, side).unwrap();
        let mut sums = BTreeMap::new();
        for row in batches.iter().flat_map(|batch| resolve(batch, directory).rows) {
            *sums.entry((row.dims.source.workload.clone(), row.dims.dest.workload.clone())).or_default() += row.value(column).unwrap_or(0);
        }
        sums.retain(|_, bytes| *bytes > 0);
        sums
    }

    proptest! {
        #[test]
        fn each_byte_counts_once(world in worlds()) {
            let batches = batches(&world);
            let mut directory = Directory::new(Limits::default(), Rules::default());
            batches.iter().for_each(|batch| directory.list_of_batch(batch));
            let merged = sums(&batches, &directory, Side::Merged);
            let all = |to_server: bool| -> u64 {
                let server = if world.server_has_agent { "server" } else { SERVER };
                merged.iter().filter(|((_, dest), _)| (dest == server) == to_server).map(|(_, bytes)| bytes).sum()
            };
            let [masked, direct, of_node] = [world.masked, world.direct, world.of_node];
            prop_assert_eq!(all(true), masked.0 + direct.0 + of_node.0, "{:#?}", &merged);
            prop_assert_eq!(all(false), masked.1 + direct.1 + of_node.1, "{:#?}", &merged);
            if world.server_has_agent && world.is_told && world.is_apart {
                let whole: BTreeMap<(String, String), u64> = [
                    ("pod", "server", masked.0 + direct.0), ("server", "pod", masked.1 + direct.1),
                    ("proxy", "server", of_node.0), ("server", "proxy", of_node.1),
                ].map(|(a, b, bytes)| ((a.to_owned(), b.to_owned()), bytes)).into();
                prop_assert_eq!(&merged, &whole);
                if !world.node_is_shared {
                    prop_assert_eq!(sums(&batches, &directory, Side::Sent), whole.clone());
                    prop_assert_eq!(sums(&batches, &directory, Side::Received), whole);
                }
            }
        }
    }

    #[test]
    fn the_servers_agent_keeps_the_mask_apart_and_its_batch_waits_for_the_translators() {
        let world =
            World { node_is_shared: true, server_has_agent: true, is_told: true, is_apart: true, masked: (1, 1), direct: (1, 1), of_node: (1, 1) };
        let [inside, outside] = batches(&world).try_into().unwrap();
        let mut directory = Directory::new(Limits::default(), Rules::default());
        directory.list_of_batch(&outside);
        assert!(directory.apart("outside").is_empty());
        directory.list_of_batch(&inside);
        assert_eq!(directory.apart("outside"), [ip(NODE)]);
        assert!(directory.apart("inside").is_empty(), "it knows itself");
        assert!(awaited(&outside, &directory).is_empty());
        let next = Batch { window_start_us: 11_000_000, window_end_us: 21_000_000, ..outside.clone() };
        assert_eq!(awaited(&next, &directory), [Awaited::Far { observation: 0, address: ip(NODE) }], "the translator has not told of that window");
        directory.list_of_batch(&Batch { window_start_us: 11_000_000, window_end_us: 21_000_000, ..batch("inside") });
        assert!(awaited(&next, &directory).is_empty(), "nothing was translated in it");
        directory.expire(10_000_000_000);
        assert!(directory.apart("outside").is_empty() && directory.translations() == 0);
        let nonsense = edgescope_model::wire::Translation::default();
        directory.list_of_batch(&Batch { translations: vec![nonsense], ..inside });
        assert_eq!(directory.counters().translations_invalid, 1);
    }
}
