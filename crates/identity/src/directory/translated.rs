//! Translated connections, as the agents told of them whose nodes translate: who is behind an address that stands for several ends, and which agents should
//! keep such an address' connections apart.

use super::{Directory, Span};
use crate::nat::{Answer, Connection, Translation};
use edgescope_model::wire;
use std::collections::HashMap;
use std::net::IpAddr;

/// How long translations stay after their window: batches come later only after an outage, and then keep the translator's address.
const LINGER_US: i64 = 600_000_000;
/// How long an agent keeps an address apart after its last translation.
const APART_US: i64 = 3_600_000_000;
/// Addresses that one agent keeps apart; an agent takes 1,024.
const APART_MAX: usize = 1_024;

/// Addresses that an agent should keep apart, each with the agent that translates it and the end of the last window in which it did.
pub(super) type Apart = HashMap<u32, HashMap<IpAddr, (u32, i64)>>;

impl Directory {
    /// Takes the translations of a batch, as true in its window.
    pub(super) fn take_translations(&mut self, batch: &wire::Batch, window: Span) {
        if batch.translations.is_empty() {
            return;
        }
        let Some(agent) = self.agent_number(&batch.agent_id) else { return };
        for told in &batch.translations {
            let Some(translation) = Translation::of_wire(told) else {
                self.counters.translations_invalid += 1;
                continue;
            };
            self.translations.hold(translation, agent, window);
            let Translation { original, translated } = translation;
            if translation.is_masked() {
                self.keep_apart(agent, translated.server.ip(), translated.client.ip(), window);
            }
            if translation.is_redirected() {
                self.keep_apart(agent, original.client.ip(), original.server.ip(), window);
            }
        }
    }

    /// Whoever holds `of` sees `address` in place of the other end.
    fn keep_apart(&mut self, translator: u32, of: IpAddr, address: IpAddr, window: Span) {
        let valid: Vec<_> = self.valid(None, of, window).collect();
        let Some(agent) = self.holder_of(None, &valid, window).filter(|agent| *agent != translator) else { return };
        let apart = self.apart.entry(agent).or_default();
        if apart.len() < APART_MAX || apart.contains_key(&address) {
            apart.insert(address, (translator, window.to_us));
        } else {
            self.counters.apart_dropped += 1;
        }
    }

    /// The addresses whose connections an agent should keep apart.
    pub fn apart(&self, agent: &str) -> Vec<IpAddr> {
        let apart = self.by_id.get(agent).and_then(|number| self.apart.get(number));
        let mut addresses: Vec<IpAddr> = apart.into_iter().flatten().map(|(address, _)| *address).collect();
        addresses.sort_unstable();
        addresses
    }

    /// The agent that translates the address has not told of the window yet.
    pub fn awaits_translations(&self, asking: &str, address: IpAddr, window: Span) -> bool {
        let apart = self.by_id.get(asking).and_then(|number| self.apart.get(number)?.get(&address));
        apart.is_some_and(|(translator, _)| self.agents[*translator as usize].heard_us < window.to_us)
    }

    /// What a client's connection became, or what one that came to a server was.
    pub fn other_form(&self, connection: Connection, is_server: bool, window: Span) -> Option<Connection> {
        let answer = if is_server { self.translations.backward(connection, window) } else { self.translations.forward(connection, window) };
        match answer {
            Answer::One(other) => Some(other),
            Answer::Same | Answer::Several => None,
        }
    }

    /// Translations held now.
    pub fn translations(&self) -> usize {
        self.translations.len()
    }

    /// Translations forgotten for want of room.
    pub fn translations_evicted(&self) -> u64 {
        self.translations.evicted()
    }

    pub(super) fn expire_translations(&mut self, now_us: i64) {
        self.translations.expire(now_us.saturating_sub(LINGER_US));
        self.apart.retain(|_, addresses| {
            addresses.retain(|_, (_, told_us)| told_us.saturating_add(APART_US) > now_us);
            !addresses.is_empty()
        });
    }
}
