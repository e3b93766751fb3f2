//! What can be typed.

use std::io::{self, IsTerminal};
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use relay::mistyped::{address, port};

use crate::config::{NETWORK, Settings};
use crate::ui::Mode;

#[derive(Parser)]
#[command(
    name = "voicechat",
    version,
    about = "Private voice and text chat for the terminal",
    after_help = EXAMPLES,
    after_long_help = format!("{EXAMPLES}\n\n{STATUSES}"),
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    /// Say on stderr what happens inside; never addresses, codes or what is said. Where that is a terminal, a call is plain lines then
    #[arg(short, long, global = true, help_heading = GENERAL)]
    pub(crate) verbose: bool,
    /// Write to FILE what happens inside; never addresses, codes or what is said. With -v as well, a call keeps its screen, and
    /// FILE alone has it
    #[arg(long, global = true, value_name = "FILE", help_heading = GENERAL)]
    pub(crate) log: Option<PathBuf>,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Open a room and print the code that lets friends in
    #[command(after_help = CREATE)]
    Create {
        #[command(flatten)]
        call: Call,
        /// Where the room's own server listens, when no other is set [default: 47700 at every address]
        #[arg(long, value_name = "ADDR:PORT", value_parser = address, help_heading = NETWORK)]
        listen: Option<SocketAddr>,
    },
    /// Open a room without any server: this program runs one for as long as you stay; the code says where
    // Refused with what to do instead.
    #[command(after_help = HOST, mut_args(|arg| without(arg, &["server", "relay_only"])))]
    Host {
        #[command(flatten)]
        call: Call,
        /// Where to listen, TCP and UDP [default: 47700 at every address]
        #[arg(long, value_name = "ADDR:PORT", value_parser = address, help_heading = NETWORK)]
        listen: Option<SocketAddr>,
        /// What the code says instead, when friends reach this machine by another address: a name, a forwarded port
        #[arg(long, value_name = "HOST:PORT", value_parser = crate::place::Place::dialled, help_heading = NETWORK)]
        address: Option<crate::place::Place>,
    },
    /// Enter a friend's room
    #[command(after_help = JOIN, mut_arg("server", |arg| arg.help(SERVER_OF_JOIN)))]
    Join {
        /// The code or link; asked for when left out, so that nobody on this machine can read it in the process list
        #[arg(value_name = "CODE|LINK")]
        code: Option<String>,
        #[command(flatten)]
        call: Call,
    },
    /// Run a server for your friends: signaling and relay on one port, TCP and UDP
    #[command(after_help = SERVE)]
    Serve(Serve),
    /// Watch two friends talk on this machine, without sound card or network; what they heard is kept in ./demo
    #[command(after_help = DEMO)]
    Demo(Demo),
    /// List microphones and loudspeakers
    #[command(after_help = DEVICES)]
    Devices {
        /// Print them as one JSON event
        #[arg(long)]
        json: bool,
    },
    /// Find out what works here, what does not, and how to mend it
    #[command(
        after_help = DOCTOR,
        mut_args(|arg| without(arg, &OF_A_CALL)),
        mut_arg("server", |arg| arg.help(SERVER_OF_DOCTOR)),
    )]
    Doctor(Doctor),
    /// Hear yourself through the whole path: microphone, codec, seal, relay, jitter buffer, loudspeaker
    #[command(
        after_help = ECHO,
        mut_args(|arg| without(without(arg, &OF_A_CALL), &OF_A_PATH)),
        mut_arg("server", |arg| arg.help(SERVER_OF_ECHO)),
    )]
    Echo(Echo),
    /// Give orders to the call that runs here: for keys of the desktop and for programs
    #[command(after_help = ORDERS)]
    Ctl(Ctl),
    /// Show and change the settings
    #[command(subcommand, after_help = CONFIG)]
    Config(ConfigCommand),
    /// Print the script that lets a shell complete commands and options with Tab
    #[command(after_help = COMPLETIONS)]
    Completions { shell: clap_complete::Shell },
    /// Write the manual pages to DIR; packages ship them
    #[command(after_help = MAN)]
    Man {
        /// Made when it is not there
        #[arg(value_name = "DIR")]
        dir: PathBuf,
    },
}

