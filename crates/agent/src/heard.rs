//! Names of far ends, as this node's clients hear them in answers of DNS and say them when they greet in TLS. Pure: what was heard and the time
//! come as arguments.
//!
//! A name holds for the network namespace that heard it, since resolvers may tell each other things. A greeting names the port that it was sent to, an answer all of
//! its addresses. Of several names of one place the first stays for as long as it goes on being heard: a name that changed with each answer
//! would tear one edge into many.

use crate::asked::Asked;
use edgescope_decode::dns::{self, Message, kind};
use edgescope_decode::tls::{self, Outcome};
use edgescope_identity::address::{is_group, is_node_local};
use edgescope_model::wire;
use edgescope_probe::{FlowKey, Heard, Protocol, Role, Said};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

/// Most places with a name: some 150 bytes each, 5 MB. A node's clients talk to hundreds, a crawler's to thousands.
pub const NAMES_MAX: usize = 32_768;
/// So long a name stays that is neither heard again nor used; connections are kept longer than answers hold.
const KEPT_US: i64 = 3_600_000_000;
/// So long a name that was heard keeps its place against others: longer than most answers hold, so that it is heard again in between.
const FIRM_US: i64 = 600_000_000;
/// An answer that holds longer is asked for again nevertheless.
const TTL_S_MAX: u32 = 86_400;
const NO_ERROR: u16 = 0;

/// What a far end is called, and how that was found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FarName {
    pub name: Arc<str>,
    pub heard: wire::Heard,
}

/// Of an answer all ports of the address, of a greeting one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Place {
    netns: u32,
    address: IpAddr,
    port: Option<u16>,
}

#[derive(Debug)]
struct Name {
    name: Arc<str>,
    firm_us: i64,
    kept_us: i64,
}

/// All names that are remembered.
#[derive(Debug, Default)]
pub struct Names {
    places: HashMap<Place, Name>,
    /// Names for which there was no room, and what could not be read, since the last [`Names::lost`].
    no_room: u64,
    unreadable: u64,
}

impl Names {
    /// Takes what was heard up to `now_us`, and counts the questions that it answers.
    pub fn learn(&mut self, heard: &[Heard], now_us: i64, questions: &mut Asked) {
        for heard in heard {
            match heard.said {
                Said::Answer => match dns::message(&heard.payload) {
                    Ok(message) => {
                        questions.count(&heard.flow, &message);
                        self.learn_answer(heard, &message, now_us);
                    }
                    Err(_) => self.unreadable += 1,
                },
                Said::Greeting => self.learn_greeting(heard, now_us),
            }
        }
    }

    fn learn_answer(&mut self, heard: &Heard, message: &Message, now_us: i64) {
        let Some(asked) = asked(message) else { return };
        let name: Arc<str> = asked.into();
        for told in message.addresses.iter().filter(|told| can_be_named(told.address)) {
            let place = Place { netns: heard.flow.netns, address: told.address, port: None };
            let holds_us = i64::from(told.ttl_s.min(TTL_S_MAX)) * 1_000_000;
            self.put(place, &name, now_us, holds_us);
        }
    }

    fn learn_greeting(&mut self, heard: &Heard, now_us: i64) {
        match tls::server_name(&heard.payload) {
            Outcome::Name(name) => {
                let place = Place { netns: heard.flow.netns, address: heard.flow.remote, port: Some(heard.flow.service_port) };
                self.put(place, &name.into(), now_us, 0);
            }
            Outcome::Cut => self.unreadable += 1,
            Outcome::Unnamed | Outcome::Other | Outcome::More => {}
        }
    }

    fn put(&mut self, place: Place, name: &Arc<str>, now_us: i64, holds_us: i64) {
        let firm_us = now_us.saturating_add(holds_us.max(FIRM_US));
        let kept_us = now_us.saturating_add(holds_us.max(KEPT_US));
        let full = self.places.len() >= NAMES_MAX;
        match self.places.get_mut(&place) {
            Some(known) if known.name == *name => (known.firm_us, known.kept_us) = (known.firm_us.max(firm_us), known.kept_us.max(kept_us)),
            Some(known) if known.firm_us > now_us => {}
            Some(known) => *known = Name { name: Arc::clone(name), firm_us, kept_us },
            None if full => self.no_room += 1,
            None => drop(self.places.insert(place, Name { name: Arc::clone(name), firm_us, kept_us })),
        }
    }

    /// What the far end of a flow is called, if anybody in its namespace has heard: a client's server by its greeting first.
    pub fn far(&mut self, flow: &FlowKey, now_us: i64) -> Option<FarName> {
        let is_client = flow.role == Role::Client && flow.protocol == Protocol::Tcp;
        let greeted = is_client.then_some((Some(flow.service_port), wire::Heard::TlsSni));
        greeted.into_iter().chain([(None, wire::Heard::Dns)]).find_map(|(port, heard)| {
            let known = self.places.get_mut(&Place { netns: flow.netns, address: flow.remote, port })?;
            known.kept_us = known.kept_us.max(now_us.saturating_add(KEPT_US));
            Some(FarName { name: Arc::clone(&known.name), heard })
        })
    }

