//! Notes in plain words, for people. The screen sets them; a pipe gets them as they are.

use std::time::Duration;

use unicode_width::UnicodeWidthStr;

use crate::note::{Device, Drops, Entrance, Note, PeerStats, Reach, State, Stats, Status, Via};
use crate::order::Given;
use crate::sound::Presence;
use crate::volumes::AS_SENT;

/// What a note says, by how it is to be set.
#[derive(Debug, PartialEq)]
pub(crate) enum Words {
    /// A line of chat.
    Said {
        who: String,
        text: String,
    },
    /// A line of our own.
    Own(String),
    /// What happens in the call.
    News(String),
    /// What answers an order.
    Answer(String),
    /// What concerns the program.
    Aside(String),
    Trouble(String),
    /// To be copied: exactly so.
    Block(String),
}

impl Words {
    /// As it is, without who or how.
    pub(crate) fn text(self) -> String {
        match self {
            Self::Said { text, .. }
            | Self::Own(text)
            | Self::News(text)
            | Self::Answer(text)
            | Self::Aside(text)
            | Self::Trouble(text)
            | Self::Block(text) => text,
        }
    }

    /// `None` for what only programs want.
    pub(crate) fn of(note: &Note) -> Option<Self> {
        Some(match note {
            Note::Invite { code, link, server, reach, entrance } => {
                Self::Block(invitation(code.as_deref(), link.as_deref(), server, *reach) + barred(*entrance))
            }
            Note::Serving { place, .. } => Self::Block(format!("{place}\n")),
            Note::Chat { name, text, .. } => Self::Said { who: name.clone(), text: text.clone() },
            Note::Said { text } => Self::Own(text.clone()),
            Note::Notice { message } => Self::Aside(message.clone()),
            // How long one was here, which follows in a moment, says it all.
            Note::Answer { order: Some(order), done: true, .. } if order == "quit" => return None,
            Note::Answer { message, .. } => Self::Answer(message.read(Given::InTheCall).to_owned()),
            Note::Trouble { message } => Self::Trouble(message.clone()),
            Note::Missed { lines } => Self::Trouble(format!(
                "{} missing here, because nobody read what was printed.",
                match lines {
                    1 => "1 line is".to_owned(),
                    lines => format!("{lines} lines are"),
                }
            )),
            Note::Finding { state, message, hint, .. } => Self::Block(finding(*state, message, hint)),
            Note::Echo { level_dbfs, delay_ms, rtt_ms, loss } => {
                Self::Answer(echo(*level_dbfs, *delay_ms, *rtt_ms, *loss))
            }
            Note::Peers { peers } => Self::Block(people(peers)),
            Note::Verify { words } => Self::Answer(format!(
                "Room check: {}. Read it aloud: whoever talks to the same friends as you has the same five words; with \
                 other words somebody is in between.",
                words.join(" ")
            )),
            Note::Devices { inputs, outputs } => Self::Block(devices(inputs, outputs)),
            Note::Stats(stats) => Self::Block(numbers(stats)),
            Note::Status(now) => Self::Block(status(now, Given::InTheCall)),
            happened => Self::News(news(happened)?),
        })
    }
}

/// What answers one who asked there. `None` for what only programs want.
pub(crate) fn answer(note: &Note, given: Given) -> Option<String> {
    match note {
        Note::Status(now) => Some(status(now, given)),
        Note::Answer { message, .. } => Some(message.read(given).to_owned()),
        _ => Words::of(note).map(Words::text),
    }
}

