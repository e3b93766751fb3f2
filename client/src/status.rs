//! How a call is, in plain words: the answers of `peers`, `stats` and `status`.

use unicode_width::UnicodeWidthStr;

use crate::order::Given;
use crate::sound::Presence;
use crate::stats::{Drops, PeerStats, Stats, Status};
use crate::volumes::AS_SENT;
use crate::words::{count, path};

pub(crate) fn people(peers: &[PeerStats]) -> String {
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

pub(crate) fn person(peer: &PeerStats) -> String {
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

pub(crate) fn numbers(stats: &Stats) -> String {
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

pub(crate) fn status(now: &Status, given: Given) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::note::{Note, Via};
    use crate::words::Words;

    #[test]
    fn what_was_thrown_away_is_told_where_it_says_something() {
        use crate::stats::Garbage;
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
        let sound = Some(crate::stats::PeerSound { buffer_ms: 13, target_ms: 10, ..Default::default() });
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
        let said = Words::of(&moved).map(Words::text);
        assert_eq!(said.as_deref(), Some("Bob: connected through Cem, who cannot listen."));
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
}
