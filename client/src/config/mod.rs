//! From what was typed to what was meant: flags over environment over file over defaults.

mod command;
mod doubt;
mod file;

use std::collections::BTreeMap;
use std::env;
use std::fmt::Display;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use audio::{InputSpec, OutputSpec};
use clap::{Args, ValueEnum};
use etcetera::BaseStrategy;
use serde::{Deserialize, Deserializer, de};
use toml::{Table, Value};
use vc_core::io::PathPolicy;

pub(crate) use relay::program::reason;

pub(crate) use self::command::{choices, meaning, remember, run};
use crate::failure::Failure;
use crate::place::Place;
use crate::volumes::LOUDEST;

/// What flags, environment and file can each say. Every field is in client/config/example.toml.
#[derive(Args, Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    /// What your friends see [default: your user name]
    #[arg(long, value_name = "NAME", value_parser = called)]
    #[serde(default, deserialize_with = "name")]
    pub(crate) name: Option<String>,
    /// The server to meet at, as `voicechat serve` printed it; without one, `create` runs its own
    #[arg(long, value_name = "ADDR[#KEY]")]
    #[serde(default, deserialize_with = "parsed")]
    pub(crate) server: Option<Place>,
    #[arg(long, value_name = "INPUT", help_heading = SOUND, help = MICROPHONE)]
    #[serde(default, deserialize_with = "parsed")]
    pub(crate) input: Option<InputSpec>,
    /// Loudspeaker: default, a name from `voicechat devices`, wav:FILE or null
    #[arg(long, value_name = "OUTPUT", help_heading = SOUND)]
    #[serde(default, deserialize_with = "parsed")]
    pub(crate) output: Option<OutputSpec>,
    /// Frames of 10 ms instead of 20: less delay, more packets
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "true|false", hide_possible_values = true, help_heading = SOUND)]
    pub(crate) low_latency: Option<bool>,
    /// Friends never learn your address: all goes through a relay, with more delay, and not at all without one
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "true|false", hide_possible_values = true, help_heading = NETWORK)]
    pub(crate) relay_only: Option<bool>,
    /// Never carry sealed packets for friends who cannot reach each other
    #[arg(long = "no-forward", num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "true|false", value_parser = denied, help_heading = NETWORK)]
    pub(crate) forward: Option<bool>,
    /// For tests: direct (only straight to each other), relay (only through a relay) or auto (the best that works)
    #[arg(long, value_enum, hide_possible_values = true, help_heading = NETWORK)]
    pub(crate) path: Option<Path>,
    /// Never ask the router to open a port
    #[arg(long = "no-port-mapping", num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "true|false", value_parser = denied, help_heading = NETWORK)]
    pub(crate) port_mapping: Option<bool>,
    /// Where `host`, `create` without a server, and `serve` listen; each has its own flag for it, as for what follows.
    #[arg(skip)]
    pub(crate) listen: Option<SocketAddr>,
    #[arg(skip)]
    #[serde(default, deserialize_with = "dialled")]
    pub(crate) address: Option<Place>,
    #[arg(skip)]
    pub(crate) also: Option<Vec<u16>>,
    #[arg(skip)]
    pub(crate) relays: Option<Vec<OtherRelay>>,
    #[arg(skip)]
    pub(crate) key_file: Option<PathBuf>,
    #[arg(skip)]
    pub(crate) plain: Option<bool>,
    #[arg(skip)]
    pub(crate) muted: Option<bool>,
    /// Noise suppression: auto (when the room is noisy), on or off
    #[arg(long, value_enum, hide_possible_values = true, help_heading = SOUND)]
    pub(crate) noise: Option<Stage>,
    /// Echo cancellation: auto (when the microphone hears the loudspeaker), on or off
    #[arg(long, value_enum, hide_possible_values = true, help_heading = SOUND)]
    pub(crate) echo: Option<Stage>,
    /// Never even out how loud you are
    #[arg(long = "no-level", num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "true|false", value_parser = denied, help_heading = SOUND)]
    pub(crate) level: Option<bool>,
    /// Send all that the microphone gives, not only speech
    #[arg(long = "no-gate", num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "true|false", value_parser = denied, help_heading = SOUND)]
    pub(crate) gate: Option<bool>,
    /// Be heard only while the talk key is down
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "true|false", hide_possible_values = true, help_heading = SOUND)]
    pub(crate) push_to_talk: Option<bool>,
    /// By name, in percent.
    #[arg(skip)]
    #[serde(default, deserialize_with = "percents")]
    pub(crate) volumes: Option<BTreeMap<String, u16>>,
    /// No sounds when friends come and go
    #[arg(long = "no-sounds", num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "true|false", value_parser = denied, help_heading = NOTICES)]
    pub(crate) sounds: Option<bool>,
    /// The terminal's bell when friends come or write
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "true|false", hide_possible_values = true, help_heading = NOTICES)]
    pub(crate) bell: Option<bool>,
    /// A notification of the desktop when friends come or write
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "true|false", hide_possible_values = true, help_heading = NOTICES)]
    pub(crate) notify: Option<bool>,
    /// A command to run when something happens, with the event as a line of JSON on stdin
    #[arg(long, value_name = "COMMAND", help_heading = NOTICES)]
    pub(crate) hook: Option<String>,
}

