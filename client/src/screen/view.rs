//! The call at a glance: who is there, who talks, how each is connected, and the line one types in. From numbers to
//! rows, nothing else.

use super::editor::Editor;
use super::row::{Ink, Row, columns, shortened};
use super::zone::Frame;
use crate::sound::Presence;
use crate::stats::{PeerStats, Stats};
use crate::volumes::AS_SENT;

/// What is asked for at the foot of the screen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Question {
    #[default]
    Chat,
    Code,
}

pub(super) struct View {
    pub(super) question: Question,
    /// Once we are in the room.
    pub(super) stats: Option<Stats>,
    /// The server is away, so nobody can join.
    pub(super) alone: bool,
    /// What Tab found, until the next key.
    pub(super) choices: Vec<String>,
    pub(super) unicode: bool,
}

impl View {
    pub(super) fn new(unicode: bool) -> Self {
        Self { question: Question::default(), stats: None, alone: false, choices: Vec::new(), unicode }
    }

    pub(super) fn friends(&self) -> Vec<String> {
        self.stats.iter().flat_map(|stats| &stats.peers).map(|peer| peer.name.clone()).collect()
    }

    pub(super) fn frame(&self, editor: &Editor, (width, height): (usize, usize)) -> Frame {
        // The conversation keeps at least half; and the last column is free, where terminals differ.
        let width = width.saturating_sub(1);
        let budget = (height / 2).saturating_sub(1);
        let mut rows = match &self.stats {
            Some(stats) => {
                self.people(stats, width, budget.saturating_sub(usize::from(!self.choices.is_empty())))
            }
            None => Vec::new(),
        };
        if !self.choices.is_empty() {
            rows.push(Row::new(Ink::Dim, &format!("  {}", self.choices.join("  "))).cut(width));
        }
        let label = self.label();
        let label = if columns(label) * 2 > width { ">" } else { label };
        let (before, after) = editor.visible(width.saturating_sub(columns(label)));
        let mut input = Row::new(self.label_ink(label), label);
        input.push(Ink::Plain, &before);
        Frame { rows, before: input.cut(width), after: Row::new(Ink::Plain, &after) }
    }

