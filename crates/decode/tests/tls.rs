//! The name that TLS clients ask for: what real programs send, cut and split, and what is none.

use edgescope_decode::Piece::{self, Bytes, Gap, Lost};
use edgescope_decode::tls::{ClientHello, HELLO_BYTES_MAX, Outcome, server_name};
use edgescope_fuzz::{hex_lines, sample};

const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus/tls.txt");

fn named(name: &str) -> Outcome {
    Outcome::Name(name.to_owned())
}

/// The last outcome of these pieces.
fn after(pieces: &[Piece<'_>]) -> Outcome {
    let mut hello = ClientHello::new();
    pieces.iter().map(|piece| hello.feed(*piece)).last().expect("a piece")
}

/// The same handshake in records of `size` bytes.
fn in_records(hello: &[u8], size: usize) -> Vec<u8> {
    hello[5..].chunks(size).flat_map(|part| [&[22, 3, 1][..], &(part.len() as u16).to_be_bytes(), part].concat()).collect()
}

/// A ClientHello with these extensions.
fn with_extensions(extensions: &[u8]) -> Vec<u8> {
    let body = [&[3, 3][..], &[7; 32], &[0], &[0, 2, 0x13, 1], &[1, 0], &(extensions.len() as u16).to_be_bytes(), extensions].concat();
    let handshake = [&[1, 0][..], &(body.len() as u16).to_be_bytes(), &body].concat();
    [&[22, 3, 1][..], &(handshake.len() as u16).to_be_bytes(), &handshake].concat()
}

/// The extension that asks for `name`, of this kind of name.
fn asks_for(kind: u8, name: &[u8]) -> Vec<u8> {
    let length = |more: usize| ((name.len() + more) as u16).to_be_bytes();
    [&[0, 0][..], &length(5), &length(3), &[kind], &length(0), name].concat()
}

#[test]
fn real_clients_ask_for_a_name() {
    let asked = [
        ("curl-openssl", named("shop.example")),
        ("openssl-tls12", named("cart.shop.example")),
        ("openssl-noname", Outcome::Unnamed),
        ("node", named("node.shop.example")),
        ("python", named("python.shop.example")),
        ("chromium", named("games.shop.example")),
    ];
    assert_eq!(hex_lines(CORPUS).len(), asked.len());
    for (client, outcome) in asked {
        assert_eq!(server_name(&sample(CORPUS, client)), outcome, "{client}");
    }
}

#[test]
fn it_does_not_matter_how_it_is_split() {
    for (client, hello) in hex_lines(CORPUS) {
        let whole = server_name(&hello);
        for size in [1, 3, 50, 500] {
            let pieces: Vec<_> = hello.chunks(size).map(Bytes).collect();
            assert_eq!(after(&pieces), whole, "{client} in packets of {size}");
            assert_eq!(after(&[Bytes(&in_records(&hello, size))]), whole, "{client} in records of {size}");
        }
    }
}

#[test]
fn a_name_is_found_as_soon_as_it_is_there() {
    for (client, hello) in hex_lines(CORPUS) {
        let whole = server_name(&hello);
        let outcomes: Vec<_> = (0..=hello.len()).map(|end| server_name(&hello[..end])).collect();
        let found = outcomes.iter().position(|outcome| *outcome == whole).expect("found at the end");
        assert!(outcomes[..6].iter().all(|outcome| *outcome == Outcome::Other), "{client}");
        assert!(outcomes[6..found].iter().all(|outcome| *outcome == Outcome::Cut), "{client}");
        assert!(outcomes[found..].iter().all(|outcome| *outcome == whole), "{client}");
    }
}

#[test]
fn a_hole_ends_it() {
    let hello = sample(CORPUS, "curl-openssl");
    assert_eq!(after(&[Bytes(&hello[..50]), Gap(0), Bytes(&hello[50..])]), named("shop.example"));
    assert_eq!(after(&[Bytes(&hello[..50]), Gap(1), Bytes(&hello[51..])]), Outcome::Cut);
    assert_eq!(after(&[Bytes(&hello[..50]), Lost, Bytes(&hello)]), Outcome::Cut, "final");
    assert_eq!(after(&[Lost, Bytes(&hello)]), Outcome::Other);
    assert_eq!(after(&[Bytes(&hello), Lost]), named("shop.example"), "final");
}

#[test]
fn what_is_no_client_hello() {
    let mut server_hello = sample(CORPUS, "node");
    server_hello[5] = 2;
    let mut old = sample(CORPUS, "node");
    old[9] = 2;
    for bytes in
        [&server_hello[..], &old, b"GET / HTTP/1.1\r\n", b"\x17\x03\x03\x00\x01x", b"\x16\x02\0\0\x01x", b"\x16\x03\x01\0\0", b"\x16\x03\x01\xff\xff"]
    {
        assert_eq!(server_name(bytes), Outcome::Other, "{bytes:?}");
    }
    assert_eq!(server_name(b""), Outcome::Other);
}

#[test]
fn names_are_what_names_are_made_of() {
    assert_eq!(server_name(&with_extensions(&asks_for(0, b"Shop.Example."))), named("shop.example"));
    for name in [&b"<script>"[..], b"a b", b"", b"\xff", &[b'a'; 300]] {
        assert_eq!(server_name(&with_extensions(&asks_for(0, name))), Outcome::Unnamed, "{name:?}");
    }
    assert_eq!(server_name(&with_extensions(&asks_for(9, b"shop"))), Outcome::Unnamed, "another kind of name");
    assert_eq!(server_name(&with_extensions(&[])), Outcome::Unnamed);
}

#[test]
fn lengths_that_contradict_each_other_are_no_hello() {
    let good = asks_for(0, b"shop");
    for (at, wrong) in [(3, 0x99), (5, 0x09), (8, 0x09)] {
        let mut extension = good.clone();
        extension[at] = wrong;
        assert_eq!(server_name(&with_extensions(&extension)), Outcome::Other, "byte {at}");
    }
    let hello = with_extensions(&good);
    for at in [43, 45, 48] {
        let mut hello = hello.clone();
        hello[at] = 0xff;
        assert_ne!(server_name(&hello), named("shop"), "byte {at}");
    }
}

/// RFC 5246, §7.4.1.2: a ClientHello may end before its extensions.
#[test]
fn no_extensions_at_all() {
    let body = [&[3, 3][..], &[7; 32], &[0], &[0, 2, 0, 0x2f], &[1, 0]].concat();
    let handshake = [&[1, 0, 0, body.len() as u8][..], &body].concat();
    assert_eq!(server_name(&[&[22, 3, 1, 0, handshake.len() as u8][..], &handshake].concat()), Outcome::Unnamed);
}

#[test]
fn a_hello_beyond_its_bound_is_cut() {
    let padding = |bytes: u16| [&[0, 21][..], &bytes.to_be_bytes(), &vec![0; usize::from(bytes)]].concat();
    assert_eq!(server_name(&with_extensions(&[padding(6000), asks_for(0, b"shop")].concat())), named("shop"));
    assert_eq!(server_name(&with_extensions(&[padding(HELLO_BYTES_MAX as u16), asks_for(0, b"shop")].concat())), Outcome::Cut);
}
