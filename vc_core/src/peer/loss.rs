//! How a friend's voice gets to us, by the numbers in the frames themselves: what is lost, and when the rest comes.
//! Probes of paths that lead nowhere get lost, too, and say nothing about the one that carries.

use std::time::Duration;

use crate::io::{FrameLen, Time, VoiceFrame};
use crate::protocol::control::Report;

/// How voice passes between a friend and us, smoothed over about three seconds.
#[derive(Default)]
pub struct Losses {
    pub meter: VoiceMeter,
    pub measure_at: Option<Time>,
    pub inbound: f32,
    /// The rest is about our voice, as they report: lost share, frames lost in a row, seconds of jitter and of queue.
    pub outbound: f32,
    pub burst: f32,
    pub jitter: f32,
    pub queue: f32,
}

#[derive(Default)]
pub struct VoiceMeter {
    last: Option<Last>,
    expected: u32,
    got: u32,
    /// Gaps that the lost frames form.
    gaps: u32,
    transit: Transit,
}

struct Last {
    time: u32,
    len: FrameLen,
    ended_talk: bool,
}

/// Time of arrival less time of recording, each by its own clock: only changes of it mean anything. Microseconds.
#[derive(Default)]
struct Transit {
    last: Option<i64>,
    last_at: Time,
    /// Interarrival jitter of RFC 3550, section 6.4.1.
    jitter: f64,
    least_now: Option<i64>,
    /// The least of each earlier measurement, the newest last.
    least: Vec<i64>,
    /// Recorded before it and sent with it: what the sender's gate held back at the start of a talk.
    held_until: i64,
}

impl Losses {
    /// What to tell the friend, unless there was too little to measure.
    pub fn report(&mut self) -> Option<Report> {
        let report = self.meter.take();
        if report.got.saturating_add(report.lost) < MEASURE_MIN {
            return None;
        }
        smooth(&mut self.inbound, share(report));
        Some(report)
    }

    /// What the friend told.
    pub fn told(&mut self, report: Report) {
        smooth(&mut self.outbound, share(report));
        // Without a loss there is nothing to say about how losses cluster.
        if report.lost > 0 {
            smooth(&mut self.burst, f32::from(report.burst.max(10)) / 10.0);
        }
        smooth(&mut self.jitter, f32::from(report.jitter) / 10_000.0);
        smooth(&mut self.queue, f32::from(report.queue) / 1_000.0);
    }
}

impl VoiceMeter {
    /// A frame that came for the first time.
    pub fn count(&mut self, now: Time, frame: &VoiceFrame) {
        self.got += 1;
        let position = micros(frame.len) * i64::from(frame.time);
        let step = match &self.last {
            None => None,
            Some(last) if last.len == frame.len => {
                let step = frame.time.wrapping_sub(last.time);
                if step == 0 || step >= 1 << 31 {
                    // Overtaken: it was counted as lost when the later one came.
                    return self.transit.arrived(now, position);
                }
                Some(step)
            }
            Some(last) => {
                let since = position - micros(last.len) * i64::from(last.time) - micros(last.len);
                u32::try_from(since / micros(frame.len)).ok().map(|step| step.saturating_add(1))
            }
        };
        let ended = self.last.as_ref().is_none_or(|last| last.ended_talk);
        // Numbers also pass in silence.
        let goes_on = step.filter(|step| !ended && *step <= LONGEST_GAP);
        if goes_on.is_none() {
            self.transit.held_until = position + HELD_BACK;
        }
        let step = goes_on.unwrap_or(1);
        self.gaps += u32::from(step > 1);
        self.expected += step;
        self.transit.arrived(now, position);
        self.last = Some(Last { time: frame.time, len: frame.len, ended_talk: frame.last_of_talk });
    }

    /// What came since the last call.
    pub fn take(&mut self) -> Report {
        let (got, lost) = (self.got, self.expected.saturating_sub(self.got));
        let tenths = (lost * 10).checked_div(self.gaps.min(lost)).unwrap_or(0);
        let queue = self.transit.take();
        (self.got, self.expected, self.gaps) = (0, 0, 0);
        Report {
            got: clamp(got),
            lost: clamp(lost),
            burst: clamp(tenths),
            jitter: clamp((self.transit.jitter / 100.0) as u32),
            queue: clamp(u32::try_from(queue / 1000).unwrap_or(0)),
        }
    }
}

impl Transit {
    fn arrived(&mut self, now: Time, position: i64) {
        let transit = now.as_micros() as i64 - position;
        let another_clock = self.last.is_some_and(|last| last.abs_diff(transit) > ANOTHER_CLOCK);
        if another_clock || now - self.last_at > STALE {
            *self = Transit { held_until: self.held_until, ..Transit::default() };
        }
        self.last_at = now;
        let least = self.least_now.map_or(transit, |least| least.min(transit));
        self.least_now = Some(least);
        if position < self.held_until {
            return;
        }
        if let Some(last) = self.last.replace(transit) {
            self.jitter += (last.abs_diff(transit) as f64 - self.jitter) / 16.0;
        }
    }

    /// How far the quickest frame since the last call was behind the quickest of the last half minute.
    fn take(&mut self) -> i64 {
        let Some(now) = self.least_now.take() else { return 0 };
        if self.least.len() >= REMEMBERED {
            self.least.remove(0);
        }
        self.least.push(now);
        now - self.least.iter().copied().min().unwrap_or(now)
    }
}

fn share(report: Report) -> f32 {
    f32::from(report.lost) / f32::from(report.got.saturating_add(report.lost).max(1))
}