/// What happened in the room. `None` for what was said otherwise, or has a way of its own.
fn news(note: &Note) -> Option<String> {
    Some(match note {
        Note::Entered { .. } => "You are in. Just type to chat, /help lists the commands.".to_owned(),
        Note::Joined { name, .. } => format!("{name} is here."),
        Note::Left { name, why: "timed_out", .. } => {
            format!("{name} has been silent for too long and is gone.")
        }
        Note::Left { name, why: "kicked", .. } => format!("{name} was removed from the room."),
        Note::Left { name, .. } => format!("{name} left."),
        Note::Path { name, rung, via, .. } => format!("{name}: {}.", path(rung, via.as_ref())),
        Note::Undelivered { name, text, .. } => format!("{name} did not get: {text}"),
        Note::Muted { name, muted: true, .. } => format!("{name} muted the microphone."),
        Note::Muted { name, muted: false, .. } => format!("{name} can be heard again."),
        Note::Echoes { name, .. } => {
            format!("You may hear yourself through {name}: headphones there end the echo.")
        }
        Note::Reconnecting { name, cause: Some(_), .. } => format!(
            "Nothing comes from {name}: the relay that carried your voices is silent as the server is; they are down, or \
             your network is. Still trying."
        ),
        Note::Reconnecting { name, .. } => format!("Nothing comes from {name}; still trying."),
        Note::Back { name, .. } => format!("{name} is back."),
        Note::Unreachable { name, .. } => format!("No connection to {name} works so far; still trying."),
        Note::WrongCode { tries } => format!("Somebody tried to enter with wrong words ({tries} so far)."),
        Note::Locked => "Too many wrong words: this code lets nobody in any more; a new one does.".to_owned(),
        Note::Renamed { name, was, .. } => format!("{was} is called {name} now."),
        Note::Door { open: false, name, .. } => format!("{name} locked the room: nobody can join."),
        Note::Door { open: true, name, .. } => format!("{name} opened the room: the code lets friends in."),
        Note::NewCode { name, .. } => format!("{name} made a new code; the old one is dead."),
        Note::Denied { message, .. } => (*message).to_owned(),
        Note::CheckChanged => "The five words are others now: /verify shows them.".to_owned(),
        Note::Signaling { up: false, alone: true } => STRANDED.to_owned(),
        Note::Signaling { up: false, alone: false } => SERVER_LOST.to_owned(),
        Note::Signaling { up: true, .. } => "The server is back.".to_owned(),
        _ => return None,
    })
}

fn finding(state: State, message: &str, hint: &str) -> String {
    let mark = match state {
        State::Good => "ok",
        State::Doubtful => "!!",
        State::Bad => "NO",
    };
    format!("{mark}  {}\n", format!("{message} {hint}").trim_end())
}

/// The end of a call that was left.
pub(crate) fn parted(stayed: Option<Duration>) -> Words {
    Words::News(match stayed {
        Some(stayed) => format!("You left the call after {}.", lasted(stayed)),
        None => "You left before the call began.".to_owned(),
    })
}

/// As people say it.
fn lasted(time: Duration) -> String {
    // `--seconds 3` begins a moment before the call does.
    let seconds = (time + Duration::from_millis(500)).as_secs();
    let (hours, minutes) = (seconds / 3_600, seconds / 60 % 60);
    match (hours, minutes) {
        (0, 0) => count(seconds, "second"),
        (0, minutes) => count(minutes, "minute"),
        (hours, 0) => count(hours, "hour"),
        (hours, minutes) => format!("{} and {}", count(hours, "hour"), count(minutes, "minute")),
    }
}

/// So many of these.
fn count(number: u64, what: &str) -> String {
    let s = if number == 1 { "" } else { "s" };
    format!("{number} {what}{s}")
}

/// For one who was let in: how to let others in, in a line.
pub(crate) fn invitation_of_a_guest(code: &str, entrance: Entrance, made_by: Option<&str>) -> Words {
    let once = match (entrance.up, entrance.open) {
        (true, true) => "",
        (false, true) => " (once the server is back)",
        (true, false) => " (once the room is unlocked)",
        (false, false) => " (once the room is unlocked and the server back)",
    };
    Words::News(match made_by {
        Some(name) => format!("{name} made a new code. Others get in only with {code}{once}"),
        None => format!("Others get in with {code}{once}"),
    })
}