    fn label(&self) -> &'static str {
        match (self.question, &self.stats) {
            (Question::Code, _) => "Code: ",
            (Question::Chat, Some(stats)) if stats.deafened => "deaf> ",
            (Question::Chat, Some(stats)) if stats.muted => "muted> ",
            (Question::Chat, _) => "> ",
        }
    }

    /// Red is for what keeps one from being heard or from hearing.
    fn label_ink(&self, label: &str) -> Ink {
        let usual = self.question == Question::Code || label.starts_with('>');
        if usual { Ink::Bold } else { Ink::Red }
    }

    fn people(&self, stats: &Stats, width: usize, budget: usize) -> Vec<Row> {
        let peers: Vec<&PeerStats> = stats.peers.iter().filter(|peer| peer.state != "gone").collect();
        let friends = peers.len();
        if budget == 0 {
            return Vec::new();
        }
        if budget < friends.min(3) {
            return vec![self.crowd(&peers, width)];
        }
        // One's own row goes first when there is little room, then friends who are silent and well.
        let own = (budget > friends).then(|| self.own(stats));
        let (shown, hidden) = chosen(&peers, budget);
        let mut table: Vec<Cells> = shown.iter().map(|peer| self.friend(peer)).collect();
        table.extend(own);
        let mut rows = set(table, width);
        if !hidden.is_empty() {
            let names: Vec<&str> = hidden.iter().map(|peer| peer.name.as_str()).collect();
            rows.push(
                Row::new(Ink::Dim, &format!("  and {}: {}", hidden.len(), names.join(", "))).cut(width),
            );
        }
        rows
    }

    fn friend(&self, peer: &PeerStats) -> Cells {
        let level = peer.sound.as_ref().map_or(SILENCE, |sound| sound.level_dbfs);
        let talking = level > TALKING;
        let rung = match (peer.state, peer.rung) {
            ("reconnecting", _) => "lost".to_owned(),
            (_, None) => "...".to_owned(),
            (_, Some("mail")) => "text only".to_owned(),
            (_, Some("host")) => "friend".to_owned(),
            (_, Some(rung)) => rung.to_owned(),
        };
        let loss = peer.loss_in.max(peer.loss_out) * 100.0;
        let mut flags = Vec::new();
        if peer.muted {
            flags.push("muted");
        }
        if peer.deafened {
            flags.push("hears nobody");
        }
        let lost = peer.state == "reconnecting";
        Cells {
            mark: if lost { "~" } else { self.mark(talking) },
            name: peer.name.clone(),
            ink: match () {
                () if lost => Ink::Yellow,
                () if talking => Ink::Green,
                () => Ink::Plain,
            },
            meter: self.meter(level),
            rung,
            rtt: peer.rtt_ms.map_or(String::new(), |rtt| format!("{rtt:.0} ms")),
            loss: peer.rtt_ms.map_or(String::new(), |_| format!("{loss:.1} % lost")),
            loss_ink: match loss {
                _ if loss >= 15.0 => Ink::Red,
                _ if loss >= 5.0 => Ink::Yellow,
                _ => Ink::Plain,
            },
            ear: (peer.sound.as_ref().and_then(|sound| sound.delay_ms))
                .map_or(String::new(), |delay| format!("{delay:.0} ms to ear")),
            flags: flags.join(", "),
            aside: match peer.volume {
                AS_SENT => String::new(),
                percent => format!("volume {percent} %"),
            },
        }
    }

    fn own(&self, stats: &Stats) -> Cells {
        let level = stats.level_dbfs.filter(|_| !stats.muted).unwrap_or(SILENCE);
        let talking = stats.talking && !stats.muted;
        let mut flags = Vec::new();
        for (on, flag) in [
            (stats.microphone == Presence::Awaited, "no microphone: /input"),
            (stats.loudspeaker == Presence::Awaited, "no loudspeaker: /output"),
            (stats.muted, "muted"),
            (stats.deafened, "deaf"),
            (stats.push_to_talk, "push to talk"),
            (!stats.open, "room locked"),
            (self.alone, "server lost"),
        ] {
            if on {
                flags.push(flag);
            }
        }
        let rests = stats.resting && !stats.muted && stats.microphone == Presence::There;
        Cells {
            mark: self.mark(talking),
            name: "you".to_owned(),
            ink: if talking { Ink::Green } else { Ink::Plain },
            meter: self.meter(level),
            flags: flags.join(", "),
            aside: match rests {
                true => RESTING.to_owned(),
                false => String::new(),
            },
            ..Cells::default()
        }
    }

    /// All of them in one row, for a terminal of a few lines.
    fn crowd(&self, peers: &[&PeerStats], width: usize) -> Row {
        let mut row = Row::default();
        let mut left = peers.len();
        for peer in peers {
            let cells = self.friend(peer);
            let mut next = Row::new(cells.ink, &format!("{}{}", cells.mark.trim(), cells.name));
            next.push(Ink::Plain, if peer.muted { " muted " } else { " " });
            let more = format!("+{left}");
            if row.width() + next.width() + columns(&more) > width {
                row.push(Ink::Dim, &more);
                break;
            }
            row.append(next);
            left -= 1;
        }
        row.cut(width)
    }

    /// Seen without colours as well.
    fn mark(&self, talking: bool) -> &'static str {
        match (talking, self.unicode) {
            (false, _) => " ",
            (true, true) => "▸",
            (true, false) => "*",
        }
    }

    fn meter(&self, dbfs: f32) -> (usize, char, char) {
        let share = ((dbfs - FLOOR) / (CEILING - FLOOR)).clamp(0.0, 1.0);
        let full = (share * METER as f32).round() as usize;
        if self.unicode { (full, '▮', '▯') } else { (full, '#', '.') }
    }
}

