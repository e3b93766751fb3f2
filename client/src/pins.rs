//! The keys that servers showed the first time, one `HOST:PORT KEY` a line, as ssh keeps its known hosts. Room
//! security does not rest on them; they keep a wire-tapper from posing as the server.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use vc_core::crypto::keys::PublicKey;
use vc_core::room::code::{base32, unbase32};

pub(crate) struct Pins(PathBuf);

impl Pins {
    pub(crate) fn in_dir(state: &Path) -> Self {
        Self(state.join("known_servers"))
    }

    pub(crate) fn file(&self) -> &Path {
        &self.0
    }

    /// The key that this address showed before.
    pub(crate) fn key_of(&self, address: &str) -> Option<PublicKey> {
        let text = self.text().ok()?;
        text.lines().filter_map(pin).find(|(known, _)| *known == address).map(|(_, key)| key)
    }

    /// Replaces what was known of this address. The file is replaced whole, so a crash leaves the old one.
    pub(crate) fn remember(&self, address: &str, key: PublicKey) -> io::Result<()> {
        let before = self.text().unwrap_or_default();
        let mut lines: Vec<&str> =
            before.lines().filter(|line| pin(line).is_none_or(|(known, _)| known != address)).collect();
        let ours = format!("{address} {}", base32(&key.0));
        lines.push(&ours);
        if let Some(dir) = self.0.parent() {
            fs::create_dir_all(dir)?;
        }
        let fresh = self.0.with_extension(format!("new{}", std::process::id()));
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(true);
        // Whom one calls with is nobody's business.
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options.open(&fresh)?.write_all((lines.join("\n") + "\n").as_bytes())?;
        fs::rename(&fresh, &self.0)
    }
}

impl Pins {
    fn text(&self) -> io::Result<String> {
        let mut text = String::new();
        fs::File::open(&self.0)?.take(MAX_LEN).read_to_string(&mut text)?;
        Ok(text)
    }
}

fn pin(line: &str) -> Option<(&str, PublicKey)> {
    let (address, key) = line.trim().split_once(' ')?;
    Some((address, PublicKey(unbase32(key)?)))
}

/// Ten thousand servers; a device that never ends is no list of them.
const MAX_LEN: u64 = 1 << 20;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_known_after_the_first_use_and_others_stay() {
        let dir = tempfile::tempdir().unwrap();
        let pins = Pins::in_dir(&dir.path().join("not yet there"));
        assert_eq!(pins.key_of("a:1"), None);
        pins.remember("a:1", PublicKey([1; 32])).unwrap();
        pins.remember("b:1", PublicKey([2; 32])).unwrap();
        pins.remember("a:1", PublicKey([3; 32])).unwrap();
        assert_eq!(pins.key_of("a:1"), Some(PublicKey([3; 32])));
        assert_eq!(pins.key_of("b:1"), Some(PublicKey([2; 32])));
        assert_eq!(fs::read_to_string(pins.file()).unwrap().lines().count(), 2);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(pins.file()).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn a_line_that_we_cannot_read_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let pins = Pins::in_dir(dir.path());
        fs::write(pins.file(), "# mine\na:1 zzz\n").unwrap();
        assert_eq!(pins.key_of("a:1"), None);
        pins.remember("a:1", PublicKey([1; 32])).unwrap();
        assert!(fs::read_to_string(pins.file()).unwrap().starts_with("# mine\na:1 zzz\n"));
        assert_eq!(pins.key_of("a:1"), Some(PublicKey([1; 32])));
    }
}
