//! Small changes that keep most of an input's meaning.

use crate::{Campaign, Source};

/// Values at which lengths, counts and indices go wrong.
const EDGES: [u64; 14] = [0, 1, 2, 0x3f, 0x40, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0x8000, 0xffff, 0x7fff_ffff, u64::MAX];

/// One to four changes, rarely sixteen.
pub fn mutate(mut input: Vec<u8>, campaign: &Campaign<'_>, source: &mut Source) -> Vec<u8> {
    let most = if source.one_in(8) { 16 } else { 4 };
    for _ in 0..source.within(1, most) {
        change(&mut input, campaign, source);
    }
    input
}

fn change(input: &mut Vec<u8>, campaign: &Campaign<'_>, source: &mut Source) {
    let at = source.below(input.len() + 1);
    let Some(&byte) = input.get(at) else {
        return insert(input, at, campaign, source);
    };
    match source.below(10) {
        0 => input[at] = byte ^ 1 << source.below(8),
        1 => input[at] = source.byte(),
        2 => input[at] = if byte.is_ascii_digit() { b'0' + source.below(10) as u8 } else { byte.wrapping_add(1) },
        3 => number(&mut input[at..], source),
        4 => insert(input, at, campaign, source),
        5 => {
            input.drain(at..at + source.length(input.len() - at));
        }
        6 => {
            let again = input[at..at + source.length(input.len() - at)].to_vec();
            let to = source.below(input.len() + 1);
            splice(input, to, &again, campaign);
        }
        7 if source.one_in(3) => input.truncate(at),
        8 if !campaign.corpus.is_empty() => {
            let other = source.pick(&campaign.corpus);
            let from = source.below(other.len() + 1);
            let part = &other[from..from + source.length(other.len() - from)];
            splice(input, at, part, campaign);
        }
        _ => overwrite(input, at, campaign, source),
    }
}

/// The number at the start of `field`, of one to four bytes, becomes an edge, or a little more or less than it was.
fn number(field: &mut [u8], source: &mut Source) {
    let width = source.within(1, field.len().min(4));
    let big_endian = !source.one_in(3);
    let field = &mut field[..width];
    let old = field.iter().fold(0u64, |old, byte| old << 8 | u64::from(*byte));
    let new = if source.one_in(2) { *source.pick(&EDGES) } else { old.wrapping_add(source.below(9) as u64).wrapping_sub(4) };
    let bytes = new.to_be_bytes();
    field.copy_from_slice(&bytes[8 - width..]);
    if !big_endian {
        field.reverse();
    }
}

fn insert(input: &mut Vec<u8>, at: usize, campaign: &Campaign<'_>, source: &mut Source) {
    if campaign.dictionary.is_empty() || source.one_in(4) {
        let length = source.length(64);
        splice(input, at, &source.bytes(length), campaign);
    } else {
        let word: &&[u8] = source.pick(campaign.dictionary);
        splice(input, at, word, campaign);
    }
}

fn overwrite(input: &mut [u8], at: usize, campaign: &Campaign<'_>, source: &mut Source) {
    if campaign.dictionary.is_empty() {
        input[at] = *source.pick(&EDGES) as u8;
        return;
    }
    let word: &&[u8] = source.pick(campaign.dictionary);
    let length = word.len().min(input.len() - at);
    input[at..at + length].copy_from_slice(&word[..length]);
}

fn splice(input: &mut Vec<u8>, at: usize, part: &[u8], campaign: &Campaign<'_>) {
    let room = campaign.input_bytes_max.saturating_sub(input.len());
    input.splice(at..at, part[..part.len().min(room)].iter().copied());
}
