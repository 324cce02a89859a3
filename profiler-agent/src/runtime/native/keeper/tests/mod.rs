//! Against a kernel of plain memory.

mod budget;
mod exchange;
mod lists;
mod room;
mod stacks;

use std::collections::BTreeMap;
use std::fs::File;

use profiler_common::native::lookup::{Bytes, Region};
use profiler_common::native::walk::Arena;
use profiler_common::native::{Mapping as Range, MappingKind};
use zerocopy::FromBytes;

use super::*;
use crate::model::frame::{BinaryKind, Segment};
use crate::model::space::Mapping;
use crate::model::tables::ProcessesFull;

/// What the kernel and the agent may take together: enough, but where a test is of that.
const BUDGET: u64 = 1 << 30;
/// What the map of processes takes.
const BESIDE: u64 = 1000;
const PAGE: u64 = 0x1000;
const LOOK: Duration = Duration::from_secs(10);
const SECOND: Duration = Duration::from_secs(1);

/// A kernel with one region, in which nothing is ever placed where something was.
struct Fake {
    total: u64,
    allowed: u64,
    end: u32,
    places: BTreeMap<Place, Vec<u8>>,
    resting: Vec<(Instant, Place)>,
    processes: BTreeMap<u32, MappingList>,
    max_processes: usize,
    writes: usize,
}

impl Fake {
    fn bytes(&self, resting: bool) -> u64 {
        let rests = |place: &Place| self.resting.iter().any(|(_, p)| p == place);
        let places = self.places.iter().filter(|(place, _)| rests(place) == resting);
        places.map(|(_, bytes)| bytes.len() as u64).sum()
    }
}

/// The bytes of its region.
struct View(Vec<u8>);

impl Region for View {
    fn u8(&self, at: u32) -> u64 {
        Bytes(&self.0).u8(at)
    }

    fn u16(&self, at: u32) -> u64 {
        Bytes(&self.0).u16(at)
    }

    fn u32(&self, at: u32) -> u64 {
        Bytes(&self.0).u32(at)
    }

    fn u64(&self, at: u32) -> u64 {
        Bytes(&self.0).u64(at)
    }

    fn word(&self, at: u32) -> u64 {
        Bytes(&self.0).word(at)
    }
}

impl Arena for Fake {
    type Region<'a> = View;

    fn region(&mut self, number: u32) -> Option<View> {
        let mut bytes = vec![0; self.end as usize];
        for (place, placed) in &self.places {
            bytes[place.offset as usize..][..placed.len()].copy_from_slice(placed);
        }
        (number == 0).then_some(View(bytes))
    }
}

impl KernelTables for Fake {
    fn allow(&mut self, bytes: u64) {
        self.allowed = bytes;
    }

    fn beside(&self) -> u64 {
        BESIDE
    }

    fn place(&mut self, bytes: &[u8], now: Instant) -> Option<Place> {
        if self.room(now).free < bytes.len() as u64 {
            return None;
        }
        let place = Place { region: 0, offset: self.end };
        self.end += bytes.len() as u32;
        self.places.insert(place, bytes.to_vec());
        self.writes += 1;
        Some(place)
    }

    fn change(&mut self, place: Place, at: u32, word: u32) {
        let bytes = &mut self.places.get_mut(&place).unwrap()[at as usize..][..4];
        bytes.copy_from_slice(&word.to_le_bytes());
    }

    fn free(&mut self, place: Place, now: Instant) {
        assert!(self.places.contains_key(&place) && self.resting.iter().all(|(_, p)| *p != place));
        let led = |list: &MappingList| (list.region, list.offset) == (place.region, place.offset);
        assert!(!self.processes.values().any(led), "a process is led to {place:?}");
        self.resting.push((now + SECOND, place));
    }

    fn room(&mut self, now: Instant) -> Room {
        let (over, resting) = self.resting.drain(..).partition(|(until, _)| *until <= now);
        self.resting = resting;
        let over: Vec<(Instant, Place)> = over;
        over.iter().for_each(|(_, place)| drop(self.places.remove(place)));
        let (used, resting) = (self.bytes(false), self.bytes(true));
        let free = self.total - used - resting;
        Room { free, resting, used, total: self.total, mapped: 0 }
    }

