//! A userland proxy as Docker runs one for each published port: the same name and arguments, and two connections for each that comes. Ends when it is killed.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::ExitCode;
use std::sync::Arc;

const USAGE: &str = "usage: docker-proxy -proto tcp|udp -host-ip IP -host-port PORT -container-ip IP -container-port PORT";
/// Longest datagram.
const DATAGRAM_BYTES_MAX: usize = 65_535;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let given: HashMap<&str, &str> = arguments.chunks_exact(2).map(|pair| (pair[0].trim_start_matches('-'), pair[1].as_str())).collect();
    let at = |end: &str| {
        let ip: IpAddr = given.get(format!("{end}-ip").as_str())?.parse().ok()?;
        Some(SocketAddr::new(ip, given.get(format!("{end}-port").as_str())?.parse().ok()?))
    };
    let (Some(host), Some(container)) = (at("host"), at("container")) else {
        eprintln!("{USAGE}");
        return ExitCode::FAILURE;
    };
    let ended = match given.get("proto").copied() {
        Some("tcp") => streams(host, container),
        Some("udp") => datagrams(host, container),
        _ => Err(io::Error::other(USAGE)),
    };
    if let Err(error) = ended {
        eprintln!("{host} to {container}: {error}");
    }
    ExitCode::FAILURE
}

fn streams(host: SocketAddr, container: SocketAddr) -> io::Result<()> {
    for client in TcpListener::bind(host)?.incoming() {
        let (client, server) = (client?, TcpStream::connect(container)?);
        let (from_client, from_server) = (client.try_clone()?, server.try_clone()?);
        std::thread::spawn(move || copy(from_client, server));
        std::thread::spawn(move || copy(from_server, client));
    }
    Ok(())
}

/// One direction, to its end.
fn copy(mut from: TcpStream, mut to: TcpStream) {
    // An end that went away ends the other as well.
    drop(io::copy(&mut from, &mut to));
    drop(to.shutdown(Shutdown::Write));
}

/// A socket towards the container for each client.
fn datagrams(host: SocketAddr, container: SocketAddr) -> io::Result<()> {
    let outer = Arc::new(UdpSocket::bind(host)?);
    let mut inner: HashMap<SocketAddr, Arc<UdpSocket>> = HashMap::new();
    let mut room = vec![0; DATAGRAM_BYTES_MAX];
    loop {
        let (length, client) = outer.recv_from(&mut room)?;
        if !inner.contains_key(&client) {
            let any: IpAddr = if container.is_ipv4() { [0, 0, 0, 0].into() } else { [0u16; 8].into() };
            let socket = Arc::new(UdpSocket::bind((any, 0))?);
            socket.connect(container)?;
            let (outer, answers) = (Arc::clone(&outer), Arc::clone(&socket));
            std::thread::spawn(move || {
                let mut room = vec![0; DATAGRAM_BYTES_MAX];
                while let Ok(length) = answers.recv(&mut room) {
                    if outer.send_to(&room[..length], client).is_err() {
                        return;
                    }
                }
            });
            inner.insert(client, socket);
        }
        inner[&client].send(&room[..length])?;
    }
}
