//! Diagnostics on request, and what a defect looks like to the user. Without -v or --log nothing is recorded.

use std::fs::File;
use std::io;
use std::panic;
use std::path::Path;
use std::sync::Mutex;

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::reason;
use crate::failure::Failure;

pub(crate) fn start(verbose: bool, file: Option<&Path>) -> Result<(), Failure> {
    let writer = match file {
        Some(path) => {
            let file = File::create(path).map_err(|error| {
                Failure::machine(
                    format!("The log file {} cannot be written ({}).", path.display(), reason(&error)),
                    "Choose another place for --log.",
                )
            })?;
            BoxMakeWriter::new(Mutex::new(file))
        }
        None if verbose => BoxMakeWriter::new(io::stderr),
        None => return Ok(()),
    };
    let lines = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(writer);
    let ours = OURS.map(|name| (name, LevelFilter::DEBUG));
    let filter = Targets::new().with_targets(ours).with_default(LevelFilter::WARN);
    tracing_subscriber::registry().with(lines).with(filter).init();
    Ok(())
}

/// Backtraces help us, not the person in the call: the details go to the log.
pub(crate) fn quiet_panics() {
    panic::set_hook(Box::new(|panic| {
        tracing::error!(%panic, "defect");
        crate::ui::fail(&Failure::defect("a part of the program stopped"));
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
