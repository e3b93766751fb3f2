//! What a person has set up in a call, and `/save` keeps for the next ones.

use crate::config::{Settings, Stage};
use crate::sound::Sound;
use crate::volumes::Volumes;

#[derive(Clone, Default)]
pub(crate) struct Habits {
    pub(crate) noise: Option<Stage>,
    pub(crate) echo: Option<Stage>,
    pub(crate) level: Option<bool>,
    pub(crate) gate: Option<bool>,
    pub(crate) push_to_talk: bool,
    pub(crate) volumes: Volumes,
}

impl Habits {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            noise: settings.noise,
            echo: settings.echo,
            level: settings.level,
            gate: settings.gate,
            push_to_talk: settings.push_to_talk.unwrap_or(false),
            volumes: Volumes::new(settings.volumes.clone().unwrap_or_default()),
        }
    }

    /// As the call begins, or its sound anew.
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
        if let Some(gate) = self.gate {
            sound.set_gate(gate);
        }
        sound.set_push_to_talk(self.push_to_talk);
        for (friend, percent) in self.volumes.used() {
            sound.set_volume(friend, percent);
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
        set("gate", self.gate.map(Into::into));
        set("push_to_talk", Some(self.push_to_talk.into()));
        let volumes = self.volumes.kept();
        settings.extend(volumes.map(|(name, percent)| (vec!["volumes", name], i64::from(percent).into())));
        settings
    }
}
