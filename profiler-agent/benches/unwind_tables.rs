//! How fast unwind tables are made, in MB of `.eh_frame` per second on one CPU: beside gimli's plain
//! iteration over the same rows, which makes nothing of them, and beside `llvm-dwarfdump --eh-frame`,
//! which prints them.
//!
//! The best of some rounds counts: `cargo bench --bench unwind_tables`. The last columns are how many
//! times as fast the table is made.
#![expect(clippy::expect_used, clippy::unwrap_used, reason = "a bench")]

use std::fs::File;
use std::hint::black_box;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use gimli::{
    BaseAddresses, CieOrFde, EhFrame, LittleEndian, UnwindContext, UnwindContextStorage,
    UnwindSection,
};
use object::{Object, ObjectSection};
use profiler_agent::runtime::native::{Limits, load};

/// Files of most Debian systems: C, assembly, C++, and a program.
const FILES: &[&str] = &[
    "/usr/lib/x86_64-linux-gnu/libc.so.6",
    "/usr/lib/x86_64-linux-gnu/libcrypto.so.3",
    "/usr/lib/x86_64-linux-gnu/libstdc++.so.6",
    "/usr/bin/git",
];

const ROUNDS: u32 = 20;
/// Of the peer, which takes many times as long.
const PEER_ROUNDS: u32 = 3;
const PEER: &str = "llvm-dwarfdump";

fn main() {
    // `cargo test --benches` runs it too, without this flag, and needs no figures.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let has_peer = Command::new(PEER).arg("--version").stdout(Stdio::null()).status().is_ok();
    if !has_peer {
        println!("{PEER} is not here: apt-get install llvm");
    }
    println!(
        "{:<16} {:>8} {:>10} {:>10} {:>14} {:>8} {:>12}",
        "MB/s", "MB", "table", "gimli", PEER, "÷ gimli", "÷ dwarfdump"
    );
    for path in FILES {
        let Ok(file) = File::open(path) else { continue };
        let data = std::fs::read(path).expect("it was opened");
        let elf = object::File::parse(&*data).expect("an ELF file");
        let section = elf.section_by_name(".eh_frame").expect("unwind information");
        let (address, bytes) = (section.address(), section.data().expect("it has contents"));
        let megabytes = bytes.len() as f64 / 1e6;
        let speed = |time: Duration| megabytes / time.as_secs_f64();

        let table =
            speed(best(ROUNDS, || drop(load(black_box(&file), None, &Limits::default()).unwrap())));
        let gimli = speed(best(ROUNDS, || _ = black_box(rows(black_box(bytes), address))));
        let peer = has_peer.then(|| speed(best(PEER_ROUNDS, || dwarfdump(path))));
        let name = path.rsplit('/').next().unwrap_or_default();
        let (peer, ratio) = peer.map_or_else(
            || ("-".to_owned(), "-".to_owned()),
            |peer| (format!("{peer:.2}"), format!("{:.0}", table / peer)),
        );
        let by_gimli = table / gimli;
        println!(
            "{name:<16} {megabytes:>8.2} {table:>10.1} {gimli:>10.1} {peer:>14} {by_gimli:>8.2} {ratio:>12}"
        );
    }
}

/// The shortest of some runs.
fn best(rounds: u32, mut run: impl FnMut()) -> Duration {
    let timed = |_| {
        let begun = Instant::now();
        run();
        begun.elapsed()
    };
    (0..rounds).map(timed).min().unwrap_or_default()
}

fn dwarfdump(path: &str) {
    let status = Command::new(PEER).args(["--eh-frame", path]).stdout(Stdio::null()).status();
    assert!(status.expect("it was there").success(), "{PEER} failed on {path}");
}

/// The number of rows.
fn rows(section: &[u8], address: u64) -> u64 {
    let mut frames = EhFrame::new(section, LittleEndian);
    frames.set_address_size(8);
    let bases = BaseAddresses::default().set_eh_frame(address);
    let mut context = UnwindContext::new();
    let mut entries = frames.entries(&bases);
    let mut count = 0;
    while let Some(entry) = entries.next().unwrap() {
        let CieOrFde::Fde(partial) = entry else { continue };
        let fde = partial.parse(EhFrame::cie_from_offset).unwrap();
        count += rows_of(fde.rows(&frames, &bases, &mut context).unwrap());
    }
    count
}

fn rows_of<R: gimli::Reader, S: UnwindContextStorage<R::Offset>>(
    mut table: gimli::UnwindTable<'_, '_, R, S>,
) -> u64 {
    let mut count = 0;
    while let Ok(Some(row)) = table.next_row() {
        black_box(row);
        count += 1;
    }
    count
}