/// One row of the table, before it is known what there is room for.
#[derive(Clone, Debug, Default)]
struct Cells {
    mark: &'static str,
    name: String,
    ink: Ink,
    meter: (usize, char, char),
    rung: String,
    rtt: String,
    loss: String,
    loss_ink: Ink,
    ear: String,
    flags: String,
    /// Only where there is room.
    aside: String,
}

/// The richest layout in which everybody fits.
fn set(table: Vec<Cells>, width: usize) -> Vec<Row> {
    for detail in (0..=6).rev() {
        let rows = laid_out(&table, detail, width);
        if rows.iter().all(|row| row.width() <= width) || detail == 0 {
            return rows.into_iter().map(|row| row.cut(width)).collect();
        }
    }
    Vec::new()
}

/// 6: everything; 5: without the delay to the ear; 4: without loss; 3: a short meter and a short name; 2: without the round
/// trip; 1: without the rung; 0: the name.
fn laid_out(table: &[Cells], detail: usize, width: usize) -> Vec<Row> {
    let widest = |cell: fn(&Cells) -> &str| table.iter().map(|cells| columns(cell(cells))).max().unwrap_or(0);
    let name_width = widest(|cells| &cells.name).min(if detail > 3 { 24 } else { 10 });
    let shown: [(bool, usize); 4] = [
        (detail > 1, widest(|cells| &cells.rung)),
        (detail > 2, widest(|cells| &cells.rtt)),
        (detail > 4, widest(|cells| &cells.loss)),
        (detail > 5, widest(|cells| &cells.ear)),
    ];
    let line = |cells: &Cells| {
        let mut row = Row::new(cells.ink, cells.mark);
        row.push(Ink::Plain, " ");
        row.push(cells.ink, &shortened(&cells.name, name_width));
        if detail > 0 {
            row.pad(2 + name_width);
            let length = if detail > 3 { METER } else { METER / 2 };
            let (full, on, off) = cells.meter;
            let full = (full * length).div_ceil(METER);
            row.push(Ink::Plain, " ");
            row.push(Ink::Green, &on.to_string().repeat(full));
            row.push(Ink::Dim, &off.to_string().repeat(length - full));
        }
        let texts = [
            (&cells.rung, Ink::Plain),
            (&cells.rtt, Ink::Plain),
            (&cells.loss, cells.loss_ink),
            (&cells.ear, Ink::Plain),
        ];
        let mut end = row.width();
        for (index, ((shown, wide), (text, ink))) in shown.into_iter().zip(texts).enumerate() {
            if !shown || wide == 0 {
                continue;
            }
            let start = end + 2;
            end = start + wide;
            if !text.is_empty() {
                // Numbers stand with their units below each other. Nothing ends in blanks: they would wrap.
                row.pad(if index == 0 { start } else { end - columns(text) });
                row.push(ink, text);
            }
        }
        if !cells.flags.is_empty() {
            row.pad(end + 2);
            row.push(Ink::Red, &cells.flags);
            end = row.width();
        }
        if !cells.aside.is_empty() && end + 2 + columns(&cells.aside) <= width {
            row.pad(end + 2);
            row.push(Ink::Dim, &cells.aside);
        }
        row
    };
    table.iter().map(line).collect()
}

/// Who has a row, in the order of the room; the last row tells of the others.
fn chosen<'a>(peers: &[&'a PeerStats], budget: usize) -> (Vec<&'a PeerStats>, Vec<&'a PeerStats>) {
    if peers.len() <= budget {
        return (peers.to_vec(), Vec::new());
    }
    let matters = |peer: &PeerStats| {
        peer.state != "live" || peer.sound.as_ref().is_some_and(|sound| sound.level_dbfs > TALKING)
    };
    let mut places = budget.saturating_sub(1);
    let mut urgent = places.min(peers.iter().filter(|peer| matters(peer)).count());
    places -= urgent;
    let (mut shown, mut hidden) = (Vec::new(), Vec::new());
    for &peer in peers {
        let left = if matters(peer) { &mut urgent } else { &mut places };
        if *left > 0 {
            *left -= 1;
            shown.push(peer);
        } else {
            hidden.push(peer);
        }
    }
    (shown, hidden)
}

