//! Frames in their order, the addresses that are looked up, and the marks of a cut.

use profiler_common::walk::{FRAME_GUESSED, WalkEnd};

use super::*;
use crate::model::frame::{Binary, BinaryKind, FrameKey};
use crate::process::address_space::{AddressSpace, Budget};

fn space() -> AddressSpace {
    let binary = Arc::new(Binary {
        id: 7,
        path: "/lib/x.so".to_owned(),
        kind: BinaryKind::File,
        build_id: String::new(),
        file: None,
        debug: None,
        segments: Vec::new(),
        problem: None,
    });
    let mut space = AddressSpace::new(Budget::new(100, 100));
    let code = Code::Binary(binary);
    space.insert(Mapping { start: 0x1000, end: 0x2000, file_offset: 0x400, code });
    space.insert(Mapping { start: 0x5000, end: 0x6000, file_offset: 0, code: Code::Generated });
    space
}

fn resolved(
    user: &[u64],
    user_end: WalkEnd,
    kernel: &[u64],
    kernel_end: WalkEnd,
) -> (Vec<FrameKey>, u64) {
    let raw = RawStack { user_end, kernel_end, ..RawStack::of(user, kernel) };
    let map = JitMap { id: 3, pid: 1, file: None, path: "/tmp/perf-1.map".into() };
    let map = Arc::new(map);
    let resolved = resolve(&raw, space().mappings(), || Arc::clone(&map));
    (resolved.frames.iter().map(Frame::key).collect(), resolved.unmapped)
}

#[test]
fn only_return_addresses_are_one_less() {
    let (frames, unmapped) = resolved(
        &[0x1010 | FRAME_EXACT, 0x1010, 0x5008, 0x9000, 0x1010],
        WalkEnd::Complete,
        &[0xffff_8000, 0xffff_9000],
        WalkEnd::Complete,
    );
    let want = [
        FrameKey::Kernel(0xffff_8000),
        FrameKey::Kernel(0xffff_8fff),
        FrameKey::Native(7, 0x410),
        FrameKey::Native(7, 0x40f),
        FrameKey::Jit(3, 0x5007),
        FrameKey::Marker(Marker::UserTruncated(WalkEnd::BrokenChain)),
    ];
    assert_eq!((frames.as_slice(), unmapped), (&want[..], 1));
}

#[test]
fn what_a_signal_interrupted_is_where_it_was() {
    let (frames, _) = resolved(
        &[0x1010 | FRAME_EXACT, 0x1020 | FRAME_EXACT, 0x1030 | FRAME_GUESSED],
        WalkEnd::Complete,
        &[],
        WalkEnd::Absent,
    );
    let native = |offset| FrameKey::Native(7, offset);
    assert_eq!(frames, [native(0x410), native(0x420), native(0x42f)]);
}

#[test]
fn a_call_at_the_end_of_a_mapping_belongs_to_it() {
    // 0x2000 is where the call would return to: outside, though the call is inside.
    let (frames, _) =
        resolved(&[0x1000 | FRAME_EXACT, 0x2000], WalkEnd::Complete, &[], WalkEnd::Absent);
    assert_eq!(frames, [FrameKey::Native(7, 0x400), FrameKey::Native(7, 0x13ff)]);
}

#[test]
fn every_cut_is_marked_where_it_is() {
    let user = |end| FrameKey::Marker(Marker::UserTruncated(end));
    let kernel = |end| FrameKey::Marker(Marker::KernelTruncated(end));
    let (leaf, top) = (FrameKey::Native(7, 0x400), FrameKey::Kernel(8));
    for (user_end, kernel_end, want) in [
        (WalkEnd::Complete, WalkEnd::Complete, vec![top, leaf]),
        (WalkEnd::Absent, WalkEnd::Absent, vec![top, leaf]),
        (WalkEnd::DepthLimit, WalkEnd::Complete, vec![top, leaf, user(WalkEnd::DepthLimit)]),
        (WalkEnd::Complete, WalkEnd::HelperFailed, vec![top, kernel(WalkEnd::HelperFailed), leaf]),
        (
            WalkEnd::BrokenChain,
            WalkEnd::DepthLimit,
            vec![top, kernel(WalkEnd::DepthLimit), leaf, user(WalkEnd::BrokenChain)],
        ),
    ] {
        assert_eq!(resolved(&[0x1000 | FRAME_EXACT], user_end, &[8], kernel_end).0, want);
    }
}

#[test]
fn a_cut_for_want_of_rows_names_the_binary() {
    let cut = |end| resolved(&[0x1000 | FRAME_EXACT], end, &[], WalkEnd::Absent).0[1];
    assert_eq!(cut(WalkEnd::NoRows), FrameKey::Truncated(WalkEnd::NoRows, 7));
    assert_eq!(
        cut(WalkEnd::DepthLimit),
        FrameKey::Marker(Marker::UserTruncated(WalkEnd::DepthLimit))
    );
    let in_generated_code =
        resolved(&[0x5000 | FRAME_EXACT], WalkEnd::NoRows, &[], WalkEnd::Absent).0[1];
    assert_eq!(in_generated_code, FrameKey::Marker(Marker::UserTruncated(WalkEnd::NoRows)));
}

#[test]
fn wild_addresses() {
    let (frames, unmapped) =
        resolved(&[FRAME_ADDRESS | FRAME_EXACT, 0, 1], WalkEnd::Complete, &[0, 0], WalkEnd::Absent);
    let want = [
        FrameKey::Kernel(0),
        FrameKey::Kernel(u64::MAX),
        FrameKey::Unmapped(FRAME_ADDRESS),
        FrameKey::Marker(Marker::UserTruncated(WalkEnd::BrokenChain)),
    ];
    assert_eq!((frames.as_slice(), unmapped), (&want[..], 2));
}
