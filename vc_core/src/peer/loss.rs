//! How much of a friend's voice gets lost on the way to us, by the numbers in the frames themselves. Probes of paths
//! that lead nowhere get lost, too, and say nothing about the one that carries.

use crate::io::VoiceFrame;

#[derive(Default)]
pub struct VoiceMeter {
    last: Option<Last>,
    expected: u32,
    got: u32,
}

struct Last {
    time: u32,
    ended_talk: bool,
}

impl VoiceMeter {
    /// A frame that came for the first time.
    pub fn count(&mut self, frame: &VoiceFrame) {
        self.got += 1;
        let step = match &self.last {
            None => 1,
            Some(last) => {
                let step = frame.time.wrapping_sub(last.time);
                if step == 0 || step >= 1 << 31 {
                    // Overtaken: it was counted as lost when the later one came.
                    return;
                }
                // Numbers also pass in silence.
                if last.ended_talk || step > LONGEST_GAP { 1 } else { step }
            }
        };
        self.expected += step;
        self.last = Some(Last { time: frame.time, ended_talk: frame.last_of_talk });
    }

    /// Frames that came and that did not, since the last call.
    pub fn take(&mut self) -> (u32, u32) {
        let (got, lost) = (self.got, self.expected.saturating_sub(self.got));
        (self.got, self.expected) = (0, 0);
        (got, lost)
    }
}

/// Half a second of 20 ms frames. A longer gap is rather a pause whose announcement was lost.
const LONGEST_GAP: u32 = 25;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::FrameLen;

    fn frame(time: u32, last_of_talk: bool) -> VoiceFrame {
        VoiceFrame { time, len: FrameLen::Ms20, last_of_talk, opus: vec![1] }
    }

    #[test]
    fn gaps_in_talk_are_losses_and_pauses_are_not() {
        let mut meter = VoiceMeter::default();
        for (time, last) in
            [(10, false), (11, false), (14, false), (13, false), (15, true), (900, false), (901, false)]
        {
            meter.count(&frame(time, last));
        }
        assert_eq!(meter.take(), (7, 1));
        meter.count(&frame(2_000, false));
        assert_eq!(meter.take(), (1, 0));
        assert_eq!(meter.take(), (0, 0));
    }

    #[test]
    fn numbers_that_wrap_are_no_loss() {
        let mut meter = VoiceMeter::default();
        for n in 0..10u32 {
            meter.count(&frame(n.wrapping_sub(5), false));
        }
        assert_eq!(meter.take(), (10, 0));
    }
}
