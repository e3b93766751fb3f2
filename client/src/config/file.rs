//! The one configuration file: found, read within bounds, checked with the line of what is wrong, changed in place.

use std::env;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use etcetera::BaseStrategy;
use serde::Deserialize;
use toml::Table;
use toml_edit::DocumentMut;

use super::{EXAMPLE, Settings, base, keys, mend, misfit, reason, state_dir};
use crate::failure::Failure;
use crate::nearest::nearest;

/// Where the file is or would be. `None` on a machine without a home.
pub(super) fn place() -> Option<PathBuf> {
    named().or_else(|| Some(base()?.config_dir().join("voicechat/config.toml")))
}

fn named() -> Option<PathBuf> {
    env::var_os("VOICECHAT_CONFIG").filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// What it sets. Nothing when there is no file where one is looked for unasked.
pub(super) fn read(path: &Path) -> Result<Table, Failure> {
    match text(path) {
        Ok(text) => checked(path, &text),
        Err(error) if error.kind() == io::ErrorKind::NotFound && named().is_none() => Ok(Table::new()),
        Err(error) => Err(unreadable(path, &error)),
    }
}

/// Whether it sets the key, if only to what it cannot be.
pub(super) fn sets(path: &Path, key: &str) -> bool {
    let table = text(path).ok().and_then(|text| text.parse::<Table>().ok());
    table.is_some_and(|table| table.contains_key(key))
}

fn checked(path: &Path, text: &str) -> Result<Table, Failure> {
    parse(text).map_err(|(what, hint)| {
        Failure::usage(format!("The configuration file {} {what}.", path.display()), hint)
    })
}

/// What is wrong with the text, and what to do.
pub(super) fn parse(text: &str) -> Result<Table, (String, String)> {
    let table: Table = text.parse().map_err(|error: toml::de::Error| {
        let at = error.span().map_or(0, |span| span.start);
        let why = match keyed(text, at) {
            Some(key) if error.message().contains("duplicate") => format!("`{key}` stands there twice"),
            Some(key) => misfit(key, None, ""),
            None => UNREADABLE.to_owned(),
        };
        (format!("cannot be understood on line {}: {why}", line(text, at)), MEND.to_owned())
    })?;
    if let Some(key) = table.keys().find(|key| !keys().any(|known| known == key.as_str())) {
        let meant = match nearest(key, keys()) {
            Some(near) => format!("Did you mean `{near}`?"),
            None => format!("It knows {}.", keys().collect::<Vec<_>>().join(", ")),
        };
        let plain = key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
        let or = match plain && !key.starts_with('-') {
            true => format!(", `voicechat config unset {key}` takes it out"),
            false => String::new(),
        };
        let hint = format!("{meant} `voicechat config edit` opens the file{or}.");
        let at = toml_edit::Document::parse(text)
            .ok()
            .and_then(|document| Some(document.as_table().get_key_value(key)?.0.span()?.start));
        return Err((format!("has an unknown key on line {}, `{key}`", line(text, at.unwrap_or(0))), hint));
    }
    toml::from_str::<Settings>(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        let line = line(text, at);
        match keyed(text, at).or_else(|| wrong(&table)) {
            Some(key) => (
                format!("is wrong on line {line}: {}", misfit(key, table.get(key), error.message())),
                mend(key),
            ),
            None => (format!("is wrong on line {line}"), MEND.to_owned()),
        }
    })?;
    Ok(table)
}

/// The first key whose value does not fit.
fn wrong(table: &Table) -> Option<&'static str> {
    keys().find(|key| {
        let alone = table.get(*key).map(|value| Table::from_iter([((*key).to_owned(), value.clone())]));
        alone.is_some_and(|alone| Settings::deserialize(alone).is_err())
    })
}

/// The key that the line there sets.
fn keyed(text: &str, at: usize) -> Option<&'static str> {
    let start = text.get(..at)?.rfind('\n').map_or(0, |end| end + 1);
    let (key, _) = text.get(start..)?.lines().next()?.split_once('=')?;
    keys().find(|known| *known == key.trim())
}

