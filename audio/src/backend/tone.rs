//! A steady sine, to hear whether anything is heard at all.

use std::f64::consts::TAU;

use crate::spec::RATE;

pub(crate) struct Tone {
    step: f64,
    phase: f64,
}

impl Tone {
    pub(crate) fn new(hz: f32) -> Tone {
        Tone { step: f64::from(hz) / f64::from(RATE), phase: 0.0 }
    }

    pub(crate) fn read(&mut self, out: &mut [f32]) {
        for sample in out {
            *sample = (AMPLITUDE * (self.phase * TAU).sin()) as f32;
            self.phase = (self.phase + self.step).fract();
        }
    }
}

/// -15 dBFS rms: as loud as speech, and loud enough for the gate to take it for something meant.
const AMPLITUDE: f64 = 0.25;