    fn set(&mut self, pid: u32, list: MappingList) -> Result<(), ProcessesFull> {
        if self.processes.len() >= self.max_processes && !self.processes.contains_key(&pid) {
            return Err(ProcessesFull);
        }
        self.processes.insert(pid, list);
        Ok(())
    }

    fn remove(&mut self, pid: u32) {
        self.processes.remove(&pid);
    }

    fn processes(&self) -> Vec<u32> {
        self.processes.keys().copied().collect()
    }
}

/// A keeper, its clock, and the binaries that are around.
struct World {
    keeper: Keeper<Fake>,
    now: Instant,
}

impl World {
    fn new(total: u64) -> Self {
        let kernel = Fake {
            total,
            allowed: 0,
            end: 0,
            places: BTreeMap::new(),
            resting: Vec::new(),
            processes: BTreeMap::new(),
            max_processes: 1000,
            writes: 0,
        };
        Self { keeper: Keeper::new(kernel, BUDGET), now: Instant::now() }
    }

    fn has(&mut self, pid: u32, space: &Space) {
        self.keeper.apply(SpaceChange { pid, space: Some(Arc::clone(space)) }, self.now);
        self.settle(Duration::from_millis(2));
    }

    fn ends(&mut self, pid: u32) {
        self.keeper.apply(SpaceChange { pid, space: None }, self.now);
        self.settle(Duration::ZERO);
    }

    fn settle(&mut self, later: Duration) {
        self.keeper.settle(self.now);
        self.now += later;
    }

    /// Reads all binaries that are wanted: each has a table of so many bytes. Their names.
    fn load(&mut self, bytes: usize) -> Vec<String> {
        let jobs = self.keeper.take_jobs();
        for job in &jobs {
            let bytes = vec![7; bytes].into();
            let part = Part { address: 0, len: PAGE, rules: 8, bytes, rule_count: 1 };
            self.keeper.loaded(job.table, Some(vec![part]), self.now);
        }
        self.settle(Duration::from_millis(2));
        jobs.into_iter().map(|job| job.binary.path.clone()).collect()
    }

    /// The kinds of the ranges that a process has in the kernel.
    fn kinds(&self, pid: u32) -> Option<Vec<&'static str>> {
        let kernel = &self.keeper.kernel;
        let list = kernel.processes.get(&pid)?;
        let bytes = &kernel.places[&place_of(*list)];
        let ranges = <[Range]>::ref_from_bytes(bytes).unwrap();
        assert_eq!(ranges.len(), list.count as usize);
        Some(ranges.iter().map(|r| MappingKind::from_raw(r.kind.into()).unwrap().name()).collect())
    }

    fn used(&mut self) -> u64 {
        self.keeper.kernel.room(self.now).used
    }

    fn lost(&self, name: &str) -> u64 {
        self.keeper.losses().get(name)
    }
}

/// A binary of one page of text.
fn binary(name: &str, has_file: bool) -> Arc<Binary> {
    Arc::new(Binary {
        id: u32::from(name.as_bytes()[0]),
        path: name.to_owned(),
        kind: BinaryKind::File,
        build_id: name.to_owned(),
        file: has_file.then(|| Arc::new(File::open("/dev/null").unwrap())),
        debug: None,
        segments: vec![Segment { file_offset: 0, file_size: PAGE, address: 0 }],
        problem: None,
    })
}

/// Memory with a page of each of these binaries; `*` is generated code, a capital has no file.
fn space(names: &str) -> Space {
    let mapping = |(i, name): (usize, char)| {
        let start = (i as u64 + 1) * 2 * PAGE;
        let code = match name {
            '*' => Code::Generated,
            _ => Code::Binary(binary(&name.to_lowercase().to_string(), name.is_lowercase())),
        };
        Mapping { start, end: start + PAGE, file_offset: 0, code }
    };
    Arc::new(names.chars().enumerate().map(mapping).collect())
}
