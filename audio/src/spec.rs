//! What the user asked for, parsed once: where sound comes from, where it goes, how long a frame is.

use std::convert::Infallible;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// The one sample rate inside the engine, in Hz. Opus works on it and sound servers convert to it.
pub const RATE: u32 = 48_000;

/// Samples in 10 ms: what is mixed at a time.
pub const STEP: usize = 480;

/// Samples of what the stages of the capture chain work on at a time.
pub(crate) const BLOCK: usize = STEP;

/// Where the engine's microphone signal comes from.
///
/// Parsed from `default`, `wav:FILE[,loop]`, `tone[:HZ]`, `silence` (or `null`); anything else names a device.
#[derive(Clone, Debug, PartialEq)]
pub enum InputSpec {
    /// The system's default source.
    Default,
    /// A source by its id or human name, see [`crate::devices`].
    Device(String),
    /// A wav file of any rate, channel count and sample format, played at real speed.
    Wav { path: PathBuf, repeat: bool },
    /// A steady sine.
    Tone { hz: f32 },
    /// Nothing, for ever.
    Silence,
}

/// Where what the friends say goes.
///
/// Parsed from `default`, `wav:FILE`, `null` (or `silence`); anything else names a device.
#[derive(Clone, Debug, PartialEq)]
pub enum OutputSpec {
    /// The system's default sink.
    Default,
    /// A sink by its id or human name, see [`crate::devices`].
    Device(String),
    /// A 48 kHz mono 16-bit wav file, written at real speed.
    Wav { path: PathBuf },
    /// Decoded and mixed, then dropped.
    Null,
}

/// How much sound one Opus frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FrameLen {
    Ms10,
    Ms20,
    Ms40,
    Ms60,
}

impl FrameLen {
    pub const fn as_millis(self) -> u32 {
        match self {
            FrameLen::Ms10 => 10,
            FrameLen::Ms20 => 20,
            FrameLen::Ms40 => 40,
            FrameLen::Ms60 => 60,
        }
    }

    /// Samples of one frame at 48 kHz.
    pub const fn samples(self) -> usize {
        self.as_millis() as usize * (RATE as usize / 1000)
    }

    /// Whole frames in `time`.
    pub(crate) fn count(self, time: Duration) -> u64 {
        time.as_millis() as u64 / u64::from(self.as_millis())
    }

    pub(crate) fn time_of(self, frame: u64) -> Duration {
        Duration::from_millis(frame * u64::from(self.as_millis()))
    }

    /// Of a frame at `bitrate` bits per second.
    pub(crate) const fn bytes(self, bitrate: u32) -> usize {
        (bitrate * self.as_millis() / 8000) as usize
    }

    /// The least that gives frames of `bytes`, in bits per second.
    pub(crate) const fn bitrate(self, bytes: usize) -> u32 {
        (bytes as u32 * 8000).div_ceil(self.as_millis())
    }

    pub(crate) const fn micros(self) -> i64 {
        self.as_millis() as i64 * 1000
    }
}

/// When a stage of the capture chain works.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Switch {
    /// When it improves what the friends hear.
    #[default]
    Auto,
    On,
    Off,
}

/// Everything the engine must know to start.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    pub input: InputSpec,
    pub output: OutputSpec,
    pub frame: FrameLen,
    /// Opus bits per second, hard constant: 32 000 gives exactly 80 bytes per 20 ms.
    pub bitrate: u32,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            input: InputSpec::Default,
            output: OutputSpec::Default,
            frame: FrameLen::Ms20,
            bitrate: 32_000,
        }
    }
}

impl FromStr for InputSpec {
    type Err = Infallible;

    fn from_str(s: &str) -> Result<InputSpec, Infallible> {
        let tone = |hz: f32| (hz.is_finite() && TONE_HZ.contains(&hz)).then_some(InputSpec::Tone { hz });
        Ok(match s.split_once(':') {
            None if s == "default" => InputSpec::Default,
            None if s == "silence" || s == "null" => InputSpec::Silence,
            None if s == "tone" => InputSpec::Tone { hz: DEFAULT_TONE_HZ },
            Some(("tone", hz)) => {
                hz.parse().ok().and_then(tone).unwrap_or_else(|| InputSpec::Device(s.to_owned()))
            }
            Some(("wav", rest)) => match rest.strip_suffix(",loop") {
                Some(path) => InputSpec::Wav { path: path.into(), repeat: true },
                None => InputSpec::Wav { path: rest.into(), repeat: false },
            },
            _ => InputSpec::Device(s.to_owned()),
        })
    }
}