#[derive(Subcommand)]
pub(crate) enum ConfigCommand {
    /// Every setting: what it means, its value, and where that comes from
    Show {
        /// The value of this one alone, for scripts: text without quotes, all else as in the file; nothing where it is
        /// not set and has no default
        #[arg(value_name = "KEY")]
        key: Option<String>,
    },
    /// Where the configuration file is
    Path,
    /// Open it in the editor that VISUAL or EDITOR names
    Edit,
    /// Set KEY to VALUE in it
    Set {
        /// A setting, as `voicechat config show` lists them
        #[arg(value_name = "KEY")]
        key: String,
        /// Text as it is, true or false, or a list as it stands in the file
        #[arg(value_name = "VALUE")]
        value: String,
    },
    /// Take KEY out of it, so that the default holds
    Unset {
        /// A setting, as `voicechat config show` lists them
        #[arg(value_name = "KEY")]
        key: String,
    },
}

#[derive(Args)]
pub(crate) struct Doctor {
    #[command(flatten)]
    pub(crate) settings: Settings,
    /// One JSON event per line on stdout
    #[arg(long)]
    pub(crate) json: bool,
    /// How long to listen to the microphone
    #[arg(long, value_name = "N", default_value_t = 4, allow_negative_numbers = true, value_parser = seconds::<1, 60>)]
    pub(crate) seconds: u32,
}

#[derive(Args)]
pub(crate) struct Echo {
    #[command(flatten)]
    pub(crate) settings: Settings,
    /// One JSON event per line on stdout
    #[arg(long)]
    pub(crate) json: bool,
    /// End by itself after N seconds
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = seconds::<1, { u32::MAX }>)]
    pub(crate) seconds: Option<u32>,
}

#[derive(Args, Clone, Default)]
pub(crate) struct Call {
    #[command(flatten)]
    pub(crate) settings: Settings,
    /// Enter muted
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "true|false", hide_possible_values = true)]
    pub(crate) muted: Option<bool>,
    /// One JSON event per line on stdout, as docs/EVENTS.md describes; stdin stays chat and commands
    #[arg(long)]
    pub(crate) json: bool,
    /// Lines in, lines out, for screen readers and pipes, also on a terminal
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "true|false", hide_possible_values = true)]
    pub(crate) plain: Option<bool>,
    /// Leave by itself after N seconds
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = seconds::<1, { u32::MAX }>)]
    pub(crate) seconds: Option<u32>,
}

impl Cli {
    /// How the command speaks.
    pub(crate) fn mode(&self) -> Mode {
        let lines = |json| if json { Mode::Json } else { Mode::Plain };
        match &self.command {
            Some(Command::Create { call, .. } | Command::Host { call, .. } | Command::Join { call, .. }) => {
                // What happens inside would go right through a screen; a log takes it from there.
                call.mode(self.verbose && self.log.is_none() && io::stderr().is_terminal())
            }
            Some(Command::Serve(serve)) => lines(serve.json),
            Some(Command::Doctor(doctor)) => lines(doctor.json),
            Some(Command::Echo(echo)) => lines(echo.json),
            _ => Mode::Plain,
        }
    }

    /// Two flags that exclude each other. One that is switched off excludes nothing, which clap cannot be told.
    pub(crate) fn contradiction(&self) -> Option<[&'static str; 2]> {
        let (settings, plain_json) = match self.command.as_ref()? {
            Command::Create { call, .. } | Command::Host { call, .. } | Command::Join { call, .. } => {
                (&call.settings, call.json && call.plain == Some(true))
            }
            Command::Doctor(doctor) => (&doctor.settings, false),
            Command::Echo(echo) => (&echo.settings, false),
            _ => return None,
        };
        let two_ways = settings.relay_only == Some(true) && settings.path.is_some();
        match (plain_json, two_ways) {
            (true, _) => Some(["--json", "--plain"]),
            (false, true) => Some(["--relay-only", "--path"]),
            (false, false) => None,
        }
    }
}

impl Call {
    fn mode(&self, diagnosed: bool) -> Mode {
        // A configuration that is wrong is told of later, in the usual way.
        let set = || Settings::default().completed().is_ok_and(|settings| settings.plain == Some(true));
        match (self.json, diagnosed || self.plain.unwrap_or_else(set)) {
            (true, _) => Mode::Json,
            (false, true) => Mode::Plain,
            (false, false) => Mode::of_the_place(),
        }
    }
}

