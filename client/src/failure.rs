//! Why the program stopped other than on request: one sentence what happened, one what to do, one exit status.

use std::fmt;

use vc_core::Error;

use crate::note::Note;

/// What the process ends with. The numbers are promised in `--help` and docs/EVENTS.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Defect,
    Usage,
    WrongCode,
    NoSuchRoom,
    Unreachable,
    Closed,
    NoPath,
    KeyChanged,
    Removed,
    Version,
    Machine,
    Demo,
    NoCall,
    RelayOnly,
    TcpOnly,
    Refused,
}

impl Kind {
    pub(crate) const fn status(self) -> u8 {
        match self {
            Self::Defect => 1,
            Self::Usage => 2,
            Self::WrongCode => 3,
            Self::NoSuchRoom => 4,
            Self::Unreachable => 5,
            Self::Closed => 6,
            Self::NoPath => 7,
            Self::KeyChanged => 8,
            Self::Removed => 9,
            Self::Version => 10,
            Self::Machine => 11,
            Self::Demo => 12,
            Self::NoCall => 13,
            Self::RelayOnly => 14,
            Self::TcpOnly => 15,
            Self::Refused => 16,
        }
    }

    /// The same for programs that read events.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Defect => "defect",
            Self::Usage => "usage",
            Self::WrongCode => "wrong_code",
            Self::NoSuchRoom => "no_such_room",
            Self::Unreachable => "unreachable",
            Self::Closed => "closed",
            Self::NoPath => "no_path",
            Self::KeyChanged => "key_changed",
            Self::Removed => "removed",
            Self::Version => "version",
            Self::Machine => "machine",
            Self::Demo => "demo",
            Self::NoCall => "no_call",
            Self::RelayOnly => "relay_only",
            Self::TcpOnly => "tcp_only",
            Self::Refused => "refused",
        }
    }

    #[cfg(test)]
    pub(crate) const ALL: [Self; 16] = [
        Self::Defect,
        Self::Usage,
        Self::WrongCode,
        Self::NoSuchRoom,
        Self::Unreachable,
        Self::Closed,
        Self::NoPath,
        Self::KeyChanged,
        Self::Removed,
        Self::Version,
        Self::Machine,
        Self::Demo,
        Self::NoCall,
        Self::RelayOnly,
        Self::TcpOnly,
        Self::Refused,
    ];
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) kind: Kind,
    /// What happened, a sentence.
    pub(crate) what: String,
    /// What to do, a sentence. Empty where `what` says it already.
    pub(crate) hint: String,
}

impl Failure {
    pub(crate) fn new(kind: Kind, what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { kind, what: what.into(), hint: hint.into() }
    }

    pub(crate) fn usage(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(Kind::Usage, what, hint)
    }

    pub(crate) fn machine(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(Kind::Machine, what, hint)
    }

    /// Something that cannot happen unless we are wrong.
    pub(crate) fn defect(what: impl fmt::Display) -> Self {
        Self::new(
            Kind::Defect,
            format!("Something failed that should not ({what})."),
            "Please report it, with the file that --log FILE writes.",
        )
    }
}

impl From<&Failure> for Note {
    fn from(failure: &Failure) -> Self {
        Self::Error { code: failure.kind.name(), message: failure.what.clone(), hint: failure.hint.clone() }
    }
}

impl Failure {
    /// With what to do where the server is one that was set for all calls.
    pub(crate) fn or_forget(mut self, standing: bool) -> Self {
        if standing {
            self.hint.push_str(FORGET);
        }
        self
    }
}

const FORGET: &str = " It is the server that is set: `voicechat config unset server` forgets it, `voicechat host` does without one.";

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        if !self.hint.is_empty() {
            write!(f, "\n{}", self.hint)?;
        }
        Ok(())
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let (kind, what, hint) = match error {
            Error::WrongCode => (
                Kind::WrongCode,
                "The words of the code are wrong.",
                "Ask your friend to read it again; after a few wrong tries the code stops working.",
            ),
            Error::NoSuchRoom => (
                Kind::NoSuchRoom,
                "No room has this code.",
                "Check the number, or ask for a fresh code; a room closes when everybody has left.",
            ),
            Error::NobodyHome => (
                Kind::NoSuchRoom,
                "The room exists, but nobody in it answered.",
                "Ask your friend to stay connected and try again.",
            ),
            Error::Full => {
                (Kind::Closed, "The room is full.", "Ask somebody to leave, or open a second room.")
            }
            Error::Locked => (
                Kind::Closed,
                "The room takes nobody in any more, because too many wrong codes were tried.",
                "Ask your friend for a new code (/invite).",
            ),
            Error::Closed => (
                Kind::Closed,
                "The room is locked: its members let nobody in.",
                "Ask a friend inside to type /unlock, then try again.",
            ),
            Error::Version => (
                Kind::Version,
                "The server, or the friend who opens the door, runs another version of voicechat.",
                "Update voicechat on both sides; `voicechat doctor` says whether it is the server.",
            ),
            Error::Unreachable => (
                Kind::Unreachable,
                "The server does not answer.",
                "Check its address and your connection, then try again.",
            ),
            Error::TooFast => {
                (Kind::Closed, "There were too many tries in a short time.", "Wait a minute, then try again.")
            }
            Error::NoPath => (
                Kind::NoPath,
                "You were let in, but no connection to anybody in the room works.",
                "A firewall blocks UDP on one side; try another network, or without --path.",
            ),
            Error::Kicked => (Kind::Removed, "The creator removed you from the room.", ""),
        };
        Self::new(kind, what, hint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_failures_share_a_status_or_a_name() {
        for (i, a) in Kind::ALL.iter().enumerate() {
            for b in &Kind::ALL[i + 1..] {
                assert_ne!(a.status(), b.status());
                assert_ne!(a.name(), b.name());
            }
        }
    }

    #[test]
    fn every_status_is_promised_in_the_events_page_and_in_the_help() {
        let page = include_str!("../../docs/EVENTS.md");
        for kind in Kind::ALL {
            let row = format!("| {} | `{}` |", kind.status(), kind.name());
            assert!(page.contains(&row), "{row}");
            let line = format!("\n  {:<3}", kind.status());
            assert!(crate::cli::STATUSES.contains(&line), "{line}");
        }
    }
}
