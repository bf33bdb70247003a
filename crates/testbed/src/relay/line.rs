//! When is a packet due? Pure: packets and times in, packets out.

use super::{GroupCounters, RelayCounters, RelayEndpoint, RuleCounters};
use crate::effect::{DelayRule, Endpoint};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Packets that may wait: 20,000 packets/s for 0.8 s, 25 MB of full packets.
pub const WAITING_MAX: usize = 16 * 1024;

/// Packets later than this count as such.
const LATE_NS: u64 = 500_000;

#[derive(Clone, Copy)]
struct Way {
    base_ns: u64,
    extra_ns: u64,
    /// Which rule the extra comes from.
    rule: Option<u32>,
    /// When the last packet on this way is due: packets of a way never overtake each other, also when its delay shrinks.
    last_due_ns: u64,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Waiting {
    due_ns: u64,
    order: u64,
    taken_ns: u64,
    way: usize,
    device: usize,
    packet: Vec<u8>,
}

pub struct Line {
    endpoints: HashMap<IpAddr, Endpoint>,
    groups: Vec<Endpoint>,
    group_count: usize,
    /// From row to column, row by row.
    ways: Vec<Way>,
    waiting: BinaryHeap<Reverse<Waiting>>,
    order: u64,
    by_group: Vec<GroupCounters>,
    rules: BTreeMap<u32, RuleCounters>,
    dropped_full: u64,
    dropped_unknown: u64,
}

impl Line {
    pub fn new(endpoints: &[RelayEndpoint], delays_us: &[Vec<u32>]) -> Line {
        let count = endpoints.len();
        assert!(delays_us.len() == count && delays_us.iter().all(|row| row.len() == count), "one delay for each pair of endpoints");
        let way = |&us: &u32| Way { base_ns: u64::from(us) * 1_000, extra_ns: 0, rule: None, last_due_ns: 0 };
        let group_count = endpoints.iter().map(|e| usize::from(e.group) + 1).max().unwrap_or(0);
        let by_group = |index: usize| GroupCounters {
            from: (index / group_count) as Endpoint,
            to: (index % group_count) as Endpoint,
            ..GroupCounters::default()
        };
        Line {
            endpoints: endpoints.iter().enumerate().flat_map(|(i, e)| e.ips.iter().map(move |&ip| (ip, i as Endpoint))).collect(),
            groups: endpoints.iter().map(|e| e.group).collect(),
            group_count,
            ways: delays_us.iter().flatten().map(way).collect(),
            waiting: BinaryHeap::new(),
            order: 0,
            by_group: (0..group_count * group_count).map(by_group).collect(),
            rules: BTreeMap::new(),
            dropped_full: 0,
            dropped_unknown: 0,
        }
    }

    /// Takes a packet that was read from `device`; it goes back to the same one when it is due.
    pub fn take(&mut self, now_ns: u64, device: usize, packet: &[u8]) {
        let Some(way) = self.way_of(packet) else {
            self.dropped_unknown += 1;
            return;
        };
        if self.waiting.len() >= WAITING_MAX {
            self.dropped_full += 1;
            return;
        }
        let state = &mut self.ways[way];
        let usual_ns = now_ns + state.base_ns;
        let due_ns = (usual_ns + state.extra_ns).max(state.last_due_ns);
        state.last_due_ns = due_ns;
        if let Some(rule) = state.rule.and_then(|id| self.rules.get_mut(&id)) {
            rule.packets += 1;
            rule.added_us += (due_ns - usual_ns) / 1_000;
        }
        self.order += 1;
        self.waiting.push(Reverse(Waiting { due_ns, order: self.order, taken_ns: now_ns, way, device, packet: packet.to_vec() }));
    }

    /// The next packet that is due at `now_ns`, with its device.
    pub fn due(&mut self, now_ns: u64) -> Option<(usize, Vec<u8>)> {
        if self.next_due_ns()? > now_ns {
            return None;
        }
        let Reverse(packet) = self.waiting.pop()?;
        let endpoints = self.groups.len();
        let (from, to) = (self.groups[packet.way / endpoints], self.groups[packet.way % endpoints]);
        let group = &mut self.by_group[usize::from(from) * self.group_count + usize::from(to)];
        let late_ns = now_ns.saturating_sub(packet.due_ns);
        group.packets += 1;
        group.bytes += packet.packet.len() as u64;
        group.held_us += now_ns.saturating_sub(packet.taken_ns) / 1_000;
        group.late_us += late_ns / 1_000;
        group.late_us_max = group.late_us_max.max(late_ns / 1_000);
        group.late_500us += u64::from(late_ns > LATE_NS);
        Some((packet.device, packet.packet))
    }

    pub fn next_due_ns(&self) -> Option<u64> {
        self.waiting.peek().map(|Reverse(packet)| packet.due_ns)
    }

    /// Replaces the extra delays; where two rules name one way, both add up and the later one is counted.
    pub fn set_rules(&mut self, rules: Vec<DelayRule>) {
        let endpoints = self.groups.len();
        for way in &mut self.ways {
            (way.extra_ns, way.rule) = (0, None);
        }
        for rule in &rules {
            for &(from, to) in &rule.pairs {
                let (from, to) = (usize::from(from), usize::from(to));
                if from < endpoints && to < endpoints {
                    let way = &mut self.ways[from * endpoints + to];
                    way.extra_ns += u64::from(rule.add_us) * 1_000;
                    way.rule = Some(rule.id);
                }
            }
        }
        self.rules = rules.iter().map(|rule| (rule.id, self.rules.get(&rule.id).copied().unwrap_or_default())).collect();
    }

