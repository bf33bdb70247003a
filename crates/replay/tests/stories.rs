//! What is told of connections whose every packet is known.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::*;
use edgescope_replay::Settings;
use edgescope_replay::connection::{End, Outcome, Side};

fn close(at: u64, client_seq: u32, server_seq: u32) -> Vec<(u64, Seg)> {
    vec![
        (at, client(FIN | ACK, client_seq, server_seq, 0)),
        (at + 8, server(FIN | ACK, server_seq, client_seq + 1, 0)),
        (at + 10, client(ACK, client_seq + 1, server_seq + 1, 0)),
    ]
}

fn near(said: Option<f64>, ms: f64) -> bool {
    said.is_some_and(|said| (said * 1e3 - ms).abs() < 1e-6)
}

#[test]
fn a_whole_connection() {
    let mut story = after_handshake(&[(20, client(ACK, 1, 1, 700)), (28, server(ACK, 1, 701, 1400)), (30, client(ACK, 701, 1401, 0))]);
    story.extend(close(40, 701, 1401));
    let report = only(&story);
    assert_eq!((report.outcome, report.ended, report.client.port(), report.client_inferred), (Outcome::Established, End::Closed, 40_000, false));
    assert!(near(report.connect.handshake, 10.0) && near(report.handshake_to_server, 8.0) && near(report.handshake_to_client, 2.0));
    assert_eq!((report.connect.connects, report.connect.established, report.connect.accepts, report.connect.closes), (1, 1, 1, 1));
    let (there, back) = (&report.client_to_server, &report.server_to_client);
    assert_eq!((there.bytes, there.segments, there.bytes_unique, there.bytes_sent), (Some(700), 1, 700, 700));
    assert_eq!((back.bytes, back.segments, back.retrans, back.gaps), (Some(1400), 1, 0, 0));
    // SYN, data and FIN of the client; SYN-ACK, data and FIN of the server.
    assert_eq!((there.rtt.samples, back.rtt.samples), (3, 3));
    assert!(near(there.rtt.min, 8.0) && near(there.rtt.max, 8.0) && near(back.rtt.avg, 2.0), "{:?} {:?}", there.rtt, back.rtt);
    assert!(report.notes.is_empty(), "{:?}", report.notes);
}

#[test]
fn a_syn_whose_answer_passed_first_begins_nothing_new() {
    // The capture missed the first copy: its answer comes, then the second copy, then the answer again.
    let begins = [(0, server(SYN | ACK, 0, 1, 0)), (2, client(SYN, 0, 0, 0)), (3, server(SYN | ACK, 0, 1, 0)), (5, client(ACK, 1, 1, 0))];
    let mut story = begins.to_vec();
    story.extend([(20, client(ACK, 1, 1, 700)), (28, server(ACK, 1, 701, 0))]);
    let report = only(&story);
    assert_eq!((report.server_to_client.retrans_synack, report.server_to_client.retrans, report.client_to_server.bytes_unique), (1, 1, 700));
    assert_eq!((report.connect.established, report.client.port()), (1, 40_000));
    // One with another number is another connection.
    let (mut other, mut another) = (begins.to_vec(), client(SYN, 9_000, 0, 0));
    another.from_client = true;
    other[1] = (2, another);
    assert_eq!(told(&other).tcp.len(), 2);
}

#[test]
fn attempts_end_in_what_the_catalogue_names() {
    let syn = || client(SYN, 0, 0, 0);
    let outcome = |story: &[(u64, Seg)]| {
        let report = only(story);
        (report.outcome, report.ended, report.reset_by)
    };
    assert_eq!(outcome(&[(0, syn()), (1000, syn()), (3000, syn())]), (Outcome::TimedOut, End::NeverOpen, None));
    assert_eq!(outcome(&[(0, syn()), (1, server(RST | ACK, 0, 1, 0))]), (Outcome::Refused, End::NeverOpen, Some(Side::Server)));
    assert_eq!(outcome(&[(0, syn()), (1, server(SYN | ACK, 0, 1, 0)), (2, server(RST, 1, 0, 0))]).0, Outcome::Reset);
    assert_eq!(outcome(&[(0, syn())]).0, Outcome::Pending, "the capture ends at once");
    let tries = only(&[(0, syn()), (1000, syn()), (3000, syn())]);
    assert_eq!((tries.client_to_server.retrans_syn, tries.client_to_server.retrans, tries.client_to_server.time_outs), (2, 2, 2));
    assert!((tries.lost_s - 6.0).abs() < 1e-9, "3 s of time-outs in 3 s that led to nothing: {}", tries.lost_s);
}

