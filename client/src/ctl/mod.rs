//! Orders from outside the terminal, over a local socket that only this user can open. A request is a line, as it is
//! typed in the call without its slash; each is answered by a line of JSON.

mod command;
mod listen;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use interprocess::local_socket::Name;
use serde::{Deserialize, Serialize};

pub(crate) use self::command::run;
pub(crate) use self::listen::{Asked, Listener};
use crate::config::runtime_dir;

/// What answers a request.
#[derive(Debug, Deserialize, Serialize)]
struct Answered {
    done: bool,
    /// In words, for people.
    text: String,
    /// The same as an event of docs/EVENTS.md.
    event: serde_json::Value,
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

    fn remove(&self) {
        // What is gone already needs no removing.
        let _ = fs::remove_file(&self.0);
    }
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
const MAX_REQUEST: u64 = 4_096;