    /// Forgets what nobody has heard or used for long.
    pub fn expire(&mut self, now_us: i64) {
        self.places.retain(|_, known| known.kept_us > now_us);
    }

    /// What was lost since the last call, by reason.
    pub fn lost(&mut self) -> [(&'static str, u64); 2] {
        [("names_full", std::mem::take(&mut self.no_room)), ("names_unreadable", std::mem::take(&mut self.unreadable))]
    }

    pub fn len(&self) -> usize {
        self.places.len()
    }

    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }
}

/// The name that was asked for, if the answer says whose addresses these are: aliases lead to names that nobody knows.
fn asked(message: &Message) -> Option<&str> {
    let answers = message.response && message.opcode == 0 && message.rcode == NO_ERROR;
    let question = message.question.as_ref().filter(|_| answers)?;
    (matches!(question.kind, kind::A | kind::AAAA) && question.name != ".").then_some(question.name.as_str())
}

/// Blockers of advertisements answer with addresses that are nobody's or one's own.
fn can_be_named(address: IpAddr) -> bool {
    !(address.is_unspecified() || is_node_local(address) || is_group(address))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::key;
    use proptest::prelude::*;

    const MINUTE_US: i64 = 60_000_000;

    /// An answer as a resolver writes it, names packed.
    fn answer(name: &str, code: u8, addresses: &[(IpAddr, u32)]) -> Heard {
        let kind = if addresses.iter().any(|(address, _)| address.is_ipv6()) { 28 } else { 1 };
        let mut payload = vec![0, 7, 0x81, 0x80 | code, 0, 1, 0, addresses.len() as u8, 0, 0, 0, 0];
        for label in name.split('.') {
            payload.push(label.len() as u8);
            payload.extend(label.as_bytes());
        }
        payload.extend([0, 0, kind, 0, 1]);
        for (address, ttl_s) in addresses {
            payload.extend([0xc0, 12, 0, kind, 0, 1]);
            payload.extend(ttl_s.to_be_bytes());
            let octets = match address {
                IpAddr::V4(v4) => v4.octets().to_vec(),
                IpAddr::V6(v6) => v6.octets().to_vec(),
            };
            payload.extend((octets.len() as u16).to_be_bytes());
            payload.extend(octets);
        }
        Heard { flow: key(53), said: Said::Answer, payload: payload.into() }
    }

    fn learn(names: &mut Names, heard: &[Heard], now_us: i64) {
        names.learn(heard, now_us, &mut Asked::default());
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// The least of a ClientHello with a server's name.
    fn greeting(name: &str, remote: &str, port: u16) -> Heard {
        let name = name.as_bytes();
        let mut list = vec![0];
        list.extend((name.len() as u16).to_be_bytes());
        list.extend(name);
        let mut extension = vec![0, 0];
        extension.extend((list.len() as u16 + 2).to_be_bytes());
        extension.extend((list.len() as u16).to_be_bytes());
        extension.extend(list);
        let mut body = vec![3, 3];
        body.extend([7; 32]);
        body.extend([0, 0, 2, 0x13, 1, 1, 0]);
        body.extend((extension.len() as u16).to_be_bytes());
        body.extend(extension);
        let mut payload = vec![22, 3, 1];
        payload.extend((body.len() as u16 + 4).to_be_bytes());
        payload.extend([1, 0]);
        payload.extend((body.len() as u16).to_be_bytes());
        payload.extend(body);
        let flow = FlowKey { remote: ip(remote), service_port: port, role: Role::Client, ..key(1) };
        Heard { flow, said: Said::Greeting, payload: payload.into() }
    }

    fn flow(remote: &str, port: u16) -> FlowKey {
        FlowKey { remote: ip(remote), service_port: port, role: Role::Client, ..key(1) }
    }

    fn called(names: &mut Names, remote: &str, port: u16, now_us: i64) -> Option<String> {
        names.far(&flow(remote, port), now_us).map(|far| format!("{} by {}", far.name, far.heard.as_str_name()))
    }

    #[test]
    fn what_was_asked_for_names_every_address_of_the_answer() {
        let mut names = Names::default();
        learn(
            &mut names,
            &[answer("DB.example.com", 0, &[(ip("10.9.0.1"), 60), (ip("10.9.0.2"), 60)]), answer("v6.test", 0, &[(ip("fd00::9"), 60)])],
            0,
        );
        assert_eq!(called(&mut names, "10.9.0.1", 5432, 1).unwrap(), "db.example.com by HEARD_DNS");
        assert_eq!(called(&mut names, "10.9.0.2", 80, 1).unwrap(), "db.example.com by HEARD_DNS");
        assert_eq!(called(&mut names, "fd00::9", 80, 1).unwrap(), "v6.test by HEARD_DNS");
        assert_eq!(called(&mut names, "10.9.0.3", 80, 1), None);
        // Another namespace has another resolver.
        assert_eq!(names.far(&FlowKey { netns: 99, ..flow("10.9.0.1", 80) }, 1), None);
        // Whoever comes from that address is the same end.
        assert!(names.far(&FlowKey { role: Role::Server, ..flow("10.9.0.1", 80) }, 1).is_some());
    }

    #[test]
    fn a_greeting_names_its_port_before_any_answer() {
        let mut names = Names::default();
        learn(&mut names, &[answer("front.cdn.test", 0, &[(ip("192.0.2.7"), 60)]), greeting("api.example.com", "192.0.2.7", 443)], 0);
        assert_eq!(called(&mut names, "192.0.2.7", 443, 1).unwrap(), "api.example.com by HEARD_TLS_SNI");
        assert_eq!(called(&mut names, "192.0.2.7", 80, 1).unwrap(), "front.cdn.test by HEARD_DNS");
        let server = FlowKey { role: Role::Server, ..flow("192.0.2.7", 443) };
        assert_eq!(names.far(&server, 1).unwrap().heard, wire::Heard::Dns);
    }

    #[test]
    fn a_name_keeps_its_place_while_it_is_heard_and_gives_it_up_afterwards() {
        let (mut names, at) = (Names::default(), [(ip("192.0.2.7"), 60)]);
        for minute in 0..30 {
            learn(&mut names, &[answer("b.test", 0, &at), answer("a.test", 0, &at)], minute * MINUTE_US);
            assert_eq!(called(&mut names, "192.0.2.7", 80, minute * MINUTE_US).unwrap(), "b.test by HEARD_DNS", "minute {minute}");
        }
        // The address is somebody else's now: ten minutes after the last word of the old name.
        for minute in 30..40 {
            learn(&mut names, &[answer("a.test", 0, &at)], minute * MINUTE_US);
        }
        assert_eq!(called(&mut names, "192.0.2.7", 80, 40 * MINUTE_US).unwrap(), "a.test by HEARD_DNS");
    }

    #[test]
    fn a_name_stays_as_long_as_it_is_used_and_an_hour() {
        let mut names = Names::default();
        learn(&mut names, &[answer("a.test", 0, &[(ip("192.0.2.7"), 60)])], 0);
        for minute in [50, 100, 150] {
            names.expire(minute * MINUTE_US);
            assert!(called(&mut names, "192.0.2.7", 80, minute * MINUTE_US).is_some(), "minute {minute}");
        }
        names.expire(209 * MINUTE_US);
        assert_eq!(names.len(), 1);
        names.expire(210 * MINUTE_US);
        assert!(names.is_empty());
    }

    #[test]
    fn refusals_and_addresses_of_nobody_name_nothing() {
        let mut names = Names::default();
        let at = [(ip("192.0.2.7"), 60)];
        learn(&mut names, &[answer("a.test", 3, &at)], 0);
        let nobody = ["0.0.0.0", "127.0.0.1", "169.254.1.1", "224.0.0.1"].map(|address| (ip(address), 60));
        learn(&mut names, &[answer("a.test", 0, &nobody), answer("a.test", 0, &[(ip("::"), 1), (ip("ff02::1"), 1), (ip("fe80::1"), 1)])], 0);
        assert!(names.is_empty());
        assert_eq!(names.lost(), [("names_full", 0), ("names_unreadable", 0)]);
        learn(&mut names, &[Heard { flow: key(53), said: Said::Answer, payload: [1, 2, 3].into() }], 0);
        assert_eq!(names.lost()[1], ("names_unreadable", 1));
        assert_eq!(names.lost()[1].1, 0, "told twice");
    }

    #[test]
    fn what_finds_no_room_is_counted_and_expiry_makes_room() {
        let mut names = Names::default();
        let fill = |names: &mut Names, from: u32, count: u32| {
            for n in from..from + count {
                learn(names, &[answer("a.test", 0, &[(IpAddr::from(std::net::Ipv4Addr::from(0x0a00_0001 + n)), 60)])], 0);
            }
        };
        fill(&mut names, 0, NAMES_MAX as u32 + 7);
        assert_eq!((names.len(), names.lost()[0].1), (NAMES_MAX, 7));
        names.expire(KEPT_US);
        fill(&mut names, 0, 1);
        assert_eq!((names.len(), names.lost()[0].1), (1, 0));
    }

    proptest! {
        /// Whatever the payload, it is read to an end, and what is made of it is of a name's length.
        #[test]
        fn any_payload_is_survived(payload in prop::collection::vec(any::<u8>(), 0..600), greeting in any::<bool>()) {
            let mut names = Names::default();
            let said = if greeting { Said::Greeting } else { Said::Answer };
            learn(&mut names, &[Heard { flow: key(53), said, payload: payload.into() }], 0);
            prop_assert!(names.places.values().all(|known| !known.name.is_empty() && known.name.len() <= dns::NAME_BYTES_MAX));
        }
    }
}
