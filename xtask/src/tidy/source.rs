//! A Rust source file as the rules see it: its lines, and the same lines without comments and texts.

use std::path::{Path, PathBuf};

/// One file.
#[derive(Debug)]
pub struct Source {
    /// Its path from the root of the repository.
    pub path: PathBuf,
    /// Its lines as they are.
    pub lines: Vec<String>,
    /// Its lines with comments and the contents of strings replaced by nothing.
    pub code: Vec<String>,
}

impl Source {
    /// A file with this text.
    pub fn new(path: &Path, text: &str) -> Self {
        Self {
            path: path.to_path_buf(),
            lines: text.lines().map(str::to_owned).collect(),
            code: code_of(text).lines().map(str::to_owned).collect(),
        }
    }

    /// Whether the file is below a directory of the repository.
    pub fn is_in(&self, directory: &str) -> bool {
        self.path.starts_with(directory)
    }

    /// Whether all of the file is tests.
    pub fn is_test(&self) -> bool {
        let is_tests = |part: &std::ffi::OsStr| part == "tests" || part == "tests.rs";
        self.path.components().any(|component| is_tests(component.as_os_str()))
    }

    /// How many lines come before the tests at the end of the file.
    pub fn lines_before_tests(&self) -> usize {
        let tests = self.code.windows(2).position(|pair| {
            let [attribute, module] = pair else { return false };
            attribute.trim() == "#[cfg(test)]" && module.trim_start().starts_with("mod tests {")
        });
        tests.unwrap_or(self.lines.len())
    }

    /// Lines of code before the tests, with their numbers from 1.
    pub fn code_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        let code = self.code.iter().take(self.lines_before_tests());
        code.enumerate().map(|(index, line)| (index + 1, line.as_str()))
    }
}

/// Whether a word stands in a line of code, not as a part of another word.
pub fn has_word(line: &str, word: &str) -> bool {
    let is_part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    line.match_indices(word).any(|(at, _)| {
        let before = line.get(..at).and_then(|text| text.chars().next_back());
        let after = line.get(at + word.len()..).and_then(|text| text.chars().next());
        !is_part(before) && !is_part(after)
    })
}

/// Drops comments and the contents of literals, and keeps every line break.
fn code_of(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(rest)
        } else if let Some(length) = raw_string(rest).filter(|_| !ends_in_word(&code)) {
            length
        } else if c == '"' {
            quoted(rest, '"')
        } else if c == '\'' && is_char_literal(rest) {
            quoted(rest, '\'')
        } else {
            code.push(c);
            rest = rest.get(c.len_utf8()..).unwrap_or_default();
            continue;
        };
        let (gone, left) = rest.split_at(skipped);
        code.extend(gone.chars().filter(|c| *c == '\n'));
        rest = left;
    }
    code
}

fn ends_in_word(code: &str) -> bool {
    code.chars().next_back().is_some_and(|c| c.is_alphanumeric() || c == '_')
}

/// The length of a block comment, with those inside it.
fn block_comment(text: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        if rest.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

/// The length of a raw string (`r"…"`, `br#"…"#`), if one begins here.
fn raw_string(text: &str) -> Option<usize> {
    let hashes_on = text.strip_prefix("br").or_else(|| text.strip_prefix('r'))?;
    let body = hashes_on.trim_start_matches('#');
    let hashes = hashes_on.len() - body.len();
    let contents = body.strip_prefix('"')?;
    let close = format!("\"{}", "#".repeat(hashes));
    let end = contents.find(&close).map_or(contents.len(), |at| at + close.len());
    Some(text.len() - contents.len() + end)
}

/// The length of a literal between two quotes, with escapes in it.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        if escaped {
            escaped = false;
        } else if c == '\\' {
            escaped = true;
        } else if c == quote {
            return at + c.len_utf8();
        }
    }
    text.len()
}

/// Whether a quote begins a character and not a lifetime.
fn is_char_literal(text: &str) -> bool {
    let mut chars = text.chars().skip(1);
    matches!((chars.next(), chars.next()), (Some('\\'), _) | (Some(_), Some('\'')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_texts_are_no_code() {
        for (text, code) in [
            ("a // unsafe\nb", "a \nb"),
            ("a /* x /* y */ \n */ b", "a \n b"),
            (r#"f("unsafe \" x", 'y')"#, "f(, )"),
            ("fn f<'a>(x: &'a str)", "fn f<'a>(x: &'a str)"),
            ("r#\"a \" b\"# + br\"c\"", " + "),
            ("var\"x\"", "var"),
            (r"'\'' + '\\' + x", " +  + x"),
        ] {
            assert_eq!(code_of(text), code, "{text}");
        }
    }

    #[test]
    fn a_word_is_whole() {
        assert!(has_word("use aya::Ebpf;", "aya"));
        assert!(!has_word("use aya_log::X; papaya", "aya"));
    }

    #[test]
    fn tests_at_the_end_do_not_count() {
        let source =
            Source::new(Path::new("a.rs"), "//! a\nfn a() {}\n#[cfg(test)]\nmod tests {\n}\n");
        assert_eq!(source.lines_before_tests(), 2);
        assert!(Source::new(Path::new("a/tests.rs"), "").is_test());
        assert!(!Source::new(Path::new("a/test.rs"), "").is_test());
    }
}