/// Below it is breath and room; it only decides what is marked.
const TALKING: f32 = -50.0;
const RESTING: &str = "the microphone rests until a friend is here";
const SILENCE: f32 = -100.0;
/// A whisper and a shout.
const FLOOR: f32 = -54.0;
const CEILING: f32 = -6.0;
const METER: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::PeerSound;

    fn peer(name: &str, level_dbfs: f32) -> PeerStats {
        PeerStats {
            name: name.into(),
            state: "live",
            rung: Some("direct"),
            rtt_ms: Some(23.4),
            loss_in: 0.012,
            sound: Some(PeerSound { level_dbfs, delay_ms: Some(85.0), ..PeerSound::default() }),
            ..PeerStats::default()
        }
    }

    fn view(peers: Vec<PeerStats>) -> View {
        let level_dbfs = Some(-30.0);
        View { stats: Some(Stats { peers, level_dbfs, open: true, ..Stats::default() }), ..View::new(true) }
    }

    fn seen(view: &View, width: usize, height: usize) -> Vec<String> {
        let frame = view.frame(&Editor::new(), (width, height));
        let input = frame.before.text() + &frame.after.text();
        frame.rows.iter().map(Row::text).chain([input]).map(|row| row.trim_end().to_owned()).collect()
    }

    #[test]
    fn each_friend_is_a_row_that_tells_all_when_there_is_room() {
        let relay = PeerStats { rung: Some("relay"), muted: true, volume: 50, ..peer("Cem", -100.0) };
        let view = view(vec![peer("Barbara", -20.0), relay]);
        assert_eq!(
            seen(&view, 80, 24),
            [
                "▸ Barbara ▮▮▮▮▮▮▯▯  direct  23 ms  1.2 % lost  85 ms to ear",
                "  Cem     ▯▯▯▯▯▯▯▯  relay   23 ms  1.2 % lost  85 ms to ear  muted  volume 50 %",
                "  you     ▮▮▮▮▯▯▯▯",
                ">"
            ]
        );
    }

    #[test]
    fn what_matters_less_goes_first_when_the_window_is_narrow() {
        let mut view = view(vec![peer("Barbara", -20.0)]);
        assert_eq!(seen(&view, 50, 24)[0], "▸ Barbara ▮▮▮▮▮▮▯▯  direct  23 ms  1.2 % lost");
        assert_eq!(seen(&view, 38, 24)[0], "▸ Barbara ▮▮▮▮▮▮▯▯  direct  23 ms");
        assert_eq!(seen(&view, 32, 24)[0], "▸ Barbara ▮▮▮▯  direct  23 ms");
        assert_eq!(seen(&view, 29, 24)[0], "▸ Barbara ▮▮▮▯  direct");
        assert_eq!(seen(&view, 20, 24)[0], "▸ Barbara ▮▮▮▯");
        assert_eq!(seen(&view, 12, 24)[0], "▸ Barbara");
        view.unicode = false;
        assert_eq!(seen(&view, 32, 24)[0], "* Barbara ###.  direct  23 ms");
    }

    #[test]
    fn no_figure_stands_in_the_row_of_one_from_whom_nothing_comes() {
        let sound = Some(PeerSound { level_dbfs: -100.0, delay_ms: None, ..PeerSound::default() });
        let silent = PeerStats { rtt_ms: None, sound, ..peer("Barbara", -100.0) };
        assert_eq!(seen(&view(vec![silent]), 80, 24)[0], "  Barbara ▯▯▯▯▯▯▯▯  direct");
    }

    #[test]
    fn one_who_went_before_anybody_met_them_has_no_row() {
        let gone = |name: &str| PeerStats { state: "gone", rung: None, ..peer(name, -100.0) };
        let peers = vec![peer("Bob", -20.0), gone("Cem"), gone("Dora"), gone("Eve")];
        let rows = seen(&view(peers), 80, 10);
        assert!(rows.len() == 3 && rows[0].starts_with("▸ Bob") && rows[1].starts_with("  you"), "{rows:#?}");
    }

    #[test]
    fn a_terminal_of_a_few_lines_keeps_one_for_all_and_one_to_type_in() {
        let view = view(vec![peer("Bob", -20.0), peer("Cem", -100.0), peer("Dora", -100.0)]);
        assert_eq!(seen(&view, 20, 4), ["▸Bob Cem Dora", ">"]);
        assert_eq!(seen(&view, 12, 4), ["▸Bob Cem +1", ">"]);
        assert_eq!(seen(&view, 20, 2), [">"]);
        assert_eq!(seen(&view, 1, 1), [""]);
    }

    #[test]
    fn with_too_many_friends_the_talkers_keep_their_rows() {
        let mut peers: Vec<PeerStats> = (0..12).map(|n| peer(&format!("f{n}"), -100.0)).collect();
        peers[11] = peer("loud", -10.0);
        let rows = seen(&view(peers), 80, 16);
        assert_eq!(rows.len(), 8);
        assert!(rows[5].starts_with("▸ loud") && rows[6].starts_with("  and 6: f5, f6"), "{rows:#?}");
    }

    #[test]
    fn nothing_is_wider_than_the_window_whatever_names_are_like() {
        let names = [
            "👩\u{200d}👩\u{200d}👧👩\u{200d}👩\u{200d}👧",
            "你好你好你好你好你好你好",
            "e\u{301}\u{301}\u{301}",
            "\u{202e}\x1b[2J",
        ];
        let peers: Vec<PeerStats> = names.iter().map(|name| peer(name, -20.0)).collect();
        let mut view = view(peers);
        view.choices = vec!["x".repeat(10_000)];
        let mut editor = Editor::new();
        editor.paste(&"你".repeat(300));
        for width in 1..100 {
            for height in 1..30 {
                let frame = view.frame(&editor, (width, height));
                assert!(frame.rows.len() < height.max(2), "{width}x{height}");
                assert!(frame.rows.iter().all(|row| row.width() < width.max(2)), "{width}");
                assert!(frame.before.width() + frame.after.width() < width.max(2), "{width}");
            }
        }
    }

    #[test]
    fn ones_own_state_stands_where_one_types() {
        let mut view = view(vec![]);
        let stats = view.stats.as_mut().into_iter();
        stats.for_each(|stats| stats.muted = true);
        view.alone = true;
        assert_eq!(seen(&view, 80, 24), ["  you ▯▯▯▯▯▯▯▯  muted, server lost", "muted>"]);
        let stats = view.stats.as_mut().into_iter();
        stats.for_each(|stats| (stats.muted, stats.open) = (false, false));
        assert_eq!(seen(&view, 80, 24)[0], "  you ▮▮▮▮▯▯▯▯  room locked, server lost");
        let stats = view.stats.as_mut().into_iter();
        stats.for_each(|stats| (stats.open, stats.resting) = (true, true));
        view.alone = false;
        assert_eq!(seen(&view, 80, 24)[0], "  you ▮▮▮▮▯▯▯▯  the microphone rests until a friend is here");
        let stats = view.stats.as_mut().into_iter();
        stats.for_each(|stats| stats.microphone = Presence::Awaited);
        assert_eq!(seen(&view, 80, 24)[0], "  you ▮▮▮▮▯▯▯▯  no microphone: /input");
        view.question = Question::Code;
        assert_eq!(view.label_ink(view.label()), Ink::Bold);
        view.question = Question::Chat;
        assert_eq!(
            ["> ", "muted> ", "deaf> "].map(|label| view.label_ink(label)),
            [Ink::Bold, Ink::Red, Ink::Red]
        );
        view.question = Question::Code;
        assert_eq!(seen(&view, 80, 24)[1], "Code:");
    }
}
