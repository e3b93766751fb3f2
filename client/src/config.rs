//! From what was typed to what was meant: flags over environment over file over defaults.

use std::env;
use std::fmt::Display;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use audio::{InputSpec, OutputSpec};
use clap::{Args, ValueEnum};
use etcetera::BaseStrategy;
use serde::{Deserialize, Deserializer, de};
use vc_core::io::PathPolicy;

use crate::failure::Failure;
use crate::place::{PORT, Place};

/// What flags, environment and file can each say. Every field is in client/config/example.toml.
#[derive(Args, Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    /// What your friends see [default: your user name]
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// The server to meet at, as `voicechat serve` printed it; without one, `create` runs its own
    #[arg(long, value_name = "ADDR[#KEY]")]
    #[serde(default, deserialize_with = "parsed")]
    pub(crate) server: Option<Place>,
    #[arg(help = "default, a device, wav:FILE[,loop], tone[:HZ] or silence", long, value_name = "INPUT")]
    #[serde(default, deserialize_with = "parsed")]
    pub(crate) input: Option<InputSpec>,
    /// default, a device, wav:FILE or null
    #[arg(long, value_name = "OUTPUT")]
    #[serde(default, deserialize_with = "parsed")]
    pub(crate) output: Option<OutputSpec>,
    /// Frames of 10 ms instead of 20: less delay, more packets
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL")]
    pub(crate) low_latency: Option<bool>,
    /// Force the step of the connection ladder
    #[arg(long, value_enum)]
    pub(crate) path: Option<Path>,
    /// Where `create` without a server, and `serve`, listen; each has its own flag for it.
    #[arg(skip)]
    pub(crate) listen: Option<SocketAddr>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Path {
    /// Only straight to each other
    Direct,
    /// Only through a relay: friends do not learn your address
    Relay,
    /// The best that works
    #[default]
    Auto,
}

impl Path {
    pub(crate) fn policy(self) -> PathPolicy {
        match self {
            Self::Direct => PathPolicy::Direct,
            Self::Relay => PathPolicy::Relay,
            Self::Auto => PathPolicy::Auto,
        }
    }
}

impl Settings {
    /// What environment and file add to the flags.
    pub(crate) fn completed(self) -> Result<Settings, Failure> {
        Ok(self.or(Self::from_env()?).or(Self::from_file()?))
    }

    fn or(self, other: Settings) -> Settings {
        Settings {
            name: self.name.or(other.name),
            server: self.server.or(other.server),
            input: self.input.or(other.input),
            output: self.output.or(other.output),
            low_latency: self.low_latency.or(other.low_latency),
            path: self.path.or(other.path),
            listen: self.listen.or(other.listen),
        }
    }

    fn from_env() -> Result<Settings, Failure> {
        Ok(Settings {
            name: variable("NAME")?,
            server: variable("SERVER")?,
            input: variable("INPUT")?,
            output: variable("OUTPUT")?,
            low_latency: variable("LOW_LATENCY")?,
            path: variable::<PathText>("PATH")?.map(|text| text.0),
            listen: variable("LISTEN")?,
        })
    }

    fn from_file() -> Result<Settings, Failure> {
        let named = env::var_os("VOICECHAT_CONFIG").filter(|path| !path.is_empty()).map(PathBuf::from);
        let Some(path) = named.clone().or_else(|| Some(base()?.config_dir().join("voicechat/config.toml")))
        else {
            return Ok(Settings::default());
        };
        let shown = path.display();
        match fs::read_to_string(&path) {
            Ok(text) => from_toml(&text).map_err(|(what, hint)| {
                Failure::usage(format!("The configuration file {shown} {what}."), hint)
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && named.is_none() => {
                Ok(Settings::default())
            }
            Err(error) => Err(Failure::usage(
                format!("The configuration file {shown} cannot be read ({}).", reason(&error)),
                "Make it a readable text file, or remove it.",
            )),
        }
    }
}

/// Where the keys of servers are kept. `None` on a machine without a home.
pub(crate) fn state_dir() -> Option<PathBuf> {
    match env::var_os("VOICECHAT_STATE").filter(|path| !path.is_empty()) {
        Some(path) => Some(path.into()),
        None => base().map(|base| base.state_dir().unwrap_or_else(|| base.data_dir()).join("voicechat")),
    }
}

pub(crate) fn default_name() -> String {
    let user =
        ["USER", "LOGNAME", "USERNAME"].iter().find_map(|name| env::var(name).ok()).unwrap_or_default();
    vc_core::protocol::text::name(&user)
}

/// All IPv4 addresses: every friend in the house can reach at least one of them.
pub(crate) const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), PORT);

/// The system's word for it, without the number that Rust appends.
pub(crate) fn reason(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_lowercase()
}

fn base() -> Option<impl BaseStrategy> {
    etcetera::choose_base_strategy().ok()
}

