//! Round-trip and handshake times, against TCP_INFO and the histogram's own arithmetic.
#![allow(clippy::unwrap_used)]

mod support;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::thread;

use edgescope_probe::{Hist, HookState, Pass, Probe, ProbeConfig, Role};
use support::*;

/// The values of a bucket: from, to (exclusive). The inverse of `bpf/histogram.bpf.h`, spelled anew.
fn bounds(bucket: u16) -> (u64, u64) {
    if bucket < 8 {
        return (u64::from(bucket), u64::from(bucket) + 1);
    }
    let (octave, eighth) = (u32::from(bucket) / 8 + 2, u64::from(bucket) % 8);
    let width = 1u64 << (octave - 3);
    ((8 + eighth) * width, (9 + eighth) * width)
}

fn quantile(hist: &Hist, q: f64) -> (u64, u64) {
    let total: u64 = hist.buckets.iter().map(|(_, count)| count).sum();
    let mut left = (q * total as f64).ceil() as u64;
    for (bucket, count) in &hist.buckets {
        if left <= *count {
            return bounds(*bucket);
        }
        left -= count;
    }
    panic!("empty histogram");
}

/// Smoothed and least RTT by TCP_INFO.
fn tcp_info(stream: &TcpStream) -> (u64, u64) {
    // The fields wanted lie in the first 160 bytes of `struct tcp_info`, which only grows.
    let (mut info, mut size) = ([0u8; 256], 256u32);
    // SAFETY: a valid socket, and a buffer as long as said.
    let failed = unsafe { libc::getsockopt(stream.as_raw_fd(), libc::SOL_TCP, libc::TCP_INFO, info.as_mut_ptr().cast(), &raw mut size) };
    assert_eq!(failed, 0);
    let word = |at: usize| u64::from(u32::from_ne_bytes(info[at..at + 4].try_into().unwrap()));
    // tcpi_rtt, tcpi_min_rtt
    (word(68), word(148))
}

fn client_hist(net: &Net, pass: &Pass) -> Hist {
    let flow = pass.flows.iter().find(|flow| flow.key.netns == net.client.inode && flow.key.role == Role::Client).unwrap();
    flow.rtt.clone().unwrap_or_default()
}

#[test]
fn each_round_trip_is_a_sample() {
    const TURNS: u64 = 400;
    let net = Net::new();
    let mut probe = net.probe();
    let listener = net.server.run(|| TcpListener::bind(addr(SERVER4, 80)).unwrap());
    let echo = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut byte = [0];
        while stream.read_exact(&mut byte).is_ok() {
            stream.write_all(&byte).unwrap();
        }
    });
    let mut client = net.client.run(|| TcpStream::connect(addr(SERVER4, 80)).unwrap());
    for _ in 0..TURNS {
        client.write_all(&[1]).unwrap();
        client.read_exact(&mut [0]).unwrap();
    }
    let (srtt_us, min_us) = tcp_info(&client);
    let pass = probe.read(1).unwrap();
    let rtt = client_hist(&net, &pass);
    let samples: u64 = rtt.buckets.iter().map(|(_, count)| count).sum();
    assert!((TURNS / 2..=TURNS + 5).contains(&samples), "{samples} samples of {TURNS} round trips");
    let (least, most) = (rtt.min_us.unwrap(), rtt.max_us.unwrap());
    // The minimum of the kernel also knows the handshake's round trip, which comes before the callback is asked for.
    assert!(u64::from(least) >= min_us, "{least} under the kernel's minimum {min_us}");
    assert!((u64::from(least)..=u64::from(most)).contains(&srtt_us), "smoothed {srtt_us} outside {least} to {most}");
    let (lowest, highest) = (bounds(rtt.buckets[0].0), bounds(rtt.buckets[rtt.buckets.len() - 1].0));
    assert!(lowest.0 <= u64::from(least) && u64::from(least) < lowest.1, "{least} not in {lowest:?}");
    assert!(highest.0 <= u64::from(most) && u64::from(most) < highest.1, "{most} not in {highest:?}");

    // A window without traffic has no extremes, and keeps the counts.
    let pass = probe.read(2).unwrap();
    let quiet = client_hist(&net, &pass);
    assert_eq!((quiet.buckets, quiet.max_us, quiet.min_us), (rtt.buckets, None, None));

    let flow = pass.flows.iter().find(|flow| flow.key.role == Role::Client).unwrap();
    let handshake = flow.handshake.clone().unwrap();
    assert_eq!(handshake.buckets.iter().map(|(_, count)| count).sum::<u64>(), 1);
    assert!(quantile(&handshake, 1.0).0 >= min_us / 2, "{handshake:?} is faster than the path");
    drop(client);
    echo.join().unwrap();
}

/// A known delay in the middle: the token bucket makes packets wait behind filler.
#[test]
fn a_slower_path_shows() {
    let net = Net::new();
    let mut probe = net.probe();
    let listener = net.server.run(|| TcpListener::bind(addr(SERVER4, 80)).unwrap());
    let sink = thread::spawn(move || std::io::copy(&mut listener.accept().unwrap().0, &mut std::io::sink()).unwrap());
    let mut client = net.client.run(|| TcpStream::connect(addr(SERVER4, 80)).unwrap());
    client.write_all(&[1; 2000]).unwrap();
    let quick = read_until(&mut probe, "a sample", |pass| !client_hist(&net, pass).buckets.is_empty());
    let quick = quantile(&client_hist(&net, &quick), 1.0);
    net.router.sh("tc", "qdisc add dev right root tbf rate 10mbit burst 16kb latency 400ms");
    // 1 MB at 10 Mbit/s is 0.8 s, most of it in the queue.
    client.write_all(&vec![1; 1_000_000]).unwrap();
    let pass = read_until(&mut probe, "all bytes", |pass| net.client_sum(pass, 80).bytes_sent == 1_002_000);
    let slow = quantile(&client_hist(&net, &pass), 0.9);
    assert!(slow.0 > 2000 && slow.0 > quick.1, "{slow:?} after {quick:?}");
    drop(client);
    assert_eq!(sink.join().unwrap(), 1_002_000);
}

#[test]
fn without_the_callback_passes_sample() {
    let net = Net::new();
    let mut probe = Probe::load(&ProbeConfig { sk_rtt: false, ..net.config() }).unwrap();
    assert!(probe.hooks().iter().any(|hook| hook.name == "on_sockops" && hook.state == HookState::Off));
    let listener = net.server.run(|| TcpListener::bind(addr(SERVER4, 80)).unwrap());
    let mut client = net.client.run(|| TcpStream::connect(addr(SERVER4, 80)).unwrap());
    let (mut server, _) = listener.accept().unwrap();
    client.write_all(&[1; 10]).unwrap();
    server.read_exact(&mut [0; 10]).unwrap();
    let pass = read_until(&mut probe, "a sample", |pass| net.client_sum(pass, 80).srtt_samples > 0);
    assert!(pass.rtt_sampled);
    // The extremes belong to the window that this pass ended, as the sample does.
    let sampled = client_hist(&net, &pass);
    assert!(!sampled.buckets.is_empty() && sampled.max_us.is_some() && sampled.max_us == sampled.min_us, "{sampled:?}");
}
