//! What holds for every profile, however much was counted.

use super::*;

/// A small generator of numbers, so that the test is the same every time.
fn numbers() -> impl FnMut(u64) -> u64 {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    move |below| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    }
}

#[test]
fn deep_stacks_are_cut_at_the_root() {
    let deep = kernel_stack((0..1_500).map(|n| 0xffff_ffff_8100_0000 + n));
    let window = window([on_cpu(&thread(7, 7, "app"), &deep, 1)]);
    let profile = encode(&window, &Names::default(), &meta(EventChoice::OnCpu));
    assert_eq!(validate(&profile), Ok(()));
    assert_eq!(profile.sample[0].location_id[..2], [1, 2]);
    assert_eq!(profile.sample[0].location_id.len(), MAX_DEPTH);
}

#[test]
fn whatever_is_counted_comes_out_valid_and_in_full() {
    let mut number = numbers();
    let binaries: Vec<_> = (0..5).map(|id| binary(id, &format!("/bin/{id}"))).collect();
    for round in 0..50 {
        let limit = 1 + number(60) as usize;
        let mut window = Window::new(Limits { stacks: limit, frames: 20 * limit, samples: limit });
        let mut names = Names::default();
        for _ in 0..200 {
            let frames = (0..number(12)).map(|_| {
                let frame = match number(8) {
                    0 => Frame::Kernel { address: 0xffff_ffff_8000_0000 + number(1 << 31) },
                    1 => Frame::Unmapped { address: number(3) },
                    2 => jit(number(3) as u32, number(50)),
                    3 => Frame::Marker(Marker::UserTruncated(WalkEnd::Unreadable)),
                    _ => native(&binaries[number(5) as usize], number(0x1_0000)),
                };
                let lines = (0..number(3)).map(|_| {
                    let function = ["", "f", "g", "h"][number(4) as usize];
                    name(
                        function,
                        ["", "_Zf"][number(2) as usize],
                        ["", "f.c"][number(2) as usize],
                        0,
                    )
                });
                names.insert(frame.key(), lines.collect());
                frame
            });
            let stack: Stack = frames.collect();
            let thread =
                thread(1 + number(3) as u32, 1 + number(9) as u32, ["", "t"][number(2) as usize]);
            window.add(match ThreadState::ALL.get(number(8) as usize) {
                Some(state) => off_cpu(&thread, &stack, *state, 1 + number(1000)),
                None => on_cpu(&thread, &stack, 1 + number(5)),
            });
        }
        let profile = encode(&window, &names, &meta(EventChoice::Wall));
        assert_eq!(validate(&profile), Ok(()), "round {round}");
        let sum = |index: usize| profile.sample.iter().map(|s| s.value[index] as u64).sum::<u64>();
        let (on, off) = (window.on_cpu(), window.off_cpu());
        assert_eq!([sum(0), sum(1), sum(2), sum(3)], [on.count, on.ns, off.count, off.ns]);
    }
}
