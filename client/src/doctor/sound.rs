//! Microphone and loudspeaker: there, loud enough, and deaf to each other?

use std::time::Duration;

use audio::{Config, Cue, Device, Engine, FromEngine, InputSpec, OutputSpec, Switch, Trouble};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::{Instant, timeout_at};
use vc_core::protocol::text::harmless;

use super::tell;
use crate::config::Settings;
use crate::note::State;
use crate::ui::Ui;

/// The worst of what was found of each.
pub(super) struct Heard {
    pub(super) microphone: State,
    pub(super) loudspeaker: State,
}

pub(super) async fn examine(settings: &Settings, seconds: u32, ui: &Ui) -> Heard {
    let wanted = Config {
        input: settings.input.clone().unwrap_or(InputSpec::Default),
        output: settings.output.clone().unwrap_or(OutputSpec::Default),
        ..Config::default()
    };
    let records = matches!(wanted.input, InputSpec::Default | InputSpec::Device(_));
    let plays = matches!(wanted.output, OutputSpec::Default | OutputSpec::Device(_));
    if (records || plays) && devices(ui).await == State::Bad {
        let without = |needed| if needed { State::Bad } else { State::Good };
        return Heard { microphone: without(records), loudspeaker: without(plays) };
    }
    Heard { loudspeaker: loudspeaker(&wanted, ui), microphone: microphone(&wanted, seconds, ui).await }
}

async fn devices(ui: &Ui) -> State {
    match tokio::task::spawn_blocking(audio::devices).await {
        Ok(Ok(devices)) => {
            let name = |list: &[Device]| {
                list.iter()
                    .find(|device| device.is_default)
                    .map(|device| harmless(&device.name))
                    .unwrap_or_else(|| "none".into())
            };
            tell(
                ui,
                "devices",
                State::Good,
                format!(
                    "The default microphone is {}, the default loudspeaker {}.",
                    name(&devices.inputs),
                    name(&devices.outputs)
                ),
                "",
            )
        }
        Ok(Err(error)) => tell(ui, "devices", State::Bad, harmless(&error.to_string()), ""),
        Err(_) => tell(ui, "devices", State::Bad, "The list of devices could not be made.", ""),
    }
}

fn loudspeaker(wanted: &Config, ui: &Ui) -> State {
    match Engine::start(Config { input: InputSpec::Silence, ..wanted.clone() }, |_| ()) {
        Ok(_) => tell(
            ui,
            "loudspeaker",
            State::Good,
            format!("The loudspeaker ({}) can be opened.", wanted.output),
            "",
        ),
        Err(error) => tell(ui, "loudspeaker", State::Bad, harmless(&error.to_string()), ""),
    }
}

async fn microphone(wanted: &Config, seconds: u32, ui: &Ui) -> State {
    let (to, mut events) = unbounded_channel();
    let sink = move |event| {
        let _ = to.send(event);
    };
    // A loudspeaker that is broken has been named; the microphone is examined all the same.
    let engine = match Engine::start(wanted.clone(), sink.clone())
        .or_else(|_| Engine::start(Config { output: OutputSpec::Null, ..wanted.clone() }, sink))
    {
        Ok(engine) => engine,
        Err(error) => return tell(ui, "microphone", State::Bad, harmless(&error.to_string()), ""),
    };
    engine.set_alone(false);
    // What the microphone gives is judged, not what would be made of it.
    engine.set_noise(Switch::Off);
    engine.set_echo(Switch::Off);
    engine.set_level(false);
    let time = if seconds == 1 { "a second".to_owned() } else { format!("{seconds} seconds") };
    ui.notice(format!("Speak for {time}, as you do in a call."));
    let spoken = listen(&mut events, f32::NEG_INFINITY, Duration::from_secs(seconds.into()), ui).await;
    let captured = engine.captured();
    let mut worst = level(&spoken, captured.clipped as f32 / captured.samples.max(1) as f32, ui);
    if spoken.monitor {
        let what =
            "The chosen microphone hears what the loudspeaker plays, so friends would hear themselves.";
        worst = worst.max(tell(
            ui,
            "monitor",
            State::Doubtful,
            what,
            "Choose another with --input; `voicechat devices` lists them.",
        ));
    }
    if worst == State::Bad || spoken.monitor {
        return worst;
    }
    ui.notice("Now be quiet: the loudspeaker plays a few notes.");
    let before = listen(&mut events, spoken.last, HUSH, ui).await;
    for _ in 0..CUES {
        engine.play(Cue::Joined);
    }
    let during = listen(&mut events, before.last, NOTES, ui).await;
    worst.max(echo(&before, &during, ui))
}

