//! The flame graph, by inferno: an SVG that zooms and searches in a browser.

use std::io::Write;

use inferno::flamegraph::color::{BackgroundColor, Color, PaletteMap};
use inferno::flamegraph::{self, Direction, TextTruncateDirection};
use profiler_proto::pprof::Profile;

use super::reader::{FrameKind, Reader};
use super::stacks::{Cell, Stacks};
use super::title::Facts;
use super::{Options, ViewError, measure, palette, stacks, text_safe};
use crate::model::conventions::value;

mod page;

/// Largest picture, in bytes: browsers become slow past it.
const MAX_BYTES: usize = 6 << 20;

/// Narrowest box that is drawn, in percent of the whole: the first with which the picture is small
/// enough, or the last. The picture says which.
const MIN_WIDTHS: &[f64] = &[0.01, 0.03, 0.1];

pub(super) fn draw(
    profile: &Profile,
    options: &Options,
    output: &mut dyn Write,
) -> Result<(), ViewError> {
    let reader = Reader::new(profile);
    let measures = measure::pick(&reader, options.time)?;
    let facts = Facts::of(&reader, &measures, options);
    let stacks = stacks::fold(&reader, &measures, options);
    if stacks.total == 0 {
        output.write_all(page::empty(&facts).as_bytes())?;
        return Ok(());
    }
    let unit = measures.first().map_or("", |m| m.unit);
    let lines: Vec<String> = stacks.sorted().iter().map(|(s, value)| line(s, *value)).collect();
    let mut colors = colors(&stacks);
    for min_width in MIN_WIDTHS {
        let mut settings = settings(&facts, stacks.total, unit, &mut colors);
        settings.min_width = *min_width;
        let mut svg = Vec::new();
        flamegraph::from_lines(&mut settings, lines.iter().map(String::as_str), &mut svg)?;
        if svg.len() <= MAX_BYTES || Some(min_width) == MIN_WIDTHS.last() {
            page::write_with_legend(&svg, &facts, *min_width, output)?;
            break;
        }
    }
    Ok(())
}

fn settings<'a>(
    facts: &Facts,
    total: u64,
    unit: &str,
    colors: &'a mut PaletteMap,
) -> flamegraph::Options<'a> {
    let (factor, count_name) = scale(total, unit);
    let mut settings = flamegraph::Options::default();
    settings.title = format!("profiler-agent: {}", facts.line());
    // Makes room for the legend.
    settings.subtitle = Some(String::new());
    // The root on top: one deep stack makes a picture taller than a window, which opens at its top.
    settings.direction = Direction::Inverted;
    settings.palette_map = Some(colors);
    settings.bgcolors = Some(BackgroundColor::Flat(Color { r: 255, g: 255, b: 255 }));
    settings.text_truncate_direction = TextTruncateDirection::Right;
    settings.factor = factor;
    settings.count_name = count_name;
    settings.name_type = String::new();
    settings
}

/// A colour for every box.
fn colors(stacks: &Stacks) -> PaletteMap {
    let mut colors = PaletteMap::default();
    // inferno's own box at the root, "all", has no name.
    colors.insert("", palette::base(FrameKind::Owner));
    for cell in stacks.cells() {
        colors.insert(key(cell), palette::of(cell.kind, &cell.text));
    }
    colors
}

/// A folded line. Its names end in what inferno takes for an annotation and does not show, so that
/// two frames of one name and different kinds are two boxes with two colours, and no name ends in
/// what inferno would take for a value.
fn line(stack: &[&Cell], value: u64) -> String {
    let names: Vec<_> = stack.iter().map(|cell| key(cell)).collect();
    format!("{} {value}", names.join(";"))
}

fn key(cell: &Cell) -> String {
    let mut name = text_safe::shortened(&cell.text);
    // A line that begins so is a comment for inferno.
    if name.starts_with("# ") {
        name.replace_range(..2, "#_");
    }
    let annotation = match cell.kind {
        FrameKind::Kernel => "_[k]",
        FrameKind::Native | FrameKind::Owner => "_[w]",
        FrameKind::Inlined => "_[i]",
        FrameKind::Runtime => "_[j]",
        // Bracketed, or fixed texts.
        FrameKind::Unknown | FrameKind::Marker | FrameKind::OnCpu | FrameKind::OffCpu => "",
    };
    name + annotation
}

/// Factor and unit with which the total has enough digits to tell a hundredth of a percent.
fn scale(total: u64, unit: &str) -> (f64, String) {
    match (unit, total) {
        (value::NANOSECONDS, 10_000_000_000..) => (1e-6, "ms".to_owned()),
        (value::NANOSECONDS, 10_000_000..) => (1e-3, "µs".to_owned()),
        (value::NANOSECONDS, _) => (1.0, "ns".to_owned()),
        (value::COUNT | "", _) => (1.0, "samples".to_owned()),
        (unit, _) => (1.0, text_safe::printable(unit)),
    }
}
