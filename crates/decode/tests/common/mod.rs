//! What tests share: samples that real programs have sent.
#![allow(dead_code)] // no test uses all of it

use std::path::Path;

/// The samples of one decoder: name and bytes, in the file's order.
pub fn corpus(decoder: &str) -> Vec<(String, Vec<u8>)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(decoder).with_extension("txt");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let line = |line: &str| {
        let (name, hex) = line.split_once(' ').unwrap_or_else(|| panic!("{}: no hex in {line:?}", path.display()));
        (name.to_owned(), bytes(hex))
    };
    text.lines().filter(|line| !line.starts_with('#')).map(line).collect()
}

/// The sample of that name.
pub fn sample(decoder: &str, name: &str) -> Vec<u8> {
    let found = corpus(decoder).into_iter().find(|(it, _)| it == name);
    found.unwrap_or_else(|| panic!("the corpus of {decoder} has no {name}")).1
}

/// Bytes of hexadecimal text; spaces are for the reader.
pub fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.chars().filter(|c| !c.is_whitespace()).map(|c| c.to_digit(16).expect("a hexadecimal digit") as u8).collect();
    assert!(digits.len().is_multiple_of(2), "an odd number of digits");
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}
