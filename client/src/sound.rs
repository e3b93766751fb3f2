//! The sound of the call, or its absence: text goes on without.

use std::future::pending;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use audio::{
    Adaptation, Cue, Direction, Engine, Error, FrameLen, FriendStats, FromEngine, Heard, InUse, InputSpec,
    Latency, OutputSpec, Protection, Quality, Reception, Trouble,
};
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};
use vc_core::io::{self, VoiceFrame};
use vc_core::protocol::member::MemberId;
use vc_core::protocol::text::harmless;

use crate::failure::{Failure, Kind};

pub(crate) struct Sound {
    config: audio::Config,
    state: State,
    voice: mpsc::Receiver<FromEngine>,
    /// Never to be lost to a full queue.
    news: mpsc::UnboundedReceiver<FromEngine>,
    /// Into these news; weak, for they are to end with the engine's thread.
    late: Late,
    dropped: Arc<AtomicU64>,
    alone: bool,
    adaptation: Adaptation,
    quality: Quality,
    microphone: Chosen<InputSpec>,
    loudspeaker: Chosen<OutputSpec>,
    /// What does not work from the beginning, until it is told.
    ailment: Ailment,
}

enum State {
    Running(Engine),
    /// It broke off, and was started again.
    Mended(Engine),
    /// It broke off again.
    Broken,
}

/// Which devices were named for this call alone.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Typed {
    pub(crate) input: bool,
    pub(crate) output: bool,
}

/// One direction, shared with what the engine answers and tells.
type Chosen<T> = Arc<Mutex<Choice<T>>>;

struct Choice<T> {
    /// What the person chose; `None` for the default.
    named: Option<T>,
    presence: Presence,
    /// Each order to switch that is under way holds it as well.
    orders: Arc<()>,
    /// That it is back, until these orders have ended: told where none of them was carried out.
    withheld: Option<Trouble>,
}

type Late = mpsc::WeakUnboundedSender<FromEngine>;

/// Of a microphone or a loudspeaker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Presence {
    #[default]
    There,
    /// Used as soon as it is there.
    Awaited,
}

pub(crate) enum FromSound {
    Voice(VoiceFrame),
    Level {
        dbfs: f32,
        talking: bool,
    },
    Trouble(Trouble),
    InputEnded,
    /// The engine's thread is gone: see [`Sound::mend`].
    Broken,
}

/// An engine that runs, and what comes from it.
struct Opened {
    engine: Engine,
    voice: mpsc::Receiver<FromEngine>,
    news: mpsc::UnboundedReceiver<FromEngine>,
    late: Late,
    ailment: Ailment,
}

/// Why what is missing is missing; whether it still is, [`Presence`] tells.
#[derive(Default)]
struct Ailment {
    microphone: Option<String>,
    loudspeaker: Option<String>,
}

impl Ailment {
    /// In a sentence or two.
    fn told(self) -> Option<String> {
        Some(match (self.microphone, self.loudspeaker) {
            (None, None) => return None,
            (Some(why), None) => format!("{why} {NO_MICROPHONE}"),
            (None, Some(why)) => format!("{why} {NO_SPEAKER}"),
            (Some(why), Some(other)) if why == other => format!("{why} {TEXT_ONLY}"),
            (Some(why), Some(other)) => format!("{why} {other} {TEXT_ONLY}"),
        })
    }
}

impl Sound {
    /// What was typed and does not exist is an error. A machine without sound, or with half of it, is not, nor is a
    /// headset that is elsewhere today: the call goes on with what there is, [`Sound::ailment`] says so, and the rest
    /// is used as soon as it is there.
    pub(crate) fn start(config: &audio::Config, typed: Typed) -> Result<Self, Failure> {
        let dropped = Arc::new(AtomicU64::new(0));
        let input = (config.input != InputSpec::Default).then(|| config.input.clone());
        let output = (config.output != OutputSpec::Default).then(|| config.output.clone());
        let microphone = chosen(input);
        let loudspeaker = chosen(output);
        let opened = open(config, typed, (&microphone, &loudspeaker), &dropped)?;
        let quality =
            Quality { frame: config.frame, bitrate: config.bitrate, protection: Protection::default() };
        Ok(Self {
            config: config.clone(),
            state: State::Running(opened.engine),
            voice: opened.voice,
            news: opened.news,
            late: opened.late,
            dropped,
            alone: true,
            adaptation: Adaptation::new(quality),
            quality,
            microphone,
            loudspeaker,
            ailment: opened.ailment,
        })
    }