fn smooth(average: &mut f32, sample: f32) {
    *average += (sample - *average) * WEIGHT;
}

fn micros(len: FrameLen) -> i64 {
    len.duration().as_micros() as i64
}

fn clamp(n: u32) -> u16 {
    u16::try_from(n).unwrap_or(u16::MAX)
}

/// Fewer frames in a second say little.
const MEASURE_MIN: u16 = 10;
/// About three seconds of memory at a report a second.
const WEIGHT: f32 = 0.3;
/// Half a second of 20 ms frames. A longer gap is rather a pause whose announcement was lost.
const LONGEST_GAP: u32 = 25;
/// As much of the start of a talk as a gate keeps, in the longest frames.
const HELD_BACK: i64 = 120_000;
/// No path holds a frame back for so long: the sender has begun anew.
const ANOTHER_CLOCK: u64 = Duration::from_secs(2).as_micros() as u64;
/// Clocks that differ by 200 ppm part by 2 ms in it, and after a longer silence the path may be another one.
const STALE: Duration = Duration::from_secs(10);
/// Half a minute at one call a second: as long as a full queue may last, short enough for clocks that differ by 200 ppm.
const REMEMBERED: usize = 30;

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(time: u32, last_of_talk: bool) -> VoiceFrame {
        VoiceFrame { time, len: FrameLen::Ms20, last_of_talk, age_ms: 0, opus: vec![1] }
    }

    fn at(ms: u64) -> Time {
        Time::from_micros(ms * 1000)
    }

    /// Frames of 20 ms from `first` on, each `late(i)` ms after it was recorded.
    fn hear(meter: &mut VoiceMeter, times: std::ops::Range<u32>, late: impl Fn(u32) -> u64) {
        for time in times {
            meter.count(at(u64::from(time) * 20 + late(time)), &frame(time, false));
        }
    }

    fn got_and_lost(meter: &mut VoiceMeter) -> (u16, u16) {
        let report = meter.take();
        (report.got, report.lost)
    }

    #[test]
    fn gaps_in_talk_are_losses_and_pauses_are_not() {
        let mut meter = VoiceMeter::default();
        for (time, last) in
            [(10, false), (11, false), (14, false), (13, false), (15, true), (900, false), (901, false)]
        {
            meter.count(at(0), &frame(time, last));
        }
        assert_eq!(got_and_lost(&mut meter), (7, 1));
        meter.count(at(0), &frame(2_000, false));
        assert_eq!(got_and_lost(&mut meter), (1, 0));
        assert_eq!(meter.take(), Report::default());
    }

    #[test]
    fn numbers_that_wrap_are_no_loss() {
        let mut meter = VoiceMeter::default();
        for n in 0..10u32 {
            meter.count(at(0), &frame(n.wrapping_sub(5), false));
        }
        assert_eq!(got_and_lost(&mut meter), (10, 0));
    }

    #[test]
    fn another_frame_length_in_the_middle_is_no_loss() {
        let mut meter = VoiceMeter::default();
        for (time, len) in
            [(10, FrameLen::Ms20), (11, FrameLen::Ms20), (4, FrameLen::Ms60), (30, FrameLen::Ms10)]
        {
            meter.count(at(0), &VoiceFrame { len, ..frame(time, false) });
        }
        assert_eq!(got_and_lost(&mut meter), (4, 0));
    }

    #[test]
    fn the_mean_length_of_losses_in_a_row_is_told_in_tenths() {
        let mut meter = VoiceMeter::default();
        for time in [0, 1, 3, 4, 5, 9, 10] {
            meter.count(at(0), &frame(time, false));
        }
        assert_eq!((meter.take().burst, meter.take().burst), (20, 0));
    }

    #[test]
    fn jitter_is_that_of_rfc_3550() {
        let mut meter = VoiceMeter::default();
        hear(&mut meter, 0..50, |_| 40);
        assert_eq!(meter.take().jitter, 0);
        // Transit times differ by 16 ms from frame to frame.
        hear(&mut meter, 50..250, |time| 40 + u64::from(time % 2) * 16);
        assert_eq!(meter.take().jitter, 159);
    }

    #[test]
    fn what_the_gate_held_back_is_no_jitter() {
        let mut meter = VoiceMeter::default();
        for spurt in 0..20u32 {
            let start = spurt * 100;
            hear(&mut meter, start..start + 40, |time| 20 * u64::from(3u32.saturating_sub(time - start)));
            meter.count(at(u64::from(start + 40) * 20), &frame(start + 40, true));
        }
        let report = meter.take();
        assert_eq!((report.jitter, report.queue, report.lost), (0, 0, 0));
    }

    #[test]
    fn clocks_that_parted_in_a_long_silence_are_no_queue() {
        let mut meter = VoiceMeter::default();
        hear(&mut meter, 0..50, |_| 30);
        meter.take();
        hear(&mut meter, 200_000..200_050, |_| 1_030);
        assert_eq!((meter.take().queue, meter.take().jitter), (0, 0));
    }

    #[test]
    fn a_queue_that_fills_is_seen_above_the_least_delay_and_jitter_is_not() {
        let mut meter = VoiceMeter::default();
        hear(&mut meter, 0..50, |time| 30 + u64::from(time % 5) * 10);
        assert_eq!(meter.take().queue, 0);
        hear(&mut meter, 50..100, |time| 110 + u64::from(time % 5) * 10);
        assert_eq!(meter.take().queue, 80);
        hear(&mut meter, 100..150, |_| 30);
        assert_eq!(meter.take().queue, 0);
    }
}
