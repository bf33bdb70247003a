//! Where questions about containers wait for their answers: between the thread that names sockets, which never waits long, and the task that asks runtimes.

use edgescope_identity::container::Contained;
use edgescope_identity::runtime::Named;
use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Most containers known at once: a node runs some hundreds. What exceeds them stays named by unit or process, and is counted.
pub const CONTAINERS_MAX: usize = 4_096;
/// Questions that wait; more are asked with the next window.
const QUESTIONS_MAX: usize = 1_024;
/// A container of which no runtime knows is asked for again after this: its runtime may have started late.
const NOBODY_AGAIN: Duration = Duration::from_secs(300);
/// A question that failed is asked again after this.
const FAILED_AGAIN: Duration = Duration::from_secs(30);

/// What became of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Named(Arc<Named>),
    /// All runtimes have answered, and none knows it.
    Nobody,
    /// No runtime could be asked, or one did not answer.
    Failed,
}

#[derive(Debug, Clone)]
struct Entry {
    /// `None` while the question waits.
    answer: Option<Answer>,
    at: Instant,
}

#[derive(Debug, Default)]
struct Board {
    /// By the path of the container's cgroup.
    entries: HashMap<String, Entry>,
    waiting: usize,
    /// Changes with every name.
    version: u64,
}

/// Questions and answers. Shared by both sides.
#[derive(Debug)]
pub struct Desk {
    board: Mutex<Board>,
    news: Condvar,
    questions: mpsc::Sender<Contained>,
}

impl Desk {
    /// The desk, and where its questions come out.
    pub fn new() -> (Arc<Self>, mpsc::Receiver<Contained>) {
        let (questions, out) = mpsc::channel(QUESTIONS_MAX);
        (Arc::new(Self { board: Mutex::default(), news: Condvar::new(), questions }), out)
    }

    /// Asks about containers of which nothing is known, or whose question may be asked again. Returns how many found no room.
    pub fn ask(&self, containers: impl IntoIterator<Item = Contained>, now: Instant) -> u64 {
        let mut board = self.lock();
        let mut refused = 0;
        for container in containers {
            let known = board.entries.get(&container.path);
            let is_due = |entry: &Entry| match entry.answer {
                None | Some(Answer::Named(_)) => false,
                Some(Answer::Nobody) => now.saturating_duration_since(entry.at) >= NOBODY_AGAIN,
                Some(Answer::Failed) => now.saturating_duration_since(entry.at) >= FAILED_AGAIN,
            };
            if known.is_some_and(|entry| !is_due(entry)) {
                continue;
            }
            let path = container.path.clone();
            if (known.is_none() && board.entries.len() >= CONTAINERS_MAX) || self.questions.try_send(container).is_err() {
                refused += 1;
                continue;
            }
            board.entries.insert(path, Entry { answer: None, at: now });
            board.waiting += 1;
        }
        refused
    }

    /// Waits until no question waits, but no longer than `patience`.
    pub fn wait(&self, patience: Duration) {
        // Whether all came, or the patience ended, the answers there are will do.
        drop(self.news.wait_timeout_while(self.lock(), patience, |board| board.waiting > 0));
    }

    /// Puts an answer to its question. One whose container is gone meanwhile is not kept.
    pub fn put(&self, path: &str, answer: Answer, now: Instant) {
        let mut board = self.lock();
        let is_name = matches!(answer, Answer::Named(_));
        if let Some(entry) = board.entries.get_mut(path).filter(|entry| entry.answer.is_none()) {
            *entry = Entry { answer: Some(answer), at: now };
            board.waiting -= 1;
            board.version += u64::from(is_name);
            self.news.notify_all();
        }
    }

    /// Forgets the containers that are gone.
    pub fn retain(&self, is_there: impl Fn(&str) -> bool) {
        let mut board = self.lock();
        board.entries.retain(|path, _| is_there(path));
        board.waiting = board.entries.values().filter(|entry| entry.answer.is_none()).count();
    }

    /// All names, by the path of the container's cgroup, if there are others than at `version`.
    pub fn names(&self, version: u64) -> Option<(u64, HashMap<String, Arc<Named>>)> {
        let board = self.lock();
        let name = |(path, entry): (&String, &Entry)| match &entry.answer {
            Some(Answer::Named(name)) => Some((path.clone(), Arc::clone(name))),
            _ => None,
        };
        (board.version != version).then(|| (board.version, board.entries.iter().filter_map(name).collect()))
    }

