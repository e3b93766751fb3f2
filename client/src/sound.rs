//! The sound of the call, or its absence: text goes on without.

use std::future::pending;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use audio::{
    Adaptation, Cue, Engine, Error, FrameLen, FriendStats, FromEngine, Heard, InputSpec, Latency, OutputSpec,
    Protection, Quality, Reception, Trouble,
};
use tokio::sync::{mpsc, oneshot};
use vc_core::io::{self, VoiceFrame};
use vc_core::protocol::member::MemberId;

use crate::failure::Failure;
use crate::ui::{self, Ui};
use crate::words;

pub(crate) struct Sound {
    engine: Option<Engine>,
    voice: mpsc::Receiver<FromEngine>,
    /// Rare, and never to be lost to a full queue.
    news: mpsc::UnboundedReceiver<FromEngine>,
    dropped: Arc<AtomicU64>,
    alone: bool,
    adaptation: Adaptation,
    quality: Quality,
    chosen: Arc<Mutex<Chosen>>,
}

/// What the person chose and got.
#[derive(Default)]
struct Chosen {
    input: Option<String>,
    output: Option<String>,
}

pub(crate) enum FromSound {
    Voice(VoiceFrame),
    Level { dbfs: f32, talking: bool },
    Trouble(Trouble),
    InputEnded,
}

impl Sound {
    /// What the user named and does not exist is an error. A machine without sound, or with half of it, is not: the
    /// call goes on with what there is, and a sentence says so.
    pub(crate) fn start(config: &audio::Config, ui: &Ui) -> Result<Self, Failure> {
        let (to_voice, voice) = mpsc::channel(QUEUE);
        let (to_news, news) = mpsc::unbounded_channel();
        let dropped = Arc::new(AtomicU64::new(0));
        let start = |input: &InputSpec, output: &OutputSpec| {
            let config = audio::Config { input: input.clone(), output: output.clone(), ..config.clone() };
            Engine::start(config, sink(to_voice.clone(), to_news.clone(), dropped.clone()))
        };
        let engine = match start(&config.input, &config.output) {
            Ok(engine) => Some(engine),
            Err(error @ (Error::NoSoundServer { .. } | Error::Device { .. })) => {
                let half = start(&InputSpec::Silence, &config.output).map(|engine| (engine, NO_MICROPHONE));
                let half = half
                    .or_else(|_| start(&config.input, &OutputSpec::Null).map(|engine| (engine, NO_SPEAKER)));
                let (engine, rest) = match half {
                    Ok((engine, rest)) => (Some(engine), rest),
                    Err(_) => (None, TEXT_ONLY),
                };
                ui.trouble(format!("{error} {rest}"));
                engine
            }
            Err(error) => return Err(Failure::machine(error.to_string(), "")),
        };
        if let Some(engine) = &engine {
            engine.set_alone(true);
        }
        let quality =
            Quality { frame: config.frame, bitrate: config.bitrate, protection: Protection::default() };
        let adaptation = Adaptation::new(quality);
        let chosen = Chosen {
            input: (config.input != InputSpec::Default).then(|| config.input.to_string()),
            output: (config.output != OutputSpec::Default).then(|| config.output.to_string()),
        };
        Ok(Self {
            engine,
            voice,
            news,
            dropped,
            alone: true,
            adaptation,
            quality,
            chosen: Arc::new(Mutex::new(chosen)),
        })
    }

    pub(crate) async fn next(&mut self) -> FromSound {
        let from = tokio::select! {
            Some(from) = self.voice.recv() => from,
            Some(from) = self.news.recv() => from,
            else => pending().await,
        };
        match from {
            FromEngine::Voice(captured) => FromSound::Voice(VoiceFrame {
                time: captured.time,
                len: match captured.len {
                    FrameLen::Ms10 => io::FrameLen::Ms10,
                    FrameLen::Ms20 => io::FrameLen::Ms20,
                    FrameLen::Ms40 => io::FrameLen::Ms40,
                    FrameLen::Ms60 => io::FrameLen::Ms60,
                },
                last_of_talk: captured.last_of_talk,
                age_ms: self.latency().capture.as_millis().min(u8::MAX.into()) as u8,
                opus: captured.opus,
            }),
            FromEngine::Level { dbfs, talking } => FromSound::Level { dbfs, talking },
            FromEngine::Trouble(trouble) => FromSound::Trouble(trouble),
            FromEngine::InputEnded => FromSound::InputEnded,
        }
    }

    pub(crate) fn hear(&self, from: MemberId, frame: VoiceFrame) {
        let len = match frame.len {
            io::FrameLen::Ms10 => FrameLen::Ms10,
            io::FrameLen::Ms20 => FrameLen::Ms20,
            io::FrameLen::Ms40 => FrameLen::Ms40,
            io::FrameLen::Ms60 => FrameLen::Ms60,
        };
        if let Some(engine) = &self.engine {
            let heard = Heard { time: frame.time, len, opus: frame.opus, last_of_talk: frame.last_of_talk };
            engine.hear(from.as_u64(), heard);
        }
    }

    pub(crate) fn forget(&self, friend: MemberId) {
        if let Some(engine) = &self.engine {
            engine.forget(friend.as_u64());
        }
    }

    pub(crate) fn set_muted(&self, muted: bool) {
        if let Some(engine) = &self.engine {
            engine.set_muted(muted);
        }
    }

    pub(crate) fn set_deafened(&self, deafened: bool) {
        self.ask(|engine| engine.set_deafened(deafened));
    }

    pub(crate) fn set_push_to_talk(&self, by_key: bool) {
        self.ask(|engine| engine.set_push_to_talk(by_key));
    }

    pub(crate) fn set_talk_key(&self, down: bool) {
        self.ask(|engine| engine.set_talk_key(down));
    }