impl FromStr for OutputSpec {
    type Err = Infallible;

    fn from_str(s: &str) -> Result<OutputSpec, Infallible> {
        Ok(match s.split_once(':') {
            None if s == "default" => OutputSpec::Default,
            None if s == "null" || s == "silence" => OutputSpec::Null,
            Some(("wav", path)) => OutputSpec::Wav { path: path.into() },
            _ => OutputSpec::Device(s.to_owned()),
        })
    }
}

impl fmt::Display for InputSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InputSpec::Default => f.write_str("default"),
            InputSpec::Device(name) => f.write_str(name),
            InputSpec::Wav { path, repeat } => {
                write!(f, "wav:{}{}", path.display(), if *repeat { ",loop" } else { "" })
            }
            InputSpec::Tone { hz } => write!(f, "tone:{hz}"),
            InputSpec::Silence => f.write_str("silence"),
        }
    }
}

impl fmt::Display for OutputSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OutputSpec::Default => f.write_str("default"),
            OutputSpec::Device(name) => f.write_str(name),
            OutputSpec::Wav { path } => write!(f, "wav:{}", path.display()),
            OutputSpec::Null => f.write_str("null"),
        }
    }
}

/// A pitch that every loudspeaker and every codec mode carries well.
const DEFAULT_TONE_HZ: f32 = 440.0;
/// What a person can hear and 48 kHz can carry.
const TONE_HZ: std::ops::RangeInclusive<f32> = 20.0..=20_000.0;

#[cfg(test)]
mod tests {
    use super::*;

    fn input(s: &str) -> InputSpec {
        let Ok(spec) = s.parse();
        spec
    }

    fn output(s: &str) -> OutputSpec {
        let Ok(spec) = s.parse();
        spec
    }

    #[test]
    fn every_documented_input_is_understood() {
        assert_eq!(input("default"), InputSpec::Default);
        // The word of the other end means the same here.
        assert_eq!((input("silence"), input("null")), (InputSpec::Silence, InputSpec::Silence));
        assert_eq!(input("tone"), InputSpec::Tone { hz: 440.0 });
        assert_eq!(input("tone:1000"), InputSpec::Tone { hz: 1000.0 });
        assert_eq!(input("wav:a b.wav"), InputSpec::Wav { path: "a b.wav".into(), repeat: false });
        assert_eq!(input("wav:a.wav,loop"), InputSpec::Wav { path: "a.wav".into(), repeat: true });
        assert_eq!(input("mic.monitor"), InputSpec::Device("mic.monitor".into()));
    }

    #[test]
    fn an_impossible_pitch_is_taken_for_a_device_that_will_not_be_found() {
        for odd in ["tone:", "tone:NaN", "tone:-3", "tone:1e9", "tone:abc"] {
            assert_eq!(input(odd), InputSpec::Device(odd.into()));
        }
    }

    #[test]
    fn every_documented_output_is_understood() {
        assert_eq!(output("default"), OutputSpec::Default);
        assert_eq!((output("null"), output("silence")), (OutputSpec::Null, OutputSpec::Null));
        assert_eq!(output("wav:x.wav"), OutputSpec::Wav { path: "x.wav".into() });
        assert_eq!(output("spk"), OutputSpec::Device("spk".into()));
    }

    #[test]
    fn a_printed_spec_parses_back() {
        for s in ["default", "silence", "tone:440", "wav:x.wav", "wav:x.wav,loop", "usb-mic"] {
            assert_eq!(input(s).to_string(), s);
        }
        for s in ["default", "null", "wav:x.wav", "usb-phones"] {
            assert_eq!(output(s).to_string(), s);
        }
    }
}
