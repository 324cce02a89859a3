//! Names that other processes chose, made fit to be shown: no control characters, no invalid UTF-8,
//! no characters that turn the direction of a line.

/// Longest name or path that is shown, in characters.
const MAX_CHARS: usize = 1024;

/// The text with everything replaced by U+FFFD that would do something instead of showing something.
pub(super) fn printable(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes)
        .chars()
        .take(MAX_CHARS)
        .map(|c| if is_harmless(c) { c } else { char::REPLACEMENT_CHARACTER })
        .collect()
}

/// A name in a fixed field, up to its first zero byte.
pub(super) fn comm(field: &[u8]) -> String {
    printable(field.split(|b| *b == 0).next().unwrap_or_default())
}

fn is_harmless(c: char) -> bool {
    // Line and paragraph separators; marks that change the direction of the text around them.
    let separator = matches!(c, '\u{2028}' | '\u{2029}');
    let direction =
        matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    !(c.is_control() || separator || direction)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_and_never_does() {
        for (bytes, want) in [
            (&b"/usr/bin/cat"[..], "/usr/bin/cat"),
            (b"", ""),
            (b"a\nb\x1b[2Jc\x7f", "a\u{fffd}b\u{fffd}[2Jc\u{fffd}"),
            (b"\xff\xfeok", "\u{fffd}\u{fffd}ok"),
            ("<b>ü</b>".as_bytes(), "<b>ü</b>"),
            ("a\u{202e}b\u{2028}c\u{85}".as_bytes(), "a\u{fffd}b\u{fffd}c\u{fffd}"),
        ] {
            assert_eq!(printable(bytes), want);
        }
    }

    #[test]
    fn length_is_bounded() {
        assert_eq!(printable(&[b'a'; 10_000]).chars().count(), MAX_CHARS);
    }

    #[test]
    fn comm_ends_at_its_zero() {
        assert_eq!(comm(b"bash\0\0\0rest"), "bash");
        assert_eq!(comm(b"fifteen-letters"), "fifteen-letters");
        assert_eq!(comm(b""), "");
    }
}
