//! Microphone and loudspeaker: there, loud enough, and deaf to each other?

use std::time::Duration;

use audio::{Config, Cue, Device, Engine, FromEngine, InputSpec, OutputSpec, Trouble};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::{Instant, timeout_at};
use vc_core::protocol::text::harmless;

use super::tell;
use crate::config::Settings;
use crate::note::State;
use crate::ui::Ui;

/// The worst of what was found.
pub(super) async fn examine(settings: &Settings, seconds: u32, ui: &Ui) -> State {
    let wanted = Config {
        input: settings.input.clone().unwrap_or(InputSpec::Default),
        output: settings.output.clone().unwrap_or(OutputSpec::Default),
        ..Config::default()
    };
    let needs_devices = matches!(wanted.input, InputSpec::Default | InputSpec::Device(_))
        || matches!(wanted.output, OutputSpec::Default | OutputSpec::Device(_));
    let mut worst = if needs_devices { devices(ui).await } else { State::Good };
    if worst != State::Bad {
        worst = worst.max(loudspeaker(&wanted, ui)).max(microphone(&wanted, seconds, ui).await);
    }
    worst
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
        Ok(Err(error)) => tell(ui, "devices", State::Bad, error.to_string(), ""),
        Err(_) => tell(ui, "devices", State::Bad, "The list of devices could not be made.", ""),
    }
}

fn loudspeaker(wanted: &Config, ui: &Ui) -> State {
    match Engine::start(Config { input: InputSpec::Silence, ..wanted.clone() }, |_| ()) {
        Ok(_) => {
            tell(ui, "loudspeaker", State::Good, format!("The loudspeaker ({}) plays.", wanted.output), "")
        }
        Err(error) => tell(ui, "loudspeaker", State::Bad, error.to_string(), ""),
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
        Err(error) => return tell(ui, "microphone", State::Bad, error.to_string(), ""),
    };
    engine.set_alone(false);
    ui.notice(format!("Speak for {seconds} seconds, as you do in a call."));
    let spoken = listen(&mut events, Duration::from_secs(seconds.into()), ui).await;
    let mut worst = level(&spoken, ui);
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
    let before = listen(&mut events, HUSH, ui).await;
    for _ in 0..CUES {
        engine.play(Cue::Joined);
    }
    let during = listen(&mut events, NOTES, ui).await;
    worst.max(echo(&before, &during, ui))
}

fn level(spoken: &Sample, ui: &Ui) -> State {
    let loudest = spoken.loudest;
    if loudest <= DEAD {
        let hint = "Switch it on, unmute it in the system's mixer, or choose another with --input.";
        return tell(ui, "microphone", State::Bad, "The microphone gives no sound at all.", hint);
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
    if loudest >= CLIPPING {
        let what = format!("The microphone is too loud ({loudest:.0} dBFS at the loudest) and distorts.");
        return tell(ui, "microphone", State::Doubtful, what, "Lower its volume in the system's mixer.");
    }
    if loudest < QUIET {
        let what = format!("The microphone is very quiet ({loudest:.0} dBFS at the loudest).");
        return tell(
            ui,
            "microphone",
            State::Doubtful,
            what,
            "Raise its volume in the system's mixer, or come closer.",
        );
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
    if during.loudest > before.loudest + RISE && during.loudest > AUDIBLE {
        let what = "The microphone hears the loudspeaker, so friends may hear themselves.";
        let hint = "Use headphones, or leave echo cancellation on (`voicechat config show`).";
        return tell(ui, "echo", State::Doubtful, what, hint);
    }
    tell(ui, "echo", State::Good, "The microphone does not hear the loudspeaker.", "")
}

struct Sample {
    /// In dBFS.
    loudest: f32,
    talking: bool,
    monitor: bool,
}

async fn listen(events: &mut UnboundedReceiver<FromEngine>, time: Duration, ui: &Ui) -> Sample {
    let end = Instant::now() + time;
    let mut sample = Sample { loudest: f32::NEG_INFINITY, talking: false, monitor: false };
    while let Ok(Some(event)) = timeout_at(end, events.recv()).await {
        match event {
            FromEngine::Level { dbfs, talking } => {
                sample.loudest = sample.loudest.max(dbfs);
                sample.talking |= talking;
                if ui.is_person() {
                    ui.draw(meter(dbfs));
                }
            }
            FromEngine::Trouble(Trouble::InputIsMonitor) => sample.monitor = true,
            FromEngine::Trouble(_) | FromEngine::Voice(_) | FromEngine::InputEnded => {}
        }
    }
    if ui.is_person() {
        ui.draw("\r\x1b[K".into());
    }
    sample
}

/// A line that the next one overwrites.
fn meter(dbfs: f32) -> String {
    let lit = ((dbfs + 60.0) / 60.0 * WIDTH as f32).clamp(0.0, WIDTH as f32) as usize;
    format!("\r[{}{}] {dbfs:4.0} dBFS ", "#".repeat(lit), " ".repeat(WIDTH - lit))
}

const WIDTH: usize = 40;
/// Below every microphone's own noise: digital silence.
const DEAD: f32 = -85.0;
/// Levelling lifts a voice by so much at most without lifting the room with it.
const QUIET: f32 = -50.0;
const CLIPPING: f32 = -1.0;
const HUSH: Duration = Duration::from_millis(700);
/// As long as the notes last, and the way through the devices.
const NOTES: Duration = Duration::from_millis(1_500);
const CUES: usize = 3;
/// More than a quiet room varies.
const RISE: f32 = 10.0;
const AUDIBLE: f32 = -60.0;
