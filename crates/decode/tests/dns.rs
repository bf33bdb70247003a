//! DNS: what real programs sent, the examples of the RFCs, and messages that end early or lie.

use edgescope_decode::Piece;
use edgescope_decode::dns::{self, ADDRESSES_MAX, Address, Error, FRAME_BYTES_MAX, Framed, Message, NAME_BYTES_MAX, Question, kind};
use edgescope_fuzz::{bytes, hex_lines, sample};

const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus/dns.txt");

fn read(name: &str) -> Message {
    dns::message(&sample(CORPUS, name)).expect("a message")
}

fn question(name: &str, kind: u16) -> Option<Question> {
    Some(Question { name: name.to_owned(), kind })
}

fn address(name: &str, address: &str, ttl_s: u32) -> Address {
    Address { name: name.to_owned(), address: address.parse().expect("an address"), ttl_s }
}

/// A header with these counts, response bit set, then `body`.
fn response(counts: [u16; 4], body: &[u8]) -> Vec<u8> {
    let mut message = bytes("1234 8180");
    message.extend(counts.iter().flat_map(|count| count.to_be_bytes()));
    message.extend(body);
    message
}

/// A question for `a.` and type A.
const ASKED: &[u8] = b"\x01a\0\0\x01\0\x01";
/// The record `a. 60 IN A 10.0.0.1`, its name a pointer to the question.
const ANSWER: &[u8] = b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\x0a\0\0\x01";

#[test]
fn query_and_response_have_the_same_id_and_question() {
    let samples = hex_lines(CORPUS);
    for pair in samples.chunks(2) {
        let [query, response] = pair else { panic!("an odd sample") };
        let (query, response) = (dns::message(&query.1).expect("a query"), dns::message(&response.1).expect("a response"));
        assert_eq!((query.id, &query.question, query.response, query.cut), (response.id, &response.question, false, response.cut));
        assert!(response.response && query.addresses.is_empty());
    }
    assert_eq!(samples.len(), 20);
}

#[test]
fn an_alias_leads_to_the_address() {
    let message = read("alias-a-response");
    assert_eq!(message.question, question("www.shop.example", kind::A));
    assert_eq!(message.aliases, [("www.shop.example".to_owned(), "cart.shop.example".to_owned())]);
    assert_eq!(message.addresses, [address("cart.shop.example", "10.1.2.3", 0)]);
    assert_eq!(read("aaaa-response").addresses, [address("cart.shop.example", "fd00::3", 0)]);
}

#[test]
fn names_are_lower_case_and_printable() {
    assert_eq!(read("upper-case-query").question, question("www.shop.example", kind::A));
    let message = read("space-in-label-response");
    assert_eq!(message.question, question(r"mail\032server.shop.example", kind::AAAA));
    assert_eq!(message.addresses, [address(r"mail\032server.shop.example", "fd00::25", 60)]);

    let hostile = response([1, 0, 0, 0], b"\x06a.b\\\0\xff\x01C\0\0\x01\0\x01");
    assert_eq!(dns::message(&hostile).expect("a message").question, question(r"a\046b\092\000\255.c", kind::A));
    let root = response([1, 0, 0, 0], b"\0\0\x02\0\x01");
    assert_eq!(dns::message(&root).expect("a message").question, question(".", 2));
}

#[test]
fn a_name_is_no_longer_than_its_bound() {
    let longest = |byte: u8| {
        let mut body = Vec::new();
        for length in [63, 63, 63, 61] {
            body.push(length);
            body.extend(std::iter::repeat_n(byte, usize::from(length)));
        }
        body.extend(b"\0\0\x01\0\x01");
        dns::message(&response([1, 0, 0, 0], &body)).expect("a message").question.expect("a question").name
    };
    assert_eq!(longest(b'a').len(), 253);
    assert!(longest(b'a').ends_with(&"a".repeat(61)));
    assert_eq!(longest(0).len(), NAME_BYTES_MAX, "an escape takes four bytes");
}

#[test]
fn codes_include_the_bits_of_edns() {
    assert_eq!(read("nxdomain-response").rcode, 3);
    assert_eq!(read("refused-response").rcode, 5);
    assert_eq!(read("badvers-response").rcode, 16);
    assert_eq!(read("alias-a-response").rcode, 0);
}

#[test]
fn truncated_by_the_server_is_not_cut_by_the_capture() {
    let message = read("pool-truncated-response");
    assert!(message.truncated && !message.cut);
    assert_eq!(message.addresses.len(), 29);
    assert_eq!(read("pool-edns-response").addresses.len(), 30);
}

