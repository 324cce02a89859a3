//! Something to work on, made anew each time and always the same.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{PipeWriter, Write as _};
use std::path::Path;
use std::time::Duration;

use anyhow::Result;

/// Numbers that look like chance (a linear congruential generator by Knuth).
pub struct Numbers(u64);

impl Numbers {
    /// The same sequence for the same seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next one, below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) % limit
    }
}

/// Lines of words of which some are frequent, as in text.
pub fn text(numbers: &mut Numbers, lines: usize) -> String {
    let mut text = String::new();
    for _ in 0..lines {
        for _ in 0..3 + numbers.below(9) {
            let rank = 1 + numbers.below(60);
            let word = numbers.below(rank * rank);
            let _ =
                write!(text, "{}{word:x} ", if word.is_multiple_of(3) { "the" } else { "stack" });
        }
        text.push('\n');
    }
    text
}

/// Writes text into a pipe for as long as somebody reads it, and pauses now and then, so that the reader
/// waits.
pub fn feed(mut pipe: PipeWriter) {
    std::thread::spawn(move || {
        let text = text(&mut Numbers::new(1), 20_000);
        while pipe.write_all(text.as_bytes()).is_ok() {
            std::thread::sleep(Duration::from_millis(3));
        }
    });
}

/// A C file of many functions, each a little different.
pub fn c_file(path: &Path, functions: u64) -> Result<()> {
    let mut file = std::io::BufWriter::new(File::create(path)?);
    writeln!(file, "struct node {{ struct node *next; unsigned key, value[8]; }};")?;
    let mut numbers = Numbers::new(2);
    for function in 0..functions {
        let [a, b, c] = [(); 3].map(|()| 1 + numbers.below(200));
        writeln!(
            file,
            "unsigned f{function}(struct node *n, unsigned *p, unsigned count) {{
  unsigned sum = {a};
  for (unsigned i = 0; i < count; i++) {{
    if (p[i] % {b} == 0) sum += p[i] * {c}; else sum ^= (p[i] << {shift}) / (i + {a});
    for (struct node *m = n; m; m = m->next)
      switch (m->key % 7) {{
        case 0: sum += m->value[i & 7]; break;
        case 1: m->value[(i + {b}) & 7] = sum; break;
        case 3: sum -= m->value[{index}] * {b}; break;
        default: sum = (sum >> 3) | (m->key << {shift});
      }}
  }}
  return sum;
}}",
            shift = a % 31,
            index = b % 8,
        )?;
    }
    Ok(file.flush()?)
}

/// The input of `git fast-import` for a history in which each commit adds a file that is a little
/// different from the one before: many candidates for deltas and copies.
pub fn history(path: &Path, commits: u64) -> Result<()> {
    let mut out = std::io::BufWriter::new(File::create(path)?);
    let mut numbers = Numbers::new(3);
    let mut lines: Vec<String> = text(&mut numbers, 100).lines().map(str::to_owned).collect();
    for commit in 0..commits {
        for _ in 0..5 {
            let line = numbers.below(lines.len() as u64) as usize;
            let changed = text(&mut numbers, 1).trim_end().to_owned();
            lines.splice(line..=line, [changed]);
        }
        let contents = lines.join("\n");
        writeln!(out, "commit refs/heads/main\ncommitter T <t@example.org> {commit} +0000")?;
        writeln!(out, "data 6\nchange\nM 644 inline directory/file{commit}")?;
        writeln!(out, "data {}\n{contents}", contents.len())?;
    }
    Ok(out.flush()?)
}
