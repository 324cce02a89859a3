//! What is around the flames: the legend, and the picture of a profile without samples.

use std::io::{self, Write};

use crate::view::palette::{self, LEGEND};
use crate::view::title::Facts;
use crate::view::units::percent;

/// Where inferno's flames begin.
const FRAMES: &[u8] = b"<svg id=\"frames\"";

/// Baseline of the legend: where inferno's subtitle would be.
const LEGEND_Y: usize = 48;

/// Writes inferno's picture with the legend in it. The legend is outside the flames, so that zoom and
/// search do not touch it.
pub(super) fn write_with_legend(
    svg: &[u8],
    facts: &Facts,
    min_width: f64,
    output: &mut dyn Write,
) -> io::Result<()> {
    let place = svg.windows(FRAMES.len()).position(|window| window == FRAMES).unwrap_or(0);
    let (before, flames) = svg.split_at(place);
    output.write_all(before)?;
    if place > 0 {
        output.write_all(legend(facts, min_width).as_bytes())?;
    }
    output.write_all(flames)
}

fn legend(facts: &Facts, min_width: f64) -> String {
    let mut parts = String::from("<g id=\"legend\">");
    let mut x = 10;
    for (kind, name) in LEGEND {
        let color = palette::base(*kind);
        let (square_y, text_x) = (LEGEND_Y - 10, x + 16);
        parts.push_str(&format!(
            "<rect x=\"{x}\" y=\"{square_y}\" width=\"11\" height=\"11\" fill=\"rgb({},{},{})\"/>\
             <text x=\"{text_x}\" y=\"{LEGEND_Y}\">{name}</text>",
            color.r, color.g, color.b
        ));
        // A character of the 12 px monospace font is 7.2 px wide.
        x = text_x + name.len() * 72 / 10 + 18;
    }
    let cut = percent(facts.truncated, facts.total);
    parts.push_str(&format!(
        "<text x=\"100%\" dx=\"-10\" y=\"{LEGEND_Y}\" text-anchor=\"end\">\
         {cut:.1} % of it in cut stacks; boxes under {min_width} % are left out</text></g>"
    ));
    parts
}

/// The picture of a profile in which there is nothing to see.
pub(super) fn empty(facts: &Facts) -> String {
    let title = escaped(&format!("profiler-agent: {}", facts.line()));
    format!(
        "<?xml version=\"1.0\" standalone=\"no\"?>\n\
         <svg version=\"1.1\" width=\"1200\" height=\"120\" viewBox=\"0 0 1200 120\" \
         xmlns=\"http://www.w3.org/2000/svg\" font-family=\"monospace\" text-anchor=\"middle\">\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\
         <text x=\"600\" y=\"32\" font-size=\"17\">{title}</text>\
         <text x=\"600\" y=\"76\" font-size=\"14\">Nothing was recorded: no sample fell on what was \
         asked for. It may have been idle, or blocked all the time.</text></svg>\n"
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
