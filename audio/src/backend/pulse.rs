//! PulseAudio and PipeWire (through its PulseAudio door) by the native protocol: one connection and one reading
//! thread per direction. The server converts rates and channels, so both streams are 48 kHz mono 16 bit.

use std::ffi::{CStr, CString};
use std::io::{BufReader, Cursor, Read, Write};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{JoinHandle, Thread};
use std::time::{Duration, SystemTime};

use pulseaudio::protocol::{
    self, ChannelMap, Command, CommandReply, CorkStreamParams, DESCRIPTOR_SIZE, Descriptor, DescriptorFlags,
    LatencyParams, PlaybackStreamParams, ProtocolError, RecordStreamParams, SampleFormat, SampleSpec,
    SetPlaybackStreamBufferAttrParams, TagStructReader,
    stream::{BufferAttr, StreamFlags},
};
use rtrb::{Consumer, Producer, RingBuffer};

use super::pulse_socket::{self, Socket};
use super::{Native, RING, monitored};
use crate::device::{Device, Devices, choose};
use crate::error::{Direction, Error};
use crate::reserve::Reserve;
use crate::spec::{FrameLen, RATE};

/// A running recording stream.
pub(crate) struct Mic {
    stream: Stream,
    ring: Consumer<f32>,
}

/// A running playback stream.
pub(crate) struct Speaker {
    stream: Stream,
    message: Vec<u8>,
}

/// What a reading thread and its owner share.
struct Link {
    lost: AtomicBool,
    /// What the server calls the device, which for a default one changes.
    device: Mutex<Arc<str>>,
    /// Bytes the server wants to be sent.
    wanted: AtomicU32,
    /// How often the server had nothing to play.
    dry: AtomicU32,
    /// As the server said last, in microseconds, smoothed; 0 before.
    delay: AtomicU32,
}

struct Stream {
    direction: Direction,
    channel: u32,
    version: u16,
    socket: Socket,
    link: Arc<Link>,
    reader: Option<JoinHandle<()>>,
    resting: bool,
    /// Samples that went by since the server was asked for its delay.
    unasked: usize,
}

/// A connection that has introduced itself and on which questions are answered in turn.
struct Session {
    socket: BufReader<Socket>,
    version: u16,
    next: u32,
}

impl Link {
    fn new(device: &CStr, wanted: u32) -> Link {
        Link {
            lost: AtomicBool::new(false),
            device: Mutex::new(name(device)),
            wanted: AtomicU32::new(wanted),
            dry: AtomicU32::new(0),
            delay: AtomicU32::new(0),
        }
    }

    fn device(&self) -> Arc<str> {
        self.device.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn moved(&self, device: &CStr) {
        *self.device.lock().unwrap_or_else(PoisonError::into_inner) = name(device);
    }

    /// Only the reading thread learns.
    fn learn(&self, micros: u64) {
        let micros = micros.min(MOST_DELAY);
        let before = u64::from(self.delay.load(Ordering::Acquire));
        let now = if before == 0 { micros } else { (3 * before + micros) / 4 };
        self.delay.store(now as u32, Ordering::Release);
    }
}

impl Native for Mic {
    fn open(name: Option<&str>, frame: FrameLen, worker: Thread) -> Result<Mic, Error> {
        let mut session = Session::open()?;
        let source = session.choose(name, Direction::Input)?;
        let params = RecordStreamParams {
            sample_spec: SPEC,
            channel_map: ChannelMap::mono(),
            // Unnamed, it follows the default when that changes.
            source_name: name.map(|_| source.clone()),
            buffer_attr: BufferAttr {
                max_length: u32::MAX,
                fragment_size: (frame.samples() * BYTES) as u32,
                ..BufferAttr::default()
            },
            flags: flags(name),
            ..RecordStreamParams::default()
        };
        let reply: protocol::CreateRecordStreamReply =
            session.ask(Command::CreateRecordStream(params)).map_err(|e| refused(Direction::Input, &e))?;
        // Unnamed, the server may have put it elsewhere, where it was the last time.
        let source = reply.sink_name.unwrap_or(source);
        let (samples, ring) = RingBuffer::new(RING);
        let sink = Recording { samples, heard: 0, piece: frame.samples(), carry: None };
        let stream = Stream::start(session, &source, reply.channel, Direction::Input, 0, sink, worker)?;
        Ok(Mic { stream, ring })
    }

    fn is_lost(&self) -> bool {
        self.stream.link.lost.load(Ordering::Acquire)
    }