    pub fn counters(&self) -> RelayCounters {
        RelayCounters {
            groups: self.by_group.clone(),
            rules: self.rules.clone(),
            dropped_full: self.dropped_full,
            dropped_unknown: self.dropped_unknown,
            dropped_write: 0,
        }
    }

    fn way_of(&self, packet: &[u8]) -> Option<usize> {
        let (from, to) = addresses(packet)?;
        let (from, to) = (self.endpoints.get(&from)?, self.endpoints.get(&to)?);
        Some(usize::from(*from) * self.groups.len() + usize::from(*to))
    }
}

/// Source and destination of an IP packet.
fn addresses(packet: &[u8]) -> Option<(IpAddr, IpAddr)> {
    let v4 = |at: usize| packet.get(at..at + 4)?.try_into().ok().map(|b: [u8; 4]| IpAddr::V4(Ipv4Addr::from(b)));
    let v6 = |at: usize| packet.get(at..at + 16)?.try_into().ok().map(|b: [u8; 16]| IpAddr::V6(Ipv6Addr::from(b)));
    match packet.first()? >> 4 {
        4 => Some((v4(12)?, v4(16)?)),
        6 => Some((v6(8)?, v6(24)?)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ip(last: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 0, 0, last)
    }

    fn packet(from: u8, to: u8, mark: u8) -> Vec<u8> {
        let mut packet = vec![0; 21];
        packet[0] = 0x45;
        packet[12..16].copy_from_slice(&ip(from).octets());
        packet[16..20].copy_from_slice(&ip(to).octets());
        packet[20] = mark;
        packet
    }

    /// Endpoints 0 and 1; 1 ms from 0 to 1, 3 ms back.
    fn line() -> Line {
        let endpoint = |last: u8| RelayEndpoint { ips: vec![ip(last).into()], group: u16::from(last) };
        Line::new(&[endpoint(0), endpoint(1)], &[vec![0, 1_000], vec![3_000, 0]])
    }

    const MS: u64 = 1_000_000;

    #[test]
    fn each_way_has_its_delay() {
        let mut line = line();
        line.take(10 * MS, 7, &packet(1, 0, b'b'));
        line.take(10 * MS, 8, &packet(0, 1, b'a'));
        assert_eq!(line.next_due_ns(), Some(11 * MS));
        assert!(line.due(11 * MS - 1).is_none());
        assert_eq!(line.due(11 * MS).map(|(device, p)| (device, p[20])), Some((8, b'a')));
        assert!(line.due(12 * MS).is_none());
        assert_eq!(line.due(13 * MS + 600_000).map(|(device, p)| (device, p[20])), Some((7, b'b')));
        let back = &line.counters().groups[2];
        assert_eq!((back.from, back.to, back.packets, back.held_us, back.late_us, back.late_500us), (1, 0, 1, 3_600, 600, 1));
    }

    #[test]
    fn a_rule_adds_to_its_way_only_and_counts() {
        let mut line = line();
        line.set_rules(vec![DelayRule { id: 4, pairs: vec![(0, 1)], add_us: 5_000 }]);
        line.take(0, 0, &packet(0, 1, 0));
        line.take(0, 0, &packet(1, 0, 0));
        assert_eq!(line.counters().rules, BTreeMap::from([(4, RuleCounters { packets: 1, added_us: 5_000 })]));
        assert_eq!(line.next_due_ns(), Some(3 * MS));
        line.due(3 * MS).expect("the way back");
        assert_eq!(line.next_due_ns(), Some(6 * MS));
    }

    #[test]
    fn strangers_and_rubbish_are_dropped_and_counted() {
        let mut line = line();
        line.take(0, 0, &packet(0, 9, 0));
        line.take(0, 0, &[]);
        line.take(0, 0, &[0x60, 1, 2]);
        assert_eq!(line.counters().dropped_unknown, 3);
        assert!(line.next_due_ns().is_none());
    }

    #[test]
    fn no_more_than_the_bound_wait() {
        let mut line = line();
        for _ in 0..WAITING_MAX + 2 {
            line.take(0, 0, &packet(0, 1, 0));
        }
        assert_eq!((line.waiting.len(), line.counters().dropped_full), (WAITING_MAX, 2));
    }

    proptest! {
        /// Also while delays come and go, packets of a way leave in the order they came.
        #[test]
        fn packets_of_a_way_never_overtake(steps in proptest::collection::vec((0u64..2_000_000, 0u32..20_000), 1..60)) {
            let mut line = line();
            let mut now = 0;
            for (mark, (wait_ns, extra_us)) in steps.iter().enumerate() {
                now += wait_ns;
                line.set_rules(vec![DelayRule { id: 4, pairs: vec![(0, 1)], add_us: *extra_us }]);
                line.take(now, 0, &packet(0, 1, mark as u8));
            }
            let marks: Vec<u8> = std::iter::from_fn(|| line.due(u64::MAX)).map(|(_, p)| p[20]).collect();
            prop_assert_eq!(marks, (0..steps.len() as u8).collect::<Vec<_>>());
        }
    }
}