fn invitation(code: Option<&str>, link: Option<&str>, server: &str, reach: Reach) -> String {
    let mut text = String::new();
    if let Some(code) = code {
        text += &format!("Tell your friends to type `voicechat join` and this code:\n\n    {code}\n\n");
    }
    let named = code.is_some_and(|code| code.contains('@'));
    if let Some(link) = link {
        text += &match reach {
            Reach::Server if code.is_some() && !named => format!(
                "A friend whose voicechat does not use this server adds @{server} to the code, or pastes this link, which \
                 also checks the server's key:"
            ),
            _ if code.is_none() => "Send your friends this link to paste into `voicechat join`:".to_owned(),
            _ => "Or send them this link to paste there:".to_owned(),
        };
        text += &format!("\n    {link}\n");
    }
    text += &match reach {
        Reach::Server => String::new(),
        Reach::Loopback => format!(
            "Only programs on this machine reach {server}. For friends elsewhere, use a server: voicechat serve --help\n"
        ),
        Reach::Lan => format!(
            "Friends in the same network reach you at {server}. For friends elsewhere forward that port, TCP and UDP, \
             in your router and open the room with `voicechat host --address HOST:PORT`, or use a server.\n"
        ),
        Reach::Public => format!("Friends anywhere reach you at {server} if no firewall is in the way.\n"),
    };
    text
}

/// Why nobody gets in with a code, whatever it is.
pub(crate) fn barred(entrance: Entrance) -> &'static str {
    match (entrance.up, entrance.open) {
        (true, true) => "",
        (false, true) => "The server is lost at the moment: they get in once it is back.\n",
        (true, false) => "The room is locked: they get in once it is unlocked.\n",
        (false, false) => {
            "The room is locked and the server lost: they get in once it is unlocked and the server back.\n"
        }
    }
}

fn path(rung: &str, via: Option<&Via>) -> String {
    match (rung, via) {
        ("direct", _) => "connected directly".to_owned(),
        (_, Some(via)) => format!("connected through {}, who cannot listen", via.via_name),
        ("relay", _) => "connected through the relay, which cannot listen".to_owned(),
        _ => "text only so far, through the server".to_owned(),
    }
}

fn people(peers: &[PeerStats]) -> String {
    match peers {
        [] => "* Nobody else is here yet.\n".to_owned(),
        peers => peers.iter().map(|peer| person(peer) + "\n").collect(),
    }
}

fn reached(peer: &PeerStats) -> String {
    match (peer.state, peer.rung) {
        ("reconnecting", _) => "lost, still trying".to_owned(),
        ("gone", _) => "left before any path opened".to_owned(),
        (_, Some(rung)) => path(rung, peer.via.as_ref()),
        (_, None) => "no path yet".to_owned(),
    }
}

fn person(peer: &PeerStats) -> String {
    let mut line = format!("* {}: {}", peer.name, reached(peer));
    if let Some(rtt) = peer.rtt_ms {
        line += &format!(", {rtt:.0} ms there and back");
    }
    if let Some(jitter) = peer.jitter_ms {
        line += &format!(", jitter {jitter:.1} ms");
    }
    if peer.rtt_ms.is_some() {
        line += &format!(", lost {:.1} % in, {:.1} % out", peer.loss_in * 100.0, peer.loss_out * 100.0);
    }
    if let Some(delay) = peer.sound.as_ref().and_then(|sound| sound.delay_ms) {
        line += &format!(", delay about {delay:.0} ms");
    }
    if peer.muted {
        line += ", muted";
    }
    if peer.deafened {
        line += ", hears nobody";
    }
    line + &volume(peer)
}

/// Where it is not as sent.
fn volume(peer: &PeerStats) -> String {
    match peer.volume {
        AS_SENT => String::new(),
        percent => format!(", volume {percent} %"),
    }
}

