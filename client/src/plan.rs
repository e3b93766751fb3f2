//! What one call is to be, settled before anything touches the network.

use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::time::Duration;

use vc_core::io::{Config, PathPolicy};
use vc_core::protocol::member::Codes;
use vc_core::protocol::text;
use vc_core::room::code::Code;

use crate::alert::Alerts;
use crate::cli::Call;
use crate::config::{Path, Settings, default_name, state_dir};
use crate::failure::Failure;
use crate::habits::Habits;
use crate::host::{Door, Host, key, reach};
use crate::note::{Entrance, Note, Reach};
use crate::order;
use crate::pins::Pins;
use crate::place::Place;
use crate::report::Named;
use crate::sockets::outward;
use crate::sound::{Sound, Typed};
use crate::ui::Ui;

pub(crate) struct Plan {
    pub(crate) entry: Entry,
    /// Where to dial; its key is the one that must be shown, if it is known yet.
    pub(crate) place: Place,
    /// Keeps the key of a server met for the first time.
    pub(crate) pins: Option<Pins>,
    /// Whether a spoken code must name the place, because friends have no other way to know it.
    pub(crate) named: bool,
    /// The server is the one that stands in environment or file.
    pub(crate) standing: bool,
    /// What invitations say in the place of `place`.
    pub(crate) told: Option<Place>,
    /// Whether routers are asked for ports.
    pub(crate) port_mapping: bool,
    pub(crate) reach: Reach,
    /// Our own server, if the room has no other.
    pub(crate) host: Option<Host>,
    pub(crate) room: Config,
    pub(crate) sound: Sound,
    pub(crate) alerts: Alerts,
    pub(crate) habits: Habits,
    pub(crate) muted: bool,
    pub(crate) stay: Option<Duration>,
}

pub(crate) enum Entry {
    Create,
    Join(Code),
}

impl Plan {
    pub(crate) fn create(listen: Option<SocketAddr>, call: Call, ui: &Ui) -> Result<Self, Failure> {
        let settings = call.settings.clone().completed()?;
        if settings.server.is_none() {
            can_be_found(&call, &settings)?;
        }
        Self::open(listen, call, settings, ui)
    }

    /// A room on the server that is set, else on this machine.
    pub(crate) fn open(
        listen: Option<SocketAddr>,
        call: Call,
        settings: Settings,
        ui: &Ui,
    ) -> Result<Self, Failure> {
        let Some(server) = settings.server.clone() else {
            let plan = Self::on_this_machine(listen, None, &call, settings, ui)?;
            ui.notice("No server is set, so this program runs one for the room, as `voicechat host` does.");
            return Ok(plan);
        };
        // First what can be wrong on this machine: nobody is to be told of a room that does not come to be.
        let sound = sound(&call, &settings)?;
        tell_name(&settings, ui);
        tell_cost(&settings, ui);
        let (place, pins) = pinned(server)?;
        Ok(Self::new(Entry::Create, place, pins, sound, &call, settings))
    }

    /// No server at all, whatever is configured.
    pub(crate) fn host(
        listen: Option<SocketAddr>,
        address: Option<Place>,
        call: Call,
        ui: &Ui,
    ) -> Result<Self, Failure> {
        if call.settings.server.is_some() {
            return Err(Failure::usage(
                "`voicechat host` opens a room without a server.",
                "Leave --server out, or open the room there with `voicechat create --server HOST:PORT`.",
            ));
        }
        let settings = call.settings.clone().completed()?;
        can_be_found(&call, &settings)?;
        let address = address.or(settings.address.clone());
        Self::on_this_machine(listen, address, &call, settings, ui)
    }

    fn on_this_machine(
        listen: Option<SocketAddr>,
        address: Option<Place>,
        call: &Call,
        settings: Settings,
        ui: &Ui,
    ) -> Result<Self, Failure> {
        let sound = sound(call, &settings)?;
        tell_name(&settings, ui);
        let host = embedded(listen.or(settings.listen), settings.key_file.clone(), ui)?;
        let place = Place::at(host.address, host.key);
        let told = address.map(|address| Place { key: Some(host.key), ..address });
        let reach = told.as_ref().map_or(host.reach, |told| told.host.parse().map_or(Reach::Public, reach));
        let plan = Self::new(Entry::Create, place, None, sound, call, settings);
        Ok(Self { named: true, told, reach, host: Some(host), ..plan })
    }

