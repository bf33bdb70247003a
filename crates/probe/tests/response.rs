//! How long servers take to answer, against what the servers themselves took.
#![allow(clippy::unwrap_used)]

mod support;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use support::*;

/// Both stamps are cut to the kernel's ticks, of 10 ms at most.
const TICKS_US: u64 = 10_000;
const THINK: Duration = Duration::from_millis(60);

/// Answers one byte with another after thinking; gives how long it took between the two.
fn answer(stream: &mut TcpStream) -> u64 {
    let mut byte = [0];
    stream.read_exact(&mut byte).unwrap();
    let began = Instant::now();
    thread::sleep(THINK);
    stream.write_all(&byte).unwrap();
    began.elapsed().as_micros() as u64
}

fn ask(stream: &mut TcpStream) {
    stream.write_all(&[1]).unwrap();
    stream.read_exact(&mut [0]).unwrap();
}

fn assert_about(counted_us: u64, took_us: u64, answers: u64) {
    let slack = answers * TICKS_US;
    assert!(counted_us.abs_diff(took_us) <= slack, "{counted_us} us counted, {took_us} us taken by {answers} answers");
}

#[test]
fn the_last_answer_of_each_connection_and_of_each_pass_is_timed() {
    let net = Net::new();
    let mut probe = net.probe();
    let listener = net.server.run(|| TcpListener::bind(addr(SERVER4, 80)).unwrap());
    let connect = || net.client.run(|| TcpStream::connect(addr(SERVER4, 80)).unwrap());
    let mut took_us = 0;
    for _ in 0..5 {
        let mut client = connect();
        let asking = thread::spawn(move || ask(&mut client));
        took_us += answer(&mut listener.accept().unwrap().0);
        asking.join().unwrap();
    }
    let pass = read_until(&mut probe, "5 closes", |pass| net.server_sum(pass, 80).closes == 5);
    let short = net.server_sum(&pass, 80);
    assert_eq!((short.responses, net.client_sum(&pass, 80).responses), (5, 0), "{short:?}");
    assert_about(short.response_us, took_us, 5);

    let mut client = connect();
    let mut server = listener.accept().unwrap().0;
    for exchange in 1..=3 {
        let mut asked = client.try_clone().unwrap();
        let asking = thread::spawn(move || ask(&mut asked));
        took_us += answer(&mut server);
        asking.join().unwrap();
        let pass = read_until(&mut probe, "the answer", |pass| net.server_sum(pass, 80).responses == 5 + exchange);
        assert_about(net.server_sum(&pass, 80).response_us, took_us, 5 + exchange);
    }
    let before = net.server_sum(&probe.read(0).unwrap(), 80);

    // What nobody asked for is no answer, however long ago the last request came.
    server.write_all(&[1; 100]).unwrap();
    client.read_exact(&mut [0; 100]).unwrap();
    // Nor is a request that nobody has answered yet; a tick later, so that the kernel's stamps can tell which came first.
    thread::sleep(Duration::from_micros(2 * TICKS_US));
    client.write_all(&[1; 100]).unwrap();
    server.read_exact(&mut [0; 100]).unwrap();
    let bytes = |pass: &_| (net.server_sum(pass, 80).bytes_sent, net.server_sum(pass, 80).bytes_received);
    let pass = read_until(&mut probe, "8 answers and 100 bytes, 8 requests and 100 bytes", |pass| bytes(pass) == (108, 108));
    let after = net.server_sum(&pass, 80);
    assert_eq!((after.responses, after.response_us), (before.responses, before.response_us));
}