#[test]
fn one_syn_without_answer_was_cancelled_if_the_capture_goes_on() {
    let other = Seg { from_client: false, ..client(SYN, 5, 0, 0) };
    let mut packets = vec![(0, client(SYN, 0, 0, 0).bytes())];
    let mut later = other.bytes();
    later[20..24].copy_from_slice(&[1, 1, 1, 2]);
    packets.push((5000, later));
    let told = told_of(&packets, &Settings::default());
    assert_eq!(told.tcp.iter().map(|report| report.outcome).collect::<Vec<_>>(), [Outcome::Cancelled, Outcome::Pending]);
}

#[test]
fn a_router_says_that_the_server_cannot_be_reached() {
    let syn = client(SYN, 0, 0, 0).bytes();
    let icmp = [[3, 1, 0, 0, 0, 0, 0, 0].as_slice(), &syn[..28]].concat();
    let told = told_of(&[(0, syn.clone()), (5, ipv4(1, 0, [10, 0, 0, 9], [10, 0, 0, 1], &icmp))], &Settings::default());
    assert_eq!((told.tcp[0].outcome, told.tcp[0].connect.unreachable), (Outcome::Unreachable, 1));
}

#[test]
fn why_a_segment_was_sent_again() {
    let data = |at, seq| (at, client(ACK, seq, 1, 1000));
    // Told by SACK above it.
    let fast = only(&after_handshake(&[
        data(20, 1),
        data(21, 1001),
        data(22, 2001),
        (30, server(ACK, 1, 1, 0).sack(&[(1001, 3001)])),
        data(31, 1),
        (40, server(ACK, 1, 3001, 0)),
    ]));
    let of = |report: &edgescope_replay::report::TcpReport| {
        let d = &report.client_to_server;
        (d.retrans, d.retrans_fast, d.retrans_rto, d.retrans_probe, d.time_outs, d.retrans_spurious, d.retrans_bytes)
    };
    assert_eq!(of(&fast), (1, 1, 0, 0, 0, 0, 1000));
    assert_eq!((fast.client_to_server.rtt_skipped_held_back, fast.client_to_server.rtt.samples), (1, 1), "Karn: only the SYN was timed");
    // Told by three duplicates.
    let mut story = after_handshake(&[data(20, 1), data(21, 1001), data(22, 2001), data(23, 3001)]);
    story.extend((0..3).map(|i| (30 + i, server(ACK, 1, 1, 0))));
    story.push(data(34, 1));
    assert_eq!(of(&only(&story)), (1, 1, 0, 0, 0, 0, 1000));
    // Nothing told; each time-out twice as long; what follows in the same recovery is of the time-out too.
    let time_out = only(&after_handshake(&[
        data(20, 1),
        data(21, 1001),
        data(240, 1),
        data(680, 1),
        (690, server(ACK, 1, 1001, 0)),
        data(691, 1001),
        (700, server(ACK, 1, 2001, 0)),
    ]));
    assert_eq!(of(&time_out), (3, 0, 3, 0, 2, 0, 3000));
    assert!((time_out.lost_s - 0.66).abs() < 1e-9, "220 ms, then 440: {}", time_out.lost_s);
    // The last segment once more, soon: a probe; the receiver had it and says so.
    let probe = only(&after_handshake(&[
        data(20, 1),
        data(21, 1001),
        data(45, 1001),
        (50, server(ACK, 1, 2001, 0)),
        (55, server(ACK, 1, 2001, 0).sack(&[(1001, 2001)])),
    ]));
    assert_eq!(of(&probe), (1, 0, 0, 1, 0, 1, 1000));
    // Acknowledged before it passed again; the report of the same adds nothing.
    let needless =
        only(&after_handshake(&[data(20, 1), (28, server(ACK, 1, 1001, 0)), data(240, 1), (248, server(ACK, 1, 1001, 0).sack(&[(1, 1001)]))]));
    assert_eq!(of(&needless), (1, 0, 1, 0, 1, 1, 1000));
}