/// The file, or a fresh one that explains every key and sets none.
pub(super) fn text_or_example(path: &Path) -> Result<String, Failure> {
    match text(path) {
        Ok(text) => Ok(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(EXAMPLE.to_owned()),
        Err(error) => Err(unreadable(path, &error)),
    }
}

/// A key, with those of the tables around it, and what it is to be; `None` takes it out.
pub(super) type Setting<'a> = (Vec<&'a str>, Option<toml_edit::Value>);

/// Sets or removes all of these or, with an error, none; all else in the file stays as it was written.
pub(super) fn change(path: &Path, settings: &[Setting<'_>]) -> Result<(), Failure> {
    let _alone = alone();
    if path.exists() && !path.is_file() {
        let error = io::Error::other("it is no file");
        return Err(unreadable(path, &error));
    }
    let before = text_or_example(path)?;
    let change = |text: String, (key, value): &Setting<'_>| changed(&text, key, value.as_ref());
    // What cannot be read cannot be changed, and is told of as when it is read.
    let text = match settings.iter().try_fold(before.clone(), change) {
        Ok(text) => text,
        Err(error) => return Err(checked(path, &before).err().unwrap_or_else(|| Failure::defect(error))),
    };
    // A file that the program would refuse to start with is never written: the change may mend what was wrong, but
    // something else may be wrong as well.
    let table = match checked(path, &text) {
        Ok(table) => table,
        // Of several mistyped keys one after the other is taken out.
        Err(_) if settings.iter().all(|(_, value)| value.is_none()) && checked(path, &before).is_err() => {
            return write(path, &text);
        }
        Err(failure) => return Err(failure),
    };
    if settings.iter().any(|(key, value)| !holds(&table, key, value.as_ref())) {
        return Err(Failure::defect("a setting did not arrive in the file"));
    }
    write(path, &text)
}

/// Between the reading and the writing no other program of ours changes it. Where that cannot be had, it is most
/// unlikely all the same.
fn alone() -> Option<File> {
    let dir = state_dir()?;
    fs::create_dir_all(&dir).ok()?;
    let file = File::create(dir.join("config.lock")).ok()?;
    file.lock().ok()?;
    Some(file)
}

fn changed(
    text: &str,
    key: &[&str],
    value: Option<&toml_edit::Value>,
) -> Result<String, toml_edit::TomlError> {
    let mut document: DocumentMut = text.parse()?;
    let [outer @ .., last] = key else { return Ok(text.to_owned()) };
    let first = key[0];
    match value {
        Some(value) if !document.contains_key(first) => {
            if let Some(text) = uncommented(text, first, &nested(&key[1..], value)) {
                return Ok(text);
            }
        }
        None if outer.is_empty() => {
            if let Some(text) = commented(text, last).or_else(|| cut(text, last)) {
                return Ok(text);
            }
        }
        Some(_) | None => {}
    }
    let mut table: &mut dyn toml_edit::TableLike = document.as_table_mut();
    for name in outer {
        let empty = toml_edit::value(toml_edit::InlineTable::new());
        let Some(inner) = table.entry(name).or_insert(empty).as_table_like_mut() else {
            return Ok(document.to_string());
        };
        table = inner;
    }
    match value.cloned() {
        Some(mut value) => match table.get_mut(last).and_then(|item| item.as_value_mut()) {
            // With the comment behind it.
            Some(old) => {
                *value.decor_mut() = old.decor().clone();
                *old = value;
            }
            None => {
                table.insert(last, toml_edit::Item::Value(value));
            }
        },
        None => {
            table.remove(last);
        }
    }
    Ok(document.to_string())
}

/// The value within tables of these names.
fn nested(names: &[&str], value: &toml_edit::Value) -> toml_edit::Value {
    names.iter().rev().fold(value.clone(), |value, name| {
        toml_edit::Value::InlineTable(std::iter::once((*name, value)).collect())
    })
}

/// The example's line in the place of the setting, below what explains it.
fn commented(text: &str, key: &str) -> Option<String> {
    let document = toml_edit::Document::parse(text).ok()?;
    let (name, item) = document.as_table().get_key_value(key)?;
    let (start, end) = (name.span()?.start, item.as_value()?.span()?.end);
    let shown = EXAMPLE.lines().find(|line| line.starts_with(&format!("# {key} = ")))?;
    let text = format!("{}{shown}{}", text.get(..start)?, text.get(end..)?);
    text.parse().is_ok_and(|table| holds(&table, &[key], None)).then_some(text)
}

/// Without the setting's own lines; a comment above it may be of something else.
fn cut(text: &str, key: &str) -> Option<String> {
    let document = toml_edit::Document::parse(text).ok()?;
    let (name, item) = document.as_table().get_key_value(key)?;
    let (start, end) = (name.span()?.start, item.as_value()?.span()?.end);
    let rest = text.get(end..)?;
    let rest = rest.split_once('\n').map_or("", |(_, rest)| rest);
    let text = format!("{}{rest}", text.get(..start)?);
    text.parse().is_ok_and(|table| holds(&table, &[key], None)).then_some(text)
}

/// A key that the example explains takes the place of its explanation's last line, unless that stands where it would
/// mean something else.
fn uncommented(text: &str, key: &str, value: &toml_edit::Value) -> Option<String> {
    let shown = format!("# {key} = ");
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let rest = &text[at + line.trim_end_matches(['\r', '\n']).len()..];
        if line.starts_with(&shown) {
            let text = format!("{}{key} = {}{rest}", &text[..at], value.to_string().trim());
            return text.parse().is_ok_and(|table| holds(&table, &[key], Some(value))).then_some(text);
        }
        at += line.len();
    }
    None
}

