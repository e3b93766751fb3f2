//! From microphone samples to Opus frames: chain, gate, pre-roll, encoder. Pure: samples in, frames out.

use std::time::Duration;

use crate::adaptation::Quality;
use crate::chain::{Chain, Stages};
use crate::error::Error;
use crate::gate::{Gate, Verdict, dbfs};
use crate::opus::Protection;
use crate::packets::{Captured, Packets};
use crate::preroll::PreRoll;
use crate::spec::{BLOCK, FrameLen};

/// How loud the own microphone is and whether it is being sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Level {
    pub dbfs: f32,
    pub talking: bool,
}

/// What the capture side did, counted from the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CaptureStats {
    /// Frames that passed while neither muted nor alone.
    pub heard: u64,
    /// Samples of those frames, and how many of them were as large as can be: the microphone was too loud for them.
    pub samples: u64,
    pub clipped: u64,
    /// Packets that the encoder made of what the gate let through; all of them went to the sink.
    pub sent: u64,
    /// Noise suppression works at this moment.
    pub noise: bool,
    /// Echo cancellation works at this moment.
    pub echo: bool,
    /// The friends hear themselves through this loudspeaker and microphone.
    pub echoes: bool,
}

/// The capture side of one call.
pub struct Capture {
    frame: FrameLen,
    chain: Chain,
    gate: Gate,
    /// Everything is meant, see [`Capture::hold`].
    held: bool,
    /// Voice detection decides, see [`Stages::gate`].
    gated: bool,
    /// The frame while the chain works on it.
    work: Vec<f32>,
    packets: Packets,
    before: PreRoll,
    time: u32,
    stats: CaptureStats,
}

impl Capture {
    /// `bitrate` in bits per second.
    pub fn new(frame: FrameLen, bitrate: u32) -> Result<Capture, Error> {
        Ok(Capture {
            frame,
            chain: Chain::new(),
            gate: Gate::new(),
            held: false,
            gated: Stages::default().gate,
            work: Vec::with_capacity(frame.samples()),
            packets: Packets::new(Quality { frame, bitrate, protection: Protection::default() })?,
            before: PreRoll::new(frame),
            time: 0,
            stats: CaptureStats::default(),
        })
    }

    /// Takes one frame of samples; `voice` gets what is to be sent, more than one frame when the gate opens.
    pub fn frame(&mut self, pcm: &[f32], voice: &mut dyn FnMut(Captured)) -> Level {
        let mut work = std::mem::take(&mut self.work);
        work.clear();
        work.extend_from_slice(pcm);
        let verdict = self.process(&mut work);
        self.stats.heard += 1;
        self.stats.samples += pcm.len() as u64;
        self.stats.clipped += pcm.iter().filter(|sample| sample.abs() >= FULL).count() as u64;
        let pcm = &work[..];
        match verdict {
            Verdict::Closed => self.before.keep(pcm),
            Verdict::Opens => {
                let mut before = std::mem::replace(&mut self.before, PreRoll::new(self.frame));
                let start = self.time.wrapping_sub(before.word().len() as u32);
                for (i, pcm) in before.word().enumerate() {
                    self.send(start.wrapping_add(i as u32), pcm, false, voice);
                }
                self.send(self.time, pcm, false, voice);
                before.clear();
                self.before = before;
            }
            Verdict::Open => self.send(self.time, pcm, false, voice),
            Verdict::Closes => self.send(self.time, pcm, true, voice),
        }
        self.time = self.time.wrapping_add(1);
        let level = Level { dbfs: dbfs(pcm), talking: verdict != Verdict::Closed };
        self.work = work;
        level
    }

    /// Which stages of the chain work from now on.
    pub fn set_stages(&mut self, stages: Stages) {
        self.gated = stages.gate;
        self.chain.set(stages);
    }

    /// The next 10 ms that go to the loudspeaker, which the microphone may hear.
    pub fn played(&mut self, pcm: &[f32; BLOCK]) {
        self.chain.played(pcm);
    }

    /// While held, everything is sent, as by one who holds a talk key.
    pub fn hold(&mut self, held: bool) {
        self.held = held;
    }

    /// Time passes without the microphone (muted, alone, device gone). A running talk spurt ends with one frame of
    /// silence, so that nobody waits for more.
    pub fn pass(&mut self, frames: u32, voice: &mut dyn FnMut(Captured)) {
        self.hang_up(voice);
        self.chain.rest();
        self.before.clear();
        self.time = self.time.wrapping_add(frames);
    }

    /// How it is sent from now on; packets shorter than the frames of the microphone are not made.
    pub fn set_quality(&mut self, quality: Quality) {
        self.packets.set(Quality { frame: quality.frame.max(self.frame), ..quality });
    }

    pub fn stats(&self) -> CaptureStats {
        CaptureStats {
            noise: self.chain.suppresses_noise(),
            echo: self.chain.cancels_echo(),
            echoes: self.chain.echoes(),
            ..self.stats
        }
    }

    /// By how much the chain is late at this moment.
    pub(crate) fn delay(&self) -> Duration {
        self.chain.delay()
    }

    fn process(&mut self, pcm: &mut [f32]) -> Verdict {
        let (mut power, mut speech) = (0.0, 0f32);
        let pause = self.gate.is_pause();
        let (blocks, _) = pcm.as_chunks_mut::<BLOCK>();
        let count = blocks.len().max(1) as f32;
        for block in blocks {
            let found = self.chain.work(block, pause);
            power += 10f32.powf(found.dbfs / 10.0) / count;
            speech = speech.max(found.speech);
        }
        let (len, dbfs) = (self.frame.as_millis(), 10.0 * power.max(1e-10).log10());
        match self.held || !self.gated {
            true => self.gate.hold(len, dbfs, speech),
            false => self.gate.judge(len, dbfs, speech),
        }
    }

    fn hang_up(&mut self, voice: &mut dyn FnMut(Captured)) {
        if self.gate.is_open() {
            let silence = vec![0.0; self.frame.samples()];
            self.send(self.time, &silence, true, voice);
            self.gate.close();
        }
    }

    fn send(&mut self, time: u32, pcm: &[f32], last_of_talk: bool, voice: &mut dyn FnMut(Captured)) {
        let at = u64::from(time) * u64::from(self.frame.as_millis());
        if let Some(captured) = self.packets.push(at, pcm, last_of_talk) {
            self.stats.sent += 1;
            voice(captured);
        }
    }
}

/// The largest sample of 16 bits; what is larger was cut off to it.
const FULL: f32 = 32_767.0 / 32_768.0;
