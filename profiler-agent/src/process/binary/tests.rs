//! On a made-up file system: what is one binary, and what happens at the bounds.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io;

use super::*;
use crate::model::frame::Segment;
use crate::process::elf::ElfError;

/// The number of a content, with its build ID if it is an ELF file.
type Content = (u32, Option<&'static str>);

/// A file system: what is at each path now.
#[derive(Default)]
struct Fake {
    files: RefCell<HashMap<Vec<u8>, Content>>,
    opened: Cell<usize>,
}

impl Fake {
    /// A path with a content of this number, with a build ID, or no ELF file.
    fn put(&self, path: &str, content: u32, build_id: Option<&'static str>) {
        self.files.borrow_mut().insert(path.into(), (content, build_id));
    }
}

fn stamp(content: u32) -> Stamp {
    // Any file's, made different by its number.
    let mut stamp = Stamp::of(&File::open("/proc/self/exe").unwrap()).unwrap();
    stamp.inode = content.into();
    stamp
}

impl Files for Fake {
    fn find(&self, wanted: &Mmap, _: Option<u32>) -> Result<Found, NotFound> {
        let files = self.files.borrow();
        let (content, build_id) = files.get(&wanted.path).ok_or(NotFound::Unproven)?;
        self.opened.set(self.opened.get() + 1);
        let segment = Segment { file_offset: 0, file_size: 1, address: 2 };
        let headers = |id: &str| Headers { build_id: id.to_owned(), segments: vec![segment] };
        Ok(Found {
            debug: None,
            file: File::open("/proc/self/exe").unwrap(),
            stamp: stamp(*content),
            headers: build_id.map(headers).ok_or(ElfError::NotElf),
        })
    }

    fn stamp(&self, wanted: &Mmap) -> Option<Stamp> {
        self.files.borrow().get(&wanted.path).map(|(content, _)| stamp(*content))
    }
}

fn mmap(path: &str, id: MmapId) -> Mmap {
    Mmap { time_ns: 1, pid: 1, start: 0x1000, len: 0x1000, file_offset: 0, id, path: path.into() }
}

fn inode(inode: u64) -> MmapId {
    MmapId::Inode { major: 8, minor: 1, inode, generation: 0 }
}

fn binaries() -> Binaries {
    Binaries::new(&Config::default())
}

fn binary(code: Option<Code>) -> Arc<Binary> {
    let Some(Code::Binary(binary)) = code else { panic!("{code:?}") };
    binary
}

#[test]
fn one_build_id_is_one_binary_wherever_it_lies() {
    let (mut binaries, files) = (binaries(), Fake::default());
    files.put("/a/lib.so", 1, Some("abcd"));
    files.put("/b/lib.so", 2, Some("abcd"));
    let by_inode = binary(binaries.code(&mmap("/a/lib.so", inode(1)), None, &files));
    let copy = binary(binaries.code(&mmap("/b/lib.so", inode(2)), None, &files));
    let told = MmapId::BuildId(vec![0xab, 0xcd]);
    let by_id = binary(binaries.code(&mmap("/c/lib.so", told), None, &files));
    assert!(Arc::ptr_eq(&by_inode, &copy) && Arc::ptr_eq(&by_inode, &by_id));
    assert_eq!((by_inode.path.as_str(), by_inode.build_id.as_str()), ("/a/lib.so", "abcd"));
    assert_eq!(files.opened.get(), 2, "a build ID that is known needs no look at the file");
}

#[test]
fn a_file_is_opened_once() {
    let (mut binaries, files) = (binaries(), Fake::default());
    files.put("/a", 1, Some(""));
    let first = binary(binaries.code(&mmap("/a", inode(1)), None, &files));
    for _ in 0..5 {
        let again = binary(binaries.code(&mmap("/a", inode(1)), None, &files));
        assert!(Arc::ptr_eq(&first, &again));
    }
    assert_eq!(files.opened.get(), 1);
}

#[test]
fn a_file_that_is_written_again_is_another() {
    let (mut binaries, files) = (binaries(), Fake::default());
    files.put("/a", 1, Some(""));
    let first = binary(binaries.code(&mmap("/a", inode(1)), None, &files));
    files.put("/a", 2, Some(""));
    let second = binary(binaries.code(&mmap("/a", inode(1)), None, &files));
    assert_ne!(first.id, second.id);
}

#[test]
fn kinds() {
    let (mut binaries, files) = (binaries(), Fake::default());
    for (n, path) in ["/a", "/a (deleted)", "/memfd:x (deleted)"].into_iter().enumerate() {
        files.put(path, n as u32, Some("01"));
    }
    files.put("/script", 10, None);
    files.put("/jit (deleted)", 11, None);
    files.put("/memfd:jit (deleted)", 12, None);
    let mut kind = |path, n| binaries.code(&mmap(path, inode(n)), None, &files);
    let shown = |code| {
        let binary = binary(code);
        (binary.path.clone(), binary.kind)
    };
    assert_eq!(shown(kind("/a", 1)), ("/a".to_owned(), BinaryKind::File));
    assert_eq!(shown(kind("/a (deleted)", 2)), ("/a".to_owned(), BinaryKind::Deleted));
    assert_eq!(shown(kind("/memfd:x (deleted)", 3)), ("/memfd:x".to_owned(), BinaryKind::Memfd));
    assert_eq!(shown(kind("/script", 4)), ("/script".to_owned(), BinaryKind::Opaque));
    assert!(matches!(kind("/jit (deleted)", 5), Some(Code::Generated)));
    assert!(matches!(kind("/memfd:jit (deleted)", 6), Some(Code::Generated)));
    assert!(matches!(kind("/memfd:jit (deleted)", 6), Some(Code::Generated)));
    assert!(matches!(kind("//anon", 0), Some(Code::Generated)));
}

#[test]
fn the_vdso_of_64_bit_processes() {
    let (mut binaries, files) = (binaries(), Fake::default());
    let low = mmap("[vdso]", inode(0));
    let high = Mmap { start: 0x7fff_0000_0000, ..low.clone() };
    assert!(matches!(binaries.code(&low, None, &files), Some(Code::Generated)));
    let first = binary(binaries.code(&high, None, &files));
    assert!(Arc::ptr_eq(&first, &binary(binaries.code(&high, None, &files))));
    assert_eq!((first.path.as_str(), first.kind), ("[vdso]", BinaryKind::Vdso));
}

#[test]
fn a_hostile_path_is_made_printable() {
    let (mut binaries, files) = (binaries(), Fake::default());
    files.put("/a\n\u{1b}]0;x\u{7}", 1, Some("01"));
    let shown = binary(binaries.code(&mmap("/a\n\u{1b}]0;x\u{7}", inode(1)), None, &files));
    assert_eq!(shown.path, "/a\u{fffd}\u{fffd}]0;x\u{fffd}");
}

#[test]
fn what_could_not_be_opened_is_tried_again() {
    let (mut binaries, files) = (binaries(), Fake::default());
    for id in [MmapId::BuildId(vec![1]), inode(1)] {
        let missing = binary(binaries.code(&mmap("/a", id.clone()), None, &files));
        assert!(missing.file.is_none() && missing.problem.is_some());
        let again = binary(binaries.code(&mmap("/a", id.clone()), None, &files));
        assert!(Arc::ptr_eq(&missing, &again));
        files.put("/a", 1, Some("01"));
        let found = binary(binaries.code(&mmap("/a", id), None, &files));
        assert!(found.file.is_some() && found.problem.is_none());
        assert_ne!(found.id, missing.id);
        files.files.borrow_mut().clear();
    }
    assert_eq!(binaries.losses().get("binaries_not_found"), 2);
}

#[test]
fn open_files_are_bounded() {
    let config = Config { max_open_binaries: 2, ..Config::default() };
    let (mut binaries, files) = (Binaries::new(&config), Fake::default());
    let mut held = Vec::new();
    for n in 0..4 {
        let path = format!("/lib{n}");
        files.put(&path, n, Some(""));
        held.push(binary(binaries.code(&mmap(&path, inode(n.into())), None, &files)));
    }
    let open: Vec<bool> = held.iter().map(|b| b.file.is_some()).collect();
    assert_eq!(open, [true, true, false, false]);
    assert_eq!(held[3].segments.len(), 1, "its addresses are known all the same");
    assert_eq!(binaries.losses().get("binaries_not_opened_limit"), 2);

    // When others are closed, the next mapping of it opens it.
    held.drain(..2);
    let mut last = Arc::clone(&held[1]);
    for _ in 0..=SWEEP_EVERY {
        last = binary(binaries.code(&mmap("/lib3", inode(3)), None, &files));
    }
    assert!(last.file.is_some());
}

#[test]
fn the_table_is_bounded_and_keeps_nothing_alive() {
    let config = Config { max_binaries: 4, ..Config::default() };
    let (mut binaries, files) = (Binaries::new(&config), Fake::default());
    let mut held = Vec::new();
    for n in 0..1_000_u32 {
        let path = format!("/lib{n}");
        files.put(&path, n, Some(""));
        held.push(binaries.code(&mmap(&path, inode(n.into())), None, &files));
        assert!(binaries.known.len() <= 9);
    }
    let known = held.iter().flatten().count();
    assert_eq!(binaries.losses().get("mappings_lost_binary_table_full"), 1_000 - known as u64);
    drop(held);
    for _ in 0..=SWEEP_EVERY {
        binaries.code(&mmap("/lib7", inode(7)), None, &files);
    }
    assert!(binaries.code(&mmap("/lib7", inode(7)), None, &files).is_some());
}

#[test]
fn a_device_is_not_tried_again() {
    struct Device(Cell<usize>);
    impl Files for Device {
        fn find(&self, _: &Mmap, _: Option<u32>) -> Result<Found, NotFound> {
            self.0.set(self.0.get() + 1);
            Err(NotFound::Refused(io::Error::other("a device, not a regular file")))
        }
        fn stamp(&self, _: &Mmap) -> Option<Stamp> {
            None
        }
    }
    let (mut binaries, files) = (binaries(), Device(Cell::new(0)));
    let first = binary(binaries.code(&mmap("/dev/x", inode(1)), None, &files));
    let again = binary(binaries.code(&mmap("/dev/x", inode(1)), None, &files));
    assert!(Arc::ptr_eq(&first, &again));
    assert_eq!(files.0.get(), 1);
    assert_eq!(first.problem.as_deref(), Some("it cannot be opened: a device, not a regular file"));
}

#[test]
fn binaries_that_come_and_go_are_all_opened() {
    let config = Config { max_open_binaries: 100, ..Config::default() };
    let (mut binaries, files) = (Binaries::new(&config), Fake::default());
    for n in 0..2_000_u32 {
        let path = format!("/build/{n}");
        files.put(&path, n, Some(""));
        let binary = binary(binaries.code(&mmap(&path, inode(n.into())), None, &files));
        assert!(binary.file.is_some(), "{n}");
    }
    assert!(binaries.known.len() <= 400);
}