#[test]
fn late_is_not_lost() {
    // The second passes before the first.
    let swapped = |first_sent, second_sent, at| {
        let report = only(&after_handshake(&[
            (20, client(ACK, 1001, 1, 1000).at(second_sent)),
            (at, client(ACK, 1, 1, 1000).at(first_sent)),
            (at + 8, server(ACK, 1, 2001, 0)),
        ]));
        let d = &report.client_to_server;
        (d.out_of_order, d.retrans, d.retrans_unseen)
    };
    assert_eq!(swapped(100, 105, 60), (1, 0, 0), "sent before: overtaken, however long ago");
    assert_eq!(swapped(140, 105, 60), (0, 1, 1), "sent after: lost before it came here, and sent again");
    assert_eq!(swapped(100, 100, 21), (1, 0, 0), "the clock cannot tell, but nobody answers that fast");
    assert_eq!(swapped(100, 100, 35), (1, 0, 0), "sent 15 ms later, it would say so");
    let without_clock = |at| {
        let report = only(&after_handshake(&[(20, client(ACK, 1001, 1, 1000)), (at, client(ACK, 1, 1, 1000))]));
        (report.client_to_server.out_of_order, report.client_to_server.retrans_unseen)
    };
    assert_eq!((without_clock(21), without_clock(35)), ((1, 0), (0, 1)), "there was no time, or time for it");
    // Without a clock the packets' numbers tell.
    let by_number = |id| {
        let report = only(&after_handshake(&[
            (20, client(ACK, 1, 1, 100).id(6)),
            (21, client(ACK, 1101, 1, 1000).id(8)),
            (60, client(ACK, 101, 1, 1000).id(id)),
        ]));
        (report.client_to_server.out_of_order, report.client_to_server.retrans)
    };
    assert_eq!((by_number(7), by_number(9)), ((1, 0), (0, 1)));
}

#[test]
fn the_end_of_a_burst_that_was_lost_before_is_found_by_what_comes_after() {
    let report = only(&after_handshake(&[
        (20, client(ACK, 1, 1, 1000).at(10)),
        // Another thousand bytes never came by; the sender answers something with its next number.
        (30, server(ACK, 1, 1001, 5)),
        (31, client(ACK, 2001, 6, 0).at(21)),
        (250, client(ACK, 1001, 6, 1000).at(240)),
        (258, server(ACK, 6, 2001, 0)),
    ]));
    let d = &report.client_to_server;
    assert_eq!((d.retrans, d.retrans_unseen, d.unseen_tail, d.retrans_rto, d.bytes, d.bytes_unique), (1, 1, 1, 1, Some(2000), 2000));
}

#[test]
fn what_was_not_captured_is_said() {
    // Bytes 1001 to 2000 were acknowledged and never seen.
    let gap = only(&after_handshake(&[(20, client(ACK, 1, 1, 1000)), (22, client(ACK, 2001, 1, 500)), (30, server(ACK, 1, 2501, 0))]));
    let d = &gap.client_to_server;
    assert_eq!((d.bytes, d.bytes_unique, d.gaps, d.gap_bytes, d.retrans), (Some(2500), 1500, 1, 1000, 0));
    assert!(gap.notes.iter().any(|note| note.contains("1000 bytes in 1 gaps")), "{:?}", gap.notes);
    // Joined in the midst: the client by its port.
    let joined = only(&[(0, server(ACK, 5001, 900, 100)), (2, client(ACK, 900, 5101, 30)), (3, server(ACK, 5101, 930, 0))]);
    assert_eq!((joined.outcome, joined.ended, joined.client.port(), joined.client_inferred), (Outcome::Joined, End::Open, 40_000, true));
    assert_eq!((joined.server_to_client.bytes, joined.client_to_server.bytes, joined.server_to_client.gaps), (Some(100), Some(30), 0));
    // One direction only.
    let half = only(&[(0, client(ACK, 1, 1, 500)), (1, client(ACK, 501, 1, 500))]);
    assert_eq!((half.client_to_server.bytes, half.client_to_server.bytes_unique), (None, 1000));
    assert!(half.notes[0].contains("only packets from the client"), "{:?}", half.notes);
}

#[test]
fn a_window_that_closes_and_data_that_nobody_acknowledges() {
    let closed = only(&after_handshake(&[
        (20, client(ACK, 1, 1, 1000)),
        (28, server(ACK, 1, 1001, 0).window(0)),
        (300, client(ACK, 1000, 1, 0)),
        (308, server(ACK, 1, 1001, 0).window(0)),
        (528, server(ACK, 1, 1001, 0).window(50)),
    ]));
    let d = &closed.client_to_server;
    assert_eq!((d.zero_windows, d.zero_window_s, d.keepalives), (2, 0.5, 1));
    let hole = only(&after_handshake(&[
        (20, client(ACK, 1, 1, 1000)),
        (28, server(ACK, 1, 1001, 0)),
        (50, client(ACK, 1001, 1, 100)),
        (9050, client(ACK, 1001, 1, 100)),
    ]));
    let d = &hole.client_to_server;
    assert_eq!((d.stalled, d.bytes_unacknowledged, d.bytes), (6.0, 100, Some(1000)), "from 3 s on");
    assert_eq!(hole.ended, End::Open);
}

