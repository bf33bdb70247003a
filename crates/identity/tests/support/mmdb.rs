//! A writer of small databases in MaxMind's format, for tests alone: by the format's description, in IPv6 with IPv4 below `::/96`.
#![allow(dead_code)]

use ipnet::IpNet;
use std::net::IpAddr;

/// A value of a record.
#[derive(Debug, Clone)]
pub enum Value {
    Text(String),
    U16(u16),
    U32(u32),
    U64(u64),
    Map(Vec<(String, Value)>),
    Array(Vec<Value>),
}

pub fn text(value: &str) -> Value {
    Value::Text(value.to_owned())
}

pub fn map<const N: usize>(pairs: [(&str, Value); N]) -> Value {
    Value::Map(pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

/// What an ASN database has of a block.
pub fn asn(number: u32, organization: &str) -> Value {
    map([("autonomous_system_number", Value::U32(number)), ("autonomous_system_organization", text(organization))])
}

/// What a City database has of a block; a Country database has no part.
pub fn place(country: &str, part: Option<&str>) -> Value {
    let mut pairs = vec![("country".to_owned(), map([("iso_code", text(country))]))];
    pairs.extend(part.map(|part| ("subdivisions".to_owned(), Value::Array(vec![map([("iso_code", text(part))])]))));
    Value::Map(pairs)
}

#[derive(Clone, Copy)]
enum Child {
    None,
    Node(usize),
    Data(usize),
}

/// The file of a database with these blocks, none within another.
pub fn database(kind: &str, blocks: &[(IpNet, Value)]) -> Vec<u8> {
    let (mut nodes, mut data) = (vec![[Child::None; 2]], Vec::new());
    for (net, value) in blocks {
        let at = data.len();
        write(value, &mut data);
        let (bits, length) = match net.network() {
            IpAddr::V4(v4) => (u128::from(v4.to_bits()), 96 + net.prefix_len()),
            IpAddr::V6(v6) => (v6.to_bits(), net.prefix_len()),
        };
        insert(&mut nodes, bits, length, at);
    }
    let count = nodes.len();
    let mut file = Vec::new();
    for child in nodes.iter().flatten() {
        let record = match child {
            Child::None => count,
            Child::Node(node) => *node,
            Child::Data(at) => count + 16 + at,
        };
        file.extend_from_slice(&(record as u32).to_be_bytes()[1..]);
    }
    file.extend_from_slice(&[0; 16]);
    file.append(&mut data);
    file.extend_from_slice(b"\xab\xcd\xefMaxMind.com");
    let metadata = map([
        ("binary_format_major_version", Value::U16(2)),
        ("binary_format_minor_version", Value::U16(0)),
        ("build_epoch", Value::U64(1_700_000_000)),
        ("database_type", text(kind)),
        ("description", map([("en", text("made for a test"))])),
        ("ip_version", Value::U16(6)),
        ("languages", Value::Array(vec![text("en")])),
        ("node_count", Value::U32(count as u32)),
        ("record_size", Value::U16(24)),
    ]);
    write(&metadata, &mut file);
    file
}

fn insert(nodes: &mut Vec<[Child; 2]>, bits: u128, length: u8, data: usize) {
    let mut node = 0;
    for depth in 0..length {
        let side = (bits >> (127 - depth) & 1) as usize;
        if depth + 1 == length {
            nodes[node][side] = Child::Data(data);
            return;
        }
        node = match nodes[node][side] {
            Child::Node(next) => next,
            _ => {
                nodes.push([Child::None; 2]);
                let next = nodes.len() - 1;
                nodes[node][side] = Child::Node(next);
                next
            }
        };
    }
}

fn head(kind: u8, size: usize, out: &mut Vec<u8>) {
    let (short, long) = if size < 29 { (size as u8, None) } else { (29, Some((size - 29) as u8)) };
    if kind < 8 {
        out.push(kind << 5 | short);
    } else {
        out.extend_from_slice(&[short, kind - 7]);
    }
    out.extend(long);
}

fn number(kind: u8, bytes: &[u8], out: &mut Vec<u8>) {
    let significant = &bytes[bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len())..];
    head(kind, significant.len(), out);
    out.extend_from_slice(significant);
}

fn write(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Text(text) => {
            head(2, text.len(), out);
            out.extend_from_slice(text.as_bytes());
        }
        Value::U16(value) => number(5, &value.to_be_bytes(), out),
        Value::U32(value) => number(6, &value.to_be_bytes(), out),
        Value::U64(value) => number(9, &value.to_be_bytes(), out),
        Value::Map(pairs) => {
            head(7, pairs.len(), out);
            for (key, value) in pairs {
                write(&Value::Text(key.clone()), out);
                write(value, out);
            }
        }
        Value::Array(items) => {
            head(11, items.len(), out);
            items.iter().for_each(|item| write(item, out));
        }
    }
}