    fn rest(&mut self, rest: bool) {
        self.stream.rest(rest);
    }

    fn delay(&self) -> Duration {
        self.stream.delay()
    }

    fn id(&self) -> Option<Arc<str>> {
        Some(self.stream.link.device())
    }
}

impl Mic {
    /// Appends what was recorded since the last call, at 48 kHz.
    pub(crate) fn read(&mut self, out: &mut Vec<f32>) {
        if let Ok(chunk) = self.ring.read_chunk(self.ring.slots()) {
            let (a, b) = chunk.as_slices();
            out.extend_from_slice(a);
            out.extend_from_slice(b);
            let read = a.len() + b.len();
            chunk.commit_all();
            self.stream.ask_delay(read);
        }
    }
}

impl Native for Speaker {
    fn open(name: Option<&str>, _: FrameLen, worker: Thread) -> Result<Speaker, Error> {
        let mut session = Session::open()?;
        let sink = session.choose(name, Direction::Output)?;
        let params = PlaybackStreamParams {
            sample_spec: SPEC,
            channel_map: ChannelMap::mono(),
            sink_name: name.map(|_| sink.clone()),
            buffer_attr: buffered(Reserve::new().samples()),
            flags: flags(name),
            ..PlaybackStreamParams::default()
        };
        let reply: protocol::CreatePlaybackStreamReply =
            session.ask(Command::CreatePlaybackStream(params)).map_err(|e| refused(Direction::Output, &e))?;
        let wanted = reply.requested_bytes;
        let sink = reply.sink_name.unwrap_or(sink);
        let stream =
            Stream::start(session, &sink, reply.channel, Direction::Output, wanted, Playing, worker)?;
        Ok(Speaker { stream, message: Vec::new() })
    }

    fn is_lost(&self) -> bool {
        self.stream.link.lost.load(Ordering::Acquire)
    }

    fn rest(&mut self, rest: bool) {
        self.stream.rest(rest);
    }

    /// Of a step's first sample: the rest of the step plays after it.
    fn delay(&self) -> Duration {
        self.stream.delay().saturating_sub(Duration::from_millis(10))
    }

    fn id(&self) -> Option<Arc<str>> {
        Some(self.stream.link.device())
    }
}

impl Speaker {
    /// How often the loudspeaker had nothing to play since it was opened.
    pub(crate) fn ran_dry(&self) -> u32 {
        self.stream.link.dry.load(Ordering::Acquire)
    }

    /// How much is to wait for the loudspeaker from now on, in samples at 48 kHz.
    pub(crate) fn keep(&mut self, reserve: usize) {
        let params = SetPlaybackStreamBufferAttrParams {
            index: self.stream.channel,
            buffer_attr: buffered(reserve),
            adjust_latency: true,
            early_requests: false,
        };
        self.stream.tell(ANY, &Command::SetPlaybackStreamBufferAttr(params));
    }

    /// Samples the device wants now.
    pub(crate) fn wanted(&self) -> usize {
        self.stream.link.wanted.load(Ordering::Acquire) as usize / BYTES
    }

    pub(crate) fn write(&mut self, pcm: &[f32]) {
        let bytes = pcm.len() * BYTES;
        let wanted = self.stream.link.wanted.load(Ordering::Acquire);
        // What the server went without for so long would all be late: it is left out, so that this one is in time.
        let skipped = if wanted > MOST_WANTED { wanted.saturating_sub(bytes as u32) } else { 0 };
        let head = Descriptor {
            length: bytes as u32,
            channel: self.stream.channel,
            offset: skipped.into(),
            flags: DescriptorFlags::empty(),
        };
        let mut encoded = [0; DESCRIPTOR_SIZE];
        protocol::encode_descriptor(&mut encoded, &head);
        self.message.clear();
        self.message.extend_from_slice(&encoded);
        self.message.extend(pcm.iter().flat_map(|sample| ((sample * 32767.0) as i16).to_le_bytes()));
        let link = &self.stream.link;
        let _ = link.wanted.fetch_update(Ordering::AcqRel, Ordering::Acquire, |wanted| {
            Some(wanted.saturating_sub(skipped).saturating_sub(bytes as u32))
        });
        if self.stream.socket.write_all(&self.message).is_err() {
            link.lost.store(true, Ordering::Release);
        }
        self.stream.ask_delay(pcm.len());
    }
}

/// The server gives its device half of what is left beside two requests, and wakes so often. It shall wake each 10 ms, or
/// a little more seldom where there is much time, so the reserve decides how large a request is.
fn buffered(reserve: usize) -> BufferAttr {
    let request = (reserve.saturating_sub(2 * PERIOD) / 2).clamp(1, PERIOD);
    BufferAttr {
        max_length: u32::MAX,
        target_length: (reserve * BYTES) as u32,
        minimum_request_length: (request * BYTES) as u32,
        // Plays on after an underrun instead of waiting to fill up.
        pre_buffering: 0,
        ..BufferAttr::default()
    }
}

/// The sources and sinks of the server.
pub(crate) fn devices() -> Result<Devices, Error> {
    Session::open()?.devices().map_err(|e| Error::NoSoundServer { reason: e.to_string() })
}

impl Session {
    fn open() -> Result<Session, Error> {
        let no_server = |reason: String| Error::NoSoundServer { reason };
        let socket = pulse_socket::connect().map_err(no_server)?;
        let mut session = Session { socket: BufReader::new(socket), version: protocol::MAX_VERSION, next: 0 };
        session.greet().map_err(|e| no_server(e.to_string()))?;
        Ok(session)
    }

