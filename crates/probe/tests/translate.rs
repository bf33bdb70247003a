//! Sockets that talk to an address which stands for several ends count by connection until their translation is known, and under their real far end from then on.
#![allow(clippy::unwrap_used)]

mod support;

use edgescope_probe::{FlowReading, Pass, Protocol, RealEnd, Role, SocketSide};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};
use support::{CLIENT4, Net, SERVER4, addr, read_until};

const PORT: u16 = 80;

fn exchange(client: &mut TcpStream, server: &mut TcpStream, bytes: usize) {
    client.write_all(&vec![1; bytes]).unwrap();
    server.read_exact(&mut vec![0; bytes]).unwrap();
}

fn of(pass: &Pass, net: &Net, role: Role) -> Vec<FlowReading> {
    let inode = if role == Role::Client { net.client.inode } else { net.server.inode };
    pass.flows
        .iter()
        .filter(|flow| flow.key.netns == inode && flow.key.role == role && flow.counters.connect_attempts + flow.counters.accepts > 0)
        .cloned()
        .collect()
}

#[test]
fn a_translation_counts_from_when_it_is_known() {
    let net = Net::new();
    let mut probe = net.probe();
    let translator = probe.translator().unwrap();
    probe.set_nat(true).unwrap();
    let (virtual_end, client_end) = (addr(SERVER4, PORT), addr(CLIENT4, 0).ip());
    assert!(translator.put_address(virtual_end.ip(), true, false).unwrap());
    let listener = net.server.run(move || TcpListener::bind(virtual_end).unwrap());
    let connect = || net.client.run(move || TcpStream::connect(virtual_end).unwrap());
    let pair = || {
        let client = connect();
        (client, listener.accept().unwrap().0)
    };
    let sum = |flows: &[FlowReading]| flows.iter().map(|flow| flow.counters.bytes_sent).sum::<u64>();
    // Not known yet: by connection.
    let (mut client, mut server) = pair();
    exchange(&mut client, &mut server, 100);
    let port = client.local_addr().unwrap().port();
    let pass = read_until(&mut probe, "the bytes", |pass| sum(&of(pass, &net, Role::Client)) == 100);
    let [flow] = of(&pass, &net, Role::Client).try_into().unwrap();
    assert_eq!((flow.key.remote, flow.key.service_port, flow.key.client_port, flow.key.masked), (virtual_end.ip(), PORT, port, false));
    // Known: under its real end, which another connection of the same two does not take over.
    let side = SocketSide { role: Role::Client, protocol: Protocol::Tcp, client: SocketAddr::new(client_end, port), server: virtual_end };
    let real = RealEnd { address: "10.99.0.7".parse().unwrap(), service_port: 8_080, masked: true };
    assert!(translator.put(&side, &real).unwrap());
    exchange(&mut client, &mut server, 50);
    let (mut other, mut others_server) = pair();
    exchange(&mut other, &mut others_server, 7);
    let bytes_to = |pass: &Pass, port: u16| -> u64 {
        pass.flows.iter().filter(|flow| flow.key.role == Role::Client && flow.key.service_port == port).map(|flow| flow.counters.bytes_sent).sum()
    };
    let pass = read_until(&mut probe, "the bytes", |pass| (bytes_to(pass, 8_080), bytes_to(pass, PORT)) == (50, 107));
    let translated = pass.flows.iter().find(|flow| flow.key.service_port == 8_080).unwrap();
    assert_eq!((translated.key.remote, translated.key.client_port, translated.key.masked), (real.address, 0, true));
    // Taken out again, and nothing more is looked up: under what the socket talks to.
    translator.remove(&side).unwrap();
    translator.clear().unwrap();
    probe.set_nat(false).unwrap();
    exchange(&mut client, &mut server, 3);
    let plain = |pass: &Pass| {
        pass.flows
            .iter()
            .any(|flow| flow.key.role == Role::Client && flow.key.service_port == PORT && flow.key.client_port == 0 && flow.counters.bytes_sent == 3)
    };
    read_until(&mut probe, "the bytes", plain);
}

/// Whether an address is a virtual one is heard of after its first connections, which may be over by then.
#[test]
fn the_first_connections_to_an_address_are_kept_apart() {
    let net = Net::new();
    let mut probe = net.probe();
    probe.set_nat(true).unwrap();
    let far = addr(SERVER4, PORT);
    let listener = net.server.run(move || TcpListener::bind(far).unwrap());
    let talk = |bytes: usize| {
        let mut client = net.client.run(move || TcpStream::connect(far).unwrap());
        exchange(&mut client, &mut listener.accept().unwrap().0, bytes);
        client.local_addr().unwrap().port()
    };
    let ports = [talk(100), talk(70)];
    let sent_by = |pass: &Pass, port: u16| -> u64 {
        let flows = pass.flows.iter().filter(|flow| flow.key.role == Role::Client && flow.key.client_port == port);
        flows.map(|flow| flow.counters.bytes_sent).sum()
    };
    let pass = read_until(&mut probe, "the bytes", |pass| ports.map(|port| sent_by(pass, port)) == [100, 70]);
    assert_eq!(sent_by(&pass, 0), 0);
    let at_server = of(&pass, &net, Role::Server).iter().map(|flow| flow.key.client_port).collect::<Vec<_>>();
    assert!(ports.iter().all(|port| at_server.contains(port)), "the client's address is new to the server as well: {at_server:?}");
    // It is as known as it will be after some seconds: then one flow is enough.
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        talk(1);
        let pass = probe.read(1).unwrap();
        if sent_by(&pass, 0) > 0 {
            break;
        }
        assert!(Instant::now() < deadline, "still new: {:?}", pass.flows.iter().map(|flow| flow.key).collect::<Vec<_>>());
        std::thread::sleep(Duration::from_millis(100));
    }
}