    /// Another microphone. A sentence or two where it cannot be: then all stays as it was.
    pub(crate) fn set_input(&self, spec: InputSpec) -> impl Future<Output = Result<(), String>> + use<> {
        let (done, answer) = oneshot::channel();
        let (chosen, text) = (self.chosen.clone(), spec.to_string());
        self.ask(|engine| {
            engine.set_input(spec, move |result| {
                if result.is_ok() {
                    lock(&chosen).input = Some(text);
                }
                drop(done.send(result));
            })
        });
        switched(answer)
    }

    /// Another loudspeaker, likewise.
    pub(crate) fn set_output(&self, spec: OutputSpec) -> impl Future<Output = Result<(), String>> + use<> {
        let (done, answer) = oneshot::channel();
        let (chosen, text) = (self.chosen.clone(), spec.to_string());
        self.ask(|engine| {
            engine.set_output(spec, move |result| {
                if result.is_ok() {
                    lock(&chosen).output = Some(text);
                }
                drop(done.send(result));
            })
        });
        switched(answer)
    }

    /// What is recorded and played, as keys of the configuration file.
    pub(crate) fn chosen(&self) -> Vec<(Vec<&'static str>, toml_edit::Value)> {
        let chosen = lock(&self.chosen);
        let input = chosen.input.clone().map(|input| (vec!["input"], input.into()));
        let output = chosen.output.clone().map(|output| (vec!["output"], output.into()));
        input.into_iter().chain(output).collect()
    }

    pub(crate) fn set_noise(&self, when: audio::Switch) {
        self.ask(|engine| engine.set_noise(when));
    }

    pub(crate) fn set_echo(&self, when: audio::Switch) {
        self.ask(|engine| engine.set_echo(when));
    }

    pub(crate) fn set_level(&self, on: bool) {
        self.ask(|engine| engine.set_level(on));
    }

    pub(crate) fn set_volume(&self, friend: MemberId, percent: u16) {
        self.ask(|engine| engine.set_volume(friend.as_u64(), percent));
    }

    pub(crate) fn play(&self, cue: Cue) {
        self.ask(|engine| engine.play(cue));
    }

    fn ask(&self, ask: impl FnOnce(&Engine)) {
        if let Some(engine) = &self.engine {
            ask(engine);
        }
    }

    pub(crate) fn set_alone(&mut self, alone: bool) {
        if alone != self.alone {
            self.alone = alone;
            if let Some(engine) = &self.engine {
                engine.set_alone(alone);
            }
        }
    }

    /// What those who hear us report; once a second.
    pub(crate) fn told(&mut self, reception: Reception) {
        let quality = self.adaptation.told(reception);
        if quality != self.quality {
            tracing::debug!(?quality, ?reception);
            self.quality = quality;
            if let Some(engine) = &self.engine {
                engine.set_quality(quality);
            }
        }
    }

    /// Whether our microphone hears our loudspeaker, so that the others hear themselves.
    pub(crate) fn echoes(&self) -> bool {
        self.engine.as_ref().is_some_and(|engine| engine.captured().echoes)
    }

    pub(crate) fn stats(&self) -> Vec<(u64, FriendStats)> {
        self.engine.as_ref().map(Engine::stats).unwrap_or_default()
    }

    /// Frames that passed the microphone while somebody could hear them.
    pub(crate) fn captured(&self) -> u64 {
        self.engine.as_ref().map_or(0, |engine| engine.captured().heard)
    }

    /// Frames lost between the threads, in both directions.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed) + self.engine.as_ref().map_or(0, Engine::dropped)
    }

    /// How long sound takes through this machine.
    pub(crate) fn latency(&self) -> Latency {
        self.engine.as_ref().map(Engine::latency).unwrap_or_default()
    }

    /// Completes a recording.
    pub(crate) fn finish(self) -> Result<(), Failure> {
        match self.engine.map(Engine::finish) {
            Some(Err(error)) => Err(Failure::machine(error.to_string(), "")),
            Some(Ok(())) | None => Ok(()),
        }
    }
}

fn lock(chosen: &Mutex<Chosen>) -> MutexGuard<'_, Chosen> {
    chosen.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn switched(answer: oneshot::Receiver<Result<(), Error>>) -> Result<(), String> {
    match answer.await {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(_) => Err("This call began without sound. Leave, start a sound server and enter again.".into()),
    }
}

fn sink(
    voice: mpsc::Sender<FromEngine>,
    news: mpsc::UnboundedSender<FromEngine>,
    dropped: Arc<AtomicU64>,
) -> impl FnMut(FromEngine) + Send + 'static {
    move |from| match from {
        FromEngine::Voice(_) | FromEngine::Level { .. } => {
            // A loop that is so far behind has no use for more.
            if voice.try_send(from).is_err() {
                dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
        FromEngine::Trouble(_) | FromEngine::InputEnded => {
            // The loop is gone only when the engine is about to be.
            let _ = news.send(from);
        }
    }
}

/// `voicechat devices`.
pub(crate) fn list() -> Result<(), Failure> {
    let devices = audio::devices().map_err(|error| Failure::machine(error.to_string(), ""))?;
    let notes = |list: Vec<audio::Device>| list.into_iter().map(Into::into).collect::<Vec<_>>();
    ui::say(&words::devices(&notes(devices.inputs), &notes(devices.outputs)));
    Ok(())
}

const NO_MICROPHONE: &str = "Until then you hear the others, but they cannot hear you.";
const NO_SPEAKER: &str = "Until then the others hear you, but you cannot hear them.";
const TEXT_ONLY: &str = "Until then this call is text only.";
/// A third of a second of 20 ms frames: later ones would be played too late anyway.
const QUEUE: usize = 16;
