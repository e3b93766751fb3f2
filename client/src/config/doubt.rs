//! A setting that may be meant, but fits nothing that is there now: kept, and told.

use std::net::ToSocketAddrs;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use audio::{Device, InputSpec, OutputSpec};

use crate::place::Place;

/// A sentence to add to what is told of the new setting.
pub(super) fn of(key: &str, value: &str) -> Option<String> {
    match key {
        "input" => match value.parse() {
            Ok(InputSpec::Device(name)) => device("microphone", &name, |devices| &devices.inputs),
            Ok(InputSpec::Wav { path, .. }) if !path.is_file() => {
                Some(format!("There is no such file now: {}.", path.display()))
            }
            _ => None,
        },
        "output" => match value.parse() {
            Ok(OutputSpec::Device(name)) => device("loudspeaker", &name, |devices| &devices.outputs),
            _ => None,
        },
        "server" => host(&value.parse().ok()?),
        _ => None,
    }
}

fn device(what: &str, name: &str, list: impl Fn(&audio::Devices) -> &Vec<Device>) -> Option<String> {
    // As a call finds it.
    let is = |device: &Device| device.id == name || device.name.to_lowercase() == name.to_lowercase();
    match audio::devices() {
        Ok(devices) if list(&devices).iter().any(is) => None,
        Ok(_) => Some(format!("No {what} of that name is there now; `voicechat devices` lists what is.")),
        Err(_) => Some(format!(
            "Whether there is a {what} of that name cannot be told now: no sound server answers."
        )),
    }
}

fn host(place: &Place) -> Option<String> {
    let (to, found) = channel();
    let wanted = (place.host.clone(), place.port);
    // Nobody waits for a name server that is slow; the thread ends with the program.
    thread::spawn(move || {
        let _ = to.send(wanted.to_socket_addrs().is_ok_and(|mut all| all.next().is_some()));
    });
    match found.recv_timeout(PATIENCE) {
        Ok(true) => None,
        Ok(false) | Err(_) => Some(format!(
            "No machine called {} is found now; see that it is written right, or take its IP address.",
            place.host
        )),
    }
}

/// A name server that is well answers in a tenth of it.
const PATIENCE: Duration = Duration::from_secs(2);
