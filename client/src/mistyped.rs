//! A command line that cannot be meant, with what only this program's commands know of it; all else is
//! [`relay::mistyped`]'s.

use clap::error::ErrorKind;
use clap::{Arg, Command, CommandFactory};
use relay::mistyped::{is_help, option as named, told};
use vc_core::room::code::Code;

use crate::cli::Cli;
use crate::failure::Failure;

/// What was meant by all `words` of the command line, of which `read` is what clap made.
pub(crate) fn understood(
    read: Result<Cli, clap::Error>,
    words: impl Iterator<Item = String>,
) -> Result<Cli, Failure> {
    let cli = read.map_err(|error| failure(&error, words))?;
    match cli.contradiction() {
        None => Ok(cli),
        Some([one, other]) => Err(Failure::usage(
            format!("`{one}` and `{other}` exclude each other."),
            "Leave one of them out.",
        )),
    }
}

/// Ends the program where nothing is wrong.
fn failure(error: &clap::Error, words: impl Iterator<Item = String>) -> Failure {
    if is_help(error) {
        error.exit();
    }
    let typed = Typed::of(words);
    let command = &typed.name;
    let option = named(error);
    let (what, hint) = match error.kind() {
        ErrorKind::UnknownArgument if typed.is_early(&option) => (
            format!("`{option}` stands before the command."),
            format!("Put it behind: `{command} {option}`."),
        ),
        // What is a whole code was not torn apart by blanks.
        ErrorKind::UnknownArgument
            if !option.starts_with('-') && command.ends_with(" join") && option.parse::<Code>().is_err() =>
        {
            (format!("`{option}` is one word too many."), DASHES.to_owned())
        }
        _ => told(error, command),
    };
    Failure::usage(what, hint)
}

/// What was typed, as far as it was understood.
struct Typed {
    command: Command,
    /// With the commands above it.
    name: String,
    /// What stands before it and is no general option.
    before: Vec<String>,
}

impl Typed {
    fn of(words: impl Iterator<Item = String>) -> Self {
        let general = Cli::command();
        let mut typed =
            Self { name: general.get_name().to_owned(), command: general.clone(), before: Vec::new() };
        let mut words = words.skip(1);
        while let Some(word) = words.next() {
            if let Some(next) = typed.command.find_subcommand(&word).cloned() {
                typed.name = format!("{} {word}", typed.name);
                typed.command = next;
            } else if let Some(option) = option(&general, &word) {
                if option.get_action().takes_values() && !word.contains('=') {
                    words.next();
                }
            } else if typed.command.get_name() == general.get_name() {
                typed.before.push(word);
            } else {
                break;
            }
        }
        typed
    }

    /// Whether the option is one of the command, but stands before it.
    fn is_early(&self, name: &str) -> bool {
        let is = |word: &String| word.split('=').next() == Some(name);
        self.before.iter().any(is) && option(&self.command, name).is_some()
    }
}

fn option<'a>(command: &'a Command, word: &str) -> Option<&'a Arg> {
    let name = word.split('=').next()?;
    command.get_arguments().filter(|arg| !arg.is_hide_set()).find(|arg| {
        let long = arg.get_long().is_some_and(|long| name.strip_prefix("--") == Some(long));
        long || arg
            .get_short()
            .is_some_and(|short| name.strip_prefix('-') == Some(short.to_string().as_str()))
    })
}

