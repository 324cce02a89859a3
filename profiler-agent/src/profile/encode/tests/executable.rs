//! Whose profile it is: the first mapping.

use super::*;

#[test]
fn the_executable_of_the_hottest_process_comes_first() {
    let (ld, c_lib) = (binary(0, "/lib/ld-linux.so.2"), binary(1, "/lib/libc.so.6"));
    let (cold, hot, helper) =
        (binary(2, "/bin/cold"), binary(4, "/opt/hot"), binary(3, "/opt/helper"));
    let first = |window: &Window, meta: &Meta| {
        let profile = encode(window, &Names::default(), meta);
        assert_eq!(validate(&profile), Ok(()));
        profile.string_table[profile.mapping[0].filename as usize].clone()
    };
    let hot_stack: Stack = Arc::from([
        native(&c_lib, 0x500),
        native(&helper, 0x510),
        native(&hot, 0x500),
        native(&c_lib, 0x600),
    ]);
    let cold_stack: Stack = Arc::from([native(&ld, 0x500), native(&cold, 0x500)]);
    let kernel_only = kernel_stack([0xffff_ffff_8100_0000]);
    let observations = |comm| {
        [
            on_cpu(&thread(1, 1, "kworker"), &kernel_only, 100),
            on_cpu(&thread(2, 2, "cold"), &cold_stack, 1),
            on_cpu(&thread(3, 3, comm), &hot_stack, 5),
        ]
    };
    let on_cpu_meta = meta(EventChoice::OnCpu);
    assert_eq!(first(&window(observations("hot")), &on_cpu_meta), "/opt/hot");
    assert_eq!(first(&window(observations("helper")), &on_cpu_meta), "/opt/helper");
    assert_eq!(first(&window(observations("renamed")), &on_cpu_meta), "/opt/hot");
    let cut = [on_cpu(&thread(9, 9, "rustc"), &Arc::from([native(&c_lib, 0x700)]), 50)];
    let with_cut = window(observations("hot").into_iter().chain(cut));
    assert_eq!(first(&with_cut, &on_cpu_meta), "/opt/hot");
    let chosen = Meta { executable: Some(2), ..on_cpu_meta.clone() };
    assert_eq!(first(&window(observations("hot")), &chosen), "/bin/cold");
    let idle = [off_cpu(&thread(2, 2, "cold"), &cold_stack, ThreadState::Sleeping, 1)];
    assert_eq!(first(&window(idle), &meta(EventChoice::OffCpu)), "/bin/cold");
}