/// `clipped` is the share of what was recorded.
fn level(spoken: &Sample, clipped: f32, ui: &Ui) -> State {
    let loudest = spoken.loudest;
    if loudest <= DEAD {
        let hint = "Switch it on, unmute it in the system's mixer, or choose another with --input.";
        return tell(ui, "microphone", State::Bad, "The microphone gives no sound at all.", hint);
    }
    if loudest < QUIET {
        let what = format!("The microphone is very quiet ({loudest:.0} dBFS at the loudest).");
        return tell(
            ui,
            "microphone",
            State::Doubtful,
            what,
            "Speak into it, raise its volume in the system's mixer, or come closer.",
        );
    }
    if !spoken.talking {
        let what = format!("No voice was heard; the loudest was {loudest:.0} dBFS.");
        return tell(
            ui,
            "microphone",
            State::Doubtful,
            what,
            "Speak into it and try again, or raise its volume in the system's mixer.",
        );
    }
    if clipped > CLIPPING {
        let what = format!("The microphone is too loud ({loudest:.0} dBFS at the loudest) and distorts.");
        return tell(ui, "microphone", State::Doubtful, what, "Lower its volume in the system's mixer.");
    }
    tell(
        ui,
        "microphone",
        State::Good,
        format!("The microphone hears your voice ({loudest:.0} dBFS at the loudest)."),
        "",
    )
}

fn echo(before: &Sample, during: &Sample, ui: &Ui) -> State {
    if during.loudest > before.last + RISE && during.loudest > AUDIBLE {
        let what = "The microphone hears the loudspeaker, so friends may hear themselves.";
        let hint = "Use headphones, or leave echo cancellation on (`voicechat config show`).";
        return tell(ui, "echo", State::Doubtful, what, hint);
    }
    tell(ui, "echo", State::Good, "The microphone does not hear the loudspeaker.", "")
}

struct Sample {
    /// In dBFS.
    loudest: f32,
    /// At the end of it: levels are told when they change.
    last: f32,
    talking: bool,
    monitor: bool,
}

async fn listen(events: &mut UnboundedReceiver<FromEngine>, before: f32, time: Duration, ui: &Ui) -> Sample {
    let end = Instant::now() + time;
    let mut sample = Sample { loudest: before, last: before, talking: false, monitor: false };
    while let Ok(Some(event)) = timeout_at(end, events.recv()).await {
        match event {
            FromEngine::Level { dbfs, talking } => {
                sample.loudest = sample.loudest.max(dbfs);
                sample.last = dbfs;
                sample.talking |= talking;
                ui.meter(&meter(dbfs));
            }
            FromEngine::Trouble(Trouble::InputIsMonitor) => sample.monitor = true,
            FromEngine::Trouble(_) | FromEngine::Voice(_) | FromEngine::InputEnded => {}
        }
    }
    ui.meter("");
    sample
}

/// A line that the next one overwrites.
fn meter(dbfs: f32) -> String {
    let lit = ((dbfs + 60.0) / 60.0 * WIDTH as f32).clamp(0.0, WIDTH as f32) as usize;
    format!("[{}{}] {dbfs:4.0} dBFS ", "#".repeat(lit), " ".repeat(WIDTH - lit))
}

/// Half of a terminal; a third would show a whisper and a shout alike.
const WIDTH: usize = 40;
/// Below every microphone's own noise: digital silence.
const DEAD: f32 = -85.0;
/// Levelling lifts a voice by so much at most without lifting the room with it.
const QUIET: f32 = -50.0;
/// Of all samples: a shout now and then is not heard as distortion.
const CLIPPING: f32 = 0.001;
/// Longer than a word rings on in a room.
const HUSH: Duration = Duration::from_millis(700);
/// As long as the notes last, and the way through the devices.
const NOTES: Duration = Duration::from_millis(1_500);
const CUES: usize = 3;
/// More than a quiet room varies.
const RISE: f32 = 10.0;
const AUDIBLE: f32 = -60.0;
