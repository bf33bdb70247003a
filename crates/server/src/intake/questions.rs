//! What agents say was asked of DNS, for an hour: by minute, workload and name. In memory: it explains what the edges' counts show, and those are stored.

use chrono::{DateTime, Utc};
use edgescope_identity::cgroup::PodRef;
use edgescope_identity::directory::{Directory, End, Span};
use edgescope_identity::{dims_of, pod_of};
use edgescope_model::asked::{Asked, AskedName};
use edgescope_model::time::from_seconds;
use edgescope_model::wire::Batch;
use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const MINUTE_S: i64 = 60;
/// Minutes remembered.
const MINUTES: i64 = 60;
/// Most pairs of a workload and a name in a minute, some 200 bytes each: an hour of them, with the sums below, is 48 MB.
const PAIRS_MAX: usize = 3_000;
/// Of how many workloads more the rest is summed by workload.
const WORKLOADS_MAX: usize = 1_000;

/// Who asked for what. An empty name stands for all that are not told apart.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pair {
    namespace: String,
    workload: String,
    name: String,
}

/// How often, and with what success.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Answers {
    all: u64,
    nxdomain: u64,
    failures: u64,
}

impl Answers {
    fn add(&mut self, other: Self) {
        self.all = self.all.saturating_add(other.all);
        self.nxdomain = self.nxdomain.saturating_add(other.nxdomain);
        self.failures = self.failures.saturating_add(other.failures);
    }
}

/// What a batch says, its owners named as in its rows.
pub fn of_batch(batch: &Batch, directory: &Directory) -> Vec<(Pair, Answers)> {
    let window = Span::of(batch);
    let nowhere = End { address: IpAddr::V6(Ipv6Addr::UNSPECIFIED), port: None };
    let named = |owner: u32| {
        let owner = batch.owners.get(owner as usize)?;
        let pod: Option<PodRef> = pod_of(owner);
        Some(directory.name_local(&batch.agent_id, nowhere, &Arc::new(dims_of(owner).0), pod.as_ref(), window))
    };
    let told = batch.questions.iter().filter_map(|question| {
        let dims = named(question.owner)?;
        let pair = Pair { namespace: dims.namespace.clone(), workload: dims.workload.clone(), name: question.name.clone() };
        Some((pair, Answers { all: question.answers, nxdomain: question.nxdomain, failures: question.failures }))
    });
    told.collect()
}

#[derive(Debug, Default)]
struct Minute {
    counts: HashMap<Pair, Answers>,
}

impl Minute {
    /// What finds no room is summed under its workload, or under nobody.
    fn add(&mut self, mut pair: Pair, answers: Answers) {
        let finds_room = |counts: &HashMap<Pair, Answers>, pair: &Pair, max| counts.len() < max || counts.contains_key(pair);
        if !finds_room(&self.counts, &pair, PAIRS_MAX) {
            pair.name.clear();
        }
        if !finds_room(&self.counts, &pair, PAIRS_MAX + WORKLOADS_MAX) {
            pair = Pair { namespace: String::new(), workload: String::new(), name: String::new() };
        }
        self.counts.entry(pair).or_default().add(answers);
    }
}

/// The last hour's.
#[derive(Debug, Default)]
pub struct Questions {
    /// By their start.
    minutes: Mutex<BTreeMap<i64, Minute>>,
}

impl Questions {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<i64, Minute>> {
        self.minutes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what was said of a window that began then.
    pub fn take(&self, told: Vec<(Pair, Answers)>, window_start_us: i64, now: DateTime<Utc>) {
        let oldest_s = oldest_s(now);
        let start_s = window_start_us.div_euclid(1_000_000 * MINUTE_S) * MINUTE_S;
        let mut minutes = self.lock();
        minutes.retain(|start_s, _| *start_s >= oldest_s);
        // A clock that runs before ours by more than a minute must not take the room of the true minutes.
        if told.is_empty() || start_s < oldest_s || start_s > now.timestamp() + MINUTE_S {
            return;
        }
        let minute = minutes.entry(start_s).or_default();
        told.into_iter().for_each(|(pair, answers)| minute.add(pair, answers));
    }

