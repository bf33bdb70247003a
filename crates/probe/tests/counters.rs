//! Bytes, segments and retransmissions against what the test itself wrote and what the namespaces' own counters say.
#![allow(clippy::unwrap_used)]

mod support;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread::{self, JoinHandle};

use support::*;

/// Serves `connections` connections: reads all, answers `answer` bytes, closes.
fn serve(net: &Net, at: SocketAddr, connections: usize, answer: usize) -> JoinHandle<u64> {
    let listener = net.server.run(move || TcpListener::bind(at).unwrap());
    thread::spawn(move || {
        let mut received = 0;
        for stream in listener.incoming().take(connections) {
            let mut stream = stream.unwrap();
            let mut sink = Vec::new();
            received += stream.read_to_end(&mut sink).unwrap() as u64;
            stream.write_all(&vec![7; answer]).unwrap();
        }
        received
    })
}

fn ask(net: &Net, at: SocketAddr, question: usize) -> u64 {
    net.client.run(move || {
        let mut stream = TcpStream::connect(at).unwrap();
        stream.write_all(&vec![3; question]).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap() as u64
    })
}

#[test]
fn bytes_are_exact_at_both_ends_after_close() {
    let net = Net::new();
    let mut probe = net.probe();
    for (ip, port) in [(SERVER4, 4000), (SERVER6, 6000)] {
        let server = serve(&net, addr(ip, port), 5, 70_001);
        for size in [0, 1, 1447, 1_000_000, 33] {
            assert_eq!(ask(&net, addr(ip, port), size), 70_001);
        }
        assert_eq!(server.join().unwrap(), 1_001_481);
        let pass = read_until(&mut probe, "10 closes", |pass| net.client_sum(pass, port).closes == 5 && net.server_sum(pass, port).closes == 5);
        let (client, server) = (net.client_sum(&pass, port), net.server_sum(&pass, port));
        assert_eq!((client.bytes_sent, client.bytes_received), (1_001_481, 350_005), "client over {ip}");
        assert_eq!((server.bytes_sent, server.bytes_received), (350_005, 1_001_481), "server over {ip}");
        assert_eq!(client.segs_sent, server.segs_received);
        assert_eq!(server.segs_sent, client.segs_received);
        assert_eq!((client.connect_attempts, client.connect_established, server.accepts), (5, 5, 5));
        assert_eq!(pass.losses, Default::default());
    }
}