    fn greet(&mut self) -> Result<(), ProtocolError> {
        let cookie = pulseaudio::cookie_path_from_env().and_then(|path| std::fs::read(path).ok());
        // A server that asks for no cookie still hangs up on one of another length.
        let cookie = cookie.filter(|cookie| cookie.len() == COOKIE).unwrap_or_else(|| vec![0; COOKIE]);
        let auth = protocol::AuthParams {
            version: protocol::MAX_VERSION,
            supports_shm: false,
            supports_memfd: false,
            cookie,
        };
        let reply: protocol::AuthReply = self.ask(Command::Auth(auth))?;
        self.version = protocol::MAX_VERSION.min(reply.version);
        let mut props = protocol::Props::new();
        props.set(protocol::Prop::ApplicationName, APPLICATION);
        let _: protocol::SetClientNameReply = self.ask(Command::SetClientName(props))?;
        Ok(())
    }

    fn ask<R: CommandReply>(&mut self, question: Command) -> Result<R, ProtocolError> {
        let seq = self.next;
        self.next += 1;
        protocol::write_command_message(self.socket.get_mut(), seq, &question, self.version)?;
        let (answered, reply) = protocol::read_reply_message(&mut self.socket, self.version)?;
        if answered == seq { Ok(reply) } else { Err(ProtocolError::Invalid("an answer out of turn".into())) }
    }

    fn devices(&mut self) -> Result<Devices, ProtocolError> {
        let server: protocol::ServerInfo = self.ask(Command::GetServerInfo)?;
        let sources: protocol::SourceInfoList = self.ask(Command::GetSourceInfoList)?;
        let sinks: protocol::SinkInfoList = self.ask(Command::GetSinkInfoList)?;
        let device = |id: &CString, name: &Option<CString>, default: &Option<CString>, is_monitor| Device {
            id: id.to_string_lossy().into_owned(),
            name: name.as_ref().unwrap_or(id).to_string_lossy().into_owned(),
            is_default: default.as_ref() == Some(id),
            is_monitor,
        };
        let input = |s: &protocol::SourceInfo| {
            device(&s.name, &s.description, &server.default_source_name, s.monitor_of_sink_index.is_some())
        };
        let output =
            |s: &protocol::SinkInfo| device(&s.name, &s.description, &server.default_sink_name, false);
        Ok(Devices {
            inputs: sources.iter().map(input).collect(),
            outputs: sinks.iter().map(output).collect(),
        })
    }

    fn choose(&mut self, name: Option<&str>, direction: Direction) -> Result<CString, Error> {
        let all = self.devices().map_err(|e| refused(direction, &e))?;
        let devices = match direction {
            Direction::Input => all.inputs,
            Direction::Output => all.outputs,
        };
        let chosen = match name {
            Some(name) => choose(&devices, name, direction)?,
            None => {
                usual(&devices).map_err(|reason| Error::NoDefault { direction, reason: reason.into() })?
            }
        };
        CString::new(chosen.id.as_str()).map_err(|e| Error::Device { direction, reason: e.to_string() })
    }
}

/// Without any microphone the server's default is a monitor: the friends would hear themselves.
fn usual(devices: &[Device]) -> Result<&Device, &'static str> {
    match devices.iter().find(|device| device.is_default) {
        Some(device) if device.is_monitor => Err("the default one hears what the loudspeaker plays, not you"),
        Some(device) => Ok(device),
        None => Err("the sound server has no default one"),
    }
}

