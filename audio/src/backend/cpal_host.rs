//! macOS (CoreAudio) and Windows (WASAPI) through cpal. The callbacks convert one sample at a time between the
//! device's format and a ring of mono floats at the device's rate; resampling is done by the worker.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::thread::Thread;
use std::time::Duration;

use cpal::traits::{DeviceTrait, HostTrait, StreamTrait};
use cpal::{BufferSize, FromSample, SampleFormat, SizedSample, StreamConfig, SupportedStreamConfig};
use rtrb::{Consumer, Producer, RingBuffer};

use super::{Native, RING};
use crate::device::{Device, Devices, choose};
use crate::error::{Direction, Error};
use crate::resample::Resampler;
use crate::spec::{FrameLen, RATE};

/// A running recording stream.
pub(crate) struct Mic {
    id: Option<Arc<str>>,
    stream: cpal::Stream,
    ring: Consumer<f32>,
    raw: Vec<f32>,
    resampler: Resampler,
    lost: Arc<AtomicBool>,
    resting: bool,
}

/// A running playback stream.
pub(crate) struct Speaker {
    id: Option<Arc<str>>,
    stream: cpal::Stream,
    ring: Producer<f32>,
    raw: Vec<f32>,
    resampler: Resampler,
    rate: usize,
    /// Waits for the device besides what one callback takes, in samples at its rate.
    reserve: usize,
    link: Arc<Link>,
    lost: Arc<AtomicBool>,
    resting: bool,
}

impl Native for Mic {
    fn open(name: Option<&str>, _: FrameLen, worker: Thread) -> Result<Mic, Error> {
        let device = find(name, Direction::Input)?;
        let id = device.id().ok().map(|id| id.to_string().into());
        let supported = config(&device, Direction::Input)?;
        let rate = supported.sample_rate();
        let (samples, ring) = RingBuffer::new(RING * 8);
        let lost = Arc::new(AtomicBool::new(false));
        let resampler = Resampler::new(rate, RATE).ok_or_else(|| odd_rate(Direction::Input, rate))?;
        let stream = match supported.sample_format() {
            SampleFormat::F32 => record::<f32>(&device, &supported, samples, &lost, worker),
            SampleFormat::I16 => record::<i16>(&device, &supported, samples, &lost, worker),
            SampleFormat::U16 => record::<u16>(&device, &supported, samples, &lost, worker),
            SampleFormat::I32 => record::<i32>(&device, &supported, samples, &lost, worker),
            other => return Err(odd_format(Direction::Input, other)),
        };
        let stream = stream.map_err(|e| failed(Direction::Input, &e))?;
        stream.play().map_err(|e| failed(Direction::Input, &e))?;
        Ok(Mic { id, stream, ring, raw: Vec::new(), resampler, lost, resting: false })
    }

    fn id(&self) -> Option<Arc<str>> {
        self.id.clone()
    }

    fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Acquire)
    }

    fn rest(&mut self, rest: bool) {
        if self.resting != rest {
            self.resting = rest;
            set_running(&self.stream, !rest, &self.lost);
        }
    }

    /// What the system itself holds back is not told by every host.
    fn delay(&self) -> Duration {
        Duration::ZERO
    }
}

impl Mic {
    /// Appends what was recorded since the last call, at 48 kHz.
    pub(crate) fn read(&mut self, out: &mut Vec<f32>) {
        if let Ok(chunk) = self.ring.read_chunk(self.ring.slots()) {
            let (a, b) = chunk.as_slices();
            self.raw.clear();
            self.raw.extend_from_slice(a);
            self.raw.extend_from_slice(b);
            chunk.commit_all();
            self.resampler.push(&self.raw, out);
        }
    }
}

impl Native for Speaker {
    fn open(name: Option<&str>, _: FrameLen, worker: Thread) -> Result<Speaker, Error> {
        let device = find(name, Direction::Output)?;
        let id = device.id().ok().map(|id| id.to_string().into());
        let supported = config(&device, Direction::Output)?;
        let rate = supported.sample_rate();
        let (ring, samples) = RingBuffer::new(RING * 8);
        let lost = Arc::new(AtomicBool::new(false));
        let link = Arc::new(Link::default());
        let resampler = Resampler::new(RATE, rate).ok_or_else(|| odd_rate(Direction::Output, rate))?;
        let player = Player { samples, link: link.clone(), worker };
        let stream = match supported.sample_format() {
            SampleFormat::F32 => play::<f32>(&device, &supported, player, &lost),
            SampleFormat::I16 => play::<i16>(&device, &supported, player, &lost),
            SampleFormat::U16 => play::<u16>(&device, &supported, player, &lost),
            SampleFormat::I32 => play::<i32>(&device, &supported, player, &lost),
            other => return Err(odd_format(Direction::Output, other)),
        };
        let stream = stream.map_err(|e| failed(Direction::Output, &e))?;
        stream.play().map_err(|e| failed(Direction::Output, &e))?;
        let rate = rate as usize;
        let reserve = rate / 100;
        let raw = Vec::new();
        Ok(Speaker { id, stream, ring, raw, resampler, rate, reserve, link, lost, resting: false })
    }

