//! Replays the committed corpora of the fuzz targets, and a fixed number of inputs made from them: what once was found stays found,
//! on any compiler. `cargo xtask fuzz` looks for more.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use tests::{
    figure::figure,
    fuzzing::{TARGETS, Target},
};

/// Made from the corpus of each target. Those that build something costly get fewer.
const MADE: usize = 3000;
const COSTLY: [(&str, usize); 5] =
    [("session", 150), ("audio", 60), ("tokenizer", 100), ("recording", 1000), ("sentencepiece", 1000)];
/// No file of a corpus is larger, bytes.
const MAX_FILE: u64 = 16 * 1024;

/// Numbers that look random and are the same each time (SplitMix64).
struct Chance(u64);

impl Chance {
    fn below(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % most.max(1) as u64).unwrap_or(0)
    }
}

const WORDS: [&[u8]; 12] = [
    b"null",
    b"-1",
    b"0",
    b"18446744073709551615",
    b"4294967296",
    b"1e400",
    b"\"\"",
    b"[]",
    b"{}",
    b"\xff",
    b"\0\0\0\0",
    b"\n",
];

/// One of `corpus`, changed in a few places.
fn made(corpus: &[Vec<u8>], chance: &mut Chance) -> Vec<u8> {
    let mut input = corpus[chance.below(corpus.len())].clone();
    for _ in 0..=chance.below(4) {
        let at = chance.below(input.len() + 1);
        let end = at + chance.below(input.len() - at + 1).min(64);
        match chance.below(6) {
            0 if at < input.len() => input[at] ^= 1 << chance.below(8),
            1 => drop(input.drain(at..end)),
            2 => drop(input.splice(at..end, WORDS[chance.below(WORDS.len())].iter().copied())),
            3 => {
                let again = input[at..end].to_vec();
                input.splice(at..at, again);
            }
            4 => input.truncate(at),
            _ => {
                let other = &corpus[chance.below(corpus.len())];
                let from = chance.below(other.len() + 1);
                input.splice(at.., other[from..].iter().copied());
            }
        }
    }
    input
}

fn fails(target: Target, input: &[u8]) -> bool {
    catch_unwind(AssertUnwindSafe(|| (target.1)(input))).is_err()
}

/// Replays every corpus, and so many times the usual number of inputs made from it, each time others.
fn replay(times: usize) {
    let mut faults = Vec::new();
    for target in TARGETS {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target.0);
        let driven = directory.join("../../fuzz_targets").join(format!("{}.rs", target.0));
        assert!(driven.is_file(), "{} is missing", driven.display());
        let mut paths: Vec<_> = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        assert!(paths.len() >= 4, "{} has {} files", directory.display(), paths.len());
        let mut corpus = Vec::new();
        for path in &paths {
            assert!(path.metadata().unwrap().len() <= MAX_FILE, "{} is large", path.display());
            let input = fs::read(path).unwrap();
            if fails(target, &input) {
                faults.push(format!("{}: {}", target.0, path.display()));
            }
            corpus.push(input);
        }
        let count = COSTLY.iter().find(|(name, _)| *name == target.0).map_or(MADE, |(_, count)| *count);
        let count = count * times;
        let mut chance = Chance(7 + times as u64);
        for n in 0..count {
            let input = made(&corpus, &mut chance);
            if fails(target, &input) {
                let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{n}", target.0));
                fs::write(&kept, &input).unwrap();
                faults.push(format!("{}: made input {n}, kept as {}", target.0, kept.display()));
            }
        }
        if times > 1 {
            figure(&format!("fuzz_{}_made", target.0), count as f64);
        }
    }
    assert!(
        faults.is_empty(),
        "these break something; mend it, and add them to the corpus:\n  {}",
        faults.join("\n  ")
    );
}

#[test]
fn the_corpora_and_what_is_made_of_them_break_nothing() {
    replay(1);
}

#[test]
#[ignore = "takes 5 minutes; cargo xtask prove faults runs it"]
fn a_hundred_thousand_made_inputs_a_target_break_nothing() {
    replay(35);
}
