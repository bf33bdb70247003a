//! What clients hear and say of names, as it reaches user space: whole, once, and of clients alone.
#![allow(clippy::unwrap_used)]

mod support;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use edgescope_probe::{Heard, Probe, ProbeConfig, Role, Said};
use support::{Net, SERVER4, SERVER6, addr};

const DNS: u16 = 53;
const TLS: u16 = 443;
/// As `ANSWER_BYTES` and `GREETING_BYTES` of bpf/heard.bpf.h.
const ANSWER_BYTES: usize = 1024;
const GREETING_BYTES: usize = 2048;

fn probe_with(net: &Net, change: impl FnOnce(&mut ProbeConfig)) -> Probe {
    let mut config = ProbeConfig { dns: true, http: true, names: true, ..net.config() };
    change(&mut config);
    Probe::load(&config).unwrap()
}

/// A header of DNS, and behind it whatever.
fn message(id: u16, is_answer: bool, code: u8, bytes: usize) -> Vec<u8> {
    let mut message = id.to_be_bytes().to_vec();
    message.extend([if is_answer { 0x81 } else { 1 }, code, 0, 1, 0, 0, 0, 0, 0, 0]);
    message.extend((12..bytes).map(|at| at as u8));
    message
}

/// Both ends of a conversation with a resolver.
struct Talk {
    client: UdpSocket,
    resolver: UdpSocket,
}

impl Talk {
    fn new(net: &Net, at: &'static str) -> Self {
        let resolver = net.server.run(move || UdpSocket::bind(addr(at, DNS)).unwrap());
        let any = if addr(at, DNS).is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let client = net.client.run(move || UdpSocket::bind(any).unwrap());
        client.connect(addr(at, DNS)).unwrap();
        [&client, &resolver].iter().for_each(|end| end.set_read_timeout(Some(Duration::from_secs(5))).unwrap());
        Self { client, resolver }
    }

    fn answered(&self, answer: &[u8]) {
        let mut room = [0; 2048];
        self.client.send(&message(u16::from_be_bytes([answer[0], answer[1]]), false, 0, 20)).unwrap();
        let (_, from) = self.resolver.recv_from(&mut room).unwrap();
        self.resolver.send_to(answer, from).unwrap();
        assert_eq!(self.client.recv(&mut room).unwrap(), answer.len());
    }
}

fn said(heard: &[Heard], said: Said) -> Vec<&Heard> {
    heard.iter().filter(|heard| heard.said == said).collect()
}

#[test]
fn answers_come_whole_to_whom_they_were_told() {
    let net = Net::new();
    let mut probe = probe_with(&net, |_| {});
    for at in [SERVER4, SERVER6] {
        let talk = Talk::new(&net, at);
        let answers = [message(1, true, 0, 90), message(2, true, 3, 40), message(3, true, 0, ANSWER_BYTES + 100)];
        answers.iter().for_each(|answer| talk.answered(answer));
        let heard = probe.heard().unwrap();
        let payloads: Vec<&[u8]> = said(&heard, Said::Answer).iter().map(|heard| &*heard.payload).collect();
        assert_eq!(payloads, [&answers[0], &answers[1], &answers[2][..ANSWER_BYTES]]);
        for heard in &heard {
            assert_eq!((heard.flow.netns, heard.flow.role, heard.flow.service_port), (net.client.inode, Role::Client, DNS));
            assert_eq!(heard.flow.remote, addr(at, DNS).ip());
        }
        assert_eq!(probe.heard().unwrap(), [], "heard twice");
    }
    assert_eq!(probe.read(1).unwrap().losses.names_full, 0);
}

fn greeting(bytes: usize) -> Vec<u8> {
    let mut greeting = vec![22, 3, 1];
    greeting.extend(((bytes - 5) as u16).to_be_bytes());
    greeting.extend((5..bytes).map(|at| at as u8));
    greeting
}

#[test]
fn a_connection_s_first_words_are_passed_on_where_they_are_a_greeting() {
    let net = Net::new();
    let mut probe = probe_with(&net, |_| {});
    let hello = greeting(517);
    for at in [SERVER4, SERVER6] {
        let listener = net.server.run(move || TcpListener::bind(addr(at, TLS)).unwrap());
        // The first greets, then says something that looks like a greeting; the second speaks HTTP, the third greets at length.
        for (first, then) in [(hello.clone(), hello.clone()), (b"GET / HTTP/1.1\r\n\r\n".to_vec(), hello.clone()), (greeting(2500), vec![1])] {
            let mut client = net.client.run(move || TcpStream::connect(addr(at, TLS)).unwrap());
            let (mut server, _) = listener.accept().unwrap();
            for words in [first, then] {
                client.write_all(&words).unwrap();
                server.read_exact(&mut vec![0; words.len()]).unwrap();
            }
        }
        let heard = probe.heard().unwrap();
        let greetings = said(&heard, Said::Greeting);
        assert_eq!((heard.len(), greetings.len()), (2, 2), "{heard:?}");
        assert_eq!(&*greetings[0].payload, hello);
        assert!(greeting(2500).starts_with(&greetings[1].payload) && greetings[1].payload.len() <= GREETING_BYTES);
        assert_eq!((greetings[0].flow.netns, greetings[0].flow.role, greetings[0].flow.service_port), (net.client.inode, Role::Client, TLS));
        assert_eq!(greetings[0].flow.remote, addr(at, TLS).ip());
    }
}

#[test]
fn who_does_not_want_names_gets_none() {
    let net = Net::new();
    let mut probe = probe_with(&net, |config| config.names = false);
    Talk::new(&net, SERVER4).answered(&message(1, true, 0, 90));
    assert_eq!(probe.heard().unwrap(), []);
}

#[test]
fn what_finds_no_room_is_counted() {
    const ASKED: u16 = 3_000;
    let net = Net::new();
    let mut probe = probe_with(&net, |_| {});
    let talk = Talk::new(&net, SERVER4);
    (0..ASKED).for_each(|id| talk.answered(&message(id, true, 0, 90)));
    let heard = probe.heard().unwrap().len() as u64;
    let lost = probe.read(1).unwrap().losses.names_full;
    assert!(lost > 0 && heard + lost == u64::from(ASKED), "{heard} heard, {lost} lost");
    // There is room again.
    talk.answered(&message(1, true, 0, 90));
    assert_eq!(probe.heard().unwrap().len(), 1);
}
