//! Tables of docs/SOUND.md: `sound_lab quality DIR` writes what was heard as wav files for PESQ (scripts/sound.sh scores
//! them), `sound_lab delay` and `sound_lab drift` print their tables at once.

#![allow(clippy::print_stdout)]

use std::path::Path;

use anyhow::{Result, bail};

mod delay;
mod dice;
mod network;
mod player;
mod quality;
mod speech;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["quality", dir] => quality::run(Path::new(dir), 3),
        ["quality", dir, seeds] => quality::run(Path::new(dir), seeds.parse()?),
        ["delay"] => delay::table(),
        ["drift"] => delay::drift(),
        _ => bail!("usage: sound_lab quality DIR [SEEDS] | delay | drift"),
    }
}
