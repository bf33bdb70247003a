//! Connection tracking's netlink messages: what to ask, and translated connections from what comes.

use edgescope_identity::nat::{Connection, Door, Translation};
use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_netfilter::conntrack::{ConntrackAttribute, ConntrackMessage, IPTuple, ProtoTuple, Protocol, Status, Tuple};
use netlink_packet_netfilter::{NetfilterHeader, NetfilterMessage, NetfilterMessageInner, NetfilterProtoFamily};
use std::net::IpAddr;

/// Multicast groups of `linux/netfilter/nfnetlink_compat.h`, as bits: new connections and destroyed ones. Changes between do not move addresses.
pub const GROUPS: u32 = 1 << 0 | 1 << 2;
/// A message's header; none is shorter.
const HEADER_BYTES: usize = 16;

/// What a message says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    Opened(Translation),
    Closed(Translation),
    /// The list that was asked for is whole.
    Done,
    /// It was refused, with the kernel's (negative) number of the error.
    Refused(i32),
}

/// Asks for all connections of both families that have one of these marks. Linux before 5.18 does not choose, and sends all.
pub fn list_request(status: Status) -> Vec<u8> {
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    let asked = ConntrackMessage::Get(vec![ConntrackAttribute::CtaStatus(status)]);
    let mut message =
        NetlinkMessage::new(header, NetlinkPayload::from(NetfilterMessage::new(NetfilterHeader::new(NetfilterProtoFamily::Unspec, 0, 0), asked)));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

/// Reads the messages of one datagram. Connections that are not translated are passed over. Returns how many messages made no sense.
pub fn read(datagram: &[u8], mut each: impl FnMut(Said)) -> u64 {
    let (mut rest, mut senseless) = (datagram, 0);
    while rest.len() >= HEADER_BYTES {
        let length = u32::from_ne_bytes([rest[0], rest[1], rest[2], rest[3]]) as usize;
        if length < HEADER_BYTES || length > rest.len() {
            return senseless + 1;
        }
        match NetlinkMessage::<NetfilterMessage>::deserialize(&rest[..length]) {
            Ok(message) => {
                if let Some(said) = said(message.payload) {
                    each(said);
                }
            }
            Err(_) => senseless += 1,
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    senseless
}

fn said(payload: NetlinkPayload<NetfilterMessage>) -> Option<Said> {
    match payload {
        NetlinkPayload::Done(_) => Some(Said::Done),
        NetlinkPayload::Error(error) => error.code.map(|code| Said::Refused(code.get())),
        NetlinkPayload::InnerMessage(message) => match message.inner {
            NetfilterMessageInner::Conntrack(ConntrackMessage::New(attributes)) => translation(&attributes).map(Said::Opened),
            NetfilterMessageInner::Conntrack(ConntrackMessage::Delete(attributes)) => translation(&attributes).map(Said::Closed),
            _ => None,
        },
        _ => None,
    }
}

fn translation(attributes: &[ConntrackAttribute]) -> Option<Translation> {
    let (mut original, mut reply) = (None, None);
    for attribute in attributes {
        match attribute {
            ConntrackAttribute::CtaTupleOrig(tuple) => original = connection(tuple),
            ConntrackAttribute::CtaTupleReply(tuple) => reply = connection(tuple),
            _ => {}
        }
    }
    // A reply goes from the server to the client.
    let (original, Connection { client, server, is_udp }) = (original?, reply?);
    let translated = Connection { client: server, server: client, is_udp };
    (original != translated && original.is_udp == is_udp).then_some(Translation { original, translated })
}

/// From where to where a tuple goes, if it is of TCP or UDP.
fn connection(tuple: &[Tuple]) -> Option<Connection> {
    let (mut addresses, mut ports, mut protocol) = ((None::<IpAddr>, None::<IpAddr>), (None, None), None);
    for part in tuple {
        match part {
            Tuple::Ip(parts) => parts.iter().for_each(|part| match part {
                IPTuple::SourceAddress(ip) => addresses.0 = Some(*ip),
                IPTuple::DestinationAddress(ip) => addresses.1 = Some(*ip),
                _ => {}
            }),
            Tuple::Proto(parts) => parts.iter().for_each(|part| match part {
                ProtoTuple::Protocol(number) => protocol = Some(*number),
                ProtoTuple::SourcePort(port) => ports.0 = Some(*port),
                ProtoTuple::DestinationPort(port) => ports.1 = Some(*port),
                _ => {}
            }),
            _ => {}
        }
    }
    let is_udp = match protocol? {
        Protocol::Tcp => false,
        Protocol::Udp => true,
        _ => return None,
    };
    Some(Connection { client: Door::new(addresses.0?, ports.0?), server: Door::new(addresses.1?, ports.1?), is_udp })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tuple(from: (&str, u16), to: (&str, u16), protocol: Protocol) -> Vec<Tuple> {
        let (from_ip, to_ip) = (from.0.parse().unwrap(), to.0.parse().unwrap());
        vec![
            Tuple::Ip(vec![IPTuple::SourceAddress(from_ip), IPTuple::DestinationAddress(to_ip)]),
            Tuple::Proto(vec![ProtoTuple::Protocol(protocol), ProtoTuple::SourcePort(from.1), ProtoTuple::DestinationPort(to.1)]),
        ]
    }

    fn message(body: ConntrackMessage) -> Vec<u8> {
        let header = NetfilterHeader::new(NetfilterProtoFamily::IPv4, 0, 0);
        let mut message = NetlinkMessage::new(NetlinkHeader::default(), NetlinkPayload::from(NetfilterMessage::new(header, body)));
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn entry(server_says: (&str, u16), protocol: Protocol) -> Vec<ConntrackAttribute> {
        vec![
            ConntrackAttribute::CtaTupleOrig(tuple(("10.1.0.2", 40_000), ("10.96.0.1", 80), protocol)),
            ConntrackAttribute::CtaTupleReply(tuple(server_says, ("10.1.0.2", 40_000), protocol)),
            ConntrackAttribute::CtaTimeout(9),
        ]
    }

    fn all(datagram: &[u8]) -> (Vec<Said>, u64) {
        let mut said = Vec::new();
        let senseless = read(datagram, |one| said.push(one));
        (said, senseless)
    }

    #[test]
    fn translated_connections_are_told_and_no_others() {
        let mut datagram = message(ConntrackMessage::New(entry(("10.2.0.3", 8080), Protocol::Tcp)));
        datagram.extend(message(ConntrackMessage::New(entry(("10.96.0.1", 80), Protocol::Tcp))));
        datagram.extend(message(ConntrackMessage::New(entry(("10.2.0.3", 8080), Protocol::Icmp))));
        datagram.extend(message(ConntrackMessage::Delete(entry(("10.2.0.3", 8080), Protocol::Udp))));
        let (said, senseless) = all(&datagram);
        let [Said::Opened(tcp), Said::Closed(udp)] = said.as_slice() else { panic!("{said:?}") };
        assert_eq!(senseless, 0);
        let door = |ip: &str, port| Door::new(ip.parse().unwrap(), port);
        let connection = |server, is_udp| Connection { client: door("10.1.0.2", 40_000), server, is_udp };
        let expected =
            |is_udp| Translation { original: connection(door("10.96.0.1", 80), is_udp), translated: connection(door("10.2.0.3", 8080), is_udp) };
        assert_eq!((*tcp, *udp), (expected(false), expected(true)));
    }

    #[test]
    fn what_is_cut_short_is_counted() {
        let whole = message(ConntrackMessage::New(entry(("10.2.0.3", 8080), Protocol::Tcp)));
        for length in 1..whole.len() {
            let (said, senseless) = all(&whole[..length]);
            assert!(said.is_empty(), "{length}: {said:?}");
            assert_eq!(senseless, u64::from(length >= HEADER_BYTES), "{length}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        /// Any bytes, and any change of a sound datagram, are read to their end.
        #[test]
        fn no_datagram_is_too_strange(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8), noise in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut datagram = message(ConntrackMessage::New(entry(("10.2.0.3", 8080), Protocol::Tcp)));
            datagram.extend(message(ConntrackMessage::Delete(entry(("10.2.0.3", 8080), Protocol::Tcp))));
            for (at, byte) in changes {
                let at = at.index(datagram.len());
                datagram[at] = byte;
            }
            datagram.extend(noise);
            let (said, senseless) = all(&datagram);
            prop_assert!(said.len() as u64 + senseless <= datagram.len() as u64 / HEADER_BYTES as u64 + 1);
        }
    }
}