const DASHES: &str = "A code is written without blanks, as in 48213-tiger-lamp-ocean.";

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::Cli;

    #[track_caller]
    fn says(typed: &str) -> String {
        let words = ["voicechat"].into_iter().chain(typed.split(' ')).map(str::to_owned);
        understood(Cli::try_parse_from(words.clone()), words).err().unwrap().to_string()
    }

    #[test]
    fn what_cannot_be_meant_is_said_with_what_to_do_and_in_no_programmers_words() {
        for (typed, what, hint) in MISTYPED {
            assert_eq!(says(typed), format!("{what}\n{hint}"), "{typed}");
        }
        assert!(!says("create --\u{1b}[2J").contains('\u{1b}'));
    }

    #[test]
    fn a_flag_that_is_switched_off_excludes_nothing() {
        for typed in
            ["create --json --plain=false", "join --relay-only=false --path direct", "echo --path relay"]
        {
            let words = || ["voicechat"].into_iter().chain(typed.split(' ')).map(str::to_owned);
            assert!(understood(Cli::try_parse_from(words()), words()).is_ok(), "{typed}");
        }
    }

    #[test]
    fn nobody_is_called_nothing() {
        for name in ["", " ", "\t"] {
            let words = || ["voicechat", "create", "--name", name].into_iter().map(str::to_owned);
            let said = understood(Cli::try_parse_from(words()), words()).err().unwrap();
            assert!(said.hint.starts_with("It takes a name that is not blank;"), "{said}");
        }
    }

    const ADDRESS: &str = "It takes an IP address and a port, such as 192.0.2.7:5000 or [::]:47700.";
    const PORTS: &str = "A port is a whole number from 1 to 65535.";
    const SERVER: &str =
        "A server is written HOST:PORT, for example play.example.org:47700 or 192.168.1.5:47700.";

    /// What is typed, what is said of it, and what to do.
    const MISTYPED: &[(&str, &str, &str)] = &[
        (
            "demo --seconds abc",
            "`--seconds` does not take `abc`.",
            "It takes a whole number of seconds from 8 to 600.",
        ),
        (
            "demo --seconds 7",
            "`--seconds` does not take `7`.",
            "It takes a whole number of seconds from 8 to 600.",
        ),
        (
            "echo --seconds 0",
            "`--seconds` does not take `0`.",
            "It takes a whole number of seconds, 1 or more.",
        ),
        (
            "create --seconds 1.5",
            "`--seconds` does not take `1.5`.",
            "It takes a whole number of seconds, 1 or more.",
        ),
        (
            "create --seconds -1",
            "`--seconds` does not take `-1`.",
            "It takes a whole number of seconds, 1 or more.",
        ),
        (
            "demo --seconds -1.5 --path relay",
            "`--seconds` does not take `-1.5`.",
            "It takes a whole number of seconds from 8 to 600.",
        ),
        ("serve --also -1", "`--also` does not take `-1`.", "It takes a port, a whole number up to 65535."),
        ("demo --seconds", "`--seconds` needs a value.", "`voicechat demo --help` shows what it takes."),
        ("create --path sideways", "`--path` does not take `sideways`.", "It takes direct, relay or auto."),
        ("create --low-latency=2", "`--low-latency` does not take `2`.", "It takes true or false."),
        ("serve --listen 47700", "`--listen` does not take `47700`.", ADDRESS),
        (
            "serve --also 70000",
            "`--also` does not take `70000`.",
            "It takes a port, a whole number up to 65535.",
        ),
        (
            "ctl --call Bob mute",
            "`--call` does not take `Bob`.",
            "It takes the number of the process that the call runs in.",
        ),
        ("create --server a:b:c", "`--server` does not take `a:b:c`.", SERVER),
        (
            "completions tcsh",
            "`SHELL` does not take `tcsh`.",
            "It takes bash, elvish, fish, powershell or zsh.",
        ),
        ("create --mutde", "`voicechat create` has no option `--mutde`.", "Did you mean `--muted`?"),
        (
            "create --xyzzy",
            "`voicechat create` has no option `--xyzzy`.",
            "`voicechat create --help` shows what it takes.",
        ),
        ("join 48213-tiger orbit", "`orbit` is one word too many.", DASHES),
        ("devices all", "`all` is one word too many.", "`voicechat devices --help` shows what it takes."),
        (
            "-v --log x demo --seconds",
            "`--seconds` needs a value.",
            "`voicechat demo --help` shows what it takes.",
        ),
        ("craete", "There is no command `craete`.", "Did you mean `create`?"),
        ("frobnicate", "There is no command `frobnicate`.", "`voicechat --help` lists the commands."),
        (
            "config frobnicate",
            "There is no command `frobnicate`.",
            "`voicechat config --help` lists the commands.",
        ),
        (
            "config set name",
            "`voicechat config set` needs VALUE as well.",
            "`voicechat config set --help` shows what it takes.",
        ),
        ("ctl", "`voicechat ctl` needs ORDER as well.", "`voicechat ctl --help` shows what it takes."),
        ("create --name A --name B", "`--name` was given twice.", "Leave one of them out."),
        ("create --server host:70000", "`--server` does not take `host:70000`.", PORTS),
        ("host --address home:70000", "`--address` does not take `home:70000`.", PORTS),
        (
            "host --address nope",
            "`--address` does not take `nope`.",
            "The address that friends dial is written HOST:PORT, for example home.example.org:47700.",
        ),
        (
            "join --relay-only --path auto",
            "`--relay-only` and `--path` exclude each other.",
            "Leave one of them out.",
        ),
        ("create --json --plain", "`--json` and `--plain` exclude each other.", "Leave one of them out."),
        (
            "--json devices",
            "`--json` stands before the command.",
            "Put it behind: `voicechat devices --json`.",
        ),
        (
            "-v --server x join",
            "`--server` stands before the command.",
            "Put it behind: `voicechat join --server`.",
        ),
        (
            "--xyzzy devices",
            "`voicechat devices` has no option `--xyzzy`.",
            "`voicechat devices --help` shows what it takes.",
        ),
        (
            "config --verbose set name",
            "`voicechat config set` needs VALUE as well.",
            "`voicechat config set --help` shows what it takes.",
        ),
        (
            "create --log=x --verbose=1",
            "`--verbose` takes no value.",
            "`voicechat create --help` shows what it takes.",
        ),
        ("create --json=1", "`--json` takes no value.", "`voicechat create --help` shows what it takes."),
        (
            "join --low-latency false 48213-tiger-lamp-ocean",
            "`48213-tiger-lamp-ocean` is one word too many.",
            "`voicechat join --help` shows what it takes.",
        ),
    ];
}
