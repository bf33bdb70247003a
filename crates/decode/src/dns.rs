//! DNS messages (RFC 1035; RFC 6891 for the extended code), as far as they were captured.
//!
//! Names are read by hickory's reader, which follows compression safely. Of the records only those are kept that say where a name
//! leads: addresses and aliases of the answer section. Glue of the other sections was not asked for and names nothing.

mod framed;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hickory_proto::rr::Name;
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder, DecodeError};

use crate::text::push_escaped;
pub use framed::{FRAME_BYTES_MAX, FRAMED_HEAP_BYTES_MAX, Framed};

/// A longer name, which only escapes can make, is cut here. RFC 1035 allows 255 bytes on the wire, which are 253 in text.
pub const NAME_BYTES_MAX: usize = 253;
/// Addresses of one message that are kept; what exceeds them is counted in [`Message::left_out`].
pub const ADDRESSES_MAX: usize = 64;
/// Aliases of one message that are kept; resolvers give up on far shorter chains.
pub const ALIASES_MAX: usize = 16;
/// Records of one message that are looked at. 64 KiB hold 6,000 of the smallest, each of which may unfold a name of 127 labels;
/// a zone transfer's messages hold hundreds.
pub const RECORDS_MAX: usize = 1024;

/// What reading a message may take of the heap: its [`ADDRESSES_MAX`] addresses and [`ALIASES_MAX`] pairs of aliases, each name with its text, the names
/// of the record at hand, and the lists while they grow to twice their size.
pub const HEAP_BYTES_MAX: usize = (ADDRESSES_MAX + 2 * ALIASES_MAX + 4) * (TEXT_BYTES_MAX + 3 * std::mem::size_of::<Address>());
/// A name's text, in a string that doubles as it grows beyond the name's own length.
const TEXT_BYTES_MAX: usize = 2 * NAME_BYTES_MAX + 8;

const HEADER_BYTES: usize = 12;
const CLASS_INTERNET: u16 = 1;

/// Types of questions and records, as IANA lists them.
pub mod kind {
    pub const A: u16 = 1;
    pub const CNAME: u16 = 5;
    pub const AAAA: u16 = 28;
    pub const OPT: u16 = 41;
}

/// One message. Names are in lower case, without the final dot (the root is `.`), at most [`NAME_BYTES_MAX`] bytes of printable ASCII;
/// any other byte of a label, and a dot within one, is written `\ddd`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Message {
    pub id: u16,
    /// A response, not a query.
    pub response: bool,
    /// 0 is a standard query; see IANA's list for notify, update and others.
    pub opcode: u8,
    /// The sender left out what did not fit (the TC bit): the client asks again over TCP.
    pub truncated: bool,
    /// The response code, with the upper bits of EDNS if its record was read.
    pub rcode: u16,
    /// None where the message has no question, or several.
    pub question: Option<Question>,
    /// What the answers of a standard query's response say; empty for anything else.
    pub addresses: Vec<Address>,
    /// Alias and what it stands for, in the order of the answers; of the same messages.
    pub aliases: Vec<(String, String)>,
    /// Addresses and aliases beyond [`ADDRESSES_MAX`] and [`ALIASES_MAX`].
    pub left_out: u16,
    /// The payload ended, made no sense any more, or went beyond [`RECORDS_MAX`], before all announced records were read.
    pub cut: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    pub name: String,
    /// See [`kind`].
    pub kind: u16,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// The record's own name: the end of the chain of aliases, where there is one.
    pub name: String,
    pub address: IpAddr,
    pub ttl_s: u32,
}

/// Why a payload is no DNS message, or too little of one.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    #[error("{0} bytes, a DNS header has 12")]
    Header(usize),
    #[error("the question of a DNS message: {0}")]
    Question(#[source] DecodeError),
}

/// Reads a message from the payload of a datagram, or from what [`Framed`] found in a connection. The payload may end early: header and
/// question are required, then as many records are read as are whole.
pub fn message(payload: &[u8]) -> Result<Message, Error> {
    let (mut message, counts) = header(payload)?;
    let mut reader = BinDecoder::new(payload.get(..usize::from(u16::MAX)).unwrap_or(payload));
    let body = reader.read_slice(HEADER_BYTES).and_then(|_| questions(&mut reader, counts.questions));
    match (body, counts.questions) {
        (Ok(question), _) => message.question = question,
        (Err(error), 1) => return Err(Error::Question(error)),
        (Err(_), _) => {
            message.cut = true;
            return Ok(message);
        }
    }
    message.cut = records(&mut reader, &mut message, counts).is_err();
    Ok(message)
}