#[test]
fn a_payload_that_ends_early_gives_its_whole_records() {
    let whole = sample(CORPUS, "pool-edns-response");
    let full = dns::message(&whole).expect("a message");
    let question_ends = 12 + 23;
    for end in 0..whole.len() {
        match dns::message(&whole[..end]) {
            Ok(message) => {
                assert!(end >= question_ends && message.cut);
                assert_eq!(message.addresses, full.addresses[..((end - question_ends) / 16).min(30)]);
            }
            Err(Error::Header(length)) => assert!(length == end && end < 12),
            Err(Error::Question(_)) => assert!((12..question_ends).contains(&end)),
        }
    }
}

/// RFC 1035, §4.1.4: F.ISI.ARPA, FOO.F.ISI.ARPA by a pointer to it, ARPA by a pointer into it, and the root.
#[test]
fn compression_as_in_the_rfc() {
    let mut body = b"\x01F\x03ISI\x04ARPA\0\0\x01\0\x01".to_vec();
    for name in [&b"\x03FOO\xc0\x0c"[..], b"\xc0\x12", b"\0"] {
        body.extend(name);
        body.extend(&ANSWER[2..]);
    }
    let message = dns::message(&response([1, 3, 0, 0], &body)).expect("a message");
    assert_eq!(message.question, question("f.isi.arpa", kind::A));
    let names: Vec<&str> = message.addresses.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["foo.f.isi.arpa", "arpa", "."]);
}

#[test]
fn a_pointer_that_leads_nowhere_ends_the_reading() {
    for pointer in [b"\xc0\x15", b"\xc0\xff", b"\xff\xff"] {
        let body = [ASKED, pointer, &ANSWER[2..], ANSWER].concat();
        let message = dns::message(&response([1, 2, 0, 0], &body)).expect("a message");
        assert!(message.cut && message.addresses.is_empty(), "{pointer:?}");
        assert!(matches!(dns::message(&response([1, 0, 0, 0], &[pointer, &ASKED[3..]].concat())), Err(Error::Question(_))));
    }
}

#[test]
fn several_questions_or_none_are_still_a_message() {
    let several = dns::message(&response([2, 1, 0, 0], &[ASKED, ASKED, ANSWER].concat())).expect("a message");
    assert_eq!((several.question, several.addresses.len(), several.cut), (None, 1, false));
    let none = dns::message(&response([0, 0, 0, 0], &[])).expect("a message");
    assert_eq!((none.question, none.id, none.cut), (None, 0x1234, false));
    let liar = dns::message(&response([u16::MAX, 1, 0, 0], &ASKED.repeat(2000))).expect("a message");
    assert!(liar.question.is_none() && liar.cut);
}

#[test]
fn only_answers_to_standard_queries_name_addresses() {
    let glue = response([1, 0, 1, 1], &[ASKED, ANSWER, ANSWER].concat());
    assert!(dns::message(&glue).expect("a message").addresses.is_empty());
    let mut update = response([1, 1, 0, 0], &[ASKED, ANSWER].concat());
    update[2] |= 5 << 3;
    let update = dns::message(&update).expect("a message");
    assert_eq!((update.opcode, update.addresses.len()), (5, 0));
    let mut query = response([1, 1, 0, 0], &[ASKED, ANSWER].concat());
    query[2] &= 0x7f;
    assert!(dns::message(&query).expect("a message").addresses.is_empty());
    let chaos = [ASKED, &ANSWER[..4], b"\0\x03", &ANSWER[6..]].concat();
    assert!(dns::message(&response([1, 1, 0, 0], &chaos)).expect("a message").addresses.is_empty());
}

#[test]
fn what_exceeds_a_bound_is_counted() {
    let alias = b"\xc0\x0c\0\x05\0\x01\0\0\0\x3c\0\x02\xc0\x0c";
    let message = dns::message(&response([1, 120, 0, 0], &[ASKED, &ANSWER.repeat(100), &alias.repeat(20)].concat())).expect("a message");
    assert_eq!((message.addresses.len(), message.aliases.len(), message.left_out, message.cut), (ADDRESSES_MAX, 16, 40, false));
    let many = dns::message(&response([1, 2000, 0, 0], &[ASKED, &ANSWER.repeat(2000)].concat())).expect("a message");
    assert!(many.cut && usize::from(many.left_out) == 1024 - ADDRESSES_MAX);
}

