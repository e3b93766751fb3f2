//! Text from outside: codes that people type, and what peers want shown on our terminal.

use vc_core::protocol::member::MAX_NAME;
use vc_core::protocol::text::{self, MAX_CHAT, NAME_COLUMNS};
use vc_core::room::code::{Code, base32, completions, unbase32};

pub fn code_text(data: &[u8]) {
    let typed = String::from_utf8_lossy(data);
    if let Ok(code) = typed.parse::<Code>() {
        let text = code.text();
        let again: Code = text.parse().unwrap_or_else(|_| panic!("our own spelling of a code is refused"));
        assert!(again == code && again.text() == text, "a code changes when it is handed on");
        assert!(text.is_ascii() && !code.secret().is_empty());
        assert!(code.server().is_none_or(|(server, _)| !server.is_empty()));
    }
    assert!(completions(&typed).iter().all(|word| word.starts_with(&typed.to_lowercase())));
    if let Some(bytes) = unbase32::<16>(&typed) {
        assert!(unbase32(&base32(&bytes)) == Some(bytes));
    }
}

pub fn sanitiser(data: &[u8]) {
    let wild = String::from_utf8_lossy(data);
    let line = text::line(&wild);
    assert!(line.len() <= MAX_CHAT && line.chars().all(is_harmless));
    assert!(text::line(&line) == line, "what is clean must stay as it is");
    assert!(longest_stack(&line) <= MAX_STACK, "marks pile up over the line above");

    let name = text::name(&wild);
    assert!(!name.trim().is_empty() && name.len() <= MAX_NAME && name.chars().count() <= MAX_NAME);
    assert!(name.chars().all(|c| is_harmless(c) && !is_joiner(c)));
    assert!(text::name(&name) == name, "what is clean must stay as it is");
    assert!(longest_stack(&name) <= MAX_STACK && NAME_COLUMNS < MAX_NAME);
    assert!(text::looks_like(&name, &name) && text::looks_like(&name.to_uppercase(), &name.to_uppercase()));
}

/// Written down apart from the sanitiser's own categories: C0, C1, bidi controls, line breaks, tags, invisibles.
fn is_harmless(c: char) -> bool {
    !c.is_control()
        && !matches!(c,
            '\u{061c}' | '\u{200b}' | '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e000}'..='\u{f8ff}' | '\u{e0000}'..='\u{e007f}'
            | '\u{f0000}'..)
}

/// The most marks and joiners in a row, of the commonest kinds.
fn longest_stack(text: &str) -> usize {
    let (mut longest, mut row) = (0, 0);
    for c in text.chars() {
        let stacks = is_joiner(c)
            || matches!(c, '\u{0300}'..='\u{036f}' | '\u{1dc0}'..='\u{1dff}' | '\u{20d0}'..='\u{20f0}' | '\u{fe00}'..='\u{fe0f}');
        row = if stacks { row + 1 } else { 0 };
        longest = longest.max(row);
    }
    longest
}

fn is_joiner(c: char) -> bool {
    matches!(c, '\u{200c}' | '\u{200d}')
}

/// Three marks, as real scripts have, and nothing between them.
const MAX_STACK: usize = 3;