/// Sections of the help.
const SOUND: &str = "Sound";
pub(crate) const NETWORK: &str = "Network";
const NOTICES: &str = "Notices";
const MICROPHONE: &str =
    "Microphone: default, a name from `voicechat devices`, wav:FILE[,loop], tone[:HZ] or silence";

/// A `voicechat-relay` that our own server offers as well.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub(crate) struct OtherRelay {
    pub(crate) address: SocketAddr,
    pub(crate) key_file: PathBuf,
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

/// When a stage of the capture chain works.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Stage {
    /// When it is needed
    #[default]
    Auto,
    On,
    Off,
}

impl Stage {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::On => "on",
            Self::Off => "off",
        }
    }
}

impl From<Stage> for audio::Switch {
    fn from(stage: Stage) -> Self {
        match stage {
            Stage::Auto => Self::Auto,
            Stage::On => Self::On,
            Stage::Off => Self::Off,
        }
    }
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
    pub(crate) fn policy(&self) -> PathPolicy {
        match self.relay_only {
            Some(true) => PathPolicy::Relay,
            Some(false) | None => self.path.unwrap_or_default().policy(),
        }
    }

    /// What environment and file add to the flags.
    pub(crate) fn completed(self) -> Result<Settings, Failure> {
        Ok(self.or(Layers::read()?.settings()?))
    }

    fn or(self, other: Settings) -> Settings {
        // Two words for one thing: whoever says either is not overruled by the other from further below.
        let (relay_only, path) = match (self.relay_only, self.path) {
            (None, None) => (other.relay_only, other.path),
            (Some(false), None) => (Some(false), other.path.filter(|path| *path != Path::Relay)),
            said => said,
        };
        Settings {
            name: self.name.or(other.name),
            server: self.server.or(other.server),
            input: self.input.or(other.input),
            output: self.output.or(other.output),
            low_latency: self.low_latency.or(other.low_latency),
            relay_only,
            forward: self.forward.or(other.forward),
            path,
            port_mapping: self.port_mapping.or(other.port_mapping),
            listen: self.listen.or(other.listen),
            address: self.address.or(other.address),
            also: self.also.or(other.also),
            relays: self.relays.or(other.relays),
            key_file: self.key_file.or(other.key_file),
            plain: self.plain.or(other.plain),
            muted: self.muted.or(other.muted),
            noise: self.noise.or(other.noise),
            echo: self.echo.or(other.echo),
            level: self.level.or(other.level),
            gate: self.gate.or(other.gate),
            push_to_talk: self.push_to_talk.or(other.push_to_talk),
            volumes: self.volumes.or(other.volumes),
            sounds: self.sounds.or(other.sounds),
            bell: self.bell.or(other.bell),
            notify: self.notify.or(other.notify),
            hook: self.hook.or(other.hook),
        }
    }
}

