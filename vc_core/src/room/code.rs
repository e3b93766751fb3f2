//! Invite codes: what friends tell each other. The nameplate finds the room; the words or the link's secret admit.
//!
//! ```text
//! 48213-tiger-lamp-ocean                     to say aloud: 3 of 2,048 words, 33 bits
//! 48213-tiger-lamp-ocean@203.0.113.5:47700   the same, with the place of the server
//! vc://203.0.113.5:47700/#1.<nameplate>.<secret>.<server key>    to paste: 128 bits, the server's key pinned; base32
//! ```

use std::str::FromStr;

use bip39::Language;
use data_encoding::BASE32_NOPAD;
use rand_core::RngCore;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::crypto::keys::{PublicKey, Rng};
pub use crate::protocol::member::WORDS;
use crate::protocol::member::{Codes, NUMBERS};
use crate::protocol::signal::Nameplate;

/// A code as typed or pasted. Deliberately neither `Debug` nor `Display`: it lets people in.
#[derive(Clone, PartialEq, Eq)]
pub enum Code {
    Spoken {
        number: u32,
        words: String,
        /// `HOST` or `HOST:PORT` of the server, where the code names one.
        server: Option<String>,
    },
    Link {
        server: String,
        key: PublicKey,
        nameplate: [u8; 10],
        secret: [u8; 16],
    },
}

/// What is wrong with a code that was typed; each sentence says what to do.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum BadCode {
    #[error(
        "a code looks like 48213-tiger-lamp-ocean, a number, then three words, or has an address behind it: \
         48213-tiger-lamp-ocean@192.168.1.7:47700"
    )]
    Form,
    #[error("the {0} word is not in the list; check its spelling (the first four letters are enough)")]
    Word(&'static str),
    #[error("the {nth} word could be {could}; type more of it")]
    Short { nth: &'static str, could: String },
    #[error("the link is damaged; copy it again, whole")]
    Link,
    #[error("the link is for a newer version of this program")]
    Version,
}

impl Code {
    pub fn nameplate(&self) -> Nameplate {
        match self {
            Self::Spoken { number, .. } => Nameplate::Spoken(*number),
            Self::Link { nameplate, .. } => Nameplate::Link(*nameplate),
        }
    }

    /// The low-entropy secret that the PAKE turns into a key.
    pub fn secret(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(match self {
            Self::Spoken { words, .. } => words.as_bytes().to_vec(),
            Self::Link { secret, .. } => secret.to_vec(),
        })
    }

    /// Where the code says the server is.
    pub fn server(&self) -> Option<(&str, Option<PublicKey>)> {
        match self {
            Self::Spoken { server, .. } => server.as_deref().map(|server| (server, None)),
            Self::Link { server, key, .. } => Some((server, Some(*key))),
        }
    }

    /// The text to hand on.
    pub fn text(&self) -> String {
        match self {
            Self::Spoken { number, words, server: None } => format!("{number}-{words}"),
            Self::Spoken { number, words, server: Some(server) } => format!("{number}-{words}@{server}"),
            Self::Link { server, key, nameplate, secret } => {
                format!("{SCHEME}{server}/#1.{}.{}.{}", base32(nameplate), base32(secret), base32(&key.0))
            }
        }
    }
}

impl FromStr for Code {
    type Err = BadCode;

    /// Forgives what people do to codes: case, spaces for dashes, words cut after four letters, and what stood around
    /// them in the sentence that they were copied from.
    fn from_str(text: &str) -> Result<Self, BadCode> {
        let around = |c: char| c.is_whitespace() || QUOTES.contains(c);
        let text = text.trim_start_matches(around).trim_end_matches(|c| around(c) || STOPS.contains(c));
        match text.get(..SCHEME.len()) {
            Some(scheme) if scheme.eq_ignore_ascii_case(SCHEME) => link(&text[SCHEME.len()..]),
            _ => spoken(text),
        }
    }
}

/// The words with this beginning, for completion; all of them for an empty one.
pub fn completions(prefix: &str) -> Vec<&'static str> {
    let prefix = prefix.to_lowercase();
    Language::English.word_list().iter().copied().filter(|word| word.starts_with(&prefix)).collect()
}

/// Fresh codes for the nameplates that the server gave.
pub(crate) fn fresh_words(rng: &mut Rng) -> String {
    let list = Language::English.word_list();
    let words: Vec<&str> = (0..WORDS).map(|_| list[(rng.next_u32() % 2_048) as usize]).collect();
    words.join("-")
}

