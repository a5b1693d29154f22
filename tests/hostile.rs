//! Bytes that nobody would write on purpose: whatever a file says, reading it ends, stays small and does not panic.
//!
//! Inputs come from a generator with a seed, so that a failure names the input that repeats it. `LOCKSTEP_FUZZ_INPUTS` says
//! how many there are, and `LOCKSTEP_FUZZ_SEED` where to begin.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod elf_builder;
mod hostile_inputs;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hostile_inputs::counting_allocator::CountingAllocator;
use hostile_inputs::others::Reader;
use hostile_inputs::random::Random;
use hostile_inputs::{elf, others, seeds};
use lockstep::facts::{Elf, Go};
use lockstep::inspect::{Facts, HEAD_BYTES, Inspection, inspect_file, inspect_object};
use lockstep::report::render_inspection;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// How many inputs a plain run has.
const INPUT_COUNT: u64 = 100_000;
/// How much more than the input itself reading may hold at once: a multiple of the input, and something for the empty ones.
const MEMORY_LIMIT_MULTIPLE: usize = 12;
const MEMORY_SPARE_BYTES: usize = 32 * 1024;
/// What archives are unpacked with has buffers of its own, and small files of theirs are kept.
const ARCHIVE_SPARE_BYTES: usize = 1 << 20;
/// What is told of one file fits on a screen or two, however much is wrong with it.
const PAGE_LIMIT_LINES: usize = 200;
/// Counted operations are what bounds the work; this is for loops that yield nothing.
const INPUT_LIMIT: Duration = Duration::from_secs(20);

#[test]
fn any_bytes_get_an_answer() {
    let count = number("LOCKSTEP_FUZZ_INPUTS").unwrap_or(INPUT_COUNT);
    let first = number("LOCKSTEP_FUZZ_SEED").unwrap_or(0);
    let seeds = seeds::all();
    let next = AtomicU64::new(first);
    let threads = number("LOCKSTEP_FUZZ_THREADS").unwrap_or(2);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= first + count {
                        return;
                    }
                    let mut random = Random::new(number);
                    let input = elf::mutate(&seeds, &mut random);
                    check(number, input, &mut random);
                }
            });
        }
    });
}

/// Every byte of a small file, and every length of it.
#[test]
fn every_byte_may_be_anything() {
    for (place, seed) in seeds::made().into_iter().enumerate() {
        for offset in 0..seed.bytes.len() {
            let mut input = seed.bytes.clone();
            let value = [0, 0xff, 0x7f, 0x80][(offset + place) % 4];
            input[offset] = value;
            check(offset as u64, input, &mut Random::new(offset as u64));
        }
    }
}

/// What readers of one language see is there before it is tampered with.
#[test]
fn seeds_are_what_they_should_be() {
    let read = |seed: &seeds::Seed| Elf::read(Bytes::from(seed.bytes.clone())).unwrap();
    let seeds = seeds::all();
    assert!(seeds.iter().all(|seed| read(seed).problems.is_empty()));
    let go: Vec<Go> = seeds.iter().filter_map(|seed| Go::read(&read(seed))).collect();
    let is_whole = |go: &Go| go.version() == Some("go1.24.4") && go.packages.len() >= 2;
    assert!(go.iter().any(is_whole), "{go:?}");
}

/// The same for what a loader is configured with and for archives.
#[test]
fn any_configuration_and_any_archive_gets_an_answer() {
    let seeds = others::seeds();
    let count = number("LOCKSTEP_FUZZ_INPUTS").unwrap_or(INPUT_COUNT) / 10;
    let first = number("LOCKSTEP_FUZZ_SEED").unwrap_or(0);
    for number in first..first + count {
        let mut random = Random::new(number);
        let seed = random.pick(&seeds);
        let input = others::mutate(seed, &mut random);
        let spare = match seed.reader {
            Reader::Archive => ARCHIVE_SPARE_BYTES,
            Reader::Cache | Reader::Configuration => MEMORY_SPARE_BYTES,
        };
        bounded(number, input, spare, |input| others::exercise(seed.reader, input));
    }
}

/// What can be read can be told: to people on lines that end, and to scripts.
#[test]
fn any_bytes_can_be_inspected() {
    let count = number("LOCKSTEP_FUZZ_INPUTS").unwrap_or(INPUT_COUNT) / 10;
    let first = number("LOCKSTEP_FUZZ_SEED").unwrap_or(0);
    let seeds = seeds::all();
    for number in first..first + count {
        let mut random = Random::new(number);
        let input = elf::mutate(&seeds, &mut random);
        let before = Instant::now();
        let told = catch_unwind(|| {
            let head = &input[..input.len().min(HEAD_BYTES)];
            let facts = match Elf::read(Bytes::from(input.clone())) {
                Ok(elf) => Facts::Elf(Box::new(inspect_object(&elf))),
                Err(_) => Facts::File(inspect_file(head, input.len() as u64)),
            };
            let inspection = Inspection::new("input", facts);
            (render_inspection(&inspection), serde_json::to_string(&inspection))
        });
        let Ok((page, report)) = told else {
            panic!("input {number} panics")
        };
        assert!(report.is_ok(), "input {number} has no form for scripts");
        assert!(page.lines().count() <= PAGE_LIMIT_LINES, "input {number}: {page}");
        let moves = |character: char| character.is_control() && character != '\n';
        assert!(!page.contains(moves), "input {number}: {page:?}");
        assert!(
            before.elapsed() < INPUT_LIMIT,
            "input {number} takes {:?}",
            before.elapsed()
        );
    }
}

fn check(number: u64, input: Vec<u8>, random: &mut Random) {
    bounded(number, input, MEMORY_SPARE_BYTES, |input| elf::exercise(input, random));
}

/// Runs what reads an input: it must not panic, and hold no more than a multiple of the input and some spare bytes.
fn bounded(number: u64, input: Vec<u8>, spare: usize, exercise: impl FnOnce(&Bytes)) {
    let input = Bytes::from(input);
    let limit = input.len() * MEMORY_LIMIT_MULTIPLE + spare;
    let before = Instant::now();
    let result = catch_unwind(AssertUnwindSafe(|| {
        CountingAllocator::start();
        exercise(&input);
        CountingAllocator::peak_bytes()
    }));
    match result {
        Ok(peak) => assert!(peak <= limit, "input {number} of {} bytes takes {peak}", input.len()),
        Err(_) => panic!("input {number} panics"),
    }
    assert!(
        before.elapsed() < INPUT_LIMIT,
        "input {number} takes {:?}",
        before.elapsed()
    );
}

fn number(variable: &str) -> Option<u64> {
    Some(std::env::var(variable).ok()?.parse().unwrap())
}
