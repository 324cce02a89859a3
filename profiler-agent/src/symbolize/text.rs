//! Names from other processes' files, made safe to print: bounded, and without control characters.

/// Longest name that is kept, in bytes. Longer ones end in `…`.
pub(super) const MAX_NAME: usize = 4096;

/// Bytes of a file as text: invalid UTF-8 and control characters become U+FFFD, and what is longer than
/// [`MAX_NAME`] is cut at a character.
pub(super) fn printable(bytes: &[u8]) -> String {
    // What lies beyond the bound is not even looked at.
    let head = bytes.get(..MAX_NAME).unwrap_or(bytes);
    let mut text: String = String::from_utf8_lossy(head)
        .chars()
        .map(|c| if is_unsafe(c) { char::REPLACEMENT_CHARACTER } else { c })
        .collect();
    if bytes.len() > MAX_NAME || text.len() > MAX_NAME {
        truncate(&mut text);
    }
    text
}

/// Control characters, and the marks that turn the direction of the text that follows them.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn truncate(text: &mut String) {
    const ELLIPSIS: char = '…';
    let mut end = text.len().min(MAX_NAME - ELLIPSIS.len_utf8());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text.push(ELLIPSIS);
}

/// The part of a buffer before its first NUL, or all of it.
pub(super) fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|b| *b == 0).next().unwrap_or(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_printable_and_bounded() {
        for (bytes, text) in [
            (&b"main"[..], "main"),
            (b"", ""),
            (b"a\x1b[31m\n\0b", "a\u{fffd}[31m\u{fffd}\u{fffd}b"),
            ("größe".as_bytes(), "größe"),
            ("x\u{202e}y".as_bytes(), "x\u{fffd}y"),
            (b"bad \xff utf-8", "bad \u{fffd} utf-8"),
        ] {
            assert_eq!(printable(bytes), text);
        }
        for long in [vec![b'x'; 10 * MAX_NAME], vec![0xff; MAX_NAME], "€".repeat(MAX_NAME).into()]
        {
            let text = printable(&long);
            assert!(text.len() <= MAX_NAME && text.ends_with('…'), "{}", text.len());
        }
    }
}
