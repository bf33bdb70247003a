//! Asks, once or until told to stop.

use crate::ledger::{Connection, Ledger};
use crate::server::{read_bytes, write_bytes};
use edgescope_tests::traffic::{Exchange, Role, SYN_REPEATED_MS};
use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// A request connects within this; tests that want other limits say so.
const CONNECT_MS: u64 = 30_000;

pub struct Client {
    ledger: Arc<Ledger>,
    stopped: AtomicBool,
    loads: Mutex<Vec<JoinHandle<()>>>,
}

impl Client {
    pub fn new(ledger: Arc<Ledger>) -> Client {
        Client { ledger, stopped: AtomicBool::new(false), loads: Mutex::default() }
    }

    /// Makes all requests; the first error is told once all connections have come to an end.
    pub fn exchange(&self, exchange: &Exchange) -> io::Result<()> {
        std::thread::scope(|scope| {
            let connections: Vec<_> = (0..exchange.connections).map(|_| scope.spawn(|| self.converse(exchange))).collect();
            connections.into_iter().map(|c| c.join().unwrap_or_else(|_| Err(io::Error::other("panicked")))).fold(Ok(()), Result::and)
        })
    }

    /// Makes requests in the background until [`Client::stop`]; an error begins a new connection.
    pub fn load(self: &Arc<Self>, exchange: Exchange) {
        self.stopped.store(false, Ordering::SeqCst);
        let mut loads = self.loads.lock().unwrap_or_else(|e| e.into_inner());
        for _ in 0..exchange.connections {
            let (client, exchange) = (self.clone(), exchange.clone());
            loads.push(std::thread::spawn(move || {
                while !client.stopped.load(Ordering::SeqCst) {
                    if client.converse(&exchange).is_err() {
                        std::thread::sleep(Duration::from_millis(100));
                    }
                }
            }));
        }
    }

    /// Ends all loads and waits for their connections to close.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        let loads = std::mem::take(&mut *self.loads.lock().unwrap_or_else(|e| e.into_inner()));
        for load in loads {
            // A load that panicked has ended as well; its log says why.
            let _ = load.join();
        }
    }

    /// All requests of one connection, or each on its own.
    fn converse(&self, exchange: &Exchange) -> io::Result<()> {
        let mut kept = None;
        for _ in 0..exchange.requests {
            if self.stopped.load(Ordering::SeqCst) {
                break;
            }
            let mut connection = match kept.take() {
                Some(connection) => connection,
                None => self.open(exchange.to, CONNECT_MS)?,
            };
            request(&mut connection, exchange).inspect_err(|_| connection.broke())?;
            if exchange.new_each {
                connection.finish()?;
            } else {
                kept = Some(connection);
            }
            std::thread::sleep(Duration::from_millis(exchange.pause_ms));
        }
        kept.map_or(Ok(()), Connection::finish)
    }

    /// Connects and closes; outcomes are counted.
    pub fn connect(&self, to: SocketAddr, times: u32, timeout_ms: u64) {
        std::thread::scope(|scope| {
            for _ in 0..times {
                // A failure is what is being counted.
                scope.spawn(|| self.open(to, timeout_ms).and_then(Connection::finish));
            }
        });
    }

    fn open(&self, to: SocketAddr, timeout_ms: u64) -> io::Result<Connection> {
        let note = |change: fn(&mut edgescope_tests::traffic::Totals)| self.ledger.note(to.ip(), to.port(), Role::Client, change);
        note(|t| t.attempts += 1);
        let connected = TcpStream::connect_timeout(&to, Duration::from_millis(timeout_ms));
        if let Err(error) = &connected {
            match error.kind() {
                io::ErrorKind::TimedOut if timeout_ms < SYN_REPEATED_MS => note(|t| t.cancelled += 1),
                io::ErrorKind::TimedOut => note(|t| t.timed_out += 1),
                io::ErrorKind::ConnectionRefused => note(|t| t.refused += 1),
                io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => note(|t| t.unreachable += 1),
                _ => note(|t| t.failed_otherwise += 1),
            }
        }
        Ok(Connection::new(connected?, to, to.port(), Role::Client, &self.ledger))
    }
}

fn request(connection: &mut Connection, exchange: &Exchange) -> io::Result<()> {
    let mut header = [0; 16];
    header[..8].copy_from_slice(&exchange.request_bytes.to_be_bytes());
    header[8..].copy_from_slice(&exchange.response_bytes.to_be_bytes());
    connection.write_all(&header)?;
    write_bytes(connection, exchange.request_bytes)?;
    read_bytes(connection, exchange.response_bytes)
}
