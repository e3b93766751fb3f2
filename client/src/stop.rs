//! Being asked to stop: Ctrl-C, a closed terminal, a service manager, the clock.

#[cfg(unix)]
use std::task::Poll;

use tokio::time::{Instant, sleep_until};

use crate::failure::Failure;

#[cfg(unix)]
pub(crate) struct Stop(Vec<tokio::signal::unix::Signal>);

#[cfg(unix)]
impl Stop {
    /// From now on the signals no longer end the process by themselves.
    pub(crate) fn new() -> Result<Self, Failure> {
        use tokio::signal::unix::{SignalKind, signal};
        let listen = |end: &rustix::process::Signal| signal(SignalKind::from_raw(end.as_raw()));
        let all = ENDS
            .iter()
            .chain(ENDS_OF_LINUX)
            .map(listen)
            .collect::<Result<_, _>>()
            .map_err(Failure::defect)?;
        Ok(Self(all))
    }

    /// Once per request.
    pub(crate) async fn asked(&mut self) {
        std::future::poll_fn(|context| {
            let asked = self.0.iter_mut().any(|signal| signal.poll_recv(context).is_ready());
            if asked { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

/// What others send to end a program, and what would end it by itself, the terminal left as it is. Not what a fault of its
/// own raises and must not survive; after an abort of its own it ends all the same.
#[cfg(unix)]
const ENDS: [rustix::process::Signal; 12] = {
    use rustix::process::Signal;
    [
        Signal::INT,
        Signal::TERM,
        Signal::HUP,
        Signal::QUIT,
        Signal::USR1,
        Signal::USR2,
        Signal::ALARM,
        Signal::VTALARM,
        Signal::PROF,
        Signal::XCPU,
        Signal::XFSZ,
        Signal::ABORT,
    ]
};

#[cfg(target_os = "linux")]
const ENDS_OF_LINUX: &[rustix::process::Signal] =
    &[rustix::process::Signal::IO, rustix::process::Signal::POWER, rustix::process::Signal::STKFLT];
#[cfg(all(unix, not(target_os = "linux")))]
const ENDS_OF_LINUX: &[rustix::process::Signal] = &[];

/// Ctrl-C, Ctrl-Break, the window that is closed, logging off, shutting down. The last three leave some seconds.
#[cfg(windows)]
pub(crate) struct Stop {
    c: tokio::signal::windows::CtrlC,
    r#break: tokio::signal::windows::CtrlBreak,
    close: tokio::signal::windows::CtrlClose,
    logoff: tokio::signal::windows::CtrlLogoff,
    shutdown: tokio::signal::windows::CtrlShutdown,
}

#[cfg(windows)]
impl Stop {
    pub(crate) fn new() -> Result<Self, Failure> {
        use tokio::signal::windows::{ctrl_break, ctrl_c, ctrl_close, ctrl_logoff, ctrl_shutdown};
        Ok(Self {
            c: ctrl_c().map_err(Failure::defect)?,
            r#break: ctrl_break().map_err(Failure::defect)?,
            close: ctrl_close().map_err(Failure::defect)?,
            logoff: ctrl_logoff().map_err(Failure::defect)?,
            shutdown: ctrl_shutdown().map_err(Failure::defect)?,
        })
    }

    /// Once per request.
    pub(crate) async fn asked(&mut self) {
        tokio::select! {
            _ = self.c.recv() => {}
            _ = self.r#break.recv() => {}
            _ = self.close.recv() => {}
            _ = self.logoff.recv() => {}
            _ = self.shutdown.recv() => {}
        }
    }
}

/// Being let go on after a stop (Ctrl-Z and `fg`).
#[derive(Default)]
pub(crate) struct Resumed {
    #[cfg(unix)]
    signal: Option<tokio::signal::unix::Signal>,
}

impl Resumed {
    #[cfg(unix)]
    pub(crate) async fn next(&mut self) {
        use tokio::signal::unix::{SignalKind, signal};
        if self.signal.is_none() {
            self.signal = signal(SignalKind::from_raw(rustix::process::Signal::CONT.as_raw())).ok();
        }
        match &mut self.signal {
            Some(signal) => drop(signal.recv().await),
            None => std::future::pending().await,
        }
    }

    #[cfg(not(unix))]
    pub(crate) async fn next(&mut self) {
        std::future::pending().await
    }
}

/// At that time, or never.
pub(crate) async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}
