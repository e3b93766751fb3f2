//! The list of `voicechat devices` and `/devices`.

use audio::{Error, InUse};

use crate::failure::Failure;
use crate::note::{self, Note};
use crate::printer;
use crate::sound;
use crate::ui;
use crate::words::Words;

/// What this machine has, with what a call uses. Asking a sound server takes time.
pub(crate) fn devices(in_use: &InUse) -> Result<Note, Error> {
    let devices = audio::devices()?;
    let notes = |list: &[audio::Device], used: Option<&str>| {
        list.iter().map(|device| note::Device::new(device, used == Some(&device.id))).collect()
    };
    Ok(Note::Devices {
        inputs: notes(&devices.inputs, in_use.microphone.as_deref()),
        outputs: notes(&devices.outputs, in_use.loudspeaker.as_deref()),
    })
}

/// `voicechat devices`.
pub(crate) fn list(json: bool) -> Result<(), Failure> {
    let note = devices(&InUse::default()).map_err(sound::failure)?;
    match Words::of(&note) {
        Some(words) if !json => printer::tell(&words.text()),
        _ => printer::say(&ui::json(&note)),
    }
    Ok(())
}
