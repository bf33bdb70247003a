use super::*;
use crate::testing::key;

const CLIENT: bool = true;
const SERVER: bool = false;

/// `POST` with the content of gRPC, which enters the table in the first request and is the entry 62 in those after it.
const CALL: &[u8] = b"\x83\x5f\x10application/grpc";
const CALL_AGAIN: &[u8] = b"\x83\xbe";

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    [&(payload.len() as u32).to_be_bytes()[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

fn headers(stream: u32, ends: bool, block: &[u8]) -> Vec<u8> {
    frame(1, 4 | u8::from(ends), stream, block)
}

fn take(calls: &mut Calls, id: u64, at_ms: u64, event: Http2Event<'_>) {
    calls.take(Some(Http2Record { key: key(1), client_port: 9, id, at_ns: at_ms * 1_000_000, event }));
}

fn say(calls: &mut Calls, id: u64, at_ms: u64, by_client: bool, frames: &[u8]) {
    take(calls, id, at_ms, Http2Event::Says { by_client, frames });
}

fn only(found: Found) -> Http2Count {
    assert_eq!((found.counts.len(), found.unreadable), (1, 0));
    found.counts.into_iter().next().map(|(socket, count)| (assert_eq!(socket, (key(1), 9)), count).1).unwrap()
}

#[test]
fn requests_are_counted_with_their_answers_and_times() {
    let mut calls = Calls::default();
    take(&mut calls, 7, 0, Http2Event::Begins);
    for (stream, status, ms) in [(1, &b"\x88"[..], 5), (3, b"\x8d", 7), (5, b"\x48\x03503", 9), (7, b"\x08\x03302", 11)] {
        let at_ms = u64::from(stream) * 100;
        say(&mut calls, 7, at_ms, CLIENT, &headers(stream, true, &[0x82]));
        // Not the answer yet.
        say(&mut calls, 7, at_ms + 1, SERVER, &headers(stream, false, b"\x08\x03100"));
        say(&mut calls, 7, at_ms + ms, SERVER, &headers(stream, true, status));
    }
    // Reset before its answer, and one that its connection leaves behind.
    say(&mut calls, 7, 900, CLIENT, &[headers(9, true, &[0x82]), frame(3, 0, 9, &[0, 0, 0, 8]), headers(11, true, &[0x82])].concat());
    take(&mut calls, 7, 990, Http2Event::Ends);
    let count = only(calls.found());
    assert_eq!((count.requests, count.answers, count.unanswered, count.grpc_requests), (6, [1, 1, 1, 1, 0], 2, 0));
    assert_eq!(count.times_us, [5_000, 7_000, 9_000, 11_000]);
    assert_eq!(calls.found(), Found::default());
}

#[test]
fn calls_end_with_a_status_or_without() {
    let mut calls = Calls::default();
    take(&mut calls, 7, 0, Http2Event::Begins);
    let mut call = CALL;
    for (stream, status) in [(1, "0"), (3, "14"), (5, "4"), (7, "13")] {
        say(&mut calls, 7, 10, CLIENT, &headers(stream, false, call));
        call = CALL_AGAIN;
        say(&mut calls, 7, 20, SERVER, &headers(stream, false, &[0x88]));
        let trailers = [b"\x00\x0bgrpc-status", &[status.len() as u8][..], status.as_bytes()].concat();
        // In two pieces, as of two segments.
        let whole = headers(stream, true, &trailers);
        let (first, rest) = whole.split_at(12);
        say(&mut calls, 7, 30, SERVER, first);
        say(&mut calls, 7, 31, SERVER, rest);
    }
    // The client's deadline passes; then an answer whose data are its end.
    say(&mut calls, 7, 40, CLIENT, &[headers(9, false, call), frame(3, 0, 9, &[0, 0, 0, 8]), headers(11, false, call)].concat());
    say(&mut calls, 7, 50, SERVER, &[headers(11, false, &[0x88]), frame(0, 1, 11, &[])].concat());
    let count = only(calls.found());
    assert_eq!((count.requests, count.answers, count.unanswered), (6, [5, 0, 0, 0, 0], 1));
    assert_eq!((count.grpc_requests, count.grpc_ends), (6, [1, 1, 1, 1, 2]));
}

#[test]
fn what_cannot_be_read_counts_no_more() {
    let mut calls = Calls::default();
    // Of a connection that nobody saw begin, and of one that the kernel side gave up.
    say(&mut calls, 1, 0, CLIENT, &headers(1, true, &[0x82]));
    take(&mut calls, 2, 0, Http2Event::Begins);
    take(&mut calls, 2, 1, Http2Event::GivenUp);
    say(&mut calls, 2, 2, CLIENT, &headers(1, true, &[0x82]));
    assert_eq!(calls.found(), Found { ended: vec![2], ..Found::default() });
    // A field that refers to none.
    take(&mut calls, 3, 0, Http2Event::Begins);
    say(&mut calls, 3, 1, CLIENT, &headers(1, true, &[0xff, 0x20]));
    say(&mut calls, 3, 2, CLIENT, &headers(3, true, &[0x82]));
    let found = calls.found();
    assert_eq!((found.unreadable, found.counts.values().map(|count| count.requests).sum::<u32>()), (1, 0));
    calls.take(None);
    assert_eq!(calls.found().unreadable, 1);
    assert_eq!((calls.connections.len(), calls.heap_bytes), (0, 0));
}

#[test]
fn the_longest_silent_make_room() {
    let mut calls = Calls::default();
    for id in 0..CONNECTIONS_MAX as u64 + 1 {
        take(&mut calls, id, id, Http2Event::Begins);
    }
    let evicted = calls.found().unreadable;
    assert_eq!(evicted, (CONNECTIONS_MAX / EVICTED_SHARE) as u32 + 1);
    assert_eq!(calls.connections.len(), CONNECTIONS_MAX + 1 - evicted as usize);
    assert!(!calls.connections.contains_key(&0) && calls.connections.contains_key(&(CONNECTIONS_MAX as u64)));
    assert_eq!(calls.heap_bytes, calls.connections.len() * CONNECTION_BYTES);
}

/// Peers that fill the largest tables there are cannot make the agent grow beyond its bound.
#[test]
fn the_heap_is_bounded() {
    let mut calls = Calls::default();
    for id in 0..400 {
        take(&mut calls, id, id, Http2Event::Begins);
        for stream in [1, 3] {
            let block = [&b"\x3f\xe1\xff\x03"[..], &b"\x44\x01/".repeat(1_000)].concat();
            say(&mut calls, id, id, CLIENT, &headers(stream, true, &block));
        }
        assert!(calls.heap_bytes <= HEAP_BYTES_MAX);
    }
    assert!(calls.found().unreadable > 0);
}

fn whole(calls: &mut Calls, seq: u32, bytes: &[u8]) {
    take(calls, 7, 50, Http2Event::Whole { by_client: SERVER, seq, bytes });
}

/// Answers whose segments come in another order than they were sent: read when the hole is filled, and the kernel side hears where to go on.
#[test]
fn a_hole_is_waited_for() {
    let mut calls = Calls::default();
    take(&mut calls, 7, 0, Http2Event::Begins);
    for stream in [1, 3, 5] {
        say(&mut calls, 7, 10, CLIENT, &headers(stream, true, &[0x82]));
    }
    let stream =
        [headers(1, false, &[0x88]), frame(0, 1, 1, &[7; 300]), headers(3, true, &[0x8d]), headers(5, false, &[0x8e]), frame(0, 0, 5, &[7; 500])]
            .concat();
    let ahead = stream.len() - 400;
    // The first five bytes of the first header had been said in another segment.
    take(&mut calls, 7, 20, Http2Event::Misses { by_client: SERVER, seq: 1_000, start: &stream[..5] });
    whole(&mut calls, 1_000 + 100, &stream[100..320]);
    let found = calls.found();
    assert_eq!((found.counts.values().map(|count| count.requests).sum::<u32>(), found.resumed.len()), (3, 0));
    whole(&mut calls, 1_000 + 320, &stream[320..ahead]);
    assert_eq!(calls.found().resumed.len(), 0);
    whole(&mut calls, 1_000 + 5, &stream[5..100]);
    let found = calls.found();
    assert_eq!(found.resumed, [((7, SERVER), Some((1_000 + stream.len() as u32, 3)))].into());
    let count = &found.counts[&(key(1), 9)];
    assert_eq!((count.answers, &count.times_us[..]), ([1, 0, 1, 1, 0], &[40_000, 40_000, 40_000][..]));
    // From there on frames come again, and then the end of what was open.
    say(&mut calls, 7, 60, SERVER, &frame(0, 1, 5, &[]));
    take(&mut calls, 7, 70, Http2Event::Ends);
    let found = calls.found();
    assert_eq!((found.counts[&(key(1), 9)].unanswered, found.ended, found.unreadable), (0, vec![7], 0));
}

#[test]
fn a_hole_that_is_never_filled_ends_the_reading() {
    let mut calls = Calls::default();
    take(&mut calls, 7, 0, Http2Event::Begins);
    take(&mut calls, 7, 20, Http2Event::Misses { by_client: SERVER, seq: 0, start: &[] });
    for at in 0..300 {
        whole(&mut calls, 1 + at * 1_024, &[7; 1_024]);
    }
    let found = calls.found();
    assert_eq!((found.unreadable, found.resumed), (1, [((7, SERVER), None)].into()));
    assert_eq!((calls.connections.len(), calls.heap_bytes), (0, 0));
}
