//! `voicechat serve`: a server for friends, until it is told to stop.

use std::time::Duration;

use tokio::time::Instant;
use vc_core::room::code::base32;

use crate::cli::Serve;
use crate::config::{LISTEN, Settings, state_dir};
use crate::failure::{Failure, Kind};
use crate::host::{Door, Host, key};
use crate::note::{Note, Reach};
use crate::place::Place;
use crate::stop::{Stop, at};
use crate::ui::Ui;

pub(crate) async fn run(serve: Serve, ui: &mut Ui) -> Result<(), Failure> {
    let listen = match serve.listen {
        Some(listen) => listen,
        None => Settings::default().completed()?.listen.unwrap_or(LISTEN),
    };
    let end = serve.seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds.into()));
    let mut stop = Stop::new()?;
    let secret = key(state_dir().as_deref(), serve.key_file)?;
    let mut host = Host::start(Door::open(listen).await?, &secret)?;
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

fn advice(reach: Reach, place: &Place) -> String {
    let port = place.port;
    let who = match reach {
        Reach::Loopback => "Only programs on this machine reach it".to_owned(),
        Reach::Lan => format!(
            "Friends in the same network reach it; for others forward port {port}, TCP and UDP, to this machine and \
             hand out your public address instead"
        ),
        Reach::Public | Reach::Server => {
            format!("Friends anywhere reach it if the firewall lets TCP and UDP port {port} through")
        }
    };
    format!(
        "Hand that line to your friends. One of them opens a room here with\n\n    voicechat create --server {place}\n\n\
         and the others enter with `voicechat join`, by the link that is printed there; or all of them keep the line \
         as `server` in the configuration file, and the short code is enough.\n{who}.\n\
         It cannot hear or read anything. Ctrl-C stops it."
    )
}
