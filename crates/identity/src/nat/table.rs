//! Translations with the times in which they held.

use super::{Connection, Translation};
use crate::directory::Span;
use std::collections::HashMap;

/// Longest chain that is followed: a node's and its namespaces' translations one after the other.
const CHAIN_MAX: usize = 4;
/// Part that makes room when the table is full: the look for what to forget is long, so that it should be rare.
const ROOM: usize = 8;

/// The other form of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It is not known to be translated.
    Same,
    One(Connection),
    /// It had several in the window, or in several namespaces: which one counts cannot be told.
    Several,
}

#[derive(Debug, Clone, Copy)]
struct Held {
    translation: Translation,
    /// Who told of it: a namespace, or an agent.
    place: u32,
    /// The list of its place that had it last.
    list: u32,
    from_us: i64,
    /// `i64::MAX` while it holds on.
    until_us: i64,
    /// It may be over before its addresses were kept apart.
    is_early: bool,
}

impl Held {
    fn holds_in(&self, window: Span) -> bool {
        self.from_us < window.to_us && self.until_us > window.from_us
    }

    fn is_open(&self) -> bool {
        self.until_us == i64::MAX
    }
}

/// Numbers of entries: mostly one.
#[derive(Debug, Clone)]
enum Numbers {
    One(u32),
    Many(Vec<u32>),
}

impl Numbers {
    fn as_slice(&self) -> &[u32] {
        match self {
            Self::One(number) => std::slice::from_ref(number),
            Self::Many(numbers) => numbers,
        }
    }
}

/// Translations of one node, or all that a server heard of. 360 bytes each when full, as hash tables double; see the test of its size.
#[derive(Debug)]
pub struct Table {
    max: usize,
    held: Vec<Option<Held>>,
    free: Vec<u32>,
    by_original: HashMap<Connection, Numbers>,
    by_translated: HashMap<Connection, Numbers>,
    /// Lists that began, by place.
    lists: HashMap<u32, u32>,
    evicted: u64,
}

impl Table {
    /// `max` translations at most; the oldest make room.
    pub fn new(max: usize) -> Self {
        Self {
            max: max.max(ROOM),
            held: Vec::new(),
            free: Vec::new(),
            by_original: HashMap::new(),
            by_translated: HashMap::new(),
            lists: HashMap::new(),
            evicted: 0,
        }
    }

