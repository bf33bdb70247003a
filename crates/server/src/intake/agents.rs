//! The agents that this server knows, and the right of each to ship one batch at a time.

use crate::tables::AgentRecord;
use chrono::{DateTime, Utc};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

/// How long a late agent is waited for, in seconds: two windows of ten seconds, and the time to ship.
pub const LATE_S: i64 = 25;
/// An agent without a window for so long, in seconds, is waited for no more until it speaks again.
const GONE_S: i64 = 60;
/// An agent not heard of for so long, in seconds, is not waited for by exports: five minutes, in which a server restarts and agents find it again.
const BEHIND_S: i64 = 300;
/// Without room for another, an agent not heard of for so long, in seconds, is forgotten: a day.
const FORGET_S: i64 = 86_400;

/// What this process knows of an agent.
#[derive(Debug, Default)]
struct Known {
    record: AgentRecord,
    /// It has said hello to this process.
    greeted: bool,
    /// What it says of itself is durable.
    stored: bool,
    /// Held while a batch of it is at work.
    flight: Arc<AsyncMutex<()>>,
}

/// All agents.
#[derive(Debug)]
pub struct Agents {
    known: Mutex<HashMap<String, Known>>,
    /// Most agents; one more is refused.
    agents_max: usize,
}

/// Why an agent may not ship now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotNow {
    /// It has to say hello first: this server was started since.
    Stranger,
    /// Another boot of the same id said hello later.
    OtherBoot,
    /// Its last batch is still at work.
    InFlight,
}