/// What is wrong with the text, and what to do.
fn from_toml(text: &str) -> Result<Settings, (String, String)> {
    let on_line = |error: &toml::de::Error| {
        let start = error.span().map_or(0, |span| span.start);
        1 + text.get(..start).map_or(0, |before| before.matches('\n').count())
    };
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        let line = on_line(&error);
        (format!("is not valid TOML on line {line}: {}", sentence(error.message())), SEE.to_owned())
    })?;
    if let Some(key) = table.keys().find(|key| !KEYS.contains(&key.as_str())) {
        let hint = match nearest(key, KEYS.iter().copied()) {
            Some(near) => format!("Did you mean `{near}`?"),
            None => format!("It knows {}.", KEYS.join(", ")),
        };
        return Err((format!("has an unknown key, `{key}`"), hint));
    }
    toml::from_str(text).map_err(|error| {
        let line = on_line(&error);
        (format!("is wrong on line {line}: {}", sentence(error.message())), SEE.to_owned())
    })
}

/// The name that was probably meant.
pub(crate) fn nearest<'a>(typed: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    names
        .map(|name| (strsim::jaro_winkler(&typed.to_lowercase(), name), name))
        .filter(|(likeness, _)| *likeness > LIKE)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

fn sentence(message: &str) -> String {
    message.trim_end_matches('.').replace('\n', ", ")
}

fn parsed<'de, D: Deserializer<'de>, T: FromStr<Err: Display>>(from: D) -> Result<Option<T>, D::Error> {
    let text = String::deserialize(from)?;
    text.parse().map(Some).map_err(de::Error::custom)
}

fn variable<T: FromStr<Err: Display>>(name: &str) -> Result<Option<T>, Failure> {
    let name = format!("VOICECHAT_{name}");
    let wrong = |why: &str| Failure::usage(format!("The environment variable {name} is wrong: {why}."), SEE);
    match env::var(&name) {
        Err(env::VarError::NotPresent) => Ok(None),
        Err(env::VarError::NotUnicode(_)) => Err(wrong("it is not text")),
        Ok(text) if text.is_empty() => Ok(None),
        Ok(text) => text.parse().map(Some).map_err(|error: T::Err| wrong(&error.to_string())),
    }
}

struct PathText(Path);

impl FromStr for PathText {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Path::from_str(text, true).map(Self).map_err(|_| "it is direct, relay or auto")
    }
}

const KEYS: [&str; 7] = ["name", "server", "input", "output", "low_latency", "path", "listen"];
const SEE: &str = "`voicechat create --help` explains each setting.";
/// Above it lie a forgotten letter, swapped ones, and a dash for an underscore; below, other words.
const LIKE: f64 = 0.75;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const EXAMPLE: &str = include_str!("../config/example.toml");

    #[test]
    fn the_example_parses_as_it_is_and_with_every_setting_switched_on() {
        assert_eq!(from_toml(EXAMPLE).unwrap(), Settings::default());
        let on: String = EXAMPLE
            .lines()
            .map(|line| match line.strip_prefix("# ") {
                Some(setting) if KEYS.iter().any(|key| setting.starts_with(&format!("{key} = "))) => setting,
                _ => line,
            })
            .fold(String::new(), |text, line| text + line + "\n");
        let settings = from_toml(&on).unwrap();
        let missing = settings.clone().or(Settings::default());
        assert_eq!(settings, missing);
        assert!(settings.name.is_some() && settings.server.is_some() && settings.input.is_some());
        assert!(settings.output.is_some() && settings.low_latency.is_some());
        assert!(settings.path.is_some() && settings.listen.is_some());
    }

    #[test]
    fn a_mistyped_key_names_the_nearest_one() {
        let wrong = |text: &str| from_toml(text).unwrap_err();
        assert_eq!(wrong("nmae = \"x\"").1, "Did you mean `name`?");
        assert_eq!(wrong("low-latency = true").1, "Did you mean `low_latency`?");
        assert_eq!(wrong("sever = \"x\"").1, "Did you mean `server`?");
        assert!(wrong("xyzzy = 1").1.starts_with("It knows name, server"));
    }

    #[test]
    fn a_wrong_value_names_its_line() {
        let wrong = |text: &str| from_toml(text).unwrap_err().0;
        assert!(
            wrong("name = \"a\"\nserver = \"a b\"\n").starts_with("is wrong on line 2: a server is written")
        );
        assert!(wrong("\n\nname = ").starts_with("is not valid TOML on line 3"));
        assert!(wrong("path = \"sideways\"").contains("line 1"));
        assert!(!wrong("name = 1").contains('\n'));
    }

    #[test]
    fn what_is_said_first_wins() {
        let flags = Settings { name: Some("flag".into()), ..Settings::default() };
        let file = from_toml("name = \"file\"\npath = \"relay\"").unwrap();
        let both = flags.or(file);
        assert_eq!((both.name.as_deref(), both.path), (Some("flag"), Some(Path::Relay)));
    }
}
