//! The one configuration file: found, read within bounds, checked with the line of what is wrong, changed in place.

use std::env;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use etcetera::BaseStrategy;
use toml::Table;
use toml_edit::DocumentMut;

use super::{EXAMPLE, SEE, Settings, base, keys, nearest, reason, sentence};
use crate::failure::Failure;

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
        Ok(text) => parse(&text).map_err(|(what, hint)| {
            Failure::usage(format!("The configuration file {} {what}.", path.display()), hint)
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound && named().is_none() => Ok(Table::new()),
        Err(error) => Err(unreadable(path, &error)),
    }
}

/// What is wrong with the text, and what to do.
pub(super) fn parse(text: &str) -> Result<Table, (String, String)> {
    let table: Table = text.parse().map_err(|error: toml::de::Error| {
        let line = line(text, error.span().map_or(0, |span| span.start));
        (format!("is not valid TOML on line {line}: {}", sentence(error.message())), SEE.to_owned())
    })?;
    if let Some(key) = table.keys().find(|key| !keys().any(|known| known == key.as_str())) {
        let hint = match nearest(key, keys()) {
            Some(near) => format!("Did you mean `{near}`?"),
            None => format!("It knows {}.", keys().collect::<Vec<_>>().join(", ")),
        };
        let at = toml_edit::Document::parse(text)
            .ok()
            .and_then(|document| Some(document.as_table().get_key_value(key)?.0.span()?.start));
        return Err((format!("has an unknown key on line {}, `{key}`", line(text, at.unwrap_or(0))), hint));
    }
    toml::from_str::<Settings>(text).map_err(|error| {
        let line = line(text, error.span().map_or(0, |span| span.start));
        (format!("is wrong on line {line}: {}", sentence(error.message())), SEE.to_owned())
    })?;
    Ok(table)
}

/// The file, or a fresh one that explains every key and sets none.
pub(super) fn text_or_example(path: &Path) -> Result<String, Failure> {
    match text(path) {
        Ok(text) => Ok(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(EXAMPLE.to_owned()),
        Err(error) => Err(unreadable(path, &error)),
    }
}

/// Sets `key`, or removes it; all else in the file stays as it was written.
pub(super) fn change(path: &Path, key: &[&str], value: Option<toml_edit::Value>) -> Result<(), Failure> {
    read(path)?;
    if path.exists() && !path.is_file() {
        let error = io::Error::other("it is no file");
        return Err(unreadable(path, &error));
    }
    let text = text_or_example(path)?;
    write(path, &changed(&text, key, value).map_err(Failure::defect)?)
}

fn changed(
    text: &str,
    key: &[&str],
    value: Option<toml_edit::Value>,
) -> Result<String, toml_edit::TomlError> {
    let mut document: DocumentMut = text.parse()?;
    let [outer @ .., last] = key else { return Ok(text.to_owned()) };
    // A key that the example explains takes the place of its explanation's last line.
    if let ([], Some(value)) = (outer, &value)
        && !document.contains_key(last)
    {
        let shown = format!("# {last} = ");
        if let Some(line) = text.lines().find(|line| line.starts_with(&shown)) {
            return Ok(text.replacen(line, &format!("{last} = {}", value.to_string().trim()), 1));
        }
    }
    let mut table: &mut dyn toml_edit::TableLike = document.as_table_mut();
    for name in outer {
        let empty = toml_edit::value(toml_edit::InlineTable::new());
        let Some(inner) = table.entry(name).or_insert(empty).as_table_like_mut() else {
            return Ok(document.to_string());
        };
        table = inner;
    }
    match value {
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

/// Whole or not at all.
pub(super) fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let written = (|| {
        let dir = path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(dir)?;
        let mut file = tempfile::NamedTempFile::new_in(dir)?;
        file.write_all(text.as_bytes())?;
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

fn text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(MAX_LEN).read_to_string(&mut text)?;
    Ok(text)
}

fn unreadable(path: &Path, error: &io::Error) -> Failure {
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_key_names_its_line_and_the_nearest_one() {
        let wrong = |text: &str| parse(text).unwrap_err();
        assert_eq!(wrong("nmae = \"x\"").1, "Did you mean `name`?");
        assert_eq!(wrong("\nlow-latency = true").1, "Did you mean `low_latency`?");
        assert!(wrong("\nlow-latency = true").0.starts_with("has an unknown key on line 2"));
        assert!(wrong("name = \"a\"\n\nsever = 1").0.contains("line 3"));
        assert_eq!(wrong("sever = \"x\"").1, "Did you mean `server`?");
        assert!(wrong("xyzzy = 1").1.starts_with("It knows name, server"));
    }

    #[test]
    fn a_wrong_value_names_its_line() {
        let wrong = |text: &str| parse(text).unwrap_err().0;
        assert!(
            wrong("name = \"a\"\nserver = \"a b\"\n").starts_with("is wrong on line 2: a server is written")
        );
        assert!(wrong("\n\nname = ").starts_with("is not valid TOML on line 3"));
        assert!(wrong("path = \"sideways\"").contains("line 1"));
        assert!(!wrong("name = 1").contains('\n'));
    }

    #[test]
    fn a_change_leaves_the_rest_of_the_file_alone() {
        let text = "# mine\nname = \"Ada\" # me\n\n# path = \"auto\"\n";
        let set = |key: &[&str], value: Option<toml_edit::Value>| changed(text, key, value).unwrap();
        assert_eq!(set(&["name"], Some("Bob".into())), text.replace("Ada", "Bob"));
        assert_eq!(
            set(&["path"], Some("relay".into())),
            text.replace("# path = \"auto\"", "path = \"relay\"")
        );
        assert_eq!(set(&["path"], None), text);
        assert!(!set(&["name"], None).contains("Ada"));
        assert!(set(&["volumes", "Bob B"], Some(80.into())).contains("volumes = { \"Bob B\" = 80 }"));
        assert!(parse(&changed(EXAMPLE, &["low_latency"], Some(true.into())).unwrap()).unwrap().len() == 1);
    }
}
