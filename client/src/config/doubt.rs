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
    let wanted = (place.host.clone(), place.port);
    named(&place.host, PATIENCE, move || wanted.to_socket_addrs().is_ok_and(|mut all| all.next().is_some()))
}

/// Where `is_found` does not find whom it names, or does not tell in time.
fn named(name: &str, patience: Duration, is_found: impl FnOnce() -> bool + Send + 'static) -> Option<String> {
    let (to, found) = channel();
    // Nobody waits for a name server that is slow; the thread ends with the program.
    thread::spawn(move || {
        let _ = to.send(is_found());
    });
    match found.recv_timeout(patience) {
        Ok(true) => None,
        Ok(false) => Some(format!(
            "No machine called {name} is found now; see that it is written right, or take its IP address."
        )),
        Err(_) => Some(format!(
            "Whether there is a machine called {name} cannot be told now: no name server answers."
        )),
    }
}

/// A name server that is well answers in a tenth of it.
const PATIENCE: Duration = Duration::from_secs(2);

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_nobody_told_of_in_time_is_not_called_wrong() {
        let ever = Duration::from_secs(600);
        assert_eq!(named("play", ever, || true), None);
        let unknown = named("play", ever, || false).unwrap();
        assert!(unknown.starts_with("No machine called play is found now;"), "{unknown}");
        let (_held, answer) = channel();
        let late = named("play", Duration::ZERO, move || answer.recv().unwrap_or_default()).unwrap();
        assert!(late.contains("cannot be told now") && !late.contains("written right"), "{late}");
    }
}
