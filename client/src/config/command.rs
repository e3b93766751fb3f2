//! `voicechat config`: what is set, from where, and how to change it.

use std::env;
use std::path::PathBuf;
use std::process::Command;

use toml::Value;
use unicode_width::UnicodeWidthStr;
use vc_core::protocol::text::harmless;

use super::{EXAMPLE, Layers, SEE, default_name, doubt, example, file, keys, reason, typed, variable};
use crate::cli::ConfigCommand;
use crate::failure::Failure;
use crate::nearest::nearest;
use crate::printer;

pub(crate) fn run(command: ConfigCommand) -> Result<(), Failure> {
    let path = file::place().ok_or_else(nowhere)?;
    match command {
        ConfigCommand::Show { key: None } => printer::say(&shown(&Layers::read()?)),
        ConfigCommand::Show { key: Some(key) } => {
            let key = known(&key)?;
            if let Some(value) = value(&Layers::read()?, key) {
                printer::say(&(bare(&value) + "\n"));
            }
        }
        ConfigCommand::Path => printer::say(&format!("{}\n", path.display())),
        ConfigCommand::Set { key, value } => {
            let key = known(&key)?;
            if key == "name" && value.trim().is_empty() {
                return Err(Failure::usage(
                    "That is no value: a name is not empty.",
                    "`voicechat config unset name` takes your user name again.",
                ));
            }
            if value.trim().is_empty() || value.contains(|c: char| c.is_control() && !"\n\t".contains(c)) {
                let what = "That is no value: it is empty, or holds what no keyboard types.";
                return Err(Failure::usage(
                    what,
                    format!("`voicechat config unset {key}` takes the default."),
                ));
            }
            let value =
                typed(key, &value).map_err(|why| Failure::usage(format!("That is no value: {why}."), SEE))?;
            let doubt = value.as_str().and_then(|value| doubt::of(key, value));
            let doubt = doubt.map(|doubt| format!(" {}", harmless(&doubt))).unwrap_or_default();
            let value = edited(value)?;
            file::change(&path, &[(vec![key], Some(value.clone()))])?;
            let place = path.display();
            printer::tell(&format!("{key} = {value} stands in {place} now.{}{doubt}\n", overruled(key)));
        }
        ConfigCommand::Unset { key } => {
            let was = file::sets(&path, &key);
            // A mistyped one stands in the way of everything.
            let key = if was { &key } else { known(&key)? };
            file::change(&path, &[(vec![key], None)])?;
            let now = if was { "no longer set" } else { "not set" };
            let (key, variable) = (harmless(key), overruled(key));
            printer::tell(&format!("{key} is {now} in {}.{variable}\n", path.display()));
        }
        ConfigCommand::Edit => {
            if !path.exists() {
                file::write(&path, EXAMPLE)?;
            }
            edit(&path)?;
            file::read(&path)?;
        }
    }
    Ok(())
}

/// Keeps these settings for later calls; tells where.
pub(crate) fn remember(settings: Vec<(Vec<&str>, toml_edit::Value)>) -> Result<PathBuf, Failure> {
    let path = file::place().ok_or_else(nowhere)?;
    let settings: Vec<_> = settings.into_iter().map(|(key, value)| (key, Some(value))).collect();
    file::change(&path, &settings)?;
    Ok(path)
}

/// What wins over the file.
fn overruled(key: &str) -> String {
    let variable = variable(key);
    match env::var_os(&variable).filter(|value| !value.is_empty()) {
        Some(_) => format!(" The variable {variable}, which wins over it, is set as well."),
        None => String::new(),
    }
}

fn nowhere() -> Failure {
    Failure::machine(
        "This machine has no place for a configuration file.",
        "Set HOME, or name a file in VOICECHAT_CONFIG.",
    )
}

/// The example with what is in force, and where it comes from: a valid file again.
fn shown(layers: &Layers) -> String {
    let mut text = String::new();
    for line in EXAMPLE.lines() {
        let key = line.strip_prefix("# ").and_then(|rest| rest.split_once(" = ")).map(|(key, _)| key);
        let key = key.filter(|key| keys().any(|known| known == *key));
        let set = key.and_then(|key| {
            let env = layers.env.get(key).map(|value| (value, variable(key)));
            let (value, from) =
                env.or_else(|| Some((layers.file.get(key)?, "the configuration file".to_owned())))?;
            Some((format!("{key} = {value}"), format!("from {from}")))
        });
        match (set, key) {
            (Some((set, from)), _) => text += &noted(&set, &from),
            (None, Some(key)) if WITHOUT_DEFAULT.contains(&key) => {
                text += &noted(line, "not set; an example");
            }
            (None, Some(_)) => text += &noted(line, "the default"),
            (None, None) => text += line,
        }
        text.push('\n');
    }
    text
}