pub(crate) fn fresh_secret(rng: &mut Rng) -> [u8; 16] {
    let mut secret = [0; 16];
    rng.fill_bytes(&mut secret);
    secret
}

/// The secret that this nameplate's code was given, if it is one of ours.
pub(crate) fn secret_of(codes: &Codes, nameplate: Nameplate) -> Option<Zeroizing<Vec<u8>>> {
    match nameplate {
        Nameplate::Spoken(number) => codes
            .spoken
            .as_ref()
            .filter(|(ours, _)| *ours == number)
            .map(|(_, words)| words.as_bytes().to_vec()),
        Nameplate::Link(random) => {
            codes.link.as_ref().filter(|(ours, _)| *ours == random).map(|(_, secret)| secret.to_vec())
        }
    }
    .map(Zeroizing::new)
}

/// What identifies a nameplate in the PAKE's channel identifier.
pub(crate) fn nameplate_bytes(nameplate: Nameplate) -> Vec<u8> {
    use crate::protocol::codec::Wire;
    nameplate.encode()
}

fn spoken(text: &str) -> Result<Code, BadCode> {
    let (code, server) = match text.split_once('@') {
        Some((code, server)) if is_place(server) => (code, Some(server.to_owned())),
        Some(_) => return Err(BadCode::Form),
        None => (text, None),
    };
    let mut parts = code.split(|c: char| c == '-' || c.is_whitespace()).filter(|part| !part.is_empty());
    let number = parts.next().and_then(|digits| digits.parse().ok()).ok_or(BadCode::Form)?;
    if !NUMBERS.contains(&number) {
        return Err(BadCode::Form);
    }
    let typed: Vec<&str> = parts.collect();
    if typed.len() != WORDS {
        return Err(BadCode::Form);
    }
    let mut words = Vec::with_capacity(WORDS);
    for (typed, nth) in typed.iter().zip(["first", "second", "third"]) {
        words.push(word(typed, nth)?);
    }
    Ok(Code::Spoken { number, words: words.join("-"), server })
}

fn word(typed: &str, nth: &'static str) -> Result<&'static str, BadCode> {
    let matches = completions(typed);
    if let Some(word) = matches.iter().find(|word| word.eq_ignore_ascii_case(typed)) {
        return Ok(word);
    }
    match matches.as_slice() {
        [] => Err(BadCode::Word(nth)),
        [word] if typed.len() >= ENOUGH => Ok(word),
        [words @ .., last] if words.len() < SHOWN => {
            let could =
                if words.is_empty() { (*last).to_owned() } else { format!("{} or {last}", words.join(", ")) };
            Err(BadCode::Short { nth, could })
        }
        words => Err(BadCode::Short { nth, could: format!("any of {}", words.len()) }),
    }
}

fn link(rest: &str) -> Result<Code, BadCode> {
    let (server, fragment) = rest.split_once("/#").ok_or(BadCode::Link)?;
    let mut parts = fragment.split('.');
    if parts.next() != Some("1") {
        return Err(BadCode::Version);
    }
    let nameplate = parts.next().and_then(unbase32).ok_or(BadCode::Link)?;
    let secret = parts.next().and_then(unbase32).ok_or(BadCode::Link)?;
    let key = PublicKey(parts.next().and_then(unbase32).ok_or(BadCode::Link)?);
    if parts.next().is_some() || !is_place(server) {
        return Err(BadCode::Link);
    }
    Ok(Code::Link { server: server.to_owned(), key, nameplate, secret })
}

/// `HOST` or `HOST:PORT`; the host is only looked up later.
fn is_place(text: &str) -> bool {
    let (host, port) = text.rsplit_once(':').unwrap_or((text, USUAL_PORT));
    let host_ok =
        !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || "-._:[]%".contains(c));
    host_ok && port.parse::<u16>().is_ok_and(|port| port != 0)
}

/// Lower-case base32 without padding (RFC 4648).
pub fn base32(bytes: &[u8]) -> String {
    BASE32_NOPAD.encode(bytes).to_lowercase()
}

/// Exactly `N` bytes of it, in either case.
pub fn unbase32<const N: usize>(text: &str) -> Option<[u8; N]> {
    BASE32_NOPAD.decode(text.to_uppercase().as_bytes()).ok()?.try_into().ok()
}

