//! Which names this node's clients had answers about in a window, and how many of them were no help. Bounded, since anyone may ask for anything.

use crate::naming::Naming;
use edgescope_decode::dns::Message;
use edgescope_identity::local::Local;
use edgescope_probe::{Comm, FlowKey};
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

/// Most pairs of a client and a name in a window, some 150 bytes each; of a node's hundreds of names a few thousand are asked for in a minute.
const PAIRS_MAX: usize = 4_096;
/// Most of them told: the most frequent; the others' sums are told without a name.
const TOLD_MAX: usize = 256;
/// Owners of such sums beyond those; a server takes 5,000 questions in all, and would refuse the whole batch.
const SUMS_MAX: usize = 1_024;
/// Stands for the names that are not told apart.
const OTHERS: &str = "";

const NO_ERROR: u16 = 0;
const NX_DOMAIN: u16 = 3;

/// Answers about one name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Answers {
    pub all: u64,
    /// That there is no such name.
    pub nxdomain: u64,
    /// With any other error.
    pub failed: u64,
}

impl Answers {
    fn add(&mut self, other: Self) {
        self.all += other.all;
        self.nxdomain += other.nxdomain;
        self.failed += other.failed;
    }
}

/// Who asked, as its socket tells.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Client {
    netns: u32,
    local: IpAddr,
    comm: Comm,
    cgroup: u64,
}

/// What a client asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    pub owner: Arc<Local>,
    /// Empty: all that are not told apart.
    pub name: Arc<str>,
    pub answers: Answers,
}

/// The window's.
#[derive(Debug, Default)]
pub struct Asked {
    counts: HashMap<(Client, Arc<str>), Answers>,
    /// Answers for whose client there was no room, since the last [`Asked::take`].
    left_out: u64,
}

impl Asked {
    /// Counts an answer that reached a client.
    pub fn count(&mut self, flow: &FlowKey, message: &Message) {
        let Some(question) = message.question.as_ref().filter(|_| message.response && message.opcode == 0) else { return };
        let answers =
            Answers { all: 1, nxdomain: u64::from(message.rcode == NX_DOMAIN), failed: u64::from(!matches!(message.rcode, NO_ERROR | NX_DOMAIN)) };
        let client = Client { netns: flow.netns, local: flow.local, comm: flow.comm, cgroup: flow.cgroup };
        let mut pair = (client, Arc::<str>::from(question.name.as_str()));
        if self.counts.len() >= PAIRS_MAX && !self.counts.contains_key(&pair) {
            pair.1 = OTHERS.into();
            // A client of which nothing is told yet finds no room at all.
            if !self.counts.contains_key(&pair) && self.counts.len() >= PAIRS_MAX * 2 {
                self.left_out += 1;
                return;
            }
        }
        self.counts.entry(pair).or_default().add(answers);
    }

    /// The window's questions by owner, sums without a name first, then the most frequent, and how many answers were left out; begins anew.
    pub fn take(&mut self, naming: &mut Naming) -> (Vec<Question>, u64) {
        let mut by_owner: BTreeMap<(Arc<Local>, Arc<str>), Answers> = BTreeMap::new();
        for ((client, name), answers) in self.counts.drain() {
            let owner = naming.owner(client.netns, client.local, None, &client.comm, client.cgroup);
            by_owner.entry((owner, name)).or_default().add(answers);
        }
        let mut told: Vec<Question> = by_owner.into_iter().map(|((owner, name), answers)| Question { owner, name, answers }).collect();
        // What is summed up already stays to be added to.
        told.sort_by_key(|question| (&*question.name != OTHERS, std::cmp::Reverse(question.answers.all)));
        let rest = told.split_off(told.len().min(TOLD_MAX));
        for question in rest {
            let is_full = told.len() >= TOLD_MAX + SUMS_MAX;
            match told.iter_mut().find(|told| told.owner == question.owner && &*told.name == OTHERS) {
                Some(others) => others.answers.add(question.answers),
                None if !is_full => told.push(Question { name: OTHERS.into(), ..question }),
                None => self.left_out += question.answers.all,
            }
        }
        (told, std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::key;
    use edgescope_decode::dns;
    use edgescope_identity::local::{Namer, Place};
    use edgescope_identity::rules::Rules;

    fn naming() -> Naming {
        Naming::new(Namer::new(Rules::default(), Place::default()), false)
    }

    fn message(name: &str, rcode: u16) -> Message {
        Message { response: true, rcode, question: Some(dns::Question { name: name.into(), kind: 1 }), ..Message::default() }
    }

    fn told(asked: &mut Asked) -> Vec<(String, Answers)> {
        asked.take(&mut naming()).0.into_iter().map(|question| (question.name.to_string(), question.answers)).collect()
    }

    #[test]
    fn answers_count_by_name_and_outcome() {
        let mut asked = Asked::default();
        for rcode in [0, 0, 3, 2, 5] {
            asked.count(&key(1), &message("a.test", rcode));
        }
        asked.count(&key(1), &message("b.test", 0));
        asked.count(&key(1), &Message { response: false, ..message("c.test", 0) });
        asked.count(&key(1), &Message { question: None, ..message("d.test", 0) });
        let a = Answers { all: 5, nxdomain: 1, failed: 2 };
        assert_eq!(told(&mut asked), [("a.test".to_owned(), a), ("b.test".to_owned(), Answers { all: 1, ..Answers::default() })]);
        assert_eq!(told(&mut asked), [], "a window later");
    }

    #[test]
    fn a_flood_of_names_is_summed_and_none_is_lost() {
        const FLOOD: u64 = 10_000;
        let mut asked = Asked::default();
        for n in 0..FLOOD {
            asked.count(&key(1), &message(&format!("{n}.flood.test"), 3));
            asked.count(&key(1), &message("often.test", 0));
        }
        let told = told(&mut asked);
        assert!(told.len() <= TOLD_MAX + 1, "{}", told.len());
        let all: u64 = told.iter().map(|(_, answers)| answers.all).sum();
        assert_eq!(all, 2 * FLOOD);
        assert_eq!(told.iter().find(|(name, _)| name == "often.test").unwrap().1.all, FLOOD);
        assert_eq!(told.iter().map(|(_, answers)| answers.nxdomain).sum::<u64>(), FLOOD);
    }

    #[test]
    fn a_flood_of_owners_stays_within_what_a_server_takes() {
        let mut asked = Asked::default();
        for n in 0..PAIRS_MAX {
            asked.count(&FlowKey { comm: Comm::new(&format!("p{n}")), ..key(1) }, &message("a.test", 0));
        }
        let (told, left_out) = asked.take(&mut naming());
        assert!(told.len() <= TOLD_MAX + SUMS_MAX && left_out > 0, "{} told", told.len());
        assert_eq!(told.iter().map(|question| question.answers.all).sum::<u64>() + left_out, PAIRS_MAX as u64);
    }

    #[test]
    fn a_flood_of_clients_is_counted_where_it_finds_no_room() {
        let mut asked = Asked::default();
        let clients = PAIRS_MAX as u64 * 3;
        for cgroup in 0..clients {
            asked.count(&FlowKey { cgroup, ..key(1) }, &message("a.test", 0));
        }
        let (told, left_out) = asked.take(&mut naming());
        assert!(left_out > 0);
        assert_eq!(told.iter().map(|question| question.answers.all).sum::<u64>() + left_out, clients);
    }
}