/// What holds for `key`. `None` where nothing is set and nothing holds unless set.
fn value(layers: &Layers, key: &str) -> Option<Value> {
    let set = layers.env.get(key).or_else(|| layers.file.get(key)).cloned();
    set.or_else(|| match key {
        "name" => Some(default_name().into()),
        _ => example(key).filter(|_| !WITHOUT_DEFAULT.contains(&key)),
    })
}

/// As a script wants it.
fn bare(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// What `key` may be, where these are few words.
pub(crate) fn choices(key: &str) -> &'static [&'static str] {
    match (key, example(key)) {
        ("noise" | "echo", _) => &["auto", "on", "off"],
        ("path", _) => &["direct", "relay", "auto"],
        (_, Some(Value::Boolean(_))) => &["true", "false"],
        _ => &[],
    }
}

/// What the example says of `key`, up to the first full stop.
pub(crate) fn meaning(key: &str) -> String {
    let setting = format!("# {key} = ");
    let mut paragraphs = EXAMPLE.split("\n\n");
    let paragraph = paragraphs.find(|text| text.lines().any(|line| line.starts_with(&setting)));
    let words = paragraph.unwrap_or_default().lines().take_while(|line| !line.starts_with(&setting));
    let words = words.map(|line| line.trim_start_matches("# ")).collect::<Vec<_>>().join(" ");
    words.split(". ").next().unwrap_or_default().trim_end_matches('.').to_owned()
}

/// With the note behind it, above it where both are too wide for a terminal.
fn noted(line: &str, note: &str) -> String {
    let whole = format!("{line}  # {note}");
    if whole.width() <= WIDTH { whole } else { format!("# ({note})\n{line}") }
}

fn known(key: &str) -> Result<&'static str, Failure> {
    keys().find(|known| *known == key).ok_or_else(|| {
        Failure::usage(
            format!("There is no setting `{key}`."),
            match nearest(key, keys()) {
                Some(near) => format!("Did you mean `{near}`?"),
                None => format!("There are {}.", keys().collect::<Vec<_>>().join(", ")),
            },
        )
    })
}

fn edited(value: Value) -> Result<toml_edit::Value, Failure> {
    value.to_string().parse().map_err(Failure::defect)
}

fn edit(path: &std::path::Path) -> Result<(), Failure> {
    let named =
        ["VISUAL", "EDITOR"].iter().find_map(|name| env::var(name).ok().filter(|name| !name.is_empty()));
    let editor = named.unwrap_or_else(|| if cfg!(windows) { "notepad" } else { "vi" }.to_owned());
    // As every program does it: the variable may hold arguments, too.
    let mut words = editor.split_whitespace();
    let program = words.next().unwrap_or_default();
    let failed = |why: String| {
        Failure::machine(format!("The editor `{editor}` {why}."), "Name another one in the variable EDITOR.")
    };
    match Command::new(program).args(words).arg(path).status() {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err(failed("ended with an error".into())),
        Err(error) => Err(failed(format!("cannot be started ({})", reason(&error)))),
    }
}

/// In columns: the narrowest terminal that is common.
const WIDTH: usize = 80;
/// Of these the example shows what they may be, of the others what they are unless set.
const WITHOUT_DEFAULT: [&str; 8] =
    ["name", "server", "volumes", "address", "also", "relays", "key_file", "hook"];

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use toml::Table;

    use super::*;

    #[test]
    fn of_every_setting_it_is_said_what_it_means_and_what_it_may_be_is_taken() {
        assert_eq!(meaning("noise"), "Noise suppression: auto (when the room is noisy), on or off");
        for key in keys() {
            assert!(meaning(key).len() > 5, "{key}: {:?}", meaning(key));
            assert!(choices(key).iter().all(|choice| typed(key, choice).is_ok()), "{key}");
        }
    }

    #[test]
    fn what_is_shown_is_a_valid_file_with_the_same_meaning() {
        let layers = Layers {
            env: "name = \"Eve \\\"x\\\"\"".parse().unwrap(),
            file: "path = \"relay\"\nname = \"Ada\"".parse().unwrap(),
        };
        let text = shown(&layers);
        let table: Table = file::parse(&text).unwrap();
        assert_eq!(table["path"].as_str(), Some("relay"));
        assert_eq!(table["name"].as_str(), Some("Eve \"x\""));
        assert!(text.contains("# from VOICECHAT_NAME") && text.contains("# from the configuration file"));
        let unset = WITHOUT_DEFAULT.len() - 1;
        assert!(WITHOUT_DEFAULT.iter().all(|key| keys().any(|known| known == *key)));
        assert_eq!(text.matches("# not set").count() + text.matches("# (not set").count(), unset);
        assert!(text.lines().all(|line| line.width() <= WIDTH), "{text}");
        assert_eq!(text.matches("  # the default").count(), keys().count() - 2 - unset);
    }
}