/// What is set outside the command line, each part known to be right.
struct Layers {
    env: Table,
    file: Table,
}

impl Layers {
    fn read() -> Result<Self, Failure> {
        let file = match file::place() {
            Some(path) => file::read(&path)?,
            None => Table::new(),
        };
        Ok(Self { env: environment()?, file })
    }

    fn settings(&self) -> Result<Settings, Failure> {
        let read = |table: &Table| Settings::deserialize(table.clone()).map_err(Failure::defect);
        Ok(read(&self.env)?.or(read(&self.file)?))
    }
}

fn environment() -> Result<Table, Failure> {
    let mut table = Table::new();
    for key in keys() {
        let name = variable(key);
        let wrong =
            |why: &str| Failure::usage(format!("The environment variable {name} is wrong: {why}."), SEE);
        match env::var(&name) {
            Err(env::VarError::NotPresent) => {}
            Err(env::VarError::NotUnicode(_)) => return Err(wrong("it is not text")),
            // As good as unset.
            Ok(text) if text.is_empty() => {}
            Ok(text) => {
                let misfit = |why: String| Failure { hint: mend_variable(&name), ..wrong(&why) };
                table.insert(key.to_owned(), typed(key, &text).map_err(misfit)?);
            }
        }
    }
    Ok(table)
}

/// Of the environment, for the same.
pub(crate) fn variable(key: &str) -> String {
    format!("VOICECHAT_{}", key.to_uppercase())
}

/// The value that `text` means for `key`: the text itself where text is wanted, else what TOML makes of it.
fn typed(key: &str, text: &str) -> Result<Value, String> {
    let check = |value: Value| {
        let table = Table::from_iter([(key.to_owned(), value.clone())]);
        match Settings::deserialize(table) {
            Ok(_) => Ok(value),
            Err(error) => Err(misfit(key, Some(&value), error.message())),
        }
    };
    let literal = format!("{key} = {text}").parse::<Table>().ok().and_then(|mut table| table.remove(key));
    match (check(Value::String(text.to_owned())), literal) {
        (Ok(value), _) => Ok(value),
        // What is text needs no quotes here, so what it says is what is wrong.
        (Err(why), Some(literal)) if !literal.is_str() && example(key).is_some_and(|like| like.is_str()) => {
            Err(why)
        }
        // As in the file, its text in quotes.
        (Err(_), Some(literal)) => check(literal),
        (Err(why), _) => Err(why),
    }
}

/// Every key that there is, in the order of the example, which explains them.
pub(crate) fn keys() -> impl Iterator<Item = &'static str> {
    EXAMPLE
        .lines()
        .filter_map(|line| line.strip_prefix("# ")?.split_once(" = "))
        .map(|(key, _)| key)
        .filter(|key| key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'))
}

/// Where the keys of servers are kept. `None` on a machine without a home.
pub(crate) fn state_dir() -> Option<PathBuf> {
    match env::var_os("VOICECHAT_STATE").filter(|path| !path.is_empty()) {
        Some(path) => Some(path.into()),
        None => base().map(|base| base.state_dir().unwrap_or_else(|| base.data_dir()).join("voicechat")),
    }
}

/// Where the sockets of running calls are. `None` on a machine without a home.
pub(crate) fn runtime_dir() -> Option<PathBuf> {
    match base().and_then(|base| base.runtime_dir()) {
        Some(dir) => Some(dir.join("voicechat")),
        None => Some(state_dir()?.join("calls")),
    }
}

pub(crate) fn default_name() -> String {
    let user = ["USER", "LOGNAME", "USERNAME"].iter().find_map(|name| env::var(name).ok());
    vc_core::protocol::text::name(&user.or_else(account).unwrap_or_default())
}

/// The name of this account, where no variable tells it: in containers and services.
#[cfg(unix)]
fn account() -> Option<String> {
    let id = rustix::process::getuid().as_raw().to_string();
    let accounts = std::fs::read_to_string("/etc/passwd").ok()?;
    accounts.lines().map(|line| line.split(':').collect::<Vec<_>>()).find_map(|fields| match fields[..] {
        [name, _, uid, ..] if uid == id => Some(name.to_owned()),
        _ => None,
    })
}

