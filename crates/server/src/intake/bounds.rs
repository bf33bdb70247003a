//! Bounds on everything that an agent sends. What is merely too long is cut and counted; what makes no sense is refused with the field's name.

use edgescope_model::dims::{VALUE_BYTES_MAX, shortened};
use edgescope_model::histogram::BUCKET_MAX;
use edgescope_model::signal::CATALOGUE;
use edgescope_model::wire::{Batch, HelloRequest, INTERVAL_S_MAX, LeaveRequest, Observation, Owner, SEQUENCE_MAX};
use std::collections::BTreeMap;

/// Longest agent id, in bytes: a host name with a suffix.
const AGENT_ID_BYTES_MAX: usize = 128;
/// Instances on one node: Kubernetes allows 110 pods by default, systemd a few hundred units.
const OWNERS_MAX: usize = 10_000;
/// Addresses of one node: two a pod, and the listening ports of those that share one.
const ENDPOINTS_MAX: usize = 50_000;
/// Conversations of one agent in one window; 10,000 fill a batch of the usual size.
const OBSERVATIONS_MAX: usize = 200_000;
/// Translated connections of one node in one window that concern others; an agent tells of 8,000.
const TRANSLATIONS_MAX: usize = 20_000;
/// Names asked for by a node's clients in one window; an agent tells of some 300.
const QUESTIONS_MAX: usize = 5_000;
const HOOKS_MAX: usize = 128;
const LOSSES_MAX: usize = 64;
const LOSS_REASON_BYTES_MAX: usize = 64;
/// Longest window: an agent's longest interval.
const WINDOW_US_MAX: i64 = INTERVAL_S_MAX as i64 * 1_000_000;
/// Windows are in server time, as the agent knows it: what ends later than a little comes from a clock that nothing can be made of, and would stand in the way
/// of the windows that are true.
const FUTURE_US_MAX: i64 = 60_000_000;
/// Largest value and count of a measure, 4.5e15: the bytes of a day at 400 Gbit/s.
const VALUE_MAX: u64 = 1 << 52;
/// Largest count of one loss or drop, 7e13: the smallest packets of a day at 400 Gbit/s are 5e13. A day of such batches of one agent is below 2^60.
const LOSS_COUNT_MAX: u64 = 1 << 46;

/// Why a message is refused.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum Refused {
    #[error("agent_id '{0}' is not 1 to {AGENT_ID_BYTES_MAX} letters, digits, '.', '_', '-', ':' or '@': set agent.id")]
    AgentId(String),
    #[error("{field} has {count} entries, at most {max}")]
    Count { field: &'static str, count: usize, max: usize },
    #[error("sequence is {0}, must be 1 to {SEQUENCE_MAX}: above it no later batch of this agent would count")]
    Sequence(u64),
    #[error(
        "interval_ms is {0}, must be 1000 to {INTERVAL_S_MAX}000: detectors judge the last two minutes, of which longer windows leave nothing; set \
         agent.interval to {INTERVAL_S_MAX}s or less"
    )]
    Interval(u32),
    #[error("window from {from_us} to {to_us} is empty or longer than {INTERVAL_S_MAX} s")]
    Window { from_us: i64, to_us: i64 },
    #[error("window ends {0} s in the future: check the clocks of agent and server")]
    Future(i64),
    #[error("window ended {0} s ago, longer than rows are kept")]
    Late(i64),
}

/// Checks and cuts a greeting. Returns the number of texts that were cut.
pub fn hello(hello: &mut HelloRequest) -> Result<u64, Refused> {
    agent_id(&hello.agent_id)?;
    if !(1_000..=1_000 * INTERVAL_S_MAX).contains(&hello.interval_ms) {
        return Err(Refused::Interval(hello.interval_ms));
    }
    at_most("owners", hello.owners.len(), OWNERS_MAX)?;
    at_most("endpoints", hello.endpoints.len(), ENDPOINTS_MAX)?;
    at_most("hooks", hello.hooks.len(), HOOKS_MAX)?;
    let mut cut = owners(&mut hello.owners);
    let own = [
        &mut hello.boot_id,
        &mut hello.version,
        &mut hello.kernel,
        &mut hello.node,
        &mut hello.zone,
        &mut hello.region,
        &mut hello.environment,
        &mut hello.scope,
    ];
    for text in own.into_iter().chain(&mut hello.hooks) {
        cut += shorten(text, VALUE_BYTES_MAX);
    }
    Ok(cut)
}

