//! What it costs to make an unwind table, beside what gimli's plain iteration over the same rows costs.
#![expect(clippy::expect_used, clippy::unwrap_used, reason = "a bench")]

use std::fs::File;
use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
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

fn tables(c: &mut Criterion) {
    for path in FILES {
        let Ok(file) = File::open(path) else { continue };
        let data = std::fs::read(path).expect("it was opened");
        let elf = object::File::parse(&*data).expect("an ELF file");
        let section = elf.section_by_name(".eh_frame").expect("unwind information");
        let (address, bytes) = (section.address(), section.data().expect("it has contents"));
        let name = path.rsplit('/').next().unwrap_or_default();

        let mut group = c.benchmark_group(format!("unwind_tables/{name}"));
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function("load", |b| {
            b.iter(|| load(black_box(&file), None, &Limits::default()).unwrap());
        });
        group.bench_function("gimli", |b| b.iter(|| rows(black_box(bytes), address)));
        group.finish();
    }
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

criterion_group!(benches, tables);
criterion_main!(benches);
