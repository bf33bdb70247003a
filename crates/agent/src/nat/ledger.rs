//! The translations of this node by window: what the observer asks, and what other nodes' ends need to know.

use super::{Change, Changes};
use edgescope_identity::address;
use edgescope_identity::directory::Span;
use edgescope_identity::nat::{Table, Translation, View};
use edgescope_model::wire;
use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;

/// Most translations known: 24 MB, with their indices. One stays for as long as the kernel tracks it, two minutes after a TCP connection's end.
const KNOWN_MAX: usize = 65_536;
/// Most translations told in a window: 60 bytes each, 100 with IPv6, beside the observations of a batch that a server takes.
const TOLD_MAX: usize = 8_000;

/// What connection tracking said, kept.
#[derive(Debug)]
pub struct Ledger {
    table: Table,
    evicted: u64,
}

impl Default for Ledger {
    fn default() -> Self {
        Self { table: Table::new(KNOWN_MAX), evicted: 0 }
    }
}

impl Ledger {
    /// Takes what happened in a window; returns what was lost, by reason.
    pub fn take(&mut self, changes: Changes, window: Span) -> BTreeMap<&'static str, u64> {
        let Changes { changes, mut losses } = changes;
        for change in changes {
            match change {
                Change::Opened { place, translation, is_early } => self.table.open(translation, place, window.from_us, is_early),
                Change::Closed(translation) => self.table.close(&translation, window.to_us),
                Change::ListBegins { place } => self.table.begin_list(place),
                Change::ListEnds { place } => self.table.end_list(place, window.to_us),
                Change::Left { place } => self.table.leave(place, window.to_us),
            }
        }
        let evicted = self.table.evicted() - std::mem::replace(&mut self.evicted, self.table.evicted());
        if evicted > 0 {
            losses.insert("nat_evicted", evicted);
        }
        losses
    }

    pub fn view(&self, window: Span) -> View<'_> {
        View::new(&self.table, window)
    }

    /// Forgets what ended before the moment.
    pub fn expire(&mut self, before_us: i64) {
        self.table.expire(before_us);
    }

    /// How many translations are known.
    pub fn known(&self) -> usize {
        self.table.len()
    }

    /// The translations of a window of which another node has an end and sees it under a changed address, those with a private far end first; and how many more
    /// there were. `local` are the addresses in this agent's scope.
    pub fn for_others(&self, window: Span, local: &HashSet<IpAddr>) -> (Vec<wire::Translation>, u64) {
        let concerns_others = |translation: &&Translation| {
            let Translation { original, translated } = translation;
            let to_server = translation.is_masked() && !local.contains(&translated.server.ip());
            to_server || (translation.is_redirected() && !local.contains(&original.client.ip()))
        };
        let mut told: Vec<&Translation> = self.table.of_window(window).filter(concerns_others).collect();
        let far = |translation: &Translation| {
            let server = translation.translated.server.ip();
            if local.contains(&server) { translation.original.client.ip() } else { server }
        };
        told.sort_unstable_by_key(|translation| (!address::is_private(far(translation)), **translation));
        let cut = told.len().saturating_sub(TOLD_MAX) as u64;
        told.truncate(TOLD_MAX);
        (told.into_iter().map(Translation::to_wire).collect(), cut)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use edgescope_identity::nat::{Connection, Door};

    const WINDOW: Span = Span { from_us: 100, to_us: 200 };

    fn door(ip: &str, port: u16) -> Door {
        Door::new(ip.parse().unwrap(), port)
    }

    fn translation(original: (Door, Door), translated: (Door, Door)) -> Translation {
        let connection = |(client, server)| Connection { client, server, is_udp: false };
        Translation { original: connection(original), translated: connection(translated) }
    }

    #[test]
    fn what_both_ends_of_the_node_know_is_not_told_to_others() {
        let (pod, own) = (door("10.1.0.2", 40_000), door("10.1.0.3", 8080));
        let (service, far, public) = (door("10.96.0.1", 80), door("10.2.0.3", 8080), door("198.51.100.7", 443));
        let (node, outside) = (door("192.0.2.1", 61_000), door("203.0.113.9", 50_000));
        let inside = translation((pod, service), (pod, own));
        let hairpin = translation((own, service), (node, own));
        let to_far_backend = translation((pod, service), (pod, far));
        let masked = translation((pod, far), (node, far));
        let to_public = translation((pod, public), (node, public));
        let node_port = translation((outside, door("192.0.2.1", 30_080)), (node, own));
        let all = [inside, hairpin, to_far_backend, masked, to_public, node_port];
        let opened = all.map(|translation| Change::Opened { place: 1, translation, is_early: false });
        let mut ledger = Ledger::default();
        assert!(ledger.take(Changes { changes: opened.to_vec(), ..Changes::default() }, WINDOW).is_empty());
        let local: HashSet<IpAddr> = ["10.1.0.2", "10.1.0.3", "192.0.2.1"].map(|ip| ip.parse().unwrap()).into();
        let (told, cut) = ledger.for_others(WINDOW, &local);
        let mut expected = vec![masked.to_wire(), to_public.to_wire(), node_port.to_wire()];
        assert_eq!((told[0].clone(), cut), (expected[0].clone(), 0), "the private far end comes first");
        let sorted = |mut told: Vec<wire::Translation>| {
            told.sort_by(|a, b| a.server_address.cmp(&b.server_address));
            told
        };
        expected = sorted(expected);
        assert_eq!(sorted(told), expected);
        assert!(ledger.for_others(Span { from_us: 0, to_us: 100 }, &local).0.is_empty());
    }

    #[test]
    fn more_than_a_batch_takes_is_counted() {
        let mut ledger = Ledger::default();
        let changes = (0..TOLD_MAX as u16 + 10)
            .map(|port| translation((door("10.1.0.2", port), door("10.2.0.3", 80)), (door("192.0.2.1", port), door("10.2.0.3", 80))))
            .map(|translation| Change::Opened { place: 1, translation, is_early: false });
        ledger.take(Changes { changes: changes.collect(), ..Changes::default() }, WINDOW);
        let (told, cut) = ledger.for_others(WINDOW, &HashSet::new());
        assert_eq!((told.len(), cut), (TOLD_MAX, 10));
    }
}
