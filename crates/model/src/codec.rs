//! How messages of the wire are read: as protocol buffers, but only if they do not grow beyond measure when decoded.
//!
//! An empty part of a message takes two bytes on the wire and up to 264 in memory, so a bound on bytes alone lets 8 MiB become a gigabyte. The parts are
//! counted before they are decoded.

use prost::Message;
use prost::bytes::Buf;
use prost::encoding::{WireType, decode_key, decode_varint};
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder};
use tonic_prost::ProstCodec;

/// Most parts of a message: as many owners, endpoints, observations and translations as a batch may have (`server::intake::bounds`); 264 bytes each are 76 MB.
const PARTS_MAX: usize = 290_000;
/// Most parts of those parts: 10,000 observations of 40 measures, 10,000 owners of ten names, and as much again; 72 bytes each are 72 MB.
const PARTS_OF_PARTS_MAX: usize = 1_000_000;

/// [`ProstCodec`] with a bound on what a message becomes.
#[derive(Debug, Clone)]
pub struct BoundedCodec<T, U>(ProstCodec<T, U>);

impl<T, U> Default for BoundedCodec<T, U> {
    fn default() -> Self {
        Self(ProstCodec::default())
    }
}

impl<T, U> Codec for BoundedCodec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = <ProstCodec<T, U> as Codec>::Encoder;
    type Decoder = BoundedDecoder<<ProstCodec<T, U> as Codec>::Decoder>;

    fn encoder(&mut self) -> Self::Encoder {
        self.0.encoder()
    }

    fn decoder(&mut self) -> Self::Decoder {
        BoundedDecoder(self.0.decoder())
    }
}

/// Counts, then decodes.
#[derive(Debug, Clone)]
pub struct BoundedDecoder<D>(D);

impl<D: Decoder<Error = Status>> Decoder for BoundedDecoder<D> {
    type Item = D::Item;
    type Error = Status;

    fn decode(&mut self, buf: &mut DecodeBuf<'_>) -> Result<Option<D::Item>, Status> {
        check(buf.chunk())?;
        self.0.decode(buf)
    }
}

fn check(message: &[u8]) -> Result<(), Status> {
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
    use crate::wire::{Batch, Endpoint, Measure, Observation, Owner};
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
