//! Loads between two hosts of a lab: how much goes through in a time.

use edgescope_testbed::Lab;
use edgescope_testbed::netns::{in_netns, sysctl};
use edgescope_tests::lab::at;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// What the bulk load writes at once.
const BLOCK_BYTES: usize = 128 * 1024;
/// Servers of short connections: with one, the client would run out of ports while old ones linger.
const PORTS: std::ops::Range<u16> = 7_100..7_116;
const BULK_PORT: u16 = 7_001;
const HOLD_PORT: u16 = 7_002;
/// Clients that connect at the same time.
const CLIENTS: usize = 2;

/// Both hosts, with servers that run until the process ends.
pub struct Load {
    left: PathBuf,
    lab: Lab,
}

impl Load {
    pub fn start(lab: Lab) -> Load {
        let (left, right) = (lab.netns("left").expect("made"), lab.netns("right").expect("made"));
        let address = |port| at(&lab, "right", false, port);
        let listen = |port| in_netns(&right, || TcpListener::bind(address(port))).expect("the namespace is there").expect("the port is free");
        serve(listen(BULK_PORT), swallow);
        serve(listen(HOLD_PORT), swallow);
        PORTS.for_each(|port| serve(listen(port), echo));
        // A client's port can be used again at once.
        in_netns(&left, || sysctl("net/ipv4/tcp_tw_reuse", "1")).expect("the namespace is there").expect("the kernel has the key");
        Load { left, lab }
    }

    fn inside<T: Send>(&self, work: impl FnOnce() -> io::Result<T> + Send) -> T {
        in_netns(&self.left, work).expect("the namespace is there").expect("both hosts are there")
    }

    /// Acknowledged bytes each second of one connection that sends as fast as it can.
    pub fn bytes_per_s(&self, time: Duration) -> f64 {
        let to = at(&self.lab, "right", false, BULK_PORT);
        self.inside(|| {
            let mut stream = TcpStream::connect(to)?;
            let (block, began) = (vec![b'.'; BLOCK_BYTES], Instant::now());
            let mut bytes = 0;
            while began.elapsed() < time {
                bytes += stream.write(&block)?;
            }
            stream.shutdown(Shutdown::Write)?;
            // The other end has read everything when it closes.
            stream.read_to_end(&mut Vec::new())?;
            Ok(bytes as f64 / began.elapsed().as_secs_f64())
        })
    }

    /// Connections each second: connect, a byte there, a byte back, close.
    pub fn connections_per_s(&self, time: Duration) -> f64 {
        let targets: Vec<SocketAddr> = PORTS.map(|port| at(&self.lab, "right", false, port)).collect();
        let began = Instant::now();
        let count = std::thread::scope(|scope| {
            let client = |number: usize| {
                let targets = &targets;
                scope.spawn(move || self.inside(|| connect_again_and_again(targets, number, time)))
            };
            let clients: Vec<_> = (0..CLIENTS).map(client).collect();
            clients.into_iter().map(|c| c.join().expect("a client does not panic")).sum::<u64>()
        });
        count as f64 / began.elapsed().as_secs_f64()
    }

    /// So many connections' ends, open while what is returned lives: two ends are in scope for each connection.
    pub fn hold(&self, sockets: usize) -> Vec<TcpStream> {
        let to = at(&self.lab, "right", false, HOLD_PORT);
        self.inside(|| (0..sockets / 2).map(|_| TcpStream::connect(to)).collect())
    }
}

fn connect_again_and_again(targets: &[SocketAddr], number: usize, time: Duration) -> io::Result<u64> {
    let began = Instant::now();
    let mut count = 0;
    for target in targets.iter().cycle().skip(number) {
        if began.elapsed() >= time {
            break;
        }
        let mut stream = TcpStream::connect(target)?;
        stream.write_all(b"?")?;
        stream.read_exact(&mut [0])?;
        count += 1;
    }
    Ok(count)
}

/// Accepts until the process ends; `each` handles a connection on the same thread if it is short, else on its own.
fn serve(listener: TcpListener, each: fn(TcpStream)) {
    std::thread::spawn(move || listener.incoming().flatten().for_each(each));
}

fn swallow(stream: TcpStream) {
    std::thread::Builder::new()
        // Thousands of them, which read into 8 KiB.
        .stack_size(64 * 1024)
        .spawn(move || {
            let mut stream = stream;
            let mut buffer = [0; 8 * 1024];
            while stream.read(&mut buffer).is_ok_and(|n| n > 0) {}
        })
        .expect("a thread can be made");
}

fn echo(mut stream: TcpStream) {
    let mut byte = [0];
    // A client that went away has counted nothing.
    let _ = stream.read_exact(&mut byte).and_then(|()| stream.write_all(&byte));
}