    fn id(&self) -> Option<Arc<str>> {
        self.id.clone()
    }

    fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Acquire)
    }

    fn rest(&mut self, rest: bool) {
        if self.resting != rest {
            self.resting = rest;
            set_running(&self.stream, !rest, &self.lost);
        }
    }

    fn delay(&self) -> Duration {
        let waiting = self.waiting() + self.link.largest.load(Ordering::Acquire);
        Duration::from_secs_f64(waiting as f64 / self.rate as f64)
    }
}

impl Speaker {
    /// How often the loudspeaker had nothing to play since it was opened.
    pub(crate) fn ran_dry(&self) -> u32 {
        self.link.dry.load(Ordering::Acquire)
    }

    /// How much is to wait for the loudspeaker besides what one callback takes, in samples at 48 kHz.
    pub(crate) fn keep(&mut self, reserve: usize) {
        self.reserve = reserve * self.rate / RATE as usize;
    }

    /// Samples at 48 kHz the device wants now.
    pub(crate) fn wanted(&self) -> usize {
        let enough = self.link.largest.load(Ordering::Acquire) + self.reserve;
        enough.saturating_sub(self.waiting()) * RATE as usize / self.rate
    }

    /// At the device's rate.
    fn waiting(&self) -> usize {
        self.ring.buffer().capacity() - self.ring.slots()
    }

    pub(crate) fn write(&mut self, pcm: &[f32]) {
        self.raw.clear();
        self.resampler.push(pcm, &mut self.raw);
        // A ring that is full after `wanted` asked for more belongs to a device that stopped.
        let _ = self.ring.push_partial_slice(&self.raw);
    }
}

/// The devices of the system's usual host.
pub(crate) fn devices() -> Result<Devices, Error> {
    let host = cpal::default_host();
    let no_host = |e: cpal::Error| Error::NoSoundServer { reason: e.to_string() };
    let default_input = host.default_input_device().and_then(|d| d.id().ok());
    let default_output = host.default_output_device().and_then(|d| d.id().ok());
    let describe = |device: &cpal::Device, default: &Option<cpal::DeviceId>| {
        let id = device.id().ok()?;
        let name = device.description().map(|d| d.name().to_owned()).unwrap_or_else(|_| id.to_string());
        Some(Device {
            is_default: default.as_ref() == Some(&id),
            id: id.to_string(),
            name,
            is_monitor: false,
        })
    };
    let inputs = host.input_devices().map_err(no_host)?;
    let outputs = host.output_devices().map_err(no_host)?;
    Ok(Devices {
        inputs: inputs.filter_map(|d| describe(&d, &default_input)).collect(),
        outputs: outputs.filter_map(|d| describe(&d, &default_output)).collect(),
    })
}

struct Player {
    samples: Consumer<f32>,
    link: Arc<Link>,
    worker: Thread,
}

/// What the callback of a loudspeaker tells.
#[derive(Default)]
struct Link {
    /// The most frames that one call took.
    largest: AtomicUsize,
    /// Calls that found too little.
    dry: AtomicU32,
}

fn record<T>(
    device: &cpal::Device,
    supported: &SupportedStreamConfig,
    mut samples: Producer<f32>,
    lost: &Arc<AtomicBool>,
    worker: Thread,
) -> Result<cpal::Stream, cpal::Error>
where
    T: SizedSample + Send + 'static,
    f32: FromSample<T>,
{
    let channels = usize::from(supported.channels()).max(1);
    let woken = worker.clone();
    let callback = move |data: &[T], _: &cpal::InputCallbackInfo| {
        for frame in data.chunks_exact(channels) {
            let sum: f32 = frame.iter().map(|sample| sample.to_sample::<f32>()).sum();
            let _ = samples.push(sum / channels as f32);
        }
        woken.unpark();
    };
    device.build_input_stream(stream_config(supported), callback, on_error(lost, worker), None)
}

