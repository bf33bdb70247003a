//! A million hostile inputs for a decoder, in the tests of every change.
//!
//! A [`Campaign`] makes inputs from a committed corpus of real ones, a dictionary of the format's words, and a generator that knows the format; most are
//! then [`mutate`]d. Each input is given to the decoder, which must not panic, must be done within a time, and must not
//! hold more of the heap than its own documented bound. The inputs follow from the seed and their number alone: a run finds what the run before it found,
//! and any input can be made again. What fails is printed in hexadecimal, ready to be added to the corpus.
//!
//! Whoever uses this crate (as a dependency of its tests) has its allocations counted, thread by thread.
#![forbid(unsafe_code)]

mod corpus;
mod mutate;
mod source;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

pub use corpus::{bytes, hex, hex_lines, sample};
pub use mutate::mutate;
pub use source::Source;

/// Inputs of a campaign. `EDGESCOPE_FUZZ_INPUTS` asks for others, `EDGESCOPE_FUZZ_SEED` for another sequence, `EDGESCOPE_FUZZ_ONLY` for one input by its number.
pub const INPUTS: u64 = 1_000_000;
/// A decoder that takes more of the processor for one input, in the build of the tests, hangs for practical purposes.
pub const TIME_MAX: Duration = Duration::from_millis(50);
/// After this long in one input there is no waiting for it any more.
const HANG_MAX: Duration = Duration::from_secs(20);
/// One input in so many is one of the heaviest, changed.
const HEAVY_ONE_IN: usize = 2000;
/// An input that means something to the decoder reaches further than the first check. At least one in so many has to.
const UNDERSTOOD_ONE_IN: u64 = 20;

/// What a decoder is tried with, and what it may take.
#[derive(Debug)]
pub struct Campaign<'a> {
    /// For messages.
    pub decoder: &'a str,
    /// Inputs as real programs make them, and those that once failed.
    pub corpus: Vec<Vec<u8>>,
    /// Inputs that cost a decoder the most time and memory: given as they are, and changed now and then.
    pub heaviest: Vec<Vec<u8>>,
    /// Words of the format that chance does not find.
    pub dictionary: &'a [&'a [u8]],
    /// Longer inputs are cut.
    pub input_bytes_max: usize,
    /// What the decoder and what it returns may hold of the heap at any time of one input; its own documented bound.
    pub heap_bytes_max: u64,
}

/// What a campaign saw.
#[derive(Debug, Clone, Copy, Default)]
pub struct Report {
    pub inputs: u64,
    pub input_bytes: u64,
    /// Inputs in which the decoder found something.
    pub understood: u64,
    pub heap_bytes_max: u64,
    pub longest: Duration,
    pub took: Duration,
}

/// How an input failed.
enum Failure {
    Panic,
    Slow(Duration),
    Heap(u64),
}