    pub(crate) fn join(code: Code, call: &Call, settings: Settings, ui: &Ui) -> Result<Self, Failure> {
        let flag = call.settings.server.clone();
        let told = match code.server() {
            Some((address, key)) => {
                let place: Place = address.parse().map_err(|bad| unusable(&bad))?;
                Some(Place { key, ..place })
            }
            None => None,
        };
        let Some((server, named)) = chosen(flag, told, settings.server.clone()) else {
            return Err(Failure::usage(
                "The code does not say which server the room is on, and none is set.",
                "If it ends in @ and an address, type that as well; else ask for the link, or add --server HOST:PORT.",
            ));
        };
        // A place that a code names may be any machine's address in any network: nothing to remember.
        let (place, pins) = if named { (server, None) } else { pinned(server)? };
        let sound = sound(call, &settings)?;
        tell_name(&settings, ui);
        tell_cost(&settings, ui);
        let plan = Self::new(Entry::Join(code), place, pins, sound, call, settings);
        Ok(Self { named, standing: plan.standing && !named, ..plan })
    }

    fn new(
        entry: Entry,
        place: Place,
        pins: Option<Pins>,
        sound: Sound,
        call: &Call,
        settings: Settings,
    ) -> Self {
        Self {
            entry,
            place,
            pins,
            named: false,
            standing: call.settings.server.is_none() && settings.server.is_some(),
            told: None,
            port_mapping: settings.port_mapping.unwrap_or(true),
            reach: Reach::Server,
            host: None,
            room: room(&settings),
            sound,
            alerts: Alerts::new(&settings),
            habits: Habits::new(&settings),
            muted: call.muted.or(settings.muted).unwrap_or(false),
            stay: call.seconds.map(|seconds| Duration::from_secs(seconds.into())),
        }
    }

    pub(crate) fn who_named(&self) -> Named {
        if self.named { Named::ByCode } else { Named::ByUser }
    }

    /// The port of our own server that a router may have to let friends in by.
    pub(crate) fn door(&self) -> Option<NonZeroU16> {
        let host = self.host.as_ref().filter(|host| host.reach == Reach::Lan)?;
        let wanted = self.port_mapping && self.told.is_none() && outward() == Some(host.address.ip());
        NonZeroU16::new(host.address.port()).filter(|_| wanted)
    }

    /// Where the router lets friends in to our own server. Tells whether that changes the invitation.
    pub(crate) fn opened(&mut self, outside: Option<SocketAddr>) -> bool {
        let Some(host) = &self.host else { return false };
        // Behind a second router the first one's address is nobody's.
        let outside = outside.filter(|outside| reach(outside.ip()) == Reach::Public);
        let told = outside.map(|outside| Place::at(outside, host.key));
        let changed = told != self.told;
        self.reach = if told.is_some() { Reach::Public } else { host.reach };
        self.told = told;
        changed
    }

    /// The codes as people hand them on. The link needs the server's key.
    pub(crate) fn invitation(&self, codes: &Codes, entrance: Entrance) -> Note {
        let server = self.told.as_ref().unwrap_or(&self.place).address();
        let spoken = codes.spoken.clone().map(|(number, words)| {
            Code::Spoken { number, words, server: self.named.then(|| server.clone()) }.text()
        });
        let link = codes.link.zip(self.place.key).map(|((nameplate, secret), key)| {
            Code::Link { server: server.clone(), key, nameplate, secret }.text()
        });
        Note::Invite { code: spoken, link, server, reach: self.reach, entrance }
    }
}

fn room(settings: &Settings) -> Config {
    Config {
        paths: settings.policy(),
        forward: settings.forward.unwrap_or(true),
        name: settings.name.as_deref().map_or_else(default_name, text::name),
    }
}

/// Where to look for a room, and whether only the code says so. What stands on the command line was meant for this
/// call; what the code says beats every standing setting.
fn chosen(flag: Option<Place>, told: Option<Place>, standing: Option<Place>) -> Option<(Place, bool)> {
    match (flag, told) {
        (Some(flag), told) => {
            let key = flag.key.or(told.and_then(|told| told.key));
            Some((Place { key, ..flag }, false))
        }
        (None, Some(told)) => Some((told, true)),
        (None, None) => standing.map(|standing| (standing, false)),
    }
}

fn sound(call: &Call, settings: &Settings) -> Result<Sound, Failure> {
    let defaults = audio::Config::default();
    let frame = match settings.low_latency {
        Some(true) => audio::FrameLen::Ms10,
        Some(false) | None => audio::FrameLen::Ms20,
    };
    let config = audio::Config {
        input: settings.input.clone().unwrap_or(defaults.input),
        output: settings.output.clone().unwrap_or(defaults.output),
        frame,
        bitrate: defaults.bitrate,
    };
    let typed = Typed { input: call.settings.input.is_some(), output: call.settings.output.is_some() };
    Sound::start(&config, typed)
}