    /// What does not work still; once, for when there is a call that it matters to.
    pub(crate) fn ailment(&mut self) -> Option<String> {
        let Ailment { microphone, loudspeaker } = std::mem::take(&mut self.ailment);
        let (input, output) = self.presence();
        Ailment {
            microphone: microphone.filter(|_| input == Presence::Awaited),
            loudspeaker: loudspeaker.filter(|_| output == Presence::Awaited),
        }
        .told()
    }

    pub(crate) async fn next(&mut self) -> FromSound {
        if matches!(self.state, State::Broken) {
            return pending().await;
        }
        let from = tokio::select! {
            biased;
            Some(from) = self.news.recv() => from,
            Some(from) = self.voice.recv() => from,
            // Both end with the engine's thread, which ends only when it is told to, or by a defect.
            else => return FromSound::Broken,
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

    /// Starts a broken engine anew, once. Tells what is the matter, and whether what was wished has to be told anew.
    pub(crate) fn mend(&mut self) -> (String, bool) {
        // What is told now is what holds.
        self.ailment = Ailment::default();
        let before = std::mem::replace(&mut self.state, State::Broken);
        let first = matches!(before, State::Running(_));
        // Waits for the thread, which has ended.
        drop(before);
        if !first {
            return (BROKEN.to_owned(), false);
        }
        let config = audio::Config {
            input: lock(&self.microphone).named.clone().unwrap_or(InputSpec::Default),
            output: match lock(&self.loudspeaker).named.clone() {
                // Begun anew it would lose what was recorded.
                Some(OutputSpec::Wav { .. }) => OutputSpec::Null,
                named => named.unwrap_or(OutputSpec::Default),
            },
            ..self.config.clone()
        };
        let shared = (&self.microphone, &self.loudspeaker);
        let Ok(opened) = open(&config, Typed::default(), shared, &self.dropped) else {
            return (BROKEN.to_owned(), false);
        };
        (self.voice, self.news, self.late) = (opened.voice, opened.news, opened.late);
        opened.engine.set_alone(self.alone);
        opened.engine.set_quality(self.quality);
        self.state = State::Mended(opened.engine);
        (opened.ailment.told().map_or(MENDED.to_owned(), |trouble| format!("{MENDED} {trouble}")), true)
    }

    pub(crate) fn hear(&self, from: MemberId, frame: VoiceFrame) {
        let len = match frame.len {
            io::FrameLen::Ms10 => FrameLen::Ms10,
            io::FrameLen::Ms20 => FrameLen::Ms20,
            io::FrameLen::Ms40 => FrameLen::Ms40,
            io::FrameLen::Ms60 => FrameLen::Ms60,
        };
        if let Some(engine) = self.engine() {
            let heard = Heard { time: frame.time, len, opus: frame.opus, last_of_talk: frame.last_of_talk };
            engine.hear(from.as_u64(), heard);
        }
    }

    pub(crate) fn set_friend_muted(&self, friend: MemberId, muted: bool) {
        self.ask(|engine| engine.set_friend_muted(friend.as_u64(), muted));
    }

    pub(crate) fn forget(&self, friend: MemberId) {
        self.ask(|engine| engine.forget(friend.as_u64()));
    }

    pub(crate) fn set_muted(&self, muted: bool) {
        self.ask(|engine| engine.set_muted(muted));
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
        let done = taken(self.microphone.clone(), spec.clone(), self.late.clone(), done);
        self.ask(|engine| engine.set_input(spec, done));
        switched(answer)
    }

    /// Another loudspeaker, likewise.
    pub(crate) fn set_output(&self, spec: OutputSpec) -> impl Future<Output = Result<(), String>> + use<> {
        let (done, answer) = oneshot::channel();
        let done = taken(self.loudspeaker.clone(), spec.clone(), self.late.clone(), done);
        self.ask(|engine| engine.set_output(spec, done));
        switched(answer)
    }

    /// What is recorded and played, as keys of the configuration file.
    pub(crate) fn chosen(&self) -> Vec<(Vec<&'static str>, toml_edit::Value)> {
        let input = lock(&self.microphone).named.as_ref().map(ToString::to_string);
        let output = lock(&self.loudspeaker).named.as_ref().map(ToString::to_string);
        let input = input.map(|input| (vec!["input"], input.into()));
        input.into_iter().chain(output.map(|output| (vec!["output"], output.into()))).collect()
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

    pub(crate) fn set_gate(&self, on: bool) {
        self.ask(|engine| engine.set_gate(on));
    }

    pub(crate) fn set_volume(&self, friend: MemberId, percent: u16) {
        self.ask(|engine| engine.set_volume(friend.as_u64(), percent));
    }

    pub(crate) fn play(&self, cue: Cue) {
        self.ask(|engine| engine.play(cue));
    }

    fn ask(&self, ask: impl FnOnce(&Engine)) {
        if let Some(engine) = self.engine() {
            ask(engine);
        }
    }

    fn engine(&self) -> Option<&Engine> {
        match &self.state {
            State::Running(engine) | State::Mended(engine) => Some(engine),
            State::Broken => None,
        }
    }

    pub(crate) fn set_alone(&mut self, alone: bool) {
        if alone != self.alone {
            self.alone = alone;
            self.ask(|engine| engine.set_alone(alone));
        }
    }

    /// Whether the microphone is off, because nobody is there to hear it.
    pub(crate) fn rests(&self) -> bool {
        self.alone
    }

    /// Of the microphone and the loudspeaker. Without an engine there is neither.
    pub(crate) fn presence(&self) -> (Presence, Presence) {
        match self.state {
            State::Broken => (Presence::Awaited, Presence::Awaited),
            State::Running(_) | State::Mended(_) => {
                (lock(&self.microphone).presence, lock(&self.loudspeaker).presence)
            }
        }
    }

    /// As the sound system calls what is recorded from and played to now.
    pub(crate) fn in_use(&self) -> InUse {
        self.engine().map(Engine::in_use).unwrap_or_default()
    }

    /// What those who hear us report; once a second.
    pub(crate) fn told(&mut self, reception: Reception) {
        let quality = self.adaptation.told(reception);
        if quality != self.quality {
            tracing::debug!(?quality, ?reception);
            self.quality = quality;
            self.ask(|engine| engine.set_quality(quality));
        }
    }

    /// Whether our microphone hears our loudspeaker, so that the others hear themselves.
    pub(crate) fn echoes(&self) -> bool {
        self.engine().is_some_and(|engine| engine.captured().echoes)
    }

    pub(crate) fn stats(&self) -> Vec<(u64, FriendStats)> {
        self.engine().map(Engine::stats).unwrap_or_default()
    }

    /// Frames that passed the microphone while somebody could hear them.
    pub(crate) fn captured(&self) -> u64 {
        self.engine().map_or(0, |engine| engine.captured().heard)
    }

    /// Frames lost between the threads, in both directions.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed) + self.engine().map_or(0, Engine::dropped)
    }

    /// How long sound takes through this machine.
    pub(crate) fn latency(&self) -> Latency {
        self.engine().map(Engine::latency).unwrap_or_default()
    }

    /// Completes a recording.
    pub(crate) fn finish(self) -> Result<(), Failure> {
        match self.state {
            State::Running(engine) | State::Mended(engine) => engine.finish().map_err(failure),
            State::Broken => Err(failure(Error::Crashed)),
        }
    }
}

fn chosen<T>(named: Option<T>) -> Chosen<T> {
    Arc::new(Mutex::new(Choice { named, presence: Presence::There, orders: Arc::default(), withheld: None }))
}

fn lock<T>(chosen: &Mutex<Choice<T>>) -> MutexGuard<'_, Choice<T>> {
    chosen.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn failure(error: Error) -> Failure {
    let kind = match error {
        Error::Crashed | Error::Codec(_) => Kind::Defect,
        _ => Kind::Machine,
    };
    let text = harmless(&error.to_string());
    match error {
        Error::NoDefault { direction, .. } => {
            let flag = match direction {
                Direction::Input => "--input",
                Direction::Output => "--output",
            };
            let what = text.trim_end_matches(" Name one.");
            Failure::new(kind, what, format!("Name one of `voicechat devices` with {flag}."))
        }
        _ => Failure::new(kind, text, ""),
    }
}

/// With as much of what is wanted as this machine has.
fn open(
    config: &audio::Config,
    typed: Typed,
    (microphone, loudspeaker): (&Chosen<InputSpec>, &Chosen<OutputSpec>),
    dropped: &Arc<AtomicU64>,
) -> Result<Opened, Failure> {
    let (to_voice, voice) = mpsc::channel(QUEUE);
    let (to_news, news) = mpsc::unbounded_channel();
    let late = to_news.downgrade();
    let bearable = move |error: &Error| match error {
        Error::NoSuchDevice { direction: Direction::Input, .. } => !typed.input,
        Error::NoSuchDevice { direction: Direction::Output, .. } => !typed.output,
        Error::NoSoundServer { .. } | Error::Device { .. } | Error::NoDefault { .. } => true,
        _ => false,
    };
    let mut pass_on = sink(to_voice, to_news, dropped.clone());
    let (input, output) = (microphone.clone(), loudspeaker.clone());
    let told = move |from| {
        if !matches!(&from, FromEngine::Trouble(trouble) if !note_presence(trouble, &input, &output)) {
            pass_on(from);
        }
    };
    let (engine, absent) = Engine::start_bearing(config.clone(), bearable, told).map_err(failure)?;
    lock(microphone).begin(presence(absent.microphone.as_ref()));
    lock(loudspeaker).begin(presence(absent.loudspeaker.as_ref()));
    engine.set_alone(true);
    let ailment = Ailment {
        microphone: absent.microphone.as_ref().map(why),
        loudspeaker: absent.loudspeaker.as_ref().map(why),
    };
    Ok(Opened { engine, voice, news, late, ailment })
}

fn presence(missing: Option<&Error>) -> Presence {
    if missing.is_some() { Presence::Awaited } else { Presence::There }
}

/// On the engine's own thread, so in order with [`taken`]. Whether it is to be told.
fn note_presence(
    trouble: &Trouble,
    microphone: &Chosen<InputSpec>,
    loudspeaker: &Chosen<OutputSpec>,
) -> bool {
    match trouble {
        Trouble::MicrophoneLost => lock(microphone).begin(Presence::Awaited),
        Trouble::MicrophoneBack => return lock(microphone).is_back(Trouble::MicrophoneBack),
        Trouble::SpeakerLost => lock(loudspeaker).begin(Presence::Awaited),
        Trouble::SpeakerBack => return lock(loudspeaker).is_back(Trouble::SpeakerBack),
        _ => {}
    }
    true
}

impl<T> Choice<T> {
    /// What was withheld of the time before is no longer so.
    fn begin(&mut self, presence: Presence) {
        (self.presence, self.withheld) = (presence, None);
    }

    /// Whether that is news: while it is being switched by order, the answer to that tells what is used from then on.
    fn is_back(&mut self, back: Trouble) -> bool {
        self.presence = Presence::There;
        self.withheld = self.is_ordered().then_some(back);
        self.withheld.is_none()
    }

    fn is_ordered(&self) -> bool {
        Arc::strong_count(&self.orders) > 1
    }
}

/// What keeps a device from being used, for a person who did not name it just now.
fn why(error: &Error) -> String {
    match error {
        Error::NoSuchDevice { direction, name, .. } => {
            format!("Your {direction} ({}) is not there. Plug it in. {}", harmless(name), choose(*direction))
        }
        Error::Device { direction, reason } | Error::NoDefault { direction, reason } => {
            format!("Your {direction} cannot be used ({}). {}", harmless(reason), choose(*direction))
        }
        error => harmless(&error.to_string()),
    }
}

fn choose(direction: Direction) -> &'static str {
    match direction {
        Direction::Input => "Choose one with /input; /devices lists them.",
        Direction::Output => "Choose one with /output; /devices lists them.",
    }
}

/// With the order that does what it advises.
pub(crate) fn told(trouble: &Trouble) -> String {
    let order = match trouble {
        Trouble::MicrophoneSilent | Trouble::InputIsMonitor => LISTED,
        Trouble::TalkingWhileMuted => return STILL_MUTED.to_owned(),
        Trouble::EchoFromHere => "Type /echo on for that.",
        _ => return trouble.to_string(),
    };
    format!("{trouble} {order}")
}

/// Keeps what was switched to on order, and tells.
fn taken<T: Send + 'static>(
    shared: Chosen<T>,
    named: T,
    late: Late,
    done: oneshot::Sender<Result<(), Error>>,
) -> impl FnOnce(Result<(), Error>) + Send + 'static {
    let order = lock(&shared).orders.clone();
    move |result| {
        let mut choice = lock(&shared);
        drop(order);
        let back = match &result {
            Ok(()) => {
                choice.begin(Presence::There);
                choice.named = Some(named);
                None
            }
            Err(_) if choice.is_ordered() => None,
            Err(_) => choice.withheld.take(),
        };
        drop(choice);
        // Whoever ordered it may have gone.
        drop(done.send(result));
        if let Some((back, news)) = back.zip(late.upgrade()) {
            let _ = news.send(FromEngine::Trouble(back));
        }
    }
}

