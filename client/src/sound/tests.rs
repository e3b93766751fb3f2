#![allow(clippy::unwrap_used)]

use std::ops::RangeInclusive;
use std::time::Duration;

use tokio::time::timeout;

use super::*;

fn started() -> Sound {
    let config =
        audio::Config { input: InputSpec::Silence, output: OutputSpec::Null, ..audio::Config::default() };
    Sound::start(&config, Typed::default()).unwrap()
}

/// An engine whose thread ends by a panic as soon as it has anything to say.
fn doomed(sound: &mut Sound) {
    let (to_voice, voice) = mpsc::channel(1);
    let (to_news, news) = mpsc::unbounded_channel();
    let config = audio::Config {
        input: InputSpec::Tone { hz: 500.0 },
        output: OutputSpec::Null,
        ..audio::Config::default()
    };
    let engine = Engine::start(config, move |_| {
        let _ours = (&to_voice, &to_news);
        panic!("on purpose")
    });
    (sound.voice, sound.news) = (voice, news);
    let engine = engine.unwrap();
    engine.set_alone(false);
    sound.state = match &sound.state {
        State::Running(_) => State::Running(engine),
        State::Mended(_) | State::Broken => State::Mended(engine),
    };
}

#[test]
fn a_device_that_is_lost_is_awaited_until_it_is_back() {
    let sound = started();
    assert_eq!(sound.presence(), (Presence::There, Presence::There));
    let tell = |trouble| assert!(note_presence(&trouble, &sound.microphone, &sound.loudspeaker));
    tell(Trouble::MicrophoneLost);
    tell(Trouble::TalkingWhileMuted);
    assert_eq!(sound.presence(), (Presence::Awaited, Presence::There));
    tell(Trouble::SpeakerLost);
    tell(Trouble::MicrophoneBack);
    assert_eq!(sound.presence(), (Presence::There, Presence::Awaited));
    tell(Trouble::SpeakerBack);
    assert_eq!(sound.presence(), (Presence::There, Presence::There));
}

#[tokio::test]
async fn another_microphone_takes_the_place_of_one_that_is_awaited() {
    let sound = started();
    note_presence(&Trouble::MicrophoneLost, &sound.microphone, &sound.loudspeaker);
    assert!(sound.set_input(InputSpec::Tone { hz: 500.0 }).await.is_ok());
    assert_eq!(sound.presence().0, Presence::There);
}

#[test]
fn a_microphone_that_comes_back_while_another_is_ordered_is_told_by_the_answer_alone() {
    let sound = started();
    let tell = |trouble| note_presence(&trouble, &sound.microphone, &sound.loudspeaker);
    tell(Trouble::MicrophoneLost);
    let (done, _answer) = oneshot::channel();
    let order = taken(sound.microphone.clone(), InputSpec::Silence, sound.late.clone(), done);
    assert!(!tell(Trouble::MicrophoneBack));
    assert_eq!(sound.presence().0, Presence::There);
    order(Ok(()));
    tell(Trouble::MicrophoneLost);
    assert!(tell(Trouble::MicrophoneBack));
}

#[tokio::test]
async fn a_microphone_that_comes_back_while_others_are_ordered_is_told_when_the_last_of_them_is_not_to_be_had()
 {
    let mut sound = started();
    let order = || {
        let (done, _answer) = oneshot::channel();
        taken(sound.microphone.clone(), InputSpec::Silence, sound.late.clone(), done)
    };
    let (first, second, third) = (order(), order(), order());
    let tell = |trouble| note_presence(&trouble, &sound.microphone, &sound.loudspeaker);
    tell(Trouble::MicrophoneLost);
    assert!(!tell(Trouble::MicrophoneBack));
    first(Err(Error::Outdone));
    assert!(lock(&sound.microphone).withheld.is_some());
    second(Err(Error::Outdone));
    third(Err(Error::Device { direction: Direction::Input, reason: "gone".into() }));
    let told = async {
        loop {
            if let FromSound::Trouble(trouble) = sound.next().await {
                return trouble;
            }
        }
    };
    let told = timeout(Duration::from_secs(20), told).await;
    assert!(matches!(told, Ok(Trouble::MicrophoneBack)), "{told:?}");
    assert_eq!(sound.presence().0, Presence::There);
}

