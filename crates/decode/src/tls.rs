//! The name that a TLS client asks for: `server_name` (RFC 6066, §3) in its ClientHello (RFC 8446, §4.1.2), which may lie in several records
//! and several packets. With an encrypted ClientHello it is the name of the provider's front, as anyone on the path sees it.

use crate::{Piece, text};

/// So much of a ClientHello is kept and looked at. One with a post-quantum key share has 1.8 KiB; its extensions come in any order.
pub const HELLO_BYTES_MAX: usize = 8192;
/// What a [`ClientHello`] may take of the heap: what it keeps, in a list that doubles and is copied as it grows, and the name.
pub const HEAP_BYTES_MAX: usize = 3 * HELLO_BYTES_MAX + 1024;

const RECORD_HEADER_BYTES: usize = 5;
const RECORD_HANDSHAKE: u8 = 22;
/// RFC 8446, §5.1.
const RECORD_BYTES_MAX: usize = 1 << 14;
const HANDSHAKE_CLIENT_HELLO: u8 = 1;
const EXTENSION_SERVER_NAME: u16 = 0;
const NAME_HOST: u8 = 0;

/// What is known after the bytes so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It may still come.
    More,
    /// The name, in lower case and made of what names are made of.
    Name(String),
    /// A ClientHello without a name, or with one that is none.
    Unnamed,
    /// A ClientHello so far, but the rest is not captured or beyond [`HELLO_BYTES_MAX`].
    Cut,
    /// Not TLS, or not the start of a connection.
    Other,
}

/// Reads what a client sends first. Holds at most [`HEAP_BYTES_MAX`] bytes, none but the name after the outcome.
#[derive(Debug, Default)]
pub struct ClientHello {
    header: Vec<u8>,
    /// Bytes of the current record still to come.
    record: usize,
    hello: Vec<u8>,
    outcome: Option<Outcome>,
}

/// The name in a first packet alone. What does not fit into it is [`Outcome::Cut`].
pub fn server_name(payload: &[u8]) -> Outcome {
    let mut hello = ClientHello::new();
    hello.feed(Piece::Bytes(payload));
    hello.feed(Piece::Lost)
}

impl ClientHello {
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes what the client sent next. An outcome other than [`Outcome::More`] is final.
    pub fn feed(&mut self, piece: Piece<'_>) -> Outcome {
        if let Some(outcome) = &self.outcome {
            return outcome.clone();
        }
        let outcome = match piece {
            Piece::Bytes(bytes) => self.bytes(bytes),
            Piece::Gap(0) => Outcome::More,
            Piece::Gap(_) | Piece::Lost if self.hello.is_empty() => Outcome::Other,
            Piece::Gap(_) | Piece::Lost => Outcome::Cut,
        };
        if outcome != Outcome::More {
            *self = Self { outcome: Some(outcome.clone()), ..Self::default() };
        }
        outcome
    }

    fn bytes(&mut self, mut bytes: &[u8]) -> Outcome {
        while !bytes.is_empty() {
            if self.record == 0 {
                let (more, rest) = bytes.split_at(bytes.len().min(RECORD_HEADER_BYTES - self.header.len()));
                self.header.extend_from_slice(more);
                bytes = rest;
                match record_length(&self.header) {
                    Err(()) => return Outcome::Other,
                    Ok(None) => continue,
                    Ok(Some(length)) => self.record = length,
                }
                self.header.clear();
                continue;
            }
            let (fragment, rest) = bytes.split_at(bytes.len().min(self.record));
            self.hello.extend_from_slice(&fragment[..fragment.len().min(HELLO_BYTES_MAX - self.hello.len())]);
            self.record -= fragment.len();
            bytes = rest;
            match name_in(&self.hello) {
                Err(Stop::Short) if self.hello.len() == HELLO_BYTES_MAX => return Outcome::Cut,
                Err(Stop::Short) => {}
                Err(Stop::Wrong) => return Outcome::Other,
                Ok(Some(name)) => return text::host(name).map_or(Outcome::Unnamed, Outcome::Name),
                Ok(None) => return Outcome::Unnamed,
            }
        }
        Outcome::More
    }
}

/// The length of a handshake record, if its header is whole; an error as soon as it cannot be one.
fn record_length(header: &[u8]) -> Result<Option<usize>, ()> {
    match *header {
        [kind, ..] if kind != RECORD_HANDSHAKE => Err(()),
        [_, major, ..] if major != 3 => Err(()),
        [_, _, _, upper, lower] => match usize::from(u16::from_be_bytes([upper, lower])) {
            0 => Err(()),
            length if length > RECORD_BYTES_MAX => Err(()),
            length => Ok(Some(length)),
        },
        _ => Ok(None),
    }
}

enum Stop {
    /// The bytes end before it is known.
    Short,
    /// This is no ClientHello.
    Wrong,
}

/// The name in a ClientHello, whose end may be missing.
fn name_in(hello: &[u8]) -> Result<Option<&[u8]>, Stop> {
    let mut reader = Reader { bytes: hello, missing: usize::MAX - hello.len() };
    if reader.number::<1>()? != usize::from(HANDSHAKE_CLIENT_HELLO) {
        return Err(Stop::Wrong);
    }
    let mut body = reader.part::<3>()?;
    if body.number::<1>()? != 3 {
        return Err(Stop::Wrong);
    }
    body.take(1 + 32)?; // minor version, random
    body.part::<1>()?.whole()?; // the session's identity
    body.part::<2>()?.whole()?; // cipher suites
    body.part::<1>()?.whole()?; // compression methods
    if body.ended() {
        return Ok(None); // TLS 1.2 may have no extensions
    }
    let mut extensions = body.part::<2>()?;
    while !extensions.ended() {
        let kind = extensions.number::<2>()?;
        let data = extensions.part::<2>()?;
        if kind != usize::from(EXTENSION_SERVER_NAME) {
            data.whole()?;
            continue;
        }
        let mut names = { data }.part::<2>()?;
        while !names.ended() {
            let kind = names.number::<1>()?;
            let name = names.part::<2>()?.whole()?;
            if kind == usize::from(NAME_HOST) {
                return Ok(Some(name));
            }
        }
        return Ok(None);
    }
    Ok(None)
}

/// A field with a length, of which perhaps only the start is there.
struct Reader<'a> {
    bytes: &'a [u8],
    /// How many bytes of it were not captured.
    missing: usize,
}

impl<'a> Reader<'a> {
    fn ended(&self) -> bool {
        self.bytes.is_empty() && self.missing == 0
    }

    fn whole(self) -> Result<&'a [u8], Stop> {
        if self.missing == 0 { Ok(self.bytes) } else { Err(Stop::Short) }
    }

    fn take(&mut self, bytes: usize) -> Result<&'a [u8], Stop> {
        self.field(bytes)?.whole()
    }

    fn number<const BYTES: usize>(&mut self) -> Result<usize, Stop> {
        Ok(self.take(BYTES)?.iter().fold(0, |number, byte| number << 8 | usize::from(*byte)))
    }

    /// The field whose length stands before it in so many bytes.
    fn part<const BYTES: usize>(&mut self) -> Result<Reader<'a>, Stop> {
        let length = self.number::<BYTES>()?;
        self.field(length)
    }

    fn field(&mut self, length: usize) -> Result<Reader<'a>, Stop> {
        let (bytes, rest) = self.bytes.split_at(length.min(self.bytes.len()));
        let missing = length - bytes.len();
        self.bytes = rest;
        self.missing = self.missing.checked_sub(missing).ok_or(Stop::Wrong)?;
        Ok(Reader { bytes, missing })
    }
}
