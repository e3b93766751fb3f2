//! What a room holds, to the byte: all that is allocated in its calls less what it gives away.

use vc_core::io::{Command, Event, Input, Output, SignalOut};

/// Runs it; by how many bytes more memory is in use afterwards.
pub(crate) fn taken<T>(run: impl FnOnce() -> T) -> (T, i64) {
    let mut result = None;
    let info = allocation_counter::measure(|| result = Some(run()));
    (result.expect("it ran"), info.bytes_current)
}

/// What moves in with an input.
pub(crate) fn of_input(input: &Input<'_>) -> i64 {
    let bytes = match input {
        Input::Voice(frame) => frame.opus.capacity(),
        Input::Command(Command::Say(text) | Command::Rename(text)) => text.capacity(),
        _ => 0,
    };
    bytes as i64
}

/// What moves out with an output.
pub(crate) fn of_output(output: &Output) -> i64 {
    let bytes = match output {
        Output::Transmit { bytes, .. } | Output::Signal(SignalOut::Frame(bytes)) => bytes.capacity(),
        Output::Voice { frame, .. } => frame.opus.capacity(),
        Output::Event(event) => match event {
            Event::Invite(codes) => codes.spoken.as_ref().map_or(0, |(_, words)| words.capacity()),
            Event::Joined { name: text, .. }
            | Event::Renamed { name: text, .. }
            | Event::Unreachable { name: text, .. }
            | Event::Said { text, .. }
            | Event::Undelivered { text, .. } => text.capacity(),
            _ => 0,
        },
        _ => 0,
    };
    bytes as i64
}
