//! The company's DNS: answers questions for the addresses of its services, over UDP and both families.

use super::Shared;
use hickory_proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::{RData, Record, RecordType};
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use tokio::net::UdpSocket;

/// RFC 1035, 4.2.1.
const MESSAGE_BYTES_MAX: usize = 512;
/// How long its answers may be kept.
const TTL_S: u32 = 5;

/// One socket for both families; `None` if this process is no resolver.
pub(crate) async fn socket(shared: &Shared) -> io::Result<Option<UdpSocket>> {
    match (&shared.config.records, shared.config.listen) {
        (Some(_), Some(port)) => UdpSocket::bind((Ipv6Addr::UNSPECIFIED, port)).await.map(Some),
        _ => Ok(None),
    }
}

/// Answers for ever.
pub(crate) async fn serve(socket: UdpSocket, shared: Arc<Shared>) {
    let mut room = [0; MESSAGE_BYTES_MAX];
    loop {
        // An error is of an earlier answer that could not be delivered: it concerns nobody here.
        let Ok((size, from)) = socket.recv_from(&mut room).await else { continue };
        let Some(answer) = answer(&room[..size], &shared) else { continue };
        // Who asked and is gone gets nothing.
        let _ = socket.send_to(&answer, from).await;
    }
}

/// `None` for what is no question, and while it is mute.
fn answer(message: &[u8], shared: &Shared) -> Option<Vec<u8>> {
    let question = Message::from_vec(message).ok().filter(|m| m.metadata.message_type == MessageType::Query)?;
    let counts = &shared.ledger.names;
    counts.questions.add(1);
    let (mute, fails) = {
        let behaviour = shared.behaviour();
        (behaviour.mute, behaviour.servfail > 0.0 && shared.dice() < behaviour.servfail)
    };
    if mute || fails {
        shared.ledger.effects.questions_failed.add(1);
    }
    if mute {
        counts.unanswered.add(1);
        return None;
    }
    let mut reply = Message::response(question.metadata.id, OpCode::Query);
    reply.metadata.recursion_desired = question.metadata.recursion_desired;
    reply.add_queries(question.queries.clone());
    match question.queries.first().filter(|_| !fails) {
        Some(query) => {
            let host = query.name().to_lowercase().to_ascii();
            match shared.config.records.as_ref().and_then(|records| records.get(host.trim_end_matches('.'))) {
                Some(addresses) => {
                    let records = addresses.iter().filter_map(|&ip| data(ip, query.query_type()));
                    reply.add_answers(records.map(|data| Record::from_rdata(query.name().clone(), TTL_S, data)));
                }
                None => reply.metadata.response_code = ResponseCode::NXDomain,
            }
        }
        None => reply.metadata.response_code = ResponseCode::ServFail,
    }
    counts.answers.add(1);
    counts.failed.add(u64::from(reply.metadata.response_code != ResponseCode::NoError));
    reply.to_vec().ok()
}

fn data(ip: IpAddr, kind: RecordType) -> Option<RData> {
    match (ip, kind) {
        (IpAddr::V4(v4), RecordType::A) => Some(RData::A(v4.into())),
        (IpAddr::V6(v6), RecordType::AAAA) => Some(RData::AAAA(v6.into())),
        _ => None,
    }
}
