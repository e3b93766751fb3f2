//! Tables of docs/SOUND.md: `sound_lab quality DIR` writes what was heard as wav files for PESQ (scripts/sound.sh scores
//! them), `sound_lab delay` and `sound_lab drift` print their tables at once. `sound_lab mouth` and `sound_lab soak` run the real
//! program, in real time, on a sound server of their own.

#![allow(clippy::print_stdout)]

use std::path::Path;

use anyhow::{Result, bail};

mod delay;
mod dice;
#[cfg(target_os = "linux")]
mod mouth;
mod network;
mod player;
mod quality;
#[cfg(target_os = "linux")]
mod soak;
mod speech;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["quality", dir] => quality::run(Path::new(dir), 3),
        ["quality", dir, seeds] => quality::run(Path::new(dir), seeds.parse()?),
        ["delay"] => delay::table(),
        ["drift"] => delay::drift(),
        #[cfg(target_os = "linux")]
        ["mouth", program, speech] => mouth::table(Path::new(program), Path::new(speech), 60),
        #[cfg(target_os = "linux")]
        ["soak", program, speech, minutes] => {
            soak::run(Path::new(program), Path::new(speech), minutes.parse()?)
        }
        _ => bail!(
            "usage: sound_lab quality DIR [SEEDS] | delay | drift | mouth PROGRAM SPEECH | soak PROGRAM SPEECH MINUTES"
        ),
    }
}