fn holds(table: &Table, key: &[&str], value: Option<&toml_edit::Value>) -> bool {
    let wanted = value.and_then(|value| format!("it = {value}").parse::<Table>().ok()?.remove("it"));
    let [outer @ .., last] = key else { return false };
    let inner = outer.iter().try_fold(table, |table, name| table.get(*name)?.as_table());
    inner.and_then(|table| table.get(*last)) == wanted.as_ref()
}

/// Whole or not at all, with the access that it had.
pub(super) fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let written = (|| {
        let path = &followed(path);
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::create_dir_all(dir)?;
        let mut file = tempfile::NamedTempFile::new_in(dir)?;
        file.write_all(text.as_bytes())?;
        if let Ok(old) = fs::metadata(path) {
            file.as_file().set_permissions(old.permissions())?;
        }
        file.as_file().sync_all()?;
        file.persist(path)?;
        io::Result::Ok(())
    })();
    written.map_err(|error| {
        Failure::machine(
            format!("The configuration file {} cannot be written ({}).", path.display(), reason(&error)),
            "Make the directory writable, or name another file in VOICECHAT_CONFIG.",
        )
    })
}

/// Where a link leads, also to nothing: the link itself is the user's.
fn followed(path: &Path) -> PathBuf {
    let mut path = path.to_owned();
    for _ in 0..MAX_LINKS {
        let Ok(to) = fs::read_link(&path) else { break };
        path = path.parent().unwrap_or(Path::new("")).join(to);
    }
    path
}

fn text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(MAX_LEN).read_to_string(&mut text)?;
    Ok(text)
}

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    if error.kind() == io::ErrorKind::NotFound {
        return Failure::usage(
            format!("There is no configuration file {}.", path.display()),
            "VOICECHAT_CONFIG names it: `voicechat config edit` makes it, or unset the variable.",
        );
    }
    Failure::usage(
        format!("The configuration file {} cannot be read ({}).", path.display(), reason(error)),
        "Make it a readable text file, or remove it.",
    )
}

fn line(text: &str, at: usize) -> usize {
    1 + text.get(..at).map_or(0, |before| before.matches('\n').count())
}

/// Far more than all settings; a device that never ends is no configuration.
const MAX_LEN: u64 = 1 << 20;
/// Links that lead in a circle end somewhere; systems follow 40 at most, and people two or three.
const MAX_LINKS: usize = 40;

const MEND: &str =
    "Mend it with `voicechat config edit`, or move it away: without it everything has its default.";
