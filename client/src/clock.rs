//! The room's time. It goes on while the machine sleeps, so that the first look at it after waking tells how long it was.

use std::time::Duration;

use vc_core::io::Time;

pub(crate) struct Clock {
    start: Duration,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { start: reading() }
    }

    pub(crate) fn now(&self) -> Time {
        let elapsed = reading().saturating_sub(self.start);
        Time::from_micros(u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX))
    }

    /// How long until then. Timers do not count sleep, so this is asked anew before each wait.
    pub(crate) fn until(&self, at: Time) -> Duration {
        at - self.now()
    }
}

#[cfg(any(target_os = "linux", target_os = "macos"))]
fn reading() -> Duration {
    use rustix::time::{ClockId, clock_gettime};
    // Each system's one that counts sleep: on macOS, CLOCK_MONOTONIC does.
    #[cfg(target_os = "linux")]
    const CLOCK: ClockId = ClockId::Boottime;
    #[cfg(target_os = "macos")]
    const CLOCK: ClockId = ClockId::Monotonic;
    let time = clock_gettime(CLOCK);
    let secs = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::new(secs, u32::try_from(time.tv_nsec).unwrap_or_default())
}

#[cfg(not(any(target_os = "linux", target_os = "macos")))]
fn reading() -> Duration {
    use std::sync::OnceLock;
    use std::time::Instant;
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    ORIGIN.get_or_init(Instant::now).elapsed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_starts_at_zero_and_only_goes_forward() {
        let clock = Clock::start();
        let mut before = clock.now();
        assert!(before - Time::ZERO < Duration::from_secs(60));
        for _ in 0..1_000 {
            let now = clock.now();
            assert!(now >= before);
            before = now;
        }
        let later = before + Duration::from_secs(60);
        assert!(clock.until(later) <= Duration::from_secs(60));
        assert_eq!(clock.until(Time::ZERO), Duration::ZERO);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn it_is_the_system_s_time_since_boot_sleep_included() {
        let uptime = std::fs::read_to_string("/proc/uptime").unwrap_or_default();
        let seconds: f64 = uptime.split(' ').next().and_then(|text| text.parse().ok()).unwrap_or_default();
        assert!((reading().as_secs_f64() - seconds).abs() < 60.0);
    }
}
