//! Packets out of a capture file, one after the other, in constant memory; and where a damaged one ends.

use crate::open::{Bytes, Failure};
use pcap_parser::pcapng::{Block, InterfaceDescriptionBlock, OptionCode, SectionHeaderBlock};
use pcap_parser::traits::{PcapNGPacketBlock, PcapReaderIterator};
use pcap_parser::{LegacyPcapReader, PcapBlockOwned, PcapError, PcapHeader, PcapNGReader};
use serde::Serialize;
use std::io::Read;
use std::ops::ControlFlow;

/// Longest block of a capture: a packet with its options. tcpdump cuts packets at 256 KiB, the largest that Linux makes are 512 KiB.
pub const BLOCK_BYTES_MAX: usize = 4 << 20;
/// The buffer begins with this, and grows as blocks ask for it.
const BUFFER_BYTES: usize = 64 << 10;
/// Interfaces of a section of a pcapng file.
pub const INTERFACES_MAX: usize = 4096;

const NS_PER_S: u64 = 1_000_000_000;
const PCAPNG: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];
/// The obsolete packet block, which old files have and the parser does not know.
const PACKET_BLOCK: u32 = 2;

/// One captured packet.
#[derive(Debug, Clone, Copy)]
pub struct Packet<'a> {
    /// Counted from 1, as Wireshark does.
    pub number: u64,
    /// Nanoseconds since 1970.
    pub at_ns: u64,
    /// `LINKTYPE_…` of its interface.
    pub link_type: u16,
    /// What was captured of it.
    pub data: &'a [u8],
    /// Its length on the wire.
    pub length: usize,
    /// False if the file has no time for it; `at_ns` is then that of the packet before.
    pub has_time: bool,
}

/// Why and where reading ended before the end of the capture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Damage {
    /// Where the first unreadable thing begins, in the decompressed capture.
    pub offset_bytes: u64,
    /// Packets read before it.
    pub packets: u64,
    pub what: String,
}

impl Damage {
    /// False if the file is no capture at all, or ends within its first header.
    pub fn leaves_something(&self) -> bool {
        self.offset_bytes > 0
    }
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "damaged at byte {}, after packet {}: {}", self.offset_bytes, self.packets, self.what)
    }
}

/// Reads all packets, or until `each` breaks; `None` if the capture was whole as far as it was read.
pub fn read(bytes: Bytes, each: impl FnMut(&Packet<'_>) -> ControlFlow<()>) -> Option<Damage> {
    let mut reading = Reading {
        failure: bytes.failure(),
        buffer_bytes: BUFFER_BYTES,
        format: Format::default(),
        packets: 0,
        last_ns: 0,
        flow: ControlFlow::Continue(()),
        each,
    };
    match parser(bytes) {
        Ok(mut parser) => reading.all(parser.as_mut()),
        Err(what) => {
            let what = reading.failure.take().map_or(what, |error| error.to_string());
            Some(Damage { offset_bytes: 0, packets: 0, what })
        }
    }
}

fn parser(mut bytes: Bytes) -> Result<Box<dyn PcapReaderIterator>, String> {
    let mut magic = [0; 4];
    let read = bytes.read(&mut magic).map_err(|error| error.to_string())?;
    if read == 0 {
        return Err("the file is empty".to_owned());
    }
    let whole = Filling(std::io::Cursor::new(magic[..read].to_vec()).chain(bytes));
    let opened = if magic == PCAPNG {
        PcapNGReader::new(BUFFER_BYTES, whole).map(|reader| Box::new(reader) as Box<dyn PcapReaderIterator>)
    } else {
        LegacyPcapReader::new(BUFFER_BYTES, whole).map(|reader| Box::new(reader) as Box<dyn PcapReaderIterator>)
    };
    opened.map_err(|error| match error {
        PcapError::HeaderNotRecognized => "it is no capture: neither pcap nor pcapng, plain or compressed by gzip or zstd".to_owned(),
        PcapError::Incomplete(_) => "it ends within its first header".to_owned(),
        PcapError::NomError(..) | PcapError::OwnedNomError(..) => "its first header cannot be read".to_owned(),
        other => other.to_string().to_lowercase(),
    })
}

/// `Chain` stops at the seam of its two parts; the parser wants its buffer full.
struct Filling<R>(R);

impl<R: Read> Read for Filling<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.0.read(&mut buffer[filled..])? {
                0 => break,
                read => filled += read,
            }
        }
        Ok(filled)
    }
}

struct Reading<F> {
    failure: Failure,
    buffer_bytes: usize,
    format: Format,
    packets: u64,
    last_ns: u64,
    flow: ControlFlow<()>,
    each: F,
}

/// What one look at the parser's buffer gave.
enum Step {
    Consume(usize),
    Refill,
    Grow,
    End,
    Stop(String),
}