    pub fn len(&self) -> usize {
        self.held.len() - self.free.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Translations forgotten for want of room, since the table was made.
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    /// It holds from `from_us` on, until it is closed. `is_early`: it was heard of no later than its addresses were kept apart.
    pub fn open(&mut self, translation: Translation, place: u32, from_us: i64, is_early: bool) {
        self.hold_on(translation, place, Span { from_us, to_us: i64::MAX }, is_early);
    }

    /// It held in the span.
    pub fn hold(&mut self, translation: Translation, place: u32, span: Span) {
        self.hold_on(translation, place, span, false);
    }

    fn hold_on(&mut self, translation: Translation, place: u32, span: Span, is_early: bool) {
        let list = self.lists.get(&place).copied().unwrap_or(0);
        if let Some(number) = self.find(&translation) {
            if let Some(held) = &mut self.held[number as usize] {
                (held.place, held.list) = (place, list);
                held.from_us = held.from_us.min(span.from_us);
                held.until_us = held.until_us.max(span.to_us);
                held.is_early |= is_early;
            }
            return;
        }
        if self.len() >= self.max {
            self.make_room();
        }
        let held = Held { translation, place, list, from_us: span.from_us, until_us: span.to_us, is_early };
        let number = self.free.pop().unwrap_or_else(|| {
            self.held.push(None);
            self.held.len() as u32 - 1
        });
        self.held[number as usize] = Some(held);
        put(&mut self.by_original, translation.original, number);
        put(&mut self.by_translated, translation.translated, number);
    }

    /// It ended at `at_us`.
    pub fn close(&mut self, translation: &Translation, at_us: i64) {
        let Some(number) = self.find(translation) else { return };
        if let Some(held) = self.held[number as usize].as_mut().filter(|held| held.is_open()) {
            held.until_us = at_us;
        }
    }

    /// A whole list of a place begins: what is opened from now on is of it.
    pub fn begin_list(&mut self, place: u32) {
        *self.lists.entry(place).or_default() += 1;
    }

    /// The list is whole: what it lacks has ended by `at_us`.
    pub fn end_list(&mut self, place: u32, at_us: i64) {
        let list = self.lists.get(&place).copied().unwrap_or(0);
        let missing = self.held.iter_mut().flatten().filter(|held| held.place == place && held.list != list && held.is_open());
        missing.for_each(|held| held.until_us = at_us);
    }

    /// The place is no more.
    pub fn leave(&mut self, place: u32, at_us: i64) {
        let of_place = self.held.iter_mut().flatten().filter(|held| held.place == place && held.is_open());
        of_place.for_each(|held| held.until_us = at_us);
        self.lists.remove(&place);
    }

    /// Forgets what ended before `before_us`.
    pub fn expire(&mut self, before_us: i64) {
        let ended = |held: &Held| held.until_us < before_us;
        let gone: Vec<u32> = self.numbered().filter(|(_, held)| ended(held)).map(|(number, _)| number).collect();
        gone.into_iter().for_each(|number| self.remove(number));
    }

    /// All that held in the window.
    pub fn of_window(&self, window: Span) -> impl Iterator<Item = &Translation> {
        self.held.iter().flatten().filter(move |held| held.holds_in(window)).map(|held| &held.translation)
    }

    /// Those that held in the window, each with whether it is early.
    pub(super) fn with_age(&self, window: Span) -> impl Iterator<Item = (&Translation, bool)> {
        self.held.iter().flatten().filter(move |held| held.holds_in(window)).map(|held| (&held.translation, held.is_early))
    }

    /// What a client's connection really is: the real server, and the client as that sees it.
    pub fn forward(&self, connection: Connection, window: Span) -> Answer {
        self.follow(&self.by_original, connection, window, |translation| translation.translated)
    }

    /// What a connection that came to a server really is: the real client, and the address that it talks to.
    pub fn backward(&self, connection: Connection, window: Span) -> Answer {
        self.follow(&self.by_translated, connection, window, |translation| translation.original)
    }

    fn follow(&self, index: &HashMap<Connection, Numbers>, start: Connection, window: Span, next: fn(&Translation) -> Connection) -> Answer {
        let mut at = start;
        for _ in 0..CHAIN_MAX {
            let numbers = index.get(&at).map(Numbers::as_slice).unwrap_or_default();
            let held = numbers.iter().filter_map(|&number| self.held[number as usize].as_ref()).filter(|held| held.holds_in(window));
            let mut nexts = held.map(|held| next(&held.translation));
            let Some(one) = nexts.next() else { break };
            if nexts.any(|other| other != one) {
                return Answer::Several;
            }
            at = one;
        }
        if at == start { Answer::Same } else { Answer::One(at) }
    }

    fn find(&self, translation: &Translation) -> Option<u32> {
        let numbers = self.by_original.get(&translation.original)?.as_slice();
        let is_it = |number: &&u32| self.held[**number as usize].as_ref().is_some_and(|held| held.translation == *translation);
        numbers.iter().find(is_it).copied()
    }

    fn numbered(&self) -> impl Iterator<Item = (u32, &Held)> {
        (0..).zip(&self.held).filter_map(|(number, held)| Some((number, held.as_ref()?)))
    }

    /// What has ended goes first, then what is oldest.
    fn make_room(&mut self) {
        let mut by_age: Vec<(bool, i64, u32)> = self.numbered().map(|(number, held)| (held.is_open(), held.from_us, number)).collect();
        by_age.sort_unstable();
        by_age.truncate((self.max / ROOM).max(1));
        self.evicted += by_age.len() as u64;
        by_age.into_iter().for_each(|(_, _, number)| self.remove(number));
    }

    fn remove(&mut self, number: u32) {
        let Some(held) = self.held[number as usize].take() else { return };
        take(&mut self.by_original, &held.translation.original, number);
        take(&mut self.by_translated, &held.translation.translated, number);
        self.free.push(number);
    }
}

fn put(index: &mut HashMap<Connection, Numbers>, connection: Connection, number: u32) {
    index
        .entry(connection)
        .and_modify(|numbers| {
            let mut all = numbers.as_slice().to_vec();
            all.push(number);
            *numbers = Numbers::Many(all);
        })
        .or_insert(Numbers::One(number));
}

fn take(index: &mut HashMap<Connection, Numbers>, connection: &Connection, number: u32) {
    let Some(numbers) = index.get_mut(connection) else { return };
    match numbers {
        Numbers::One(_) => drop(index.remove(connection)),
        Numbers::Many(all) => {
            all.retain(|&other| other != number);
            if all.is_empty() {
                index.remove(connection);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nat::Door;
    use std::net::{IpAddr, Ipv4Addr};

    /// Bytes of a full table: what decision 004 says of it.
    fn bytes_full(max: usize) -> usize {
        let mut table = Table::new(max);
        for n in 0..max as u32 {
            let door = |net: u8, port: u16| Door::new(IpAddr::V4(Ipv4Addr::from([net, (n >> 16) as u8, (n >> 8) as u8, n as u8])), port);
            let connection = |server| Connection { client: door(10, 40_000), server, is_udp: false };
            table.open(Translation { original: connection(door(11, 80)), translated: connection(door(12, 8_080)) }, 1, 0, false);
        }
        assert_eq!((table.len(), table.evicted()), (max, 0));
        let index = |map: &HashMap<Connection, Numbers>| {
            // Seven eighths of the buckets are its capacity; each has a byte beside its entry.
            (map.capacity() * 8 / 7).next_power_of_two() * (size_of::<(Connection, Numbers)>() + 1)
        };
        table.held.capacity() * size_of::<Option<Held>>() + index(&table.by_original) + index(&table.by_translated)
    }

    #[test]
    fn the_size_of_a_full_table() {
        for (max, bytes_max) in [(65_536, 24_000_000), (200_000, 62_000_000)] {
            let bytes = bytes_full(max);
            println!("{max} translations: {bytes} bytes");
            assert!(bytes <= bytes_max, "{max}: {bytes}");
        }
    }
}
