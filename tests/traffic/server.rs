//! Answers exchanges.

use crate::ledger::{Connection, Ledger};
use edgescope_tests::traffic::Role;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

/// What is in the bodies does not matter.
pub static FILLER: [u8; 64 * 1024] = [b'.'; 64 * 1024];

/// Serves on `address` until the process ends.
pub fn listen(address: SocketAddr, ledger: &Arc<Ledger>) -> io::Result<()> {
    let listener = TcpListener::bind(address)?;
    let ledger = ledger.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(stream) = stream else { continue };
            let Ok(peer) = stream.peer_addr() else { continue };
            let connection = Connection::new(stream, peer, address.port(), Role::Server, &ledger);
            std::thread::spawn(move || serve(connection));
        }
    });
    Ok(())
}

fn serve(mut connection: Connection) {
    loop {
        match answer(&mut connection) {
            Ok(true) => {}
            Ok(false) => return,
            Err(_) => return connection.broke(),
        }
    }
}

/// Answers one request; false at the client's end.
fn answer(connection: &mut Connection) -> io::Result<bool> {
    let mut header = [0; 16];
    if connection.read(&mut header[..1])? == 0 {
        return Ok(false);
    }
    connection.read_exact(&mut header[1..])?;
    let (request, response) = header.split_at(8);
    read_bytes(connection, number(request))?;
    write_bytes(connection, number(response))?;
    Ok(true)
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

/// Reads and forgets so many bytes.
pub fn read_bytes(connection: &mut Connection, bytes: u64) -> io::Result<()> {
    let read = io::copy(&mut connection.take(bytes), &mut io::sink())?;
    if read == bytes { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// Writes so many bytes.
pub fn write_bytes(connection: &mut Connection, mut bytes: u64) -> io::Result<()> {
    while bytes > 0 {
        let part = bytes.min(FILLER.len() as u64);
        connection.write_all(&FILLER[..part as usize])?;
        bytes -= part;
    }
    Ok(())
}
