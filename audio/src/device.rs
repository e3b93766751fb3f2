//! The devices of this machine.

use std::sync::Arc;

use crate::backend::native;
use crate::error::{Direction, Error, Existing};

/// One microphone or loudspeaker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Stable from run to run; what to write in a configuration.
    pub id: String,
    /// For people.
    pub name: String,
    pub is_default: bool,
    /// Not a microphone: it hears what a loudspeaker plays.
    pub is_monitor: bool,
}

/// Everything sound can come from and go to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Devices {
    pub inputs: Vec<Device>,
    pub outputs: Vec<Device>,
}

/// As the sound system calls what is used now; `None` of what is away, of files and of nothing at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InUse {
    pub microphone: Option<Arc<str>>,
    pub loudspeaker: Option<Arc<str>>,
}

/// Asks the sound system, which takes some milliseconds and at most about a second.
pub fn devices() -> Result<Devices, Error> {
    native::devices()
}

/// The device a person means by `name`: its id, or its human name in any case.
pub(crate) fn choose<'a>(
    devices: &'a [Device],
    name: &str,
    direction: Direction,
) -> Result<&'a Device, Error> {
    let same_name = |device: &&Device| device.name.to_lowercase() == name.to_lowercase();
    devices.iter().find(|device| device.id == name).or_else(|| devices.iter().find(same_name)).ok_or_else(
        || {
            let existing =
                Existing(devices.iter().map(|device| format!("{} ({})", device.id, device.name)).collect());
            Error::NoSuchDevice { direction, name: name.to_owned(), existing }
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(id: &str, name: &str) -> Device {
        Device { id: id.into(), name: name.into(), is_default: false, is_monitor: false }
    }

    #[test]
    fn a_device_is_found_by_id_or_by_name() {
        let all = [device("alsa.1", "USB Headset"), device("alsa.2", "alsa.1")];
        assert_eq!(choose(&all, "alsa.1", Direction::Input).ok(), Some(&all[0]));
        assert_eq!(choose(&all, "usb headset", Direction::Input).ok(), Some(&all[0]));
    }

    #[test]
    fn an_absent_device_is_answered_with_those_that_exist() {
        let Err(error) = choose(&[device("alsa.1", "USB Headset")], "alsa.9", Direction::Output) else {
            panic!("there is no such device");
        };
        let text = error.to_string();
        assert!(text.contains("alsa.9") && text.contains("alsa.1 (USB Headset)"), "{text}");
        let none = choose(&[], "x", Direction::Input).err().map(|e| e.to_string()).unwrap_or_default();
        assert!(none.contains("none at all"), "{none}");
    }
}
