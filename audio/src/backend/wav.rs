//! Wav files as microphone and as tape recorder.

use std::fs::{self, File};
use std::io::{BufReader, BufWriter};
use std::path::{Path, PathBuf};

use hound::{SampleFormat, WavReader, WavSpec, WavWriter};

use crate::error::Error;
use crate::resample::Resampler;
use crate::spec::RATE;

/// A wav file of any rate, channel count and sample format, heard as 48 kHz mono.
pub(crate) struct WavSource {
    path: PathBuf,
    file: WavReader<BufReader<File>>,
    repeat: bool,
    resampler: Option<Resampler>,
    mono: Vec<f32>,
    ready: Vec<f32>,
}

/// A 48 kHz mono 16-bit wav file being written.
pub(crate) struct WavSink {
    path: PathBuf,
    file: WavWriter<BufWriter<File>>,
    unflushed: usize,
}

impl WavSource {
    pub(crate) fn open(path: &Path, repeat: bool) -> Result<WavSource, Error> {
        let wrong = |reason: String| Error::WavInput { path: path.to_owned(), reason };
        let about = fs::metadata(path).map_err(|e| wrong(plain(&e)))?;
        if !about.is_file() {
            return Err(wrong("it is not a file".into()));
        }
        if about.len() == 0 {
            return Err(wrong("it is empty".into()));
        }
        let file = File::open(path).map_err(|e| wrong(plain(&e)))?;
        let file = WavReader::new(BufReader::new(file)).map_err(|e| wrong(said(e)))?;
        let spec = file.spec();
        let known = match spec.sample_format {
            SampleFormat::Int => matches!(spec.bits_per_sample, 8 | 16 | 24 | 32),
            SampleFormat::Float => spec.bits_per_sample == 32,
        };
        if !known {
            return Err(wrong(format!(
                "its samples of {} bits are of an unknown kind",
                spec.bits_per_sample
            )));
        }
        if !CHANNELS.contains(&spec.channels) {
            return Err(wrong(format!("it claims to have {} channels", spec.channels)));
        }
        let Some(resampler) = Resampler::new(spec.sample_rate, RATE) else {
            return Err(wrong(format!("it claims to have {} samples per second", spec.sample_rate)));
        };
        let resampler = Some(resampler);
        let (mono, ready) = (Vec::new(), Vec::new());
        let mut source = WavSource { path: path.to_owned(), file, repeat, resampler, mono, ready };
        // A header may promise what the file does not hold.
        if source.fill().map_err(wrong)? == 0 {
            return Err(wrong("it holds no sound".into()));
        }
        Ok(source)
    }

