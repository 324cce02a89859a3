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
        FrameKind::Kernel => (240, 140, 100),
        FrameKind::Native => (250, 205, 90),
        FrameKind::Inlined => (252, 230, 160),
        FrameKind::Runtime => (145, 205, 125),
        FrameKind::Unknown => (190, 190, 190),
        FrameKind::Marker => (205, 150, 215),
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
    let shade = f64::from((hasher.finish() % 21) as u8) / 100.0 - 0.10;
    let scale = |channel: u8| (f64::from(channel) * (1.0 + shade)).clamp(0.0, 255.0) as u8;
    let Color { r, g, b } = base(kind);
    Color { r: scale(r), g: scale(g), b: scale(b) }
}