const UNREADABLE: &str = "a setting is written KEY = VALUE, text in quotes";

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_key_names_its_line_and_the_nearest_one() {
        let wrong = |text: &str| parse(text).unwrap_err();
        assert_eq!(
            wrong("nmae = \"x\"").1,
            "Did you mean `name`? `voicechat config edit` opens the file, `voicechat config unset nmae` takes it out."
        );
        assert!(wrong("\nlow-latency = true").1.starts_with("Did you mean `low_latency`?"));
        assert!(wrong("\"n ame\" = true").1.ends_with(" `voicechat config edit` opens the file."));
        assert!(wrong("\nlow-latency = true").0.starts_with("has an unknown key on line 2"));
        assert!(wrong("name = \"a\"\n\nsever = 1").0.contains("line 3"));
        assert!(wrong("sever = \"x\"").1.starts_with("Did you mean `server`?"));
        assert!(wrong("xyzzy = 1").1.starts_with("It knows name, server"));
    }

    #[test]
    fn a_wrong_value_names_its_line() {
        let wrong = |text: &str| parse(text).unwrap_err().0;
        assert!(
            wrong("name = \"a\"\nserver = \"a b\"\n").starts_with("is wrong on line 2: a server is written")
        );
        assert!(
            wrong("\n\nname = ").starts_with("cannot be understood on line 3: `name` takes text in quotes")
        );
        assert!(wrong("muted = yes").ends_with("line 1: `muted` takes true or false"));
        assert!(wrong("muted = true\nmuted = false").ends_with("line 2: `muted` stands there twice"));
        assert!(wrong("hello").ends_with("line 1: a setting is written KEY = VALUE, text in quotes"));
        assert_eq!(
            wrong("\nmuted = \"yes\""),
            "is wrong on line 2: `muted` takes true or false, not \"yes\""
        );
        assert!(wrong("volumes = { \"Bob\" = \"x\" }").contains("such as { Bob = 120 }"));
        assert!(wrong("path = \"sideways\"").contains("line 1"));
        assert!(!wrong("name = 1").contains('\n'));
    }

    #[test]
    fn a_change_leaves_the_rest_of_the_file_alone() {
        let text = "# mine\nname = \"Ada\" # me\n\n# path = \"auto\"\n";
        let set = |key: &[&str], value: Option<toml_edit::Value>| changed(text, key, value.as_ref()).unwrap();
        assert_eq!(set(&["name"], Some("Bob".into())), text.replace("Ada", "Bob"));
        assert_eq!(
            set(&["path"], Some("relay".into())),
            text.replace("# path = \"auto\"", "path = \"relay\"")
        );
        assert_eq!(set(&["path"], None), text);
        assert_eq!(set(&["name"], None), text.replace("name", "# name"));
        assert!(set(&["volumes", "Bob B"], Some(80.into())).contains("volumes = { \"Bob B\" = 80 }"));
        let example = changed(EXAMPLE, &["low_latency"], Some(&true.into())).unwrap();
        assert_eq!(parse(&example).unwrap().len(), 1);
    }

    #[test]
    fn a_mistyped_key_goes_alone() {
        let text = "# What friends see.\nnmae = \"Ada\" # me\nmuted = true\n";
        assert_eq!(changed(text, &["nmae"], None).unwrap(), "# What friends see.\nmuted = true\n");
        assert_eq!(changed("nmae = 1", &["nmae"], None).unwrap(), "");
    }

    #[test]
    fn what_is_set_stands_below_its_explanation_and_goes_without_a_trace() {
        for (key, value) in [(vec!["volumes", "Bob B"], 80.into()), (vec!["sounds"], false.into())] {
            let set = changed(EXAMPLE, &key, Some(&value)).unwrap();
            let shown = format!("# {} = ", key[0]);
            let (before, _) = EXAMPLE.split_once(&shown).unwrap();
            assert!(set[before.len()..].starts_with(&format!("{} = ", key[0])), "{set}");
            assert_eq!(changed(&set, &key[..1], None).unwrap(), EXAMPLE);
        }
    }

    #[test]
    fn a_key_is_set_where_it_means_what_was_said() {
        let after_a_table = EXAMPLE.replace("# volumes = { \"Bob\" = 120 }", "[volumes]\nBob = 120");
        let in_a_text = "hook = \"\"\"\n# sounds = true\n\"\"\"\n";
        let in_another_comment = "## sounds = true\n# sounds = true\n";
        for text in [after_a_table.as_str(), in_a_text, in_another_comment] {
            let before = parse(text).unwrap();
            let text = changed(text, &["sounds"], Some(&false.into())).unwrap();
            let mut after = parse(&text).unwrap();
            assert_eq!(after.remove("sounds"), Some(false.into()), "{text}");
            assert_eq!(after, before);
        }
    }
}
