//! A server's key as a file: 32 bytes in hex, for its owner's eyes only.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;

use vc_core::crypto::keys::{Secret, kdf};
use zeroize::Zeroizing;

/// Reads the key; where there is no file, makes one of random bytes that only its owner can read.
pub fn load_or_create(path: &Path) -> io::Result<Secret<32>> {
    match create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => load(path),
        created => created,
    }
}

fn load(path: &Path) -> io::Result<Secret<32>> {
    // A device in its place would never end.
    let mut text = Zeroizing::new(String::with_capacity(LONGEST));
    File::open(path)?.take(LONGEST as u64).read_to_string(&mut text)?;
    let mut key = Zeroizing::new([0; 32]);
    hex::decode_to_slice(text.trim(), key.as_mut_slice())
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "a key file holds 64 hex digits"))?;
    Ok(Secret::new(*key))
}

fn create(path: &Path) -> io::Result<Secret<32>> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    let mut key = Zeroizing::new([0; 32]);
    getrandom::fill(key.as_mut_slice()).map_err(io::Error::other)?;
    let text = Zeroizing::new(hex::encode(key.as_slice()));
    writeln!(file, "{}", text.as_str())?;
    file.sync_all()?;
    Ok(Secret::new(*key))
}

/// The number by which tickets name the relay with this key: whoever has the key file needs no other setting.
pub fn relay_id(key: &Secret<32>) -> [u8; 4] {
    *kdf::<4>(key.as_bytes(), "relay id", &[]).as_bytes()
}

/// 64 hex digits and an editor's line end.
const LONGEST: usize = 66;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_key_is_made_once_kept_private_and_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("relay.key");
        let made = load_or_create(&path).unwrap();
        assert_eq!(made.as_bytes(), load_or_create(&path).unwrap().as_bytes());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn a_damaged_key_file_is_an_error_and_is_not_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("relay.key");
        fs::write(&path, "abc").unwrap();
        assert!(load_or_create(&path).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "abc");
    }

    #[cfg(unix)]
    #[test]
    fn a_device_that_never_ends_is_an_error() {
        assert!(load_or_create(Path::new("/dev/zero")).is_err());
    }
}
