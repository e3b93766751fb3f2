//! Finding and reaching the PulseAudio server as libpulse does: `PULSE_SERVER`, then the usual sockets.

use std::env;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

/// A connection to the server.
pub(crate) enum Socket {
    Unix(UnixStream),
    Tcp(TcpStream),
}

#[derive(Debug, PartialEq)]
enum Place {
    Unix(PathBuf),
    Tcp(String),
}

/// Connects to the first server that answers; the text says what was tried.
pub(crate) fn connect() -> Result<Socket, String> {
    let places = match env::var("PULSE_SERVER") {
        Ok(list) => parse(&list),
        Err(_) => usual(),
    };
    let mut tried = Vec::new();
    for place in &places {
        match place.connect() {
            Ok(socket) => return Ok(socket),
            Err(error) => tried.push(match place {
                Place::Unix(path) => format!("{}: {error}", path.display()),
                Place::Tcp(host) => format!("{host}: {error}"),
            }),
        }
    }
    Err(if tried.is_empty() { "no socket is named".into() } else { tried.join(", ") })
}

impl Place {
    fn connect(&self) -> io::Result<Socket> {
        let socket = match self {
            Place::Unix(path) => Socket::Unix(UnixStream::connect(path)?),
            Place::Tcp(host) => {
                let address = host.to_socket_addrs()?.next().ok_or(io::ErrorKind::NotFound)?;
                let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
                stream.set_nodelay(true)?;
                Socket::Tcp(stream)
            }
        };
        socket.set_patience(Some(PATIENCE))?;
        Ok(socket)
    }
}

impl Socket {
    pub(crate) fn try_clone(&self) -> io::Result<Socket> {
        Ok(match self {
            Socket::Unix(stream) => Socket::Unix(stream.try_clone()?),
            Socket::Tcp(stream) => Socket::Tcp(stream.try_clone()?),
        })
    }

    /// Reading waits as long as it takes; writing never does, or the worker would hang with the server.
    pub(crate) fn wait_for_ever(&self) -> io::Result<()> {
        match self {
            Socket::Unix(stream) => stream.set_read_timeout(None),
            Socket::Tcp(stream) => stream.set_read_timeout(None),
        }
    }

    /// Ends every read and write on it.
    pub(crate) fn shut(&self) {
        let _ = match self {
            Socket::Unix(stream) => stream.shutdown(Shutdown::Both),
            Socket::Tcp(stream) => stream.shutdown(Shutdown::Both),
        };
    }

    fn set_patience(&self, patience: Option<Duration>) -> io::Result<()> {
        match self {
            Socket::Unix(stream) => {
                stream.set_read_timeout(patience)?;
                stream.set_write_timeout(patience)
            }
            Socket::Tcp(stream) => {
                stream.set_read_timeout(patience)?;
                stream.set_write_timeout(patience)
            }
        }
    }
}

impl Read for Socket {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Socket::Unix(stream) => stream.read(buf),
            Socket::Tcp(stream) => stream.read(buf),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self {
            Socket::Unix(stream) => stream.write(buf),
            Socket::Tcp(stream) => stream.write(buf),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A list as in `PULSE_SERVER`: places separated by blanks, each perhaps with a `{machine}` in front.
fn parse(list: &str) -> Vec<Place> {
    list.split_whitespace()
        .filter_map(|entry| {
            let entry =
                entry.strip_prefix('{').and_then(|e| e.split_once('}')).map_or(entry, |(_, rest)| rest);
            if let Some(path) = entry.strip_prefix("unix:") {
                return Some(Place::Unix(path.into()));
            }
            if entry.starts_with('/') {
                return Some(Place::Unix(entry.into()));
            }
            let host = ["tcp:", "tcp4:", "tcp6:"].iter().find_map(|p| entry.strip_prefix(p)).unwrap_or(entry);
            let has_port = host.rsplit_once(':').is_some_and(|(before, port)| {
                port.parse::<u16>().is_ok() && (!before.contains(':') || before.ends_with(']'))
            });
            match (host, has_port) {
                ("", _) => None,
                (host, true) => Some(Place::Tcp(host.to_owned())),
                (host, false) => Some(Place::Tcp(format!("{host}:{PORT}"))),
            }
        })
        .collect()
}

fn usual() -> Vec<Place> {
    let own_runtime = env::var_os("PULSE_RUNTIME_PATH").map(|dir| PathBuf::from(dir).join("native"));
    let runtime = env::var_os("XDG_RUNTIME_DIR").map(|dir| PathBuf::from(dir).join("pulse/native"));
    let by_user = std::fs::metadata("/proc/self")
        .map(|about| PathBuf::from(format!("/run/user/{}/pulse/native", about.uid())))
        .ok();
    let system = Some(PathBuf::from("/var/run/pulse/native"));
    let mut places: Vec<Place> = Vec::new();
    for path in [own_runtime, runtime, by_user, system].into_iter().flatten() {
        let place = Place::Unix(path);
        if !places.contains(&place) {
            places.push(place);
        }
    }
    places
}

/// A server on this machine answers in milliseconds; one that does not is worse than none.
const PATIENCE: Duration = Duration::from_millis(400);
/// PulseAudio's registered port.
const PORT: u16 = 4713;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_pulse_server_is_understood() {
        let unix = |path: &str| Place::Unix(path.into());
        let tcp = |host: &str| Place::Tcp(host.into());
        assert_eq!(parse("unix:/a/b"), [unix("/a/b")]);
        assert_eq!(parse("{0af3}unix:/a /b"), [unix("/a"), unix("/b")]);
        assert_eq!(parse("tcp:box"), [tcp("box:4713")]);
        assert_eq!(parse("tcp:10.0.0.1:99 tcp6:[::1]:5"), [tcp("10.0.0.1:99"), tcp("[::1]:5")]);
        assert_eq!(parse("box:7"), [tcp("box:7")]);
        assert_eq!(parse("  "), []);
    }

    #[test]
    fn a_connection_that_nobody_accepts_is_refused_at_once() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let place = Place::Unix(dir.path().join("native"));
        assert!(place.connect().is_err());
    }
}
