//! Being asked to stop: Ctrl-C, a closed terminal, a service manager, the clock.

use tokio::time::{Instant, sleep_until};

use crate::failure::Failure;

#[cfg(unix)]
pub(crate) struct Stop([tokio::signal::unix::Signal; 4]);

#[cfg(unix)]
impl Stop {
    /// From now on the signals no longer end the process by themselves.
    pub(crate) fn new() -> Result<Self, Failure> {
        use tokio::signal::unix::{SignalKind, signal};
        let listen = |kind| signal(kind).map_err(Failure::defect);
        Ok(Self([
            listen(SignalKind::interrupt())?,
            listen(SignalKind::terminate())?,
            listen(SignalKind::hangup())?,
            // By itself it would leave the terminal as it is.
            listen(SignalKind::quit())?,
        ]))
    }

    /// Once per request.
    pub(crate) async fn asked(&mut self) {
        let [interrupt, terminate, hangup, quit] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
            _ = quit.recv() => {}
        }
    }
}

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
