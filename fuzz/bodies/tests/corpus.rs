//! Every input that ever mattered, and thousands that are nearly the same, through every body; on stable.

#![allow(clippy::unwrap_used)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::{fs, thread};

use fuzz_bodies::{TARGETS, Target};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

#[test]
fn every_target_has_a_corpus_and_every_corpus_a_target() {
    let mut kept: Vec<String> = fs::read_dir(corpora())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let mut targets: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
    kept.sort();
    targets.sort_unstable();
    assert_eq!(kept, targets);
    assert!(TARGETS.iter().all(|target| !corpus(target).is_empty()));
}

#[test]
fn nothing_in_the_corpus_breaks_a_body() {
    for target in &TARGETS {
        corpus(target).iter().for_each(|input| run(target, input));
    }
}

#[test]
fn nothing_like_the_corpus_breaks_a_body() {
    // Most targets take microseconds; the two with curves and a codec would make everybody wait for the rest.
    thread::scope(|scope| {
        for target in &TARGETS {
            scope.spawn(|| mutate(target));
        }
    });
}

fn mutate(target: &Target) {
    let runs = match target.name {
        "opus" | "room_inputs" | "signaling_connection" => 600,
        "admission" | "handshake" => 1_000,
        _ => 10_000,
    };
    let corpus = corpus(target);
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    for _ in 0..runs {
        let mut input = pick(&mut rng, &corpus).clone();
        for _ in 0..=rng.next_u32() % 4 {
            change(&mut rng, &mut input, &corpus);
        }
        run(target, &input);
    }
}

fn change(rng: &mut ChaCha8Rng, input: &mut Vec<u8>, corpus: &[Vec<u8>]) {
    let at = rng.next_u32() as usize % (input.len() + 1);
    match rng.next_u32() % 6 {
        0 => input.truncate(at),
        1 => input.insert(at, rng.next_u32() as u8),
        2 => {
            let end = input.len().min(at + 4);
            input.drain(at..end);
        }
        3 => {
            let other = pick(rng, corpus);
            let from = rng.next_u32() as usize % (other.len() + 1);
            input.truncate(at);
            input.extend_from_slice(&other[from..]);
        }
        4 => {
            if let Some(byte) = input.get_mut(at) {
                *byte = [0, 1, 127, 128, 254, 255][rng.next_u32() as usize % 6];
            }
        }
        _ => {
            if let Some(byte) = input.get_mut(at) {
                *byte ^= 1 << (rng.next_u32() % 8);
            }
        }
    }
    input.truncate(MAX_INPUT);
}

fn run(target: &Target, input: &[u8]) {
    if catch_unwind(AssertUnwindSafe(|| (target.run)(input))).is_err() {
        let hex: String = input.iter().map(|byte| format!("{byte:02x}")).collect();
        panic!("{} breaks on {hex}", target.name);
    }
}

fn pick<'a>(rng: &mut ChaCha8Rng, corpus: &'a [Vec<u8>]) -> &'a Vec<u8> {
    &corpus[rng.next_u32() as usize % corpus.len()]
}

fn corpus(target: &Target) -> Vec<Vec<u8>> {
    let mut files: Vec<_> =
        fs::read_dir(corpora().join(target.name)).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

fn corpora() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus")
}

/// What `scripts/fuzz.sh` allows as well; a mail with all its headers fits.
const MAX_INPUT: usize = 8_192;
