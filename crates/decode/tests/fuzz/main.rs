//! A million hostile inputs for each decoder. What each may hold of the heap is its own constant; that what it says keeps its promises
//! (printable, bounded, in order) is checked on every input.

mod dns;
mod http1;
mod http2;
mod script;
mod tls;

use std::path::PathBuf;

fn corpus(decoder: &str) -> Vec<(String, Vec<u8>)> {
    edgescope_fuzz::hex_lines(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(decoder).with_extension("txt"))
}

fn is_printable(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
}