#[derive(Args)]
pub(crate) struct Ctl {
    /// Print the answer as JSON; `events` always does
    #[arg(long)]
    pub(crate) json: bool,
    /// The call of this process [default: the one that began last]
    #[arg(long, value_name = "PID", allow_negative_numbers = true, value_parser = process)]
    pub(crate) call: Option<u32>,
    /// As in the call, without the slash: mute, unmute, toggle, say TEXT, status, events, leave... All that follows
    /// belongs to it, whatever it looks like, so options stand before; where no text is taken, `--json` may be last
    #[arg(required = true, value_name = "ORDER", trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) order: Vec<String>,
}

#[derive(Args)]
pub(crate) struct Serve {
    /// Where to listen [default: 47700 at every address]; port 0 takes any free one
    #[arg(long, value_name = "ADDR:PORT", value_parser = address)]
    pub(crate) listen: Option<SocketAddr>,
    /// One more TCP port, for friends whose networks block the first; 443 passes nearly everywhere
    #[arg(long, value_name = "PORT", allow_negative_numbers = true, value_parser = port)]
    pub(crate) also: Vec<u16>,
    /// The server's key, made on first use [default: server.key in the state directory]
    #[arg(long, value_name = "FILE")]
    pub(crate) key_file: Option<PathBuf>,
    /// One more relay, a `voicechat-relay` somewhere else: each room gets up to three; give its ADDR:443 as well
    /// where it listens there
    #[arg(long, value_name = "ADDR:PORT", value_parser = address, requires = "relay_key_file")]
    pub(crate) relay: Vec<SocketAddr>,
    /// The key file of that relay, once for each
    #[arg(long, value_name = "FILE", requires = "relay")]
    pub(crate) relay_key_file: Vec<PathBuf>,
    /// Print the place as one JSON event
    #[arg(long)]
    pub(crate) json: bool,
    /// Stop by itself after N seconds
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = seconds::<1, { u32::MAX }>)]
    pub(crate) seconds: Option<u32>,
}

#[derive(Args)]
pub(crate) struct Demo {
    /// How long the two talk, from 8 to 600 seconds
    #[arg(long, value_name = "N", default_value_t = 18, allow_negative_numbers = true, value_parser = seconds::<8, 600>)]
    pub(crate) seconds: u32,
    /// How the two are connected: direct (only straight to each other), relay (only through a relay) or auto
    #[arg(long, value_enum, default_value_t, hide_possible_values = true)]
    pub(crate) path: crate::config::Path,
    /// Keep what each friend heard in DIR, as wav files [default: ./demo]
    #[arg(long, value_name = "DIR")]
    pub(crate) keep: Option<PathBuf>,
}

/// Errors of these say what is taken.
fn seconds<const LEAST: u32, const MOST: u32>(text: &str) -> Result<u32, String> {
    let fits = text.parse().ok().filter(|seconds| (LEAST..=MOST).contains(seconds));
    fits.ok_or_else(|| match MOST {
        u32::MAX => format!("it takes a whole number of seconds, {LEAST} or more"),
        most => format!("it takes a whole number of seconds from {LEAST} to {most}"),
    })
}

fn process(text: &str) -> Result<u32, &'static str> {
    text.parse().map_err(|_| "it takes the number of the process that the call runs in")
}

/// Of the settings, those that make no sense there are not shown.
fn without(arg: clap::Arg, senseless: &[&str]) -> clap::Arg {
    if senseless.contains(&arg.get_id().as_str()) { arg.hide(true) } else { arg }
}

/// The section of each help that comes last.
const GENERAL: &str = "On every command";

const SERVER_OF_JOIN: &str =
    "Where the room is, for a code that does not say it [default: the server that is set]";
const SERVER_OF_ECHO: &str =
    "Whose relay your voice goes through [default: the server that is set, else this machine]";
const SERVER_OF_DOCTOR: &str = "Which one to examine [default: the server that is set]";

/// What `echo` and `doctor`, who have nobody to talk to, do without.
const OF_A_CALL: [&str; 7] = ["name", "forward", "push_to_talk", "sounds", "bell", "notify", "hook"];
/// What `echo`, which always goes through the relay, does without.
const OF_A_PATH: [&str; 3] = ["relay_only", "path", "port_mapping"];