fn numbers(stats: &Stats) -> String {
    let captured = count(stats.captured, "frame");
    let mut text = format!("* You: {captured} from the microphone, {} sent", stats.sent);
    if let Some(level) = stats.level_dbfs {
        text += &format!(", {level:.0} dBFS");
    }
    text += &format!(
        "; {:.0} ms to here, {:.0} ms to the ear with a reserve of {:.0}, ran dry {}\n",
        stats.capture_ms,
        stats.playback_ms,
        stats.reserve_ms,
        count(stats.ran_dry, "time")
    );
    for peer in &stats.peers {
        text += &person(peer);
        text += &format!("; {} heard", count(peer.heard, "frame"));
        if let Some(sound) = &peer.sound {
            text += &format!(
                ": {} played, {} of them from a copy in a later packet, {} recovered from the next frame, {} from later ones, {} \
                 concealed, {} late, {} skipped; each waits {} ms for its turn, and {} ms would do now",
                sound.played,
                sound.again,
                sound.fec,
                sound.dred,
                sound.concealed,
                sound.late,
                sound.skipped,
                sound.buffer_ms,
                sound.target_ms
            );
        }
        text.push('\n');
    }
    text + &thrown_away(&stats.drops)
}

/// What is worth a look. Not packets or handshakes that came again or too late: where several paths are tried, each
/// brings a copy.
fn thrown_away(drops: &Drops) -> String {
    let garbage = &drops.garbage;
    let strange = garbage.malformed + garbage.forged + garbage.gate;
    let what: Vec<String> = [
        (drops.unsent, "packet", " that the system did not take"),
        (drops.voice, "voice frame", " between threads"),
        (strange, "packet", " from the network that nobody in this call sent so"),
        (garbage.too_many, "packet", " beyond the limits"),
    ]
    .into_iter()
    .filter(|(number, ..)| *number > 0)
    .map(|(number, what, which)| count(number, what) + which)
    .collect();
    match what.as_slice() {
        [] => "* Thrown away: nothing worth a look\n".to_owned(),
        what => format!("* Thrown away: {}\n", what.join(", ")),
    }
}

fn status(now: &Status, given: Given) -> String {
    let stats = &now.stats;
    let unmute = format!("off; {} switches it on", given.typed("unmute"));
    let undeafen = format!("off; {} ends it", given.typed("undeafen"));
    let unlock = format!("locked; {} opens it", given.typed("unlock"));
    let input = format!("none that works, so nobody hears you; {} takes another", given.typed("input"));
    let output = format!("no loudspeaker that works; {} takes another", given.typed("output"));
    let microphone = match stats {
        Stats { microphone: Presence::Awaited, .. } => &input,
        Stats { muted: true, .. } => &unmute,
        Stats { resting: true, .. } => "rests until a friend is here",
        Stats { push_to_talk: true, talking: false, .. } => "on while the talk key is held",
        Stats { talking: true, peers, .. } if peers.iter().all(|peer| peer.state != "live") => {
            "on, but it reaches nobody now"
        }
        Stats { talking: true, .. } => "on, and you are heard now",
        Stats { .. } => "on",
    };
    let hearing = match stats {
        Stats { loudspeaker: Presence::Awaited, .. } => &output,
        Stats { deafened: true, .. } => &undeafen,
        Stats { .. } => "on",
    };
    let talk = if stats.push_to_talk { "on" } else { "off" };
    let code = now.code.as_deref().unwrap_or("no code now");
    let door = if stats.open { "open" } else { &unlock };
    let server = if now.up { "there" } else { "lost: nobody can join" };
    let mut lines = vec![
        ("you".to_owned(), now.name.clone()),
        ("microphone".to_owned(), microphone.to_owned()),
        ("hearing".to_owned(), hearing.to_owned()),
        ("push-to-talk".to_owned(), talk.to_owned()),
        ("room".to_owned(), format!("{code}, {door}")),
        ("server".to_owned(), format!("{}, {server}", now.server)),
    ];
    lines.extend(stats.peers.iter().map(|peer| (peer.name.clone(), in_short(peer))));
    if stats.peers.is_empty() {
        lines.push(("friends".to_owned(), "nobody else is here yet".to_owned()));
    }
    let widest = lines.iter().map(|(what, _)| what.width()).max().unwrap_or(0);
    let line =
        |(what, how): (String, String)| format!("{what}{}  {how}\n", " ".repeat(widest - what.width()));
    lines.into_iter().map(line).collect()
}