    /// The most asked names of the minutes that lie in the range at least in part; of one workload, if given.
    pub fn most(&self, (from, to): (DateTime<Utc>, DateTime<Utc>), workload: Option<&str>, limit: usize, now: DateTime<Utc>) -> Asked {
        let mut sums: HashMap<Pair, Answers> = HashMap::new();
        let first_s = from.timestamp().div_euclid(MINUTE_S) * MINUTE_S;
        for (_, minute) in self.lock().range(first_s..).take_while(|(start_s, _)| **start_s < to.timestamp()) {
            for (pair, answers) in minute.counts.iter().filter(|(pair, _)| workload.is_none_or(|workload| workload == pair.workload)) {
                sums.entry(pair.clone()).or_default().add(*answers);
            }
        }
        let names_total = sums.len();
        let mut names: Vec<AskedName> = sums.into_iter().map(shown).collect();
        let order = |asked: &AskedName| (std::cmp::Reverse(asked.answers), asked.workload.clone(), asked.name.clone());
        names.sort_by_cached_key(order);
        names.truncate(limit);
        Asked { from, to, kept_from: from_seconds(oldest_s(now)), names, names_total }
    }
}

fn oldest_s(now: DateTime<Utc>) -> i64 {
    now.timestamp().div_euclid(MINUTE_S) * MINUTE_S - (MINUTES - 1) * MINUTE_S
}

fn shown((pair, answers): (Pair, Answers)) -> AskedName {
    let Pair { namespace, workload, name } = pair;
    AskedName { namespace, workload, name, answers: answers.all, nxdomain: answers.nxdomain, failures: answers.failures }
}

#[cfg(test)]
mod tests {
    use super::*;
    use edgescope_identity::directory::Limits;
    use edgescope_identity::rules::Rules;
    use edgescope_model::wire::{Owner, Question};

    const NOON_S: i64 = 1_800_000_000 / 3_600 * 3_600;

    fn batch(questions: &[(u32, &str, u64)]) -> Batch {
        let owners = ["web", "cart"].map(|workload| Owner { workload: workload.into(), namespace: "shop".into(), ..Owner::default() });
        let questions = questions.iter().map(|(owner, name, answers)| Question {
            owner: *owner,
            name: (*name).into(),
            answers: *answers,
            nxdomain: 1,
            failures: 2,
        });
        Batch { owners: owners.into(), questions: questions.collect(), ..Batch::default() }
    }

    fn take(all: &Questions, questions: &[(u32, &str, u64)], at_s: i64, now_s: i64) {
        let directory = Directory::new(Limits::default(), Rules::default());
        all.take(of_batch(&batch(questions), &directory), at_s * 1_000_000, from_seconds(now_s));
    }

    fn most(all: &Questions, from_s: i64, to_s: i64, workload: Option<&str>, limit: usize) -> Vec<(String, String, u64)> {
        let asked = all.most((from_seconds(from_s), from_seconds(to_s)), workload, limit, from_seconds(to_s));
        asked.names.into_iter().map(|of| (of.workload, of.name, of.answers)).collect()
    }

    #[test]
    fn the_most_asked_come_first_and_minutes_add_up() {
        let all = Questions::default();
        take(&all, &[(0, "a.test", 3), (1, "a.test", 4), (7, "nobody.test", 9)], NOON_S, NOON_S);
        take(&all, &[(0, "a.test", 5), (0, "b.test", 1)], NOON_S + 130, NOON_S + 130);
        let named = |workload: &str, name: &str, answers| (workload.to_owned(), name.to_owned(), answers);
        let whole = most(&all, NOON_S, NOON_S + 180, None, 9);
        assert_eq!(whole, [named("web", "a.test", 8), named("cart", "a.test", 4), named("web", "b.test", 1)]);
        assert_eq!(most(&all, NOON_S + 120, NOON_S + 180, Some("web"), 1), [named("web", "a.test", 5)]);
        let asked = all.most((from_seconds(NOON_S), from_seconds(NOON_S + 60)), None, 1, from_seconds(NOON_S));
        assert_eq!((asked.names_total, asked.names.len(), asked.names[0].nxdomain, asked.names[0].failures), (2, 1, 1, 2));
    }

    #[test]
    fn what_is_older_than_an_hour_is_forgotten_and_what_is_not_yet_is_not_taken() {
        let all = Questions::default();
        take(&all, &[(0, "old.test", 1)], NOON_S, NOON_S);
        take(&all, &[(0, "far.test", 1)], NOON_S + 7_200, NOON_S);
        assert_eq!(all.lock().len(), 1);
        take(&all, &[(0, "new.test", 1)], NOON_S + 3_600, NOON_S + 3_600);
        assert_eq!(most(&all, NOON_S, NOON_S + 3_700, None, 9).len(), 1);
        take(&all, &[(0, "late.test", 1)], NOON_S, NOON_S + 3_600);
        assert_eq!(all.lock().len(), 1);
    }

    #[test]
    fn a_flood_is_summed_under_its_workload_and_none_is_lost() {
        let all = Questions::default();
        let flood = PAIRS_MAX as u64 * 2;
        for n in 0..flood {
            take(&all, &[(0, &format!("{n}.flood.test"), 1), (1, "a.test", 1)], NOON_S, NOON_S);
        }
        let told = most(&all, NOON_S, NOON_S + 60, None, usize::MAX);
        assert!(told.len() <= PAIRS_MAX + 1, "{}", told.len());
        assert_eq!(told.iter().map(|(_, _, answers)| answers).sum::<u64>(), 2 * flood);
        assert!(told.contains(&("cart".into(), "a.test".into(), flood)));
        assert!(told.iter().any(|(workload, name, answers)| workload == "web" && name.is_empty() && *answers > flood / 3));
    }
}
