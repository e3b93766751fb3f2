//! `voicechat serve`: a server for friends, until it is told to stop.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use relay::key_file::relay_id;
use signaling::RelayInfo;
use tokio::time::Instant;
use vc_core::crypto::ticket::RelayKey;
use vc_core::room::code::base32;

use crate::cli::Serve;
use crate::config::{Settings, state_dir};
use crate::failure::{Failure, Kind};
use crate::host::{Door, Host, key};
use crate::note::{Note, Reach};
use crate::place::Place;
use crate::plan::who_reaches;
use crate::stop::{Stop, at};
use crate::ui::Ui;

pub(crate) async fn run(serve: Serve, ui: &mut Ui) -> Result<(), Failure> {
    let listen = match serve.listen {
        Some(listen) => listen,
        None => Settings::default().completed()?.listen.unwrap_or_else(relay::program::usual),
    };
    let end = serve.seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds.into()));
    let mut stop = Stop::new()?;
    let secret = key(state_dir().as_deref(), serve.key_file)?;
    let relays = other_relays(&serve.relay, &serve.relay_key_file)?;
    let door = Door::open(listen)?.and_at(&serve.also)?;
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

fn other_relays(addresses: &[SocketAddr], files: &[PathBuf]) -> Result<Vec<RelayInfo>, Failure> {
    if addresses.len() != files.len() {
        return Err(Failure::usage(
            "Not every --relay has its --relay-key-file.",
            "Give both for each relay, in the same order.",
        ));
    }
    let relay = |(addr, file): (&SocketAddr, &PathBuf)| {
        let key = key(None, Some(file.clone()))?;
        Ok(RelayInfo { addr: *addr, id: relay_id(&key), key: RelayKey::new(key) })
    };
    addresses.iter().zip(files).map(relay).collect()
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