impl<F: FnMut(&Packet<'_>) -> ControlFlow<()>> Reading<F> {
    fn all(&mut self, parser: &mut dyn PcapReaderIterator) -> Option<Damage> {
        loop {
            let step = match parser.next() {
                Ok((length, block)) => match self.block(block) {
                    Ok(()) => Step::Consume(length),
                    Err(what) => Step::Stop(what),
                },
                Err(PcapError::Eof) => Step::End,
                Err(PcapError::Incomplete(_)) => Step::Refill,
                Err(PcapError::BufferTooSmall) => Step::Grow,
                Err(error) => Step::Stop(self.why(&error)),
            };
            match step {
                Step::Consume(length) if self.flow.is_continue() => parser.consume(length),
                Step::Consume(_) => return None,
                Step::Refill => {
                    let before = parser.data().len();
                    // Reading errors come as the end of the data.
                    let refilled = parser.refill().is_ok();
                    if !refilled || (parser.data().len() == before && !parser.reader_exhausted()) {
                        return Some(self.damage(parser, "a block that contradicts its own length".to_owned()));
                    }
                }
                Step::Grow => {
                    if let Err(what) = self.grow(parser) {
                        return Some(self.damage(parser, what));
                    }
                }
                // The compressed stream may end in an error where the capture in it seems whole.
                Step::End => return self.failure.take().map(|error| self.damage(parser, format!("the rest cannot be decompressed: {error}"))),
                Step::Stop(what) => return Some(self.damage(parser, what)),
            }
        }
    }

    /// Doubles the buffer for a long block, if the file has as much at all.
    fn grow(&mut self, parser: &mut dyn PcapReaderIterator) -> Result<(), String> {
        parser.refill().map_err(|error| self.why(&error))?;
        if parser.data().len() < self.buffer_bytes {
            return Err(self.why(&PcapError::UnexpectedEof));
        }
        // The parser refuses a block as long as its buffer.
        if self.buffer_bytes > BLOCK_BYTES_MAX {
            return Err(self.why(&PcapError::BufferTooSmall));
        }
        self.buffer_bytes = (self.buffer_bytes * 2).min(BLOCK_BYTES_MAX + 1);
        parser.grow(self.buffer_bytes);
        Ok(())
    }

    fn damage(&self, parser: &dyn PcapReaderIterator, what: String) -> Damage {
        let what = self.failure.take().map_or(what, |error| format!("the rest cannot be read: {error}"));
        Damage { offset_bytes: parser.consumed() as u64, packets: self.packets, what }
    }

    fn why(&self, error: &PcapError<&[u8]>) -> String {
        match error {
            PcapError::UnexpectedEof => "the file ends within a packet or block".to_owned(),
            PcapError::BufferTooSmall => format!("a packet or block that claims to be longer than {BLOCK_BYTES_MAX} bytes"),
            PcapError::NomError(..) | PcapError::OwnedNomError(..) => "a block that cannot be read".to_owned(),
            other => other.to_string().to_lowercase(),
        }
    }

    /// Takes one block up; what a capture says beside its packets is passed over.
    fn block(&mut self, block: PcapBlockOwned<'_>) -> Result<(), String> {
        match block {
            PcapBlockOwned::LegacyHeader(header) => self.format.legacy(&header),
            PcapBlockOwned::Legacy(packet) => {
                let interface = self.format.interface(0)?;
                let at_ns = u64::from(packet.ts_sec) * NS_PER_S + u64::from(packet.ts_usec) * (NS_PER_S / interface.units_per_s);
                self.packet(interface.link_type, Some(at_ns), packet.data, packet.origlen);
            }
            PcapBlockOwned::NG(Block::SectionHeader(section)) => self.format.section(&section),
            PcapBlockOwned::NG(Block::InterfaceDescription(interface)) => self.format.add(&interface)?,
            PcapBlockOwned::NG(Block::EnhancedPacket(packet)) => {
                let interface = self.format.interface(packet.if_id)?;
                self.packet(interface.link_type, Some(interface.time_ns(packet.ts_high, packet.ts_low)), packet.packet_data(), packet.origlen);
            }
            PcapBlockOwned::NG(Block::SimplePacket(packet)) => {
                let interface = self.format.interface(0)?;
                let kept = if interface.snap_length == 0 { usize::MAX } else { interface.snap_length as usize };
                let data = packet.packet_data();
                self.packet(interface.link_type, None, &data[..data.len().min(kept)], packet.origlen);
            }
            PcapBlockOwned::NG(Block::Unknown(block)) if self.format.number(&block.block_type.to_le_bytes()) == Some(PACKET_BLOCK) => {
                self.old_packet(block.data)?;
            }
            PcapBlockOwned::NG(_) => {}
        }
        Ok(())
    }

    /// The obsolete packet block: interface (16 bits), drops (16), time (64), captured and original length (32 each), data.
    fn old_packet(&mut self, data: &[u8]) -> Result<(), String> {
        let word = |at: usize| data.get(at..at + 4).and_then(|bytes| self.format.number(bytes)).ok_or("a packet block shorter than its header");
        let (high, low, captured, length) = (word(4)?, word(8)?, word(12)? as usize, word(16)?);
        let packet = data.get(20..20usize.saturating_add(captured)).ok_or("a packet that claims to be longer than its block")?;
        let id = [data[0], data[1]];
        let id = if self.format.big_endian { u16::from_be_bytes(id) } else { u16::from_le_bytes(id) };
        let interface = self.format.interface(u32::from(id))?;
        self.packet(interface.link_type, Some(interface.time_ns(high, low)), packet, length);
        Ok(())
    }

    fn packet(&mut self, link_type: u16, at_ns: Option<u64>, data: &[u8], length: u32) {
        self.packets += 1;
        self.last_ns = at_ns.unwrap_or(self.last_ns);
        let packet = Packet {
            number: self.packets,
            at_ns: self.last_ns,
            link_type,
            data,
            length: (length as usize).max(data.len()),
            has_time: at_ns.is_some(),
        };
        self.flow = (self.each)(&packet);
    }
}

