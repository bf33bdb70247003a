//! What agents call ends of which nobody speaks, as they heard. Rows get such names from the observations themselves; here they are kept to explain them.

use super::{Directory, End, Span};
use crate::address;
use crate::resolve::Heard;
use edgescope_model::wire;
use std::collections::HashMap;

/// Most ends: 50,000 × some 200 bytes is 10 MB.
const ENDS_MAX: usize = 50_000;
/// Names of one end; agents may call it differently.
const WORDS_MAX: usize = 8;
/// A window without a word in it: an agent tells of an end when something goes to it.
const GAP_US: i64 = 600_000_000;

/// That an agent called an end so, from–until.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word {
    pub agent: String,
    pub name: String,
    pub resolution_type: &'static str,
    from_us: i64,
    until_us: i64,
}

/// All that is remembered.
#[derive(Debug, Default)]
pub(super) struct Words {
    ends: HashMap<End, Vec<Word>>,
    dropped: u64,
}

impl Words {
    fn put(&mut self, end: End, agent: &str, heard: Heard<'_>, window: Span) {
        if !self.ends.contains_key(&end) && self.ends.len() >= ENDS_MAX {
            self.dropped += 1;
            return;
        }
        let words = self.ends.entry(end).or_default();
        let same = |word: &&mut Word| word.agent == agent && word.name == heard.name && word.resolution_type == heard.resolution_type;
        let goes_on =
            |word: &&mut Word| window.from_us <= word.until_us.saturating_add(GAP_US) && window.to_us.saturating_add(GAP_US) >= word.from_us;
        if let Some(word) = words.iter_mut().filter(same).find(goes_on) {
            (word.from_us, word.until_us) = (word.from_us.min(window.from_us), word.until_us.max(window.to_us));
            return;
        }
        if words.len() >= WORDS_MAX {
            let oldest = (0..words.len()).min_by_key(|&at| words[at].until_us);
            oldest.map(|at| words.swap_remove(at));
        }
        let (agent, name) = (agent.to_owned(), heard.name.to_owned());
        words.push(Word { agent, name, resolution_type: heard.resolution_type, from_us: window.from_us, until_us: window.to_us });
    }

    /// The newest word on an end at a moment.
    fn at(&self, end: End, at_us: i64) -> Option<&Word> {
        let holds = |word: &&Word| word.from_us <= at_us && at_us < word.until_us.saturating_add(GAP_US);
        self.ends.get(&end)?.iter().filter(holds).max_by_key(|word| (word.until_us, word.from_us, &word.name))
    }
}

impl Directory {
    /// Takes what a batch calls its far ends.
    pub(super) fn take_words(&mut self, batch: &wire::Batch, window: Span) {
        for observation in &batch.observations {
            let Some(heard) = Heard::of(observation) else { continue };
            let Some(end) = far_end(observation) else { continue };
            self.words.put(end, &batch.agent_id, heard, window);
        }
    }

    /// What an agent called an end at a moment. Asked without a port: whatever port.
    pub(super) fn word_on(&self, end: End, at_us: i64) -> Option<&Word> {
        let any_port = || {
            let ends = self.words.ends.keys().filter(|known| end.port.is_none() && known.address == end.address);
            ends.filter_map(|known| self.words.at(*known, at_us)).max_by_key(|word| (word.until_us, &word.name))
        };
        self.words.at(end, at_us).or_else(any_port)
    }

    /// Names that agents called ends of which nobody speaks, held now, and those for which there was no room.
    pub fn names_heard(&self) -> (usize, u64) {
        (self.words.ends.values().map(Vec::len).sum(), self.words.dropped)
    }

    pub(super) fn expire_words(&mut self, before_us: i64) {
        self.words.ends.retain(|_, words| {
            words.retain(|word| word.until_us > before_us);
            !words.is_empty()
        });
    }
}

/// The end as an observation has it, before any translation is undone: what is called by a name that was heard is what was talked to.
fn far_end(observation: &wire::Observation) -> Option<End> {
    let address = address::from_bytes(&observation.remote_address)?;
    let port = u16::try_from(observation.service_port).ok()?;
    let is_server_far = observation.role() != wire::Role::Server;
    Some(End { address, port: is_server_far.then_some(port) })
}