struct Counts {
    questions: u16,
    answers: usize,
    records: usize,
}

fn header(payload: &[u8]) -> Result<(Message, Counts), Error> {
    let words: &[u8; HEADER_BYTES] = payload.first_chunk().ok_or(Error::Header(payload.len()))?;
    let word = |n: usize| u16::from_be_bytes([words[2 * n], words[2 * n + 1]]);
    let [upper, lower] = word(1).to_be_bytes();
    let message = Message {
        id: word(0),
        response: upper & 0x80 != 0,
        opcode: upper >> 3 & 0x0f,
        truncated: upper & 0x02 != 0,
        rcode: u16::from(lower & 0x0f),
        ..Message::default()
    };
    let answers = usize::from(word(3));
    let counts = Counts { questions: word(2), answers, records: answers + usize::from(word(4)) + usize::from(word(5)) };
    Ok((message, counts))
}

/// Reads past all questions; says the first if it is the only one.
fn questions(reader: &mut BinDecoder<'_>, count: u16) -> Result<Option<Question>, DecodeError> {
    if usize::from(count) > RECORDS_MAX {
        return Err(DecodeError::InsufficientBytes);
    }
    let mut only = None;
    for _ in 0..count {
        let name = Name::read(reader)?;
        let kind = word(reader)?;
        word(reader)?; // the class
        if count == 1 {
            only = Some(Question { name: text(&name), kind });
        }
    }
    Ok(only)
}

fn records(reader: &mut BinDecoder<'_>, message: &mut Message, counts: Counts) -> Result<(), DecodeError> {
    let answers = if message.response && message.opcode == 0 { counts.answers } else { 0 };
    for nth in 0..counts.records {
        if nth == RECORDS_MAX {
            return Err(DecodeError::InsufficientBytes);
        }
        let owner = Name::read(reader)?;
        let (kind, class) = (word(reader)?, word(reader)?);
        let ttl = reader.read_u32()?.unverified();
        let length = usize::from(word(reader)?);
        let mut data = BinDecoder::clone(reader, u16::try_from(reader.index()).map_err(|_| DecodeError::InsufficientBytes)?);
        let bytes = reader.read_slice(length)?.unverified();
        if kind == kind::OPT {
            message.rcode |= u16::from(ttl.to_be_bytes()[0]) << 4;
        }
        if nth < answers && class == CLASS_INTERNET {
            answer(message, &owner, kind, ttl, bytes, &mut data)?;
        }
    }
    Ok(())
}

/// Keeps what an answer says. `data` stands at the start of `bytes`, the record's data.
fn answer(message: &mut Message, owner: &Name, kind: u16, ttl: u32, bytes: &[u8], data: &mut BinDecoder<'_>) -> Result<(), DecodeError> {
    let wrong = || DecodeError::InsufficientBytes;
    let address = match kind {
        kind::A => IpAddr::from(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).map_err(|_| wrong())?)),
        kind::AAAA => IpAddr::from(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).map_err(|_| wrong())?)),
        kind::CNAME => {
            let end = data.index() + bytes.len();
            let target = Name::read(data)?;
            if data.index() != end {
                return Err(wrong());
            }
            if message.aliases.len() < ALIASES_MAX {
                message.aliases.push((text(owner), text(&target)));
            } else {
                message.left_out += 1;
            }
            return Ok(());
        }
        _ => return Ok(()),
    };
    if message.addresses.len() < ADDRESSES_MAX {
        // RFC 2181, §8: a time to live with the top bit set is zero.
        let ttl_s = i32::try_from(ttl).map_or(0, |_| ttl);
        message.addresses.push(Address { name: text(owner), address, ttl_s });
    } else {
        message.left_out += 1;
    }
    Ok(())
}

fn word(reader: &mut BinDecoder<'_>) -> Result<u16, DecodeError> {
    Ok(reader.read_u16()?.unverified())
}

fn text(name: &Name) -> String {
    let mut text = String::with_capacity(name.len());
    for (nth, label) in name.iter().enumerate() {
        if nth > 0 {
            text.push('.');
        }
        for byte in label {
            if text.len() >= NAME_BYTES_MAX {
                break;
            }
            push_escaped(&mut text, byte.to_ascii_lowercase(), |byte| byte != b'.');
        }
    }
    if text.is_empty() {
        text.push('.');
    }
    text.truncate(NAME_BYTES_MAX); // ASCII: any place is between two characters
    text
}
