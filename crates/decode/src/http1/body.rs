//! Where a body ends (RFC 9112, §6 and §7), counted and not kept.

/// A longer line of a chunk's size, with its extensions, is no chunk.
const CHUNK_LINE_BYTES_MAX: usize = 1024;
/// More trailer fields than this are not waited for.
const TRAILER_BYTES_MAX: usize = 16384;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Body {
    /// So many bytes are still to come.
    Length(u64),
    Chunked(Chunk),
    /// The rest of the connection.
    UntilClose,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Chunk {
    /// In the line of a chunk's size: its digits so far, how many bytes of the line went by, whether the digits have ended.
    Size { bytes: u64, line: usize, ended: bool },
    /// In a chunk, or the line break after it.
    Data(u64),
    /// After the last chunk: bytes of the current line without its break, and of all.
    Trailer { line: usize, all: usize },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// The body goes on.
    More,
    /// The body has ended; what is left of the bytes, or of the gap, is not of it.
    Ended(usize),
    /// This is no such body, or a hole hides where its next part begins.
    Broken,
}

impl Body {
    pub(super) fn chunked() -> Self {
        Self::Chunked(Chunk::START)
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) -> Progress {
        match self {
            Self::Length(missing) => pass(missing, bytes.len()),
            Self::Chunked(chunk) => chunk.bytes(bytes),
            Self::UntilClose => Progress::More,
        }
    }

    /// Bytes that went by without being captured.
    pub(super) fn gap(&mut self, bytes: usize) -> Progress {
        match self {
            Self::Length(missing) => pass(missing, bytes),
            Self::Chunked(Chunk::Data(missing)) if bytes as u64 <= *missing => {
                *missing -= bytes as u64;
                Progress::More
            }
            Self::Chunked(_) => Progress::Broken,
            Self::UntilClose => Progress::More,
        }
    }
}

fn pass(missing: &mut u64, bytes: usize) -> Progress {
    let passed = (bytes as u64).min(*missing);
    *missing -= passed;
    match *missing {
        0 => Progress::Ended(bytes - passed as usize),
        _ => Progress::More,
    }
}

impl Chunk {
    const START: Self = Self::Size { bytes: 0, line: 0, ended: false };

    fn bytes(&mut self, mut bytes: &[u8]) -> Progress {
        while let Some((&byte, rest)) = bytes.split_first() {
            if let Self::Data(missing @ 1..) = self {
                let passed = (bytes.len() as u64).min(*missing);
                *missing -= passed;
                bytes = &bytes[passed as usize..];
                continue;
            }
            if matches!(self, Self::Data(0)) {
                *self = Self::START;
            }
            bytes = rest;
            match self.step(byte) {
                Progress::More => {}
                Progress::Ended(_) => return Progress::Ended(bytes.len()),
                Progress::Broken => return Progress::Broken,
            }
        }
        Progress::More
    }

    /// One byte of a line.
    fn step(&mut self, byte: u8) -> Progress {
        match self {
            Self::Size { line: 0, .. } if !byte.is_ascii_hexdigit() => return Progress::Broken,
            Self::Size { bytes, .. } if byte == b'\n' => {
                *self = if *bytes == 0 { Self::Trailer { line: 0, all: 0 } } else { Self::Data(*bytes + 2) };
            }
            Self::Size { bytes, line, ended } => {
                *line += 1;
                match char::from(byte).to_digit(16) {
                    // 2^56 bytes are more than any body has, and far from an overflow
                    Some(_) if !*ended && *bytes >> 52 != 0 => return Progress::Broken,
                    Some(digit) if !*ended => *bytes = *bytes << 4 | u64::from(digit),
                    _ => *ended = true,
                }
                if *line > CHUNK_LINE_BYTES_MAX {
                    return Progress::Broken;
                }
            }
            Self::Trailer { line: 0, .. } if byte == b'\n' => return Progress::Ended(0),
            Self::Trailer { line, .. } if byte == b'\n' => *line = 0,
            Self::Trailer { all, .. } if *all == TRAILER_BYTES_MAX => return Progress::Broken,
            Self::Trailer { line, all } => {
                *line += usize::from(byte != b'\r');
                *all += 1;
            }
            Self::Data(_) => {}
        }
        Progress::More
    }
}
