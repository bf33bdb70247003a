//! Header compression of HTTP/2 (RFC 7541), as far as this crate wants it.
//!
//! The table of a connection has to be followed in full, since later fields refer to it by place. But of a field that is none of ours only its
//! size is kept: credentials and cookies are passed over where they stand, and of a path its template is all that the table holds.
//!
//! That is why this is our own code. Libraries hand out every field, and keep it: httlib-hpack 0.1.3 moreover panics on a field that ends early,
//! loona-hpack 0.4.3 builds the Huffman code anew for each text, and h2 keeps its own to itself.

use std::collections::VecDeque;

use super::huffman;
use crate::http::{self, host, path_template, path_template_cut};

/// A table may grow to what Chromium offers; most peers leave it at 4 KiB.
pub(super) const TABLE_BYTES_MAX: usize = 65536;
const TABLE_BYTES_INITIAL: usize = 4096;
/// What an entry counts beyond its texts (§4.1).
const ENTRY_BYTES: usize = 32;
/// Fields of one block that are looked at.
const FIELDS_MAX: usize = 1024;
/// Of a text so much is looked at.
const TEXT_BYTES_MAX: usize = 1024;
/// Lengths and indices beyond this are no such thing: no block is as long.
const INTEGER_MAX: usize = 1 << 24;

/// Why a block cannot be read, after which no later block of that direction can.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("a field ends early")]
    Short,
    #[error("an integer beyond {INTEGER_MAX}")]
    Integer,
    #[error("no field has the index {0}")]
    Index(usize),
    #[error("a text that is not in the Huffman code")]
    Huffman,
    #[error("a table of {0} bytes, at most {TABLE_BYTES_MAX}")]
    Table(usize),
    #[error("more than {FIELDS_MAX} fields")]
    Fields,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Name {
    Method,
    Path,
    Authority,
    Host,
    Status,
    GrpcStatus,
    ContentType,
    Other,
}

/// A field, as far as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Field {
    Method(&'static str),
    /// The template.
    Path(Box<str>),
    /// Of `:authority`.
    Authority(Option<Box<str>>),
    /// Of `host`, which HTTP/1 gateways pass on.
    Host(Option<Box<str>>),
    /// 0 if it is none.
    Status(u16),
    GrpcStatus(Option<u16>),
    /// Whether the content is gRPC's: `application/grpc`, alone or with what it carries.
    IsGrpc(bool),
    Other,
}

#[derive(Debug)]
struct Entry {
    name: Name,
    name_bytes: usize,
    value_bytes: usize,
    field: Field,
}

impl Entry {
    fn bytes(&self) -> usize {
        self.name_bytes + self.value_bytes + ENTRY_BYTES
    }
}

/// What one direction of a connection has said of its fields.
#[derive(Debug)]
pub(super) struct Table {
    /// The newest first.
    entries: VecDeque<Entry>,
    bytes: usize,
    bytes_max: usize,
}

impl Table {
    pub(super) fn new() -> Self {
        Self { entries: VecDeque::new(), bytes: 0, bytes_max: TABLE_BYTES_INITIAL }
    }

    /// As the peers count it, with 32 bytes an entry beside its texts.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Reads a whole block and calls `found` with each field of it.
    pub(super) fn read(&mut self, block: &[u8], mut found: impl FnMut(&Field)) -> Result<(), Error> {
        let mut reader = Reader(block);
        let mut fields = 0;
        while let Some(&first) = reader.0.first() {
            fields += 1;
            if fields > FIELDS_MAX {
                return Err(Error::Fields);
            }
            if first & 0x80 != 0 {
                let index = reader.integer(7)?;
                match index.checked_sub(1 + STATIC.len()) {
                    None => found(&fixed(index)?.2),
                    Some(place) => found(&self.entries.get(place).ok_or(Error::Index(index))?.field),
                }
            } else if first & 0x40 != 0 {
                let entry = self.literal(&mut reader, 6)?;
                found(&entry.field);
                self.insert(entry);
            } else if first & 0x20 != 0 {
                let bytes = reader.integer(5)?;
                if bytes > TABLE_BYTES_MAX {
                    return Err(Error::Table(bytes));
                }
                self.bytes_max = bytes;
                self.evict(0);
            } else {
                found(&self.literal(&mut reader, 4)?.field);
            }
        }
        Ok(())
    }

    /// A name, perhaps by its index, and a value.
    fn literal(&self, reader: &mut Reader<'_>, prefix: u32) -> Result<Entry, Error> {
        let index = reader.integer(prefix)?;
        let (name, name_bytes) = match index.checked_sub(1 + STATIC.len()) {
            _ if index == 0 => {
                let text = reader.text()?;
                (name(&text.kept), text.bytes)
            }
            None => fixed(index).map(|(name, bytes, _)| (name, bytes))?,
            Some(place) => self.entries.get(place).map(|entry| (entry.name, entry.name_bytes)).ok_or(Error::Index(index))?,
        };
        let value = reader.text()?;
        Ok(Entry { name, name_bytes, value_bytes: value.bytes, field: field(name, &value.kept, value.bytes > value.kept.len()) })
    }

    fn insert(&mut self, entry: Entry) {
        let bytes = entry.bytes();
        self.evict(bytes);
        if bytes <= self.bytes_max {
            self.bytes += bytes;
            self.entries.push_front(entry);
        }
    }

