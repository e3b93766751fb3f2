//! What comes out of one device of a sound server put into another, by the native protocol: the least that any program can
//! do with it.

use std::ffi::CStr;
use std::io::{BufReader, Cursor, Read};
use std::os::unix::net::UnixStream;
use std::path::Path;

use anyhow::Result;
use pulseaudio::protocol::{
    self, AuthParams, AuthReply, ChannelMap, Command, CommandReply, CreatePlaybackStreamReply,
    CreateRecordStreamReply, PlaybackStreamParams, Prop, Props, RecordStreamParams, SampleFormat, SampleSpec,
    SetClientNameReply,
    stream::{BufferAttr, StreamFlags},
};

/// Starts a thread that lasts until the server ends.
pub(crate) fn start(socket: &Path, source: &CStr, sink: &CStr) -> Result<()> {
    let mut client =
        Client { socket: BufReader::new(UnixStream::connect(socket)?), version: protocol::MAX_VERSION };
    client.greet()?;
    let recorded = client.record(source)?;
    let played = client.play(sink)?;
    // The thread's end is that of the server, and says nothing.
    std::thread::spawn(move || client.carry(recorded, played));
    Ok(())
}

struct Client {
    socket: BufReader<UnixStream>,
    version: u16,
}

impl Client {
    fn greet(&mut self) -> Result<()> {
        let version = protocol::MAX_VERSION;
        let auth = AuthParams { version, supports_shm: false, supports_memfd: false, cookie: vec![0; 256] };
        let reply: AuthReply = self.ask(&Command::Auth(auth))?;
        self.version = version.min(reply.version);
        let mut props = Props::new();
        props.set(Prop::ApplicationName, c"bare loop");
        let _: SetClientNameReply = self.ask(&Command::SetClientName(props))?;
        Ok(())
    }

    fn record(&mut self, source: &CStr) -> Result<u32> {
        let params = RecordStreamParams {
            sample_spec: SPEC,
            channel_map: ChannelMap::mono(),
            source_name: Some(source.to_owned()),
            buffer_attr: BufferAttr { fragment_size: PIECE, ..BufferAttr::default() },
            flags: StreamFlags { adjust_latency: true, ..StreamFlags::default() },
            ..RecordStreamParams::default()
        };
        let reply: CreateRecordStreamReply = self.ask(&Command::CreateRecordStream(params))?;
        Ok(reply.channel)
    }

    /// Also what the server wants at first.
    fn play(&mut self, sink: &CStr) -> Result<(u32, u32)> {
        let params = PlaybackStreamParams {
            sample_spec: SPEC,
            channel_map: ChannelMap::mono(),
            sink_name: Some(sink.to_owned()),
            buffer_attr: BufferAttr {
                target_length: 2 * PIECE,
                minimum_request_length: 2,
                pre_buffering: 0,
                ..BufferAttr::default()
            },
            flags: StreamFlags { adjust_latency: true, ..StreamFlags::default() },
            ..PlaybackStreamParams::default()
        };
        let reply: CreatePlaybackStreamReply = self.ask_past_sound(&Command::CreatePlaybackStream(params))?;
        Ok((reply.channel, reply.requested_bytes))
    }

    fn ask<R: CommandReply>(&mut self, question: &Command) -> Result<R> {
        protocol::write_command_message(self.socket.get_mut(), 0, question, self.version)?;
        Ok(protocol::read_reply_message(&mut self.socket, self.version)?.1)
    }

    /// As [`Client::ask`] when sound comes already.
    fn ask_past_sound<R: CommandReply>(&mut self, question: &Command) -> Result<R> {
        protocol::write_command_message(self.socket.get_mut(), QUESTION, question, self.version)?;
        loop {
            let (head, body) = self.message()?;
            let mut whole = vec![0; protocol::DESCRIPTOR_SIZE];
            protocol::write_descriptor(&mut whole.as_mut_slice(), &head)?;
            let is_answer = head.channel == u32::MAX
                && matches!(
                    Command::read_tag_prefixed(&mut Cursor::new(&body), self.version),
                    Ok((QUESTION, Command::Reply | Command::Error(_)))
                );
            if is_answer {
                whole.extend(body);
                return Ok(protocol::read_reply_message(&mut Cursor::new(whole), self.version)?.1);
            }
        }
    }

    fn message(&mut self) -> Result<(protocol::Descriptor, Vec<u8>)> {
        let head = protocol::read_descriptor(&mut self.socket)?;
        let mut body = vec![0; head.length as usize];
        self.socket.read_exact(&mut body)?;
        Ok((head, body))
    }

    /// What comes goes; a gap is filled, so that one piece at most is missing of what the server wants.
    fn carry(mut self, recorded: u32, (played, mut wanted): (u32, u32)) -> Result<()> {
        loop {
            let (head, mut body) = self.message()?;
            if head.channel == recorded {
                let missing = wanted.saturating_sub(head.length + PIECE) / 2 * 2;
                body.splice(0..0, std::iter::repeat_n(0, missing as usize));
                protocol::write_memblock(self.socket.get_mut(), played, &body, 0)?;
                wanted = wanted.saturating_sub(body.len() as u32);
            } else if let Ok((_, Command::Request(request))) =
                Command::read_tag_prefixed(&mut Cursor::new(&body), self.version)
            {
                wanted += request.length;
            }
        }
    }
}

const SPEC: SampleSpec = SampleSpec { format: SampleFormat::S16Le, channels: 1, sample_rate: audio::RATE };
/// 10 ms, in bytes.
const PIECE: u32 = 960;
const QUESTION: u32 = 7;