async fn switched(answer: oneshot::Receiver<Result<(), Error>>) -> Result<(), String> {
    match answer.await {
        Ok(result) => result.map_err(|error| harmless(&error.to_string())),
        Err(_) => Err(BROKEN.into()),
    }
}

fn sink(
    voice: mpsc::Sender<FromEngine>,
    news: mpsc::UnboundedSender<FromEngine>,
    dropped: Arc<AtomicU64>,
) -> impl FnMut(FromEngine) + Send + 'static {
    move |from| match from {
        FromEngine::Voice(_) => {
            // A loop that is so far behind has no use for more.
            if voice.try_send(from).is_err() {
                dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
        FromEngine::Level { .. } | FromEngine::Trouble(_) | FromEngine::InputEnded => {
            // The loop is gone only when the engine is about to be.
            let _ = news.send(from);
        }
    }
}

const NO_MICROPHONE: &str = "Until then you hear the others, but they cannot hear you.";
const NO_SPEAKER: &str = "Until then the others hear you, but you cannot hear them.";
const TEXT_ONLY: &str = "Until then this call is text only.";
/// What [`told`] advises in a call.
pub(crate) const LISTED: &str = "/devices lists them, /input DEVICE takes one.";
const STILL_MUTED: &str = "You are talking, but your microphone is muted. Type /unmute to be heard.";
const MENDED: &str = "The sound of this call broke off by a defect of the program, and was started again.";
const BROKEN: &str = "The sound of this call broke off by a defect of the program: it is text only now. Leave and enter \
                      again to talk.";
/// A third of a second of 20 ms frames: later ones would be played too late anyway.
const QUEUE: usize = 16;

#[cfg(test)]
mod tests;