impl Stream {
    fn start(
        session: Session,
        id: &CStr,
        channel: u32,
        direction: Direction,
        wanted: u32,
        flow: impl Flow,
        worker: Thread,
    ) -> Result<Stream, Error> {
        let Session { socket: reader, version, .. } = session;
        let socket = reader.get_ref().try_clone().map_err(Error::Thread)?;
        socket.wait_for_ever().map_err(Error::Thread)?;
        let link = Arc::new(Link::new(id, wanted));
        let reading = Reading { socket: reader, version, link: link.clone(), worker, flow };
        let reader = std::thread::Builder::new()
            .name(format!("pulse {direction}"))
            .spawn(move || reading.run())
            .map_err(Error::Thread)?;
        let reader = Some(reader);
        Ok(Stream { direction, channel, version, socket, link, reader, resting: false, unasked: 0 })
    }

    fn rest(&mut self, cork: bool) {
        if self.resting == cork {
            return;
        }
        self.resting = cork;
        let params = CorkStreamParams { channel: self.channel, cork };
        let command = match self.direction {
            Direction::Input => Command::CorkRecordStream(params),
            Direction::Output => Command::CorkPlaybackStream(params),
        };
        self.tell(ANY, &command);
    }

    /// `passed` samples went by: asks now and then how late they are. The answer holds for this very moment, so it is
    /// asked for right after sound was read or written.
    fn ask_delay(&mut self, passed: usize) {
        self.unasked += passed;
        if self.unasked < ASK_AFTER {
            return;
        }
        self.unasked = 0;
        let params = LatencyParams { channel: self.channel, now: SystemTime::UNIX_EPOCH };
        let command = match self.direction {
            Direction::Input => Command::GetRecordLatency(params),
            Direction::Output => Command::GetPlaybackLatency(params),
        };
        self.tell(DELAY, &command);
    }

    fn delay(&self) -> Duration {
        Duration::from_micros(self.link.delay.load(Ordering::Acquire).into())
    }

