//! Diagnostics on request, and what a defect looks like to the user. Without -v or --log nothing is recorded.

use std::fs::{File, OpenOptions};
use std::io;
use std::panic;
use std::path::Path;
use std::sync::Mutex;

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::writer::{BoxMakeWriter, MakeWriterExt};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::reason;
use crate::failure::Failure;

pub(crate) fn start(on_stderr: bool, file: Option<&Path>) -> Result<(), Failure> {
    let opened = |path: &Path| {
        create(path).map(Mutex::new).map_err(|error| {
            Failure::machine(
                format!("The log file {} cannot be written ({}).", path.display(), reason(&error)),
                "Choose another place for --log.",
            )
        })
    };
    let writer = match (file.map(opened).transpose()?, on_stderr) {
        (Some(file), true) => BoxMakeWriter::new(file.and(io::stderr)),
        (Some(file), false) => BoxMakeWriter::new(file),
        (None, true) => BoxMakeWriter::new(io::stderr),
        (None, false) => return Ok(()),
    };
    let lines = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(writer);
    let ours = OURS.map(|name| (name, LevelFilter::DEBUG));
    let filter = Targets::new().with_targets(ours).with_default(LevelFilter::WARN);
    tracing_subscriber::registry().with(lines).with(filter).init();
    Ok(())
}

/// For the eyes of the user alone: it tells when and how they talked.
fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    options.open(path)
}

/// Where it broke. Not the message, which may quote what was typed or who typed it.
pub(crate) fn record(panic: &panic::PanicHookInfo<'_>) {
    match panic.location() {
        Some(at) => tracing::error!(file = at.file(), line = at.line(), "defect"),
        None => tracing::error!("defect"),
    }
}

/// Backtraces help us, not the person in the call: the place goes to the log.
pub(crate) fn quiet_panics() {
    panic::set_hook(Box::new(|panic| {
        record(panic);
        crate::printer::fail(&Failure::defect("a part of the program stopped"));
    }));
}

/// A crash must not leave keys and voices in a file. Where it is refused, the system's own setting stands.
pub(crate) fn leave_no_core() {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, setrlimit};
        let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    }
}

const OURS: [&str; 5] = ["voicechat", "vc_core", "audio", "signaling", "relay"];

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Write;
    use std::sync::Arc;

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_log_tells_where_it_broke_and_not_what_was_said() {
        let kept = Kept::default();
        let writer = kept.clone();
        let lines = tracing_subscriber::fmt().with_writer(move || writer.clone()).with_ansi(false).finish();
        let before = panic::take_hook();
        panic::set_hook(Box::new(record));
        tracing::subscriber::with_default(lines, || {
            assert!(panic::catch_unwind(|| panic!("48213-tiger-orbit-ocean")).is_err());
        });
        panic::set_hook(before);
        let text = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
        assert!(text.contains("defect") && text.contains("trace.rs"), "{text}");
        assert!(!text.contains("tiger"), "{text}");
    }

    #[cfg(unix)]
    #[test]
    fn the_log_is_for_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let file = create(&dir.path().join("log")).unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
}
