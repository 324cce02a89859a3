//! What is wrong with a configuration, told with the place where it was written.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

/// A file, with its text, so that lines of it can be quoted.
#[derive(Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// Its path, as the user gave it.
    pub path: PathBuf,
    /// What is in it.
    pub text: String,
}

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Nowhere: it is the default.
    Default,
    /// In a file, at these bytes.
    File(Arc<SourceFile>, Range<usize>),
    /// In this variable of the environment.
    Environment(String),
    /// In a `--set`, of which this is the text.
    Flag(String),
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// Where it stands.
    pub place: Place,
    /// What is wrong, and the way out.
    pub message: String,
}

/// Everything that is wrong. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaints(pub Vec<Complaint>);

impl Complaint {
    /// A complaint about what stands in this place.
    pub fn new(place: &Place, message: impl Into<String>) -> Self {
        Self { place: place.clone(), message: message.into() }
    }
}

impl SourceFile {
    /// Line and column of a byte, both from 1; columns count characters.
    fn position(&self, byte: usize) -> (usize, usize) {
        let before = self.text.get(..byte).unwrap_or(&self.text);
        let line = before.matches('\n').count() + 1;
        let start = before.rfind('\n').map_or(0, |end| end + 1);
        (line, before.get(start..).unwrap_or_default().chars().count() + 1)
    }

    /// A line, and below it a mark under the bytes of the span.
    fn quote(&self, span: &Range<usize>) -> String {
        let (line, column) = self.position(span.start);
        let text = self.text.lines().nth(line - 1).unwrap_or_default();
        let marked = self.text.get(span.clone()).unwrap_or_default().lines().next();
        let width = marked.unwrap_or_default().chars().count().max(1);
        let margin = " ".repeat(line.to_string().len());
        // A tab stays one, so that the mark is below its text whatever the width of tabs is.
        let indent: String =
            text.chars().take(column - 1).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
        format!("{line} | {text}\n{margin} | {indent}{}", "^".repeat(width))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(file, span) => {
                let (line, column) = file.position(span.start);
                write!(f, "{}:{line}:{column}", file.path.display())
            }
            Self::Environment(variable) => write!(f, "environment {variable}"),
            Self::Flag(text) => write!(f, "--set {}", text.split('=').next().unwrap_or_default()),
        }
    }
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)?;
        match &self.place {
            Place::File(file, span) => write!(f, "\n{}", file.quote(span)),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Complaints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, complaint) in self.0.iter().enumerate() {
            let gap = if index == 0 { "" } else { "\n\n" };
            write!(f, "{gap}{complaint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Complaints {}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> Arc<SourceFile> {
        Arc::new(SourceFile { path: "agent.toml".into(), text: text.to_owned() })
    }

    #[test]
    fn a_complaint_quotes_its_line() {
        let source = file("[store]\n\tsïze = 3 # words\n");
        let start = source.text.find('3').unwrap();
        let complaint = Complaint::new(&Place::File(source, start..start + 1), "no unit");
        assert_eq!(
            complaint.to_string(),
            "agent.toml:2:9: no unit\n2 | \tsïze = 3 # words\n  | \t       ^"
        );
    }

    #[test]
    fn a_span_past_the_end_or_over_lines_is_no_trouble() {
        let source = file("a = [\n1,\n2]");
        for (span, shown) in [
            (4..12, "agent.toml:1:5: x\n1 | a = [\n  |     ^"),
            (12..12, "agent.toml:3:3: x\n3 | 2]\n  |   ^"),
            (99..120, "agent.toml:3:3: x\n3 | 2]\n  |   ^"),
        ] {
            let place = Place::File(Arc::clone(&source), span);
            assert_eq!(Complaint::new(&place, "x").to_string(), shown);
        }
    }

    #[test]
    fn what_stands_in_no_file_is_named() {
        let all = Complaints(vec![
            Complaint::new(&Place::Environment("PROFILER_AGENT__A".to_owned()), "one"),
            Complaint::new(&Place::Flag("a.b=secret".to_owned()), "two"),
        ]);
        assert_eq!(all.to_string(), "environment PROFILER_AGENT__A: one\n\n--set a.b: two");
    }
}
