//! A table of the hottest functions, for a terminal.

use std::io::Write;

use profiler_proto::pprof::Profile;

use super::functions::{FunctionKey, Weight, sorted};
use super::measure::Measure;
use super::reader::Reader;
use super::title::Facts;
use super::units::{amount, percent};
use super::{Hot, Options, Time, ViewError, measure, text_safe};
use crate::model::conventions::comment;

pub(super) fn draw(
    profile: &Profile,
    options: &Options,
    output: &mut dyn Write,
) -> Result<(), ViewError> {
    let reader = Reader::new(profile);
    let style = Style { color: options.color };
    for (n, measure) in measure::pick(&reader, options.time)?.iter().enumerate() {
        if n > 0 {
            writeln!(output)?;
        }
        draw_table(&reader, measure, options, style, output)?;
    }
    draw_notes(&reader, output)
}

/// The hottest functions by their own time, of all times that the options pick.
pub(super) fn hottest(profile: &Profile, options: &Options) -> Result<Vec<Hot>, ViewError> {
    let reader = Reader::new(profile);
    let Some(measure) = measure::pick(&reader, options.time)?.into_iter().next() else {
        return Ok(Vec::new());
    };
    let (functions, total) = sorted(&reader, &measure, options);
    let hot = functions.into_iter().filter(|(_, weight)| weight.flat > 0).take(options.top);
    let line = |((name, module), weight): (FunctionKey<'_>, Weight)| Hot {
        function: text_safe::printable(name) + &in_module(name, module),
        permille: u64::try_from(u128::from(weight.flat) * 1000 / u128::from(total.max(1)))
            .unwrap_or(1000),
    };
    Ok(hot.map(line).collect())
}

fn draw_table(
    reader: &Reader<'_>,
    measure: &Measure<'_>,
    options: &Options,
    style: Style,
    output: &mut dyn Write,
) -> Result<(), ViewError> {
    let facts = Facts::of(reader, std::slice::from_ref(measure), options);
    writeln!(output, "{}", style.bold(&facts.line()))?;
    if facts.total == 0 {
        writeln!(output, "nothing was recorded")?;
        return Ok(());
    }
    let what = match measure.time {
        Some(Time::OnCpu) => "CPU time".to_owned(),
        Some(Time::OffCpu) => "time off the CPU".to_owned(),
        None => text_safe::printable(measure.name),
    };
    let cut = percent(facts.truncated, facts.total);
    let total_text = amount(facts.total, measure.unit);
    writeln!(output, "{total_text} of {what}, {cut:.1} % of it in cut stacks")?;
    let head = format!(
        "{:>10} {:>6} {:>6}  {:>10} {:>6}  function",
        "flat", "flat%", "sum%", "cum", "cum%"
    );
    writeln!(output, "{}", style.dim(&head))?;
    let (functions, total) = sorted(reader, measure, options);
    let mut sum = 0u64;
    for ((name, module), weight) in functions.iter().take(options.top) {
        sum = sum.saturating_add(weight.flat);
        writeln!(
            output,
            "{:>10} {:>5.1}% {:>5.1}%  {:>10} {:>5.1}%  {}{}",
            amount(weight.flat, measure.unit),
            percent(weight.flat, total),
            percent(sum, total),
            amount(weight.cumulative, measure.unit),
            percent(weight.cumulative, total),
            text_safe::printable(name),
            style.dim(&in_module(name, module)),
        )?;
    }
    if let Some(left) = functions.len().checked_sub(options.top).filter(|left| *left > 0) {
        writeln!(output, "{}", style.dim(&format!("and {left} more functions")))?;
    }
    Ok(())
}

/// A name that is a place already says its module.
fn in_module(name: &str, module: &str) -> String {
    if module.is_empty() || name.starts_with('[') {
        String::new()
    } else {
        format!("  {}", text_safe::printable(module))
    }
}

/// What the profile says was degraded or turned away.
fn draw_notes(reader: &Reader<'_>, output: &mut dyn Write) -> Result<(), ViewError> {
    let mut first = true;
    for (key, value) in reader.comments() {
        let counter = key.strip_prefix(comment::COUNTER).filter(|_| value != "0");
        let text = match counter {
            Some(name) => format!("{name}: {value}"),
            None if key == comment::NOTE => format!("note: {value}"),
            None => continue,
        };
        if std::mem::take(&mut first) {
            writeln!(output)?;
        }
        writeln!(output, "{}", text_safe::printable(&text))?;
    }
    Ok(())
}

/// Escapes for a terminal, or nothing.
#[derive(Clone, Copy)]
struct Style {
    color: bool,
}

impl Style {
    fn bold(self, text: &str) -> String {
        self.wrap("1", text)
    }

    fn dim(self, text: &str) -> String {
        self.wrap("2", text)
    }

    fn wrap(self, code: &str, text: &str) -> String {
        if self.color && !text.is_empty() {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}
