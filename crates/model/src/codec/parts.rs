//! The parts of a message, counted before it is decoded.

use crate::wire::Owner;
use prost::Message;
use prost::bytes::Buf;
use prost::encoding::{WireType, decode_key, decode_varint};
use tonic::Status;

/// Most parts of a message: as many owners, endpoints, observations and translations as a batch may have (`server::intake::bounds`); 288 bytes each are 84 MB.
const PARTS_MAX: usize = 290_000;
/// Most parts of those parts: 10,000 observations of 40 measures, 10,000 owners of ten names, and as much again; 72 bytes each are 72 MB.
const PARTS_OF_PARTS_MAX: usize = 1_000_000;

/// What a message may take of the heap, for each byte on the wire: an empty part of two bytes becomes an owner, the largest of them, in a list that doubles and is copied as
/// it grows.
pub const HEAP_PER_BYTE_MAX: usize = size_of::<Owner>() / 2 * 3;

/// Reads a message as the intake does.
///
/// # Errors
/// It has too many parts, or is no such message.
pub fn read<M: Message + Default>(message: &[u8]) -> Result<M, Status> {
    check(message)?;
    M::decode(message).map_err(|error| Status::invalid_argument(error.to_string()))
}

pub(super) fn check(message: &[u8]) -> Result<(), Status> {
    let (mut parts, mut parts_of_parts) = (0, 0);
    for part in Parts(message) {
        parts += 1;
        parts_of_parts += Parts(part).count();
        if parts > PARTS_MAX || parts_of_parts > PARTS_OF_PARTS_MAX {
            let said = format!("the message has more than {PARTS_MAX} parts, or {PARTS_OF_PARTS_MAX} parts of parts");
            return Err(Status::invalid_argument(said));
        }
    }
    Ok(())
}

/// The fields of a message that have a length: texts, bytes, lists and messages. Ends where the bytes are no message; the decoder says so then.
struct Parts<'a>(&'a [u8]);

impl<'a> Iterator for Parts<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        while self.0.has_remaining() {
            let (_, wire_type) = decode_key(&mut self.0).ok()?;
            let skipped = match wire_type {
                WireType::Varint => decode_varint(&mut self.0).map(|_| 0).ok()?,
                WireType::ThirtyTwoBit => 4,
                WireType::SixtyFourBit => 8,
                WireType::LengthDelimited => {
                    let length = usize::try_from(decode_varint(&mut self.0).ok()?).ok()?;
                    let (part, rest) = self.0.split_at_checked(length)?;
                    self.0 = rest;
                    return Some(part);
                }
                WireType::StartGroup | WireType::EndGroup => 0,
            };
            self.0 = self.0.get(skipped..)?;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Batch, Endpoint, Measure, Observation};
    use proptest::prelude::*;

    fn refused(batch: &Batch) -> bool {
        check(&batch.encode_to_vec()).is_err()
    }

    #[test]
    fn what_agents_ship_passes_and_what_would_fill_memory_does_not() {
        let owner = Owner { workload: "w".repeat(100), pod: "p".into(), node: "n".into(), ..Owner::default() };
        let measure = Measure { signal: 10, value: 1, buckets: vec![1; 40], counts: vec![9; 40] };
        let observation = Observation {
            local_address: vec![1; 16],
            remote_address: vec![2; 16],
            sent: vec![measure.clone(); 40],
            received: vec![Measure { signal: 1, value: 7, ..Measure::default() }; 3],
            ..Observation::default()
        };
        let full = Batch {
            agent_id: "node-1".into(),
            owners: vec![owner; 10_000],
            endpoints: vec![Endpoint { address: vec![3; 16], ..Endpoint::default() }; 50_000],
            observations: vec![observation; 10_000],
            ..Batch::default()
        };
        assert!(!refused(&full));
        assert!(refused(&Batch { owners: vec![Owner::default(); PARTS_MAX + 1], ..Batch::default() }));
        let hollow = Observation { sent: vec![Measure::default(); PARTS_OF_PARTS_MAX], ..Observation::default() };
        assert!(refused(&Batch { observations: vec![hollow.clone(), hollow], ..Batch::default() }));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_walked_to_an_end(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = check(&bytes);
        }
    }
}