const ORDERS: &str = "\
Orders:
  mute, unmute, toggle  your microphone
  deafen, undeafen      your ears
  say TEXT              a line of chat
  status                how the call is, in a few lines; all of it with --json
  events                all that happens, a line of JSON each, until the end
  leave                 end the call
and every other command of the call: `voicechat ctl help` lists them.

Examples:
  voicechat ctl toggle                bind it to a key of the desktop
  voicechat ctl volume Bob 80
  voicechat ctl --json status";

const CREATE: &str = "\
Examples:
  voicechat create
  voicechat create --server HOST:PORT#KEY   on this server, kept for later calls
  voicechat create --muted --input tone     tried without a microphone";

const HOST: &str = "\
Examples:
  voicechat host
  voicechat host --address play.example.org:47700   behind a forwarded port";

const JOIN: &str = "\
Examples:
  voicechat join                                asks for the code
  voicechat join 48213-tiger-lamp-ocean@192.168.1.7:47700   one that says where
  voicechat join --name Bob --low-latency       10 ms frames, for good networks
  voicechat join --relay-only                   no friend learns your address
  echo CODE | voicechat join --json --seconds 60   for programs";

const SERVE: &str = "\
Examples:
  voicechat serve
  voicechat serve --also 443                friends whose networks block 47700
  voicechat serve --listen 192.0.2.7:5000   at one address, another port";

const DEMO: &str = "\
Examples:
  voicechat demo
  voicechat demo --path relay --seconds 10";

const DEVICES: &str = "\
Examples:
  voicechat devices
  voicechat create --input NAME --output NAME   with names from this list";

const DOCTOR: &str = "\
Examples:
  voicechat doctor
  voicechat doctor --input NAME --seconds 10   another microphone, for longer
  voicechat doctor --json                      a finding a line, for programs";

const ECHO: &str = "\
Examples:
  voicechat echo
  voicechat echo --noise on --seconds 20";

const CONFIG: &str = "\
Examples:
  voicechat config show
  voicechat config show server    its value alone, for scripts
  voicechat config set name Ada
  voicechat config unset server";

const MAN: &str = "\
Example:
  voicechat man ~/.local/share/man/man1";

const COMPLETIONS: &str = "\
bash:
  voicechat completions bash \\
    > ~/.local/share/bash-completion/completions/voicechat
zsh, with ~/.zfunc in fpath:
  voicechat completions zsh > ~/.zfunc/_voicechat
fish:
  voicechat completions fish \\
    > ~/.config/fish/completions/voicechat.fish
PowerShell:
  voicechat completions powershell >> $PROFILE";

/// What `voicechat` alone says.
pub(crate) const WELCOME: &str = "\
voicechat: private voice and text chat for you and your friends.

  voicechat create    opens a room and prints a code; tell it to your friends
  voicechat join      asks for the code and lets you in

Try it alone first: voicechat demo
Everything else:    voicechat --help
";

const EXAMPLES: &str = "\
Examples:
  voicechat create                          a room; prints the code
  voicechat join                            asks for the code
  voicechat join --name Bob --low-latency   10 ms frames, for good networks
  voicechat host                            a room on this machine, with no server at all
  voicechat serve                           a server for your friends, anywhere
  voicechat create --server HOST:PORT#KEY   a room on that server
  voicechat demo                            see and hear it work

In the call: just type to chat; /help lists the commands.";

/// The promise of docs/EVENTS.md, for people. A test compares the two.
pub(crate) const STATUSES: &str = "\
Exit statuses:
  0   left as asked
  1   a defect of the program
  2   wrong usage, configuration, or a code that cannot be one
  3   wrong words in the code
  4   no such room, or nobody in it answered
  5   server not reachable
  6   room full or locked, or too many tries
  7   let in, but no connection to anybody works
  8   the server shows another key than before
  9   removed from the room
  10  the other side speaks another version
  11  this machine refuses: port in use, no such device, unreadable or unwritable file
  12  the demo saw something other than it promises
  13  no call is running here
  14  doctor: calls work, with most friends only through the relay
  15  doctor: calls work, only over TCP
  16  ctl: the call did not do it, and says why";

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn every_command_is_shown_at_work_in_lines_that_fit() {
        for command in Cli::command().get_subcommands() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("  voicechat "), "{}", command.get_name());
            assert!(help.lines().all(|line| line.len() <= 80), "{help}");
        }
    }
}