fn embedded(listen: Option<SocketAddr>, key_file: Option<PathBuf>, ui: &Ui) -> Result<Host, Failure> {
    let door = match listen {
        Some(listen) => Door::open(listen)?,
        None => {
            let (door, usual) = Door::open_anywhere()?;
            if !usual {
                ui.notice("The usual port is taken, so this room listens on another one.");
            }
            door
        }
    };
    Host::start(door, &key(state_dir().as_deref(), key_file)?, Vec::new())
}

fn can_be_found(call: &Call, settings: &Settings) -> Result<(), Failure> {
    if settings.policy() != PathPolicy::Relay {
        return Ok(());
    }
    // The two flags exclude each other, and neither may stand twice.
    let instead = match (call.settings.relay_only, call.settings.path) {
        (Some(true), _) => " instead of --relay-only",
        (_, Some(Path::Relay)) => " instead of --path relay",
        _ => "",
    };
    Err(Failure::usage(
        "A room on this machine cannot hide its address from friends: it is in the code.",
        format!(
            "Open it on a server with `voicechat create --relay-only --server HOST:PORT`, or here with --path auto{instead}."
        ),
    ))
}

/// Whoever set a name is told when others read another one.
fn tell_name(settings: &Settings, ui: &Ui) {
    if let Some(cut) = settings.name.as_deref().and_then(order::cut) {
        ui.notice(cut);
    }
}

fn tell_cost(settings: &Settings, ui: &Ui) {
    if settings.policy() == PathPolicy::Relay {
        ui.notice(
            "All goes through the server's relay, so friends do not see your address; who runs the server does, even \
             if that is a friend. It adds delay; without a relay you reach nobody.",
        );
    }
}

/// What an address is worth, and what may be done about it.
pub(crate) fn who_reaches(reach: Reach, port: u16) -> String {
    match reach {
        Reach::Loopback => "Only programs on this machine reach it.".to_owned(),
        Reach::Lan => format!(
            "Friends in the same network reach it. For others forward port {port}, TCP and UDP, to this machine and \
             hand out your public address instead."
        ),
        Reach::Public | Reach::Server => {
            format!("Friends anywhere reach it if the firewall lets TCP and UDP port {port} through.")
        }
    }
}

/// The key to expect of a server that the user chose: the one typed, else the one it showed the first time.
pub(crate) fn pinned(server: Place) -> Result<(Place, Option<Pins>), Failure> {
    let Some(pins) = state_dir().map(|dir| Pins::in_dir(&dir)) else { return Ok((server, None)) };
    let known = pins.key_of(&server.address());
    let key = server.key.or(known);
    Ok((Place { key, ..server }, (key.is_none() || key != known).then_some(pins)))
}

fn unusable(bad: &crate::place::BadPlace) -> Failure {
    Failure::usage("The code names no usable server.", format!("Ask your friend for it again: {bad}."))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use clap::Parser;
    use vc_core::crypto::keys::PublicKey;

    use super::*;
    use crate::cli::{Cli, Command};

    #[test]
    fn who_says_no_forward_carries_for_nobody() {
        let forwards = |typed: &[&str]| match Cli::try_parse_from(typed).unwrap().command {
            Some(Command::Create { call, .. } | Command::Host { call, .. } | Command::Join { call, .. }) => {
                room(&call.settings).forward
            }
            _ => panic!("a call"),
        };
        for entry in ["create", "host", "join"] {
            assert!(forwards(&["voicechat", entry]), "{entry}");
            assert!(!forwards(&["voicechat", entry, "--no-forward"]), "{entry}");
            assert!(forwards(&["voicechat", entry, "--no-forward=false"]), "{entry}");
        }
    }

    #[test]
    fn a_flag_beats_the_code_and_the_code_beats_the_settings() {
        let place = |host: &str, key: Option<u8>| Place {
            host: host.into(),
            port: 1,
            key: key.map(|byte| PublicKey([byte; 32])),
        };
        let (flag, link, set) = (place("flag", None), place("code", Some(1)), place("set", Some(2)));
        let (server, named) = chosen(Some(flag), Some(link.clone()), Some(set.clone())).unwrap();
        assert_eq!((server.host.as_str(), server.key, named), ("flag", Some(PublicKey([1; 32])), false));
        assert_eq!(chosen(None, Some(link.clone()), Some(set.clone())), Some((link, true)));
        assert_eq!(chosen(None, None, Some(set.clone())), Some((set, false)));
        assert_eq!(chosen(None, None, None), None);
    }
}
