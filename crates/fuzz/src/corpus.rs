//! Samples as text, so that a change of them can be read: a line each, name and bytes in hexadecimal. Lines that start with `#` say where they come from.

use std::path::Path;

/// All samples of a file, in its order.
pub fn hex_lines(path: impl AsRef<Path>) -> Vec<(String, Vec<u8>)> {
    let path = path.as_ref();
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let line = |line: &str| {
        let (name, hex) = line.split_once(' ').unwrap_or_else(|| panic!("{}: no bytes in {line:?}", path.display()));
        (name.to_owned(), bytes(hex))
    };
    text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).map(line).collect()
}

/// The sample of that name.
pub fn sample(path: impl AsRef<Path>, name: &str) -> Vec<u8> {
    let found = hex_lines(&path).into_iter().find(|(it, _)| it == name);
    found.unwrap_or_else(|| panic!("{} has no {name}", path.as_ref().display())).1
}

/// Bytes of hexadecimal text; spaces are for the reader.
pub fn bytes(hex: &str) -> Vec<u8> {
    let digit = |sign: char| sign.to_digit(16).unwrap_or_else(|| panic!("{sign:?} is no hexadecimal digit")) as u8;
    let digits: Vec<u8> = hex.chars().filter(|sign| !sign.is_whitespace()).map(digit).collect();
    assert!(digits.len().is_multiple_of(2), "an odd number of digits");
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

pub fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from(b"0123456789abcdef"[usize::from(value)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}