    /// The answer, if it matters at all, is known by `seq`.
    fn tell(&mut self, seq: u32, command: &Command) {
        if protocol::write_command_message(&mut self.socket, seq, command, self.version).is_err() {
            self.link.lost.store(true, Ordering::Release);
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.socket.shut();
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

/// What the reading thread does with sound and with requests.
trait Flow: Send + 'static {
    /// Returns whether the worker has something to do.
    fn sound(&mut self, bytes: &[u8]) -> bool;
    /// The answer to the question for the delay, in microseconds.
    fn delay(answer: &mut TagStructReader<'_>) -> Result<u64, ProtocolError>;
}

struct Recording {
    samples: Producer<f32>,
    heard: usize,
    piece: usize,
    /// Half of a sample that was cut.
    carry: Option<u8>,
}

struct Playing;

impl Flow for Recording {
    fn sound(&mut self, mut bytes: &[u8]) -> bool {
        if let (Some(low), [high, rest @ ..]) = (self.carry, bytes) {
            self.push(low, *high);
            (self.carry, bytes) = (None, rest);
        }
        let mut pairs = bytes.chunks_exact(BYTES);
        for pair in &mut pairs {
            if let [low, high] = pair {
                self.push(*low, *high);
            }
        }
        if let [low] = pairs.remainder() {
            self.carry = Some(*low);
        }
        let due = self.heard >= self.piece;
        if due {
            self.heard = 0;
        }
        due
    }

    fn delay(answer: &mut TagStructReader<'_>) -> Result<u64, ProtocolError> {
        let answer: protocol::RecordLatency = answer.read()?;
        Ok(answer.source_usec + micros(answer.write_offset - answer.read_offset))
    }
}

impl Recording {
    fn push(&mut self, low: u8, high: u8) {
        // A full ring means that the worker is held up; what it cannot take is lost like any late sound.
        let _ = self.samples.push(f32::from(i16::from_le_bytes([low, high])) / 32768.0);
        self.heard += 1;
    }
}

impl Flow for Playing {
    fn sound(&mut self, _: &[u8]) -> bool {
        false
    }

    fn delay(answer: &mut TagStructReader<'_>) -> Result<u64, ProtocolError> {
        let answer: protocol::PlaybackLatency = answer.read()?;
        Ok(answer.sink_usec + micros(answer.write_offset - answer.read_offset))
    }
}

/// How long so many bytes last.
fn micros(bytes: i64) -> u64 {
    let samples = u64::try_from(bytes).unwrap_or(0) / BYTES as u64;
    samples.saturating_mul(1_000_000) / u64::from(RATE)
}

struct Reading<F> {
    socket: BufReader<Socket>,
    version: u16,
    link: Arc<Link>,
    worker: Thread,
    flow: F,
}

impl<F: Flow> Reading<F> {
    fn run(mut self) {
        // As long as any message of a stream at the start, so that nothing is allocated later.
        let mut body = Vec::with_capacity(USUAL_MESSAGE);
        while let Ok(true) = self.next(&mut body) {}
        self.link.lost.store(true, Ordering::Release);
        self.worker.unpark();
    }

    /// Reads one message; `false` when the stream is over.
    fn next(&mut self, body: &mut Vec<u8>) -> Result<bool, ProtocolError> {
        let head = protocol::read_descriptor(&mut self.socket)?;
        if head.length > LONGEST_MESSAGE {
            return Ok(false);
        }
        body.resize(head.length as usize, 0);
        self.socket.read_exact(body)?;
        if head.channel != COMMANDS {
            if self.flow.sound(body) {
                self.worker.unpark();
            }
            return Ok(true);
        }
        // What this library does not know is none of our business.
        let mut rest = Cursor::new(&*body);
        let Ok((seq, command)) = Command::read_tag_prefixed(&mut rest, self.version) else {
            return Ok(true);
        };
        match command {
            Command::Request(request) => {
                let _ = self.link.wanted.fetch_update(Ordering::AcqRel, Ordering::Acquire, |wanted| {
                    Some(wanted.saturating_add(request.length))
                });
                self.worker.unpark();
            }
            Command::Underflow(_) => {
                self.link.dry.fetch_add(1, Ordering::AcqRel);
            }
            Command::Reply if seq == DELAY => {
                if let Ok(delay) = F::delay(&mut TagStructReader::new(&mut rest, self.version)) {
                    self.link.learn(delay);
                }
            }
            Command::PlaybackStreamMoved(to) => self.moved(&to.device_name),
            // Where the last microphone went, what is left is the sound of a loudspeaker: the friends' own voices.
            Command::RecordStreamMoved(to) if monitored(&to.device_name.to_string_lossy()).is_some() => {
                return Ok(false);
            }
            Command::RecordStreamMoved(to) => self.moved(&to.device_name),
            Command::PlaybackStreamKilled(_) | Command::RecordStreamKilled(_) => return Ok(false),
            _ => {}
        }
        Ok(true)
    }

    fn moved(&self, device: &CStr) {
        self.link.moved(device);
        self.worker.unpark();
    }
}

/// A device that was chosen is waited for when it goes; nobody is to be heard by another microphone than his own choice.
fn flags(chosen: Option<&str>) -> StreamFlags {
    StreamFlags { adjust_latency: true, no_move: chosen.is_some(), ..StreamFlags::default() }
}

fn name(device: &CStr) -> Arc<str> {
    device.to_string_lossy().into()
}

fn refused(direction: Direction, error: &ProtocolError) -> Error {
    Error::Device { direction, reason: error.to_string() }
}

const APPLICATION: &CStr = c"VoiceChat";
const SPEC: SampleSpec = SampleSpec { format: SampleFormat::S16Le, channels: 1, sample_rate: RATE };
/// Bytes of the server's secret.
const COOKIE: usize = 256;
/// Of one sample.
const BYTES: usize = 2;
/// 10 ms, in samples.
const PERIOD: usize = 480;
/// The number of a question whose answer carries nothing, and of that for the delay.
const ANY: u32 = 0;
const DELAY: u32 = 1 << 31;
/// Half a second of sound.
const ASK_AFTER: usize = RATE as usize / 2;
/// Two seconds, in microseconds: a server that says more is not to be believed.
const MOST_DELAY: u64 = 2_000_000;
/// The channel of a message that is no sound.
const COMMANDS: u32 = u32::MAX;
/// Far above any piece of sound or list of devices.
const LONGEST_MESSAGE: u32 = 1 << 20;
/// 80 ms of sound; answers and requests are shorter.
const USUAL_MESSAGE: usize = RATE as usize * BYTES * 80 / 1_000;
/// After a pause the server must not be flooded: 200 ms.
const MOST_WANTED: u32 = (RING * BYTES) as u32;
