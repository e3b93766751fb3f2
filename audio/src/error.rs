//! What can go wrong, in words for the person who must act on it.

use std::path::PathBuf;

/// Why the engine could not start, or did not finish well. One sentence what happened, one what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error(
        "No sound server answers. Start PulseAudio or PipeWire, set PULSE_SERVER, or use `wav:FILE`, \
         `silence` or `null` instead of a device."
    )]
    NoSoundServer { reason: String },
    #[error("There is no {direction} called `{name}`. {}", advice(name, existing))]
    NoSuchDevice { direction: Direction, name: String, existing: Existing },
    #[error("The {direction} cannot be opened ({reason}). Choose another one or free it in other programs.")]
    Device { direction: Direction, reason: String },
    #[error("There is no {direction} to use unasked ({reason}). Name one.")]
    NoDefault { direction: Direction, reason: String },
    #[error("{path} cannot be read as sound ({reason}). Give a wav file with PCM or float samples.", path = path.display())]
    WavInput { path: PathBuf, reason: String },
    #[error("{path} cannot be written ({reason}). Choose another place or free some space.", path = path.display())]
    WavOutput { path: PathBuf, reason: String },
    #[error("A bitrate of {0} bit/s is not possible. Choose one from 6000 to 256000.")]
    Bitrate(u32),
    #[error("The codec failed ({0}). This is a defect of the program, please report it.")]
    Codec(&'static str),
    #[error("The sound thread could not be started ({0}). Close some programs and try again.")]
    Thread(std::io::Error),
    #[error("Another one was chosen meanwhile. Nothing to do.")]
    Outdone,
    #[error("The sound thread broke off. This is a defect of the program, please report it.")]
    Crashed,
}

/// Something that happened while running; the engine goes on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Trouble {
    #[error(
        "The microphone is gone. It will be used again as soon as it is back; plug it in or restart the sound server."
    )]
    MicrophoneLost,
    #[error("The microphone is there, and used from now on. Nothing to do.")]
    MicrophoneBack,
    #[error(
        "The loudspeaker is gone. It will be used again as soon as it is back; plug it in or restart the sound server."
    )]
    SpeakerLost,
    #[error("The loudspeaker is there, and used from now on. Nothing to do.")]
    SpeakerBack,
    #[error("The recording {path} stopped ({reason}). What was written is kept; free some space and start again to record.", path = path.display())]
    RecordingStopped { path: PathBuf, reason: String },
    #[error("The microphone gives no sound at all. Switch it on, raise its volume, or choose another one.")]
    MicrophoneSilent,
    #[error("You are talking, but your microphone is muted. Unmute it to be heard.")]
    TalkingWhileMuted,
    #[error(
        "The chosen microphone hears what the loudspeaker plays, so your friends hear themselves. Choose another microphone."
    )]
    InputIsMonitor,
    #[error(
        "Your friends hear themselves through your loudspeaker and microphone. Use headphones, or switch echo \
         cancellation on."
    )]
    EchoFromHere,
    #[error("{path} broke off ({reason}). Nothing more is sent from it; give an undamaged file.", path = path.display())]
    WavInputBroken { path: PathBuf, reason: String },
}

/// Files are often named as devices are.
fn advice(name: &str, existing: &Existing) -> String {
    match name.to_lowercase().ends_with(".wav") {
        true => format!("A sound file is written `wav:{name}`."),
        false => existing.to_string(),
    }
}

/// Which way the sound of a device flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Input,
    Output,
}

/// The devices a person could have meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Existing(pub Vec<String>);

impl std::fmt::Display for Direction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Direction::Input => "microphone",
            Direction::Output => "loudspeaker",
        })
    }
}

impl std::fmt::Display for Existing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0.as_slice() {
            [] => f.write_str("There are none at all; plug one in or use `wav:FILE`."),
            names => write!(f, "Choose one of: {}.", names.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_was_named_as_a_device_is_told_how_files_are_named() {
        let missing = |name: &str| Error::NoSuchDevice {
            direction: Direction::Input,
            name: name.into(),
            existing: Existing(vec!["headset".into()]),
        };
        assert!(missing("/tmp/x.WAV").to_string().ends_with("A sound file is written `wav:/tmp/x.WAV`."));
        assert!(missing("headst").to_string().ends_with("Choose one of: headset."));
    }

    /// One after the other, so that a new one has to take its place here.
    fn next(trouble: &Trouble) -> Option<Trouble> {
        let path = || PathBuf::from("x.wav");
        Some(match trouble {
            Trouble::MicrophoneLost => Trouble::MicrophoneBack,
            Trouble::MicrophoneBack => Trouble::SpeakerLost,
            Trouble::SpeakerLost => Trouble::SpeakerBack,
            Trouble::SpeakerBack => {
                Trouble::RecordingStopped { path: path(), reason: "no space left on device".into() }
            }
            Trouble::RecordingStopped { .. } => Trouble::MicrophoneSilent,
            Trouble::MicrophoneSilent => Trouble::TalkingWhileMuted,
            Trouble::TalkingWhileMuted => Trouble::InputIsMonitor,
            Trouble::InputIsMonitor => Trouble::EchoFromHere,
            Trouble::EchoFromHere => Trouble::WavInputBroken { path: path(), reason: "it is cut off".into() },
            Trouble::WavInputBroken { .. } => return None,
        })
    }

    #[test]
    fn every_trouble_says_what_happened_and_what_to_do() {
        let all = std::iter::successors(Some(Trouble::MicrophoneLost), next);
        let texts: Vec<String> = all.map(|trouble| trouble.to_string()).collect();
        assert_eq!(texts.len(), 10);
        for text in texts {
            assert!(text.matches(". ").count() == 1 && text.ends_with('.'), "{text}");
        }
    }
}