    fn lock(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(n: u32) -> Contained {
        Contained::of(&format!("/docker/{n:064x}")).unwrap()
    }

    fn named(workload: &str) -> Answer {
        Answer::Named(Arc::new(Named { workload: workload.to_owned(), ..Named::default() }))
    }

    #[test]
    fn a_container_is_asked_for_once_until_its_answer_is_old() {
        let (desk, mut out) = Desk::new();
        let start = Instant::now();
        let (one, path) = (container(1), container(1).path);
        assert_eq!(desk.ask([one.clone(), one.clone()], start), 0);
        assert_eq!(out.try_recv().unwrap(), one);
        assert!(out.try_recv().is_err(), "asked twice");
        for (answer, again) in [(Answer::Failed, FAILED_AGAIN), (Answer::Nobody, NOBODY_AGAIN)] {
            desk.put(&path, answer, start);
            desk.ask([one.clone()], start + again.checked_sub(Duration::from_millis(1)).unwrap());
            assert!(out.try_recv().is_err(), "too early");
            desk.ask([one.clone()], start + again);
            assert!(out.try_recv().is_ok());
        }
        desk.put(&path, named("web"), start);
        desk.ask([one], start + 10 * NOBODY_AGAIN);
        assert!(out.try_recv().is_err(), "a name holds as long as its container");
        assert_eq!(desk.names(0).unwrap().1[&path].workload, "web");
    }

    #[test]
    fn names_are_told_when_they_change() {
        let (desk, _out) = Desk::new();
        let now = Instant::now();
        assert_eq!(desk.names(0), None);
        desk.ask([container(1), container(2)], now);
        desk.put(&container(1).path, Answer::Nobody, now);
        assert_eq!(desk.names(0), None);
        desk.put(&container(2).path, named("a"), now);
        desk.put(&container(2).path, named("late"), now);
        let (version, names) = desk.names(0).unwrap();
        assert_eq!((names.len(), names[&container(2).path].workload.as_str()), (1, "a"), "one answer a question");
        assert_eq!(desk.names(version), None);
    }

    #[test]
    fn who_waits_is_woken_by_the_last_answer_and_by_what_is_gone() {
        let (desk, _out) = Desk::new();
        desk.ask([container(1), container(2)], Instant::now());
        let answering = Arc::clone(&desk);
        let thread = std::thread::spawn(move || {
            answering.put(&container(1).path, Answer::Nobody, Instant::now());
            answering.put(&container(2).path, named("a"), Instant::now());
        });
        let asked = Instant::now();
        desk.wait(Duration::from_secs(60));
        assert!(asked.elapsed() < Duration::from_secs(30), "not woken");
        thread.join().unwrap();
        desk.ask([container(3)], Instant::now());
        desk.retain(|path| path != container(3).path);
        let asked = Instant::now();
        desk.wait(Duration::from_secs(60));
        assert!(asked.elapsed() < Duration::from_secs(30), "nobody waits for what is gone");
    }

    #[test]
    fn a_silent_runtime_costs_no_more_than_the_patience() {
        let (desk, _out) = Desk::new();
        desk.ask([container(1)], Instant::now());
        let asked = Instant::now();
        desk.wait(Duration::from_millis(20));
        assert!(asked.elapsed() >= Duration::from_millis(20) && asked.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn containers_beyond_the_bound_are_refused_and_counted() {
        let (desk, mut out) = Desk::new();
        let now = Instant::now();
        let all = |from: usize, count: usize| (from..from + count).map(|n| container(u32::try_from(n).unwrap()));
        assert_eq!(desk.ask(all(0, QUESTIONS_MAX + 3), now), 3, "too many at once");
        let mut room = CONTAINERS_MAX - QUESTIONS_MAX;
        let mut from = QUESTIONS_MAX + 3;
        while room > 0 {
            while out.try_recv().is_ok() {}
            let more = room.min(QUESTIONS_MAX);
            assert_eq!(desk.ask(all(from, more), now), 0);
            (room, from) = (room - more, from + more);
        }
        while out.try_recv().is_ok() {}
        assert_eq!(desk.ask(all(from, 2), now), 2, "too many in all");
        desk.retain(|path| path != container(0).path);
        assert_eq!(desk.ask(all(from, 1), now), 0, "what is gone makes room");
    }
}
