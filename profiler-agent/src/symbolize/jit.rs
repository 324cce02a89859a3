//! Which perf maps are read, and when again: runtimes write them through a buffer (V8's is 2 MB), so
//! the name of code may come much later than its first sample.

use std::collections::{HashMap, HashSet};

use super::notes::Notes;
use super::perf_map;
use super::wanted::Wanted;
use crate::model::frame::JitMap;

/// Maps that are remembered; when there are more, all are forgotten, which costs a second reading.
const MAX_MAPS: usize = 1024;
/// Addresses without a name that are remembered of one map.
const MAX_TRIED: usize = 8_192;

/// What is known of the maps that were read.
#[derive(Default)]
pub(super) struct Jit {
    maps: HashMap<u32, Seen>,
}

/// The state of a map when it was last read.
#[derive(Default)]
struct Seen {
    size: u64,
    /// Addresses that it did not name then.
    tried: HashSet<u64>,
}

impl Jit {
    /// Names of generated code, by address. Addresses without one are left out: they are worth another
    /// try when the map has grown.
    pub fn names(
        &mut self,
        map: &JitMap,
        addresses: Vec<u64>,
        notes: &mut Notes,
    ) -> Vec<(u64, String)> {
        let Some(file) = &map.file else { return Vec::new() };
        let size = file.metadata().map_or(0, |metadata| metadata.len());
        if self.maps.len() >= MAX_MAPS && !self.maps.contains_key(&map.id) {
            self.maps.clear();
        }
        let seen = self.maps.entry(map.id).or_default();
        if seen.size == size && addresses.iter().all(|a| seen.tried.contains(a)) {
            return Vec::new();
        }
        *seen = Seen { size, tried: HashSet::new() };

        let mut wanted = Wanted::new(addresses);
        let found = match perf_map::read(file, &mut wanted) {
            Ok(found) => found,
            Err(error) => {
                notes
                    .problems
                    .add(format!("perf map {} cannot be read: {error}", map.path.display()));
                return Vec::new();
            }
        };
        if found.cut {
            notes.losses.add("perf_maps_cut", 1);
            notes
                .problems
                .add(format!("perf map {} is too large; names may miss", map.path.display()));
        }
        let mut names = Vec::new();
        for (address, name) in wanted.addresses().iter().zip(found.names) {
            match name {
                Some(name) => names.push((*address, name)),
                None if seen.tried.len() < MAX_TRIED => drop(seen.tried.insert(*address)),
                None => {}
            }
        }
        names
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write;
    use std::sync::Arc;

    use super::*;

    fn map(file: File) -> JitMap {
        let file = Some(Arc::new(file));
        JitMap { id: 0, pid: 1, file, path: "/tmp/perf-1.map".into() }
    }

    #[test]
    fn a_map_is_read_again_when_it_has_grown() {
        let file = tempfile::tempfile().unwrap();
        let mut writer = file.try_clone().unwrap();
        let map = map(file);
        let mut jit = Jit::default();
        let mut notes = Notes::default();
        let mut look = |addresses: &[u64]| jit.names(&map, addresses.to_vec(), &mut notes);

        writer.write_all(b"1000 10 early\n").unwrap();
        assert_eq!(look(&[0x1000, 0x2000]), [(0x1000, "early".to_owned())]);
        assert_eq!(look(&[0x2000]), []);
        writer.write_all(b"2000 10 late\n").unwrap();
        assert_eq!(look(&[0x2000]), [(0x2000, "late".to_owned())]);
        assert_eq!(notes.losses.iter().count(), 0);
    }

    #[test]
    fn an_unreadable_map_is_one_problem() {
        let map = map(File::open("/dev/zero").unwrap());
        let mut notes = Notes::default();
        let mut jit = Jit::default();
        for _ in 0..2 {
            assert_eq!(jit.names(&map, vec![1], &mut notes), []);
        }
        assert_eq!(
            notes.problems.lines(),
            ["perf map /tmp/perf-1.map cannot be read: it is not a regular file"]
        );
    }
}