/// Checks a farewell; its boot is only compared.
pub fn leave(leave: &LeaveRequest) -> Result<(), Refused> {
    agent_id(&leave.agent_id)
}

/// Checks and cuts a batch. `late_us_max` is how long rows are kept. Returns the number of texts and measures that were cut.
pub fn batch(batch: &mut Batch, now_us: i64, late_us_max: i64) -> Result<u64, Refused> {
    agent_id(&batch.agent_id)?;
    if !(1..=SEQUENCE_MAX).contains(&batch.sequence) {
        return Err(Refused::Sequence(batch.sequence));
    }
    let (from_us, to_us) = (batch.window_start_us, batch.window_end_us);
    if from_us < 0 || to_us <= from_us || to_us - from_us > WINDOW_US_MAX {
        return Err(Refused::Window { from_us, to_us });
    }
    if to_us > now_us.saturating_add(FUTURE_US_MAX) {
        return Err(Refused::Future((to_us - now_us) / 1_000_000));
    }
    if to_us < now_us.saturating_sub(late_us_max) {
        return Err(Refused::Late((now_us - to_us) / 1_000_000));
    }
    at_most("owners", batch.owners.len(), OWNERS_MAX)?;
    at_most("endpoints", batch.endpoints.len(), ENDPOINTS_MAX)?;
    at_most("observations", batch.observations.len(), OBSERVATIONS_MAX)?;
    at_most("translations", batch.translations.len(), TRANSLATIONS_MAX)?;
    at_most("questions", batch.questions.len(), QUESTIONS_MAX)?;
    let lost = batch.losses.values_mut().chain(batch.drops.iter_mut().map(|drops| &mut drops.count));
    let texts = batch.observations.iter_mut().map(|of| &mut of.far_name).chain(batch.questions.iter_mut().map(|of| &mut of.name));
    let names: u64 = texts.map(|text| shorten(text, VALUE_BYTES_MAX)).sum();
    let cut = names + owners(&mut batch.owners) + shorten(&mut batch.boot_id, VALUE_BYTES_MAX) + lost.map(lower).sum::<u64>();
    Ok(cut + batch.observations.iter_mut().map(measures).sum::<u64>())
}

/// An agent's reasons of loss: known characters only, so many and no more; the rest is summed under `other`.
pub fn losses(given: impl IntoIterator<Item = (String, u64)>) -> BTreeMap<String, u64> {
    let mut kept: BTreeMap<String, u64> = BTreeMap::new();
    for (reason, count) in given {
        let sound = !reason.is_empty()
            && reason.len() <= LOSS_REASON_BYTES_MAX
            && reason.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b));
        count_under(&mut kept, if sound { &reason } else { "other" }, count);
    }
    kept
}

/// Adds a batch's counts to those of an agent's life; what no longer finds room is summed under `other`, as in one batch.
pub fn add_up(all: &mut BTreeMap<String, u64>, batch: &BTreeMap<String, u64>) {
    batch.iter().for_each(|(reason, count)| count_under(all, reason, *count));
}

fn count_under(all: &mut BTreeMap<String, u64>, reason: &str, count: u64) {
    let label = if all.len() < LOSSES_MAX || all.contains_key(reason) { reason } else { "other" };
    let sum = all.entry(label.to_owned()).or_default();
    *sum = sum.saturating_add(count);
}

fn agent_id(id: &str) -> Result<(), Refused> {
    let sound = (1..=AGENT_ID_BYTES_MAX).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-:@".contains(&b));
    if sound { Ok(()) } else { Err(Refused::AgentId(id.chars().take(AGENT_ID_BYTES_MAX).collect())) }
}

fn at_most(field: &'static str, count: usize, max: usize) -> Result<(), Refused> {
    if count <= max { Ok(()) } else { Err(Refused::Count { field, count, max }) }
}

fn owners(owners: &mut [Owner]) -> u64 {
    let texts = |o: &mut Owner| {
        let all = [
            &mut o.workload,
            &mut o.namespace,
            &mut o.pod,
            &mut o.process,
            &mut o.node,
            &mut o.zone,
            &mut o.region,
            &mut o.environment,
            &mut o.image,
            &mut o.resolution_type,
        ];
        all.into_iter().map(|text| shorten(text, VALUE_BYTES_MAX)).sum::<u64>()
    };
    owners.iter_mut().map(texts).sum()
}

