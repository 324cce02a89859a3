//! Over real files in directories of the tests' own.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use super::super::tests::image::{Frames, Image, advance, cfa};
use super::super::{load, load_cached};
use super::*;

const BUILD_ID: &str = "00c0ffee";
const LIMITS: Limits = Limits { section: 1 << 20, table: 1 << 20, part: 1 << 16 };

fn cache(directory: &Path, max_bytes: u64) -> Cache {
    Cache::open(CacheConfig { directory: directory.to_owned(), max_bytes }).unwrap()
}

/// A binary with one function, whose frame is so many words long.
fn binary(words: u64) -> File {
    let program = [advance(4), cfa(7, 8 + 8 * words)].concat();
    Image::new(Frames::x86().function(0x1000, 0x100, &program).bytes).file()
}

fn counts(cache: &Cache) -> [u64; 4] {
    let CacheCounts { hits, misses, refused, evicted } = cache.counts();
    [hits, misses, refused, evicted]
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn a_table_is_made_once_and_comes_back_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let made = load(&binary(1), None, &LIMITS).unwrap().parts;
    for expected in [[0, 1, 0, 0], [1, 0, 0, 0]] {
        let cache = cache(directory.path(), 1 << 20);
        assert_eq!(load_cached(&binary(1), None, BUILD_ID, &LIMITS, &cache).unwrap(), made);
        assert_eq!(counts(&cache), expected);
    }
    let mode = fs::metadata(&files(directory.path())[0]).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_forged_build_id_brings_nobody_elses_table() {
    let directory = tempfile::tempdir().unwrap();
    let cache = cache(directory.path(), 1 << 20);
    let forged = load_cached(&binary(9), None, BUILD_ID, &LIMITS, &cache).unwrap();
    let true_one = load_cached(&binary(1), None, BUILD_ID, &LIMITS, &cache).unwrap();
    assert_ne!(forged, true_one);
    assert_eq!(counts(&cache), [0, 2, 0, 0]);
    // Nor does the same file in other parts.
    let limits = Limits { part: 1 << 15, ..LIMITS };
    load_cached(&binary(1), None, BUILD_ID, &limits, &cache).unwrap();
    assert_eq!(counts(&cache), [0, 3, 0, 0]);
}

#[test]
fn what_has_no_good_build_id_is_not_kept() {
    let directory = tempfile::tempdir().unwrap();
    let cache = cache(directory.path(), 1 << 20);
    for id in ["", "../../etc/passwd", "not hex", &"a".repeat(1000)] {
        load_cached(&binary(1), None, id, &LIMITS, &cache).unwrap();
    }
    assert_eq!(counts(&cache), [0; 4]);
    assert!(files(directory.path()).is_empty());
}

#[test]
fn a_damaged_file_is_refused_and_made_anew() {
    let directory = tempfile::tempdir().unwrap();
    let made = load(&binary(1), None, &LIMITS).unwrap().parts;
    load_cached(&binary(1), None, BUILD_ID, &LIMITS, &cache(directory.path(), 1 << 20)).unwrap();
    let path = files(directory.path()).remove(0);
    let whole = fs::read(&path).unwrap();
    // Padding included: nothing but what was written comes back.
    let changed = (0..whole.len()).map(|at| {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x40;
        bytes
    });
    let cut = (0..whole.len()).step_by(7).map(|at| whole[..at].to_vec());
    let longer = [[&whole[..], &[0]].concat()];
    for bytes in changed.chain(cut).chain(longer) {
        fs::write(&path, bytes).unwrap();
        let cache = cache(directory.path(), 1 << 20);
        assert_eq!(load_cached(&binary(1), None, BUILD_ID, &LIMITS, &cache).unwrap(), made);
        assert_eq!(counts(&cache), [0, 1, 1, 0]);
    }
}

#[test]
fn a_file_that_others_could_write_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::NamedTempFile::new().unwrap();
    let load = || {
        let cache = cache(directory.path(), 1 << 20);
        load_cached(&binary(1), None, BUILD_ID, &LIMITS, &cache).unwrap();
        counts(&cache)
    };
    load();
    let path = files(directory.path()).remove(0);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o620)).unwrap();
    assert_eq!(load(), [0, 1, 1, 0]);
    fs::rename(&path, elsewhere.path()).unwrap();
    symlink(elsewhere.path(), &path).unwrap();
    assert_eq!(load(), [0, 1, 1, 0]);
    assert_eq!(load(), [1, 0, 0, 0], "the link was replaced");
}

