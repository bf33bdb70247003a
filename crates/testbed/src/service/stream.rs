//! A TCP stream that counts what passes it and, if the fault asks for it, reads slowly.

use super::Shared;
use super::counters::PeerCounts;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::Sleep;

/// Set on every socket of a service, and recorded in `topology.json`. The machine's default may be another (BBR reacts to loss
/// quite differently), and a namespace may not choose any but the machine's as its own default.
pub const CONGESTION_CONTROL: &str = "cubic";

/// A socket for `address`'s family that is not connected yet.
pub(crate) fn socket(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    rustix::net::sockopt::set_tcp_congestion(&socket, CONGESTION_CONTROL)?;
    Ok(socket)
}

/// A slow reader reads this often, a little each time.
const SLOW_READS_PER_S: u32 = 50;

/// Most that a slow reader reads at once: 50 times a second this is 200 kB/s, above the fastest slow reader.
const SLOW_READ_BYTES_MAX: usize = 4_096;

/// A slow reader's receive buffer: the kernel's least. A buffer of the usual size would swallow whole requests, and no sender
/// would ever notice. A window once offered is never taken back, so that a connection that is older than the fault feels it
/// when it has used up what it was offered.
const SLOW_READER_BUFFER_BYTES: usize = 2_304;

/// Receive buffer after the fault: what the kernel starts with.
const USUAL_BUFFER_BYTES: usize = 65_536;

/// Sets the receive buffer that suits a reading speed; on a listener, for the connections to come.
pub(crate) fn size_buffer(socket: impl AsFd, is_slow: bool) -> io::Result<()> {
    let bytes = if is_slow { SLOW_READER_BUFFER_BYTES } else { USUAL_BUFFER_BYTES };
    Ok(rustix::net::sockopt::set_socket_recv_buffer_size(socket, bytes)?)
}

/// Counts bytes of one connection, and the connection itself as open while this lives.
pub(crate) struct Counted {
    stream: TcpStream,
    counts: Arc<PeerCounts>,
    shared: Arc<Shared>,
    /// Until when a slow reader pauses.
    pause: Option<Pin<Box<Sleep>>>,
    buffer_is_small: bool,
}

impl Counted {
    /// Wraps an established connection.
    pub fn new(stream: TcpStream, counts: Arc<PeerCounts>, shared: Arc<Shared>) -> Counted {
        // Requests and answers are written whole; waiting to fill a segment only adds delay. A socket that was reset
        // meanwhile refuses the option and fails at its first use.
        let _ = stream.set_nodelay(true);
        counts.established.add(1);
        counts.open.add(1);
        Counted { stream, counts, shared, pause: None, buffer_is_small: false }
    }

    fn read_slowly(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>, rate: u32) -> Poll<io::Result<()>> {
        if let Some(pause) = &mut self.pause {
            std::task::ready!(pause.as_mut().poll(cx));
            self.pause = None;
        }
        let mut some = [0; SLOW_READ_BYTES_MAX];
        let length = ((rate / SLOW_READS_PER_S).max(1) as usize).min(buf.remaining()).min(SLOW_READ_BYTES_MAX);
        let mut few = ReadBuf::new(&mut some[..length]);
        std::task::ready!(Pin::new(&mut self.stream).poll_read(cx, &mut few))?;
        let read = few.filled().len();
        buf.put_slice(few.filled());
        self.counts.bytes_read.add(read as u64);
        let wait = Duration::from_secs_f64(read as f64 / f64::from(rate));
        self.pause = Some(Box::pin(tokio::time::sleep(wait)));
        let effects = &self.shared.ledger.effects;
        effects.reads_delayed.add(1);
        effects.read_wait_us.add(wait.as_micros() as u64);
        Poll::Ready(Ok(()))
    }

    fn wrote(&self, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = &result {
            self.counts.bytes_written.add(*bytes as u64);
        }
        result
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.counts.open.sub(1);
    }
}

impl AsyncRead for Counted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let rate = self.shared.behaviour().read_bytes_per_s;
        if rate.is_some() != self.buffer_is_small {
            size_buffer(&self.stream, rate.is_some())?;
            self.buffer_is_small = rate.is_some();
        }
        if let Some(rate) = rate {
            return self.read_slowly(cx, buf, rate);
        }
        let before = buf.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.counts.bytes_read.add((buf.filled().len() - before) as u64);
        result
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.wrote(result)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.wrote(result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
