//! Names come from other people's programs: whatever they hold, a line stays a line, a terminal is
//! not talked to, and XML stays XML.

/// Longest name in a picture, in characters. A profile and folded text keep longer ones whole.
const MAX_CHARS: usize = 1000;

/// Replaces what is not for reading: control characters (line breaks and escapes among them), marks
/// that turn the direction of text, and code points that XML does not allow.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|c| if is_harmless(c) { c } else { char::REPLACEMENT_CHARACTER }).collect()
}

/// [`printable`], as one frame of a folded line: `;` parts frames there, so `:` stands for it.
pub(super) fn frame(text: &str) -> String {
    let name = printable(text).replace(';', ":");
    let name = name.trim();
    if name.is_empty() { "[no name]".to_owned() } else { name.to_owned() }
}

/// A frame in a picture: as [`frame`], and of bounded length.
pub(super) fn shortened(text: &str) -> String {
    match text.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

fn is_harmless(c: char) -> bool {
    let turns_text =
        matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let breaks_line = matches!(c, '\u{2028}' | '\u{2029}');
    let not_in_xml = matches!(c, '\u{fffe}' | '\u{ffff}');
    !(c.is_control() || turns_text || breaks_line || not_in_xml)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_acts_that_should_be_read() {
        for (raw, safe) in [
            ("plain", "plain"),
            ("a\nb\x1b[31m\0", "a\u{fffd}b\u{fffd}[31m\u{fffd}"),
            ("<script>&\"'", "<script>&\"'"),
            ("[u8; 8]", "[u8: 8]"),
            ("\u{202e}exe", "\u{fffd}exe"),
            ("größe 函数", "größe 函数"),
            ("  ", "[no name]"),
            ("", "[no name]"),
        ] {
            assert_eq!(frame(raw), safe);
        }
    }

    #[test]
    fn a_picture_has_no_endless_names() {
        assert_eq!(shortened("short"), "short");
        assert_eq!(shortened(&"ü".repeat(10_000)).chars().count(), MAX_CHARS + 1);
    }
}