#[test]
fn the_files_that_were_not_used_for_longest_make_room() {
    let directory = tempfile::tempdir().unwrap();
    let id = |n: u64| format!("{n:040x}");
    let load = |cache: &Cache, n: u64| {
        load_cached(&binary(n), None, &id(n), &LIMITS, cache).unwrap();
    };
    load(&cache(directory.path(), 1 << 20), 0);
    let bytes = fs::metadata(&files(directory.path())[0]).unwrap().len();
    fs::write(directory.path().join("not-a-table"), [0; 4096]).unwrap();
    // Room for 8 and a bit.
    let cache = cache(directory.path(), 8 * bytes + 100);
    (1..8).for_each(|n| load(&cache, n));
    let hours_ago = |hours| SystemTime::now() - NOTED * hours;
    for (file, hours) in files(directory.path()).iter().zip((10..18).rev()) {
        let file = File::options().write(true).open(file).unwrap();
        file.set_times(FileTimes::new().set_modified(hours_ago(hours))).unwrap();
    }
    load(&cache, 0);
    assert_eq!(counts(&cache), [1, 7, 0, 0]);
    load(&cache, 8);
    assert_eq!(counts(&cache), [1, 8, 0, 2], "an eighth was freed");
    let left = files(directory.path());
    let is_left = |n: u64| left.iter().any(|path| path.to_string_lossy().contains(&id(n)));
    let stayed: Vec<u64> = (0..9).filter(|n| is_left(*n)).collect();
    assert_eq!(stayed, [0, 3, 4, 5, 6, 7, 8], "0 was the oldest, and has been used");
    assert!(directory.path().join("not-a-table").exists());
}

#[test]
fn what_was_abandoned_in_the_making_goes() {
    let directory = tempfile::tempdir().unwrap();
    let [old, new] = [".new-old", ".new-new"].map(|name| directory.path().join(name));
    for (path, hours) in [(&old, 2), (&new, 0)] {
        let file = File::create(path).unwrap();
        file.set_modified(SystemTime::now() - NOTED * hours).unwrap();
    }
    load_cached(&binary(1), None, BUILD_ID, &LIMITS, &cache(directory.path(), 1 << 20)).unwrap();
    assert_eq!((old.exists(), new.exists()), (false, true));
}

#[test]
fn a_directory_that_is_not_the_agents_alone_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("a/b");
    let open = || Cache::open(CacheConfig { directory: path.clone(), max_bytes: 1 << 20 });
    open().unwrap();
    let mode = |mode| fs::Permissions::from_mode(mode);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);

    fs::set_permissions(&path, mode(0o770)).unwrap();
    assert!(matches!(open(), Err(Refused::Exposed(exposed)) if exposed == path));
    fs::set_permissions(&path, mode(0o755)).unwrap();
    open().unwrap();
    let parent = path.parent().unwrap();
    fs::set_permissions(parent, mode(0o777)).unwrap();
    assert!(matches!(open(), Err(Refused::Exposed(exposed)) if exposed == parent));
    fs::set_permissions(parent, mode(0o1777)).unwrap();
    open().unwrap();

    fs::remove_dir(&path).unwrap();
    symlink("/var", &path).unwrap();
    assert!(matches!(open(), Err(Refused::NotADirectory(_))));
    fs::remove_file(&path).unwrap();
    File::create(&path).unwrap();
    assert!(matches!(open(), Err(Refused::NotADirectory(_))));
    if geteuid_is_root() {
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        std::os::unix::fs::chown(&path, Some(65534), None).unwrap();
        assert!(matches!(open(), Err(Refused::Exposed(_))));
    }
}

fn geteuid_is_root() -> bool {
    nix::unistd::geteuid().is_root()
}