#[test]
fn a_record_of_the_wrong_length_ends_the_reading() {
    for record in [
        &b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x03\x0a\0\0"[..],
        b"\xc0\x0c\0\x1c\0\x01\0\0\0\x3c\0\x04\x0a\0\0\x01",
        b"\xc0\x0c\0\x05\0\x01\0\0\0\x3c\0\x03\xc0\x0c\0",
    ] {
        let message = dns::message(&response([1, 2, 0, 0], &[ASKED, record, ANSWER].concat())).expect("a message");
        assert!(message.cut && message.addresses.is_empty() && message.aliases.is_empty());
    }
}

#[test]
fn a_negative_time_to_live_is_zero() {
    let record = [&ANSWER[..6], b"\x80\0\0\x01", &ANSWER[10..]].concat();
    assert_eq!(dns::message(&response([1, 1, 0, 0], &[ASKED, &record].concat())).expect("a message").addresses[0].ttl_s, 0);
}

/// Feeds pieces and says the lengths of what was found.
fn found(framed: &mut Framed, pieces: &[Piece<'_>]) -> Vec<usize> {
    let mut lengths = Vec::new();
    for piece in pieces {
        framed.feed(*piece, |message| lengths.push(message.len()));
    }
    lengths
}

fn frame(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u16).to_be_bytes()[..], message].concat()
}

#[test]
fn a_connection_is_read_message_by_message_however_it_is_cut() {
    let messages: Vec<Vec<u8>> = hex_lines(CORPUS).into_iter().map(|(_, bytes)| bytes).collect();
    let stream: Vec<u8> = messages.iter().flat_map(|message| frame(message)).collect();
    for size in [1, 2, 3, 7, 50, 1000, stream.len()] {
        let mut framed = Framed::new();
        let mut seen = Vec::new();
        for chunk in stream.chunks(size) {
            framed.feed(Piece::Bytes(chunk), |message| seen.push(message.to_vec()));
        }
        assert_eq!(seen, messages, "chunks of {size}");
    }
}

#[test]
fn a_hole_within_a_message_costs_only_its_end() {
    let long = frame(&sample(CORPUS, "pool-edns-response"));
    let next = frame(&sample(CORPUS, "aaaa-response"));
    let pieces = [Piece::Bytes(&long[..100]), Piece::Gap(long.len() - 110), Piece::Bytes(&long[long.len() - 10..]), Piece::Bytes(&next)];
    assert_eq!(found(&mut Framed::new(), &pieces), [98, next.len() - 2]);
    let unseen = [Piece::Bytes(&long[..2]), Piece::Gap(long.len() - 2), Piece::Bytes(&next)];
    assert_eq!(found(&mut Framed::new(), &unseen), [next.len() - 2], "of which nothing was captured");
    let to_the_end = [Piece::Bytes(&long[..100]), Piece::Gap(long.len() - 100), Piece::Gap(0), Piece::Bytes(&next)];
    assert_eq!(found(&mut Framed::new(), &to_the_end), [98, next.len() - 2]);
}

#[test]
fn after_a_loss_it_waits_for_a_beginning() {
    let whole = frame(&sample(CORPUS, "aaaa-query"));
    let rest = &whole[5..];
    let begun = Piece::Bytes(&whole[..20]);
    let lost: [(&[Piece<'_>], &[usize]); 4] =
        [(&[Piece::Lost], &[]), (&[Piece::Gap(1)], &[]), (&[begun, Piece::Gap(whole.len())], &[18]), (&[begun, Piece::Lost], &[18])];
    for (how, begun) in lost {
        let mut framed = Framed::new();
        assert_eq!(found(&mut framed, how), begun);
        let pieces = [Piece::Bytes(rest), Piece::Gap(9), Piece::Bytes(b"\0"), Piece::Bytes(&whole)];
        assert_eq!(found(&mut framed, &pieces), [whole.len() - 2]);
    }
    assert_eq!(found(&mut Framed::midway(), &[Piece::Bytes(rest)]), []);
}

#[test]
fn an_endless_message_takes_no_more_than_its_bound() {
    let long = frame(&vec![0; usize::from(u16::MAX)]);
    assert_eq!(found(&mut Framed::new(), &[Piece::Bytes(&long), Piece::Bytes(&frame(b"x"))]), [FRAME_BYTES_MAX, 1]);
    assert_eq!(found(&mut Framed::new(), &[Piece::Bytes(&[0; 64])]), [], "empty messages are nothing");
}
