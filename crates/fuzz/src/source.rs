//! Chance that is the same in every run.

/// SplitMix64 (Steele, Lea, Flood 2014): one addition and three mixes a number, good enough to scatter inputs.
#[derive(Debug, Clone)]
pub struct Source {
    state: u64,
}

impl Source {
    /// The stream of one input.
    pub fn new(seed: u64, number: u64) -> Self {
        let mut source = Self { state: seed };
        source.state = source.number() ^ number;
        source.state = source.number();
        source
    }

    pub fn number(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`; 0 if `end` is 0.
    pub fn below(&mut self, end: usize) -> usize {
        // The high half of a product spreads evenly without a division.
        ((u128::from(self.number()) * end as u128) >> 64) as usize
    }

    /// A number from `first` to `last`, both included.
    pub fn within(&mut self, first: usize, last: usize) -> usize {
        first + self.below(last - first + 1)
    }

    /// True once in `times`.
    pub fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    pub fn byte(&mut self) -> u8 {
        self.number() as u8
    }

    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.byte()).collect()
    }

    /// One of `all`, which are not empty.
    pub fn pick<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }

    /// A length that is mostly short and now and then as long as `most`.
    pub fn length(&mut self, most: usize) -> usize {
        let shift = self.below(8);
        self.below((most >> shift).max(2).min(most + 1))
    }
}
