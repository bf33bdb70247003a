//! The Huffman code of HPACK (RFC 7541, appendix B).
//!
//! It is canonical: codes of one length follow each other in the order of their symbols, and those of the next length go on from there. The
//! lengths are all there is to know of it.

/// Code lengths of the 256 bytes, and of the end of a string, which no string contains.
#[rustfmt::skip]
const BITS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
    30,
];
const BITS_MAX: usize = 30;
const END: u16 = 256;

/// Of each length: the first code, and where its symbols begin in the order.
struct Lengths {
    first: [u32; BITS_MAX + 1],
    count: [u32; BITS_MAX + 1],
    begin: [usize; BITS_MAX + 1],
    order: [u16; 257],
}

static LENGTHS: Lengths = lengths();

const fn lengths() -> Lengths {
    let mut all = Lengths { first: [0; BITS_MAX + 1], count: [0; BITS_MAX + 1], begin: [0; BITS_MAX + 1], order: [0; 257] };
    let (mut length, mut code, mut place) = (1, 0, 0);
    while length <= BITS_MAX {
        code <<= 1;
        all.first[length] = code;
        all.begin[length] = place;
        let mut symbol = 0;
        while symbol < 257 {
            if BITS[symbol] as usize == length {
                all.order[place] = symbol as u16;
                place += 1;
                code += 1;
            }
            symbol += 1;
        }
        all.count[length] = code - all.first[length];
        length += 1;
    }
    all
}

/// Calls `found` with each byte of the text. False if it is no such text: its end in the middle, or padding that is not the first up to seven
/// bits of the end's code (§5.2).
pub(super) fn decode(text: &[u8], mut found: impl FnMut(u8)) -> bool {
    let (mut code, mut length) = (0u32, 0);
    for bit in text.iter().flat_map(|byte| (0..8).rev().map(move |place| byte >> place & 1)) {
        code = code << 1 | u32::from(bit);
        length += 1;
        if length > BITS_MAX {
            return false;
        }
        let nth = code.wrapping_sub(LENGTHS.first[length]);
        if nth < LENGTHS.count[length] {
            match LENGTHS.order[LENGTHS.begin[length] + nth as usize] {
                END => return false,
                byte => found(byte as u8),
            }
            (code, length) = (0, 0);
        }
    }
    length < 8 && code == (1 << length) - 1
}
