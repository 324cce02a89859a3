//! One colour per kind of frame, a little lighter or darker by name so that neighbours can be told
//! apart. Text is black on all of them.

use std::hash::{DefaultHasher, Hash, Hasher};

use inferno::flamegraph::color::Color;

use super::reader::FrameKind;

/// What the legend shows, in its order.
pub(super) const LEGEND: &[(FrameKind, &str)] = &[
    (FrameKind::Kernel, "kernel"),
    (FrameKind::Native, "native"),
    (FrameKind::Inlined, "inlined"),
    (FrameKind::Runtime, "runtime, JIT"),
    (FrameKind::Unknown, "no name"),
    (FrameKind::Marker, "cut or missing"),
];

/// The colour of a kind.
pub(super) fn base(kind: FrameKind) -> Color {
    let (r, g, b) = match kind {
        FrameKind::Kernel => (238, 124, 92),
        FrameKind::Native => (250, 205, 90),
        FrameKind::Inlined => (253, 238, 185),
        FrameKind::Runtime => (145, 205, 125),
        FrameKind::Unknown => (190, 190, 190),
        FrameKind::Marker => (210, 140, 220),
        FrameKind::Owner => (205, 218, 232),
        FrameKind::OnCpu => (250, 190, 150),
        FrameKind::OffCpu => (150, 185, 230),
    };
    Color { r, g, b }
}

/// The colour of one frame: always the same for the same name.
pub(super) fn of(kind: FrameKind, name: &str) -> Color {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    let shade = 0.92 + 0.16 * f64::from((hasher.finish() % 16) as u8) / 15.0;
    let scale = |channel: u8| (f64::from(channel) * shade).clamp(0.0, 255.0) as u8;
    let Color { r, g, b } = base(kind);
    Color { r: scale(r), g: scale(g), b: scale(b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_colour_and_kinds_are_told_apart() {
        assert_eq!(of(FrameKind::Native, "main"), of(FrameKind::Native, "main"));
        let distance = |a: Color, b: Color| {
            let channels = a.iter().zip(b.iter());
            channels.map(|(a, b)| u32::from(a.abs_diff(b))).sum::<u32>()
        };
        for (n, (a, _)) in LEGEND.iter().enumerate() {
            for (b, _) in &LEGEND[n + 1..] {
                assert!(distance(base(*a), base(*b)) > 90, "{a:?} and {b:?} look alike");
            }
        }
    }
}
