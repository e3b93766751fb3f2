//! The speech that is sent, and what is cut from what was heard.

use std::path::Path;

use anyhow::{Context, Result};
use audio::{RATE, Resampler};

/// A lower voice, five sentences, 24.7 s; at 48 kHz.
pub(crate) fn said() -> Result<Vec<f32>> {
    read(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../client/assets/bob.wav")))
}

/// A mono file of 16 bit, at 48 kHz.
pub(crate) fn read(path: &Path) -> Result<Vec<f32>> {
    let mut wav = hound::WavReader::open(path).with_context(|| path.display().to_string())?;
    let rate = wav.spec().sample_rate;
    let pcm: Vec<f32> =
        wav.samples::<i16>().map(|s| Ok(f32::from(s?) / 32_768.0)).collect::<Result<_, hound::Error>>()?;
    resampled(&pcm, rate, RATE)
}

pub(crate) fn resampled(pcm: &[f32], from: u32, to: u32) -> Result<Vec<f32>> {
    let (mut out, mut resampler) = (Vec::new(), Resampler::new(from, to).context("no such rate")?);
    resampler.push(pcm, &mut out);
    resampler.finish(&mut out);
    Ok(out)
}

/// As PESQ wants it: 16 kHz, 16 bit.
pub(crate) fn write(path: &Path, pcm: &[f32]) -> Result<()> {
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: 16_000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut wav = hound::WavWriter::create(path, spec)?;
    for sample in resampled(pcm, RATE, 16_000)? {
        wav.write_sample((sample.clamp(-1.0, 1.0) * 32_767.0) as i16)?;
    }
    Ok(wav.finalize()?)
}
