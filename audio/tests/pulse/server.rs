//! A PulseAudio server for a test: private, with null sinks, stopped and started as the test says.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Runs `scenario` in a child of its own with a private server, or says that there is none.
pub(crate) fn with_server(name: &str, scenario: impl FnOnce()) {
    if is_child() {
        return scenario();
    }
    let _turn = turn();
    if let Some(server) = Server::start() {
        assert!(child(name, &server.socket()).wait().unwrap().success());
    }
}

/// The same with a server that dies when `scenario` says that it runs, and comes back when it says what it lost.
pub(crate) fn with_mortal_server(name: &str, scenario: impl FnOnce()) {
    if is_child() {
        return scenario();
    }
    let _turn = turn();
    let Some(mut server) = Server::start() else { return };
    let mut child = child(name, &server.socket());
    let mut out = child.stdout.take().unwrap();
    // The child says when it is time; it waits for nothing but what the engine tells it.
    expect(&mut out, READY);
    server.stop();
    expect(&mut out, LOST);
    server.restart();
    assert!(child.wait().unwrap().success());
}

/// Whether this is the test's child, which has a server.
pub(crate) fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

/// One after the other: side by side they keep each other from being in time.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn child(test: &str, socket: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(CHILD, "1")
        .env("PULSE_SERVER", format!("unix:{}", socket.display()))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// A PulseAudio server in a directory of its own, with the sinks `spk` and `mic`.
struct Server {
    dir: tempfile::TempDir,
    process: Child,
}

impl Server {
    fn start() -> Option<Server> {
        if Command::new("pulseaudio").arg("--version").stdout(Stdio::null()).status().is_err() {
            eprintln!("SKIPPED: the program `pulseaudio` is not installed");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let process = Server::spawn(dir.path());
        Some(Server { dir, process })
    }

    fn spawn(dir: &Path) -> Child {
        use std::os::unix::fs::PermissionsExt;
        let run = dir.join("run");
        std::fs::create_dir_all(run.join("pulse")).unwrap();
        std::fs::set_permissions(&run, std::fs::Permissions::from_mode(0o700)).unwrap();
        let socket = run.join("pulse/native");
        let _ = std::fs::remove_file(&socket);
        let null_sink = |name: &str, channels| {
            // Without `norewinds` null sinks of some versions run at half speed.
            format!("module-null-sink sink_name={name} rate=48000 channels={channels} norewinds=1")
        };
        let process = Command::new("pulseaudio")
            .args(["-n", "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no"])
            .args(["--realtime=no", "--high-priority=no", "--log-level=error"])
            .args(["-L", &null_sink("spk", 2), "-L", &null_sink("mic", 1), "-L"])
            .arg(format!("module-native-protocol-unix socket={} auth-anonymous=1", socket.display()))
            .env("HOME", dir)
            .env("XDG_RUNTIME_DIR", &run)
            .env("PULSE_RUNTIME_PATH", run.join("pulse"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // The socket module is loaded last: when it accepts, everything is there.
        let deadline = Instant::now() + Duration::from_secs(20);
        while std::os::unix::net::UnixStream::connect(&socket).is_err() {
            assert!(Instant::now() < deadline, "pulseaudio did not start");
            std::thread::park_timeout(Duration::from_millis(20));
        }
        process
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("run/pulse/native")
    }

    fn stop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    fn restart(&mut self) {
        self.process = Server::spawn(self.dir.path());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Loads a module into the server; [`unload`] takes it out again.
pub(crate) fn load(module: &[&str]) -> String {
    pactl(&[&["load-module"], module].concat())
}

pub(crate) fn unload(module: &str) {
    pactl(&["unload-module", module.trim()]);
}

pub(crate) fn pactl(order: &[&str]) -> String {
    let answer = Command::new("pactl").args(order).output().unwrap();
    assert!(answer.status.success(), "{order:?}");
    String::from_utf8(answer.stdout).unwrap()
}

pub(crate) fn say(word: &str) {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{word}").unwrap();
    out.flush().unwrap();
}

fn expect(out: &mut impl Read, word: &str) {
    let (mut seen, mut byte) = (String::new(), [0]);
    while !seen.ends_with(word) {
        out.read_exact(&mut byte).expect("the child ended early");
        seen.push(char::from(byte[0]));
    }
}

const CHILD: &str = "AUDIO_TEST_CHILD";
pub(crate) const READY: &str = "<running>";
pub(crate) const LOST: &str = "<lost>";