fn in_short(peer: &PeerStats) -> String {
    let mut line = reached(peer);
    if let Some(rtt) = peer.rtt_ms {
        let lost = peer.loss_in.max(peer.loss_out) * 100.0;
        line += &format!(", {rtt:.0} ms there and back, {lost:.1} % lost");
    }
    for (so, flag) in [(peer.muted, ", muted"), (peer.deafened, ", hears nobody")] {
        line += if so { flag } else { "" };
    }
    line + &volume(peer)
}

fn echo(level_dbfs: Option<f32>, delay_ms: Option<f32>, rtt_ms: Option<f32>, loss: f32) -> String {
    let Some(delay) = delay_ms else { return "Nothing comes back yet; speak.".to_owned() };
    let mut text = format!("Back after about {delay:.0} ms");
    if let Some(rtt) = rtt_ms {
        let there = millis(rtt / 2.0);
        text += &format!(", of which {there} on the way through the relay");
    }
    text += &format!("; lost {:.1} %", loss * 100.0);
    if let Some(level) = level_dbfs {
        text += &format!("; your microphone at {level:.0} dBFS");
    }
    text + "."
}

/// Nothing takes no time at all.
pub(crate) fn millis(ms: f32) -> String {
    if ms < 1.0 { "under 1 ms".to_owned() } else { format!("{ms:.0} ms") }
}

/// The list of `voicechat devices` and `/devices`.
pub(crate) fn devices(inputs: &[Device], outputs: &[Device]) -> String {
    let mut text = String::new();
    for (title, devices) in [("Microphones (--input)", inputs), ("Loudspeakers (--output)", outputs)] {
        text += &format!("{title}:\n");
        for device in devices {
            let star = if device.default { "*" } else { " " };
            let monitor = if device.monitor { ", hears what is played" } else { "" };
            let used = if device.used { ", in use" } else { "" };
            text += &format!("  {star} {}  ({}{monitor}{used})\n", device.device, device.title);
        }
        if devices.is_empty() {
            text += "    none\n";
        }
    }
    text
}

/// After the host of a room without a server of its own has left, for example.
pub(crate) const STRANDED: &str = "Nobody else is here, and the room's server is gone: nobody can join until it is back. If \
                                   it was a friend's program that has ended, the room is over: /quit, and open another \
                                   with `voicechat create`.";