#[tokio::test]
async fn a_broken_engine_is_told_started_again_once_and_ends_as_a_defect() {
    let mut sound = started();
    doomed(&mut sound);
    assert!(matches!(sound.next().await, FromSound::Broken));
    assert_eq!(sound.mend(), (MENDED.to_owned(), true));
    assert!(sound.set_input(InputSpec::Silence).await.is_ok());
    doomed(&mut sound);
    assert!(matches!(sound.next().await, FromSound::Broken));
    assert_eq!(sound.mend(), (BROKEN.to_owned(), false));
    assert_eq!(sound.set_input(InputSpec::Silence).await.unwrap_err(), BROKEN);
    assert_eq!(sound.presence(), (Presence::Awaited, Presence::Awaited));
    assert_eq!(sound.finish().unwrap_err().kind, Kind::Defect);
}

#[tokio::test]
async fn what_works_again_or_was_told_otherwise_before_the_call_began_is_not_told() {
    let mut sound = started();
    let gone = |what: &str| Some(format!("No {what}."));
    let ailment = || Ailment { microphone: gone("microphone"), loudspeaker: gone("loudspeaker") };
    let tell = |sound: &Sound, trouble| note_presence(&trouble, &sound.microphone, &sound.loudspeaker);
    sound.ailment = ailment();
    tell(&sound, Trouble::MicrophoneLost);
    tell(&sound, Trouble::SpeakerLost);
    assert!(sound.set_input(InputSpec::Silence).await.is_ok());
    assert_eq!(sound.ailment(), Some(format!("No loudspeaker. {NO_SPEAKER}")));
    assert_eq!(sound.ailment(), None);

    sound.ailment = ailment();
    tell(&sound, Trouble::SpeakerBack);
    assert_eq!(sound.ailment(), None);

    sound.ailment = ailment();
    doomed(&mut sound);
    assert!(matches!(sound.next().await, FromSound::Broken));
    assert_eq!(sound.mend(), (MENDED.to_owned(), true));
    tell(&sound, Trouble::MicrophoneLost);
    assert_eq!(sound.ailment(), None);
}

/// Until packets of this length in time and bytes come.
async fn comes(sound: &mut Sound, frame: io::FrameLen, bytes: RangeInclusive<usize>) {
    let came = async {
        loop {
            if let FromSound::Voice(voice) = sound.next().await
                && voice.len == frame
                && bytes.contains(&voice.opus.len())
            {
                return;
            }
        }
    };
    assert!(timeout(Duration::from_secs(20), came).await.is_ok(), "no {bytes:?} bytes of {frame:?}");
}

#[tokio::test]
async fn what_the_listeners_report_changes_what_is_sent_also_by_an_engine_that_was_mended() {
    // Of 32, 64 and 16 kbit/s.
    const USUAL: RangeInclusive<usize> = 79..=80;
    const TWICE: RangeInclusive<usize> = 158..=160;
    const LESS: RangeInclusive<usize> = 119..=120;
    let mut sound = started();
    sound.set_input(InputSpec::Tone { hz: 500.0 }).await.unwrap();
    sound.set_alone(false);
    comes(&mut sound, io::FrameLen::Ms20, USUAL).await;
    let runs = Reception { loss: 0.2, burst: 3.0, listeners: 1, ..Reception::default() };
    sound.told(runs);
    comes(&mut sound, io::FrameLen::Ms20, TWICE).await;
    doomed(&mut sound);
    while !matches!(sound.next().await, FromSound::Broken) {}
    assert!(sound.mend().1);
    comes(&mut sound, io::FrameLen::Ms20, TWICE).await;
    let congested = Reception { queue: Duration::from_millis(200), ..runs };
    // First the bits against losses, then the step down.
    (0..9).for_each(|_| sound.told(congested));
    comes(&mut sound, io::FrameLen::Ms60, LESS).await;
}
