//! Conversations by their two ends, as many as are allowed.

use std::collections::HashMap;
use std::net::SocketAddr;

/// Of a full table so many parts are given up one: to look for the oldest costs a pass over all.
const PARTS_GIVEN_UP: usize = 16;

type Key = (SocketAddr, SocketAddr);

/// What a table must know of what it holds.
pub trait Aged {
    /// What is given up first: the lowest.
    fn worth(&self) -> (bool, u64);
}

/// See the module.
#[derive(Debug)]
pub struct Table<T> {
    held: HashMap<Key, T>,
    places: usize,
}

impl<T: Aged> Table<T> {
    pub fn new(places: usize) -> Self {
        Self { held: HashMap::new(), places: places.max(1) }
    }

    /// The same for both directions.
    pub fn key(source: SocketAddr, dest: SocketAddr) -> Key {
        if source <= dest { (source, dest) } else { (dest, source) }
    }

    pub fn get_mut(&mut self, key: &Key) -> Option<&mut T> {
        self.held.get_mut(key)
    }

    pub fn remove(&mut self, key: &Key) -> Option<T> {
        self.held.remove(key)
    }

    /// Holds one more; gives back those that had to go for it.
    pub fn insert(&mut self, key: Key, held: T) -> Vec<T> {
        let mut gone = Vec::new();
        if self.held.len() >= self.places {
            let mut worths: Vec<((bool, u64), Key)> = self.held.iter().map(|(key, held)| (held.worth(), *key)).collect();
            let count = (worths.len() / PARTS_GIVEN_UP).max(1);
            worths.select_nth_unstable(count - 1);
            gone.extend(worths[..count].iter().filter_map(|(_, key)| self.held.remove(key)));
        }
        self.held.insert(key, held);
        gone
    }

    /// Takes out what is `done`.
    pub fn take(&mut self, done: impl Fn(&T) -> bool) -> Vec<T> {
        self.held.extract_if(|_, held| done(held)).map(|(_, held)| held).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Aged for u64 {
        fn worth(&self) -> (bool, u64) {
            (true, *self)
        }
    }

    #[test]
    fn the_oldest_go_when_it_is_full() {
        let end = |port| SocketAddr::from(([10, 0, 0, 1], port));
        let mut table = Table::new(32);
        let mut gone = Vec::new();
        for age in 0..40u16 {
            gone.extend(table.insert(Table::<u64>::key(end(age), end(9999)), u64::from(age)));
        }
        gone.sort_unstable();
        assert_eq!(gone, (0..8).collect::<Vec<u64>>(), "two at a time");
        assert_eq!(table.held.len(), 32);
    }
}
