//! `voicechat echo`: hear yourself through the whole real path. Two members of one room in this process, one with the
//! microphone, one with the loudspeaker, and the server's relay between them.

use std::pin::pin;
use std::sync::Arc;

use audio::{Config, Engine, InputSpec, OutputSpec};
use serde_json::Value;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use crate::app;
use crate::cli::{Call, Echo};
use crate::config::{Path, Settings};
use crate::failure::Failure;
use crate::note::Note;
use crate::plan::Plan;
use crate::prompt;
use crate::sound;
use crate::stop::Stop;
use crate::ui::{Mode, Ui};

pub(crate) async fn run(echo: Echo, ui: &mut Ui) -> Result<(), Failure> {
    let settings = echo.settings.completed()?;
    // Told once the server is known to be there: no sound would mend that.
    let sound = sounding(&settings);
    let call = |input: Option<InputSpec>, output: Option<OutputSpec>, name: &str| Call {
        seconds: echo.seconds,
        ..member(&settings, input, output, name)
    };
    let (mut mouth_ui, mut ear_ui) = (Ui::new(Mode::Silent)?, Ui::new(Mode::Silent)?);
    let (mut said, mut heard) = (mouth_ui.watchers().subscribe(), ear_ui.watchers().subscribe());

    let speaking = call(settings.input.clone(), Some(OutputSpec::Null), "mouth");
    let mut mouth = pin!(async {
        let settings = speaking.settings.clone().completed()?;
        let plan = Plan::open(None, speaking, settings, &mouth_ui)?;
        app::run(plan, &mut mouth_ui, &mut Stop::new()?).await
    });
    let code = loop {
        tokio::select! {
            result = &mut mouth => return result,
            event = next(&mut said) => match kind(&event) {
                "invite" => break event["code"].as_str().unwrap_or_default().to_owned(),
                _ if sound.is_ok() => troubles(&event, ui),
                _ => {}
            },
        }
    };
    sound?;

    let listening = call(Some(InputSpec::Silence), settings.output.clone(), "ear");
    let mut ear = pin!(async {
        let plan = Plan::join(prompt::parse(&code)?, &listening, listening.settings.clone(), &ear_ui)?;
        app::run(plan, &mut ear_ui, &mut Stop::new()?).await
    });
    ui.notice(HOW);
    let mut seconds = 0u64;
    let mut level = None;
    loop {
        tokio::select! {
            result = &mut mouth => return result,
            result = &mut ear => return result,
            () = ui.broken() => return Ok(()),
            event = next(&mut said) => match kind(&event) {
                "stats" => level = event["level_dbfs"].as_f64(),
                _ => troubles(&event, ui),
            },
            event = next(&mut heard) => match kind(&event) {
                "stats" => {
                    seconds += 1;
                    // People read slower than programs.
                    if ui.is_json() || seconds.is_multiple_of(EVERY) {
                        ui.show(&echoed(&event["peers"][0], level));
                    }
                }
                _ => troubles(&event, ui),
            },
        }
    }
}

/// Without one of its two devices a call goes on; there would be nothing to hear here.
fn sounding(settings: &Settings) -> Result<(), Failure> {
    // Files have no need to be tried, and one that is written must not be begun twice.
    let input = match settings.input.clone().unwrap_or(InputSpec::Default) {
        device @ (InputSpec::Default | InputSpec::Device(_)) => device,
        _ => InputSpec::Silence,
    };
    let output = match settings.output.clone().unwrap_or(OutputSpec::Default) {
        device @ (OutputSpec::Default | OutputSpec::Device(_)) => device,
        _ => OutputSpec::Null,
    };
    Engine::start(Config { input, output, ..Config::default() }, |_| ()).map(drop).map_err(sound::failure)
}

/// Without what concerns friends, and without a talk key, which nobody could press. Said outright, so that neither
/// environment nor file brings it back.
fn on_purpose(settings: Settings) -> Settings {
    Settings {
        push_to_talk: Some(false),
        relay_only: Some(false),
        sounds: Some(false),
        bell: Some(false),
        notify: Some(false),
        hook: Some(String::new()),
        ..settings
    }
}

/// How long a tone takes from one member of a room to another through the server's relay, in ms; waits until it does.
pub(crate) async fn tone(settings: &Settings) -> Result<f64, Failure> {
    let (mut mouth_ui, mut ear_ui) = (Ui::new(Mode::Silent)?, Ui::new(Mode::Silent)?);
    let (mut said, mut heard) = (mouth_ui.watchers().subscribe(), ear_ui.watchers().subscribe());
    let speaking =
        member(settings, Some(InputSpec::Tone { hz: HEARD_WELL }), Some(OutputSpec::Null), "mouth");
    let mut mouth = Box::pin(async {
        let settings = speaking.settings.clone().completed()?;
        let plan = Plan::open(None, speaking, settings, &mouth_ui)?;
        app::run(plan, &mut mouth_ui, &mut Stop::new()?).await
    });
    let gone = |result: Result<(), Failure>| result.err().unwrap_or_else(|| Failure::defect("a member left"));
    let code = loop {
        tokio::select! {
            result = &mut mouth => return Err(gone(result)),
            event = next(&mut said) => if kind(&event) == "invite" {
                break event["code"].as_str().unwrap_or_default().to_owned();
            },
        }
    };
    let listening = member(settings, Some(InputSpec::Silence), Some(OutputSpec::Null), "ear");
    let mut ear = Box::pin(async {
        let plan = Plan::join(prompt::parse(&code)?, &listening, listening.settings.clone(), &ear_ui)?;
        app::run(plan, &mut ear_ui, &mut Stop::new()?).await
    });
    loop {
        tokio::select! {
            result = &mut mouth => return Err(gone(result)),
            result = &mut ear => return Err(gone(result)),
            event = next(&mut heard) => if let Some(ms) = event["peers"][0]["delay_ms"].as_f64() {
                return Ok(ms);
            },
        }
    }
}

/// One of the two in the room.
fn member(settings: &Settings, input: Option<InputSpec>, output: Option<OutputSpec>, name: &str) -> Call {
    Call {
        settings: Settings {
            name: Some(name.to_owned()),
            input,
            output,
            path: Some(Path::Relay),
            ..on_purpose(settings.clone())
        },
        ..Call::default()
    }
}

fn echoed(mouth: &Value, level: Option<f64>) -> Note {
    let number = |key: &str| mouth[key].as_f64().map(|number| number as f32);
    Note::Echo {
        level_dbfs: level.map(|level| level as f32),
        delay_ms: number("delay_ms"),
        rtt_ms: number("rtt_ms"),
        loss: number("loss_in").unwrap_or(0.0),
    }
}

/// What goes wrong on either side concerns the one person there is.
fn troubles(event: &Value, ui: &Ui) {
    if let ("trouble", Some(message)) = (kind(event), event["message"].as_str()) {
        // No orders are taken here.
        ui.trouble(message.replace(sound::LISTED, LISTED));
    }
}

fn kind(event: &Value) -> &str {
    event["event"].as_str().unwrap_or_default()
}

async fn next(events: &mut Receiver<Arc<str>>) -> Value {
    loop {
        match events.recv().await {
            Ok(line) => return serde_json::from_str(&line).unwrap_or_default(),
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}

const HOW: &str = "Speak: you hear yourself as your friends hear you, through microphone, codec, seal, relay, jitter \
                   buffer and loudspeaker. Use headphones. Ctrl-C ends it.";
const LISTED: &str = "`voicechat devices` lists them, `--input` takes one.";
const EVERY: u64 = 2;
/// In Hz.
const HEARD_WELL: f32 = 500.0;