impl Agents {
    pub fn new(agents_max: usize, stored: Vec<AgentRecord>) -> Self {
        let known = stored.into_iter().map(|record| (record.agent_id.clone(), Known { record, stored: true, ..Known::default() })).collect();
        Self { known: Mutex::new(known), agents_max }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes an agent's greeting; what is remembered of its windows stays. Returns the whole record, and whether what the agent says of itself
    /// is durable already. `None`: there are too many agents.
    pub fn greet(&self, mut record: AgentRecord) -> Option<(AgentRecord, bool)> {
        let mut known = self.lock();
        if !known.contains_key(&record.agent_id) && known.len() >= self.agents_max {
            // Nodes come and go: those that went make room.
            let old = record.last_seen.map(|now| now - chrono::Duration::seconds(FORGET_S));
            known.retain(|_, agent| agent.record.left_at.is_none() && agent.record.last_seen >= old);
            if known.len() >= self.agents_max {
                return None;
            }
        }
        let agent = known.entry(record.agent_id.clone()).or_default();
        let old = std::mem::take(&mut agent.record);
        agent.stored &= facts(&old) == facts(&record);
        record.first_seen = old.first_seen.or(record.first_seen);
        record.last_window_end = old.last_window_end;
        record.sequence = record.sequence.max(old.sequence);
        record.sockets = old.sockets;
        record.losses = old.losses;
        record.kernel_drops = old.kernel_drops;
        record.rtt_sampled = old.rtt_sampled;
        agent.record = record.clone();
        agent.greeted = true;
        Some((record, agent.stored))
    }

    /// What the agent said of itself is durable now.
    pub fn stored(&self, agent_id: &str) {
        if let Some(agent) = self.lock().get_mut(agent_id) {
            agent.stored = true;
        }
    }

    /// The right to work on one batch of this agent, until dropped.
    ///
    /// # Errors
    /// Why not now.
    pub fn take_off(&self, agent_id: &str, boot_id: &str) -> Result<(OwnedMutexGuard<()>, AgentRecord), NotNow> {
        let known = self.lock();
        let agent = known.get(agent_id).filter(|a| a.greeted).ok_or(NotNow::Stranger)?;
        if !boot_id.is_empty() && boot_id != agent.record.boot_id {
            return Err(NotNow::OtherBoot);
        }
        let guard = Arc::clone(&agent.flight).try_lock_owned().map_err(|_| NotNow::InFlight)?;
        Ok((guard, agent.record.clone()))
    }

    /// Takes it that an agent ends. Returns the whole record, and whether that is durable already: said again it changes nothing.
    ///
    /// # Errors
    /// If it has not greeted, or another boot has since.
    pub fn leave(&self, agent_id: &str, boot_id: &str, now: DateTime<Utc>) -> Result<(AgentRecord, bool), NotNow> {
        let mut known = self.lock();
        let agent = known.get_mut(agent_id).filter(|a| a.greeted).ok_or(NotNow::Stranger)?;
        if boot_id != agent.record.boot_id {
            return Err(NotNow::OtherBoot);
        }
        if agent.record.left_at.is_none() {
            agent.record.left_at = Some(now);
            agent.stored = false;
        }
        Ok((agent.record.clone(), agent.stored))
    }

    /// Changes what is known of an agent.
    pub fn update(&self, agent_id: &str, change: impl FnOnce(&mut AgentRecord)) {
        if let Some(agent) = self.lock().get_mut(agent_id) {
            change(&mut agent.record);
        }
    }

    /// End of the last window that every agent has shipped; one that is late is waited for [`LATE_S`] only, and one that left or is gone not at all.
    /// `None` before the first window.
    pub fn watermark(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let ago = |seconds| now - chrono::Duration::seconds(seconds);
        let known = self.lock();
        let end = |agent: &Known| agent.record.last_window_end.map(|end| end.min(now));
        let ends: Vec<_> = known.values().filter_map(end).collect();
        let there: Vec<_> = known.values().filter(|agent| agent.record.left_at.is_none()).filter_map(end).collect();
        let alive = there.iter().filter(|end| **end > ago(GONE_S)).map(|end| (*end).max(ago(LATE_S))).min();
        // With all of them gone there is nothing to wait for: rounds go on, so that what has no data resolves.
        alive.or(Some(ago(LATE_S)).filter(|_| !ends.is_empty()))
    }

    /// How many agents may still ship windows that end by `until`: those that greeted, have not left, were heard of in the last minutes, and whose last window
    /// ended before.
    pub fn behind(&self, until: DateTime<Utc>, now: DateTime<Utc>) -> usize {
        let heard =
            |record: &AgentRecord| record.last_seen.max(record.last_window_end).is_some_and(|at| now - at < chrono::Duration::seconds(BEHIND_S));
        let known = self.lock();
        let waiting = |record: &AgentRecord| record.left_at.is_none() && record.last_window_end.is_none_or(|end| end < until) && heard(record);
        known.values().filter(|agent| waiting(&agent.record)).count()
    }

    /// All records, by id.
    pub fn records(&self) -> Vec<AgentRecord> {
        let mut records: Vec<_> = self.lock().values().map(|a| a.record.clone()).collect();
        records.sort_by(|a, b| a.agent_id.cmp(&b.agent_id));
        records
    }

    /// How many there are that have not left.
    pub fn there(&self) -> usize {
        self.lock().values().filter(|agent| agent.record.left_at.is_none()).count()
    }

    pub fn len(&self) -> usize {
        self.lock().len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What an agent says of itself, and seldom changes.
fn facts(record: &AgentRecord) -> impl PartialEq + '_ {
    let AgentRecord { boot_id, version, kernel, node, zone, region, environment, interval_s, hooks, scope, left_at, .. } = record;
    (boot_id, version, kernel, node, zone, region, environment, interval_s, hooks, scope, left_at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(boot: &str) -> AgentRecord {
        AgentRecord { agent_id: "a".into(), boot_id: boot.into(), ..AgentRecord::default() }
    }

    #[test]
    fn one_batch_at_a_time_of_the_boot_that_greeted_last() {
        let agents = Agents::new(1, vec![record("old")]);
        assert_eq!(agents.take_off("a", "old").unwrap_err(), NotNow::Stranger, "known from the table only");
        agents.greet(record("1")).unwrap();
        let flight = agents.take_off("a", "1").unwrap();
        assert_eq!(agents.take_off("a", "1").unwrap_err(), NotNow::InFlight);
        drop(flight);
        assert!(agents.take_off("a", "1").is_ok());
        agents.greet(record("2")).unwrap();
        assert_eq!(agents.take_off("a", "1").unwrap_err(), NotNow::OtherBoot);
        assert!(agents.greet(AgentRecord { agent_id: "b".into(), ..AgentRecord::default() }).is_none(), "full");
    }

    #[test]
    fn a_second_greeting_keeps_what_is_known_of_windows() {
        let agents = Agents::new(1, vec![]);
        agents.greet(record("1")).unwrap();
        agents.update("a", |r| (r.sequence, r.sockets) = (7, 9));
        let (again, _) = agents.greet(record("1")).unwrap();
        assert_eq!((again.sequence, again.sockets), (7, 9));
    }

    #[test]
    fn what_is_stored_and_has_not_changed_is_known() {
        let agents = Agents::new(9, vec![record("1")]);
        assert!(agents.greet(record("1")).unwrap().1);
        assert!(!agents.greet(record("2")).unwrap().1, "another boot");
        assert!(!agents.greet(record("2")).unwrap().1, "not stored yet");
        agents.stored("a");
        assert!(agents.greet(record("2")).unwrap().1);
    }

    #[test]
    fn who_leaves_is_not_waited_for_until_it_greets_again() {
        let at = |second: i64| DateTime::from_timestamp(second, 0).unwrap();
        let agents = Agents::new(9, vec![]);
        let greet = |id: &str, boot: &str| agents.greet(AgentRecord { agent_id: id.into(), ..record(boot) }).unwrap();
        for (id, end) in [("a", 100), ("b", 90)] {
            greet(id, "1");
            agents.update(id, |r| r.last_window_end = Some(at(end)));
        }
        assert_eq!(agents.watermark(at(101)), Some(at(90)));
        assert_eq!(agents.leave("c", "1", at(99)).unwrap_err(), NotNow::Stranger);
        assert_eq!(agents.leave("b", "0", at(99)).unwrap_err(), NotNow::OtherBoot);
        let (left, stored) = agents.leave("b", "1", at(99)).unwrap();
        assert_eq!((left.left_at, stored, agents.there()), (Some(at(99)), false, 1));
        assert_eq!(agents.watermark(at(101)), Some(at(100)));
        agents.stored("b");
        let (again, stored) = agents.leave("b", "1", at(100)).unwrap();
        assert_eq!((again.left_at, stored), (Some(at(99)), true), "said twice");
        let (back, stored) = greet("b", "1");
        assert_eq!((back.left_at, stored), (None, false), "that it is back is to be stored");
        assert_eq!(agents.watermark(at(101)), Some(at(90)));
    }

    #[test]
    fn who_may_still_ship_is_waited_for() {
        let at = |second: i64| DateTime::from_timestamp(second, 0).unwrap();
        let known = |id: &str, end: Option<i64>| AgentRecord { agent_id: id.into(), last_window_end: end.map(at), ..AgentRecord::default() };
        let left = AgentRecord { left_at: Some(at(900)), ..known("left", Some(890)) };
        let greeted = AgentRecord { last_seen: Some(at(995)), ..known("greeted", None) };
        let agents = Agents::new(9, vec![known("there", Some(1_000)), known("late", Some(960)), known("gone", Some(600)), left, greeted]);
        assert_eq!(agents.behind(at(1_000), at(1_005)), 2, "the late one, and the one that only greeted");
        assert_eq!(agents.behind(at(960), at(1_005)), 1);
    }

    #[test]
    fn agents_that_went_make_room() {
        let at = |day: i64| DateTime::from_timestamp(day * 86_400, 0);
        let seen = |id: &str, day| AgentRecord { agent_id: id.into(), last_seen: at(day), ..AgentRecord::default() };
        let agents = Agents::new(2, vec![seen("old", 1), seen("new", 9)]);
        assert!(agents.greet(seen("next", 10)).is_some());
        assert_eq!(agents.records().iter().map(|r| r.agent_id.as_str()).collect::<Vec<_>>(), ["new", "next"]);
        assert!(agents.greet(seen("more", 10)).is_none());
    }
}