#[cfg(not(unix))]
fn account() -> Option<String> {
    None
}

fn base() -> Option<impl BaseStrategy> {
    etcetera::choose_base_strategy().ok()
}

/// Why this is no value for the key, in words.
fn misfit(key: &str, value: Option<&Value>, why: &str) -> String {
    // These say themselves how they are written.
    if matches!(key, "server" | "address") && value.is_some_and(Value::is_str) {
        return sentence(why);
    }
    let example = example(key);
    let is_like = |value: &Value| example.as_ref().is_some_and(|like| like.same_type(value));
    let takes = match (key, &example) {
        // What it is made of is right, what it says is not.
        (_, Some(like)) if value.is_some_and(is_like) && content(key).is_some() => {
            format!("{}, such as {like}", content(key).unwrap_or_default())
        }
        ("noise" | "echo", _) => "\"auto\", \"on\" or \"off\"".to_owned(),
        ("path", _) => "\"direct\", \"relay\" or \"auto\"".to_owned(),
        (_, Some(Value::Boolean(_))) => "true or false".to_owned(),
        (_, Some(like @ Value::String(_))) => format!("text in quotes, such as {like}"),
        (_, Some(like @ Value::Array(_))) => format!("a list, such as {like}"),
        (_, Some(like)) => format!("a value such as {like}"),
        (_, None) => "another value".to_owned(),
    };
    match value.filter(|value| !value.is_table() && !value.is_array()) {
        Some(value) => format!("`{key}` takes {takes}, not {value}"),
        None => format!("`{key}` takes {takes}"),
    }
}

/// What text, lists and tables must say, where not all of them are taken.
fn content(key: &str) -> Option<String> {
    match key {
        "name" => Some("text that is not blank".to_owned()),
        "listen" => Some("an IP address and a port up to 65535".to_owned()),
        "also" => Some("a list of ports up to 65535".to_owned()),
        "relays" => Some(
            "a list of relays, each with `address`, an IP address and a port up to 65535, and `key_file`"
                .to_owned(),
        ),
        "volumes" => Some(format!("whole numbers of percent up to {LOUDEST} by name")),
        _ => None,
    }
}

/// What sets the key right in the file.
fn mend(key: &str) -> String {
    let plain = |text: &String| text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let example = match example(key) {
        Some(Value::Boolean(example)) => Some(example.to_string()),
        Some(Value::String(example)) => Some(example).filter(plain),
        _ => None,
    };
    let unset = format!("`voicechat config unset {key}` takes it out");
    match example {
        Some(example) => format!("`voicechat config set {key} {example}` mends it, {unset}."),
        None => format!("{}.", unset),
    }
}

fn mend_variable(name: &str) -> String {
    format!("Set {name} so, or leave it unset; {SEE}")
}

/// What stands for the key in the example.
fn example(key: &str) -> Option<Value> {
    let line = EXAMPLE.lines().find_map(|line| line.strip_prefix(&format!("# {key} = ")))?;
    format!("it = {line}").parse::<Table>().ok()?.remove("it")
}

fn sentence(message: &str) -> String {
    message.trim_end_matches('.').replace('\n', ", ")
}

fn parsed<'de, D: Deserializer<'de>, T: FromStr<Err: Display>>(from: D) -> Result<Option<T>, D::Error> {
    let text = String::deserialize(from)?;
    text.parse().map(Some).map_err(de::Error::custom)
}

fn dialled<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Place>, D::Error> {
    Place::dialled(&String::deserialize(from)?).map(Some).map_err(de::Error::custom)
}

fn name<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    called(&String::deserialize(from)?).map(Some).map_err(de::Error::custom)
}

/// A name is whatever others can read.
fn called(text: &str) -> Result<String, &'static str> {
    if text.trim().is_empty() {
        return Err("it takes a name that is not blank; leave it out to be called by your user name");
    }
    Ok(text.to_owned())
}