/// A signal comes once, a bucket once: longer lists are not ours, nor are values that no window can have.
fn measures(observation: &mut Observation) -> u64 {
    let mut cut = 0;
    for list in [&mut observation.sent, &mut observation.received] {
        cut += list.len().saturating_sub(CATALOGUE.len()) as u64;
        list.truncate(CATALOGUE.len());
        let sent = list.len();
        list.retain(|measure| measure.value <= VALUE_MAX && measure.counts.iter().all(|count| *count <= VALUE_MAX));
        cut += (sent - list.len()) as u64;
        for measure in list {
            let buckets = usize::from(BUCKET_MAX) + 1;
            cut += u64::from(measure.buckets.len() > buckets || measure.counts.len() > buckets);
            measure.buckets.truncate(buckets);
            measure.counts.truncate(buckets);
        }
    }
    cut
}

/// Lowers a count of losses to the largest; 1 if it was larger. That something was lost stays.
fn lower(count: &mut u64) -> u64 {
    let cut = u64::from(*count > LOSS_COUNT_MAX);
    *count = (*count).min(LOSS_COUNT_MAX);
    cut
}

/// Cuts a text between characters; 1 if it was longer.
fn shorten(text: &mut String, bytes_max: usize) -> u64 {
    if text.len() <= bytes_max {
        return 0;
    }
    text.truncate(shortened(text, bytes_max).len());
    1
}

#[cfg(test)]
mod tests {
    use super::*;
    use edgescope_model::wire::{Drops, Measure, Translation};

    const NOW_US: i64 = 1_800_000_000_000_000;
    const DAY_US: i64 = 86_400_000_000;

    fn sound() -> Batch {
        Batch { agent_id: "node-1".into(), sequence: 1, window_start_us: NOW_US - 10_000_000, window_end_us: NOW_US, ..Batch::default() }
    }

    #[test]
    fn windows_that_make_no_sense_are_refused() {
        let check = |from_us, to_us| batch(&mut Batch { window_start_us: from_us, window_end_us: to_us, ..sound() }, NOW_US, 2 * DAY_US);
        assert_eq!(check(NOW_US - 10, NOW_US), Ok(0));
        assert_eq!(check(NOW_US - DAY_US, NOW_US - DAY_US + 10), Ok(0), "late data is taken");
        assert!(matches!(check(NOW_US, NOW_US), Err(Refused::Window { .. })));
        assert_eq!(check(NOW_US - 30_000_000, NOW_US), Ok(0));
        assert!(matches!(check(NOW_US - 30_000_001, NOW_US), Err(Refused::Window { .. })));
        assert!(matches!(check(i64::MIN, i64::MAX), Err(Refused::Window { .. })));
        assert!(matches!(check(i64::MAX - 10, i64::MAX), Err(Refused::Future(_))));
        let ahead = NOW_US + FUTURE_US_MAX;
        assert_eq!(check(ahead - 10, ahead), Ok(0), "the clocks may differ a little");
        assert_eq!(check(ahead - 10, ahead + 1), Err(Refused::Future(60)));
        assert!(matches!(check(NOW_US - 3 * DAY_US, NOW_US - 3 * DAY_US + 10), Err(Refused::Late(_))));
    }

    #[test]
    fn intervals_that_leave_detectors_nothing_to_judge_are_refused() {
        let check = |interval_ms| hello(&mut HelloRequest { agent_id: "node-1".into(), interval_ms, ..HelloRequest::default() });
        assert_eq!((check(1_000), check(30_000)), (Ok(0), Ok(0)));
        for interval_ms in [0, 999, 30_001, 120_000, u32::MAX] {
            let refused = check(interval_ms).unwrap_err();
            assert_eq!(refused, Refused::Interval(interval_ms));
            let expected = format!("interval_ms is {interval_ms}, must be 1000 to 30000: detectors judge the last two minutes");
            assert!(refused.to_string().starts_with(&expected), "{refused}");
        }
    }

