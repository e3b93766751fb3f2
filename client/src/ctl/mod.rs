//! Orders from outside the terminal, over a local socket that only this user can open. A request is a line, as it is
//! typed in the call without its slash; each is answered by a line of JSON.

mod command;
mod listen;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use interprocess::ConnectWaitMode;
use interprocess::local_socket::{ConnectOptions, Name, Stream};
use serde::{Deserialize, Serialize};

pub(crate) use self::command::run;
pub(crate) use self::listen::{Asked, Listener};
use crate::config::runtime_dir;

/// What answers a request. `E` holds the event: its numbers as they are where it is written.
#[derive(Debug, Deserialize, Serialize)]
struct Answered<E = serde_json::Value> {
    /// What the caller's process ends with: 0 when it was done, else as in docs/EVENTS.md.
    status: u8,
    /// In words, for people.
    text: String,
    /// The same as an event of docs/EVENTS.md.
    event: E,
}

/// Where a call of this user listens, by the number of its process.
struct Spot(PathBuf);

impl Spot {
    fn of(dir: &Path, pid: u32) -> Self {
        Self(dir.join(format!("{PREFIX}{pid}")))
    }

    /// Of all calls, the latest first.
    fn all(dir: &Path) -> Vec<Self> {
        let mut spots: Vec<_> = fs::read_dir(dir)
            .into_iter()
            .flatten()
            .flatten()
            .filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX))
            .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, Self(entry.path()))))
            .collect();
        spots.sort_by_key(|(since, _)| std::cmp::Reverse(*since));
        spots.into_iter().map(|(_, spot)| spot).collect()
    }

    /// Takes away what calls that were killed left.
    fn sweep(dir: &Path) {
        for left in Self::all(dir).iter().filter(|spot| !spot.lives()) {
            drop(left.connect());
        }
    }

    #[cfg(unix)]
    fn name(&self) -> io::Result<Name<'_>> {
        use interprocess::local_socket::{GenericFilePath, ToFsName};
        self.0.as_path().to_fs_name::<GenericFilePath>()
    }

    /// A pipe has no place among the files: an empty one of its name says that it is there.
    #[cfg(windows)]
    fn name(&self) -> io::Result<Name<'_>> {
        use interprocess::local_socket::{GenericNamespaced, ToNsName};
        let name = self.0.file_name().unwrap_or_default().to_string_lossy();
        format!("voicechat-{name}").to_ns_name::<GenericNamespaced>()
    }

    /// `None` when nobody can have it: what was left there belongs to a process that has ended.
    fn connect(&self) -> Option<io::Result<Stream>> {
        let reached = self.name().and_then(|name| {
            ConnectOptions::new().name(name).wait_mode(ConnectWaitMode::Timeout(PATIENCE)).connect_sync()
        });
        match reached {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            // Some systems refuse also when too many knock at once: a process that lives keeps its socket.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused && !self.lives() => {
                self.remove();
                None
            }
            reached => Some(reached),
        }
    }

    /// Whether the process with the number in the name runs.
    fn lives(&self) -> bool {
        let name = self.0.file_name().unwrap_or_default().to_string_lossy();
        name.strip_prefix(PREFIX).and_then(|number| number.parse().ok()).is_some_and(runs)
    }

    fn remove(&self) {
        // What is gone already needs no removing.
        let _ = fs::remove_file(&self.0);
    }
}

#[cfg(unix)]
fn runs(process: i32) -> bool {
    use rustix::process::{Pid, test_kill_process};
    let asked = Pid::from_raw(process).map(test_kill_process);
    asked.is_some_and(|asked| asked != Err(rustix::io::Errno::SRCH))
}

/// A pipe goes with its process, so that it is missing rather than refused.
#[cfg(windows)]
fn runs(_: i32) -> bool {
    true
}

/// The directory of all spots, for this user alone. `None` on a machine without a place for it.
fn dir() -> Option<PathBuf> {
    let dir = runtime_dir()?;
    fs::create_dir_all(&dir).ok()?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).ok()?;
    }
    Some(dir)
}

const PREFIX: &str = "call-";
/// Longer than any order.
const MAX_REQUEST: usize = 4_096;
/// A caller that says or takes nothing for so long hangs, and so does a call that is not reached in it.
const PATIENCE: Duration = Duration::from_secs(5);

#[cfg(all(test, unix))]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::net::UnixListener;
    use std::process::{Command, id};

    use super::*;

    #[test]
    fn what_a_killed_call_left_is_taken_away_and_who_answers_stays() {
        let dir = tempfile::tempdir().unwrap();
        let mut ended = [0; 2].map(|_| Command::new("true").spawn().unwrap());
        for process in &mut ended {
            process.wait().unwrap();
        }
        let [killed, elsewhere] = ended.map(|process| Spot::of(dir.path(), process.id()));
        drop(UnixListener::bind(&killed.0).unwrap());
        // Its number is of another set of processes.
        let _answers = UnixListener::bind(&elsewhere.0).unwrap();
        let living = Spot::of(dir.path(), id());
        drop(UnixListener::bind(&living.0).unwrap());
        Spot::sweep(dir.path());
        assert_eq!([killed, elsewhere, living].map(|spot| spot.0.exists()), [false, true, true]);
    }
}