/// What the file says of its packets.
#[derive(Debug, Default)]
struct Format {
    big_endian: bool,
    interfaces: Vec<Interface>,
}

#[derive(Debug, Clone, Copy)]
struct Interface {
    link_type: u16,
    units_per_s: u64,
    offset_s: i64,
    snap_length: u32,
}

impl Format {
    fn legacy(&mut self, header: &PcapHeader) {
        let units_per_s = if header.is_nanosecond_precision() { NS_PER_S } else { 1_000_000 };
        // The upper half says how long a checksum the frames have.
        let link_type = header.network.0 as u16;
        self.interfaces = vec![Interface { link_type, units_per_s, offset_s: 0, snap_length: header.snaplen }];
    }

    fn section(&mut self, section: &SectionHeaderBlock<'_>) {
        self.big_endian = section.big_endian();
        self.interfaces.clear();
    }

    fn add(&mut self, block: &InterfaceDescriptionBlock<'_>) -> Result<(), String> {
        if self.interfaces.len() >= INTERFACES_MAX {
            return Err(format!("a section with more than {INTERFACES_MAX} interfaces"));
        }
        let value = |code: OptionCode| block.options.iter().find(|option| option.code == code).map(|option| option.value());
        let resolution = value(OptionCode::IfTsresol).and_then(|value| value.first()).copied().unwrap_or(6);
        // The parser reads the offset as little-endian in every section, and takes no binary resolution.
        let offset = value(OptionCode::IfTsoffset).and_then(|value| value.first_chunk::<8>()).copied().unwrap_or_default();
        let offset_s = if self.big_endian { i64::from_be_bytes(offset) } else { i64::from_le_bytes(offset) };
        let link_type = block.linktype.0 as u16;
        self.interfaces.push(Interface { link_type, units_per_s: units_per_s(resolution)?, offset_s, snap_length: block.snaplen });
        Ok(())
    }

    fn interface(&self, id: u32) -> Result<Interface, String> {
        let found = self.interfaces.get(id as usize).copied();
        found.ok_or_else(|| format!("a packet of interface {id}, where the section has {}", self.interfaces.len()))
    }

    fn number(&self, bytes: &[u8]) -> Option<u32> {
        let bytes = *bytes.first_chunk::<4>()?;
        Some(if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }
}

impl Interface {
    fn time_ns(&self, high: u32, low: u32) -> u64 {
        let units = u128::from(high) << 32 | u128::from(low);
        let since_ns = units * u128::from(NS_PER_S) / u128::from(self.units_per_s);
        u64::try_from(since_ns).unwrap_or(u64::MAX).saturating_add_signed(self.offset_s.saturating_mul(NS_PER_S as i64))
    }
}

/// Units of time in a second: a power of ten, or of two where the highest bit is set.
fn units_per_s(resolution: u8) -> Result<u64, String> {
    let exponent = u32::from(resolution & 0x7f);
    let base: u64 = if resolution & 0x80 == 0 { 10 } else { 2 };
    base.checked_pow(exponent).ok_or_else(|| format!("an interface with a resolution of time of {base}^-{exponent} s"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_read_in_the_unit_of_its_interface() {
        let interface = |resolution| Interface { link_type: 1, units_per_s: units_per_s(resolution).unwrap(), offset_s: 0, snap_length: 0 };
        assert_eq!(interface(6).time_ns(0x0004_c397, 0x64ca_47aa), 1_340_954_905_298_858_000, "the example of the format's description");
        assert_eq!(interface(9).time_ns(0, 5), 5);
        assert_eq!(interface(0x80 | 1).time_ns(0, 3), 1_500_000_000, "halves of a second");
        assert_eq!(Interface { offset_s: -1, ..interface(0) }.time_ns(0, 3), 2_000_000_000);
        assert!(units_per_s(20).is_err() && units_per_s(0x80 | 64).is_err());
    }
}