    /// Drops the oldest until `room` bytes fit; all of them, if it never will (§4.4).
    fn evict(&mut self, room: usize) {
        while self.bytes + room > self.bytes_max {
            let Some(oldest) = self.entries.pop_back() else { break };
            self.bytes -= oldest.bytes();
        }
    }
}

/// A text as long as it was, of which the start is kept.
struct Text {
    kept: Vec<u8>,
    bytes: usize,
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, bytes: usize) -> Result<&'a [u8], Error> {
        let (taken, rest) = self.0.split_at_checked(bytes).ok_or(Error::Short)?;
        self.0 = rest;
        Ok(taken)
    }

    /// §5.1: the low bits of the first byte, and if they are all set, seven bits in each that follows.
    fn integer(&mut self, prefix: u32) -> Result<usize, Error> {
        let mask = (1usize << prefix) - 1;
        let mut value = usize::from(self.take(1)?[0]) & mask;
        if value < mask {
            return Ok(value);
        }
        for shift in [0, 7, 14, 21] {
            let byte = usize::from(self.take(1)?[0]);
            value += (byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return if value <= INTEGER_MAX { Ok(value) } else { Err(Error::Integer) };
            }
        }
        Err(Error::Integer)
    }

    fn text(&mut self) -> Result<Text, Error> {
        let is_huffman = self.0.first().is_some_and(|first| first & 0x80 != 0);
        let length = self.integer(7)?;
        let raw = self.take(length)?;
        let mut text = Text { kept: Vec::new(), bytes: raw.len() };
        if !is_huffman {
            text.kept.extend_from_slice(&raw[..raw.len().min(TEXT_BYTES_MAX)]);
            return Ok(text);
        }
        text.bytes = 0;
        let whole = huffman::decode(raw, |byte| {
            text.bytes += 1;
            if text.bytes <= TEXT_BYTES_MAX {
                text.kept.push(byte);
            }
        });
        if whole { Ok(text) } else { Err(Error::Huffman) }
    }
}

fn name(text: &[u8]) -> Name {
    match text {
        b":method" => Name::Method,
        b":path" => Name::Path,
        b":authority" => Name::Authority,
        b"host" => Name::Host,
        b":status" => Name::Status,
        b"grpc-status" => Name::GrpcStatus,
        b"content-type" => Name::ContentType,
        _ => Name::Other,
    }
}

/// `cut`: the value's end is missing.
fn field(name: Name, value: &[u8], cut: bool) -> Field {
    let number = || std::str::from_utf8(value).ok().and_then(|text| text.parse::<u16>().ok());
    match name {
        Name::Method => Field::Method(http::method(value)),
        Name::Path => {
            let path = String::from_utf8_lossy(value);
            Field::Path(if cut { path_template_cut(&path) } else { path_template(&path) }.into())
        }
        Name::Authority => Field::Authority(host(value).map(Into::into)),
        Name::Host => Field::Host(host(value).map(Into::into)),
        Name::Status => Field::Status(number().filter(|status| (100..1000).contains(status)).unwrap_or(0)),
        Name::GrpcStatus => Field::GrpcStatus(number()),
        Name::ContentType => Field::IsGrpc(is_grpc(value)),
        Name::Other => Field::Other,
    }
}

/// gRPC over HTTP/2, "Requests": content types of gRPC-Web (`application/grpc-web`) are another protocol.
fn is_grpc(content_type: &[u8]) -> bool {
    const GRPC: &[u8] = b"application/grpc";
    let rest = content_type.get(GRPC.len()..).filter(|_| content_type[..GRPC.len()].eq_ignore_ascii_case(GRPC));
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';' | b' ')))
}

/// An entry of the static table: its name, the name's length, the field.
fn fixed(index: usize) -> Result<(Name, usize, Field), Error> {
    let (text, value) = index.checked_sub(1).and_then(|place| STATIC.get(place)).ok_or(Error::Index(index))?;
    let name = name(text.as_bytes());
    Ok((name, text.len(), field(name, value.as_bytes(), false)))
}

/// RFC 7541, appendix A.
#[rustfmt::skip]
const STATIC: [(&str, &str); 61] = [
    (":authority", ""), (":method", "GET"), (":method", "POST"), (":path", "/"), (":path", "/index.html"), (":scheme", "http"),
    (":scheme", "https"), (":status", "200"), (":status", "204"), (":status", "206"), (":status", "304"), (":status", "400"),
    (":status", "404"), (":status", "500"), ("accept-charset", ""), ("accept-encoding", "gzip, deflate"), ("accept-language", ""),
    ("accept-ranges", ""), ("accept", ""), ("access-control-allow-origin", ""), ("age", ""), ("allow", ""), ("authorization", ""),
    ("cache-control", ""), ("content-disposition", ""), ("content-encoding", ""), ("content-language", ""), ("content-length", ""),
    ("content-location", ""), ("content-range", ""), ("content-type", ""), ("cookie", ""), ("date", ""), ("etag", ""), ("expect", ""),
    ("expires", ""), ("from", ""), ("host", ""), ("if-match", ""), ("if-modified-since", ""), ("if-none-match", ""), ("if-range", ""),
    ("if-unmodified-since", ""), ("last-modified", ""), ("link", ""), ("location", ""), ("max-forwards", ""),
    ("proxy-authenticate", ""), ("proxy-authorization", ""), ("range", ""), ("referer", ""), ("refresh", ""), ("retry-after", ""),
    ("server", ""), ("set-cookie", ""), ("strict-transport-security", ""), ("transfer-encoding", ""), ("user-agent", ""), ("vary", ""),
    ("via", ""), ("www-authenticate", ""),
];
