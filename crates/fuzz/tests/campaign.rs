//! A campaign finds what it is there to find.

use std::hint::black_box;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use edgescope_fuzz::{Campaign, Source, bytes, hex, processor_time};

fn campaign() -> Campaign<'static> {
    Campaign {
        decoder: "sample",
        corpus: vec![b"length 12 then".to_vec()],
        heaviest: vec![b"heavy".to_vec()],
        dictionary: &[b"magic"],
        input_bytes_max: 64,
        heap_bytes_max: 100,
    }
}

/// What the campaign says of this decoder.
fn verdict(campaign: &Campaign<'_>, decode: impl FnMut(&[u8]) -> bool) -> Result<(), String> {
    let run = || campaign.run(|source| source.bytes(8), decode);
    let said = catch_unwind(AssertUnwindSafe(run)).map(|_| ());
    said.map_err(|said| said.downcast_ref::<String>().cloned().expect("a message"))
}

fn contains(input: &[u8], word: &[u8]) -> bool {
    input.windows(word.len()).any(|part| part == word)
}

#[test]
fn a_sound_decoder_passes() {
    let mut inputs = 0;
    assert_eq!(
        verdict(&campaign(), |input| {
            inputs += 1;
            assert!(input.len() <= 64);
            contains(input, b"length")
        }),
        Ok(())
    );
    assert!(inputs >= edgescope_fuzz::INPUTS, "what was slow is tried again");
}

#[test]
fn a_panic_is_found_and_its_input_shown() {
    for word in [&b"magic"[..], b"length 92", b"lengthlength", b"\xff\xff"] {
        let decode = |input: &[u8]| {
            assert!(!contains(input, word), "found");
            true
        };
        let said = verdict(&campaign(), decode).expect_err("a panic");
        let shown = bytes(said.lines().last().expect("the input"));
        assert!(said.starts_with("sample: panicked at input ") && contains(&shown, word), "{said}");
    }
}

#[test]
fn too_much_heap_is_found() {
    let decode = |input: &[u8]| {
        let held = vec![0u8; input.len() * 2];
        black_box(held.len()) > 20
    };
    let said = verdict(&campaign(), decode).expect_err("more than its bound");
    assert!(said.contains("bytes of the heap, at most 100"), "{said}");
}

#[test]
fn slowness_is_found() {
    let decode = |input: &[u8]| {
        let start = processor_time();
        while contains(input, b"magic") && processor_time() - start < Duration::from_millis(60) {}
        true
    };
    assert!(verdict(&campaign(), decode).expect_err("too slow").contains("at most 50ms"));
}

#[test]
fn inputs_that_mean_nothing_are_no_test() {
    assert!(verdict(&campaign(), |input| input.first() == Some(&7)).expect_err("nothing").contains("mean nothing"));
}

#[test]
fn chance_is_the_same_in_every_run_and_differs_between_inputs() {
    let first: Vec<u64> = (0..4).map(|number| Source::new(1, number).number()).collect();
    assert_eq!(first, (0..4).map(|number| Source::new(1, number).number()).collect::<Vec<_>>());
    assert!(first.windows(2).all(|pair| pair[0] != pair[1]));
    let mut source = Source::new(1, 0);
    assert!(
        (0..1000)
            .map(|_| source.below(10))
            .fold([0; 10], |mut seen, value| {
                seen[value] += 1;
                seen
            })
            .iter()
            .all(|seen| *seen > 50)
    );
    assert!((0..1000).all(|_| source.length(5) <= 5 && source.within(3, 4) / 3 == 1 && source.length(0) == 0));
}

#[test]
fn hexadecimal_there_and_back() {
    assert_eq!(hex(&bytes("00 7f ff")), "007fff");
}
