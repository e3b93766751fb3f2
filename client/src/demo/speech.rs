//! What the two say: real speech from client/assets, in turns.

use std::fs;
use std::io::Cursor;
use std::path::Path;

use audio::{RATE, Resampler};
use hound::{SampleFormat, WavReader, WavSpec, WavWriter};

use crate::failure::Failure;

/// A friend's role: a clip, when it starts in each round, and the files of both directions.
pub(super) struct Part {
    pub(super) name: &'static str,
    clip: &'static [u8],
    /// Seconds of the clip that are spoken.
    length: f32,
    /// Seconds into the round.
    begins: f32,
    pub(super) says: &'static str,
    pub(super) hears: &'static str,
}

pub(super) const ADA: Part = Part {
    name: "Ada",
    clip: include_bytes!("../../assets/alice.wav"),
    length: 3.69,
    begins: 0.0,
    says: "ada-says.wav",
    hears: "ada-heard.wav",
};

pub(super) const BOB: Part = Part {
    name: "Bob",
    clip: include_bytes!("../../assets/bob.wav"),
    // Ends in a pause between two sentences.
    length: 7.0,
    begins: 4.0,
    says: "bob-says.wav",
    hears: "bob-heard.wav",
};

/// The input of this friend: its clip at its time within one round, to be repeated. The clip keeps its own rate.
pub(super) fn write(part: &Part, work: &Path) -> Result<(), Failure> {
    let (clip, rate) = part.spoken()?;
    let at = |seconds: f32| (seconds * rate as f32) as usize;
    let mut round = vec![0; at(ROUND)];
    let begin = at(part.begins);
    round[begin..begin + clip.len()].copy_from_slice(&clip);
    let spec =
        WavSpec { channels: 1, sample_rate: rate, bits_per_sample: 16, sample_format: SampleFormat::Int };
    let written = WavWriter::create(work.join(part.says), spec).and_then(|mut file| {
        round.iter().try_for_each(|sample| file.write_sample(*sample))?;
        file.finalize()
    });
    written.map_err(unwritable)?;
    fs::write(work.join(NO_SETTINGS), "").map_err(|error| unwritable(error.into()))
}

impl Part {
    fn spoken(&self) -> Result<(Vec<i16>, u32), Failure> {
        let mut file = WavReader::new(Cursor::new(self.clip)).map_err(Failure::defect)?;
        let rate = file.spec().sample_rate;
        let samples = (self.length * rate as f32) as usize;
        let clip: Result<Vec<i16>, _> = file.samples().take(samples).collect();
        Ok((clip.map_err(Failure::defect)?, rate))
    }

    /// The clip at 48 kHz, to compare a recording with.
    pub(super) fn reference(&self) -> Result<Vec<f32>, Failure> {
        let (clip, rate) = self.spoken()?;
        let clip: Vec<f32> = clip.iter().map(|sample| f32::from(*sample) / 32_768.0).collect();
        let Some(mut resampler) = Resampler::new(rate, RATE) else { return Ok(clip) };
        let mut out = Vec::new();
        resampler.push(&clip, &mut out);
        resampler.finish(&mut out);
        Ok(out)
    }
}

/// What a friend recorded.
pub(super) fn recording(path: &Path) -> Result<Vec<f32>, Failure> {
    let read =
        WavReader::open(path).and_then(|file| file.into_samples::<i16>().collect::<Result<Vec<_>, _>>());
    match read {
        Ok(samples) => Ok(samples.iter().map(|sample| f32::from(*sample) / 32_768.0).collect()),
        Err(_) => Err(super::failed("A recording of the demo cannot be read.")),
    }
}

fn unwritable(error: hound::Error) -> Failure {
    Failure::machine(
        format!("The demo's speech cannot be written ({error})."),
        "Free some space, or set TMPDIR.",
    )
}

/// An empty configuration file.
pub(super) const NO_SETTINGS: &str = "no-settings.toml";
/// Both clips and a breath after each.
const ROUND: f32 = 12.0;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_two_take_turns_and_each_clip_is_whole() {
        const { assert!(ADA.begins + ADA.length <= BOB.begins && BOB.begins + BOB.length <= ROUND) };
        for part in [ADA, BOB] {
            let (clip, rate) = part.spoken().unwrap();
            assert_eq!(clip.len(), (part.length * rate as f32) as usize);
            let seconds = part.reference().unwrap().len() as f32 / RATE as f32;
            assert!((seconds - part.length).abs() < 0.01, "{seconds}");
        }
    }

    #[test]
    fn what_is_written_is_one_round() {
        let dir = tempfile::tempdir().unwrap();
        write(&BOB, dir.path()).unwrap();
        let file = WavReader::open(dir.path().join(BOB.says)).unwrap();
        assert_eq!(file.duration(), (ROUND * 16_000.0) as u32);
    }
}