/// Letters that tell the words of the list apart. With fewer a mistyped word would too often be another.
const ENOUGH: usize = 4;
/// More are no help.
const SHOWN: usize = 4;
const SCHEME: &str = "vc://";
const QUOTES: &str = "\"'`\u{201c}\u{201d}\u{201e}\u{2018}\u{2019}\u{201a}\u{ab}\u{bb}\u{2039}\u{203a}";
/// No code ends in one of them.
const STOPS: &str = ".,;:!?";
/// Where a server is unless said otherwise.
const USUAL_PORT: &str = "47700";

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::{any, proptest};
    use rand_core::SeedableRng;

    use super::*;

    #[test]
    fn a_spoken_code_survives_what_people_do_to_it() {
        let Ok(plain) = "48213-tiger-orbit-ocean".parse::<Code>() else { panic!() };
        for typed in [" 48213 Tiger  ORBIT ocean ", "48213-tige-orbi-ocea", "48213--tiger orbit-ocean\n"] {
            assert!(typed.parse::<Code>() == Ok(plain.clone()), "{typed}");
        }
        for typed in [
            "\"48213-tiger-orbit-ocean\".",
            "\u{201e}48213 tiger orbit ocean!\u{201c}",
            "`48213-tiger-orbit-ocean`,",
        ] {
            assert!(typed.parse::<Code>() == Ok(plain.clone()), "{typed}");
        }
        let Ok(placed) = "48213-tiger-orbit-ocean@[2001:db8::1]:47700".parse::<Code>() else { panic!() };
        assert!("'48213-tiger-orbit-ocean@[2001:db8::1]:47700'.".parse::<Code>() == Ok(placed));
        assert_eq!(plain.text(), "48213-tiger-orbit-ocean");
        assert!(plain.nameplate() == Nameplate::Spoken(48213));
    }

    #[test]
    fn each_mistake_gets_its_own_sentence() {
        let error = |text: &str| text.parse::<Code>().err().unwrap();
        assert_eq!(error(""), BadCode::Form);
        assert_eq!(error("tiger-orbit-ocean"), BadCode::Form);
        assert_eq!(error("48213-tiger-ocean"), BadCode::Form);
        assert_eq!(error("482-tiger-orbit-ocean"), BadCode::Form);
        assert_eq!(error("48213-tiger-lampe-ocean"), BadCode::Word("second"));
        let short = |text: &str| error(text).to_string();
        assert_eq!(short("48213-act-ab-ocean"), "the second word could be any of 10; type more of it");
        assert!(matches!(error("48213-tig-orbit-ocean"), BadCode::Short { nth: "first", .. }));
        assert_eq!(short("48213-zo-orbit-ocean"), "the first word could be zone or zoo; type more of it");
        assert_eq!(short("48213-tiger-zeb-ocean"), "the second word could be zebra; type more of it");
        assert_eq!(error("48213-tiger-orbit-ocean@no/where"), BadCode::Form);
        assert_eq!(error("48213-tiger-orbit-ocean@host:0"), BadCode::Form);
        assert_eq!(error("vc://host:1/#2.a.b.c"), BadCode::Version);
        assert_eq!(error("vc://host:1/#1.a.b.c"), BadCode::Link);
    }

    #[test]
    fn both_forms_come_back_from_their_text() {
        let link = Code::Link {
            server: "[2001:db8::1]:47700".into(),
            key: PublicKey([7; 32]),
            nameplate: [1; 10],
            secret: [2; 16],
        };
        assert!(link.text().parse::<Code>() == Ok(link.clone()));
        assert!(link.text().to_uppercase().parse::<Code>().is_ok());
        let mut rng = Rng::from_seed([3; 32]);
        for _ in 0..100 {
            let code = Code::Spoken {
                number: 99_999,
                words: fresh_words(&mut rng),
                server: Some("play.example.org:47700".into()),
            };
            assert!(code.text().parse::<Code>() == Ok(code.clone()));
        }
    }

    #[test]
    fn the_first_four_letters_of_a_word_are_enough() {
        let list = Language::English.word_list();
        assert_eq!(list.len(), 2_048);
        for full in list {
            let prefix: String = full.chars().take(4).collect();
            assert_eq!(word(&prefix, "first"), Ok(*full));
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_code_or_a_sentence(text in any::<String>()) {
            let _ = text.parse::<Code>();
        }

        #[test]
        fn any_link_is_a_code_or_a_sentence(text in "vc://[ -~]{0,120}") {
            let _ = text.parse::<Code>();
        }
    }
}