impl Campaign<'_> {
    /// Gives the decoder all inputs. `generate` makes one that follows the format; `decode` feeds one to the decoder and says whether it found
    /// something in it. Panics at the first input that fails, with its number and its bytes.
    pub fn run(&self, mut generate: impl FnMut(&mut Source) -> Vec<u8>, mut decode: impl FnMut(&[u8]) -> bool) -> Report {
        let seed = setting("EDGESCOPE_FUZZ_SEED").unwrap_or(1);
        let numbers = match setting("EDGESCOPE_FUZZ_ONLY") {
            Some(number) => number..number + 1,
            None => 0..setting("EDGESCOPE_FUZZ_INPUTS").unwrap_or(INPUTS),
        };
        let watch = Watch::start(self.decoder);
        let (mut report, start) = (Report::default(), Instant::now());
        for number in numbers {
            watch.at.store(number, Ordering::Relaxed);
            let input = self.input(seed, number, &mut generate);
            if let Err(failure) = self.give(&input, &mut decode, &mut report) {
                let what = match failure {
                    Failure::Panic => "panicked".to_owned(),
                    Failure::Slow(took) => format!("took {took:?}, at most {TIME_MAX:?}"),
                    Failure::Heap(bytes) => format!("held {bytes} bytes of the heap, at most {}", self.heap_bytes_max),
                };
                panic!("{}: {what} at input {number} of seed {seed}:\n{}", self.decoder, hex(&input));
            }
        }
        report.took = start.elapsed();
        println!("{}: {report:?}", self.decoder);
        assert!(
            report.inputs < 1000 || report.understood * UNDERSTOOD_ONE_IN >= report.inputs,
            "{}: the inputs mean nothing to it: {report:?}",
            self.decoder
        );
        report
    }

    /// The heaviest and the corpus as they are come first; then half of the inputs are of the corpus and mutated, a third generated and mutated, the
    /// others as generated.
    fn input(&self, seed: u64, number: u64, generate: &mut impl FnMut(&mut Source) -> Vec<u8>) -> Vec<u8> {
        let mut source = Source::new(seed, number);
        let given = usize::try_from(number).ok().and_then(|nth| self.heaviest.iter().chain(&self.corpus).nth(nth));
        let mut input = match given {
            Some(whole) => whole.clone(),
            None if !self.heaviest.is_empty() && source.one_in(HEAVY_ONE_IN) => mutate(source.pick(&self.heaviest).clone(), self, &mut source),
            None => match source.below(6) {
                0..=2 if !self.corpus.is_empty() => mutate(source.pick(&self.corpus).clone(), self, &mut source),
                5 => generate(&mut source),
                _ => mutate(generate(&mut source), self, &mut source),
            },
        };
        input.truncate(self.input_bytes_max);
        input
    }

    fn give(&self, input: &[u8], decode: &mut impl FnMut(&[u8]) -> bool, report: &mut Report) -> Result<(), Failure> {
        let mut outcome = None;
        let start = Instant::now();
        let heap = allocation_counter::measure(|| outcome = Some(catch_unwind(AssertUnwindSafe(|| decode(input)))));
        let mut took = start.elapsed();
        let Some(Ok(understood)) = outcome else { return Err(Failure::Panic) };
        if heap.bytes_max > self.heap_bytes_max {
            return Err(Failure::Heap(heap.bytes_max));
        }
        if took > TIME_MAX {
            // Someone else may have had the processor. Its own time costs a call of the kernel, so that it is asked for here alone.
            let start = processor_time();
            decode(input);
            took = processor_time().saturating_sub(start);
        }
        if took > TIME_MAX {
            return Err(Failure::Slow(took));
        }
        report.inputs += 1;
        report.input_bytes += input.len() as u64;
        report.understood += u64::from(understood);
        report.heap_bytes_max = report.heap_bytes_max.max(heap.bytes_max);
        report.longest = report.longest.max(took);
        Ok(())
    }
}

/// What this thread has had of the processor.
pub fn processor_time() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec.unsigned_abs() as u32)
}

fn setting(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|error| panic!("{name}={text}: {error}")))
}

/// Ends the program when an input does not come back.
struct Watch {
    at: Arc<AtomicU64>,
}

impl Watch {
    fn start(decoder: &str) -> Self {
        let at = Arc::new(AtomicU64::new(0));
        let (seen, decoder) = (Arc::downgrade(&at), decoder.to_owned());
        std::thread::spawn(move || {
            let mut last = (u64::MAX, Instant::now());
            while let Some(number) = seen.upgrade().map(|at| at.load(Ordering::Relaxed)) {
                if last.0 != number {
                    last = (number, Instant::now());
                } else if last.1.elapsed() > HANG_MAX {
                    eprintln!("{decoder}: hangs at input {number}; EDGESCOPE_FUZZ_ONLY={number} runs it alone");
                    std::process::abort();
                }
                std::thread::park_timeout(Duration::from_millis(200));
            }
        });
        Self { at }
    }
}
