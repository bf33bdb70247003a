//! What was written, read and tried, by peer.

use edgescope_tests::traffic::{Counted, Report, Role, Totals};
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

type Key = (IpAddr, u16, Role);

#[derive(Default)]
pub struct Ledger {
    open: AtomicU64,
    totals: Mutex<BTreeMap<Key, Totals>>,
}

impl Ledger {
    fn totals(&self) -> MutexGuard<'_, BTreeMap<Key, Totals>> {
        self.totals.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Changes the totals with one peer.
    pub fn note(&self, peer: IpAddr, port: u16, role: Role, change: impl FnOnce(&mut Totals)) {
        change(self.totals().entry((peer.to_canonical(), port, role)).or_default());
    }

    pub fn report(&self) -> Report {
        let counted = self.totals().iter().map(|(&(peer, port, role), totals)| Counted { peer, port, role, totals: totals.clone() }).collect();
        Report { open: self.open.load(Ordering::SeqCst), counted, error: None }
    }
}

/// An established connection whose bytes are counted as the socket takes and gives them.
pub struct Connection {
    stream: TcpStream,
    ledger: Arc<Ledger>,
    peer: IpAddr,
    port: u16,
    role: Role,
}

impl Connection {
    pub fn new(stream: TcpStream, peer: SocketAddr, port: u16, role: Role, ledger: &Arc<Ledger>) -> Connection {
        // Requests are written whole; a socket that was reset meanwhile fails at its first use.
        let _ = stream.set_nodelay(true);
        ledger.open.fetch_add(1, Ordering::SeqCst);
        ledger.note(peer.ip(), port, role, |t| t.established += 1);
        Connection { stream, ledger: ledger.clone(), peer: peer.ip(), port, role }
    }

    pub fn broke(&self) {
        self.ledger.note(self.peer, self.port, self.role, |t| t.broken += 1);
    }

    /// Says that no more is sent, and reads what the other end still has to say, so that both closed in order.
    pub fn finish(mut self) -> io::Result<()> {
        self.stream.shutdown(std::net::Shutdown::Write)?;
        io::copy(&mut self, &mut io::sink()).map(drop)
    }
}

impl Read for Connection {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.stream.read(buffer)?;
        self.ledger.note(self.peer, self.port, self.role, |t| t.read += bytes as u64);
        Ok(bytes)
    }
}

impl Write for Connection {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let bytes = self.stream.write(buffer)?;
        self.ledger.note(self.peer, self.port, self.role, |t| t.written += bytes as u64);
        Ok(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // Closed before it stops counting as open.
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
        self.ledger.open.fetch_sub(1, Ordering::SeqCst);
    }
}