    #[test]
    fn counts_and_names_are_bounded() {
        for id in ["", "a b", "../../etc", "é", &"x".repeat(129)] {
            assert!(matches!(batch(&mut Batch { agent_id: id.to_owned(), ..sound() }, NOW_US, DAY_US), Err(Refused::AgentId(_))), "{id}");
        }
        let mut many = Batch { observations: vec![Observation::default(); OBSERVATIONS_MAX + 1], ..sound() };
        assert!(matches!(batch(&mut many, NOW_US, DAY_US), Err(Refused::Count { field: "observations", .. })));
        let mut many = Batch { translations: vec![Translation::default(); TRANSLATIONS_MAX + 1], ..sound() };
        assert!(matches!(batch(&mut many, NOW_US, DAY_US), Err(Refused::Count { field: "translations", .. })));
        assert_eq!(batch(&mut Batch { sequence: SEQUENCE_MAX, ..sound() }, NOW_US, DAY_US), Ok(0));
        for sequence in [0, SEQUENCE_MAX + 1, i64::MAX as u64, u64::MAX] {
            let refused = batch(&mut Batch { sequence, ..sound() }, NOW_US, DAY_US).unwrap_err();
            assert_eq!(refused, Refused::Sequence(sequence));
            assert!(refused.to_string().contains(&format!("sequence is {sequence}, must be 1 to 4611686018427387904")), "{refused}");
        }
    }

    #[test]
    fn long_texts_and_lists_are_cut_and_counted() {
        let owner = Owner { workload: "é".repeat(200), ..Owner::default() };
        let measure = Measure { signal: 10, buckets: vec![1; 1_000], counts: vec![1; 1_000], ..Measure::default() };
        let observation = Observation { sent: vec![measure; 100], ..Observation::default() };
        let mut big = Batch { owners: vec![owner], observations: vec![observation], ..sound() };
        let cut = batch(&mut big, NOW_US, DAY_US).unwrap();
        assert_eq!(big.owners[0].workload.len(), VALUE_BYTES_MAX);
        assert_eq!(big.observations[0].sent.len(), CATALOGUE.len());
        assert_eq!(big.observations[0].sent[0].buckets.len(), usize::from(BUCKET_MAX) + 1);
        assert_eq!(cut, 1 + (100 - CATALOGUE.len()) as u64 + CATALOGUE.len() as u64);
    }

    #[test]
    fn values_that_no_window_can_have_are_left_out_and_counted() {
        let value = |value| Measure { signal: 1, value, ..Measure::default() };
        let counts = |counts| Measure { signal: 10, buckets: vec![1, 2], counts, ..Measure::default() };
        let sent = vec![value(u64::MAX), value(VALUE_MAX), counts(vec![u64::MAX, u64::MAX]), counts(vec![1, 2])];
        let mut absurd = Batch { observations: vec![Observation { sent, ..Observation::default() }], ..sound() };
        assert_eq!(batch(&mut absurd, NOW_US, DAY_US), Ok(2));
        assert_eq!(absurd.observations[0].sent, [value(VALUE_MAX), counts(vec![1, 2])]);
    }

    #[test]
    fn losses_that_no_batch_can_have_are_lowered_and_counted() {
        let counts = [u64::MAX, LOSS_COUNT_MAX, LOSS_COUNT_MAX + 1, 3];
        let losses = counts.iter().map(|count| (format!("reason_{count}"), *count)).collect();
        let drops = counts.iter().map(|count| Drops { reason: format!("reason_{count}"), count: *count }).collect();
        let mut absurd = Batch { losses, drops, ..sound() };
        assert_eq!(batch(&mut absurd, NOW_US, DAY_US), Ok(4));
        for count in counts {
            assert_eq!(absurd.losses[&format!("reason_{count}")], count.min(LOSS_COUNT_MAX));
        }
        assert_eq!(absurd.drops.iter().map(|of| of.count).collect::<Vec<_>>(), counts.map(|count| count.min(LOSS_COUNT_MAX)));
    }

    #[test]
    fn counts_of_a_life_have_a_bound_and_no_overflow() {
        let mut all = BTreeMap::new();
        for batch in 0..100 {
            add_up(&mut all, &BTreeMap::from([(format!("reason_{batch}"), 1), ("often".to_owned(), u64::MAX / 2)]));
        }
        assert_eq!((all.len(), all["often"], all["reason_0"]), (LOSSES_MAX + 1, u64::MAX, 1));
        assert_eq!(all["other"], 100 + 1 - LOSSES_MAX as u64);
    }

    #[test]
    fn losses_keep_their_sum() {
        let given = (0..1_000).map(|n| (format!("reason-{n}"), 2)).chain([("Bad Reason".to_owned(), 5), ("x".repeat(65), 7)]);
        let kept = losses(given);
        assert!(kept.len() <= LOSSES_MAX + 1);
        assert_eq!(kept.values().sum::<u64>(), 2_012);
    }
}