/// What `--no-X` says of X.
fn denied(said: &str) -> Result<bool, std::str::ParseBoolError> {
    said.parse().map(|denied: bool| !denied)
}

fn percents<'de, D: Deserializer<'de>>(from: D) -> Result<Option<BTreeMap<String, u16>>, D::Error> {
    let volumes = BTreeMap::<String, u16>::deserialize(from)?;
    match volumes.values().all(|percent| *percent <= LOUDEST) {
        true => Ok(Some(volumes)),
        false => Err(de::Error::custom("louder than friends are played")),
    }
}

/// One truth for people and program: a test switches every line of it on.
const EXAMPLE: &str = include_str!("../../config/example.toml");
const SEE: &str = "`voicechat config show` explains each setting.";

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_example_parses_as_it_is_and_with_every_setting_switched_on() {
        assert_eq!(file::parse(EXAMPLE).unwrap(), Table::new());
        let on: String = EXAMPLE
            .lines()
            .map(|line| match line.strip_prefix("# ") {
                Some(setting) if keys().any(|key| setting.starts_with(&format!("{key} = "))) => setting,
                _ => line,
            })
            .fold(String::new(), |text, line| text + line + "\n");
        let table = file::parse(&on).unwrap();
        assert_eq!(table.len(), keys().count());
        let settings = Settings::deserialize(table).unwrap();
        assert_eq!(settings, settings.clone().or(Settings::default()));
        assert!(!format!("{settings:?}").replace("key: None", "").contains("None"), "{settings:?}");
    }

    #[test]
    fn every_field_is_a_key_of_the_example() {
        let error = Settings::deserialize("xyzzy = 1".parse::<Table>().unwrap()).unwrap_err();
        for key in keys() {
            assert!(error.message().contains(&format!("`{key}`")), "{key}");
        }
        assert_eq!(error.message().matches("`").count() / 2 - 1, keys().count(), "{}", error.message());
    }

    #[test]
    fn text_is_taken_as_the_key_wants_it() {
        assert_eq!(typed("name", "true"), Ok(Value::String("true".into())));
        assert_eq!(typed("low_latency", "true"), Ok(Value::Boolean(true)));
        assert_eq!(
            typed("low_latency", "perhaps").unwrap_err(),
            "`low_latency` takes true or false, not \"perhaps\""
        );
        assert_eq!(typed("noise", "\"on\""), Ok(Value::String("on".into())));
        for port in ["5", "47700"] {
            let said = typed("listen", port).unwrap_err();
            assert!(said.contains("an IP address and a port") && !said.contains("quotes"), "{said}");
        }
        assert!(typed("listen", "[::]:47700").is_ok() && typed("listen", "\"[::]:47700\"").is_ok());
        assert!(typed("path", "sideways").unwrap_err().contains("\"relay\""));
        assert_eq!(typed("also", "443").unwrap_err(), "`also` takes a list, such as [443], not 443");
        assert!(typed("server", "a b").unwrap_err().contains("HOST:PORT"));
    }

    #[test]
    fn what_a_key_takes_is_said_without_the_words_of_programmers() {
        for key in keys() {
            // A number alone fits nowhere.
            let seven = format!("{key} = 7").parse::<Table>().unwrap();
            let error = Settings::deserialize(seven.clone()).unwrap_err();
            let said = misfit(key, seven.get(key), error.message());
            assert!(said.starts_with(&format!("`{key}` takes ")) && said.ends_with(", not 7"), "{said}");
            for word in ["boolean", "string", "expected", "invalid", "variant", "sequence", " map", "struct"]
            {
                assert!(!said.contains(word), "{said}");
            }
            assert!(mend(key).contains(&format!("config unset {key}`")));
        }
        assert!(mend("muted").starts_with("`voicechat config set muted false` mends it"));
    }

    #[test]
    fn of_a_value_of_the_right_kind_it_is_said_what_is_wrong_in_it() {
        let number = "up to 65535";
        for (wrong, says) in [
            ("listen = \"nonsense\"", &["an IP address and a port", "not \"nonsense\""][..]),
            ("listen = \"127.0.0.1:70000\"", &[number]),
            ("also = [70000]", &["a list of ports", number, "such as [443]"]),
            ("relays = [\"x\"]", &["each with `address`", number, "`key_file`"]),
            ("relays = [{ address = \"x\", key_file = \"k\" }]", &["each with `address`"]),
            ("volumes = { Bob = 70000 }", &["percent up to 400", "by name"]),
            ("volumes = { Bob = 401 }", &["percent up to 400", "by name"]),
            ("server = \"a b\"", &["HOST:PORT"]),
            ("address = \"a b\"", &["HOST:PORT"]),
            ("address = \"nope\"", &["HOST:PORT"]),
            ("server = \"nope:70000\"", &["from 1 to 65535"]),
            ("name = \" \"", &["text that is not blank, such as \"Ada\""]),
            ("noise = \"loud\"", &["\"auto\", \"on\" or \"off\", not \"loud\""]),
            ("echo = \"loud\"", &["\"auto\", \"on\" or \"off\", not \"loud\""]),
            ("path = \"long\"", &["\"direct\", \"relay\" or \"auto\", not \"long\""]),
        ] {
            let (what, _) = file::parse(wrong).unwrap_err();
            assert!(says.iter().all(|part| what.contains(part)), "{what}");
            assert!(!what.contains("text in quotes") && !what.contains("a list, such"), "{what}");
        }
        assert!(file::parse("volumes = { Bob = 400 }").is_ok());
    }

    #[test]
    fn every_key_but_the_volumes_of_friends_has_a_flag() {
        use clap::CommandFactory;
        let command = crate::cli::Cli::command();
        let commands = ["create", "host", "serve"].map(|name| command.find_subcommand(name).unwrap());
        let flags: Vec<&str> = commands
            .iter()
            .flat_map(|command| command.get_arguments())
            .filter_map(|arg| arg.get_long())
            .collect();
        for key in keys().filter(|key| *key != "volumes") {
            let flag = key.replace('_', "-");
            let forms = [flag.clone(), format!("no-{flag}"), flag.trim_end_matches('s').to_owned()];
            assert!(forms.iter().any(|form| flags.contains(&form.as_str())), "{key}");
        }
    }

    #[test]
    fn what_is_said_first_wins() {
        let flags = Settings { name: Some("flag".into()), ..Settings::default() };
        let layers = Layers {
            env: "path = \"relay\"\nname = \"env\"".parse().unwrap(),
            file: "path = \"direct\"\nlow_latency = true".parse().unwrap(),
        };
        let all = flags.or(layers.settings().unwrap());
        assert_eq!((all.name.as_deref(), all.path), (Some("flag"), Some(Path::Relay)));
        assert_eq!(all.low_latency, Some(true));
    }

    #[test]
    fn by_which_way_is_decided_by_whoever_says_it_first_in_either_word() {
        let policy = |flags: Settings, env: &str, file: &str| {
            let layers = Layers { env: env.parse().unwrap(), file: file.parse().unwrap() };
            flags.or(layers.settings().unwrap()).policy()
        };
        let (none, hidden) = (Settings::default, "relay_only = true");
        let by = |path| Settings { path: Some(path), ..Settings::default() };
        assert_eq!(policy(none(), "", hidden), PathPolicy::Relay);
        assert_eq!(policy(by(Path::Direct), "", hidden), PathPolicy::Direct);
        assert_eq!(policy(by(Path::Auto), hidden, hidden), PathPolicy::Auto);
        assert_eq!(policy(none(), "path = \"direct\"", hidden), PathPolicy::Direct);
        assert_eq!(policy(none(), "relay_only = false", "path = \"relay\""), PathPolicy::Auto);
        assert_eq!(policy(none(), "relay_only = false", "path = \"direct\""), PathPolicy::Direct);
        let flag = Settings { relay_only: Some(true), ..Settings::default() };
        assert_eq!(policy(flag, "path = \"direct\"", "path = \"auto\""), PathPolicy::Relay);
        assert_eq!(policy(none(), "", "relay_only = true\npath = \"direct\""), PathPolicy::Relay);
    }
}
