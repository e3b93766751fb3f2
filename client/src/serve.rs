//! `voicechat serve`: a server for friends, until it is told to stop.

use std::time::Duration;

use relay::key_file::relay_id;
use signaling::RelayInfo;
use tokio::time::Instant;
use vc_core::crypto::ticket::RelayKey;
use vc_core::room::code::base32;

use crate::cli::Serve;
use crate::config::{OtherRelay, Settings, state_dir};
use crate::failure::{Failure, Kind};
use crate::host::{Door, Host, key};
use crate::note::{Note, Reach};
use crate::place::Place;
use crate::plan::who_reaches;
use crate::stop::{Stop, at};
use crate::ui::Ui;

pub(crate) async fn run(serve: Serve, ui: &mut Ui) -> Result<(), Failure> {
    let settings = flags(&serve)?.completed()?;
    let end = serve.seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds.into()));
    let mut stop = Stop::new()?;
    let secret = key(state_dir().as_deref(), settings.key_file)?;
    let relays = settings.relays.iter().flatten().map(offered).collect::<Result<_, _>>()?;
    let door = Door::open(settings.listen.unwrap_or_else(relay::program::usual))?;
    let door = door.and_at(settings.also.as_deref().unwrap_or_default())?;
    let mut host = Host::start(door, &secret, relays)?;
    let place = Place::at(host.address, host.key);
    ui.show(&Note::Serving {
        place: place.to_string(),
        address: place.address(),
        key: base32(&host.key.0),
        reach: host.reach,
    });
    if !ui.is_json() {
        ui.notice(advice(host.reach, &place));
    }
    tokio::select! {
        () = stop.asked() => Ok(()),
        () = ui.broken() => Ok(()),
        () = at(end) => Ok(()),
        () = host.failed() => Err(Failure::new(
            Kind::Machine,
            "The server lost its sockets.",
            "Start it again; --log FILE tells more.",
        )),
    }
}

/// What the command line sets. A flag that can be given several times replaces the whole list of the file.
fn flags(serve: &Serve) -> Result<Settings, Failure> {
    if serve.relay.len() != serve.relay_key_file.len() {
        return Err(Failure::usage(
            "Not every --relay has its --relay-key-file.",
            "Give both for each relay, in the same order.",
        ));
    }
    let relays = serve.relay.iter().zip(&serve.relay_key_file);
    let relays = relays.map(|(address, file)| OtherRelay { address: *address, key_file: file.clone() });
    Ok(Settings {
        listen: serve.listen,
        also: (!serve.also.is_empty()).then(|| serve.also.clone()),
        relays: (!serve.relay.is_empty()).then(|| relays.collect()),
        key_file: serve.key_file.clone(),
        ..Settings::default()
    })
}

fn offered(relay: &OtherRelay) -> Result<RelayInfo, Failure> {
    let key = key(None, Some(relay.key_file.clone()))?;
    Ok(RelayInfo { addr: relay.address, id: relay_id(&key), key: RelayKey::new(key) })
}

fn advice(reach: Reach, place: &Place) -> String {
    let who = who_reaches(reach, place.port);
    format!(
        "Hand that line to your friends. One of them opens a room here with\n\n    voicechat create --server {place}\n\n\
         and the others enter with `voicechat join`, by the link that is printed there; or all of them keep the line \
         as `server` in the configuration file, and the short code is enough.\n{who}\n\
         It cannot hear or read anything. Ctrl-C stops it."
    )
}
