//! Addresses of those that a process calls, by DNS: asked for again before they run out, as a caching resolver does. While nobody answers, calls go on
//! until the addresses are too old.

use super::Shared;
use super::counters::NameCounts;
use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name as DnsName, RData, RecordType};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// An address is good for so long after it was last told.
const GOOD_FOR: Duration = Duration::from_secs(5);
/// Each name is asked for so often.
const ASK_EVERY: Duration = Duration::from_secs(2);
/// How long a question waits for its answer; then the next resolver is asked.
const WAIT: Duration = Duration::from_secs(1);
/// Questions until a resolution has failed.
const TRIES: usize = 2;
/// How long a process waits for its first addresses before it goes on without.
const FIRST_WAIT: Duration = Duration::from_secs(5);
/// RFC 1035, 4.2.1.
const MESSAGE_BYTES_MAX: usize = 512;

/// A name and where it leads.
pub(crate) struct Name {
    host: DnsName,
    kind: RecordType,
    known: Mutex<Option<(Vec<IpAddr>, Instant)>>,
}

impl Name {
    /// # Errors
    /// When `host` cannot be a name in DNS.
    pub fn new(host: &str, ipv6: bool) -> io::Result<Name> {
        let host = DnsName::from_ascii(host).map_err(io::Error::other)?;
        Ok(Name { host, kind: if ipv6 { RecordType::AAAA } else { RecordType::A }, known: Mutex::default() })
    }

    /// Addresses that are not too old.
    pub fn addresses(&self) -> Vec<IpAddr> {
        let known = self.known.lock().unwrap_or_else(|e| e.into_inner());
        known.as_ref().filter(|(_, told)| told.elapsed() < GOOD_FOR).map(|(addresses, _)| addresses.clone()).unwrap_or_default()
    }

    /// Asks for the name every two seconds until the process drains.
    pub async fn keep(self: Arc<Self>, shared: Arc<Shared>) {
        while !shared.is_draining() {
            self.resolve(&shared).await;
            // Spread, so that a company does not ask in one voice.
            sleep(ASK_EVERY.mul_f64(0.75 + 0.5 * shared.dice())).await;
        }
    }

    /// Waits until there are addresses, within reason.
    pub async fn first(&self) {
        let deadline = Instant::now() + FIRST_WAIT;
        let known = async {
            while self.addresses().is_empty() {
                sleep(Duration::from_millis(5)).await;
            }
        };
        // Without addresses the calls fail, and say so.
        let _ = timeout_at(deadline, known).await;
    }

    async fn resolve(&self, shared: &Shared) {
        let resolvers = &shared.config.resolvers;
        let first = (shared.dice() * resolvers.len() as f64) as usize;
        for attempt in 0..TRIES {
            let Some(&resolver) = resolvers.get((first + attempt) % resolvers.len().max(1)) else { return };
            let id = (shared.dice() * 65_536.0) as u16;
            if let Ok(addresses) = self.ask(resolver, id, &shared.ledger.names).await {
                *self.known.lock().unwrap_or_else(|e| e.into_inner()) = Some((addresses, Instant::now()));
                return;
            }
        }
    }

    async fn ask(&self, resolver: SocketAddr, id: u16, counts: &NameCounts) -> io::Result<Vec<IpAddr>> {
        let any: IpAddr = if resolver.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let socket = UdpSocket::bind((any, 0)).await?;
        socket.connect(resolver).await?;
        let mut question = Message::new(id, MessageType::Query, OpCode::Query);
        question.metadata.recursion_desired = true;
        question.add_query(Query::query(self.host.clone(), self.kind));
        let question = question.to_vec().map_err(io::Error::other)?;
        let began = Instant::now();
        socket.send(&question).await?;
        counts.questions.add(1);
        let mut room = [0; MESSAGE_BYTES_MAX];
        let Ok(received) = timeout(WAIT, socket.recv(&mut room)).await else {
            counts.unanswered.add(1);
            return Err(io::ErrorKind::TimedOut.into());
        };
        let answer = Message::from_vec(&room[..received?]).map_err(io::Error::other)?;
        if answer.metadata.id != id {
            return Err(io::Error::other("an answer to another question"));
        }
        counts.answers.add(1);
        counts.latency_us.add(began.elapsed().as_micros() as u64);
        match answer.metadata.response_code {
            ResponseCode::NoError => Ok(answer.answers.iter().filter_map(|record| address(&record.data)).collect()),
            code => {
                counts.failed.add(1);
                Err(io::Error::other(code.to_str()))
            }
        }
    }
}

fn address(data: &RData) -> Option<IpAddr> {
    match data {
        RData::A(a) => Some(a.0.into()),
        RData::AAAA(a) => Some(a.0.into()),
        _ => None,
    }
}