#[test]
fn resets_have_a_sender_and_ports_are_used_again() {
    let mut story = after_handshake(&[(20, client(ACK, 1, 1, 10)), (21, server(RST | ACK, 1, 11, 0))]);
    let first = only(&story);
    assert_eq!((first.ended, first.reset_by, first.server_to_client.resets), (End::Reset, Some(Side::Server), 1));
    story.push((40, client(SYN, 70_000, 0, 0)));
    story.push((48, server(SYN | ACK, 90_000, 70_001, 0)));
    story.push((50, client(ACK, 70_001, 90_001, 0)));
    let told = told(&story);
    let ends: Vec<_> = told.tcp.iter().map(|report| (report.ended, report.first_packet)).collect();
    assert_eq!(ends, [(End::Reset, 1), (End::Open, 6)]);
}

#[test]
fn packets_of_many_segments_count_as_such_and_doubled_ones_once() {
    let report = only(&after_handshake(&[(20, client(ACK, 1, 1, 14_600)), (24, server(ACK, 1, 2921, 0)), (28, server(ACK, 1, 14_601, 0))]));
    let d = &report.client_to_server;
    assert_eq!((d.segments, d.packets_with_payload, d.oversized_packets, d.bytes), (10, 1, 1, Some(14_600)));
    assert_eq!(d.rtt.samples, 2, "the SYN, and the first part of the data");
    let twice = only(&after_handshake(&[(20, client(ACK, 1, 1, 100).id(7)), (20, client(ACK, 1, 1, 100).id(7)), (21, client(ACK, 1, 1, 100).id(8))]));
    let d = &twice.client_to_server;
    assert_eq!((d.duplicates, d.retrans, d.segments), (1, 1, 2), "the third is another packet");
}

#[test]
fn connections_are_bounded_and_those_that_went_are_counted() {
    let syn = |port: u16| {
        let mut packet = client(SYN, 0, 0, 0).bytes();
        packet[20..22].copy_from_slice(&port.to_be_bytes());
        (u64::from(port), packet)
    };
    let packets: Vec<_> = (40_000..40_100).map(syn).collect();
    let told = told_of(&packets, &Settings { connections_max: 10 });
    assert_eq!((told.tcp.len(), told.capture.tcp_connections, told.capture.evicted), (100, 100, 90));
}

#[test]
fn datagrams_make_conversations() {
    let datagram = |from: u16, to: u16, length: usize| {
        let head = [from, to, 8 + length as u16, 0].map(u16::to_be_bytes).concat();
        ipv4(17, 0, [10, 0, 0, 1], [10, 0, 0, 1], &[head, vec![0; length]].concat())
    };
    let told = told_of(
        &[
            (0, datagram(50_000, 9_999, 10)),
            (5, datagram(9_999, 50_000, 300)),
            (70_000, datagram(50_000, 9_999, 1)),
            (70_001, datagram(40_000, 4789, 100)),
        ],
        &Settings::default(),
    );
    let said: Vec<_> = told
        .udp
        .iter()
        .map(|report| (report.server.port(), report.client_to_server.bytes, report.server_to_client.datagrams, report.tunnel))
        .collect();
    assert_eq!(said, [(9_999, 10, 1, None), (9_999, 1, 0, None), (4789, 100, 0, Some("vxlan"))]);
    assert_eq!(told.capture.tunnels.get("vxlan"), Some(&1));
}

fn text(from_client: bool, seq: u32, ack: u32, text: &str) -> Vec<u8> {
    let segment = if from_client { client(ACK, seq, ack, text.len()) } else { server(ACK, seq, ack, text.len()) };
    let mut packet = segment.bytes();
    let payload = packet.len() - text.len();
    packet[payload..].copy_from_slice(text.as_bytes());
    packet
}

fn with_handshake(packets: Vec<(u64, Vec<u8>)>) -> Vec<(u64, Vec<u8>)> {
    handshake().iter().map(|(at, segment)| (*at, segment.bytes())).chain(packets).collect()
}