    /// Fills `out`; fewer samples than asked for mean that the file has ended.
    pub(crate) fn read(&mut self, out: &mut [f32]) -> Result<usize, String> {
        while self.ready.len() < out.len() && self.resampler.is_some() {
            self.fill()?;
        }
        let len = out.len().min(self.ready.len());
        out[..len].copy_from_slice(&self.ready[..len]);
        self.ready.drain(..len);
        Ok(len)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads a piece; at the end of the file begins anew, or lets the resampler's rest out.
    fn fill(&mut self) -> Result<usize, String> {
        let got = self.read_mono()?;
        if let Some(resampler) = &mut self.resampler {
            resampler.push(&self.mono, &mut self.ready);
        }
        if got < PIECE {
            if self.repeat {
                self.file.seek(0).map_err(|e| plain(&e))?;
            } else if let Some(resampler) = self.resampler.take() {
                resampler.finish(&mut self.ready);
            }
        }
        Ok(got)
    }

    /// Reads up to [`PIECE`] sample frames into `mono`. A header that promises more than the file holds is common
    /// after a crash, so the end of the file is an end and not an error.
    fn read_mono(&mut self) -> Result<usize, String> {
        let WavSpec { channels, bits_per_sample, sample_format, .. } = self.file.spec();
        let channels = usize::from(channels);
        let wanted = PIECE * channels;
        let scale = 1.0 / (1u64 << (bits_per_sample - 1)) as f32;
        self.mono.clear();
        let (mut sum, mut in_frame) = (0.0, 0);
        let mut add = |sample: f32, mono: &mut Vec<f32>| {
            sum += if sample.is_finite() { sample.clamp(-1.0, 1.0) } else { 0.0 };
            in_frame += 1;
            if in_frame == channels {
                mono.push(sum / channels as f32);
                (sum, in_frame) = (0.0, 0);
            }
        };
        let ended = match sample_format {
            SampleFormat::Int => self.file.samples::<i32>().take(wanted).try_for_each(|sample| {
                add(sample? as f32 * scale, &mut self.mono);
                Ok(())
            }),
            SampleFormat::Float => self.file.samples::<f32>().take(wanted).try_for_each(|sample| {
                add(sample?, &mut self.mono);
                Ok(())
            }),
        };
        match ended {
            Ok(()) => Ok(self.mono.len()),
            Err(hound::Error::IoError(e)) if is_end(&e) => Ok(self.mono.len()),
            Err(e) => Err(said(e)),
        }
    }
}

impl WavSink {
    pub(crate) fn create(path: &Path) -> Result<WavSink, Error> {
        let wrong = |reason: String| Error::WavOutput { path: path.to_owned(), reason };
        if fs::metadata(path).is_ok_and(|about| !is_writable_kind(about.file_type())) {
            return Err(wrong("it is not a file".into()));
        }
        let spec =
            WavSpec { channels: 1, sample_rate: RATE, bits_per_sample: 16, sample_format: SampleFormat::Int };
        let file = File::create(path).map_err(|e| wrong(plain(&e)))?;
        let mut file = WavWriter::new(BufWriter::new(file), spec).map_err(|e| wrong(said(e)))?;
        // Finds a full disk now, while somebody reads the message.
        file.flush().map_err(|e| wrong(said(e)))?;
        Ok(WavSink { path: path.to_owned(), file, unflushed: 0 })
    }

    pub(crate) fn write(&mut self, pcm: &[f32]) -> Result<(), String> {
        if self.file.len() as usize + pcm.len() > LONGEST {
            return Err("a wav file cannot be longer than twelve hours".into());
        }
        for sample in pcm {
            self.file.write_sample((sample * 32767.0) as i16).map_err(said)?;
        }
        self.unflushed += pcm.len();
        if self.unflushed >= FLUSH_EVERY {
            self.unflushed = 0;
            self.file.flush().map_err(said)?;
        }
        Ok(())
    }

    /// Completes the header.
    pub(crate) fn finish(self) -> Result<(), Error> {
        self.file.finalize().map_err(|e| Error::WavOutput { path: self.path, reason: said(e) })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

fn is_end(error: &std::io::Error) -> bool {
    // hound reports a short read by a text of its own and no kind.
    error.kind() == std::io::ErrorKind::UnexpectedEof || error.to_string().contains("enough bytes")
}

#[cfg(unix)]
fn is_writable_kind(kind: fs::FileType) -> bool {
    use std::os::unix::fs::FileTypeExt;
    // Opening a pipe that nobody reads would wait for ever.
    !kind.is_fifo() && !kind.is_socket() && !kind.is_dir()
}

#[cfg(not(unix))]
fn is_writable_kind(kind: fs::FileType) -> bool {
    !kind.is_dir()
}

/// The system's words without its number.
fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error") {
        Some((words, _)) => words.to_lowercase(),
        None => text.to_lowercase(),
    }
}

fn said(error: hound::Error) -> String {
    match error {
        hound::Error::IoError(e) if is_end(&e) => "it is cut off".into(),
        hound::Error::IoError(e) => plain(&e),
        hound::Error::FormatError(what) => format!("it is no proper wav file: {what}"),
        other => other.to_string(),
    }
}

/// Sample frames read at a time.
const PIECE: usize = 1024;
/// Sixteen covers every surround recording; more is a damaged header.
const CHANNELS: std::ops::RangeInclusive<u16> = 1..=16;
/// Once per second the file is made valid up to here, so a crash costs no more.
const FLUSH_EVERY: usize = RATE as usize;
/// The format's lengths have 32 bits; twelve hours stay below.
const LONGEST: usize = 12 * 3600 * RATE as usize;