fn play<T>(
    device: &cpal::Device,
    supported: &SupportedStreamConfig,
    mut player: Player,
    lost: &Arc<AtomicBool>,
) -> Result<cpal::Stream, cpal::Error>
where
    T: SizedSample + FromSample<f32> + Send + 'static,
{
    let channels = usize::from(supported.channels()).max(1);
    let worker = player.worker.clone();
    let callback = move |data: &mut [T], _: &cpal::OutputCallbackInfo| {
        let frames = data.len() / channels;
        player.link.largest.fetch_max(frames, Ordering::AcqRel);
        if player.samples.slots() < frames {
            player.link.dry.fetch_add(1, Ordering::AcqRel);
        }
        for frame in data.chunks_exact_mut(channels) {
            frame.fill(T::from_sample(player.samples.pop().unwrap_or(0.0)));
        }
        player.worker.unpark();
    };
    device.build_output_stream(stream_config(supported), callback, on_error(lost, worker), None)
}

/// The first error that is more than a hiccup ends the stream; some hosts would repeat it for ever.
fn on_error(lost: &Arc<AtomicBool>, worker: Thread) -> impl FnMut(cpal::Error) + Send + 'static {
    let lost = lost.clone();
    move |error| {
        let harmless =
            [cpal::ErrorKind::Xrun, cpal::ErrorKind::DeviceChanged, cpal::ErrorKind::RealtimeDenied];
        if !harmless.contains(&error.kind()) {
            lost.store(true, Ordering::Release);
            worker.unpark();
        }
    }
}

fn find(name: Option<&str>, direction: Direction) -> Result<cpal::Device, Error> {
    let host = cpal::default_host();
    let found = match name {
        None if direction == Direction::Input => host.default_input_device(),
        None => host.default_output_device(),
        Some(name) => {
            let all = devices()?;
            let of_direction = if direction == Direction::Input { &all.inputs } else { &all.outputs };
            let id = choose(of_direction, name, direction)?.id.parse().map_err(|e| failed(direction, &e))?;
            host.device_by_id(&id)
        }
    };
    found.ok_or_else(|| Error::NoDefault { direction, reason: "the system has no default one".into() })
}

/// 48 kHz floats when the device offers them, else what it likes best.
fn config(device: &cpal::Device, direction: Direction) -> Result<SupportedStreamConfig, Error> {
    let ours = |range: &cpal::SupportedStreamConfigRange| {
        range.sample_format() == SampleFormat::F32
            && (range.min_sample_rate()..=range.max_sample_rate()).contains(&RATE)
    };
    let (best, usual) = match direction {
        Direction::Input => (
            device.supported_input_configs().ok().and_then(|mut all| all.find(ours)),
            device.default_input_config(),
        ),
        Direction::Output => (
            device.supported_output_configs().ok().and_then(|mut all| all.find(ours)),
            device.default_output_config(),
        ),
    };
    match best {
        Some(range) => Ok(range.with_sample_rate(RATE)),
        None => usual.map_err(|e| failed(direction, &e)),
    }
}

/// 10 ms pieces; left to themselves some hosts buffer for seconds.
fn stream_config(supported: &SupportedStreamConfig) -> StreamConfig {
    let frames = supported.sample_rate() / 100;
    let fixed = match supported.buffer_size() {
        cpal::SupportedBufferSize::Range { min, max } => BufferSize::Fixed(frames.clamp(*min, *max)),
        cpal::SupportedBufferSize::Unknown => BufferSize::Default,
    };
    StreamConfig { channels: supported.channels(), sample_rate: supported.sample_rate(), buffer_size: fixed }
}

fn set_running(stream: &cpal::Stream, running: bool, lost: &AtomicBool) {
    let done = if running { stream.play() } else { stream.pause() };
    // A host that cannot pause goes on, and what it delivers is dropped.
    if running && done.is_err() {
        lost.store(true, Ordering::Release);
    }
}

fn failed(direction: Direction, error: &cpal::Error) -> Error {
    Error::Device { direction, reason: error.to_string() }
}

fn odd_rate(direction: Direction, rate: u32) -> Error {
    Error::Device { direction, reason: format!("it runs at {rate} Hz") }
}

fn odd_format(direction: Direction, format: SampleFormat) -> Error {
    Error::Device { direction, reason: format!("its sample format {format} is unknown") }
}
