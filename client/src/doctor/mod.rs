//! `voicechat doctor`: what works on this machine and in this network, what does not, and how to mend it.

mod nat;
mod network;
mod sound;

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
    Nobody,
}

pub(crate) async fn run(doctor: Doctor, ui: &mut Ui) -> Result<(), Failure> {
    let settings = doctor.settings.completed()?;
    let heard = sound::examine(&settings, doctor.seconds, ui).await;
    let reach = network::examine(&settings, ui).await;
    verdict(heard, reach, ui)
}

fn verdict(sound: State, reach: Reach, ui: &Ui) -> Result<(), Failure> {
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
        Reach::Nobody => {
            return Err(Failure::new(
                Kind::Unreachable,
                "No call will come about: the server cannot be reached.",
                "Mend what stands above.",
            ));
        }
    };
    if sound == State::Bad {
        return Err(Failure::new(
            Kind::Machine,
            "The network is fine, but a call would be without your voice or without theirs.",
            "Mend what stands above about sound.",
        ));
    }
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
