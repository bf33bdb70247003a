//! What application protocols say at the start of their payloads.
//!
//! In flow bytes as a capture holds them: the first of a packet, of a message or of a chunk, often cut, sometimes with a hole, always
//! hostile. Out flows the little that Edgescope keeps: names, codes, methods and templates of paths. Nothing else of a payload leaves this
//! crate: no query, no header but the host, no body.
//!
//! Everything here is pure, takes its bound from a named constant, allocates no more than that bound allows, and never panics.
//! [`dns`] reads single messages; what comes over a TCP connection is read from [`Piece`]s, one direction at a time.
#![forbid(unsafe_code)]

pub mod dns;
pub mod http;
pub mod http1;
pub mod http2;
mod text;
pub mod tls;

pub use text::HOST_BYTES_MAX;

/// What is known next of one direction of a connection, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Bytes that were captured.
    Bytes(&'a [u8]),
    /// So many bytes went by without being captured.
    Gap(usize),
    /// An unknown number of bytes went by: whoever reads has to find a beginning again.
    Lost,
}