#[test]
fn http_is_heard_in_any_order_of_its_segments() {
    let (ask, ok) = ("GET /a HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
    let (n, m) = (ask.len() as u32, ok.len() as u32);
    let bad = "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n";
    let packets = with_handshake(vec![
        // The request's second half overtakes its first.
        (20, text(true, 11, 1, &ask[10..])),
        (21, text(true, 1, 1, &ask[..10])),
        (41, text(false, 1, 1 + n, ok)),
        (50, text(true, 1 + n, 1 + m, ask)),
        (60, text(false, 1 + m, 1 + 2 * n, bad)),
        (70, text(true, 1 + 2 * n, 1 + m + bad.len() as u32, ask)),
    ]);
    let told = told_of(&packets, &Settings::default());
    let http = told.tcp[0].http.as_ref().expect("it was HTTP");
    assert_eq!((http.requests, http.status_2xx, http.status_5xx, http.unanswered, http.unread_bytes), (3, 1, 1, 1, 0));
    assert!(near(http.duration.min, 10.0) && near(http.duration.max, 20.0), "{:?}", http.duration);
    let other = told_of(&with_handshake(vec![(20, text(true, 1, 1, "\x16\x03\x01\x02\x00"))]), &Settings::default());
    assert!(other.tcp[0].http.is_none());
}

/// A question for `a.` with this id, or the answer with this code.
fn dns(id: u8, answer: Option<u8>) -> Vec<u8> {
    let flags = answer.map_or([1, 0], |code| [0x81, 0x80 | code]);
    [&[0, id], &flags[..], &[0, 1, 0, 0, 0, 0, 0, 0, 1, b'a', 0, 0, 1, 0, 1]].concat()
}

#[test]
fn dns_is_heard_over_udp_and_tcp() {
    let datagram = |out: bool, payload: &[u8]| {
        let (from, to): (u16, u16) = if out { (50_000, 53) } else { (53, 50_000) };
        let head = [from, to, 8 + payload.len() as u16, 0].map(u16::to_be_bytes).concat();
        ipv4(17, 0, [10, 0, 0, if out { 1 } else { 2 }], [10, 0, 0, if out { 2 } else { 1 }], &[&head, payload].concat())
    };
    let story = [
        (0, datagram(true, &dns(1, None))),
        (4, datagram(false, &dns(1, Some(0)))),
        (10, datagram(true, &dns(2, None))),
        (12, datagram(true, &dns(2, None))),
        (30, datagram(false, &dns(2, Some(3)))),
        (40, datagram(true, &dns(3, None))),
        (7_000, datagram(true, &dns(4, None))),
    ];
    let told = told_of(&story, &Settings::default());
    let said = told.udp[0].dns.as_ref().expect("it was DNS");
    assert_eq!((said.requests, said.responses, said.nxdomain, said.timeouts), (5, 2, 1, 1), "the last is not judged yet");
    assert!(near(said.duration.min, 4.0) && near(said.duration.max, 20.0), "{:?}", said.duration);
    let framed = |payload: Vec<u8>| [vec![0, payload.len() as u8], payload].concat();
    let over_tcp = |at, from_client: bool, payload: Vec<u8>| {
        let mut packet = if from_client { client(ACK, 1, 1, payload.len()) } else { server(ACK, 1, 20, payload.len()) }.bytes();
        let start = packet.len() - payload.len();
        packet[start..].copy_from_slice(&payload);
        (at, packet)
    };
    let mut packets = with_handshake(vec![over_tcp(20, true, framed(dns(1, None))), over_tcp(29, false, framed(dns(1, Some(2))))]);
    for (_, packet) in &mut packets {
        // To port 53.
        let port = if packet[15] == 1 { 22 } else { 20 };
        packet[port..port + 2].copy_from_slice(&53u16.to_be_bytes());
    }
    let told = told_of(&packets, &Settings::default());
    let said = told.tcp[0].dns.as_ref().expect("it was DNS");
    assert_eq!((said.requests, said.responses, said.servfail), (1, 1, 1));
    assert!(near(said.duration.avg, 9.0));
}

/// Names with a dot are the catalogue's; those of HTTP are not in it yet.
#[test]
fn names_with_a_dot_are_those_of_the_catalogue() {
    fn names(value: &serde_json::Value, into: &mut Vec<String>) {
        for (name, inner) in value.as_object().into_iter().flatten() {
            into.extend(name.contains('.').then(|| name.clone()));
            names(inner, into);
        }
    }
    let told = told_of(&with_handshake(vec![(20, text(true, 1, 1, "x"))]), &Settings::default());
    let mut found = Vec::new();
    names(&serde_json::to_value(&told.tcp[0]).unwrap(), &mut found);
    let unknown: Vec<_> = found.iter().filter(|name| edgescope_model::signal::by_name(name).is_none()).collect();
    assert!(unknown.is_empty() && found.len() > 30, "{unknown:?} of {}", found.len());
}
