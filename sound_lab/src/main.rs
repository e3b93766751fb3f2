//! Tables of docs/SOUND.md: `sound_lab quality DIR SEEDS VOICE..` writes what was heard as wav files for PESQ (scripts/sound.sh scores
//! them), `sound_lab loop`, `sound_lab delay`, `sound_lab back` and `sound_lab drift` print their tables at once. `sound_lab recovery`, `sound_lab mouth` and
//! `sound_lab soak` run the engine or the real program, in real time, on a sound server of their own.

#![allow(clippy::print_stdout)]

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

mod back;
#[cfg(target_os = "linux")]
mod bare;
mod closed;
mod delay;
mod dice;
#[cfg(target_os = "linux")]
mod mouth;
mod network;
mod player;
mod quality;
#[cfg(target_os = "linux")]
mod recovery;
#[cfg(target_os = "linux")]
mod soak;
mod speech;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["quality", dir, seeds, ref voices @ ..] if !voices.is_empty() => {
            let voices: Vec<PathBuf> = voices.iter().map(PathBuf::from).collect();
            quality::run(Path::new(dir), seeds.parse()?, &voices)
        }
        ["loop"] => closed::table(),
        ["delay"] => delay::table(),
        ["back"] => back::table(),
        ["drift"] => delay::drift(),
        #[cfg(target_os = "linux")]
        ["recovery", "inside"] => recovery::inside(),
        #[cfg(target_os = "linux")]
        ["recovery", runs] => recovery::table(runs.parse()?),
        #[cfg(target_os = "linux")]
        ["mouth", program, ref voices @ ..] if !voices.is_empty() => mouth::table(Path::new(program), voices),
        #[cfg(target_os = "linux")]
        ["soak", program, speech, minutes] => soak::run(Path::new(program), speech, minutes.parse()?),
        _ => bail!(
            "usage: sound_lab quality DIR SEEDS VOICE.. | loop | delay | back | drift | recovery TIMES | mouth PROGRAM VOICE.. | soak PROGRAM SPEECH MINUTES"
        ),
    }
}