const SERVER_LOST: &str = "The server is lost: nobody can join until it is back. Calls go on, but those by its relay only while \
                           that runs.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_note_has_words_or_is_for_programs_alone() {
        for note in crate::note::tests::all() {
            match Words::of(&note) {
                Some(Words::Block(text)) => assert!(text.ends_with('\n') && text.len() > 2, "{text:?}"),
                Some(Words::News(text) | Words::Answer(text) | Words::Aside(text) | Words::Trouble(text)) => {
                    assert!(!text.is_empty() && !text.ends_with('\n'), "{text:?}");
                }
                Some(Words::Said { .. } | Words::Own(_)) => {}
                None => assert!(matches!(
                    note,
                    Note::Level { .. } | Note::Own { .. } | Note::Error { .. } | Note::Ended { .. }
                )),
            }
        }
    }

    #[test]
    fn how_long_a_call_lasted_is_said_as_people_say_it() {
        let said = |seconds| parted(Some(Duration::from_secs(seconds))).text();
        let almost = Duration::from_millis(2_980);
        assert_eq!(parted(Some(almost)).text(), "You left the call after 3 seconds.");
        assert_eq!(said(1), "You left the call after 1 second.");
        assert_eq!(said(59), "You left the call after 59 seconds.");
        assert_eq!(said(119), "You left the call after 1 minute.");
        assert_eq!(said(3_600), "You left the call after 1 hour.");
        assert_eq!(said(7_260), "You left the call after 2 hours and 1 minute.");
        assert_eq!(parted(None).text(), "You left before the call began.");
    }

    #[test]
    fn what_was_thrown_away_is_told_where_it_says_something() {
        use crate::note::Garbage;
        let quiet = Garbage { replayed: 11, stranger: 8, unknown: 2, out_of_turn: 1, ..Garbage::default() };
        let drops = Drops { garbage: quiet, ..Drops::default() };
        assert_eq!(thrown_away(&drops), "* Thrown away: nothing worth a look\n");
        let garbage = Garbage { forged: 1, malformed: 1, too_many: 3, ..drops.garbage };
        let drops = Drops { unsent: 1, voice: 2, garbage };
        assert_eq!(
            thrown_away(&drops),
            "* Thrown away: 1 packet that the system did not take, 2 voice frames between threads, 2 packets from the \
             network that nobody in this call sent so, 3 packets beyond the limits\n"
        );
    }

    #[test]
    fn the_numbers_say_what_they_are_of_and_one_is_one() {
        let sound = Some(crate::note::PeerSound { buffer_ms: 13, target_ms: 10, ..Default::default() });
        let peer = PeerStats { name: "Bob".into(), heard: 1, sound, ..PeerStats::default() };
        let said = numbers(&Stats { captured: 1, ran_dry: 1, peers: vec![peer], ..Stats::default() });
        for text in [
            "1 frame from",
            "dry 1 time\n",
            "; 1 frame heard:",
            "waits 13 ms for its turn, and 10 ms would do now",
        ] {
            assert!(said.contains(text), "{text} is not in {said}");
        }
        let missed = Words::of(&Note::Missed { lines: 1 }).map(Words::text);
        assert!(missed.is_some_and(|text| text.starts_with("1 line is missing")));
    }

    #[test]
    fn who_carries_for_a_friend_and_how_steadily_is_told_by_name() {
        let via = Some(Via { via_name: "Cem".into(), ..Via::default() });
        let peer = PeerStats {
            name: "Bob".into(),
            rung: Some("host"),
            via: via.clone(),
            rtt_ms: Some(41.0),
            jitter_ms: Some(2.25),
            ..PeerStats::default()
        };
        let said = person(&peer);
        assert!(said.starts_with("* Bob: connected through Cem, who cannot listen, 41 ms"), "{said}");
        assert!(said.contains("jitter 2.2 ms"), "{said}");
        let moved = Note::Path { id: Default::default(), name: "Bob".into(), rung: "host", via };
        assert_eq!(news(&moved).as_deref(), Some("Bob: connected through Cem, who cannot listen."));
    }

    #[test]
    fn of_one_that_is_lost_there_are_no_numbers_and_nobody_hears_what_reaches_nobody() {
        let peer = PeerStats { name: "Bob".into(), state: "reconnecting", ..PeerStats::default() };
        assert_eq!(person(&peer), "* Bob: lost, still trying");
        assert_eq!(in_short(&peer), "lost, still trying");
        let heard = |state| {
            let stats =
                Stats { talking: true, peers: vec![PeerStats { state, ..peer.clone() }], ..Stats::default() };
            let now = Status { stats, ..Status::default() };
            status(&now, Given::InTheCall).contains("you are heard now")
        };
        assert!(heard("live") && !heard("reconnecting"));
    }

    #[test]
    fn the_status_is_a_line_for_each_thing_and_for_each_friend() {
        let peer = PeerStats {
            name: "你好".into(),
            rung: Some("direct"),
            rtt_ms: Some(23.4),
            ..PeerStats::default()
        };
        let stats = Stats { muted: true, open: true, peers: vec![peer], ..Stats::default() };
        let now =
            Status { name: "Ada".into(), code: Some("CODE".into()), server: "h:1".into(), up: true, stats };
        let lines: Vec<String> = status(&now, Given::InTheCall).lines().map(str::to_owned).collect();
        assert_eq!(
            lines,
            [
                "you           Ada",
                "microphone    off; /unmute switches it on",
                "hearing       on",
                "push-to-talk  off",
                "room          CODE, open",
                "server        h:1, there",
                "你好          connected directly, 23 ms there and back, 0.0 % lost",
            ]
        );
        let alone = status(
            &Status { stats: Stats { resting: true, ..Stats::default() }, ..Status::default() },
            Given::Outside,
        );
        for text in [
            "rests until",
            "no code now, locked; `voicechat ctl unlock` opens it",
            "lost: nobody can join",
            "nobody else is here",
        ] {
            assert!(alone.contains(text), "{alone}");
        }
        let (microphone, loudspeaker) = (Presence::Awaited, Presence::Awaited);
        let mute = status(
            &Status { stats: Stats { microphone, loudspeaker, ..Stats::default() }, ..Status::default() },
            Given::InTheCall,
        );
        for text in ["microphone    none that works", "hearing       no loudspeaker"] {
            assert!(mute.contains(text), "{mute}");
        }
    }

    #[test]
    fn a_guest_reads_that_a_code_lets_nobody_in_before_the_room_is_unlocked() {
        let said = |up, open| invitation_of_a_guest("CODE", Entrance { up, open }, Some("Bob")).text();
        assert_eq!(said(true, true), "Bob made a new code. Others get in only with CODE");
        assert!(said(true, false).ends_with(" CODE (once the room is unlocked)"));
        assert!(said(false, true).ends_with(" CODE (once the server is back)"));
        assert!(said(false, false).ends_with("unlocked and the server back)"));
    }

    #[test]
    fn that_nothing_comes_is_told_with_its_cause_where_that_is_known() {
        let said = |cause| news(&Note::Reconnecting { id: Default::default(), name: "Bob".into(), cause });
        assert_eq!(said(None).as_deref(), Some("Nothing comes from Bob; still trying."));
        assert!(
            said(Some("relay")).is_some_and(|text| text.contains("the relay") && text.contains("the server"))
        );
    }

    #[test]
    fn an_invitation_says_plainly_who_can_follow_it() {
        let code = "48213-tiger-orbit-ocean";
        let said = |code: &str, reach| invitation(Some(code), Some("vc://x"), "h:1", reach);
        assert!(said(code, Reach::Loopback).contains("on this machine"));
        assert!(said(code, Reach::Lan).contains("in the same network"));
        assert!(said(code, Reach::Public).contains("anywhere"));
        assert!(said(code, Reach::Server).contains("adds @h:1 to the code, or pastes this link"));
        assert!(!said("48213-tiger-orbit-ocean@h:1", Reach::Server).contains("adds @"));
        let linked = invitation(None, Some("vc://x"), "h:1", Reach::Server);
        assert_eq!(linked, "Send your friends this link to paste into `voicechat join`:\n    vc://x\n");
    }

    #[test]
    fn no_way_takes_no_time_at_all() {
        assert_eq!([0.0, 0.4, 1.0, 41.2].map(millis), ["under 1 ms", "under 1 ms", "1 ms", "41 ms"]);
        let echo = Note::Echo { level_dbfs: None, delay_ms: Some(60.0), rtt_ms: Some(0.3), loss: 0.0 };
        let said = Words::of(&echo).map(Words::text).unwrap_or_default();
        assert!(said.contains("of which under 1 ms on the way"), "{said}");
    }
}
