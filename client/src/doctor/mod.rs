//! `voicechat doctor`: what works on this machine and in this network, what does not, and how to mend it.

mod clock;
mod nat;
mod network;
mod sound;

use self::sound::Heard;
use crate::cli::Doctor;
use crate::failure::{Failure, Kind};
use crate::note::{Note, State};
use crate::ui::Ui;

/// The surest rung of the ladder that a call from here reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    /// Only friends in the same network: there is no server.
    Nearby,
    /// There is no server, but the router lets friends in to the one that runs here.
    Open,
    Direct,
    Relay,
    Tcp,
    /// As by the relay, but it carries nothing.
    Unaided,
    /// As by TCP, but the relay carries nothing.
    Cut,
    Nobody,
    /// The server shows another key than the one known.
    Doubted,
    /// The server speaks another version of the protocol.
    Estranged,
}

pub(crate) async fn run(doctor: Doctor, ui: &mut Ui) -> Result<(), Failure> {
    let settings = doctor.settings.completed()?;
    let heard = sound::examine(&settings, doctor.seconds, ui).await;
    clock::examine(ui).await;
    let reach = network::examine(&settings, ui).await?;
    verdict(heard, reach, ui)
}

fn verdict(heard: Heard, reach: Reach, ui: &Ui) -> Result<(), Failure> {
    let without = match (heard.microphone, heard.loudspeaker) {
        (State::Bad, State::Bad) => Some("text only"),
        (State::Bad, _) => Some("without your voice"),
        (_, State::Bad) => Some("without the voices of the others"),
        _ => None,
    };
    let nowhere =
        matches!(reach, Reach::Unaided | Reach::Cut | Reach::Nobody | Reach::Doubted | Reach::Estranged);
    if let Some(without) = without.filter(|_| !nowhere) {
        return Err(Failure::new(
            Kind::Machine,
            format!("The network is good enough for a call, but it would be {without}."),
            "Mend what stands above about sound.",
        ));
    }
    let through = match reach {
        Reach::Nearby => {
            "Calls work with friends in the same network; for others set a server (`voicechat serve --help`)."
        }
        Reach::Open => {
            "Calls work with friends anywhere: the router lets them in to the room that this machine opens."
        }
        Reach::Direct => "Calls work, straight from machine to machine with most friends.",
        Reach::Relay => {
            return Err(Failure::new(
                Kind::RelayOnly,
                "Calls work, but with most friends only through the relay, which cannot listen.",
                "What stands above makes the way shorter.",
            ));
        }
        Reach::Tcp => {
            return Err(Failure::new(
                Kind::TcpOnly,
                "Calls work, but only over TCP through the relay, with more delay when packets are lost.",
                "Let UDP through the firewall.",
            ));
        }
        Reach::Unaided | Reach::Cut => {
            return Err(Failure::new(
                Kind::NoPath,
                "Most calls will not come about: direct connections hardly work from here, and the relay does not.",
                "Mend what stands above.",
            ));
        }
        Reach::Nobody => {
            return Err(Failure::new(
                Kind::Unreachable,
                "No call will come about: the server cannot be reached.",
                "Mend what stands above.",
            ));
        }
        Reach::Doubted => {
            return Err(Failure::new(
                Kind::KeyChanged,
                "No call will come about: the server cannot be trusted.",
                "Do what stands above about its key.",
            ));
        }
        Reach::Estranged => {
            return Err(Failure::new(
                Kind::Version,
                "No call will come about: the server runs another version of voicechat.",
                "Mend what stands above.",
            ));
        }
    };
    ui.notice(through);
    Ok(())
}

fn tell(
    ui: &Ui,
    topic: &'static str,
    state: State,
    message: impl Into<String>,
    hint: impl Into<String>,
) -> State {
    ui.show(&Note::Finding { topic, state, message: message.into(), hint: hint.into() });
    state
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::ui::Mode;

    #[test]
    fn a_dead_microphone_is_not_hidden_by_the_way_that_a_call_would_take() {
        let ui = Ui::new(Mode::Silent).unwrap();
        let heard = |microphone, loudspeaker| Heard { microphone, loudspeaker };
        let kind = |microphone, reach| {
            verdict(heard(microphone, State::Good), reach, &ui).map_err(|failure| failure.kind)
        };
        for (reach, well) in [
            (Reach::Direct, Ok(())),
            (Reach::Nearby, Ok(())),
            (Reach::Relay, Err(Kind::RelayOnly)),
            (Reach::Tcp, Err(Kind::TcpOnly)),
        ] {
            assert_eq!(kind(State::Doubtful, reach), well);
            assert_eq!(kind(State::Bad, reach), Err(Kind::Machine));
        }
        assert_eq!(kind(State::Bad, Reach::Nobody), Err(Kind::Unreachable));
        assert_eq!(kind(State::Good, Reach::Unaided), Err(Kind::NoPath));
        assert_eq!(kind(State::Bad, Reach::Cut), Err(Kind::NoPath));
        assert_eq!(kind(State::Bad, Reach::Estranged), Err(Kind::Version));
        assert_eq!(kind(State::Bad, Reach::Doubted), Err(Kind::KeyChanged));
        for (microphone, loudspeaker, says) in [
            (State::Bad, State::Good, "would be without your voice."),
            (State::Good, State::Bad, "would be without the voices of the others."),
            (State::Bad, State::Bad, "would be text only."),
        ] {
            let said = verdict(heard(microphone, loudspeaker), Reach::Direct, &ui).unwrap_err();
            assert!(said.what.ends_with(says), "{}", said.what);
        }
    }
}
