//! What a person has set up in a call, and `/save` keeps for the next ones.

use std::collections::BTreeMap;

use vc_core::protocol::member::MemberId;

use crate::config::{Settings, Stage};
use crate::sound::Sound;

#[derive(Clone, Default)]
pub(crate) struct Habits {
    pub(crate) noise: Option<Stage>,
    pub(crate) echo: Option<Stage>,
    pub(crate) level: Option<bool>,
    pub(crate) push_to_talk: bool,
    /// By name: ids are of one room only.
    pub(crate) volumes: BTreeMap<String, u16>,
}

impl Habits {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            noise: settings.noise,
            echo: settings.echo,
            level: settings.level,
            push_to_talk: settings.push_to_talk.unwrap_or(false),
            volumes: settings.volumes.clone().unwrap_or_default(),
        }
    }

    /// As the call begins.
    pub(crate) fn apply(&self, sound: &Sound) {
        if let Some(noise) = self.noise {
            sound.set_noise(noise.into());
        }
        if let Some(echo) = self.echo {
            sound.set_echo(echo.into());
        }
        if let Some(level) = self.level {
            sound.set_level(level);
        }
        sound.set_push_to_talk(self.push_to_talk);
    }

    /// A friend of this name is here.
    pub(crate) fn met(&self, id: MemberId, name: &str, sound: &Sound) {
        if let Some(percent) = self.volumes.get(name) {
            sound.set_volume(id, *percent);
        }
    }

    /// As keys of the configuration file.
    pub(crate) fn settings(&self) -> Vec<(Vec<&str>, toml_edit::Value)> {
        let mut settings: Vec<(Vec<&str>, toml_edit::Value)> = Vec::new();
        let mut set = |key: &'static str, value: Option<toml_edit::Value>| {
            settings.extend(value.map(|value| (vec![key], value)));
        };
        set("noise", self.noise.map(|noise| noise.word().into()));
        set("echo", self.echo.map(|echo| echo.word().into()));
        set("level", self.level.map(Into::into));
        set("push_to_talk", Some(self.push_to_talk.into()));
        let volumes = self.volumes.iter();
        settings.extend(volumes.map(|(name, percent)| (vec!["volumes", name], i64::from(*percent).into())));
        settings
    }
}
